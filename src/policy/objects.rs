//! Which of the objects in a frame count.

use lenslog_events::{BoundingBox, DetectedObject};

use super::{Observation, PolicyConfig, Suppression};
use crate::motion::{Motion, Outcome};

/// What a thing is called where no detector has looked at it.
pub const MOTION_LABEL: &str = "motion";

/// Most objects of a frame that are considered; the first ones of more.
pub const OBJECTS_MAX: usize = 128;

/// A region of motion is a thing of its own if it is at least this share of the largest one: an arm or a shadow
/// is none.
const REGION_SHARE_MIN: f64 = 0.25;

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
        Some(Outcome::Motion(motion)) => Some(motion),
        _ => None,
    };
    let Some(objects) = observation.objects else {
        let moving = unrecognised(motion, observation.size);
        return match is_listed(&config.blacklist, MOTION_LABEL) {
            true => Verdict::None(Suppression::Blacklisted),
            false => Verdict::Count(vec![moving]),
        };
    };
    let mut counted = Vec::new();
    let mut best: Option<(f64, Suppression)> = None;
    for object in objects.iter().take(OBJECTS_MAX) {
        match refuse(config, motion, object) {
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

/// Why an object does not count; `None` if it does.
fn refuse(
    config: &PolicyConfig,
    motion: Option<&Motion>,
    object: &DetectedObject,
) -> Option<Suppression> {
    if is_listed(&config.blacklist, &object.label) {
        Some(Suppression::Blacklisted)
    } else if !config.track.is_empty() && !is_listed(&config.track, &object.label) {
        Some(Suppression::NotTracked)
    } else if object.confidence >= config.min_object_confidence {
        let moves = motion.is_none_or(|motion| motion.moving.overlaps(&object.bbox));
        (!moves).then_some(Suppression::NotMoving)
    } else {
        // What is not a number is not certain either.
        Some(Suppression::LowConfidence)
    }
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
