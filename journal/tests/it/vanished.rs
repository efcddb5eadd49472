//! A journal that lost all of its segments: numbering continues far away, and the loss is reported.

use std::sync::Arc;

use crate::common::{ROOT, append, clock, open, options, read_all, segments, view};
use lenslog_journal::limits::{SEQ_AFTER_VANISHING_MAX, SEQ_AFTER_VANISHING_MIN};
use lenslog_journal::storage::{FaultyStorage, Storage};
use lenslog_journal::{
    Journal, LossCause, Opening, Position, ReaderOptions, Resume, Seq, SimulatedClock, Timestamp,
};

fn three() -> FaultyStorage {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    for payload in [b"one", b"two", b"any"] {
        append(&journal, payload);
    }
    journal.close().unwrap();
    storage
}

/// Nothing is left of the journal's own directory, or all but the witness.
fn without_segments(storage: &FaultyStorage, keep_witness: bool) {
    for path in storage.files() {
        let is_marker = path.ends_with("WITNESS");
        if path.starts_with("/data/journal") && !(is_marker && keep_witness) {
            storage.remove(&path).unwrap();
        }
    }
    assert!(segments(storage).is_empty());
}

/// Where a reader stood that had read all of it.
fn position(storage: &FaultyStorage) -> Position {
    let mut reader = view(storage).reader(Seq::FIRST, ReaderOptions::default()).unwrap();
    while reader.next().unwrap().is_some() {}
    reader.position().unwrap()
}

#[test]
fn a_vanished_journal_continues_after_its_loss() {
    for keep_witness in [true, false] {
        let storage = three();
        let before = position(&storage);
        let id = view(&storage).journal_id();
        without_segments(&storage, keep_witness);
        let journal = open(&storage);
        let Opening::Recovered { gaps, recovered } = journal.opening().clone() else { panic!() };
        assert!(recovered.damaged && gaps[0].upper_bound_unknown);
        assert_eq!(journal.view().journal_id(), id, "it is still the same one");
        let next = append(&journal, b"later");
        assert!(next >= before.next, "no seq is given twice");
        for view in [journal.view(), view(&storage)] {
            let found = read_all(&view);
            assert_eq!(found.payloads(), [b"later"]);
            assert_eq!(found.system.len(), 2, "the gap and the recovery: {:?}", found.lost);
            assert_eq!(found.lost.len(), 1, "{:?}", found.lost);
            assert_eq!(found.lost[0].cause, LossCause::SegmentMissing);
            assert_eq!(found.lost[0].range.from, Seq::FIRST);
            assert_eq!(found.lost[0].segment.base, Seq::FIRST, "not the one that is there");
            assert_eq!(journal.report_lost(&found.lost[0]).unwrap(), None, "it is known");
            // Projections of the lost records are kept and continue after them.
            match view.resume(&before, ReaderOptions::default()).unwrap() {
                Resume::At(reader) => assert_eq!(reader.next_seq(), before.next),
                other => panic!("{other:?}"),
            }
        }
        drop(journal);
        let journal = open(&storage);
        assert!(journal.health().is_degraded());
        assert_eq!(*journal.opening(), Opening::Clean);
        // A crash later is no further loss.
        append(&journal, b"last");
        let journal = open(&storage.snapshot());
        let Opening::Recovered { gaps, recovered } = journal.opening().clone() else { panic!() };
        assert!(gaps.is_empty() && !recovered.damaged);
        assert_eq!(read_all(&journal.view()).payloads(), [&b"later"[..], b"last"]);
    }
}

#[test]
fn a_journal_that_vanishes_twice_uses_no_seq_twice() {
    for micros in [i64::MIN, -1, 0, 1_795_424_400_000_000, i64::MAX] {
        let storage = three();
        without_segments(&storage, false);
        let clock = SimulatedClock::new(Timestamp { utc_micros: micros, offset_minutes: 0 });
        let journal = Journal::open(ROOT, &options(&storage, &Arc::new(clock))).unwrap();
        let seq = append(&journal, b"later");
        assert!((SEQ_AFTER_VANISHING_MIN..SEQ_AFTER_VANISHING_MAX + 9).contains(&seq.0), "{seq}");
        drop(journal);
        assert_eq!(read_all(&view(&storage)).payloads(), [b"later"], "{micros}");
    }
    let storage = three();
    let clock = clock();
    let mut last = Seq(3);
    for _ in 0..3 {
        without_segments(&storage, false);
        clock.advance(std::time::Duration::from_secs(1));
        let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
        let seq = append(&journal, b"later");
        assert!(seq > last);
        last = seq;
    }
}

#[test]
fn a_power_cut_begins_a_vanished_journal_only_once() {
    let vanished = three();
    without_segments(&vanished, false);
    for operations in 0.. {
        let storage = vanished.snapshot();
        storage.inject(lenslog_journal::storage::Fault::PowerCutAfter { operations });
        let opened = Journal::open(ROOT, &options(&storage, &clock()));
        let is_whole = opened.is_ok_and(|journal| journal.health().suspended.is_none());
        let after = storage.power_cut(operations);
        let journal = open(&after);
        assert!(journal.health().is_degraded(), "operation {operations}");
        append(&journal, b"later");
        let found = read_all(&journal.view());
        assert_eq!(found.payloads(), [b"later"], "operation {operations}");
        assert_eq!(found.lost.len(), 1, "operation {operations}");
        if is_whole {
            break;
        }
    }
}

#[test]
fn a_directory_without_identity_is_a_new_journal() {
    let storage = three();
    without_segments(&storage, false);
    storage.remove(std::path::Path::new("/data/IDENTITY")).unwrap();
    assert_eq!(*open(&storage).opening(), Opening::Created);
}
