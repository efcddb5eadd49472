//! What people do to the files of a journal that is being written: delete, move, replace and hard-link them. On the
//! operating system's own files.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::hooked::Hooked;
use crate::common::real::{
    active, assert_whole, contents, copy_directory, fill, open, options, payload, segments, view,
};
use crate::common::{append, read_all, record, try_append};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Day, Error, Journal, JournalView, LossCause, Options, Seq, repair};

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
fn a_copys_segment_in_the_place_of_ours_is_not_read() {
    let is_tried = (2..12).any(|count| {
        let lab = tempfile::tempdir().unwrap();
        let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
        let journal = open(&root);
        fill(&journal, 0, count);
        journal.close().unwrap();
        copy_directory(&root, &copy);
        for (root, number) in [(&root, count), (&copy, 100)] {
            let journal = open(root);
            fill(&journal, number, number + 1);
            journal.close().unwrap();
        }
        // Both begin a segment of one name where ours was full.
        let (ours, theirs) = (active(&root), active(&copy));
        if ours.file_name() != theirs.file_name() {
            return false;
        }
        fs::copy(&theirs, &ours).unwrap();
        let found = read_all(&view(&root));
        assert_eq!(found.payloads().len(), count as usize);
        assert!(found.lost.iter().any(|lost| lost.range.contains(Seq(u64::from(count) + 1))));
        true
    });
    assert!(is_tried);
}

#[test]
fn a_copys_segment_from_the_middle_of_ours_is_not_read() {
    let lab = tempfile::tempdir().unwrap();
    let (root, copy) = (lab.path().join("data"), lab.path().join("copy"));
    let journal = open(&root);
    fill(&journal, 0, 2);
    copy_directory(&root, &copy);
    fill(&journal, 2, 20);
    journal.close().unwrap();
    let first = segments(&root)[0].clone();
    for path in segments(&root).into_iter().skip(1) {
        fs::remove_file(path).unwrap();
    }
    for path in ["journal/WITNESS", "IDENTITY"] {
        fs::remove_file(root.join(path)).unwrap();
    }
    let theirs = open(&copy);
    fill(&theirs, 100, 101);
    theirs.close().unwrap();
    let theirs = active(&copy);
    assert!(theirs.file_name() > first.file_name());
    fs::copy(&theirs, root.join("journal").join(theirs.file_name().unwrap())).unwrap();
    let found = read_all(&view(&root));
    assert!(found.payloads().len() > 2, "what follows in our own segment is read");
    assert!(!found.payloads().contains(&&*payload(100)));
}

/// The first segment that a copy begins has another incarnation than the one before it, also where the process is killed
/// before anything but its header says so.
#[test]
fn a_copy_killed_in_its_first_append_keeps_its_own_segments() {
    let lab = tempfile::tempdir().unwrap();
    let original = lab.path().join("original");
    let journal = open(&original);
    fill(&journal, 0, 2);
    journal.close().unwrap();
    for operations in 0_u64.. {
        let copy = lab.path().join(format!("copy{operations}"));
        copy_directory(&original, &copy);
        let done = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&done);
        let storage = Hooked::new(RealStorage, move |_, _| {
            match count.fetch_add(1, Ordering::Relaxed) < operations {
                true => Ok(()),
                false => Err(std::io::Error::other("killed")),
            }
        });
        let killed = Options { storage: Arc::new(storage), ..options() };
        let acknowledged = Journal::open(&copy, &killed)
            .is_ok_and(|journal| try_append(&journal, &payload(2)).is_ok());
        let journal = open(&copy);
        assert_eq!(journal.view().left_out().unwrap(), [], "operation {operations}");
        let found = read_all(&journal.view());
        let count = found.payloads().len() as u32;
        assert!(count == 3 || count == 2 && !acknowledged, "operation {operations}: {count}");
        fill(&journal, count, count + 1);
        journal.close().unwrap();
        assert_whole(&copy, count + 1);
        if done.load(Ordering::Relaxed) <= operations {
            break;
        }
    }
}

#[test]
fn repair_renames_a_segment_that_replaced_the_one_known_as_lost() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("data");
    let (witness, identity) = (root.join("journal/WITNESS"), root.join("IDENTITY"));
    let journal = open(&root);
    let mut count = 0;
    let mut marker_before = Vec::new();
    while segments(&root).len() < 2 {
        marker_before = fs::read(&witness).unwrap();
        fill(&journal, count, count + 1);
        count += 1;
    }
    drop(journal);
    let identity_before = fs::read(&identity).unwrap();
    // A power cut took the marker back: nothing in the newest segment is proven, and an opening replaces it.
    fs::write(&witness, &marker_before).unwrap();
    let old = fs::read(active(&root)).unwrap();
    drop(open(&root));
    assert_ne!(fs::read(active(&root)).unwrap()[..8192], old[..8192]);
    // Another power cut before IDENTITY names the new one; then a person renames that.
    fs::write(&witness, &marker_before).unwrap();
    fs::write(&identity, &identity_before).unwrap();
    let name = active(&root);
    fs::rename(&name, root.join("journal/00000000000000000001-2030-01-01.seg")).unwrap();
    let journal = open(&root);
    fill(&journal, count, count + 1);
    journal.close().unwrap();
    assert_eq!(repair(&root, &(Arc::new(RealStorage) as _), false).unwrap().len(), 1);
    assert!(name.exists());
    assert_whole(&root, count + 1);
}

#[test]
fn a_file_in_place_of_the_active_segment_is_moved_aside() {
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
fn a_removed_journal_directory_acknowledges_nothing() {
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
fn hard_linked_copies_never_change_each_other() {
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
fn a_copied_directory_begins_its_own_segment() {
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
            let key = |key: u8| record(b"000030").key([key; 16]);
            let _ = journal.append(&[key(1)]).unwrap();
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
            let _ = journal.append(&[key(2)]).unwrap();
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
fn no_journal_begins_below_a_missing_mount_point() {
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
    let _ = journal.append(&[record(b"keyed").key([1; 16])]).unwrap();
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
