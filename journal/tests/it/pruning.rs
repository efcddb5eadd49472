//! Pruning by date: what a tombstone names goes, whatever interrupts it, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{ROOT, append, clock, options, read_all, read_from, record, segments, view};
use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
use lenslog_journal::{
    Appended, Clock, Day, Entry, Error, Journal, Options, Resume, Seq, SimulatedClock, Timestamp,
};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn open_at(storage: &FaultyStorage, clock: &Arc<SimulatedClock>) -> Journal {
    let options = Options { segment_bytes_max: Some(64 << 10), ..options(storage, clock) };
    Journal::open(ROOT, &options).unwrap()
}

/// Four days from 2026-11-23 on, two records each: seqs 1 to 8.
fn four_days(storage: &FaultyStorage) -> (Journal, Arc<SimulatedClock>) {
    let clock = clock();
    let journal = open_at(storage, &clock);
    for index in 0..4_u8 {
        if index > 0 {
            clock.advance(Duration::from_secs(86_400));
        }
        append(&journal, &[index, 1]);
        append(&journal, &[index, 2]);
    }
    (journal, clock)
}

#[test]
fn whole_days_go_and_readers_begin_at_the_floor() {
    let storage = FaultyStorage::new();
    let (journal, _) = four_days(&storage);
    let mut early = journal.view().reader(Seq(2), Default::default()).unwrap();
    let mut earlier = journal.view().reader(Seq::FIRST, Default::default()).unwrap();
    earlier.next().unwrap();
    let position = earlier.position().unwrap();
    let pruned = journal.prune_through(day("2026-11-24")).unwrap();
    assert_eq!(pruned.segments.len(), 2);
    assert_eq!(segments(&storage).len(), 4, "the files go only when they are unlinked");
    assert_eq!(journal.unlink_pruned().unwrap().segments, 2);
    assert_eq!(segments(&storage).len(), 2);
    for view in [journal.view(), view(&storage)] {
        assert_eq!(view.floor().unwrap(), Seq(5));
        let found = read_all(&view);
        assert_eq!(found.payloads(), [[2, 1], [2, 2], [3, 1], [3, 2]]);
        assert!(found.lost.is_empty());
        let below = view.reader(Seq(2), Default::default());
        assert!(matches!(below, Err(Error::Pruned { floor: Seq(5) })));
        let resumed = view.resume(&position, Default::default()).unwrap();
        let Resume::Pruned(mut reader) = resumed else { panic!("{resumed:?}") };
        assert!(
            matches!(reader.next().unwrap(), Some(Entry::Record(record)) if record.seq == Seq(5))
        );
    }
    assert!(matches!(early.next(), Err(Error::Pruned { floor: Seq(5) })));
    assert!(!journal.health().is_degraded());
}

/// Records of days in 2037, which a wrong clock named, go where their seqs put them: with what was recorded around
/// them, whether the clock was a sender's or that of the journal.
#[test]
fn days_of_a_wrong_clock_go_in_the_place_of_their_seqs() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let wrong = |text: &'static [u8]| record(text).day(day("2037-05-05"));
    let next_day = || clock.advance(Duration::from_secs(86_400));
    let _ = journal.append(&[record(b"the 23rd"), wrong(b"a sender's clock")]).unwrap();
    next_day();
    let right = clock.read().wall;
    clock.step_to(Timestamp { utc_micros: right.utc_micros + 400 * 86_400_000_000, ..right });
    append(&journal, b"the clock of this machine");
    clock.step_to(right);
    next_day();
    append(&journal, b"the 25th");
    next_day();
    append(&journal, b"the 26th");
    let wrong_from = day("2026-11-28");
    // What only the wrong clock dates may be as late as what comes after it.
    let pruned = journal.prune_around(day("2026-11-24"), wrong_from).unwrap();
    assert_eq!((pruned.segments.len(), pruned.wrong_from), (0, None));
    let pruned = journal.prune_around(day("2026-11-25"), wrong_from).unwrap();
    assert_eq!((pruned.segments.len(), pruned.wrong_from), (3, Some(wrong_from)));
    assert_eq!(journal.unlink_pruned().unwrap().segments, 3);
    let found = read_all(&journal.view());
    assert_eq!(found.payloads(), [b"the 26th"]);
    assert!(found.lost.is_empty());
    // What comes later is not touched by it, and no later tombstone has to name a day after today.
    let _ = journal.append(&[wrong(b"wrong again")]).unwrap();
    assert_eq!(journal.view().pruned_through().unwrap(), Some(day("2026-11-25")));
    let pruned = journal.prune_around(day("2026-11-25"), wrong_from).unwrap();
    assert_eq!((pruned.segments.len(), pruned.wrong_from), (0, None));
    journal.close().unwrap();
    let journal = open_at(&storage, &clock);
    assert_eq!(read_all(&journal.view()).payloads().len(), 2);
}

#[test]
fn a_segment_with_a_later_day_stays_above_the_floor() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    // A description written today about an event of next week keeps its segment.
    let later = record(b"of a later day").day(day("2026-12-01"));
    let _ = journal.append(&[record(b"old"), later]).unwrap();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(86_400));
        append(&journal, b"x");
    }
    let pruned = journal.prune_through(day("2026-11-25")).unwrap();
    let ranges: Vec<_> = pruned.segments.iter().map(|segment| segment.range.to_string()).collect();
    assert_eq!(ranges, ["3", "4"]);
    journal.unlink_pruned().unwrap();
    for view in [journal.view(), view(&storage)] {
        assert_eq!(view.floor().unwrap(), Seq::FIRST);
        let found = read_all(&view);
        let seqs: Vec<_> = found.records.iter().map(|(seq, _)| seq.0).collect();
        assert_eq!(seqs, [1, 2, 5]);
        assert!(found.lost.is_empty(), "{:?}", found.lost);
        assert_eq!(read_from(&view, Seq(4)).records.len(), 1);
    }
    drop(journal);
    let journal = open_at(&storage, &clock);
    assert!(read_all(&journal.view()).lost.is_empty());
}

#[test]
fn ingested_history_is_pruned_by_its_own_day() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let history = record(b"long ago").day(day("2025-01-01"));
    let _ = journal.append(&[history]).unwrap();
    // The active segment holds nothing but history: it is sealed and goes.
    let pruned = journal.prune_through(day("2025-06-01")).unwrap();
    assert_eq!(pruned.segments.len(), 1);
    journal.unlink_pruned().unwrap();
    append(&journal, b"today");
    let _ = journal.append(&[history]).unwrap();
    // Beside a record of today it stays until that may go as well.
    assert!(journal.prune_through(day("2025-06-01")).unwrap().segments.is_empty());
    assert_eq!(read_all(&journal.view()).records.len(), 2);
}

#[test]
fn a_tombstone_never_names_a_day_before_the_last_one() {
    let storage = FaultyStorage::new();
    let (journal, clock) = four_days(&storage);
    assert_eq!(journal.prune_through(day("2026-11-24")).unwrap().day, day("2026-11-24"));
    assert_eq!(journal.prune_through(day("2020-01-01")).unwrap().day, day("2026-11-24"));
    drop(journal);
    let journal = open_at(&storage, &clock);
    assert_eq!(journal.prune_through(day("2020-01-01")).unwrap().day, day("2026-11-24"));
}

#[test]
fn keys_of_pruned_records_are_free_again() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let keyed = record(b"keyed").key([1; 16]);
    let _ = journal.append(&[keyed]).unwrap();
    clock.advance(Duration::from_secs(86_400));
    append(&journal, b"next day");
    assert!(matches!(journal.append(&[keyed]).unwrap(), Appended::Duplicate { .. }));
    journal.prune_through(day("2026-11-23")).unwrap();
    assert!(matches!(journal.append(&[keyed]).unwrap(), Appended::Duplicate { .. }));
    journal.unlink_pruned().unwrap();
    assert!(matches!(journal.append(&[keyed]).unwrap(), Appended::New(_)));
}

#[test]
fn pruning_a_damaged_segment_ends_the_degraded_state() {
    let storage = FaultyStorage::new();
    let (journal, clock) = four_days(&storage);
    storage.rot(&segments(&storage)[0], 8192 + 50, 1);
    for lost in read_all(&journal.view()).lost {
        journal.report_lost(&lost).unwrap();
    }
    assert!(journal.health().is_degraded());
    journal.prune_through(day("2026-11-23")).unwrap();
    journal.unlink_pruned().unwrap();
    assert!(!journal.health().is_degraded());
    drop(journal);
    let journal = open_at(&storage, &clock);
    assert!(!journal.health().is_degraded());
    assert!(read_all(&journal.view()).lost.is_empty());
}

#[test]
fn the_next_opening_finishes_an_interrupted_pruning() {
    let prepared = FaultyStorage::new();
    let (journal, clock) = four_days(&prepared);
    drop(journal);
    let prune = |storage: &FaultyStorage| {
        let later = clock.clone();
        let options = Options { segment_bytes_max: Some(64 << 10), ..options(storage, &later) };
        let Ok(journal) = Journal::open(ROOT, &options) else { return };
        let _ = journal.prune_through(day("2026-11-24"));
        let _ = journal.unlink_pruned();
    };
    let counting = prepared.snapshot();
    prune(&counting);
    for operation in 0..=counting.operations() {
        for seed in 0..10 {
            let storage = prepared.snapshot();
            storage.inject(Fault::PowerCutAfter { operations: operation });
            prune(&storage);
            let storage = storage.power_cut(seed);
            let journal = open_at(&storage, &clock);
            let found = read_all(&journal.view());
            let at = format!("operation {operation} seed {seed}");
            assert!(found.lost.is_empty(), "{at}: {:?}", found.lost);
            let tombstone = found
                .system
                .iter()
                .any(|record| matches!(record, lenslog_journal::ControlRecord::PrunedThrough(_)));
            assert_eq!(found.records.len(), if tombstone { 4 } else { 8 }, "{at}");
            let files = segments(&storage).len();
            let old = storage
                .files()
                .iter()
                .filter(|path| path.to_string_lossy().contains("2026-11-24."))
                .count();
            assert_eq!(old > 0, !tombstone, "{at}: {files} segments");
        }
    }
}

#[test]
fn more_holes_than_a_header_can_name_leave_segments_for_later() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let kept = day("2030-01-01");
    for _ in 0..200 {
        append(&journal, b"goes");
        clock.advance(Duration::from_secs(86_400));
        let _ = journal.append(&[record(b"stays").day(kept)]).unwrap();
        clock.advance(Duration::from_secs(86_400));
    }
    let pruned = journal.prune_through(day("2029-01-01")).unwrap();
    assert_eq!(pruned.segments.len(), lenslog_journal::limits::PRUNED_RANGES_MAX);
    journal.unlink_pruned().unwrap();
    let found = read_all(&journal.view());
    assert!(found.lost.is_empty());
    assert_eq!(found.records.len(), 400 - lenslog_journal::limits::PRUNED_RANGES_MAX);
}

#[test]
fn pruning_before_a_missing_segment_does_not_hide_the_loss() {
    let storage = FaultyStorage::new();
    let (journal, clock) = four_days(&storage);
    drop(journal);
    storage.remove(&segments(&storage)[1]).unwrap();
    let journal = open_at(&storage, &clock);
    for lost in read_all(&journal.view()).lost {
        journal.report_lost(&lost).unwrap();
    }
    assert!(journal.health().is_degraded());
    journal.prune_through(day("2026-11-23")).unwrap();
    journal.unlink_pruned().unwrap();
    let gaps: Vec<_> = journal.health().gaps.iter().map(ToString::to_string).collect();
    assert_eq!(gaps, ["3-4"]);
    assert_eq!(read_all(&journal.view()).lost_seqs(), [3, 4]);
}

#[test]
fn seqs_left_out_before_a_pruned_segment_are_not_taken_for_lost() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let later = record(b"stays").day(day("2026-12-01"));
    let _ = journal.append(&[later]).unwrap();
    // A recovery leaves seqs out, and its segment is pruned while the one before it stays.
    let killed = storage.snapshot();
    let journal = open_at(&killed, &clock);
    append(&journal, b"goes");
    clock.advance(Duration::from_secs(86_400));
    append(&journal, b"of today");
    assert_eq!(journal.prune_through(day("2026-11-23")).unwrap().segments.len(), 1);
    journal.unlink_pruned().unwrap();
    for view in [journal.view(), view(&killed)] {
        let found = read_all(&view);
        assert_eq!(found.payloads(), [&b"stays"[..], b"of today"]);
        assert_eq!(found.lost, []);
    }
}

#[test]
fn pruned_records_are_not_read_if_their_file_remains() {
    let storage = FaultyStorage::new();
    let (journal, clock) = four_days(&storage);
    let _ = journal.append(&[record(b"stays").day(day("2026-12-01"))]).unwrap();
    clock.advance(Duration::from_secs(86_400));
    append(&journal, b"of today");
    let old = segments(&storage).remove(1);
    let bytes = crate::common::file_bytes(&storage, &old);
    journal.prune_through(day("2026-11-24")).unwrap();
    assert_eq!(segments(&storage).len(), 5, "nothing is unlinked yet");
    assert_eq!(read_all(&journal.view()).records[0].0, Seq(5));
    journal.unlink_pruned().unwrap();
    // It comes back, as after a power cut that undid the removal.
    crate::common::write_bytes(&storage, &old, &bytes);
    let early = journal.view().reader(Seq::FIRST, Default::default());
    assert!(matches!(early.unwrap().next().unwrap(), Some(Entry::Record(r)) if r.seq == Seq(5)));
    for view in [journal.view(), view(&storage)] {
        assert_eq!(read_all(&view).seqs(), [5, 6, 7, 8, 9, 10]);
    }
}

#[test]
fn pruned_salvaged_records_do_not_come_back() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let keyed = |index: u8| record(b"goes").key([index; 16]);
    let later = record(b"stays").day(day("2026-12-01"));
    let _ = journal.append(&[later]).unwrap();
    // A failed sync writes the next record again into a new segment; its old bytes stay where they were.
    storage.inject(Fault::SyncFails { nth: 0 });
    let _ = journal.append(&[keyed(1)]).unwrap();
    assert_eq!(journal.stats().relocations, 1);
    clock.advance(Duration::from_secs(86_400));
    append(&journal, b"of today");
    let mut follower = view(&storage).reader(Seq::FIRST, Default::default()).unwrap();
    assert!(follower.next().unwrap().is_some());
    assert_eq!(journal.prune_through(day("2026-11-23")).unwrap().segments.len(), 1);
    journal.unlink_pruned().unwrap();
    for view in [journal.view(), view(&storage)] {
        let found = read_all(&view);
        assert_eq!(found.payloads(), [&b"stays"[..], b"of today"]);
        assert_eq!(found.lost, []);
    }
    drop(journal);
    let journal = open_at(&storage, &clock);
    assert_eq!(read_all(&journal.view()).payloads(), [&b"stays"[..], b"of today"]);
    assert!(matches!(journal.append(&[keyed(1)]).unwrap(), Appended::New(_)));
}

#[test]
fn what_was_unlinked_stays_so_after_a_power_cut() {
    let storage = FaultyStorage::new();
    let (journal, _) = four_days(&storage);
    journal.prune_through(day("2026-11-24")).unwrap();
    journal.unlink_pruned().unwrap();
    for seed in 0..20 {
        let after = storage.fork().power_cut(seed);
        assert_eq!(segments(&after).len(), 2, "seed {seed}");
    }
}

#[test]
fn a_spare_that_is_given_up_is_made_again_and_nothing_is_lost() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
    append(&journal, b"one");
    assert!(journal.release_spare().unwrap());
    assert!(!journal.release_spare().unwrap());
    for number in 2..5_u8 {
        clock.advance(Duration::from_secs(86_400));
        append(&journal, &[number]);
    }
    assert!(journal.release_spare().unwrap());
    let payloads: Vec<&[u8]> = vec![b"one", &[2], &[3], &[4]];
    assert_eq!(read_all(&journal.view()).payloads(), payloads);
}

#[test]
fn a_loss_at_the_start_ends_when_its_successor_is_pruned() {
    let storage = FaultyStorage::new();
    let (journal, clock) = four_days(&storage);
    drop(journal);
    storage.remove(&segments(&storage)[1]).unwrap();
    for in_steps in [false, true] {
        let storage = storage.snapshot();
        let journal = open_at(&storage, &clock);
        for lost in read_all(&journal.view()).lost {
            journal.report_lost(&lost).unwrap();
        }
        assert!(journal.health().is_degraded());
        if in_steps {
            journal.prune_through(day("2026-11-23")).unwrap();
            journal.unlink_pruned().unwrap();
            assert!(journal.health().is_degraded());
        }
        journal.prune_through(day("2026-11-25")).unwrap();
        journal.unlink_pruned().unwrap();
        assert!(!journal.health().is_degraded(), "{:?}", journal.health());
        drop(journal);
        let journal = open_at(&storage, &clock);
        assert!(!journal.health().is_degraded(), "{:?}", journal.health());
        let found = read_all(&journal.view());
        assert_eq!((found.lost, found.records.len()), (vec![], 2));
        assert_eq!(read_all(&crate::common::view(&storage)).lost, []);
    }
}

#[test]
fn a_vanished_journal_is_healthy_once_its_loss_is_pruned() {
    let storage = FaultyStorage::new();
    let (journal, clock) = four_days(&storage);
    drop(journal);
    for path in storage.files().iter().filter(|path| path.starts_with("/data/journal")) {
        storage.remove(path).unwrap();
    }
    let journal = open_at(&storage, &clock);
    append(&journal, b"on the day it vanished");
    clock.advance(Duration::from_secs(86_400));
    append(&journal, b"the day after");
    assert!(journal.health().is_degraded());
    let today = segments(&storage).len() - 1;
    journal.prune_through(day("2026-11-26")).unwrap();
    journal.unlink_pruned().unwrap();
    assert_eq!((today, segments(&storage).len()), (1, 1));
    assert!(!journal.health().is_degraded(), "{:?}", journal.health());
    let found = read_all(&journal.view());
    assert_eq!((found.lost, found.records.len()), (vec![], 1));
}
