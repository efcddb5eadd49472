//! Delete any projection: it comes back, byte for byte.

use std::fs;

use crate::harness::{Lab, Projected, lines};

/// Deletes what the bits of `choice` name.
fn delete(lab: &Lab, choice: u32) {
    if choice & 1 != 0 {
        for name in ["events.db", "events.db-wal", "events.db-shm"] {
            let _ = fs::remove_file(lab.data.join(name));
        }
    }
    for day in fs::read_dir(lab.data.join("events")).unwrap() {
        let day = day.unwrap().path();
        for (bit, name) in [(2, "events.json"), (4, "events.log")] {
            if choice & bit != 0 {
                fs::remove_file(day.join(name)).unwrap();
            }
        }
    }
}

fn lab_with_events() -> (Lab, Projected) {
    let lab = Lab::new();
    lab.ingest(&lines(0..60)).expect(0);
    let before = lab.projected();
    assert_eq!((before.rows.len(), before.json_ids().len(), before.blocks()), (60, 60, 60));
    assert_eq!(before.files.len(), 6, "three days, two files each: {:?}", before.files.keys());
    (lab, before)
}

#[test]
fn every_combination_is_rebuilt_in_any_time_zone_as_often_as_one_likes() {
    for choice in 1..8 {
        for zone in ["Asia/Tokyo", "America/St_Johns"] {
            let (lab, before) = lab_with_events();
            let lab = lab.with("TZ", zone);
            delete(&lab, choice);
            lab.run(&["replay", "verify"]).expect(1).says("DIFFERS");
            for round in 0..2 {
                lab.run(&["replay", "rebuild"]).expect(0);
                assert_eq!(lab.projected(), before, "choice {choice}, TZ {zone}, round {round}");
                lab.verify();
            }
        }
    }
}

#[test]
fn the_next_start_brings_everything_back_without_being_asked() {
    for choice in 1..8 {
        let (lab, before) = lab_with_events();
        delete(&lab, choice);
        lab.ingest(&[]).expect(0);
        assert_eq!(lab.projected(), before, "choice {choice}");
        lab.verify();
    }
}

#[test]
fn a_running_recorder_notices_and_brings_everything_back() {
    let (lab, before) = lab_with_events();
    let pictures = lab.path("pictures");
    fs::create_dir(&pictures).unwrap();
    let recording = lab.record(&["--source", &format!("dir:{}", pictures.display())]);
    for choice in 1..8 {
        delete(&lab, choice);
        lab.until("what was deleted comes back", || (lab.projected() == before).then_some(()));
    }
    lab.run(&["replay", "rebuild"]).expect(0).says("by the recorder");
    assert_eq!(lab.projected(), before);
    recording.stop().expect(0);
    lab.verify();
}

#[test]
fn a_rebuild_of_some_days_leaves_the_others_alone() {
    let (lab, before) = lab_with_events();
    let log = |day: &str| lab.data.join("events").join(day).join("events.log");
    for day in ["2026-11-20", "2026-11-21"] {
        fs::write(log(day), "nonsense\n").unwrap();
    }
    lab.run(&["replay", "rebuild", "--from", "2026-11-21", "--to", "2026-11-21"]).expect(0);
    assert_eq!(fs::read_to_string(log("2026-11-20")).unwrap(), "nonsense\n");
    assert_eq!(
        fs::read_to_string(log("2026-11-21")).unwrap(),
        before.files["2026-11-21/events.log"]
    );
}

#[test]
fn a_rebuild_elsewhere_leaves_what_is_there_alone() {
    let (lab, before) = lab_with_events();
    let out = lab.path("elsewhere");
    lab.run(&["replay", "rebuild", "--out", out.to_str().unwrap()]).expect(0);
    assert_eq!(lab.projected(), before);
    let mut other = Lab::new();
    other.data = out;
    assert_eq!(other.projected(), before);
}

#[test]
fn what_is_exported_is_ingested_again_to_the_same_lines() {
    let (lab, before) = lab_with_events();
    let exported = lab.run(&["replay", "export"]).expect(0).out;
    let other = Lab::new();
    other.feed(&["ingest"], exported.as_bytes()).expect(0);
    assert_eq!(other.projected().json_ids(), before.json_ids());
    let again = other.run(&["replay", "export"]).expect(0).out;
    assert_eq!(again, exported);
}
