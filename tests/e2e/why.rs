//! `lenslog why`: explains moments with and without an event.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::harness::{TestEnv, is_installed};

/// Records the synthetic scene with that configuration, and returns a moment of it at which something moved.
fn record(env: &TestEnv, config: &str) -> String {
    let text = format!("{config}\n[cameras.door]\nsource = \"test:\"\n");
    fs::write(env.path("lenslog.toml"), text).unwrap();
    env.run(&["record", "--duration", "8s"]).expect(0);
    let journal = env.journal();
    let of = |kind: &'static str| journal.values().filter(move |value| value["kind"] == kind);
    let time = of("EventDetected").next().map(|event| &event["record"]["timestamp"]);
    // Of two minutes the one that saw more: the other may have ended while the background was still learned.
    let motion = |minute: &Value| minute["record"]["max_motion"].as_f64().unwrap_or_default();
    let most = of("CameraMinute").max_by(|one, other| motion(one).total_cmp(&motion(other)));
    time.or_else(|| most.map(|minute| &minute["record"]["minute"]))
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

/// When a record of that kind was made.
fn time_of(env: &TestEnv, kind: &str) -> DateTime<Utc> {
    let journal = env.journal();
    let record = journal.values().find(|value| value["kind"] == kind).unwrap();
    record["record"]["at"].as_str().unwrap().parse().unwrap()
}

#[track_caller]
fn check(env: &TestEnv, at: &str, expected: &[&str]) {
    let ran = env.run(&["why", "--camera", "door", "--at", at]).expect(0);
    for words in expected {
        assert!(ran.out.contains(words), "'{words}' is not in:\n{}", ran.out);
    }
}

#[test]
fn a_moment_with_an_event_is_told_with_the_event_and_the_numbers() {
    let env = TestEnv::new();
    let at = record(&env, "");
    let id = env.journaled_ids().remove(0);
    let words =
        ["There was an event: ", &id, "frames were looked at", "the threshold is 2 %", "enough"];
    check(&env, &at, &words);
    let table = env.run(&["why", "--at", &at, "--around", "10m"]).expect(0).out;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head[..7], ["TIME", "CAMERA", "FRAMES", "DROPPED", "CHANGED", "BEST", "EVENTS"]);
    // Two rows where a minute ended meanwhile, and the first may have ended while the background was still learned.
    let mut rows = table.lines().filter(|line| line.contains(" door "));
    assert!(rows.any(|row| row.contains("motion")), "{table}");
    env.run(&["why", "--at", &at, "--around", "25h"]).expect(2).says("at most 24h");
}

#[test]
fn what_suppressed_a_moment_is_told() {
    let env = TestEnv::new();
    let at = record(&env, "[detector]\nblacklist = [\"motion\"]");
    assert!(env.journaled_ids().is_empty());
    check(
        &env,
        &at,
        &["made no event: what was seen is on the blacklist", "The best sighting was motion"],
    );
    let table = env.run(&["why", "--at", &at, "--around", "1m"]).expect(0).out;
    assert!(table.contains("blacklisted "), "{table}");
}

#[test]
fn too_little_motion_is_told_against_the_threshold() {
    let env = TestEnv::new();
    let at = record(&env, "[motion]\nthreshold_percent = 90.0");
    check(&env, &at, &["of the picture changed, too little for motion: the threshold is 90 %"]);
    check(&env, &at, &["made no event: too little of the picture changed"]);
}

#[test]
fn a_camera_that_was_away_is_told_with_since_when_until_when_and_why() {
    let env = TestEnv::new();
    let config = |source: &str| {
        fs::write(env.path("lenslog.toml"), format!("[cameras.door]\nsource = {source:?}\n"))
            .unwrap();
    };
    assert!(is_installed("sh"));
    config("exec:sh -c 'echo no lens >&2; exit 3'");
    let mut recording = env.record_until("camera lost", &[]);
    let status = env.status();
    assert_eq!(status["cameras"][0]["state"], "lost", "{status:#}");
    let ran = env.run(&["why", "--camera", "door", "--at", "now"]).expect(0);
    for words in [
        "no frame was looked at",
        "The camera was away from",
        "is not back",
        "exit code 3; last output: no lens",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    config("dir:pictures");
    recording.signal(rustix::process::Signal::HUP);
    recording.wait_for("camera lost");
    fs::create_dir(env.path("pictures")).unwrap();
    recording.wait_for("camera reconnected");
    recording.stop().expect(0);
    let lost = time_of(&env, "CameraLost").to_rfc3339();
    check(&env, &lost, &["The camera was away from", " to ", "exit code 3", "pictures"]);
    env.run(&["why", "--at", &lost, "--around", "2m"]).expect(0).says("door was away from");
}

#[test]
fn a_moment_in_which_the_recorder_did_not_run_is_told_as_that() {
    let env = TestEnv::new();
    record(&env, "");
    let started = time_of(&env, "RecorderStarted");
    let before = (started - TimeDelta::minutes(5)).to_rfc3339();
    check(
        &env,
        &before,
        &["no frame was looked at", "before the recorder began: it was first started on"],
    );
    check(&env, "2020-01-01", &["before the recorder began"]);
    let after = (Utc::now() + TimeDelta::hours(1)).to_rfc3339();
    check(&env, &after, &["The recorder did not run from", "was not started again", "duration"]);
    let mut killed = env.record(&[]);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    check(&env, &after, &["it was killed, or the power went"]);
    env.run(&["record", "--duration", "1s"]).expect(0);
    let table = env.run(&["why", "--at", "now", "--around", "5m"]).expect(0);
    table.says("it was killed, or the power went");
}

#[test]
fn an_unknown_camera_is_told_with_those_that_are_known() {
    let env = TestEnv::new();
    let at = record(&env, "");
    let ran = env.run(&["why", "--camera", "dor", "--at", &at]).expect(0);
    ran.says("There is no camera of that id. Known are: door");
    env.run(&["why", "--at", "noon"]).expect(2).says("expected now");
}

#[test]
fn persons_since_yesterday_are_listed() {
    let env = TestEnv::new();
    let event = |id: &str, hours: i64, label: &str| {
        json!({
            "event_id": id,
            "timestamp": (Utc::now() - TimeDelta::hours(hours)).to_rfc3339(),
            "camera_id": "door",
            "detected_objects": [{"label": label, "confidence": 0.9}],
        })
        .to_string()
    };
    env.ingest(&[event("old", 72, "person"), event("cat", 0, "cat"), event("new", 0, "person")])
        .expect(0);
    let out = env.run(&["events", "--label", "person", "--since", "yesterday"]).expect(0).out;
    assert!(out.contains(" new ") && out.contains("person 90%"), "{out}");
    assert!(!out.contains(" old ") && !out.contains("cat"), "{out}");
}
