//! What a model sees in a real recording of people walking by: that it sees them, twice the same, by either library.

use std::path::PathBuf;

use lenslog_events::{BoundingBox, DetectedObject};
use lenslog_vision::motion::MotionOutcome;
use serde_json::Value;

use crate::detector::{
    Seen, clip, coco_labels, detector, lacks_clip_or_model, milliseconds, onnxruntime, yolox_nano,
};
use crate::harness::{TestEnv, lacks, pedestrians};

/// Records the clip with the model. Returns what does not depend on when and under which name it was recorded.
fn facts(library: Option<&PathBuf>) -> Vec<Value> {
    let env = TestEnv::new();
    let (model, labels) = (yolox_nano(), coco_labels());
    let library = library.map_or_else(String::new, |path| path.display().to_string());
    let text =
        format!("[detector]\nmodel = {model:?}\nlabels = {labels:?}\nonnxruntime = {library:?}\n");
    std::fs::write(env.path("lenslog.toml"), text).unwrap();
    let source = format!("file:{}", pedestrians().display());
    let start = "2026-11-20T10:00:00+01:00";
    let arguments =
        ["record", "--config", "lenslog.toml", "--source", &source, "--no-pace", "--start", start];
    env.run(&arguments).expect(0).says("200 frames looked at, 0 dropped");
    env.verify();
    let projected = env.projected();
    assert_eq!(projected.row_ids(), env.journaled_ids());
    let log = projected.files.values().find(|text| text.contains("EVENT: ")).unwrap();
    assert!(log.contains("] EVENT: Person detected at camera_1 (confidence: "), "{log}");
    let kinds = ["EventDetected", "EventEnded", "CameraMinute"];
    let journal = env.journal().into_values();
    let records = journal.filter(|value| kinds.iter().any(|kind| value["kind"] == *kind));
    records.map(|value| without_names(value["record"].clone())).collect()
}

fn without_names(mut record: Value) -> Value {
    let fields = record.as_object_mut().unwrap();
    for volatile in ["event_id", "image_path"] {
        fields.remove(volatile);
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        assert!(metadata.remove("inference_ms").unwrap().as_f64().unwrap() > 0.0);
    }
    record
}

#[test]
fn people_walking_by_are_events_of_persons_and_the_same_ones_every_time() {
    if lacks_clip_or_model() {
        return;
    }
    let library = onnxruntime();
    let facts_of = || facts(library.as_ref());
    let first = facts_of();
    let events: Vec<_> = first.iter().filter(|fact| fact["detected_objects"].is_array()).collect();
    assert!((1..=5).contains(&events.len()), "{events:?}");
    for event in events {
        let objects = event["detected_objects"].as_array().unwrap();
        let labels: Vec<_> =
            objects.iter().map(|object| object["label"].as_str().unwrap()).collect();
        // A van is parked there, whose box people brush against: it does not drive.
        assert!(labels.iter().all(|label| *label == "person"), "{labels:?}");
    }
    assert_eq!(first, facts_of());
}

/// Where people are in some frames, by eye: a point on each of them.
const PEOPLE: [(u64, &[(f64, f64)]); 3] = [
    (30, &[(632.0, 285.0), (485.0, 245.0), (517.0, 245.0)]),
    (100, &[(625.0, 315.0), (712.0, 300.0), (495.0, 180.0), (235.0, 225.0)]),
    (180, &[(448.0, 288.0), (552.0, 240.0), (717.0, 285.0), (747.0, 285.0)]),
];

fn persons(seen: &Seen) -> Vec<&DetectedObject> {
    let objects = seen.detection.iter().flat_map(|detection| &detection.objects);
    objects.filter(|object| object.label == "person" && object.confidence >= 0.5).collect()
}

fn contains(bbox: &BoundingBox, (x, y): (f64, f64)) -> bool {
    (bbox.x..bbox.x + bbox.width).contains(&x) && (bbox.y..bbox.y + bbox.height).contains(&y)
}

fn with_step(step: u64, library: Option<PathBuf>) -> Vec<Seen> {
    clip(&detector(library), step)
}

#[test]
fn boxes_sit_on_people_and_labels_make_sense_on_a_street() {
    if lacks_clip_or_model() {
        return;
    }
    let seen = with_step(10, None);
    for (number, people) in PEOPLE {
        let persons = persons(&seen[number as usize]);
        for person in people {
            assert!(
                persons.iter().any(|object| contains(&object.bbox, *person)),
                "frame {number}: {person:?} {persons:?}"
            );
        }
    }
    let sensible = ["person", "car", "truck", "bus", "bicycle", "backpack", "handbag", "suitcase"];
    let mut looked = 0;
    for frame in seen.iter().filter(|frame| frame.detection.is_some()) {
        looked += 1;
        assert!(!persons(frame).is_empty(), "a person moves in frame {}", frame.frame.number);
        for object in &frame.detection.as_ref().unwrap().objects {
            let is_absurd = object.confidence >= 0.5 && !sensible.contains(&object.label.as_str());
            assert!(!is_absurd, "{object:?} in frame {}", frame.frame.number);
            let BoundingBox { x, y, width, height } = object.bbox;
            assert!(
                x >= 0.0 && y >= 0.0 && x + width <= 768.01 && y + height <= 576.01,
                "{object:?}"
            );
        }
    }
    assert!(looked >= 10, "{looked}");
}

#[test]
fn both_libraries_see_the_same_boxes() {
    if lacks_clip_or_model() {
        return;
    }
    let Some(library) = onnxruntime() else {
        lacks("python3 with onnxruntime", false);
        return;
    };
    // All frames, and a row for each, where the table is asked for.
    let is_table = std::env::var_os("LENSLOG_TEST_TABLE").is_some();
    let step = if is_table { 1 } else { 20 };
    let (built_in, other) = (with_step(step, None), with_step(step, Some(library)));
    if is_table {
        built_in.iter().zip(&other).for_each(|(one, other)| print_row(one, other));
    }
    let mut compared = 0;
    for (one, other) in built_in.iter().zip(&other) {
        let objects = |seen: &Seen| {
            seen.detection
                .clone()
                .unwrap_or_else(|| lenslog::Detection {
                    objects: Vec::new(),
                    inference: std::time::Duration::ZERO,
                })
                .objects
        };
        let (one, other) = (objects(one), objects(other));
        for (these, those) in [(&one, &other), (&other, &one)] {
            for object in these.iter().filter(|object| object.confidence >= 0.3) {
                assert!(those.iter().any(|twin| is_twin(object, twin)), "{object:?} in {those:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 50, "{compared}");
}

fn is_twin(one: &DetectedObject, other: &DetectedObject) -> bool {
    let sides = |bbox: &BoundingBox| [bbox.x, bbox.y, bbox.x + bbox.width, bbox.y + bbox.height];
    let pairs = sides(&one.bbox).into_iter().zip(sides(&other.bbox));
    one.label == other.label
        && (one.confidence - other.confidence).abs() < 0.02
        && pairs.into_iter().all(|(one, other)| (one - other).abs() <= 2.0)
}

/// A row of the table in docs/PERFORMANCE.md.
fn print_row(built_in: &Seen, other: &Seen) {
    let (MotionOutcome::Motion(motion), Some(one), Some(two)) =
        (&built_in.outcome, &built_in.detection, &other.detection)
    else {
        return;
    };
    let moves = |object: &&&DetectedObject| motion.moving.share(&object.bbox, &[]) >= 0.05;
    let (seen, seen_by_other) = (persons(built_in), persons(other));
    println!(
        "| {} | {:.2} | {} | {} | {} | {} | {:.0} | {:.0} |",
        built_in.frame.number,
        motion.changed_percent,
        motion.regions.len(),
        seen.len(),
        seen.iter().filter(moves).count(),
        seen_by_other.len(),
        milliseconds(one.inference),
        milliseconds(two.inference),
    );
}
