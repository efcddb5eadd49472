//! A real recording of people walking by, through the whole recorder.

use std::fs;

use serde_json::Value;

use crate::harness::{Lab, lacks, pedestrians};

fn recorded() -> Lab {
    let lab = Lab::new();
    let source = format!("file:{}", pedestrians().display());
    let ran = lab.run(&[
        "record",
        "--source",
        &source,
        "--no-pace",
        "--start",
        "2026-11-20T10:00:00+01:00",
    ]);
    ran.expect(0).says("200 frames looked at, 0 dropped");
    lab
}

/// What does not depend on when and under which name it was recorded.
fn facts(lab: &Lab) -> Vec<Value> {
    let mut facts = Vec::new();
    for mut value in lab.journal().into_values() {
        let kind = value["kind"].as_str().unwrap().to_owned();
        if kind == "RecorderStarted" || kind == "RecorderStopped" {
            continue;
        }
        let record = value["record"].as_object_mut().unwrap();
        for volatile in ["event_id", "image_path"] {
            record.remove(volatile);
        }
        facts.push(value["record"].clone());
    }
    facts
}

#[test]
fn people_walking_by_are_some_events_and_the_same_ones_every_time() {
    if lacks("media/pedestrians.mjpeg", pedestrians().exists()) {
        return;
    }
    let lab = recorded();
    let ids = lab.journaled_ids();
    assert!((2..=20).contains(&ids.len()), "{} events", ids.len());
    let projected = lab.projected();
    assert_eq!(projected.row_ids(), ids);
    assert_eq!(projected.json_ids(), ids);
    assert_eq!(projected.blocks(), ids.len());
    lab.verify();
    assert_eq!(facts(&lab), facts(&recorded()));
}

#[test]
fn each_event_has_a_picture_with_its_box_drawn_into_it() {
    if lacks("media/pedestrians.mjpeg", pedestrians().exists()) {
        return;
    }
    let lab = recorded();
    let events = lab.journal();
    let events = events.values().filter(|value| value["kind"] == "EventDetected");
    for event in events {
        let record = &event["record"];
        let path = record["image_path"].as_str().unwrap().strip_prefix("data/").unwrap();
        let bytes = fs::read(lab.data.join(path)).unwrap();
        let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (768, 576));
        let bbox = &record["detected_objects"][0]["bbox"];
        let side = |name: &str| bbox[name].as_f64().unwrap() as u32;
        assert!(side("x") + side("width") <= 768 && side("y") + side("height") <= 576, "{bbox}");
        assert!(side("width") > 8 && side("height") > 8, "{bbox}");
        // The frame of the box has one saturated colour, which the grey street has nowhere.
        let saturation = |x: u32, y: u32| {
            let pixel = picture.get_pixel(x.min(767), y.min(575)).0;
            let (low, high) = (pixel.iter().min().unwrap(), pixel.iter().max().unwrap());
            u32::from(high - low)
        };
        let middle = side("y") + side("height") / 2;
        let edge = (0..4).map(|dx| saturation(side("x") + dx, middle)).max().unwrap();
        assert!(edge > 60, "no box at {bbox}: {edge}");
    }
}
