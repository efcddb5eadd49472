//! [`sample`]: what a recorder with three cameras journals in five days, the same at every call.

use lenslog_journal::{Seq, Timestamp};
use serde_json::json;

use crate::{
    BoundingBox, CameraFound, CameraLost, CameraMinute, DescriptionAdded, DetectedObject, Event,
    EventDetected, EventEnded, EventRef, Metadata, RecorderStarted, Suppressed,
};

/// 2026-11-19T06:00:00 at +01:00.
const START: Timestamp = Timestamp { utc_micros: 1_795_064_400_000_000, offset_minutes: 60 };
const SPAN_MICROS: u64 = 5 * 24 * 3_600 * 1_000_000;
const CAMERAS: [(&str, &str); 3] =
    [("camera_1", "front door"), ("camera_2", "garden"), ("camera_3", "garage")];
const LABELS: [&str; 6] = ["person", "car", "cat", "dog", "bicycle", "bird"];
const SENTENCES: [&str; 3] = [
    "Person in blue shirt carrying brown package approaching front door",
    "A cat crosses the lawn from left to right and stops in front of the hedge",
    "Grey car backs out of the garage; no other person in view",
];

/// `events` events in the order of their time, spread evenly over five days from 2026-11-19 on.
///
/// The first is `RecorderStarted`; of those that follow, seven in ten are `EventDetected` (about 420 bytes of
/// payload, 600 of JSON), the others what else a quiet operation makes. References hold if the events are
/// appended in this order to an empty journal, from [`Seq::FIRST`] on.
///
/// ```
/// use lenslog_events::testing::sample;
///
/// let events = sample(100);
/// assert_eq!(events.len(), 100);
/// assert_eq!(events, sample(100));
/// ```
#[must_use]
pub fn sample(events: usize) -> Vec<Event> {
    let mut random = Random(42);
    let mut last = None;
    let mut made = Vec::with_capacity(events);
    for (index, seq) in (0..events as u64).zip(Seq::FIRST.0..) {
        let elapsed = u128::from(index) * u128::from(SPAN_MICROS) / (events as u128);
        let at = START.plus_micros((elapsed / 1_000 * 1_000) as i64);
        let event = if index == 0 { started(at) } else { at_turn(index, at, &last, &mut random) };
        if let Event::Detected(detected) = &event {
            last = Some(EventRef {
                event_seq: Seq(seq),
                event_day: event.day(),
                event_id: detected.event_id.clone(),
            });
        }
        made.push(event);
    }
    made
}

fn at_turn(index: u64, at: Timestamp, last: &Option<EventRef>, random: &mut Random) -> Event {
    let camera = (random.below(3)) as usize;
    match (index % 20, last) {
        (7 | 17, _) => camera_minute(camera, at, random),
        (9, Some(event)) => description_added(event.clone(), random),
        (4 | 14, Some(event)) => Event::Ended(EventEnded {
            event: event.clone(),
            last_seen: at,
            sightings: 1 + random.below(90),
        }),
        (18, _) if index % 100 == 18 => Event::CameraLost(CameraLost {
            camera_id: CAMERAS[camera].0.to_owned(),
            at,
            reason: "the source ended".to_owned(),
        }),
        (19, _) if index % 100 == 19 => {
            Event::CameraFound(CameraFound { camera_id: CAMERAS[camera].0.to_owned(), at })
        }
        _ => Event::Detected(detected(index, camera, at, random)),
    }
}

fn started(at: Timestamp) -> Event {
    Event::RecorderStarted(RecorderStarted {
        at,
        version: "0.1.0".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        cameras: CAMERAS.iter().map(|(id, _)| (*id).to_owned()).collect(),
    })
}

fn detected(index: u64, camera: usize, at: Timestamp, random: &mut Random) -> EventDetected {
    let event_id = event_id(index, at, random);
    let objects = (0..1 + random.below(2)).map(|_| object(random)).collect();
    let described = random.below(4) == 0;
    EventDetected {
        timestamp: at,
        camera_id: CAMERAS[camera].0.to_owned(),
        camera_name: Some(CAMERAS[camera].1.to_owned()),
        motion_confidence: Some(random.hundredths(50)),
        detected_objects: objects,
        image_path: Some(format!("data/events/{}/{event_id}.jpg", at.day())),
        llm_description: described.then(|| random.pick(&SENTENCES).to_owned()),
        description_expected: false,
        metadata: metadata(index, random),
        event_id,
    }
}

/// In the form of a UUIDv7: the time in milliseconds, then a number that is different for each event of a millisecond.
fn event_id(index: u64, at: Timestamp, random: &mut Random) -> String {
    let millis = at.utc_micros.unsigned_abs() / 1_000;
    format!(
        "evt_{:08x}-{:04x}-7{:03x}-8{:03x}-{:04x}{:08x}",
        millis >> 16,
        millis & 0xFFFF,
        index >> 32 & 0xFFF,
        random.below(0x1000),
        random.below(0x1_0000),
        index & 0xFFFF_FFFF,
    )
}

fn object(random: &mut Random) -> DetectedObject {
    DetectedObject {
        label: random.pick(&LABELS).to_owned(),
        confidence: random.hundredths(50),
        bbox: BoundingBox {
            x: random.below(600) as f64,
            y: random.below(400) as f64,
            width: 20.0 + random.below(200) as f64,
            height: 20.0 + random.below(300) as f64,
        },
    }
}

fn metadata(index: u64, random: &mut Random) -> Metadata {
    [
        ("frame", json!(index * 25)),
        ("inference_ms", json!(90 + random.below(120))),
        ("model", json!("yolox_nano")),
        ("threshold_percent", json!(2.0)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn camera_minute(camera: usize, at: Timestamp, random: &mut Random) -> Event {
    Event::CameraMinute(CameraMinute {
        camera_id: CAMERAS[camera].0.to_owned(),
        minute: at.plus_micros(-at.utc_micros.rem_euclid(60_000_000)),
        frames: 300,
        dropped: random.below(4),
        max_motion: random.hundredths(0) * 10.0,
        best_label: Some(random.pick(&LABELS).to_owned()),
        best_confidence: Some(random.hundredths(0)),
        suppressed: vec![
            Suppressed { reason: "below_confidence".to_owned(), count: random.below(20) },
            Suppressed { reason: "deduplicated".to_owned(), count: random.below(100) },
        ],
    })
}

fn description_added(event: EventRef, random: &mut Random) -> Event {
    Event::DescriptionAdded(DescriptionAdded {
        event,
        llm_description: random.pick(&SENTENCES).to_owned(),
        model: "llava".to_owned(),
        duration_ms: 1_500 + random.below(9_000),
    })
}

/// SplitMix64: a few lines, and the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A multiple of 0.01 from `least_percent` per cent to 1.
    fn hundredths(&mut self, least_percent: u64) -> f64 {
        (least_percent + self.below(101 - least_percent)) as f64 / 100.0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_of_a_sample_is_valid_and_has_its_own_name() {
        let events = sample(2_000);
        let mut ids = BTreeSet::new();
        for event in &events {
            event.validate().unwrap();
            if let Event::Detected(event) = event {
                assert!(ids.insert(event.event_id.clone()), "{}", event.event_id);
            }
        }
        assert!(ids.len() >= 1_400, "{}", ids.len());
    }

    #[test]
    fn a_sample_spans_several_days_and_all_cameras() {
        let events = sample(200);
        let days = events.iter().map(Event::day).collect::<BTreeSet<_>>();
        assert!((5..=6).contains(&days.len()), "{days:?}");
        for (camera, _) in CAMERAS {
            assert!(
                events.iter().any(
                    |event| matches!(event, Event::Detected(event) if event.camera_id == camera)
                )
            );
        }
    }

    #[test]
    fn references_name_the_event_that_stands_there() {
        let events = sample(500);
        for event in &events {
            let (Event::Ended(EventEnded { event, .. })
            | Event::DescriptionAdded(DescriptionAdded { event, .. })) = event
            else {
                continue;
            };
            let Event::Detected(named) = &events[event.event_seq.0 as usize - 1] else {
                panic!("{event:?} names another sort of event");
            };
            assert_eq!(named.event_id, event.event_id);
            assert_eq!(named.timestamp.day(), event.event_day);
        }
    }
}
