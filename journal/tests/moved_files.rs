//! What people do to the files of a journal that is being written: delete, move, replace and hard-link them. On the
//! operating system's own files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{append, clock, read_all, record, try_append};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Day, Error, Journal, JournalView, LossCause, NewRecord, Options};

const SEGMENT_BYTES: u64 = 32 << 10;

fn options() -> Options {
    Options { clock: clock(), segment_bytes_max: Some(SEGMENT_BYTES), ..Options::default() }
}

fn open(root: &Path) -> Journal {
    Journal::open(root, &options()).unwrap()
}

fn view(root: &Path) -> JournalView {
    JournalView::open(root, Arc::new(RealStorage)).unwrap()
}

/// Records of this many bytes roll the segment every few.
fn fill(journal: &Journal, from: u32, to: u32) {
    for number in from..to {
        append(journal, &payload(number));
    }
}

fn payload(number: u32) -> Vec<u8> {
    format!("{number:06}").into_bytes().repeat(400)
}

/// Asserts that records with these numbers are all there, in order, and nothing is lost.
#[track_caller]
fn assert_whole(root: &Path, to: u32) {
    let found = read_all(&view(root));
    assert_eq!(found.lost, []);
    let numbers: Vec<u32> = found
        .payloads()
        .iter()
        .map(|payload| String::from_utf8_lossy(&payload[..6]).parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..to).collect::<Vec<_>>());
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(root.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

fn active(root: &Path) -> PathBuf {
    segments(root).pop().unwrap()
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// `cp -al`.
fn hard_link(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("journal")).unwrap();
    for directory in ["", "journal"] {
        for entry in fs::read_dir(from.join(directory)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                // A file may be replaced meanwhile.
                let _ = fs::hard_link(entry.path(), to.join(directory).join(entry.file_name()));
            }
        }
    }
}

#[test]
fn a_deleted_or_moved_active_segment_is_written_again() {
    for is_moved in [false, true] {
        let lab = tempfile::tempdir().unwrap();
        let root = lab.path().join("data");
        let journal = open(&root);
        fill(&journal, 0, 2);
        let segment = active(&root);
        if is_moved {
            fs::rename(&segment, root.join("elsewhere")).unwrap();
        } else {
            fs::remove_file(&segment).unwrap();
        }
        fill(&journal, 2, 4);
        assert_eq!(active(&root), segment);
        assert_whole(&root, 4);
        drop(journal);
        drop(open(&root));
        assert_whole(&root, 4);
    }
}

#[test]
fn a_file_in_the_place_of_the_active_segment_is_moved_aside_unchanged() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("data");
    let journal = open(&root);
    fill(&journal, 0, 2);
    let segment = active(&root);
    fs::remove_file(&segment).unwrap();
    fs::write(&segment, b"precious").unwrap();
    fill(&journal, 2, 3);
    let mut aside = segment.into_os_string();
    aside.push(".foreign-1");
    assert_eq!(fs::read(aside).unwrap(), b"precious");
    assert_whole(&root, 3);
}

#[test]
fn a_removed_journal_directory_acknowledges_nothing_and_nothing_is_made_in_its_place() {
    for is_replaced in [false, true] {
        let lab = tempfile::tempdir().unwrap();
        let root = lab.path().join("data");
        let journal = open(&root);
        fill(&journal, 0, 2);
        let aside = root.join("journal.bak");
        fs::rename(root.join("journal"), &aside).unwrap();
        if is_replaced {
            fs::create_dir(root.join("journal")).unwrap();
        }
        for _ in 0..2 {
            let error = try_append(&journal, &payload(2)).unwrap_err();
            assert!(error.to_string().contains("journal is gone"), "{error}");
        }
        assert_eq!(root.join("journal").exists(), is_replaced);
        if is_replaced {
            fs::remove_dir(root.join("journal")).unwrap();
        }
        // Back again: what waited is written, in its place.
        fs::rename(&aside, root.join("journal")).unwrap();
        journal.sync().unwrap();
        let found = read_all(&view(&root));
        assert_eq!(found.lost, []);
        assert_eq!(found.records.len(), 4);
    }
}

#[test]
fn a_deleted_or_shared_marker_is_replaced_at_the_next_sync() {
    let lab = tempfile::tempdir().unwrap();
    let (root, marker) = (lab.path().join("data"), lab.path().join("data/journal/WITNESS"));
    let journal = open(&root);
    fill(&journal, 0, 1);
    fs::hard_link(&marker, lab.path().join("copy")).unwrap();
    let copied = fs::read(lab.path().join("copy")).unwrap();
    fill(&journal, 1, 2);
    assert_eq!(fs::read(lab.path().join("copy")).unwrap(), copied);
    assert_eq!(fs::metadata(&marker).unwrap().nlink(), 1);
    fs::remove_file(&marker).unwrap();
    fill(&journal, 2, 3);
    assert_eq!(view(&root).head().unwrap(), journal.next_seq());
    journal.close().unwrap();
    assert_whole(&root, 3);
}

#[test]
fn a_copy_made_by_hard_links_and_its_original_never_change_each_other() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("data");
    let journal = open(&root);
    let mut copies = Vec::new();
    for number in 0..60 {
        if number % 7 == 3 {
            let copy = lab.path().join(format!("copy-{number}"));
            hard_link(&root, &copy);
            copies.push((copy, number));
        }
        fill(&journal, number, number + 1);
    }
    // Each copy is opened, recovered, appended to and pruned, while the original is being written.
    for (index, (copy, number)) in copies.iter().enumerate() {
        let opened = open(copy);
        let found = read_all(&opened.view());
        assert_eq!(found.lost, [], "copy-{number}");
        // What was being written when the link was made may be there too.
        let count = found.records.len() as u32;
        assert!((*number..=*number + 1).contains(&count), "copy-{number} has {count}");
        fill(&opened, 1000, 1020);
        opened.prune_through(Day::MAX).unwrap();
        opened.unlink_pruned().unwrap();
        let next = 60 + index as u32;
        fill(&journal, next, next + 1);
        assert_whole(&root, next + 1);
    }
    let total = 60 + copies.len() as u32;
    drop(journal);
    let copied = lab.path().join("at-rest");
    hard_link(&root, &copied);
    let before = contents(&root.join("journal"));
    drop(open(&copied));
    append(&open(&copied), b"of the copy");
    assert_eq!(contents(&root.join("journal")), before);
    drop(open(&root));
    assert_whole(&root, total);
}

#[test]
fn a_shared_spare_is_never_written() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("data");
    drop(open(&root));
    let shared = lab.path().join("shared");
    fs::hard_link(root.join("journal/spare"), &shared).unwrap();
    let before = fs::read(&shared).unwrap();
    let journal = open(&root);
    fill(&journal, 0, 40);
    assert!(segments(&root).len() > 2);
    assert_eq!(fs::read(&shared).unwrap(), before);
}

#[test]
fn a_copied_directory_goes_on_in_a_segment_of_its_own() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let journal = open(&root);
    fill(&journal, 0, 2);
    journal.close().unwrap();
    fs::create_dir_all(copy.join("journal")).unwrap();
    for path in contents(&root.join("journal")).into_keys().chain([root.join("IDENTITY")]) {
        fs::copy(&path, copy.join(path.strip_prefix(&root).unwrap())).unwrap();
    }
    fill(&open(&copy), 2, 3);
    assert_eq!(segments(&copy).len(), 2);
    // The original itself is continued.
    fill(&open(&root), 2, 3);
    assert_eq!(segments(&root).len(), 1);
    // A segment of either in the other is no part of it.
    let foreign = active(&copy);
    fs::copy(&foreign, root.join("journal").join(foreign.file_name().unwrap())).unwrap();
    assert_whole(&root, 3);
    let left_out = view(&root).left_out().unwrap();
    assert_eq!(left_out.len(), 1);
    assert!(left_out[0].to_string().contains("forked"), "{}", left_out[0]);
}

#[test]
fn an_obstacle_in_the_place_of_any_file_stops_no_recording() {
    type Make = fn(&Path);
    let obstacles: [(&str, Make); 3] = [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a FIFO", |path| rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o644.into()).unwrap()),
        ("a link", |path| symlink("/nonexistent", path).unwrap()),
    ];
    for (what, make) in obstacles {
        for place in ["journal/spare", "journal/WITNESS", "IDENTITY", "keys", "an old segment"] {
            let lab = tempfile::tempdir().unwrap();
            let root = lab.path().join("data");
            let journal = open(&root);
            fill(&journal, 0, 30);
            let key = |key: u8| NewRecord { key: Some([key; 16]), ..record(b"000030") };
            journal.append(&[key(1)]).unwrap();
            journal.close().unwrap();
            let old = segments(&root).remove(1);
            let path = match place {
                "keys" => active(&root).with_extension("keys"),
                "an old segment" => old.clone(),
                other => root.join(other),
            };
            let _ = fs::remove_file(&path);
            make(&path);
            let journal = open(&root);
            fill(&journal, 31, 61);
            journal.append(&[key(2)]).unwrap();
            let found = read_all(&view(&root));
            if place == "an old segment" {
                assert_eq!(found.lost.len(), 1, "{what} at {place}");
                assert_eq!(found.lost[0].cause, LossCause::Unopenable);
                assert!(journal.report_lost(&found.lost[0]).unwrap().is_none());
            } else if place != "journal/WITNESS" {
                assert_eq!((found.lost.len(), found.records.len()), (0, 62), "{what} at {place}");
            }
            journal.close().unwrap_or_else(|error| assert!(matches!(error, Error::Io { .. })));
            assert!(fs::symlink_metadata(&path).is_ok());
        }
    }
}

#[test]
fn a_journal_that_was_a_mount_point_is_not_begun_anew_below_it() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("data");
    drop(open(&root));
    let identity = fs::read_to_string(root.join("IDENTITY")).unwrap();
    assert!(identity.contains("journal_is_mount = no\n"));
    let mounted = identity.replace("journal_is_mount = no", "journal_is_mount = yes");
    fs::write(root.join("IDENTITY"), &mounted).unwrap();
    fs::rename(root.join("journal"), lab.path().join("disk")).unwrap();
    for is_empty_mount_point in [false, true] {
        if is_empty_mount_point {
            fs::create_dir(root.join("journal")).unwrap();
        }
        let error = Journal::open(&root, &options()).unwrap_err();
        assert!(error.to_string().contains("mount it"), "{error}");
        assert_eq!(root.join("journal").exists(), is_empty_mount_point);
    }
    assert_eq!(fs::read_dir(root.join("journal")).unwrap().count(), 0);
    JournalView::open(&root, Arc::new(RealStorage)).unwrap_err();
    // Moved for good, or copied: the newest segment is there, and `IDENTITY` learns of it.
    fs::remove_dir(root.join("journal")).unwrap();
    fs::rename(lab.path().join("disk"), root.join("journal")).unwrap();
    append(&open(&root), b"goes on");
    let identity = fs::read_to_string(root.join("IDENTITY")).unwrap();
    assert!(identity.contains("journal_is_mount = no\n"));
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("data");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::chown(&root, Some(65_534), Some(65_534)).unwrap();
    let journal = open(&root);
    fill(&journal, 0, 40);
    journal.append(&[NewRecord { key: Some([1; 16]), ..record(b"keyed") }]).unwrap();
    for directory in [root.clone(), root.join("journal")] {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let found = entry.metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), (65_534, 65_534), "{:?}", entry.path());
            assert_eq!(found.mode() & 0o777, if found.is_dir() { 0o755 } else { 0o644 });
        }
    }
    // A spare of another user is replaced.
    drop(journal);
    fs::remove_file(root.join("journal/spare")).unwrap();
    fs::write(root.join("journal/spare"), b"").unwrap();
    fill(&open(&root), 40, 80);
}
