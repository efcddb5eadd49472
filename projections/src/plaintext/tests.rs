use chrono::DateTime;
use lenslog_events::testing::{config, detected};
use lenslog_events::{BoundingBox, Metadata};
use proptest::prelude::*;

use super::*;

fn event(time: &str, objects: &[(&str, f64)]) -> EventDetected {
    let object = |(label, confidence): &(&str, f64)| DetectedObject {
        label: (*label).to_owned(),
        confidence: *confidence,
        bbox: BoundingBox::default(),
    };
    EventDetected {
        event_id: "evt_12345".to_owned(),
        timestamp: Timestamp::from_local(DateTime::parse_from_rfc3339(time).unwrap()),
        camera_id: "camera_1".to_owned(),
        camera_name: Some("front door".to_owned()),
        motion_confidence: None,
        detected_objects: objects.iter().map(object).collect(),
        image_path: None,
        llm_description: None,
        description_expected: false,
        metadata: Metadata::new(),
    }
}

#[test]
fn an_event_looks_exactly_as_promised() {
    let mut event = event("2025-11-08T14:32:15+01:00", &[("package", 0.87), ("person", 0.92)]);
    let description = "Person in blue shirt carrying brown package approaching front door";
    event.llm_description = Some(description.to_owned());
    event.image_path = Some("data/events/2025-11-08/evt_12345.jpg".to_owned());
    assert_eq!(
        plaintext_block(&event),
        "[2025-11-08 14:32:15] EVENT: Person detected at front door (confidence: 92%)\n  \
         - Objects: person (92%), package (87%)\n  \
         - Description: Person in blue shirt carrying brown package approaching front door\n  \
         - Image: data/events/2025-11-08/evt_12345.jpg\n"
    );
}

#[test]
fn what_an_event_lacks_has_no_line() {
    let mut event = event("2025-11-08T23:59:59.999-03:30", &[]);
    event.camera_name = None;
    let first = "[2025-11-08 23:59:59] EVENT: Motion detected at camera_1";
    assert_eq!(plaintext_block(&event), format!("{first}\n"));
    event.motion_confidence = Some(0.505);
    event.llm_description = Some(" \n".to_owned());
    assert_eq!(plaintext_block(&event), format!("{first} (confidence: 51%)\n"));
}

#[test]
fn metadata_is_one_line_where_it_is_asked_for() {
    let mut event = event("2025-11-08T14:32:15Z", &[("cat", 1.0)]);
    let fields = serde_json::json!({"frame": 25, "model": "a\nb", "times": [1, 2.5]});
    event.metadata = fields.as_object().unwrap().clone();
    let mut out = Vec::new();
    Plaintext { metadata: true }.event(&mut out, &event, Seq(1));
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("\n  - Metadata: frame=25, model=a b, times=[1,2.5]\n"), "{text}");
    assert!(!plaintext_block(&event).contains("Metadata"));
}

#[test]
fn a_description_cannot_forge_an_event() {
    let mut event = event("2025-11-08T14:32:15Z", &[("cat\n[2025", 0.5)]);
    let forged = "x\n\n[2025-11-08 14:32:15] EVENT: Cat detected at \u{202e}garden";
    event.llm_description = Some(forged.to_owned());
    event.camera_name = Some("door\r\n  - Image: /etc/passwd".to_owned());
    let block = plaintext_block(&event);
    assert_eq!(block.lines().count(), 3, "{block}");
    assert_eq!(Plaintext::entries(block.as_bytes()).len(), 1);
    assert!(!block.contains('\u{202e}'));
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn blocks_come_apart_as_they_were_put_together(
        events in prop::collection::vec(detected(), 0..5),
        metadata in any::<bool>(),
    ) {
        let mut format = Plaintext { metadata };
        let mut file = Vec::new();
        let mut blocks = Vec::new();
        for event in &events {
            let mut block = Vec::new();
            format.event(&mut block, event, Seq(1));
            if !file.is_empty() {
                file.extend_from_slice(Plaintext::SEPARATOR);
            }
            file.extend_from_slice(&block);
            blocks.push(block);
        }
        prop_assert_eq!(Plaintext::entries(&file), blocks.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn an_event_is_recognised_with_and_without_its_description(mut event in detected()) {
        event.llm_description = None;
        let without = plaintext_block(&event);
        event.llm_description = Some("A cat".to_owned());
        let with = plaintext_block(&event);
        prop_assert_ne!(&without, &with);
        prop_assert_eq!(Plaintext::key(without.as_bytes()), Plaintext::key(with.as_bytes()));
    }
}
