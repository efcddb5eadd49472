//! Rotten bytes, through the programs: what is lost is named, nothing else is, and recording goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lenslog_journal::Random;
use serde_json::Value;

use crate::harness::{Lab, line, lines};

/// Offsets tried; more with `LENSLOG_FLIPS=2000`.
fn flips() -> u64 {
    std::env::var("LENSLOG_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// A journal of two sealed segments and an active one, closed cleanly.
fn original() -> Lab {
    let lab = Lab::new();
    // The newest event of a journal's own day begins no new segment: the size does, and that is small for a small limit.
    let lab = lab.with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.01");
    for start in (0..1200).step_by(400) {
        lab.ingest(&lines(start..start + 400)).expect(0);
    }
    lab
}

fn segments(lab: &Lab) -> Vec<PathBuf> {
    let mut segments: Vec<PathBuf> = fs::read_dir(lab.data.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    segments
}

fn flip(path: &PathBuf, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

fn ids(lab: &Lab) -> BTreeSet<String> {
    lab.journaled_ids().into_iter().collect()
}

/// Seqs that a verification tells as lost.
fn told_lost(report: &Value) -> u64 {
    let range = |lost: &Value| lost["last"].as_u64().unwrap() - lost["first"].as_u64().unwrap();
    report["lost"].as_array().unwrap().iter().map(|lost| range(lost) + 1).sum()
}

#[test]
fn a_flipped_byte_anywhere_is_named_and_costs_only_the_frame_it_hits() {
    let original = original();
    let before = ids(&original);
    assert_eq!(before.len(), 1200);
    let mut random = Random::new(7);
    let (mut damaged, mut harmless) = (0, 0);
    for round in 0..flips() {
        let lab = original.copy().with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.01");
        let segments = segments(&lab);
        let segment = &segments[random.below(segments.len() as u64) as usize];
        let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
        let offset = random.below(fs::metadata(segment).unwrap().len()) as usize;
        let context = format!("round {round}, {name} offset {offset}");
        flip(segment, offset);
        let verified = lab.run(&["replay", "verify", "--json"]);
        let report: Value = serde_json::from_str(&verified.out).unwrap();
        if verified.code == Some(0) {
            harmless += 1;
            assert_eq!(ids(&lab), before, "{context}");
            continue;
        }
        damaged += 1;
        assert_eq!(verified.code, Some(3), "{context}: {}{}", verified.out, verified.err);
        let lost = told_lost(&report);
        let first = &report["lost"][0];
        assert_eq!(first["segment"], name.as_str(), "{context}");
        assert!(first["offset"].as_u64().unwrap() <= offset as u64, "{context}: {first}");
        let after = ids(&lab);
        assert_eq!(before.len() - after.len(), lost as usize, "{context}: {report:#}");
        assert!(lost <= 1, "{context}: each event is a frame of its own, {lost} are lost");
        goes_on(&lab, &after, &context);
    }
    assert!(damaged > 10 && harmless > 10, "{damaged} damaged, {harmless} harmless");
}

/// The directory is recovered, told degraded, takes events, and keeps its old projections.
fn goes_on(lab: &Lab, after: &BTreeSet<String>, context: &str) {
    let rows = lab.projected().rows.len();
    let ran = lab.run(&["replay", "rebuild"]);
    assert_eq!(ran.code, Some(3), "{context}: {}", ran.out);
    assert_eq!(lab.projected().rows.len(), rows, "{context}");
    let recording = lab.record(&["--source", "test:"]);
    let added = lab.ingest(&[line(5000)]);
    assert_eq!(added.code, Some(0), "{context}: {}", added.err);
    // In the newest segment it was met at the start; in a sealed one it is when somebody has the recorder read it.
    let ran = lab.run(&["replay", "rebuild"]);
    assert_eq!(ran.code, Some(3), "{context}: {}", ran.out);
    let gaps = lab.status()["journal"]["gaps"].clone();
    assert_eq!(gaps.as_array().unwrap().len(), 1, "{context}: {gaps}");
    assert!(lab.run(&["status"]).expect(1).out.contains("degraded"), "{context}");
    recording.stop();
    let ids = ids(lab);
    assert!(ids.is_superset(after) && ids.contains("test-5000"), "{context}");
    let verified = lab.run(&["replay", "verify"]);
    assert_eq!(verified.code, Some(3), "{context}: {}", verified.out);
}

#[test]
fn accepting_the_loss_keeps_the_old_projections_aside() {
    let lab = original();
    let segment = &segments(&lab)[0];
    let bytes = fs::read(segment).unwrap();
    let offset = bytes.windows(8).position(|window| window == b"test-100").unwrap();
    flip(segment, offset);
    let before = lab.projected();
    lab.run(&["replay", "verify"]).expect(3).says("lost");
    lab.run(&["replay", "rebuild"]).expect(3).says("--accept-loss");
    assert_eq!(lab.projected(), before);
    lab.run(&["replay", "rebuild", "--accept-loss"]).expect(3);
    let after = lab.projected();
    assert_eq!(after.rows.len(), before.rows.len() - 1);
    assert!(!after.row_ids().contains(&"test-100".to_owned()));
    let kept = fs::read(lab.data.join("events.db.lost-1")).unwrap();
    assert!(kept.windows(8).any(|window| window == b"test-100"), "the last copy is kept aside");
    let day = lab.data.join("events/2026-11-21");
    let asides: Vec<String> = fs::read_dir(&day)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("test-100\"")))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(!asides.is_empty() && !asides.contains(&"events.json".to_owned()), "{asides:?}");
}

#[test]
fn a_missing_segment_is_named_and_the_rest_is_read() {
    let lab = original();
    let first = segments(&lab).remove(0);
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(&first).unwrap();
    lab.run(&["replay", "verify"]).expect(3).says(&name).says("the segment is missing");
    // The projections are past it: they hold the last copies, and go on.
    lab.ingest(&lines(2000..2001)).expect(0);
    assert!(ids(&lab).contains("test-2000"));
    assert_eq!(lab.projected().rows.len(), 1201);
    lab.run(&["replay", "rebuild"]).expect(3).says("last copy");
    // Whoever reads it has it journaled.
    fs::remove_file(lab.data.join("checkpoints/jsonl")).unwrap();
    lab.ingest(&lines(2001..2002)).says("WARNING");
    lab.run(&["status"]).expect(1).says("degraded");
}

#[test]
fn a_journal_that_was_deleted_leaves_the_last_copies_of_its_events() {
    let lab = Lab::new();
    lab.ingest(&lines(0..20)).expect(0);
    let before = lab.projected();
    fs::remove_dir_all(lab.data.join("journal")).unwrap();
    let told = lab.ingest(&[line(5000)]).expect(0).err;
    assert!(told.contains("none of its segments is there"), "{told}");
    let after = lab.projected();
    assert_eq!((after.rows.len(), after.blocks()), (before.rows.len() + 1, before.blocks() + 1));
    lab.run(&["replay", "verify"]).expect(3);
    lab.run(&["status"]).expect(1);
}

#[test]
fn a_newest_segment_that_was_deleted_is_told_for_good_and_its_events_stay_where_they_were_projected()
 {
    let lab = original().with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.01");
    let before = lab.projected();
    fs::remove_file(segments(&lab).last().unwrap()).unwrap();
    lab.ingest(&[line(5000)]).expect(0);
    let after = ids(&lab);
    assert!(after.len() < 1201, "{}", after.len());
    let report: Value =
        serde_json::from_str(&lab.run(&["replay", "verify", "--json"]).expect(3).out).unwrap();
    assert!(told_lost(&report) >= 1201 - after.len() as u64, "{report:#}");
    lab.run(&["replay", "rebuild"]).expect(3);
    assert_eq!(lab.projected().rows.len(), before.rows.len() + 1);
}
