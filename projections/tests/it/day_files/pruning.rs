//! Pruned days go, with everything of ours in them; what comes later is new.

use std::fs;

use lenslog_engine::{CommitKind, Scope};

use crate::day_files::common::{BOTH, Real};
use crate::day_files::machine::day;

#[test]
fn pruned_days_go_with_their_directories_at_the_next_visible_commit() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let mut follower = real.follower();
        follower.start().unwrap();
        real.machine.prune(1).unwrap();
        follower.follow().unwrap();
        assert!(!real.path(0, "").exists() && !real.path(1, "").exists());
        assert!(real.events(2).exists());
        assert_eq!(real.differences(), Vec::<String>::new());
        real.assert_whole();
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn days_of_a_wrong_clock_go_with_a_tombstone_that_takes_them() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let wrong = 100;
        real.machine.detect(wrong, false).unwrap();
        let described = real.machine.events.last().unwrap().clone();
        real.settle();
        assert!(real.events(wrong).exists());
        real.machine.pass_a_day();
        real.machine.detect(55, false).unwrap();
        let pruned = real.machine.journal.prune_around(day(50), day(60)).unwrap();
        assert_eq!((pruned.segments.len(), pruned.wrong_from), (1, Some(day(60))));
        let mut follower = real.follower();
        follower.start().unwrap();
        follower.follow().unwrap();
        assert!(!real.path(wrong, "").exists());
        // What is said of an event that is gone is not written, not even after the next tombstone.
        real.machine.prune(50).unwrap();
        real.machine.describe(described, 0).unwrap();
        follower.follow().unwrap();
        assert!(!real.path(wrong, "").exists() && real.events(55).exists());
        assert_eq!(real.differences(), Vec::<String>::new());
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn a_rebuild_leaves_no_directory_of_a_pruned_day() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        // More than a file's buffer: a rebuild writes it before it reads that the day was pruned.
        for _ in 0..2000 {
            real.machine.detect(1, false).unwrap();
        }
        real.machine.prune(1).unwrap();
        real.settle();
        real.rebuild(Scope::All, false).unwrap();
        assert!(!real.path(0, "").exists() && !real.path(1, "").exists());
        assert!(real.events(2).exists());
    }
}

#[test]
fn images_and_the_files_of_others_stay() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        fs::write(real.path(0, "evt_1.jpg"), "picture").unwrap();
        fs::write(real.path(0, "notes.txt"), "mine").unwrap();
        fs::write(real.path(0, "events.log.old-x"), "mine too").unwrap();
        real.machine.prune(0).unwrap();
        real.settle();
        let left: Vec<_> = fs::read_dir(real.path(0, "")).unwrap().collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(!real.events(0).exists());
    }
}

#[test]
fn what_was_set_aside_goes_with_its_day() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        for (day, number) in [(0, 1), (1, 2), (2, 1)] {
            let aside = format!("{}.old-{number}", real.events(day).display());
            fs::write(aside, "old").unwrap();
        }
        real.machine.prune(1).unwrap();
        real.settle();
        assert!(!real.path(0, "").exists() && !real.path(1, "").exists());
        assert!(fs::exists(format!("{}.old-1", real.events(2).display())).unwrap());
    }
}

#[test]
fn an_old_day_that_is_ingested_after_it_was_pruned_is_new() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let mut follower = real.follower();
        follower.start().unwrap();
        real.machine.prune(1).unwrap();
        real.machine.detect(0, false).unwrap();
        real.machine.detect(1, true).unwrap();
        follower.follow().unwrap();
        let count = |text: &str| {
            let entries = text.matches("front").count();
            assert_eq!(entries, 1, "{text}");
        };
        count(&fs::read_to_string(real.events(0)).unwrap());
        real.machine.describe(real.machine.events.last().unwrap().clone(), 1).unwrap();
        follower.follow().unwrap();
        count(&fs::read_to_string(real.events(1)).unwrap());
        follower.commit(CommitKind::Durable).unwrap();
        assert_eq!(real.differences(), Vec::<String>::new());
        real.assert_whole();
        real.rebuild(Scope::Days([crate::day_files::machine::day(0)].into()), false).unwrap();
        real.assert_whole();
    }
}

#[test]
fn a_pruned_file_that_cannot_be_removed_stops_nothing_and_is_tried_again() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        // A directory in its place cannot be removed like a file.
        fs::remove_file(real.events(0)).unwrap();
        let mut follower = real.follower();
        follower.start().unwrap();
        fs::create_dir(real.events(0)).unwrap();
        real.machine.prune(1).unwrap();
        real.machine.detect(2, false).unwrap();
        follower.follow().unwrap();
        assert!(!real.events(1).exists());
        assert!(fs::read_to_string(real.events(2)).unwrap().contains("grey grey"));
        fs::remove_dir(real.events(0)).unwrap();
        follower.commit(CommitKind::Durable).unwrap();
        real.settle();
        real.assert_whole();
    }
}
