//! Segments of a copy, or of another journal, in `journal/`: each check that leaves them out has a test of its own.
//!
//! A test here goes red when its check is removed, whatever the others still notice.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::read_all;
use crate::common::real::{active, assert_whole, copy_directory, fill, open, segments, view};
use lenslog_journal::{JournalView, Standing};

/// Numbers of records that only a copy, or another journal, holds.
const THEIRS: u32 = 1000;

fn witness(root: &Path) -> PathBuf {
    root.join("journal/WITNESS")
}

fn bring(segment: &Path, to: &Path) -> PathBuf {
    let target = to.join("journal").join(segment.file_name().unwrap());
    fs::copy(segment, &target).unwrap();
    target
}

/// The numbers of all records that a view reads.
fn numbers(view: &JournalView) -> Vec<u32> {
    let found = read_all(view);
    let number = |payload: &[u8]| String::from_utf8_lossy(&payload[..6]).parse().unwrap();
    found.records.iter().map(|(_, payload)| number(payload)).collect()
}

/// Fills until the journal has this many segments; returns how many records it holds then.
fn fill_segments(root: &Path, count: usize) -> u32 {
    let journal = open(root);
    let mut records = 0;
    while segments(root).len() < count {
        fill(&journal, records, records + 1);
        records += 1;
    }
    journal.close().unwrap();
    records
}

#[test]
fn a_copy_that_ends_ours_before_the_marker_is_left_out() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let journal = open(&root);
    fill(&journal, 0, 2);
    journal.close().unwrap();
    copy_directory(&root, &copy);
    let theirs = open(&copy);
    fill(&theirs, THEIRS, THEIRS + 1);
    theirs.close().unwrap();
    let journal = open(&root);
    fill(&journal, 2, 4);
    journal.close().unwrap();
    // The copy's IDENTITY names its segment; the marker and the segment that it names are ours.
    bring(&active(&copy), &root);
    fs::copy(copy.join("IDENTITY"), root.join("IDENTITY")).unwrap();
    assert_whole(&root, 4);
    drop(open(&root));
    assert_whole(&root, 4);
}

#[test]
fn a_copy_that_ends_ours_too_soon_is_left_out() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let mut marker_before = Vec::new();
    let journal = open(&root);
    let mut count = 0;
    while segments(&root).len() < 2 {
        marker_before = fs::read(witness(&root)).unwrap();
        fill(&journal, count, count + 1);
        count += 1;
    }
    // The copy is made beside the writer: its segment begins after skipped seqs.
    copy_directory(&root, &copy);
    let theirs = open(&copy);
    fill(&theirs, THEIRS, THEIRS + 1);
    theirs.close().unwrap();
    fill(&journal, count, count + 2);
    journal.close().unwrap();
    // A power cut took the marker back to the segment before.
    fs::write(witness(&root), marker_before).unwrap();
    bring(&active(&copy), &root);
    assert_whole(&root, count + 2);
    drop(open(&root));
    assert_whole(&root, count + 2);
}

#[test]
fn another_journals_segment_is_foreign_where_no_salt_is_known() {
    let lab = tempfile::tempdir().unwrap();
    let (root, other) = (lab.path().join("data"), lab.path().join("other"));
    let count = fill_segments(&root, 2);
    let theirs = open(&other);
    fill(&theirs, THEIRS, THEIRS + count);
    theirs.close().unwrap();
    let lost = active(&root);
    assert_eq!(active(&other).file_name(), lost.file_name());
    // Of the segment that is gone, nothing but its first seq is known.
    for path in [lost, witness(&root), root.join("IDENTITY")] {
        fs::remove_file(path).unwrap();
    }
    let journal = open(&root);
    fill(&journal, count, count + 1);
    journal.close().unwrap();
    let brought = bring(&active(&other), &root);
    let view = view(&root);
    assert!(numbers(&view).iter().all(|number| *number < THEIRS), "{:?}", numbers(&view));
    let left_out = view.left_out().unwrap();
    assert_eq!((left_out.len(), &left_out[0].path), (1, &brought));
    assert_eq!(left_out[0].standing, Standing::Foreign);
}

#[test]
fn seqs_that_a_header_covers_are_not_read_from_a_copy() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let count = fill_segments(&lab.path().join("measured"), 2) - 1;
    let journal = open(&root);
    fill(&journal, 0, count);
    journal.close().unwrap();
    // The first segment is full: both begin the next one at the same seq.
    copy_directory(&root, &copy);
    let theirs = open(&copy);
    fill(&theirs, THEIRS, THEIRS + 2);
    theirs.close().unwrap();
    let journal = open(&root);
    fill(&journal, count, 4 * count);
    journal.close().unwrap();
    assert!(segments(&root).len() > 3);
    // Ours is lost. What follows it says which seqs it held.
    let lost = segments(&root).remove(1);
    assert_eq!(active(&copy).file_name(), lost.file_name());
    fs::remove_file(&lost).unwrap();
    bring(&active(&copy), &root);
    let view = view(&root);
    assert!(numbers(&view).iter().all(|number| *number < THEIRS), "{:?}", numbers(&view));
    assert!(!read_all(&view).lost.is_empty());
}

#[test]
fn seqs_of_a_segment_that_is_left_out_are_not_given_again() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let journal = open(&root);
    fill(&journal, 0, 2);
    journal.close().unwrap();
    copy_directory(&root, &copy);
    let theirs = open(&copy);
    fill(&theirs, THEIRS, THEIRS + 4);
    let their_end = theirs.next_seq();
    theirs.close().unwrap();
    bring(&active(&copy), &root);
    let journal = open(&root);
    fill(&journal, 2, 3);
    let records = read_all(&journal.view()).records;
    assert_eq!(numbers(&journal.view()), [0, 1, 2]);
    assert!(records[2].0 >= their_end, "{:?} was given to the copy's record too", records[2].0);
    journal.close().unwrap();
    assert_whole(&root, 3);
}

#[test]
fn a_copys_segment_does_not_hide_ours_before_a_lost_active_one() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let journal = open(&root);
    fill(&journal, 0, 2);
    journal.close().unwrap();
    copy_directory(&root, &copy);
    let theirs = open(&copy);
    fill(&theirs, THEIRS, THEIRS + 1);
    theirs.close().unwrap();
    let journal = open(&root);
    fill(&journal, 2, 4);
    let marker_before = fs::read(witness(&root)).unwrap();
    journal.close().unwrap();
    // As after a kill: the segment is not sealed, and another one is begun.
    fs::write(witness(&root), marker_before).unwrap();
    let journal = open(&root);
    fill(&journal, 4, 5);
    bring(&active(&copy), &root);
    fs::remove_file(active(&root)).unwrap();
    // Another process follows the chain from a segment that is gone.
    assert_eq!(numbers(&view(&root)), [0, 1, 2, 3]);
    fill(&journal, 5, 6);
    assert_eq!(numbers(&journal.view()), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn our_segment_comes_before_a_lost_one_not_a_copys() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let journal = open(&root);
    fill(&journal, 0, 2);
    journal.close().unwrap();
    copy_directory(&root, &copy);
    let theirs = open(&copy);
    let mut number = THEIRS;
    while segments(&copy).len() < 3 {
        fill(&theirs, number, number + 1);
        number += 1;
    }
    theirs.close().unwrap();
    let journal = open(&root);
    let mut count = 2;
    while segments(&root).len() < 3 {
        fill(&journal, count, count + 1);
        count += 1;
    }
    journal.close().unwrap();
    // The newest one is lost. That of the copy has a name between it and ours, and what it continues is not here.
    let lost = active(&root);
    fs::remove_file(&lost).unwrap();
    let previous = active(&root);
    let brought = bring(&active(&copy), &root);
    assert!(previous < brought && brought < lost, "{previous:?} {brought:?} {lost:?}");
    assert_eq!(numbers(&view(&root)), (0..count - 1).collect::<Vec<_>>());
    drop(open(&root));
    assert_eq!(numbers(&view(&root)), (0..count - 1).collect::<Vec<_>>());
}

#[test]
fn a_reader_ends_at_garbage_in_place_of_the_active_segment() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("data");
    let journal = open(&root);
    fill(&journal, 0, 2);
    let segment = active(&root);
    fs::remove_file(&segment).unwrap();
    fs::write(&segment, b"no header").unwrap();
    let found = read_all(&view(&root));
    assert_eq!((found.records.len(), found.lost_seqs()), (0, vec![1, 2]));
    // The next append writes the segment again.
    fill(&journal, 2, 3);
    assert_whole(&root, 3);
}
