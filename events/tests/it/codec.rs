//! What holds for every event: its day, its key, and that the published test events are valid.

use std::collections::BTreeMap;

use lenslog_events::testing::{config, strategies};
use lenslog_events::{CameraFound, DescriptionDeferred, Event, EventEnded, EventRef, event_key};
use lenslog_journal::{Day, Seq, Timestamp};
use proptest::prelude::*;

#[test]
fn a_key_is_the_head_of_the_blake3_of_the_event_id() {
    // The first halves of published test vectors.
    let hex = |key: [u8; 16]| format!("{:032x}", u128::from_be_bytes(key));
    assert_eq!(hex(event_key("")), "af1349b9f5f9a1a6a0404dea36dcc949");
    assert_eq!(hex(event_key("abc")), "6437b3ac38465133ffb63b75273a8db5");
}

#[test]
fn an_event_belongs_to_the_local_day_of_its_fact() {
    let midnight = Timestamp { utc_micros: 1_795_474_800_000_000, offset_minutes: 60 };
    let found = |offset_minutes| {
        let at = Timestamp { offset_minutes, ..midnight };
        Event::CameraFound(CameraFound { camera_id: "camera_1".to_owned(), at })
    };
    assert_eq!(found(60).day().to_string(), "2026-11-24");
    assert_eq!(found(59).day().to_string(), "2026-11-23");
}

#[test]
fn what_refers_to_an_event_belongs_to_the_day_of_that_event() {
    let event_day = Day(20_780);
    let event = EventRef { event_seq: Seq(1), event_day, event_id: "evt_1".to_owned() };
    let last_seen = Timestamp { utc_micros: 1_800_000_000_000_000, offset_minutes: 0 };
    assert_ne!(last_seen.day(), event_day);
    let ended = EventEnded { event: event.clone(), last_seen, sightings: 1 };
    assert_eq!(Event::Ended(ended).day(), event_day);
    assert_eq!(Event::DescriptionDeferred(DescriptionDeferred { event }).day(), event_day);
}

proptest! {
    #![proptest_config(config(4_096))]

    #[test]
    fn every_event_of_the_strategies_is_valid(event in strategies::event()) {
        prop_assert_eq!(event.validate(), Ok(()));
        prop_assert!(event.day().is_valid());
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn a_history_refers_to_what_stands_before(history in strategies::history(40)) {
        let mut detected = BTreeMap::new();
        for (event, seq) in history.iter().zip(Seq::FIRST.0..) {
            prop_assert_eq!(event.validate(), Ok(()));
            match event {
                Event::Detected(event) => {
                    prop_assert!(detected.values().all(|(id, _)| *id != event.event_id));
                    detected.insert(Seq(seq), (event.event_id.clone(), event.timestamp.day()));
                }
                Event::Ended(EventEnded { event, .. }) if event.event_seq < Seq(seq) => {
                    let there = Some((event.event_id.clone(), event.event_day));
                    prop_assert_eq!(detected.get(&event.event_seq), there.as_ref());
                }
                _ => {}
            }
        }
    }
}
