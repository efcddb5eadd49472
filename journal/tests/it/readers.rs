//! Readers: positions, other processes' views, what they may show and when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::hooked::{Hooked, Step};
use crate::common::{
    ROOT, append, clock, open, options, read_all, record, stepped_into, syncs_active, view,
};
use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{Entry, Journal, JournalView, Opening, Reader, Seq};

fn next_seq(reader: &mut Reader) -> Option<u64> {
    match reader.next().unwrap() {
        Some(Entry::Record(record)) => Some(record.seq.0),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn asking_for_a_position_never_skips_the_rest_of_a_batch() {
    let journal = open(&FaultyStorage::new());
    append(&journal, b"one");
    let large = vec![7; 300 << 10];
    let _ = journal.append(&[record(&large), record(b"three"), record(b"four")]).unwrap();
    append(&journal, b"five");
    let mut reader = journal.view().reader(Seq::FIRST, Default::default()).unwrap();
    let mut seqs = Vec::new();
    while let Some(seq) = next_seq(&mut reader) {
        seqs.push(seq);
        let before = reader.position_before_last().unwrap();
        assert_eq!(before.next, Seq(seq));
        assert_eq!(before.last.map(|last| last.seq.0), seq.checked_sub(1).filter(|seq| *seq > 0));
        assert_eq!(reader.position().unwrap().last.unwrap().seq, Seq(seq));
    }
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

#[test]
fn asking_for_a_position_at_a_loss_never_skips_what_follows_it() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    append(&journal, &vec![7; 300 << 10]);
    let _ = journal.append(&[record(&vec![8; 300 << 10]), record(b"four")]).unwrap();
    append(&journal, b"five");
    storage.rot(&crate::common::segments(&storage)[0], 8192 + 4096 + 100, 1);
    let mut reader = journal.view().reader(Seq::FIRST, Default::default()).unwrap();
    let mut seqs = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        match entry {
            Entry::Record(record) => seqs.push(record.seq.0),
            Entry::Lost(lost) => assert_eq!(lost.range.to_string(), "2"),
        }
        reader.position().unwrap();
        reader.position_before_last().unwrap();
    }
    assert_eq!(seqs, [1, 3, 4, 5]);
}

#[test]
fn a_follower_notices_a_writer_between_two_polls() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    journal.close().unwrap();
    let other = view(&storage);
    let mut reader = other.reader(Seq::FIRST, Default::default()).unwrap();
    assert_eq!(next_seq(&mut reader), Some(1));
    assert_eq!(next_seq(&mut reader), None);
    for seq in 2..6 {
        let journal = open(&storage);
        append(&journal, b"of a short run");
        journal.close().unwrap();
        assert_eq!(next_seq(&mut reader), Some(seq));
        assert_eq!(next_seq(&mut reader), None);
    }
    // One that was killed counts as well: what it left is what an opening keeps.
    let journal = open(&storage);
    append(&journal, b"before the kill");
    let killed = storage.snapshot();
    drop(journal);
    let other = view(&killed);
    assert_eq!(read_all(&other).records.len(), 6);
    drop(open(&killed));
    let journal = open(&killed);
    append(&journal, b"after it");
    drop(journal);
    assert_eq!(read_all(&other).records.len(), 7);
}

#[test]
fn a_writer_that_begins_during_a_read_shows_nothing_unsynced() {
    // The lock is probed several times until everything is read: the writer begins after each in turn.
    for (closed, probe) in
        [true, false].into_iter().flat_map(|closed| (0..4).map(move |n| (closed, n)))
    {
        let storage = FaultyStorage::new();
        let journal = open(&storage);
        append(&journal, b"one");
        if closed {
            journal.close().unwrap();
        }
        let storage = storage.snapshot();
        let (probes, disk) = (AtomicUsize::new(0), storage.clone());
        let writer: Arc<Mutex<Option<Journal>>> = Arc::default();
        let begun = Arc::clone(&writer);
        let hooked = Hooked::new(storage.clone(), move |step, _| {
            if step == Step::ProbedLock(false) && probes.fetch_add(1, Ordering::Relaxed) == probe {
                let journal = Journal::open(ROOT, &options(&disk, &clock())).unwrap();
                let _ = journal.append_unsynced(&[record(b"not durable")]).unwrap();
                *begun.lock().unwrap() = Some(journal);
            }
            Ok(())
        });
        let view = JournalView::open(ROOT.as_ref(), Arc::new(hooked)).unwrap();
        assert_eq!(read_all(&view).payloads(), [b"one"], "closed {closed} probe {probe}");
        assert!(writer.lock().unwrap().is_some(), "closed {closed} probe {probe}");
    }
}

#[test]
fn a_record_appended_during_a_sync_waits_for_the_next_one() {
    let storage = FaultyStorage::new();
    let (journal, armed) = stepped_into(&storage, syncs_active, |journal| {
        let _ = journal.append_unsynced(&[record(b"two")]).unwrap();
        Ok(())
    });
    armed.store(true, Ordering::Relaxed);
    append(&journal, b"one");
    assert!(!armed.load(Ordering::Relaxed));
    for view in [journal.view(), view(&storage)] {
        let found = read_all(&view);
        assert_eq!(found.payloads(), [b"one"]);
        assert_eq!(found.lost, []);
        assert_eq!(view.head().unwrap(), Seq(2));
    }
    for seed in 0..40 {
        let after = storage.fork().power_cut(seed);
        let Opening::Recovered { gaps, recovered } = open(&after).opening().clone() else {
            panic!("seed {seed}")
        };
        assert!(gaps.is_empty() && !recovered.damaged, "seed {seed}: {gaps:?}");
    }
}
