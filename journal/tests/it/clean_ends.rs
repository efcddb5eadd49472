//! A clean shutdown is believed only if nothing can have been appended after it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::hooked::{Hooked, Step};
use crate::common::{
    ROOT, append, clock, file_bytes, hooked_options, open, options, read_all, record, segments,
    stepped_into, syncs_active, try_append, view, write_bytes,
};
use lenslog_journal::storage::{Access, Fault, FaultyStorage, Storage};
use lenslog_journal::{Error, Journal, Opening, ReaderOptions, Seq};

const WITNESS: &str = "/data/journal/WITNESS";

/// Closed cleanly after "one".
fn closed() -> FaultyStorage {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    journal.close().unwrap();
    storage
}

fn is_marker(path: &Path) -> bool {
    path.ends_with("WITNESS")
}

fn end_of_frames(bytes: &[u8]) -> usize {
    (bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(8)
}

/// Reopens a killed process's journal and finds both records, with another seq for the next.
fn check_both(storage: &FaultyStorage, at: &str) {
    let journal = open(storage);
    let found = read_all(&journal.view());
    assert_eq!(found.payloads(), [&b"one"[..], b"two"], "{at}");
    assert!(append(&journal, b"three") > Seq(2), "{at}");
}

#[test]
fn a_segment_closed_at_any_block_keeps_its_digest() {
    for syncs in 1..40 {
        let storage = FaultyStorage::new();
        let journal = open(&storage);
        for _ in 0..syncs {
            // Each is padded to a block: some end where a block of the digest does.
            append(&journal, &[7; 3000]);
        }
        journal.close().unwrap();
        let clock = clock();
        let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
        append(&journal, b"one more");
        // The next day seals it.
        clock.advance(Duration::from_secs(86_400));
        append(&journal, b"in the next segment");
        let view = journal.view();
        let checking = ReaderOptions::default().check_digests();
        let mut reader = view.reader(Seq::FIRST, checking).unwrap();
        let mut records = 0;
        while reader.next().unwrap().is_some() {
            records += 1;
        }
        assert_eq!((records, segments(&storage).len()), (syncs + 2, 2));
        assert_eq!(reader.take_notices(), [], "{syncs} syncs");
    }
}

#[test]
fn a_damaged_marker_never_restores_an_older_clean_end() {
    let storage = closed();
    let journal = open(&storage);
    append(&journal, b"two");
    for seed in 0..40 {
        for slot in [0, 4096] {
            // The witness is not synced: the cut leaves any of its states.
            let after = storage.fork().power_cut(seed);
            after.rot(Path::new(WITNESS), slot + 20, 1);
            check_both(&after, &format!("seed {seed} slot {slot}"));
        }
    }
}

#[test]
fn a_clean_end_that_cannot_be_taken_back_is_not_continued() {
    let storage = closed();
    let hooked = Hooked::new(storage.clone(), |step, path| match step {
        Step::Open(access) if access != Access::Read && is_marker(path) => {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        _ => Ok(()),
    });
    let journal = Journal::open(ROOT, &hooked_options(&hooked, &clock())).unwrap();
    append(&journal, b"two");
    check_both(&storage.snapshot(), "the witness cannot be opened for writing");
}

#[test]
fn a_marker_that_cannot_be_written_stops_nothing() {
    for refused in [Step::Write, Step::Sync] {
        for closed_before in [true, false] {
            let storage = if closed_before { closed() } else { FaultyStorage::new() };
            let broken = Arc::new(AtomicBool::new(false));
            let breaks = Arc::clone(&broken);
            let hooked = Hooked::new(storage.clone(), move |step, path| {
                if step == refused && is_marker(path) && breaks.load(Ordering::Relaxed) {
                    return Err(rustix::io::Errno::IO.into());
                }
                Ok(())
            });
            broken.store(closed_before, Ordering::Relaxed);
            let journal = Journal::open(ROOT, &hooked_options(&hooked, &clock())).unwrap();
            broken.store(true, Ordering::Relaxed);
            if !closed_before {
                append(&journal, b"one");
            }
            assert_eq!(try_append(&journal, b"two").unwrap(), Seq(2), "{refused:?}");
            check_both(&storage.snapshot(), &format!("{refused:?} closed {closed_before}"));
        }
    }
}

#[test]
fn a_record_appended_during_a_close_is_kept_or_refused() {
    let storage = FaultyStorage::new();
    let (sender, outcome) = std::sync::mpsc::channel();
    let (journal, armed) = stepped_into(&storage, syncs_active, move |journal| {
        // Another thread appends while the closing one waits for its sync: it gets in now, or not at all.
        let (journal, sender) = (journal.clone(), sender.clone());
        let (got_in, entered) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let result = journal.append_unsynced(&[record(b"two")]);
            let _ = got_in.send(());
            sender.send(result.is_ok()).unwrap();
        });
        let _ = entered.recv_timeout(Duration::from_millis(200));
        Ok(())
    });
    let _ = journal.append_unsynced(&[record(b"one")]).unwrap();
    armed.store(true, Ordering::Relaxed);
    journal.close().unwrap();
    assert!(!armed.load(Ordering::Relaxed));
    assert!(matches!(try_append(&journal, b"late"), Err(Error::Closed)));
    let expected: &[&[u8]] = if outcome.recv().unwrap() { &[b"one", b"two"] } else { &[b"one"] };
    let journal = open(&storage.snapshot());
    assert_eq!(*journal.opening(), Opening::Clean);
    assert_eq!(read_all(&journal.view()).payloads(), expected);
}

#[test]
fn a_clean_segment_that_lost_its_padding_keeps_its_records() {
    let storage = closed();
    let path = segments(&storage).remove(0);
    let bytes = file_bytes(&storage, &path);
    let written = end_of_frames(&bytes);
    // Such as a copying tool leaves it that drops zeros at the end.
    for len in written..=written.next_multiple_of(4096) {
        let storage = storage.snapshot();
        write_bytes(&storage, &path, &bytes[..len]);
        let journal = open(&storage);
        append(&journal, b"two");
        drop(journal);
        let found = read_all(&view(&storage));
        assert_eq!(found.payloads(), [&b"one"[..], b"two"], "cut at {len}");
    }
}

#[test]
fn a_marker_with_bytes_after_its_slots_is_read() {
    let storage = closed();
    let mut bytes = file_bytes(&storage, Path::new(WITNESS));
    bytes.push(7);
    write_bytes(&storage, Path::new(WITNESS), &bytes);
    let journal = open(&storage);
    assert_eq!(*journal.opening(), Opening::Clean);
    let other = view(&storage);
    append(&journal, b"two");
    assert_eq!(read_all(&other).payloads(), [&b"one"[..], b"two"]);
}

#[test]
fn another_journals_marker_is_not_believed() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
    append(&journal, b"one");
    let killed = storage.snapshot();
    let other = FaultyStorage::new();
    let mut foreign = options(&other, &clock);
    (foreign.seed, foreign.segment_bytes_max) = (Some(99), Some(32 << 10));
    let foreign = Journal::open(ROOT, &foreign).unwrap();
    for _ in 0..20 {
        append(&foreign, &[0; 4000]);
    }
    let witness = file_bytes(&other, Path::new(WITNESS));
    write_bytes(&killed, Path::new(WITNESS), &witness);
    assert_eq!(read_all(&view(&killed)).lost, []);
    let journal = open(&killed);
    match journal.opening() {
        Opening::Recovered { gaps, recovered } => {
            assert!(gaps.is_empty() && !recovered.damaged && recovered.proof_missing);
        }
        other => panic!("{other:?}"),
    }
    assert!(!journal.health().is_degraded());
}

#[test]
fn an_unreadable_marker_slot_leaves_the_other_one() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    append(&journal, b"two");
    for slot in [0, 4096] {
        let killed = storage.snapshot();
        let fault = Fault::Unreadable { path: WITNESS.into(), offset: slot, len: 4096 };
        killed.inject(fault);
        match open(&killed).opening() {
            Opening::Recovered { recovered, .. } => assert!(!recovered.proof_missing),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_closed_journal_removes_nothing() {
    let storage = closed();
    let journal = open(&storage);
    journal.close().unwrap();
    let _next = open(&storage);
    assert!(matches!(journal.unlink_pruned(), Err(Error::Closed)));
    assert!(matches!(journal.prune_through(crate::common::morning().day()), Err(Error::Closed)));
}

#[test]
fn every_created_directory_survives_a_power_cut() {
    for seed in 0..40 {
        let storage = FaultyStorage::new();
        let root = "/var/lib/recorder/data";
        let journal = Journal::open(root, &options(&storage, &clock())).unwrap();
        append(&journal, b"one");
        let after = storage.power_cut(seed);
        let after: Arc<dyn Storage> = Arc::new(after);
        let view = lenslog_journal::JournalView::open(Path::new(root), after);
        assert_eq!(read_all(&view.unwrap()).payloads(), [b"one"], "seed {seed}");
    }
}

#[test]
fn a_failed_close_leaves_no_clean_end_before_later_records() {
    let storage = FaultyStorage::new();
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let hooked = Hooked::new(storage.clone(), move |step, path| {
        if step == Step::Sync && is_marker(path) && breaks.load(Ordering::Relaxed) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(())
    });
    let journal = Journal::open(ROOT, &hooked_options(&hooked, &clock())).unwrap();
    append(&journal, b"one");
    broken.store(true, Ordering::Relaxed);
    // The mark of a clean end is written, whether it reaches the medium is unknown, and the journal stays open.
    journal.close().unwrap_err();
    broken.store(false, Ordering::Relaxed);
    append(&journal, b"two");
    for seed in 0..100 {
        let after = storage.fork().power_cut(seed);
        check_both(&after, &format!("seed {seed}"));
    }
}

#[test]
fn a_clean_end_before_written_bytes_is_not_believed() {
    // A copy that took the witness before the recorder was started and the segments after it, or a medium that lost
    // the sync which took the mark back.
    let storage = closed();
    let witness = file_bytes(&storage, Path::new(WITNESS));
    let journal = open(&storage);
    append(&journal, b"two");
    let copied = storage.snapshot();
    write_bytes(&copied, Path::new(WITNESS), &witness);
    assert_eq!(read_all(&view(&copied)).payloads(), [&b"one"[..], b"two"]);
    check_both(&copied, "an older witness");
}

#[test]
fn a_replaced_empty_segment_takes_its_clean_end_with_it() {
    let storage = FaultyStorage::new();
    open(&storage).close().unwrap();
    let before = segments(&storage);
    let hooked = Hooked::new(storage.clone(), |step, path| {
        if step == Step::Write && is_marker(path) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(())
    });
    let journal = Journal::open(ROOT, &hooked_options(&hooked, &clock())).unwrap();
    append(&journal, b"one");
    append(&journal, b"two");
    // The mark cannot be taken back: the segment is replaced by one of the same name.
    assert_eq!(segments(&storage), before);
    check_both(&storage.snapshot(), "an empty segment was replaced");
}
