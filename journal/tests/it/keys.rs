//! Keys: a record is a duplicate exactly as long as its segment is retained, whatever became of the files beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    ROOT, append, clock, file_bytes, options, read_all, record, segments, write_bytes,
};
use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
use lenslog_journal::{Appended, Day, Journal, NewRecord, Options, Seq, SimulatedClock};

const DAY: Duration = Duration::from_secs(86_400);

fn keyed(index: u8) -> NewRecord<'static> {
    record(b"keyed").key([index; 16])
}

fn open_at(storage: &FaultyStorage, clock: &Arc<SimulatedClock>) -> Journal {
    let options = Options { segment_bytes_max: Some(64 << 10), ..options(storage, clock) };
    Journal::open(ROOT, &options).unwrap()
}

fn first_day() -> Day {
    crate::common::morning().day()
}

fn key_files(storage: &FaultyStorage) -> Vec<PathBuf> {
    let is_keys = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "keys");
    storage.files().into_iter().filter(is_keys).collect()
}

/// Keys 1 to 40 in a sealed segment of the first day, key 41 in the active one.
fn two_days() -> (FaultyStorage, Arc<SimulatedClock>) {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let first: Vec<_> = (1..=40).map(keyed).collect();
    assert!(journal.append_each(&first).iter().all(Result::is_ok));
    clock.advance(DAY);
    let _ = journal.append(&[keyed(41)]).unwrap();
    assert_eq!(segments(&storage).len(), 2);
    (storage.snapshot(), clock)
}

fn check_all_known(storage: &FaultyStorage, clock: &Arc<SimulatedClock>, at: &str) {
    let journal = open_at(storage, clock);
    for index in 1..=41 {
        let appended =
            journal.append(&[keyed(index)]).unwrap_or_else(|error| panic!("{at}: {error}"));
        let seq = Seq(u64::from(index));
        assert_eq!(appended, Appended::Duplicate { index: 0, seq }, "{at}: key {index}");
    }
    for index in 100..=120 {
        let appended =
            journal.append(&[keyed(index)]).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(matches!(appended, Appended::New(_)), "{at}: key {index}");
    }
}

#[test]
fn keys_of_pruned_records_are_free_after_a_recovery_too() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&storage, &clock);
    let _ = journal.append(&[keyed(1)]).unwrap();
    append(&journal, b"more");
    let killed = storage.snapshot();
    clock.advance(DAY);
    let journal = open_at(&killed, &clock);
    assert!(matches!(journal.append(&[keyed(1)]).unwrap(), Appended::Duplicate { .. }));
    append(&journal, b"of the second day");
    journal.prune_through(first_day()).unwrap();
    assert_eq!(journal.unlink_pruned().unwrap().segments, 1);
    assert!(matches!(journal.append(&[keyed(1)]).unwrap(), Appended::New(_)));
    // Nor does the file of the next segment's keys know them.
    let journal = {
        clock.advance(DAY);
        append(&journal, b"of the third day");
        drop(journal);
        open_at(&killed, &clock)
    };
    assert!(matches!(journal.append(&[keyed(1)]).unwrap(), Appended::Duplicate { .. }));
    assert_eq!(read_all(&journal.view()).payloads().iter().filter(|p| **p == b"keyed").count(), 1);
}

#[test]
fn a_file_of_keys_damaged_anywhere_changes_nothing() {
    let (original, clock) = two_days();
    let [path] = &key_files(&original)[..] else { panic!("one file of keys") };
    let len = file_bytes(&original, path).len() as u64;
    assert_eq!(len, 3 * 4096);
    for offset in (0..64).chain(4096..4096 + 64).chain(8192..8192 + 80).chain(len - 8..len) {
        let storage = original.snapshot();
        storage.rot(path, offset, 0x04);
        check_all_known(&storage, &clock, &format!("offset {offset}"));
    }
}

#[test]
fn a_damaged_or_missing_file_of_keys_changes_nothing() {
    let (original, clock) = two_days();
    let [path] = &key_files(&original)[..] else { panic!("one file of keys") };
    let bytes = file_bytes(&original, path);
    for block in 0..3 {
        let storage = original.snapshot();
        let mut torn = bytes.clone();
        torn[block * 4096..(block + 1) * 4096].fill(0);
        write_bytes(&storage, path, &torn);
        check_all_known(&storage, &clock, &format!("block {block} never written"));
        let storage = original.snapshot();
        storage.inject(Fault::Unreadable {
            path: path.clone(),
            offset: block as u64 * 4096,
            len: 4096,
        });
        check_all_known(&storage, &clock, &format!("block {block} unreadable"));
    }
    for len in [0, 1, 4096, 8192, 8192 + 100] {
        let storage = original.snapshot();
        write_bytes(&storage, path, &bytes[..len]);
        check_all_known(&storage, &clock, &format!("cut at {len}"));
    }
    let storage = original.snapshot();
    storage.remove(path).unwrap();
    check_all_known(&storage, &clock, "missing");
}

#[test]
fn keys_are_looked_up_on_a_full_disk_without_their_file() {
    let (original, clock) = two_days();
    let [path] = &key_files(&original)[..] else { panic!("one file of keys") };
    let storage = original.snapshot();
    storage.remove(path).unwrap();
    let journal = open_at(&storage, &clock);
    append(&journal, b"the segment is begun");
    storage.inject(Fault::Capacity { bytes: 0 });
    for index in 1..=41 {
        let appended = journal.append(&[keyed(index)]).unwrap();
        assert_eq!(appended, Appended::Duplicate { index: 0, seq: Seq(u64::from(index)) });
    }
    assert!(matches!(journal.append(&[keyed(50)]).unwrap(), Appended::New(_)));
}

#[test]
fn an_interrupted_pruning_leaves_no_file_of_keys() {
    let prepared = FaultyStorage::new();
    let clock = clock();
    let journal = open_at(&prepared, &clock);
    let _ = journal.append(&[keyed(1)]).unwrap();
    clock.advance(DAY);
    append(&journal, b"next day");
    journal.close().unwrap();
    let prune = |storage: &FaultyStorage| {
        let options = Options { segment_bytes_max: Some(64 << 10), ..options(storage, &clock) };
        let Ok(journal) = Journal::open(ROOT, &options) else { return };
        let _ = journal.prune_through(first_day());
        let _ = journal.unlink_pruned();
    };
    let counting = prepared.snapshot();
    prune(&counting);
    for operation in 0..=counting.operations() {
        let storage = prepared.snapshot();
        storage.inject(Fault::PowerCutAfter { operations: operation });
        prune(&storage);
        let killed = storage.snapshot();
        drop(open_at(&killed, &clock));
        let segments: Vec<_> =
            segments(&killed).iter().map(|path| path.file_stem().unwrap().to_owned()).collect();
        for keys in key_files(&killed) {
            let stem = keys.file_stem().unwrap().to_owned();
            assert!(segments.contains(&stem), "operation {operation}: {} is left", keys.display());
        }
    }
}

#[test]
fn a_key_file_of_another_segment_is_not_believed() {
    let (storage, clock) = two_days();
    let [path] = &key_files(&storage)[..] else { panic!("one file of keys") };
    let bytes = file_bytes(&storage, path);
    let active = segments(&storage).pop().unwrap();
    write_bytes(&storage, &active.with_extension("keys"), &bytes);
    write_bytes(&storage, Path::new("/data/journal/notes.keys"), b"no keys at all");
    check_all_known(&storage, &clock, "a copy under another name");
}

/// Files below `directory` that this process has open.
fn open_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.starts_with(directory)).count()
}

#[test]
fn files_that_stay_open_do_not_grow_with_the_number_of_segments() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = Options { clock: Arc::clone(&clock) as _, ..Options::default() };
    let journal = Journal::open(directory.path(), &options).unwrap();
    for day in 0..30 {
        let _ = journal.append(&[keyed(day)]).unwrap();
        clock.advance(DAY);
    }
    for day in 0..30 {
        let appended = journal.append(&[keyed(day)]).unwrap();
        assert!(matches!(appended, Appended::Duplicate { .. }), "{appended:?}");
    }
    // The locked directory, the active segment, the witness.
    assert_eq!(open_files(directory.path()), 3);
}

#[test]
fn a_file_of_keys_that_vanishes_changes_nothing() {
    let (storage, clock) = two_days();
    let journal = open_at(&storage, &clock);
    for _ in 0..2 {
        let appended = journal.append(&[keyed(1)]).unwrap();
        assert_eq!(appended, Appended::Duplicate { index: 0, seq: Seq(1) });
        for path in key_files(&storage) {
            storage.remove(&path).unwrap();
        }
    }
    let _ = journal.append(&[keyed(1)]).unwrap();
    assert_eq!(key_files(&storage).len(), 1, "it is written again");
}
