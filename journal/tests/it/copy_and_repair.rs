//! A copy made next to the writer is a journal of its own; a repair touches no record.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::common::hooked::Step;
use crate::common::{
    ROOT, append, clock, file_bytes, open, options, read_all, record, segments, stepped_into, view,
};
use lenslog_journal::storage::{FaultyStorage, Storage};
use lenslog_journal::{Error, Journal, JournalView, Opening, Options, repair};

fn small(storage: &FaultyStorage) -> Journal {
    let options = Options { segment_bytes_max: Some(32 << 10), ..options(storage, &clock()) };
    Journal::open(ROOT, &options).unwrap()
}

fn view_at(storage: &FaultyStorage, root: &str) -> JournalView {
    JournalView::open(Path::new(root), Arc::new(storage.clone())).unwrap()
}

#[test]
fn a_copy_made_under_a_writer_holds_all_durable_records() {
    let storage = FaultyStorage::new();
    let journal = small(&storage);
    for index in 0..30_u8 {
        append(&journal, &[index; 1500]);
    }
    let _ = journal.append_unsynced(&[record(b"not durable")]).unwrap();
    for source in [journal.view(), view(&storage)] {
        let target = format!("/copy-{}", storage.operations());
        let copied = source.copy_to(Path::new(&target), &mut |_| {}).unwrap();
        assert!(copied.segments > 1);
        let found = read_all(&view_at(&storage, &target));
        assert_eq!(found.records, read_all(&journal.view()).records);
        assert!(found.lost.is_empty());
        let options = options(&storage, &clock());
        let copy = Journal::open(&target, &options).unwrap();
        assert_eq!(*copy.opening(), Opening::Clean);
        append(&copy, b"of the copy");
        assert_eq!(read_all(&copy.view()).records.len(), 31);
    }
    journal.sync().unwrap();
    append(&journal, b"of the original");
    assert_eq!(read_all(&journal.view()).records.len(), 32);
}

#[test]
fn a_copy_never_goes_where_something_is() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    let refused = journal.view().copy_to(Path::new(ROOT), &mut |_| {});
    assert!(matches!(refused, Err(Error::Unexpected { .. })), "{refused:?}");
}

#[test]
fn repair_rewrites_header_copies_and_leaves_records_alone() {
    let storage = FaultyStorage::new();
    let journal = small(&storage);
    for index in 0..30_u8 {
        append(&journal, &[index; 100]);
    }
    journal.close().unwrap();
    let arc: Arc<dyn Storage> = Arc::new(storage.clone());
    assert_eq!(repair(Path::new(ROOT), &arc, false).unwrap(), []);
    let first = segments(&storage).remove(0);
    let whole = file_bytes(&storage, &first);
    storage.rot(&first, 50, 1);
    let damaged = file_bytes(&storage, &first);
    assert_eq!(repair(Path::new(ROOT), &arc, true).unwrap().len(), 1);
    assert_eq!(file_bytes(&storage, &first), damaged, "a dry run changes nothing");
    assert_eq!(repair(Path::new(ROOT), &arc, false).unwrap().len(), 1);
    assert_eq!(file_bytes(&storage, &first), whole);
    // A record that is damaged stays as it is: it is evidence, and its frame cannot be made up.
    storage.rot(&first, 8192 + 60, 1);
    let damaged = file_bytes(&storage, &first);
    assert_eq!(repair(Path::new(ROOT), &arc, false).unwrap(), []);
    assert_eq!(file_bytes(&storage, &first), damaged);
    assert_eq!(read_all(&view(&storage)).lost.len(), 1);
}

#[test]
fn a_repair_under_a_writer_is_refused() {
    let storage = FaultyStorage::new();
    let _journal = open(&storage);
    let arc: Arc<dyn Storage> = Arc::new(storage.clone());
    assert!(matches!(repair(Path::new(ROOT), &arc, true), Err(Error::Locked { .. })));
}

#[test]
fn a_copy_survives_a_power_cut_right_after_it() {
    for seed in 0..40 {
        let storage = FaultyStorage::new();
        let journal = small(&storage);
        append(&journal, b"one");
        let target = "/backups/today/data";
        journal.view().copy_to(Path::new(target), &mut |_| {}).unwrap();
        let after = storage.power_cut(seed);
        assert_eq!(read_all(&view_at(&after, target)).payloads(), [b"one"], "seed {seed}");
    }
}

#[test]
fn a_copy_begins_again_if_everything_is_pruned_meanwhile() {
    let storage = FaultyStorage::new();
    let lists_segments =
        |step: Step, path: &Path| step == Step::List && path == Path::new("/data/journal");
    let (journal, armed) = stepped_into(&storage, lists_segments, |journal| {
        // The end is known, the segments are not yet listed: just now the one that holds the end goes.
        journal.prune_through(crate::common::morning().day()).unwrap();
        journal.unlink_pruned().unwrap();
        Ok(())
    });
    append(&journal, b"one");
    armed.store(true, Ordering::Relaxed);
    let copied = journal.view().copy_to(Path::new("/copy"), &mut |_| {}).unwrap();
    assert!(!armed.load(Ordering::Relaxed));
    assert_eq!(copied.end, journal.next_seq());
    let copy = view_at(&storage, "/copy");
    assert_eq!(copy.journal_id(), journal.view().journal_id());
    let floor = journal.view().floor().unwrap();
    assert_eq!((read_all(&copy).lost, copy.floor().unwrap()), (vec![], floor));
}
