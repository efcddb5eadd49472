//! The reader of payloads before bytes of any sort: what was encoded comes back, what was not is an error, and
//! no length or count makes it allocate what is not there.

use allocation_counter::AllocationInfo;
use lenslog_events::limits::METADATA_VALUES_MAX;
use lenslog_events::testing::strategies;
use lenslog_events::{
    BoundingBox, CameraMinute, DecodeError, DetectedObject, Event, PayloadFault, RecorderStarted,
    Suppressed, decode, encode, kind, testing,
};
use lenslog_journal::Timestamp;
use proptest::prelude::*;

/// Bytes allocated in all, as a multiple of the payload's, beside parsed metadata.
const PAYLOAD_FACTOR: u64 = 8;
/// For what an error says.
const ERROR_BYTES: u64 = 2_048;
/// Bytes that one parsed value of the metadata takes at most: an object of one short name, its node in the map
/// above it, and what a growing list throws away.
const VALUE_BYTES: u64 = 400;

fn measured<T>(run: impl FnOnce() -> T) -> (T, AllocationInfo) {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(run()));
    (result.unwrap(), info)
}

/// Decodes as every version of every kind; what it does with the bytes is bounded, and it never panics.
fn check_all(payload: &[u8]) {
    for row in kind::TABLE {
        for version in 1..=row.version {
            check(row.number, version, payload);
        }
    }
}

fn check(kind: u16, version: u16, payload: &[u8]) {
    let (decoded, info) = measured(|| decode(kind, version, payload));
    let length = payload.len() as u64;
    // A value takes a byte of text and one that parts it from the next.
    let has_values = kind == kind::EVENT_DETECTED;
    let values = if has_values { (length / 2).min(METADATA_VALUES_MAX as u64) } else { 0 };
    let bound = PAYLOAD_FACTOR * length + ERROR_BYTES + VALUE_BYTES * values;
    assert!(
        info.bytes_total <= bound,
        "{} bytes for {length} of kind {kind}: {decoded:?}",
        info.bytes_total
    );
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Overwrite(prop::sample::Index, u64),
    Truncate(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    let hostile = prop_oneof![
        any::<u64>(),
        0..1_000_u64,
        prop::sample::select(vec![u64::MAX, 1 << 63, u64::from(u32::MAX), 1 << 24, 1 << 20]),
    ];
    prop_oneof![
        (at(), 1..=u8::MAX).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (at(), hostile).prop_map(|(at, number)| Mutation::Overwrite(at, number)),
        at().prop_map(Mutation::Truncate),
        (at(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
    ]
}

fn mutated(mut payload: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations.iter().cloned() {
        if payload.is_empty() {
            break;
        }
        match mutation {
            Mutation::Flip(at, bits) => {
                let at = at.index(payload.len());
                payload[at] ^= bits;
            }
            Mutation::Overwrite(at, number) => {
                let at = at.index(payload.len());
                let bytes = number.to_le_bytes();
                let end = payload.len().min(at + bytes.len());
                payload[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Mutation::Truncate(at) => payload.truncate(at.index(payload.len())),
            Mutation::Insert(at, bytes) => {
                let at = at.index(payload.len());
                payload.splice(at..at, bytes);
            }
        }
    }
    payload
}

proptest! {
    #![proptest_config(testing::config(512))]

    #[test]
    fn what_was_encoded_comes_back_bit_for_bit(event in strategies::event()) {
        let encoded = encode(&event);
        let decoded = decode(encoded.kind, encoded.version, &encoded.payload).unwrap().unwrap();
        // Equal numbers can have different bits (-0.0), equal bytes cannot.
        prop_assert_eq!(encode(&decoded), encoded);
        prop_assert_eq!(decoded, event);
    }

    #[test]
    fn random_bytes_are_decoded_within_bounds(payload in prop::collection::vec(any::<u8>(), 0..400)) {
        check_all(&payload);
    }

    #[test]
    fn mutated_payloads_are_decoded_within_bounds(
        event in strategies::event(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let encoded = encode(&event);
        check(encoded.kind, encoded.version, &encoded.payload);
        check_all(&mutated(encoded.payload, &mutations));
    }

    #[test]
    fn a_payload_cut_anywhere_is_an_error(event in strategies::event()) {
        let encoded = encode(&event);
        for end in 0..encoded.payload.len() {
            let decoded = decode(encoded.kind, encoded.version, &encoded.payload[..end]);
            prop_assert!(decoded.is_err(), "cut at {}: {:?}", end, decoded);
        }
    }
}

#[test]
fn trailing_bytes_are_an_error() {
    for event in testing::sample(40) {
        let mut encoded = encode(&event);
        let expected = encoded.payload.len();
        encoded.payload.push(0);
        let error = decode(encoded.kind, encoded.version, &encoded.payload).unwrap_err();
        let DecodeError::Malformed { fault, .. } = error else { panic!("{error}") };
        assert_eq!(fault, PayloadFault::TrailingBytes { expected, found: expected + 1 });
    }
}

/// A payload of `EventDetected` whose metadata has one value of this text.
fn with_metadata(text: &str) -> Vec<u8> {
    let Some(Event::Detected(mut event)) = testing::sample(2).pop() else { panic!("no event") };
    event.metadata.clear();
    event.metadata.insert("x".to_owned(), text.into());
    let payload = encode(&Event::Detected(event)).payload;
    // The text was encoded as a JSON string: in its place goes the text itself, with its own length.
    let quoted = serde_json::to_string(text).unwrap();
    let head = payload.len() - quoted.len() - size_of::<u64>();
    let mut payload = payload[..head].to_vec();
    payload.extend((text.len() as u64).to_le_bytes());
    payload.extend(text.as_bytes());
    payload
}

fn metadata_fault(text: &str) -> String {
    match decode(kind::EVENT_DETECTED, 2, &with_metadata(text)) {
        Err(DecodeError::Malformed { fault: fault @ PayloadFault::Metadata { .. }, .. }) => {
            fault.to_string()
        }
        other => panic!("{text:.40} gives {other:?}"),
    }
}

#[test]
fn metadata_that_is_not_one_json_value_is_an_error() {
    assert_eq!(metadata_fault(""), "metadata \"x\": EOF while parsing a value at column 0");
    for text in ["1 2", "nul", "{\"a\":1,\"a\":2}", "1e999", "\"\\ud800\"", "NaN", "\"\n\""] {
        metadata_fault(text);
    }
}

#[test]
fn metadata_deeper_or_larger_than_the_limits_is_an_error() {
    assert_eq!(
        metadata_fault(&"[".repeat(1_000_000)),
        "metadata \"x\": nested deeper than is accepted"
    );
    let many = format!("[{}0]", "0,".repeat(METADATA_VALUES_MAX));
    assert_eq!(metadata_fault(&many), "metadata \"x\": more values than are accepted");
}

#[test]
fn metadata_made_to_take_much_memory_stays_within_bounds() {
    for (value, values) in [("{\"\":0}", 2), ("[0]", 2), ("0", 1), ("[[[[[[0]]]]]]", 7)] {
        let fitting = METADATA_VALUES_MAX / values - 1;
        let text = format!("[{}{value}]", format!("{value},").repeat(fitting - 1));
        let payload = with_metadata(&text);
        let (decoded, info) = measured(|| decode(kind::EVENT_DETECTED, 2, &payload));
        assert!(decoded.is_ok(), "{value}: {decoded:?}");
        println!("{value}: {} times {}", info.bytes_total / payload.len() as u64, payload.len());
        check(kind::EVENT_DETECTED, 2, &payload);
    }
}

#[test]
fn a_count_that_lies_allocates_nothing() {
    // camera_id, minute, frames, dropped, max_motion, no label, no confidence, and then the count.
    let minute = |count: u64| {
        let mut payload = vec![0; 8 + 10 + 8 + 8 + 8 + 1 + 1];
        payload.extend(count.to_le_bytes());
        payload
    };
    assert!(decode(kind::CAMERA_MINUTE, 1, &minute(0)).is_ok());
    for count in [1, 1_000, 1 << 20, 1 << 40, u64::MAX] {
        let payload = minute(count);
        let (decoded, info) = measured(|| decode(kind::CAMERA_MINUTE, 1, &payload));
        assert!(matches!(decoded, Err(DecodeError::Malformed { .. })), "{decoded:?}");
        assert!(info.bytes_total <= ERROR_BYTES, "{} bytes", info.bytes_total);
    }
}

#[test]
fn sequences_of_the_smallest_elements_stay_within_bounds() {
    const COUNT: usize = 10_000;
    let Some(Event::Detected(mut detected)) = testing::sample(2).pop() else { panic!("no event") };
    let bbox = BoundingBox::default();
    let object = DetectedObject { label: String::new(), confidence: 0.0, bbox };
    detected.detected_objects = vec![object; COUNT];
    let minute = CameraMinute {
        camera_id: String::new(),
        minute: Timestamp::default(),
        frames: 0,
        dropped: 0,
        max_motion: 0.0,
        best_label: None,
        best_confidence: None,
        suppressed: vec![Suppressed { reason: String::new(), count: 0 }; COUNT],
    };
    let started = RecorderStarted {
        at: Timestamp::default(),
        version: String::new(),
        time_zone: String::new(),
        cameras: vec![String::new(); COUNT],
    };
    let events =
        [Event::Detected(detected), Event::CameraMinute(minute), Event::RecorderStarted(started)];
    for event in events {
        let encoded = encode(&event);
        check(encoded.kind, encoded.version, &encoded.payload);
        assert_eq!(decode(encoded.kind, encoded.version, &encoded.payload), Ok(Some(event)));
    }
}

#[test]
fn a_large_payload_of_hostile_bytes_stays_within_bounds() {
    for byte in [0, 1, 8, 0x7F, 0xFF] {
        check_all(&vec![byte; 4 * 1024 * 1024]);
    }
}
