//! Delete any projection: it comes back, byte for byte.

use std::fs;

use crate::harness::{Projected, TestEnv, lines};

/// Deletes what the bits of `choice` name.
fn delete(env: &TestEnv, choice: u32) {
    if choice & 1 != 0 {
        for name in ["events.db", "events.db-wal", "events.db-shm"] {
            let _ = fs::remove_file(env.data.join(name));
        }
    }
    for day in fs::read_dir(env.data.join("events")).unwrap() {
        let day = day.unwrap().path();
        for (bit, name) in [(2, "events.json"), (4, "events.log")] {
            if choice & bit != 0 {
                fs::remove_file(day.join(name)).unwrap();
            }
        }
    }
}

fn lab_with_events() -> (TestEnv, Projected) {
    let env = TestEnv::new();
    env.ingest(&lines(0..60)).expect(0);
    let before = env.projected();
    assert_eq!((before.rows.len(), before.json_ids().len(), before.blocks()), (60, 60, 60));
    assert_eq!(before.files.len(), 6, "three days, two files each: {:?}", before.files.keys());
    (env, before)
}

#[test]
fn every_combination_is_rebuilt_in_any_time_zone_as_often_as_one_likes() {
    for choice in 1..8 {
        for zone in ["Asia/Tokyo", "America/St_Johns"] {
            let (env, before) = lab_with_events();
            let env = env.with("TZ", zone);
            delete(&env, choice);
            env.run(&["replay", "verify"]).expect(1).says("DIFFERS");
            for round in 0..2 {
                env.run(&["replay", "rebuild"]).expect(0);
                assert_eq!(env.projected(), before, "choice {choice}, TZ {zone}, round {round}");
                env.verify();
            }
        }
    }
}

#[test]
fn the_next_start_brings_everything_back_without_being_asked() {
    for choice in 1..8 {
        let (env, before) = lab_with_events();
        delete(&env, choice);
        env.ingest(&[]).expect(0);
        assert_eq!(env.projected(), before, "choice {choice}");
        env.verify();
    }
}

#[test]
fn a_running_recorder_notices_and_brings_everything_back() {
    let (env, before) = lab_with_events();
    let pictures = env.path("pictures");
    fs::create_dir(&pictures).unwrap();
    let recording = env.record(&["--source", &format!("dir:{}", pictures.display())]);
    for choice in 1..8 {
        delete(&env, choice);
        env.until("what was deleted comes back", || (env.projected() == before).then_some(()));
    }
    env.run(&["replay", "rebuild"]).expect(0).says("by the recorder");
    assert_eq!(env.projected(), before);
    recording.stop().expect(0);
    env.verify();
}

#[test]
fn a_rebuild_of_some_days_leaves_the_others_alone() {
    let (env, before) = lab_with_events();
    let log = |day: &str| env.data.join("events").join(day).join("events.log");
    for day in ["2026-11-20", "2026-11-21"] {
        fs::write(log(day), "nonsense\n").unwrap();
    }
    env.run(&["replay", "rebuild", "--from", "2026-11-21", "--to", "2026-11-21"]).expect(0);
    assert_eq!(fs::read_to_string(log("2026-11-20")).unwrap(), "nonsense\n");
    assert_eq!(
        fs::read_to_string(log("2026-11-21")).unwrap(),
        before.files["2026-11-21/events.log"]
    );
}

#[test]
fn a_rebuild_elsewhere_leaves_what_is_there_alone() {
    let (env, before) = lab_with_events();
    let out = env.path("elsewhere");
    env.run(&["replay", "rebuild", "--out", out.to_str().unwrap()]).expect(0);
    assert_eq!(env.projected(), before);
    let mut other = TestEnv::new();
    other.data = out;
    assert_eq!(other.projected(), before);
}

#[test]
fn what_is_exported_is_ingested_again_to_the_same_lines() {
    let (env, before) = lab_with_events();
    let exported = env.run(&["replay", "export"]).expect(0).out;
    let other = TestEnv::new();
    other.feed(&["ingest"], exported.as_bytes()).expect(0);
    assert_eq!(other.projected().json_ids(), before.json_ids());
    let again = other.run(&["replay", "export"]).expect(0).out;
    assert_eq!(again, exported);
}

#[test]
fn an_export_has_all_digits_that_the_journal_has() {
    let env = TestEnv::new();
    let line = r#"{"event_id":"e","timestamp":"2026-11-20T10:00:00.123456+01:00","camera_id":"door",
        "motion_confidence":0.12345678,"detected_objects":[{"label":"cat","confidence":0.87654321}]}"#;
    env.feed(&["ingest"], line.replace('\n', "").as_bytes()).expect(0);
    let exported = env.run(&["replay", "export"]).expect(0).out;
    let other = TestEnv::new();
    other.feed(&["ingest"], exported.as_bytes()).expect(0);
    for text in [exported, other.run(&["replay", "cat", "--json"]).expect(0).out] {
        for digits in ["10:00:00.123456+01:00", "0.12345678", "0.87654321"] {
            assert!(text.contains(digits), "{digits}: {text}");
        }
    }
}
