//! A real recording of people walking by, through the whole recorder.

use std::fs;

use serde_json::Value;

use crate::harness::{TestEnv, lacks, pedestrians};

fn recorded() -> TestEnv {
    let env = TestEnv::new();
    let source = format!("file:{}", pedestrians().display());
    let ran = env.run(&[
        "record",
        "--source",
        &source,
        "--no-pace",
        "--start",
        "2026-11-20T10:00:00+01:00",
    ]);
    ran.expect(0).says("200 frames looked at, 0 dropped");
    env
}

/// What does not depend on when and under which name it was recorded.
fn facts(env: &TestEnv) -> Vec<Value> {
    let mut facts = Vec::new();
    for mut value in env.journal().into_values() {
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
    let env = recorded();
    let ids = env.journaled_ids();
    assert!((2..=20).contains(&ids.len()), "{} events", ids.len());
    let projected = env.projected();
    assert_eq!(projected.row_ids(), ids);
    assert_eq!(projected.json_ids(), ids);
    assert_eq!(projected.blocks(), ids.len());
    env.verify();
    assert_eq!(facts(&env), facts(&recorded()));
}

#[test]
fn each_event_has_a_picture_with_its_box_drawn_into_it() {
    if lacks("media/pedestrians.mjpeg", pedestrians().exists()) {
        return;
    }
    let env = recorded();
    let events = env.journal();
    let events = events.values().filter(|value| value["kind"] == "EventDetected");
    for event in events {
        let record = &event["record"];
        let path = record["image_path"].as_str().unwrap().strip_prefix("data/").unwrap();
        let bytes = fs::read(env.data.join(path)).unwrap();
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

#[test]
fn a_file_starts_at_every_time_that_the_documents_promise() {
    let picture = image::RgbImage::new(64, 48);
    let jpeg =
        lenslog_vision::drawing::encode_jpeg(&picture, lenslog_vision::drawing::Quality::default());
    let jpeg = jpeg.unwrap();
    let record = |start: &str| {
        let env = TestEnv::new();
        fs::write(env.path("clip.mjpeg"), &jpeg).unwrap();
        let source = format!("file:{}", env.path("clip.mjpeg").display());
        let ran = env.run(&["record", "--source", &source, "--no-pace", "--start", start]);
        (env, ran)
    };
    for (start, expected) in [
        ("now", ""),
        ("10m ago", ""),
        ("today", "T00:00:00"),
        ("yesterday", "T00:00:00"),
        ("14:32", "T14:32:00"),
        ("yesterday 14:32", "T14:32:00"),
        ("2026-11-20 14:32", "2026-11-20T14:32:00"),
        ("2026-11-20T14:32:00+05:30", "2026-11-20T14:32:00+05:30"),
    ] {
        let (env, ran) = record(start);
        ran.expect(0).says("1 frame looked at");
        let journal = env.journal();
        let minutes: Vec<_> =
            journal.values().filter(|record| record["kind"] == "CameraMinute").collect();
        let [minute] = &minutes[..] else { panic!("{start}: {journal:?}") };
        let minute = minute["record"]["minute"].as_str().unwrap();
        assert!(minute.contains(expected), "{start}: {minute}");
    }
    let (_, refused) = record("noon");
    let refused = refused.expect(2);
    assert!(refused.err.contains("--start: 'noon' is not a time"), "{}", refused.err);
}
