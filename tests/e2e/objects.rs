//! Objects become events: with a model that finds coloured squares, in pictures that are put into a folder.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use image::{Rgb, RgbImage};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Recording, TestEnv};
use crate::onnx::color_finder;

/// A test environment with a model, a folder, and what is configured about them.
fn env(detector: &str) -> TestEnv {
    let env = TestEnv::new();
    fs::write(env.path("colors.onnx"), color_finder().model()).unwrap();
    fs::write(env.path("labels.txt"), "red\nblue\n").unwrap();
    fs::create_dir(env.path("uploads")).unwrap();
    let text = format!(
        "[cameras.door]\nname = 'front door'\nsource = 'dir:uploads'\n\
         [detector]\nmodel = 'colors.onnx'\nlabels = 'labels.txt'\nlayout = 'yolov8'\ntrack = ['red', 'blue']\n\
         timeout = '1s'\n{detector}\n[log]\nplaintext_metadata = true\n"
    );
    fs::write(env.path("lenslog.toml"), text).unwrap();
    env
}

/// A picture of 128 x 64 pixels, with squares in it that the model finds: of 32 x 32.
fn picture(squares: &[(u32, u32, [u8; 3])]) -> RgbImage {
    let mut picture = RgbImage::from_pixel(128, 64, Rgb([90, 90, 90]));
    for (left, top, color) in squares {
        for (x, y) in (0..32).flat_map(|x| (0..32).map(move |y| (x, y))) {
            picture.put_pixel(left + x, top + y, Rgb(*color));
        }
    }
    picture
}

const RED: [u8; 3] = [250, 10, 10];
const BLUE: [u8; 3] = [10, 10, 200];

/// Uploads a picture that was taken `hours` after the first.
fn upload(env: &TestEnv, hours: u64, picture: &RgbImage) {
    let path = env.path("upload.tmp");
    picture.save_with_format(&path, image::ImageFormat::Png).unwrap();
    let taken = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_424_400 + 3_600 * hours);
    fs::File::options().write(true).open(&path).unwrap().set_modified(taken).unwrap();
    fs::rename(&path, env.path("uploads").join(format!("{hours:03}.png"))).unwrap();
}

fn record(env: &TestEnv) -> Recording {
    let recording = env.record(&["--config", "lenslog.toml"]);
    env.until_cameras_are_up();
    recording
}

fn events(env: &TestEnv) -> Vec<Value> {
    let journal = env.journal();
    let events = journal.into_values().filter(|value| value["kind"] == "EventDetected");
    events.map(|value| value["record"].clone()).collect()
}

fn until_events(env: &TestEnv, count: usize) -> Vec<Value> {
    env.until("the events", || Some(events(env)).filter(|events| events.len() >= count))
}

/// The recorder's worker.
fn worker(recording: &Recording) -> Option<Pid> {
    let of_recorder = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let parent: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let is_worker = command.windows(15).any(|part| part == b"detector-worker");
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (parent == recording.child.id() && is_worker).then_some(pid)
    };
    let pid = fs::read_dir(Path::new("/proc")).unwrap().flatten().find_map(of_recorder)?;
    Pid::from_raw(pid)
}

#[test]
fn what_the_model_sees_stands_in_every_projection() {
    let env = env("blacklist = ['blue']");
    let recording = record(&env);
    upload(&env, 0, &picture(&[]));
    upload(&env, 1, &picture(&[(32, 0, RED)]));
    upload(&env, 2, &picture(&[(64, 32, BLUE)]));
    upload(&env, 3, &picture(&[(0, 32, RED), (96, 0, RED), (64, 32, BLUE)]));
    let events = until_events(&env, 2);
    env.until("all pictures are looked at", || {
        (env.status()["counters"]["frames"] == 4).then_some(())
    });
    recording.stop().expect(0);
    assert_eq!(events.len(), 2);
    let red = &events[0]["detected_objects"];
    assert_eq!(red.as_array().unwrap().len(), 1);
    assert_eq!(red[0]["label"], "red");
    assert_eq!(red[0]["bbox"], json!({"x": 32, "y": 0, "width": 32, "height": 32}));
    let confidence = red[0]["confidence"].as_f64().unwrap();
    assert!((confidence - 240.0 / 255.0).abs() < 0.02, "{confidence}");
    let metadata = &events[0]["metadata"];
    assert_eq!(
        (&metadata["model"], &metadata["min_object_confidence"]),
        (&json!("colors"), &json!(0.5))
    );
    assert!(metadata["inference_ms"].as_f64().unwrap() > 0.0 && metadata["frame_number"] == 1);
    let mut places: Vec<_> = events[1]["detected_objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["bbox"]["x"].as_f64().unwrap() as u32)
        .collect();
    places.sort_unstable();
    assert_eq!(places, [0, 96], "what is blacklisted is left out");

    let projected = env.projected();
    let (_, log) = projected.files.iter().find(|(name, _)| name.ends_with("events.log")).unwrap();
    assert!(
        log.contains(
            "] EVENT: Red detected at front door (confidence: 94%)\n  - Objects: red (94%)\n"
        ),
        "{log}"
    );
    assert!(log.contains("inference_ms=") && log.contains("model=colors"), "{log}");
    let journal = env.journal();
    let minutes: Vec<_> = journal
        .values()
        .filter(|value| value["kind"] == "CameraMinute")
        .map(|value| &value["record"])
        .collect();
    let suppressed: Vec<_> =
        minutes.iter().map(|minute| minute["suppressed"].to_string()).collect();
    assert_eq!(suppressed, [r#"{"no_object":1}"#, "{}", r#"{"blacklisted":1}"#, "{}"]);
    assert_eq!(minutes[2]["best_label"], "blue");
    assert!(minutes[2]["best_confidence"].as_f64().unwrap() > 0.7);
    env.verify();
    let metrics = fs::read_to_string(env.path("logs/metrics.json")).unwrap();
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(last["inference_ms"]["count"], 4);
}

/// A worker that ends, or never answers, costs the labels of some events and nothing else.
fn survives(signal: Signal, reported: &str) {
    let env = env("");
    let mut recording = record(&env);
    upload(&env, 0, &picture(&[(32, 0, RED)]));
    until_events(&env, 1);
    let first = worker(&recording).unwrap();
    kill_process(first, signal).unwrap();
    upload(&env, 1, &picture(&[(32, 0, RED)]));
    let events = until_events(&env, 2);
    let labels: Vec<_> =
        events.iter().map(|event| &event["detected_objects"][0]["label"]).collect();
    assert_eq!(labels, ["red", "motion"]);
    recording.wait_for(reported);
    let problems = env.run(&["status"]);
    assert!(problems.out.contains("detector: "), "{}", problems.out);
    // After a pause another worker takes its place, whenever there is something to look at.
    let mut hours = 2;
    env.until("a picture with a label", || {
        upload(&env, hours, &picture(&[(32, 0, RED)]));
        hours += 1;
        let events = until_events(&env, hours as usize);
        (events.last()?["detected_objects"][0]["label"] == "red").then_some(())
    });
    assert_ne!(worker(&recording), Some(first));
    recording.stop().expect(0);
    let failed: Vec<_> =
        env.journal().into_values().filter(|value| value["kind"] == "DetectorFailed").collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["record"]["reason"].as_str().unwrap().contains(reported), "{failed:?}");
    env.verify();
}

#[test]
fn a_worker_that_never_answers_is_ended_and_replaced() {
    survives(Signal::STOP, "did not answer within 1 s");
}

#[test]
fn a_worker_that_crashes_is_replaced() {
    survives(Signal::ABORT, "signal: 6");
}

#[test]
fn a_worker_ends_with_a_recorder_that_is_killed_even_if_it_is_stopped() {
    let env = env("");
    let mut recording = record(&env);
    let pid = worker(&recording).unwrap();
    recording.child.kill().unwrap();
    recording.child.wait().unwrap();
    env.until("the worker ends", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok();
        // Gone, or an uncollected zombie.
        stat.is_none_or(|stat| stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_worker_that_is_told_to_end_leaves_that_to_the_recorder() {
    let env = env("");
    let recording = record(&env);
    let worker = worker(&recording).unwrap();
    // As a service manager and a terminal do, which signal all processes.
    kill_process(worker, Signal::TERM).unwrap();
    kill_process(worker, Signal::INT).unwrap();
    upload(&env, 0, &picture(&[(32, 0, RED)]));
    assert_eq!(until_events(&env, 1)[0]["detected_objects"][0]["label"], "red");
    recording.stop().expect(0);
    assert!(env.journal().values().all(|value| value["kind"] != "DetectorFailed"));
    env.until("the worker ends", || {
        (!Path::new(&format!("/proc/{}", worker.as_raw_nonzero())).exists()).then_some(())
    });
}

#[test]
fn an_end_while_cameras_wait_for_the_detector_makes_no_events() {
    let env = env("");
    fs::create_dir(env.path("yard")).unwrap();
    let text = fs::read_to_string(env.path("lenslog.toml")).unwrap().replace("'1s'", "'2m'");
    fs::write(env.path("lenslog.toml"), format!("{text}\n[cameras.yard]\nsource = 'dir:yard'\n"))
        .unwrap();
    let recording = record(&env);
    kill_process(worker(&recording).unwrap(), Signal::STOP).unwrap();
    upload(&env, 0, &picture(&[]));
    picture(&[]).save(env.path("yard.png")).unwrap();
    fs::rename(env.path("yard.png"), env.path("yard").join("1.png")).unwrap();
    env.until("both wait", || (env.status()["counters"]["frames"] == 2).then_some(()));
    recording.stop().expect(0);
    assert_eq!(events(&env), [Value::Null; 0]);
}

#[test]
fn a_live_camera_drops_frames_while_the_detector_is_slow_and_counts_them() {
    let env = env("");
    let mut recording = env.record(&["--config", "lenslog.toml", "--source", "test:"]);
    // A person walks by from the sixth second on, which is no coloured square.
    let pid = worker(&recording).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    recording.wait_for("did not answer within 1 s");
    let dropped = env.until("dropped frames", || {
        env.status()["counters"]["frames_dropped"].as_u64().filter(|dropped| *dropped > 0)
    });
    // Five a second came, and two of them waited.
    assert!((1..60).contains(&dropped), "{dropped}");
    recording.stop().expect(0);
    let journal = env.journal();
    let minutes = journal.values().filter(|value| value["kind"] == "CameraMinute");
    let counted: u64 = minutes.map(|minute| minute["record"]["dropped"].as_u64().unwrap()).sum();
    assert!(counted >= dropped, "{counted}");
}

#[test]
fn a_camera_that_waits_for_the_detector_delays_no_other() {
    let env = env("");
    let text = fs::read_to_string(env.path("lenslog.toml")).unwrap().replace("'1s'", "'2m'");
    fs::write(env.path("lenslog.toml"), format!("{text}\n[cameras.yard]\nsource = 'test:'\n"))
        .unwrap();
    let recording = record(&env);
    let worker = worker(&recording).unwrap();
    kill_process(worker, Signal::STOP).unwrap();
    upload(&env, 0, &picture(&[(32, 0, RED)]));
    let frames = || env.status()["counters"]["frames"].as_u64().unwrap();
    let before = frames();
    // The yard is looked at five times a second, and the folder once.
    env.until("frames of the other camera", || (frames() >= before + 10).then_some(()));
    assert_eq!(events(&env).len(), 0, "the folder waits");
    kill_process(worker, Signal::CONT).unwrap();
    assert_eq!(until_events(&env, 1)[0]["detected_objects"][0]["label"], "red");
    recording.stop().expect(0);
}

#[test]
fn another_model_is_taken_on_a_reload_and_one_that_is_none_is_not() {
    let env = env("");
    let mut recording = record(&env);
    let first = worker(&recording).unwrap();
    let text = fs::read_to_string(env.path("lenslog.toml")).unwrap();
    fs::write(env.path("bad.onnx"), "no model").unwrap();
    fs::write(env.path("lenslog.toml"), text.replace("colors.onnx", "bad.onnx")).unwrap();
    recording.signal(Signal::HUP);
    recording.wait_for("the old one stays in force");
    recording.wait_for("the configuration is reloaded");
    assert_eq!(worker(&recording), Some(first));
    fs::copy(env.path("colors.onnx"), env.path("other.onnx")).unwrap();
    fs::write(env.path("lenslog.toml"), text.replace("colors.onnx", "other.onnx")).unwrap();
    recording.signal(Signal::HUP);
    recording.wait_for("the configuration is reloaded");
    env.until_cameras_are_up();
    upload(&env, 0, &picture(&[(32, 0, RED)]));
    assert_eq!(until_events(&env, 1)[0]["metadata"]["model"], "other");
    assert_ne!(worker(&recording), Some(first));
    recording.stop().expect(0);
}
