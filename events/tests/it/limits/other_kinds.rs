//! The limits of what only kinds other than `EventDetected` have.

use lenslog_events::limits::{
    DELIVERY_BYTES_MAX, DESCRIPTION_BYTES_MAX, LABEL_BYTES_MAX, MODEL_BYTES_MAX, REASON_BYTES_MAX,
    SUPPRESSED_REASON_BYTES_MAX, TIME_ZONE_BYTES_MAX, VERSION_BYTES_MAX,
};
use lenslog_events::{
    CameraLost, CameraMinute, DeliveryFailed, DescriptionAdded, DescriptionDeferred,
    DescriptionFailed, DetectorFailed, Event, EventEnded, EventRef, ImagePurged, RecorderStarted,
    RecorderStopped, Suppressed,
};
use lenslog_journal::{Day, Seq};

use crate::limits::{AT, check, minute, reference, started, text};

#[test]
fn every_text_of_the_other_kinds_has_its_length() {
    let (good, bad) = (|| vec![0, REASON_BYTES_MAX], || vec![REASON_BYTES_MAX + 1]);
    let lost = CameraLost { camera_id: text(1), at: AT, reason: text(0) };
    let set = |event: &mut CameraLost, bytes| event.reason = text(bytes);
    check("reason", &lost, Event::CameraLost, set, good(), bad());
    let failed = DetectorFailed { camera_id: None, at: AT, reason: text(0) };
    let set = |event: &mut DetectorFailed, bytes| event.reason = text(bytes);
    check("reason", &failed, Event::DetectorFailed, set, good(), bad());
    let failed = DeliveryFailed { delivery: text(1), at: AT, reason: None };
    let set = |event: &mut DeliveryFailed, bytes| event.reason = Some(text(bytes));
    check("reason", &failed, Event::DeliveryFailed, set, good(), bad());
    let set = |event: &mut DeliveryFailed, bytes| event.delivery = text(bytes);
    let (few, many) = (vec![1, DELIVERY_BYTES_MAX], vec![0, DELIVERY_BYTES_MAX + 1]);
    check("delivery", &failed, Event::DeliveryFailed, set, few, many);
    let failed = DescriptionFailed { event: reference(), reason: text(0) };
    let set = |event: &mut DescriptionFailed, bytes| event.reason = text(bytes);
    check("reason", &failed, Event::DescriptionFailed, set, good(), bad());
    let stopped = RecorderStopped { at: AT, reason: text(0), uptime_s: 0, events: 0 };
    let set = |event: &mut RecorderStopped, bytes| event.reason = text(bytes);
    check("reason", &stopped, Event::RecorderStopped, set, good(), bad());

    let added = DescriptionAdded {
        event: reference(),
        llm_description: text(0),
        model: text(0),
        duration_ms: 0,
    };
    let set = |event: &mut DescriptionAdded, bytes| event.llm_description = text(bytes);
    let (good, bad) = (vec![DESCRIPTION_BYTES_MAX], vec![DESCRIPTION_BYTES_MAX + 1]);
    check("llm_description", &added, Event::DescriptionAdded, set, good, bad);
    let set = |event: &mut DescriptionAdded, bytes| event.model = text(bytes);
    check(
        "model",
        &added,
        Event::DescriptionAdded,
        set,
        vec![MODEL_BYTES_MAX],
        vec![MODEL_BYTES_MAX + 1],
    );

    let set = |event: &mut RecorderStarted, bytes| event.version = text(bytes);
    let (good, bad) = (vec![VERSION_BYTES_MAX], vec![VERSION_BYTES_MAX + 1]);
    check("version", &started(), Event::RecorderStarted, set, good, bad);
    let set = |event: &mut RecorderStarted, bytes| event.time_zone = text(bytes);
    let (good, bad) = (vec![TIME_ZONE_BYTES_MAX], vec![TIME_ZONE_BYTES_MAX + 1]);
    check("time_zone", &started(), Event::RecorderStarted, set, good, bad);
}

#[test]
fn the_rest_of_a_camera_minute_has_its_limits() {
    let set = |event: &mut CameraMinute, value| event.max_motion = value;
    let (good, bad) = (vec![0.0, 100.0], vec![-0.1, 100.1, f64::NAN, f64::INFINITY]);
    check("max_motion", &minute(), Event::CameraMinute, set, good, bad);
    let set = |event: &mut CameraMinute, bytes| event.best_label = Some(text(bytes));
    let (good, bad) = (vec![1, LABEL_BYTES_MAX], vec![0, LABEL_BYTES_MAX + 1]);
    check("best_label", &minute(), Event::CameraMinute, set, good, bad);
    let set = |event: &mut CameraMinute, bytes| {
        event.suppressed = vec![Suppressed { reason: text(bytes), count: 1 }];
    };
    let (good, bad) =
        (vec![1, SUPPRESSED_REASON_BYTES_MAX], vec![0, SUPPRESSED_REASON_BYTES_MAX + 1]);
    check("suppressed[0].reason", &minute(), Event::CameraMinute, set, good, bad);
}

#[test]
fn every_reference_names_a_possible_event() {
    let references = || {
        let change = |change: fn(&mut EventRef)| {
            let mut event = reference();
            change(&mut event);
            event
        };
        vec![
            ("event_seq", change(|event| event.event_seq = Seq(0))),
            ("event_day", change(|event| event.event_day = Day(Day::MAX.0 + 1))),
            ("event_day", change(|event| event.event_day = Day(i32::MIN))),
            ("event_id", change(|event| event.event_id = String::new())),
        ]
    };
    for (field, event) in references() {
        let image_path = "data/events/2026-11-23/a.jpg".to_owned();
        let (llm_description, model, reason) = (text(0), text(0), text(0));
        let duration_ms = 0;
        let added = DescriptionAdded { event: event.clone(), llm_description, model, duration_ms };
        for event in [
            Event::Ended(EventEnded { event: event.clone(), last_seen: AT, sightings: 1 }),
            Event::DescriptionAdded(added),
            Event::DescriptionDeferred(DescriptionDeferred { event: event.clone() }),
            Event::DescriptionFailed(DescriptionFailed { event: event.clone(), reason }),
            Event::ImagePurged(ImagePurged { event: event.clone(), image_path }),
        ] {
            assert_eq!(event.validate().unwrap_err().field, field);
        }
    }
}
