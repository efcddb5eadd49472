//! Strategies for proptest: every value they make is valid, and near its limits more often than chance would.

use lenslog_journal::{Day, Seq, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use crate::limits::{
    CAMERA_ID_BYTES_MAX, CAMERA_NAME_BYTES_MAX, COORDINATE_MAX, EVENT_ID_BYTES_MAX,
    LABEL_BYTES_MAX, METADATA_NAME_BYTES_MAX, MOTION_PERCENT_MAX, OFFSET_MINUTES_MAX,
    SUPPRESSED_REASON_BYTES_MAX, TIME_MICROS_MAX, TIME_MICROS_MIN,
};
use crate::{
    BoundingBox, CameraFound, CameraLost, CameraMinute, DeliveryFailed, DescriptionAdded,
    DescriptionDeferred, DescriptionFailed, DetectedObject, DetectorFailed, Event, EventDetected,
    EventEnded, EventRef, ImagePurged, Metadata, RecorderStarted, RecorderStopped, StorageLevel,
    StorageWarning, Suppressed,
};

/// Longest free text that is made, in bytes. Longer ones would only be slower.
const TEXT_BYTES_MAX: usize = 200;

/// Any valid event of any kind.
pub fn event() -> BoxedStrategy<Event> {
    prop_oneof![
        4 => detected().prop_map(Event::Detected),
        1 => ended().prop_map(Event::Ended),
        1 => camera_minute().prop_map(Event::CameraMinute),
        1 => camera_lost().prop_map(Event::CameraLost),
        1 => camera_found().prop_map(Event::CameraFound),
        1 => detector_failed().prop_map(Event::DetectorFailed),
        1 => description_added().prop_map(Event::DescriptionAdded),
        1 => event_ref()
            .prop_map(|event| Event::DescriptionDeferred(DescriptionDeferred { event })),
        1 => description_failed().prop_map(Event::DescriptionFailed),
        1 => image_purged().prop_map(Event::ImagePurged),
        1 => recorder_started().prop_map(Event::RecorderStarted),
        1 => recorder_stopped().prop_map(Event::RecorderStopped),
        1 => storage_warning().prop_map(Event::StorageWarning),
        1 => delivery_failed().prop_map(Event::DeliveryFailed),
    ]
    .boxed()
}

/// Up to `events_max` valid events that could stand in one journal from [`Seq::FIRST`] on, in this order.
///
/// No two `EventDetected` share an event_id. What refers to an event mostly refers to an earlier one of these,
/// by its right seq, day and event_id; now and then to one that is not there, as after pruning.
pub fn history(events_max: usize) -> impl Strategy<Value = Vec<Event>> {
    let step = (event(), prop::bool::weighted(0.8), any::<prop::sample::Index>());
    vec(step, 0..=events_max).prop_map(|steps| {
        let mut history = Vec::with_capacity(steps.len());
        let mut detected = Vec::new();
        for ((mut event, refers, index), seq) in steps.into_iter().zip(Seq::FIRST.0..) {
            let day = event.day();
            if let Event::Detected(event) = &mut event {
                event.event_id = format!("evt_{seq}");
                let event_id = event.event_id.clone();
                detected.push(EventRef { event_seq: Seq(seq), event_day: day, event_id });
            } else if let Some(reference) = reference_mut(&mut event)
                && refers
                && !detected.is_empty()
            {
                reference.clone_from(index.get(&detected));
            }
            history.push(event);
        }
        history
    })
}

fn reference_mut(event: &mut Event) -> Option<&mut EventRef> {
    match event {
        Event::Ended(event) => Some(&mut event.event),
        Event::DescriptionAdded(event) => Some(&mut event.event),
        Event::DescriptionDeferred(event) => Some(&mut event.event),
        Event::DescriptionFailed(event) => Some(&mut event.event),
        Event::ImagePurged(event) => Some(&mut event.event),
        _ => None,
    }
}

/// Any valid `EventDetected`.
pub fn detected() -> impl Strategy<Value = EventDetected> {
    let identity = (event_id(), timestamp(), camera_id(), option::of(text(CAMERA_NAME_BYTES_MAX)));
    let seen = (option::of(fraction()), vec(object(), 0..5), option::of(image_path()));
    let described = (option::of(text(TEXT_BYTES_MAX)), any::<bool>(), metadata());
    (identity, seen, described).prop_map(|(identity, seen, described)| EventDetected {
        event_id: identity.0,
        timestamp: identity.1,
        camera_id: identity.2,
        camera_name: identity.3,
        motion_confidence: seen.0,
        detected_objects: seen.1,
        image_path: seen.2,
        llm_description: described.0,
        description_expected: described.1,
        metadata: described.2,
    })
}

/// Any valid event_id.
pub fn event_id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "evt_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        2 => "[A-Za-z0-9._:-]{1,16}",
        1 => Just("x".repeat(EVENT_ID_BYTES_MAX)),
    ]
}

/// Any valid time, with any valid offset.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    let margin = i64::from(OFFSET_MINUTES_MAX) * 60_000_000;
    let micros = prop_oneof![
        4 => 1_600_000_000_000_000..2_000_000_000_000_000_i64,
        2 => (1_600_000_000..2_000_000_000_i64).prop_map(|seconds| seconds * 1_000_000),
        1 => (1_600_000_000_000..2_000_000_000_000_i64).prop_map(|millis| millis * 1_000),
        2 => TIME_MICROS_MIN + margin..=TIME_MICROS_MAX - margin,
        1 => Just(TIME_MICROS_MIN + margin),
        1 => Just(TIME_MICROS_MAX - margin),
    ];
    let offset = prop_oneof![
        3 => prop::sample::select(vec![0_i16, 60, 120, 540, -210, 345, -300]),
        1 => -OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX,
    ];
    (micros, offset)
        .prop_map(|(utc_micros, offset_minutes)| Timestamp { utc_micros, offset_minutes })
}

/// Any day with a four-digit year.
pub fn day() -> impl Strategy<Value = Day> {
    prop_oneof![18_000..22_000_i32, Day::MIN.0..=Day::MAX.0].prop_map(Day)
}

/// Any valid camera_id.
pub fn camera_id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["camera_1", "camera_2", "garden"]).prop_map(str::to_owned),
        1 => "[^\\p{Cc}]{1,20}",
        1 => Just("c".repeat(CAMERA_ID_BYTES_MAX)),
    ]
}

/// Any text of at most `bytes_max` bytes, with what is awkward to print in it.
pub fn text(bytes_max: usize) -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        8 => prop::char::range('a', 'z'),
        2 => any::<char>(),
        2 => prop::sample::select(vec![
            '\n', '\r', '\0', '\u{1b}', '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}', '\u{202e}',
            '\u{feff}', '"', '\\', '/', ' ', '\t', 'ü', '🐈',
        ]),
    ];
    vec(letter, 0..24).prop_map(move |letters| {
        let mut text = String::new();
        for letter in letters {
            if text.len() + letter.len_utf8() <= bytes_max {
                text.push(letter);
            }
        }
        text
    })
}

/// Any text of 1 to `bytes_max` bytes.
pub fn text_of_some(bytes_max: usize) -> impl Strategy<Value = String> {
    let full = "l".repeat(bytes_max);
    let some = |text: String| {
        if text.is_empty() { "person".to_owned() } else { text }
    };
    prop_oneof![20 => text(bytes_max).prop_map(some), 1 => Just(full)]
}

/// Any number from 0 to 1.
pub fn fraction() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => 0.0..=1.0_f64,
        3 => (0..=100_u8).prop_map(|percent| f64::from(percent) / 100.0),
        1 => prop::sample::select(vec![0.0, -0.0, 1.0, f64::MIN_POSITIVE, 5e-324, f64::EPSILON]),
    ]
}

/// Any valid object.
pub fn object() -> impl Strategy<Value = DetectedObject> {
    let place =
        prop_oneof![(-200..4_000_i32).prop_map(f64::from), -COORDINATE_MAX..=COORDINATE_MAX];
    let extent = prop_oneof![(0..4_000_i32).prop_map(f64::from), 0.0..=COORDINATE_MAX];
    let bbox = ([place.clone(), place], [extent.clone(), extent])
        .prop_map(|([x, y], [width, height])| BoundingBox { x, y, width, height });
    let label = prop_oneof![
        4 => prop::sample::select(vec!["person", "car", "cat", "motion"]).prop_map(str::to_owned),
        1 => text_of_some(LABEL_BYTES_MAX),
    ];
    (label, fraction(), bbox).prop_map(|(label, confidence, bbox)| DetectedObject {
        label,
        confidence,
        bbox,
    })
}

/// Any valid image_path.
pub fn image_path() -> impl Strategy<Value = String> {
    let file = prop_oneof!["evt_[0-9a-f-]{8,36}\\.jpg", "[A-Za-z0-9 _öß-]{1,20}\\.(png|JPEG|webp)"];
    (day(), file).prop_map(|(day, file)| format!("data/events/{day}/{file}"))
}

/// Any valid metadata, nested a little.
pub fn metadata() -> impl Strategy<Value = Metadata> {
    let name = prop_oneof![
        4 => prop::sample::select(vec!["frame", "inference_ms", "model", "threshold"])
            .prop_map(str::to_owned),
        1 => text(METADATA_NAME_BYTES_MAX),
    ];
    vec((name, json_value()), 0..5).prop_map(|fields| fields.into_iter().collect())
}

/// Any JSON value, nested a little, with every sort of number.
pub fn json_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (0..1_000_u64).prop_map(Number::from),
        any::<f64>().prop_filter_map("JSON has finite numbers only", Number::from_f64),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(Value::Number),
        text(TEXT_BYTES_MAX).prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let fields = vec((text(20), inner.clone()), 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()));
        prop_oneof![vec(inner, 0..4).prop_map(Value::Array), fields]
    })
}

/// A reference to any event.
pub fn event_ref() -> impl Strategy<Value = EventRef> {
    (1..=u64::MAX, day(), event_id()).prop_map(|(seq, event_day, event_id)| EventRef {
        event_seq: Seq(seq),
        event_day,
        event_id,
    })
}

fn ended() -> impl Strategy<Value = EventEnded> {
    (event_ref(), timestamp(), any::<u64>()).prop_map(|(event, last_seen, sightings)| EventEnded {
        event,
        last_seen,
        sightings,
    })
}

fn camera_minute() -> impl Strategy<Value = CameraMinute> {
    let reason = (text_of_some(SUPPRESSED_REASON_BYTES_MAX), any::<u64>())
        .prop_map(|(reason, count)| Suppressed { reason, count });
    let counted = (any::<u64>(), any::<u64>(), 0.0..=MOTION_PERCENT_MAX);
    let best = (option::of(text_of_some(LABEL_BYTES_MAX)), option::of(fraction()));
    (camera_id(), timestamp(), counted, best, vec(reason, 0..4)).prop_map(
        |(camera_id, minute, counted, best, suppressed)| CameraMinute {
            camera_id,
            minute,
            frames: counted.0,
            dropped: counted.1,
            max_motion: counted.2,
            best_label: best.0,
            best_confidence: best.1,
            suppressed,
        },
    )
}

fn camera_lost() -> impl Strategy<Value = CameraLost> {
    (camera_id(), timestamp(), text(TEXT_BYTES_MAX))
        .prop_map(|(camera_id, at, reason)| CameraLost { camera_id, at, reason })
}

fn camera_found() -> impl Strategy<Value = CameraFound> {
    (camera_id(), timestamp()).prop_map(|(camera_id, at)| CameraFound { camera_id, at })
}

fn detector_failed() -> impl Strategy<Value = DetectorFailed> {
    (option::of(camera_id()), timestamp(), text(TEXT_BYTES_MAX))
        .prop_map(|(camera_id, at, reason)| DetectorFailed { camera_id, at, reason })
}

fn delivery_failed() -> impl Strategy<Value = DeliveryFailed> {
    (camera_id(), timestamp(), option::of(text(TEXT_BYTES_MAX)))
        .prop_map(|(delivery, at, reason)| DeliveryFailed { delivery, at, reason })
}

fn description_added() -> impl Strategy<Value = DescriptionAdded> {
    (event_ref(), text(TEXT_BYTES_MAX), text(TEXT_BYTES_MAX), any::<u64>()).prop_map(
        |(event, llm_description, model, duration_ms)| DescriptionAdded {
            event,
            llm_description,
            model,
            duration_ms,
        },
    )
}

fn description_failed() -> impl Strategy<Value = DescriptionFailed> {
    (event_ref(), text(TEXT_BYTES_MAX))
        .prop_map(|(event, reason)| DescriptionFailed { event, reason })
}

fn image_purged() -> impl Strategy<Value = ImagePurged> {
    (event_ref(), image_path()).prop_map(|(event, image_path)| ImagePurged { event, image_path })
}

fn recorder_started() -> impl Strategy<Value = RecorderStarted> {
    (timestamp(), text(40), text(40), vec(camera_id(), 0..4)).prop_map(
        |(at, version, time_zone, cameras)| RecorderStarted { at, version, time_zone, cameras },
    )
}

fn recorder_stopped() -> impl Strategy<Value = RecorderStopped> {
    (timestamp(), text(TEXT_BYTES_MAX), any::<u64>(), any::<u64>())
        .prop_map(|(at, reason, uptime_s, events)| RecorderStopped { at, reason, uptime_s, events })
}

fn storage_warning() -> impl Strategy<Value = StorageWarning> {
    let level = prop::sample::select(vec![
        StorageLevel::Normal,
        StorageLevel::Approaching,
        StorageLevel::Rotating,
        StorageLevel::Exceeded,
    ]);
    (timestamp(), level, any::<u64>(), any::<u64>()).prop_map(
        |(at, level, used_bytes, limit_bytes)| StorageWarning {
            at,
            level,
            used_bytes,
            limit_bytes,
        },
    )
}
