//! Real pictures in light that changes: no event where no one is, and people are still found.

use std::time::Duration;

use image::RgbImage;
use image::imageops::{FilterType, resize};

use super::*;
use crate::motion::{MotionConfig, MotionDetector, MotionOutcome};
use crate::testing::clip;

/// Frames a second.
const FPS: f64 = 5.0;

/// The light begins to change after the background is learned.
const START_SECONDS: f64 = 6.0;

/// What light does to a grey level where it has changed completely.
#[derive(Debug, Clone, Copy)]
enum Change {
    Gain(f64),
    Gamma(f64),
    Offset(f64),
}

/// Where it does so; lengths are shares of the picture.
#[derive(Debug, Clone, Copy)]
enum Place {
    Everywhere,
    /// Around a point, fading out.
    Around {
        x: f64,
        y: f64,
        size: f64,
    },
    /// More and more in a direction, from none to all.
    Across {
        angle: f64,
        from: f64,
        length: f64,
    },
}

/// How it comes.
#[derive(Debug, Clone, Copy)]
enum Course {
    Step,
    /// Rises for so many seconds.
    Ramp(f64),
    /// Rises and falls for so many seconds each.
    Cloud(f64),
    /// An exposure that steps so many times, once in so many seconds.
    Exposure {
        steps: f64,
        seconds: f64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Light {
    change: Change,
    place: Place,
    course: Course,
}

impl Light {
    fn amount(&self, time: f64) -> f64 {
        let since = time - START_SECONDS;
        if since < 0.0 {
            return 0.0;
        }
        match self.course {
            Course::Step => 1.0,
            Course::Ramp(seconds) => (since / seconds).min(1.0),
            Course::Cloud(seconds) => (1.0 - (since / seconds - 1.0).abs()).max(0.0),
            Course::Exposure { steps, seconds } => {
                (((since / seconds).floor() + 1.0) / steps).min(1.0)
            }
        }
    }

    fn share(&self, x: f64, y: f64) -> f64 {
        match self.place {
            Place::Everywhere => 1.0,
            Place::Around { x: left, y: top, size } => {
                (-((x - left).powi(2) + (y - top).powi(2)) / (2.0 * size * size)).exp()
            }
            Place::Across { angle, from, length } => {
                let place = (x - 0.5) * angle.cos() + (y - 0.5) * angle.sin() + 0.5;
                ((place - from) / length).clamp(0.0, 1.0)
            }
        }
    }

    fn level(&self, level: f64, share: f64) -> f64 {
        match self.change {
            Change::Gain(gain) => level * (1.0 + (gain - 1.0) * share),
            Change::Gamma(gamma) => 255.0 * (level / 255.0).powf(gamma.powf(share)),
            Change::Offset(offset) => level + offset * share,
        }
    }

    /// The picture in this light, `time` seconds after the first one.
    fn on(&self, picture: &RgbImage, time: f64) -> RgbImage {
        const SHARES: usize = 128;
        let amount = self.amount(time);
        let table = |share: usize| -> [u8; 256] {
            let share = amount * share as f64 / SHARES as f64;
            std::array::from_fn(|level| self.level(level as f64, share).round() as u8)
        };
        let tables: Vec<_> = (0..=SHARES).map(table).collect();
        let (width, height) = picture.dimensions();
        let mut lit = picture.clone();
        for (x, y, pixel) in lit.enumerate_pixels_mut() {
            let share =
                self.share(f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            let table = &tables[(share * SHARES as f64).round() as usize];
            pixel.0 = pixel.0.map(|level| table[usize::from(level)]);
        }
        lit
    }
}

/// The place of the clip without the people: the usual level of every pixel, at half the size.
fn empty(frames: &[RgbImage]) -> RgbImage {
    let small: Vec<_> = frames
        .iter()
        .step_by(8)
        .map(|frame| resize(frame, 384, 288, FilterType::Triangle))
        .collect();
    let mut place = small[0].clone();
    for (index, level) in place.iter_mut().enumerate() {
        let mut levels: Vec<u8> = small.iter().map(|picture| picture.as_raw()[index]).collect();
        levels.sort_unstable();
        *level = levels[levels.len() / 2];
    }
    place
}

/// What motion detection says of every frame, and with which ones events begin.
fn watch(frames: impl Iterator<Item = RgbImage>) -> (Vec<MotionOutcome>, Vec<usize>) {
    let mut motion = MotionDetector::new(MotionConfig::default());
    let mut state = PolicyState::new("camera_1");
    let (mut outcomes, mut begins) = (Vec::new(), Vec::new());
    for (number, picture) in frames.enumerate() {
        let outcome = motion.look(&picture);
        let since = Duration::from_secs_f64(number as f64 / FPS);
        let observation = Observation {
            time: Timestamp::default().plus_micros(since.as_micros() as i64),
            size: picture.dimensions(),
            dropped_before: 0,
            motion: Some(&outcome),
            objects: None,
        };
        let decisions = decide(&mut state, &PolicyConfig::default(), Input::Frame(observation));
        if decisions.iter().any(|decision| matches!(decision, PolicyDecision::Begin(_))) {
            begins.push(number);
        }
        outcomes.push(outcome);
    }
    (outcomes, begins)
}

/// Numbers that are drawn in the same order at every run.
struct Draw(u64);

impl Draw {
    fn share(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    fn light(&mut self) -> Light {
        let is_darker = self.share() < 0.5;
        let (darker, brighter) = (self.between(0.45, 0.85), self.between(1.15, 1.7));
        let change = match (self.share() * 3.0) as u32 {
            0 => Change::Gain(if is_darker { darker } else { brighter }),
            1 => Change::Gamma(if is_darker { brighter } else { darker }),
            _ => Change::Offset(if is_darker { -1.0 } else { 1.0 } * self.between(15.0, 55.0)),
        };
        let place = match (self.share() * 3.0) as u32 {
            0 => Place::Everywhere,
            1 => Place::Around { x: self.share(), y: self.share(), size: self.between(0.12, 0.4) },
            _ => Place::Across {
                angle: self.between(0.0, std::f64::consts::TAU),
                from: self.between(-0.2, 0.4),
                length: self.between(0.4, 1.2),
            },
        };
        let seconds = 0.1 * 100f64.powf(self.share());
        let course = match (self.share() * 4.0) as u32 {
            0 => Course::Step,
            1 => Course::Ramp(seconds),
            2 => Course::Cloud(seconds),
            _ => Course::Exposure { steps: self.between(2.0, 6.0).floor(), seconds: seconds / 5.0 },
        };
        Light { change, place, course }
    }
}

/// Each kind of change in each kind of place, and each course of time.
fn lights() -> Vec<Light> {
    let changes = [
        Change::Gain(0.55),
        Change::Gain(1.5),
        Change::Gamma(0.6),
        Change::Gamma(1.6),
        Change::Offset(-45.0),
        Change::Offset(45.0),
    ];
    let places = [
        Place::Everywhere,
        Place::Around { x: 0.3, y: 0.7, size: 0.2 },
        Place::Across { angle: 0.5, from: 0.2, length: 0.6 },
    ];
    let courses = [
        Course::Step,
        Course::Ramp(0.1),
        Course::Ramp(1.0),
        Course::Ramp(10.0),
        Course::Cloud(3.0),
        Course::Exposure { steps: 5.0, seconds: 0.4 },
    ];
    let mut lights = Vec::new();
    for (index, change) in changes.into_iter().enumerate() {
        for (other, place) in places.into_iter().enumerate() {
            lights.push(Light { change, place, course: courses[(index + 2 * other) % 6] });
        }
    }
    lights
}

#[test]
fn light_that_changes_on_a_real_place_makes_no_event() {
    let Some(frames) = clip() else { return };
    let place = empty(&frames);
    let mut draw = Draw(12);
    let drawn: Vec<_> = (0..40).map(|_| draw.light()).collect();
    let mut wrong = Vec::new();
    for light in lights().into_iter().chain(drawn) {
        // Fifteen seconds, of which nine are in the light.
        let (_, begins) = watch((0..75).map(|number| light.on(&place, number as f64 / FPS)));
        if !begins.is_empty() {
            wrong.push((light, begins));
        }
    }
    assert!(wrong.is_empty(), "{} scenes have events: {wrong:#?}", wrong.len());
}

/// Where people are in some frames, by eye.
const PEOPLE: [(usize, &[(f64, f64)]); 2] = [
    (100, &[(625.0, 315.0), (712.0, 300.0), (495.0, 180.0), (235.0, 225.0)]),
    (180, &[(448.0, 288.0), (552.0, 240.0), (717.0, 285.0), (747.0, 285.0)]),
];

#[test]
fn people_are_found_in_light_that_changes() {
    let Some(frames) = clip() else { return };
    let (_, begins) = watch(frames.iter().cloned());
    assert_eq!(begins, [25, 59, 96], "without a change of light");
    for light in lights().into_iter().step_by(3) {
        let lit = frames
            .iter()
            .enumerate()
            .map(|(number, picture)| light.on(picture, number as f64 / FPS));
        let (outcomes, lit_begins) = watch(lit);
        assert_eq!(lit_begins.first(), begins.first(), "{light:?}");
        assert!((1..=4).contains(&lit_begins.len()), "{light:?}: {lit_begins:?}");
        for (number, people) in PEOPLE {
            let MotionOutcome::Motion(motion) = &outcomes[number] else {
                panic!("{light:?}: {:?} in frame {number}", outcomes[number]);
            };
            for (x, y) in people {
                let on =
                    lenslog_events::BoundingBox { x: x - 4.0, y: y - 4.0, width: 8.0, height: 8.0 };
                assert!(
                    motion.moving.overlaps(&on),
                    "{light:?}: a person is at {x}, {y} in {number}"
                );
            }
            let lawn =
                lenslog_events::BoundingBox { x: 0.0, y: 400.0, width: 420.0, height: 170.0 };
            assert!(
                motion.moving.share(&lawn, &[]) < 0.02,
                "{light:?}: the lawn moves in {number}"
            );
        }
    }
}
