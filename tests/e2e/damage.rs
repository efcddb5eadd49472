//! Rotten bytes, through the programs: what is lost is named, nothing else is, and recording goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lenslog_journal::Random;
use serde_json::Value;

use crate::harness::{TestEnv, line, lines};

/// Offsets tried; more with `LENSLOG_FLIPS=2000`.
fn flips() -> u64 {
    std::env::var("LENSLOG_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// A journal of two sealed segments and an active one, closed cleanly.
fn original() -> TestEnv {
    let env = TestEnv::new();
    // The newest event of a journal's own day begins no new segment: the size does, and that is small for a small limit.
    let env = env.with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.01");
    for start in (0..1200).step_by(400) {
        env.ingest(&lines(start..start + 400)).expect(0);
    }
    env
}

fn segments(env: &TestEnv) -> Vec<PathBuf> {
    let mut segments: Vec<PathBuf> = fs::read_dir(env.data.join("journal"))
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

fn ids(env: &TestEnv) -> BTreeSet<String> {
    env.journaled_ids().into_iter().collect()
}

/// Seqs that a verification reports as lost.
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
        let env = original.copy().with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.01");
        let segments = segments(&env);
        let segment = &segments[random.below(segments.len() as u64) as usize];
        let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
        let offset = random.below(fs::metadata(segment).unwrap().len()) as usize;
        let context = format!("round {round}, {name} offset {offset}");
        flip(segment, offset);
        let verified = env.run(&["replay", "verify", "--json"]);
        let report: Value = serde_json::from_str(&verified.out).unwrap();
        if verified.code == Some(0) {
            harmless += 1;
            assert_eq!(ids(&env), before, "{context}");
            continue;
        }
        damaged += 1;
        assert_eq!(verified.code, Some(5), "{context}: {}{}", verified.out, verified.err);
        let lost = told_lost(&report);
        let first = &report["lost"][0];
        assert_eq!(first["segment"], name.as_str(), "{context}");
        assert!(first["offset"].as_u64().unwrap() <= offset as u64, "{context}: {first}");
        let after = ids(&env);
        assert_eq!(before.len() - after.len(), lost as usize, "{context}: {report:#}");
        assert!(lost <= 1, "{context}: each event is a frame of its own, {lost} are lost");
        goes_on(&env, &after, &context);
    }
    assert!(damaged > 10 && harmless > 10, "{damaged} damaged, {harmless} harmless");
}

/// The directory is recovered, reported degraded, takes events, and keeps its old projections.
fn goes_on(env: &TestEnv, after: &BTreeSet<String>, context: &str) {
    let rows = env.projected().rows.len();
    let ran = env.run(&["replay", "rebuild"]);
    assert_eq!(ran.code, Some(5), "{context}: {}", ran.out);
    assert_eq!(env.projected().rows.len(), rows, "{context}");
    let recording = env.record(&["--source", "test:"]);
    let added = env.ingest(&[line(5000)]);
    assert_eq!(added.code, Some(0), "{context}: {}", added.err);
    // In the newest segment it was met at the start; in a sealed one it is when the recorder reads it.
    let ran = env.run(&["replay", "rebuild"]);
    assert_eq!(ran.code, Some(5), "{context}: {}", ran.out);
    let gaps = env.status()["journal"]["gaps"].clone();
    assert_eq!(gaps.as_array().unwrap().len(), 1, "{context}: {gaps}");
    assert!(env.run(&["status"]).expect(1).out.contains("degraded"), "{context}");
    recording.stop();
    let ids = ids(env);
    assert!(ids.is_superset(after) && ids.contains("test-5000"), "{context}");
    let verified = env.run(&["replay", "verify"]);
    assert_eq!(verified.code, Some(5), "{context}: {}", verified.out);
}

#[test]
fn accepting_the_loss_keeps_the_old_projections_aside() {
    let env = original();
    let segment = &segments(&env)[0];
    let bytes = fs::read(segment).unwrap();
    let offset = bytes.windows(8).position(|window| window == b"test-100").unwrap();
    flip(segment, offset);
    let before = env.projected();
    env.run(&["replay", "verify"]).expect(5).says("lost");
    env.run(&["replay", "rebuild"]).expect(5).says("--accept-loss");
    assert_eq!(env.projected(), before);
    env.run(&["replay", "rebuild", "--accept-loss"]).expect(5);
    let after = env.projected();
    assert_eq!(after.rows.len(), before.rows.len() - 1);
    assert!(!after.row_ids().contains(&"test-100".to_owned()));
    let kept = fs::read(env.data.join("events.db.lost-1")).unwrap();
    assert!(kept.windows(8).any(|window| window == b"test-100"), "the last copy is kept aside");
    let day = env.data.join("events/2026-11-21");
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
    let env = original();
    let first = segments(&env).remove(0);
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(&first).unwrap();
    env.run(&["replay", "verify"]).expect(5).says(&name).says("the segment is missing");
    // The projections are past it: they hold the last copies, and go on.
    env.ingest(&lines(2000..2001)).expect(0);
    assert!(ids(&env).contains("test-2000"));
    assert_eq!(env.projected().rows.len(), 1201);
    env.run(&["replay", "rebuild"]).expect(5).says("last copy");
    // Reading it journals the loss.
    fs::remove_file(env.data.join("checkpoints/jsonl")).unwrap();
    env.ingest(&lines(2001..2002)).says("WARNING");
    env.run(&["status"]).expect(1).says("degraded");
}

#[test]
fn a_journal_that_was_deleted_leaves_the_last_copies_of_its_events() {
    let env = TestEnv::new();
    env.ingest(&lines(0..20)).expect(0);
    let before = env.projected();
    fs::remove_dir_all(env.data.join("journal")).unwrap();
    let reported = env.ingest(&[line(5000)]).expect(0).err;
    assert!(reported.contains("none of them exists"), "{reported}");
    let after = env.projected();
    assert_eq!((after.rows.len(), after.blocks()), (before.rows.len() + 1, before.blocks() + 1));
    env.run(&["replay", "verify"]).expect(5);
    env.run(&["status"]).expect(1);
}

#[test]
fn a_newest_segment_that_was_deleted_is_told_for_good_and_its_events_stay_where_they_were_projected()
 {
    let env = original().with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.01");
    let before = env.projected();
    fs::remove_file(segments(&env).last().unwrap()).unwrap();
    env.ingest(&[line(5000)]).expect(0);
    let after = ids(&env);
    assert!(after.len() < 1201, "{}", after.len());
    let report: Value =
        serde_json::from_str(&env.run(&["replay", "verify", "--json"]).expect(5).out).unwrap();
    assert!(told_lost(&report) >= 1201 - after.len() as u64, "{report:#}");
    env.run(&["replay", "rebuild"]).expect(5);
    assert_eq!(env.projected().rows.len(), before.rows.len() + 1);
}
