//! Events that wait for their description, and descriptions that come late.

use std::fs;

use lenslog_engine::CommitKind;
use lenslog_projections::day_files::limits::HELD_MAX;

use crate::day_files::common::{BOTH, Real};
use crate::day_files::machine::Kept;

fn read(real: &Real, day: u8, name: &str) -> String {
    fs::read_to_string(real.path(day, name)).unwrap_or_default()
}

#[test]
fn an_event_is_written_once_with_its_description_though_the_process_ends_in_between() {
    for (kept, name) in [(Kept::Jsonl, "events.json"), (Kept::Plaintext, "events.log")] {
        let mut real = Real::with_events(kept);
        real.machine.detect(1, true).unwrap();
        let waiting = real.machine.events.last().unwrap().clone();
        let before = read(&real, 1, name);
        real.settle();
        assert_eq!(read(&real, 1, name), before, "it waits");
        real.machine.describe(waiting, 0).unwrap();
        real.settle();
        let behind = read(&real, 1, name)[before.len()..].to_owned();
        assert_eq!(behind.matches("A cat").count(), 1, "{behind}");
        assert!(!real.path(1, "amendments.json").exists() || kept == Kept::Jsonl);
        real.assert_whole();
    }
}

#[test]
fn a_late_description_is_an_amendment_in_the_day_of_its_event() {
    let mut real = Real::new(Kept::Jsonl);
    real.machine.detect(1, true).unwrap();
    let event = real.machine.events[0].clone();
    real.machine.describe(event.clone(), 1).unwrap();
    let seq = real.machine.describe(event.clone(), 0).unwrap();
    real.settle();
    assert!(read(&real, 1, "events.json").contains("\"llm_description\":null"));
    let line = read(&real, 1, "amendments.json");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["event_id"], "evt_0");
    assert_eq!((&line["event_seq"], &line["seq"]), (&event.event_seq.0.into(), &seq.0.into()));
    assert!(line["llm_description"].as_str().unwrap().starts_with("A cat\nwith"));
    assert_eq!((&line["model"], &line["duration_ms"]), (&"llava".into(), &17.into()));
    assert!(line["amended_at"].as_str().unwrap().starts_with("2026-11-23T10:00:00"));
    real.assert_whole();
}

#[test]
fn a_description_of_an_event_that_came_behind_the_tombstone_of_its_day_is_an_amendment() {
    let mut real = Real::new(Kept::Jsonl);
    real.machine.detect(1, false).unwrap();
    let pruned = real.machine.events[0].clone();
    real.machine.prune(1).unwrap();
    real.machine.describe(pruned, 0).unwrap();
    real.machine.detect(1, false).unwrap();
    let late = real.machine.events.last().unwrap().clone();
    real.machine.describe(late.clone(), 0).unwrap();
    real.settle();
    let lines = read(&real, 1, "amendments.json");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains(&format!("\"event_seq\":{}", late.event_seq)), "{lines}");
    real.assert_whole();
}

#[test]
fn a_late_description_in_the_plaintext_names_its_event_in_one_line() {
    let mut real = Real::new(Kept::Plaintext);
    real.machine.detect(1, false).unwrap();
    real.machine.describe(real.machine.events[0].clone(), 0).unwrap();
    real.settle();
    let text = read(&real, 1, "events.log");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("[2026-11-23 10:00:00] DESCRIPTION: evt_0: A cat with "), "{text}");
}

#[test]
fn with_too_many_waiting_the_oldest_is_written_without() {
    for kept in BOTH {
        let mut real = Real::new(kept);
        for _ in 0..=HELD_MAX {
            real.machine.detect(0, true).unwrap();
        }
        let mut follower = real.follower();
        follower.start().unwrap();
        follower.follow().unwrap();
        let written = fs::read_to_string(real.events(0)).unwrap();
        assert_eq!(written.matches("data/events").count(), usize::from(kept == Kept::Jsonl));
        assert_eq!(written.matches("10:00:00").count(), 1, "{written}");
        follower.commit(CommitKind::Durable).unwrap();
        real.machine.describe(real.machine.events[0].clone(), 0).unwrap();
        real.machine.describe(real.machine.events[1].clone(), 0).unwrap();
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn events_that_are_pruned_while_they_wait_are_never_written() {
    for kept in BOTH {
        let mut real = Real::new(kept);
        real.machine.detect(0, true).unwrap();
        real.machine.detect(2, false).unwrap();
        real.settle();
        let waiting = real.machine.events[0].clone();
        real.machine.prune(0).unwrap();
        real.machine.describe(waiting.clone(), 0).unwrap();
        real.machine.describe(waiting, 1).unwrap();
        real.settle();
        assert!(!real.path(0, "").exists());
        real.assert_whole();
    }
}
