//! A rebuild replaces exactly what it should, in one step, and keeps old files on request.

use std::fs;
use std::path::PathBuf;

use lenslog_engine::{Projection as _, RebuildOptions, Scope, rebuild};
use lenslog_projections::plaintext::plaintext;

use crate::day_files::common::{BOTH, Real};
use crate::day_files::machine::{Kept, day};

fn aside(real: &Real, number: u8) -> PathBuf {
    format!("{}.old-1", real.events(number).display()).into()
}

#[test]
fn a_rebuild_touches_nothing_that_is_not_ours() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let foreign = ["evt_1.jpg", "events.txt", "events.json.bak", "sub/events.log"];
        fs::create_dir(real.path(0, "sub")).unwrap();
        for name in foreign {
            fs::write(real.path(0, name), name).unwrap();
        }
        let outside = real.data.path().join("events/not a day");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("events.json"), "mine").unwrap();
        real.rebuild(Scope::All, false).unwrap();
        for name in foreign {
            assert_eq!(fs::read_to_string(real.path(0, name)).unwrap(), name);
        }
        assert_eq!(fs::read_to_string(outside.join("events.json")).unwrap(), "mine");
    }
}

#[test]
fn a_rebuild_of_everything_removes_our_files_of_days_that_are_no_more() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        fs::create_dir(real.path(4, "")).unwrap();
        fs::write(real.events(4), "left over\n").unwrap();
        let day_0 = real.path(0, "");
        real.rebuild(Scope::Days([day(0)].into()), false).unwrap();
        assert!(real.events(4).exists() && day_0.exists());
        real.rebuild(Scope::All, false).unwrap();
        assert!(!real.path(4, "").exists());
        real.assert_whole();
    }
}

#[test]
fn a_rebuild_of_some_days_touches_only_these() {
    for kept in BOTH {
        for scope in [Scope::Days([day(1)].into()), Scope::Range(day(1), day(1))] {
            let real = Real::with_events(kept);
            let before = real.files();
            for number in 0..3 {
                let text = fs::read_to_string(real.events(number)).unwrap();
                // In place: the inode stays, so that nothing notices.
                fs::write(real.events(number), text.replace("front", "FRONT")).unwrap();
            }
            real.rebuild(scope, false).unwrap();
            let kept_days = [(0, true), (1, false), (2, true)];
            for (number, is_altered) in kept_days {
                let text = fs::read_to_string(real.events(number)).unwrap();
                assert_eq!(text.contains("FRONT"), is_altered, "{number}");
            }
            real.rebuild(Scope::All, false).unwrap();
            assert_eq!(real.files(), before);
        }
    }
}

#[test]
fn the_old_files_are_kept_aside_where_that_is_wanted_and_they_hold_something_else() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let altered = fs::read_to_string(real.events(1)).unwrap().replace("front", "FRONT");
        fs::write(real.events(1), &altered).unwrap();
        fs::create_dir(real.path(4, "")).unwrap();
        fs::write(real.events(4), "left over\n").unwrap();
        let options = RebuildOptions { keep_old: true, ..RebuildOptions::default() };
        real.follower().rebuild(&options).unwrap();
        assert_eq!(fs::read_to_string(aside(&real, 1)).unwrap(), altered);
        assert_eq!(fs::read_to_string(aside(&real, 4)).unwrap(), "left over\n");
        fs::remove_file(aside(&real, 1)).unwrap();
        fs::remove_dir_all(real.path(4, "")).unwrap();
        real.assert_whole();
    }
}

#[test]
fn an_aborted_rebuild_leaves_everything_as_it_was() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let before = real.files();
        real.machine.detect(4, false).unwrap();
        let mut projection = real.projection();
        for scope in [Scope::All, Scope::Range(day(0), day(4))] {
            projection.open().unwrap();
            projection.begin_rebuild(&scope).unwrap();
            projection.abort_rebuild();
            let options = RebuildOptions { scope, ..RebuildOptions::default() };
            let view = real.machine.journal.view();
            rebuild(&mut *projection, &view, &options, &mut |_| false).unwrap_err();
            assert_eq!(real.files(), before);
        }
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn what_an_interrupted_rebuild_left_is_removed_by_the_next_opening() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let left = format!("{}.rebuild", real.events(0).display());
        fs::write(&left, "half a file").unwrap();
        fs::create_dir(real.path(4, "")).unwrap();
        fs::write(format!("{}.rebuild", real.events(4).display()), "half a file").unwrap();
        real.settle();
        real.assert_whole();
        assert!(!real.path(4, "").exists());
    }
}

#[test]
fn another_option_makes_everything_anew() {
    let real = Real::with_events(Kept::Plaintext);
    let mut with = plaintext(
        std::sync::Arc::new(lenslog_journal::storage::RealStorage),
        real.data.path(),
        true,
    );
    let view = real.machine.journal.view();
    let lenslog_engine::Opened::At { checkpoint, .. } = with.open().unwrap() else {
        panic!("it is there");
    };
    let reason = checkpoint.mismatch(view.journal_id(), &with.spec()).unwrap();
    assert!(reason.contains("metadata"), "{reason}");
}
