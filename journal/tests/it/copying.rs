//! A copy has everything that can be read, is continued where it was interrupted, and has segments of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{ROOT, append, clock, file_bytes, options, read_all, segments, view};
use lenslog_journal::storage::{Access, Fault, FaultyStorage, Storage};
use lenslog_journal::{Error, Journal, JournalView, Options};

const TARGET: &str = "/backups/today";

/// A journal of sealed segments and an active one, closed cleanly.
fn closed(records: u8) -> FaultyStorage {
    let storage = FaultyStorage::new();
    let options = Options { segment_bytes_max: Some(32 << 10), ..options(&storage, &clock()) };
    let journal = Journal::open(ROOT, &options).unwrap();
    for index in 0..records {
        append(&journal, &[index; 1500]);
    }
    journal.close().unwrap();
    storage
}

fn copy_of(storage: &FaultyStorage) -> JournalView {
    JournalView::open(Path::new(TARGET), Arc::new(storage.clone())).unwrap()
}

fn in_copy(path: &Path) -> PathBuf {
    Path::new(TARGET).join("journal").join(path.file_name().unwrap())
}

fn exists(storage: &FaultyStorage, path: &Path) -> bool {
    storage.stat(path).is_ok()
}

#[test]
fn an_unreadable_block_is_zeros_in_the_copy_and_named() {
    let storage = closed(40);
    let whole = read_all(&view(&storage));
    let first = segments(&storage).remove(0);
    storage.inject(Fault::Unreadable { path: first.clone(), offset: 16_384, len: 1 });
    let copied = view(&storage).copy_to(Path::new(TARGET), &mut |_| {}).unwrap();
    let [unreadable] = &copied.unreadable[..] else { panic!("{copied:?}") };
    assert_eq!(unreadable.bytes, Some(4096));
    assert_eq!(unreadable.segment.file_name(), *first.file_name().unwrap().to_str().unwrap());
    let (original, copy) = (read_all(&view(&storage)), read_all(&copy_of(&storage)));
    assert_eq!((copy.records.clone(), copy.lost), (original.records, original.lost.clone()));
    assert!(!original.lost.is_empty() && copy.records.len() + 4 > whole.records.len());
    assert_eq!(file_bytes(&storage, &in_copy(&first))[16_384..20_480], [0; 4096]);
}

#[test]
fn a_segment_that_is_no_file_is_named_and_the_others_are_copied() {
    let storage = closed(40);
    let first = segments(&storage).remove(0);
    storage.remove(&first).unwrap();
    storage.create_directory(&first).unwrap();
    let copied = view(&storage).copy_to(Path::new(TARGET), &mut |_| {}).unwrap();
    assert_eq!(copied.unreadable.len(), 1);
    assert_eq!(copied.unreadable[0].bytes, None);
    let copy = read_all(&copy_of(&storage));
    assert!(!copy.lost.is_empty() && !copy.records.is_empty());
}

#[test]
fn a_copy_that_lost_power_at_any_operation_is_continued() {
    let storage = closed(40);
    let before = read_all(&view(&storage));
    let copying = storage.fork();
    let start = copying.operations();
    view(&copying).copy_to(Path::new(TARGET), &mut |_| {}).unwrap();
    let operations = copying.operations() - start;
    let mut kept = 0;
    for after in 0..operations {
        let cut = storage.fork();
        let source = view(&cut);
        cut.inject(Fault::PowerCutAfter { operations: after });
        let _ = source.copy_to(Path::new(TARGET), &mut |_| {});
        let disk = cut.power_cut(after);
        let is_finished = exists(&disk, Path::new(TARGET).join("IDENTITY").as_path())
            && !exists(&disk, Path::new(TARGET).join("COPYING").as_path());
        if !is_finished {
            let copied = view(&disk).copy_to(Path::new(TARGET), &mut |_| {});
            kept += copied.unwrap_or_else(|error| panic!("cut after {after}: {error}")).kept;
        }
        let copy = read_all(&copy_of(&disk));
        assert_eq!(
            (copy.records, copy.lost),
            (before.records.clone(), vec![]),
            "cut after {after}"
        );
    }
    assert!(kept > operations / 4, "{kept} segments of {operations} copies were kept");
}

#[test]
fn a_damaged_segment_of_an_unfinished_copy_is_copied_again() {
    let storage = closed(40);
    let unfinished = view(&storage).begin_copy(Path::new(TARGET), &mut |_| {}).unwrap();
    let first = in_copy(&segments(&storage).remove(0));
    let whole = file_bytes(&storage, &first);
    storage.rot(&first, 9000, 1);
    let copied = view(&storage).copy_to(Path::new(TARGET), &mut |_| {}).unwrap();
    assert_eq!((unfinished.kept, copied.kept + 2), (0, copied.segments));
    assert_eq!(file_bytes(&storage, &first), whole);
    assert!(read_all(&copy_of(&storage)).lost.is_empty());
}

#[test]
fn a_copy_appends_to_no_segment_of_the_original() {
    let storage = closed(40);
    // The second time over an unfinished copy, which has a segment of its own and a clean end already.
    for _ in 0..2 {
        view(&storage).begin_copy(Path::new(TARGET), &mut |_| {}).unwrap();
        // One that the copy has replaced is its own, by another header.
        let is_original = |path: &&PathBuf| {
            let (one, other) = (file_bytes(&storage, path), file_bytes(&storage, &in_copy(path)));
            one[..4096] == other[..4096]
        };
        let mut originals = segments(&storage);
        originals.retain(|path| path.starts_with(ROOT));
        let originals: Vec<_> = originals
            .iter()
            .filter(is_original)
            .map(|path| (in_copy(path), file_bytes(&storage, &in_copy(path))))
            .collect();
        assert!(!originals.is_empty());
        let appended = storage.fork();
        let copy = Journal::open(TARGET, &options(&appended, &clock())).unwrap();
        append(&copy, b"of the copy");
        copy.close().unwrap();
        for (path, bytes) in originals {
            assert!(file_bytes(&appended, &path) == bytes, "{}", path.display());
        }
        let found = read_all(&copy_of(&appended));
        assert_eq!((found.records.len(), found.lost), (41, vec![]));
    }
}

#[test]
fn an_unfinished_copy_of_another_journal_is_left_alone() {
    let storage = closed(10);
    view(&storage).begin_copy(Path::new(TARGET), &mut |_| {}).unwrap();
    let other = Options { seed: Some(77), ..options(&storage, &clock()) };
    let other = Journal::open("/other", &other).unwrap();
    append(&other, b"another one");
    let before = storage.files();
    let refused = other.view().begin_copy(Path::new(TARGET), &mut |_| {});
    assert!(matches!(refused, Err(Error::Unexpected { .. })), "{refused:?}");
    assert_eq!(storage.files(), before);
    assert_eq!(read_all(&copy_of(&storage)).records.len(), 10);
}

#[test]
fn a_copy_says_that_the_newest_segment_is_missing() {
    let storage = closed(40);
    let last = segments(&storage).pop().unwrap();
    storage.remove(&last).unwrap();
    let original = read_all(&view(&storage));
    assert!(!original.lost.is_empty());
    view(&storage).copy_to(Path::new(TARGET), &mut |_| {}).unwrap();
    let copy = read_all(&copy_of(&storage));
    assert_eq!(copy.records, original.records);
    assert_eq!(copy.lost[0].range.from, original.lost[0].range.from);
    assert!(copy.lost[0].range.to >= original.lost[0].range.to);
}

#[test]
fn a_copy_never_waits_for_two_at_once() {
    let storage = closed(10);
    storage.create_directory(Path::new("/backups/today/journal")).unwrap();
    let _held = storage.lock(Path::new("/backups/today/journal")).unwrap();
    let refused = view(&storage).begin_copy(Path::new(TARGET), &mut |_| {});
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    storage.open(Path::new("/backups/today/mine"), Access::Create).unwrap();
    let refused = view(&storage).begin_copy(Path::new(TARGET), &mut |_| {});
    assert!(matches!(refused, Err(Error::Unexpected { .. })), "{refused:?}");
}
