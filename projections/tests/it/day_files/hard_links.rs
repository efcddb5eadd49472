//! A copy made by hard links (`cp -al`, rsnapshot) and its original never change each other.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lenslog_engine::{CommitKind, Inspection, Scope};
use lenslog_journal::storage::RealStorage;

use crate::day_files::common::{BOTH, Real, files, scratch, text};
use crate::day_files::follower::Follower;

/// Does what `cp -al FROM TO` does.
fn hard_link(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            hard_link(&path, &target);
        } else {
            fs::hard_link(&path, &target).unwrap();
        }
    }
}

/// The follower of a copy of the data directory.
fn follower_in(real: &Real, copy: &Path) -> Follower {
    let storage: std::sync::Arc<dyn lenslog_journal::storage::Storage> =
        std::sync::Arc::new(RealStorage);
    Follower::new(real.kept.projection(&storage, copy), &real.machine.journal.view())
}

fn inodes(data: &Path) -> BTreeMap<String, u64> {
    let names = files(data).into_keys();
    names
        .map(|name| {
            let inode = fs::metadata(data.join("events").join(&name)).unwrap().ino();
            (name.display().to_string(), inode)
        })
        .collect()
}

#[test]
fn a_hard_linked_copy_and_its_original_both_go_on() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let mut follower = real.follower();
        follower.start().unwrap();
        let env = scratch();
        let mut copies = Vec::new();
        for round in 0..6 {
            let copy = env.path().join(format!("copy-{round}"));
            hard_link(real.data.path(), &copy);
            copies.push((files(&copy), copy));
            real.machine.detect(round % 4, false).unwrap();
            follower.follow().unwrap();
            if round % 2 == 1 {
                follower.commit(CommitKind::Durable).unwrap();
            }
        }
        for (before, copy) in &copies {
            assert_eq!(text(&files(copy)), text(before), "{}", copy.display());
        }
        follower.commit(CommitKind::Final).unwrap();
        real.assert_whole();
        let whole = real.files();
        for (_, copy) in &copies {
            follower_in(&real, copy).settle().unwrap();
            assert_eq!(text(&files(copy)), text(&whole), "{}", copy.display());
        }
        assert_eq!(text(&real.files()), text(&whole));
        assert_eq!(real.differences(), [""; 0]);
        // The checkpoint lists the copies: nothing is compared or rewritten by the next start.
        let (checkpoint, before) = (fs::read(real.checkpoint()).unwrap(), inodes(real.data.path()));
        real.settle();
        assert_eq!(fs::read(real.checkpoint()).unwrap(), checkpoint);
        assert_eq!(inodes(real.data.path()), before);
    }
}

#[test]
fn a_copied_file_is_not_truncated() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let mut follower = real.follower();
        follower.start().unwrap();
        let path = real.events(1);
        fs::File::options().append(true).open(&path).unwrap().write_all(b"junk\n").unwrap();
        let env = scratch();
        hard_link(real.data.path(), &env.path().join("copy"));
        let copied = files(&env.path().join("copy"));
        assert_eq!(follower.projection.inspect().unwrap(), Inspection::Intact);
        follower.commit(CommitKind::Durable).unwrap();
        assert_eq!(text(&files(&env.path().join("copy"))), text(&copied));
        real.assert_whole();
        // Its new inode is listed without any further event.
        let listed = fs::read_to_string(real.checkpoint()).unwrap();
        assert!(listed.contains(&fs::metadata(&path).unwrap().ino().to_string()), "{listed}");
    }
}

#[test]
fn a_file_that_only_its_copy_still_names_is_not_appended_to() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let mut follower = real.follower();
        follower.start().unwrap();
        real.machine.detect(1, false).unwrap();
        follower.follow().unwrap();
        let env = scratch();
        let copy = env.path().join("copy");
        hard_link(real.data.path(), &copy);
        let copied = files(&copy);
        fs::remove_file(real.events(1)).unwrap();
        real.machine.detect(1, false).unwrap();
        follower.follow().unwrap();
        assert_eq!(text(&files(&copy)), text(&copied));
        let found = follower.projection.inspect().unwrap();
        assert!(matches!(found, Inspection::Tampered { .. }), "{found:?}");
        real.settle();
        real.assert_whole();
    }
}

/// One that was interrupted before left a file, which is part of the copy too.
#[test]
fn a_rebuild_writes_to_no_file_of_a_copy() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let mut left = real.events(1).into_os_string();
        left.push(".rebuild");
        fs::write(left, "half").unwrap();
        let env = scratch();
        let copy = env.path().join("copy");
        hard_link(real.data.path(), &copy);
        let copied = files(&copy);
        real.rebuild(Scope::All, false).unwrap();
        assert_eq!(text(&files(&copy)), text(&copied));
        real.assert_whole();
    }
}

#[test]
fn an_unfinished_copy_is_removed_at_the_next_start() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let mut left = real.events(0).into_os_string();
        left.push(".copy");
        fs::write(left, "half").unwrap();
        let beside = real.events(2).file_name().unwrap().to_str().unwrap().to_owned();
        fs::write(real.path(2, &format!("{beside}.rebuild.copy")), "half").unwrap();
        real.settle();
        real.assert_whole();
    }
}
