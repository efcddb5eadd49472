//! Which of the objects in a frame count.

use lenslog_events::{BoundingBox, DetectedObject};

use super::{Observation, PolicyConfig, Suppression};
use crate::detection::OBJECTS_MAX;
use crate::motion::{Motion, MotionOutcome};

/// What a thing is called where no detector has looked at it.
pub const MOTION_LABEL: &str = "motion";

/// A region of motion is a thing of its own if it is at least this share of the largest one: an arm or a shadow
/// is none.
const REGION_SHARE_MIN: f64 = 0.25;

/// An object moves if at least this share of its box does. What stands still moves at the edges of its box, where
/// a person passes by, or in a shadow.
const MOVING_SHARE_MIN: f64 = 0.05;

/// Most other objects by which the motion of one is explained.
const EXPLAINING_MAX: usize = 16;

/// An object that counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counted {
    pub(super) object: DetectedObject,
    /// How many things it stands for: one, unless it is all motion of a picture.
    pub(super) things: usize,
}

/// What counts in a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// At least one object.
    Count(Vec<Counted>),
    /// None, for this reason.
    None(Suppression),
}

/// The objects of a frame that count, or why there are none: the reason is that of the most certain object.
pub(super) fn count(config: &PolicyConfig, observation: &Observation<'_>) -> Verdict {
    let motion = match observation.motion {
        Some(MotionOutcome::Motion(motion)) => Some(motion),
        _ => None,
    };
    let Some(objects) = observation.objects else {
        let moving = unrecognised(motion, observation.size);
        return match is_listed(&config.ignore, MOTION_LABEL) {
            true => Verdict::None(Suppression::Blacklisted),
            false => Verdict::Count(vec![moving]),
        };
    };
    let objects = objects.get(..OBJECTS_MAX).unwrap_or(objects);
    let mut counted = Vec::new();
    let mut best: Option<(f64, Suppression)> = None;
    for object in objects {
        let reason = refuse(config, object).or_else(|| {
            let moves = motion.is_none_or(|motion| moves(config, motion, object, objects));
            (!moves).then_some(Suppression::NotMoving)
        });
        match reason {
            None => counted.push(Counted { object: object.clone(), things: 1 }),
            Some(reason) if best.is_none_or(|(confidence, _)| object.confidence > confidence) => {
                best = Some((object.confidence, reason));
            }
            Some(_) => {}
        }
    }
    match (counted.is_empty(), best) {
        (false, _) => Verdict::Count(counted),
        (true, Some((_, reason))) => Verdict::None(reason),
        (true, None) => Verdict::None(Suppression::NoObject),
    }
}

/// Why an object does not count, whether it moves or not; `None` if it may.
fn refuse(config: &PolicyConfig, object: &DetectedObject) -> Option<Suppression> {
    if is_listed(&config.ignore, &object.label) {
        Some(Suppression::Blacklisted)
    } else if !config.track.is_empty() && !is_listed(&config.track, &object.label) {
        Some(Suppression::NotTracked)
    } else if object.confidence >= config.min_object_confidence {
        None
    } else {
        // What is not a number is not certain either.
        Some(Suppression::LowConfidence)
    }
}

/// Whether enough of an object moves that is not explained by another one: a person who passes a parked car does not
/// make it drive.
fn moves(
    config: &PolicyConfig,
    motion: &Motion,
    object: &DetectedObject,
    objects: &[DetectedObject],
) -> bool {
    let share = motion.moving.share(&object.bbox, &[]);
    if share < MOVING_SHARE_MIN {
        return false;
    }
    let explains = |other: &&DetectedObject| {
        other.label != object.label
            && other.confidence >= config.min_object_confidence
            && motion.moving.share(&other.bbox, &[]) > share
    };
    let others: Vec<BoundingBox> =
        objects.iter().filter(explains).take(EXPLAINING_MAX).map(|other| other.bbox).collect();
    others.is_empty() || motion.moving.share(&object.bbox, &others) >= MOVING_SHARE_MIN
}

fn is_listed(labels: &[String], label: &str) -> bool {
    labels.iter().any(|listed| listed == label)
}

/// What moves, as one object; the whole picture where no motion was looked for.
fn unrecognised(motion: Option<&Motion>, size: (u32, u32)) -> Counted {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let whole = BoundingBox { x: 0.0, y: 0.0, width, height };
    let object = DetectedObject {
        label: MOTION_LABEL.into(),
        confidence: motion.map_or(1.0, |motion| motion.confidence),
        bbox: motion.map_or(whole, |motion| motion.area),
    };
    Counted { object, things: motion.map_or(1, |motion| things(&motion.regions)) }
}

/// How many regions are things of their own.
fn things(regions: &[BoundingBox]) -> usize {
    let area = |region: &BoundingBox| region.width * region.height;
    let largest = regions.iter().map(area).fold(0.0, f64::max);
    regions.iter().filter(|region| area(region) >= REGION_SHARE_MIN * largest).count().max(1)
}
