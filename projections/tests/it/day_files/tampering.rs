//! Files that are deleted, cut, replaced, copied, or whose place another object has.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use lenslog_engine::{CommitKind, Inspection, Opened, ProjectionError, Scope};

use crate::day_files::common::{BOTH, Real};
use crate::day_files::machine::day;

/// What a look finds, in a process that has followed to the end.
fn look(real: &Real, change: impl FnOnce()) -> Inspection {
    let mut follower = real.follower();
    follower.start().unwrap();
    follower.follow().unwrap();
    change();
    follower.projection.inspect().unwrap()
}

fn days(numbers: &[u8]) -> Scope {
    Scope::Days(numbers.iter().map(|number| day(*number)).collect())
}

#[test]
fn a_file_that_is_deleted_cut_or_replaced_is_noticed_and_only_its_day_is_made_again() {
    for kept in BOTH {
        for change in ["deleted", "cut", "replaced", "edited into another file"] {
            let real = Real::with_events(kept);
            let path = real.events(1);
            let other = fs::metadata(real.events(0)).unwrap().modified().unwrap();
            let found = look(&real, || match change {
                "deleted" => fs::remove_file(&path).unwrap(),
                "cut" => fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap(),
                "replaced" => {
                    let beside = real.path(1, "beside");
                    fs::copy(real.events(2), &beside).unwrap();
                    fs::rename(&beside, &path).unwrap();
                }
                _ => {
                    let text = fs::read_to_string(&path).unwrap().replace("person", "animal");
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, text).unwrap();
                }
            });
            let Inspection::Tampered { reason, scope } = found else {
                panic!("{change}: {found:?}")
            };
            assert!(reason.contains(path.to_str().unwrap()), "{reason}");
            assert_eq!(scope, days(&[1]), "{change}");
            real.settle();
            real.assert_whole();
            let now = fs::metadata(real.events(0)).unwrap().modified().unwrap();
            assert_eq!(other, now, "the file of another day was not touched");
        }
    }
}

#[test]
fn nothing_is_appended_to_a_file_that_is_not_ours_any_more() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let mut follower = real.follower();
        follower.start().unwrap();
        fs::remove_file(real.events(1)).unwrap();
        fs::write(real.events(1), "foreign\n").unwrap();
        real.machine.detect(1, false).unwrap();
        follower.follow().unwrap();
        follower.commit(CommitKind::Durable).unwrap();
        assert_eq!(fs::read_to_string(real.events(1)).unwrap(), "foreign\n");
        let found = follower.projection.inspect().unwrap();
        assert!(matches!(found, Inspection::Tampered { .. }), "{found:?}");
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn a_deleted_day_or_everything_comes_back() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        fs::remove_dir_all(real.path(2, "")).unwrap();
        real.settle();
        real.assert_whole();
        fs::remove_dir_all(real.data.path().join("events")).unwrap();
        real.settle();
        real.assert_whole();
        fs::remove_dir_all(real.data.path().join("checkpoints")).unwrap();
        fs::remove_dir_all(real.data.path().join("events")).unwrap();
        assert_eq!(real.projection().open().unwrap(), Opened::Absent);
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn without_its_checkpoint_everything_is_made_again_and_nothing_needless_is_kept() {
    for kept in BOTH {
        for damage in ["deleted", "flipped", "another text", "emptied"] {
            let real = Real::with_events(kept);
            let mut bytes = fs::read(real.checkpoint()).unwrap();
            match damage {
                "deleted" => fs::remove_file(real.checkpoint()).unwrap(),
                "flipped" => {
                    bytes[40] ^= 1;
                    fs::write(real.checkpoint(), &bytes).unwrap();
                }
                "another text" => fs::write(real.checkpoint(), "hello\n").unwrap(),
                _ => fs::write(real.checkpoint(), "").unwrap(),
            }
            // A line that the journal lacks is not deleted.
            let line = "{\"event_id\":\"lost\",\"seq\":0}\n";
            let changed = fs::read_to_string(real.events(0)).unwrap() + line;
            fs::write(real.events(0), &changed).unwrap();
            let opened = real.projection().open().unwrap();
            assert!(matches!(opened, Opened::Broken { .. }), "{damage}: {opened:?}");
            real.settle();
            let aside = real.events(0).to_str().unwrap().to_owned() + ".old-1";
            assert_eq!(fs::read_to_string(&aside).unwrap(), changed);
            fs::remove_file(aside).unwrap();
            real.assert_whole();
        }
    }
}

#[test]
fn a_checkpoint_that_is_deleted_while_its_projection_runs_is_written_again() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let before = fs::read(real.checkpoint()).unwrap();
        let found = look(&real, || fs::remove_file(real.checkpoint()).unwrap());
        assert_eq!(found, Inspection::Intact);
        assert_eq!(fs::read(real.checkpoint()).unwrap(), before);
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn a_copied_directory_is_taken_over_as_it_is() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let copy = crate::day_files::common::scratch();
        let copied = std::process::Command::new("cp")
            .args(["-a", &format!("{}/.", real.data.path().display())])
            .arg(copy.path())
            .status();
        assert!(copied.unwrap().success());
        let before = crate::day_files::common::files(copy.path());
        real.data = copy;
        assert!(matches!(real.projection().open().unwrap(), Opened::At { .. }));
        let found = look(&real, || ());
        assert_eq!(found, Inspection::Intact);
        assert_eq!(real.files(), before);
        real.machine.detect(1, false).unwrap();
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn a_directory_in_the_place_of_a_file_blocks_until_it_is_moved_away() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        fs::remove_file(real.events(1)).unwrap();
        fs::create_dir(real.events(1)).unwrap();
        fs::write(real.events(1).join("precious"), "1").unwrap();
        real.machine.detect(3, false).unwrap();
        let error = real.follower().settle().unwrap_err().to_string();
        assert!(error.contains(real.events(1).to_str().unwrap()), "{error}");
        assert!(error.contains("move it away"), "{error}");
        fs::rename(real.events(1), real.data.path().join("elsewhere")).unwrap();
        real.settle();
        real.assert_whole();
        assert!(real.data.path().join("elsewhere/precious").exists());
    }
}

#[test]
fn a_directory_in_the_place_of_a_new_file_or_of_its_checkpoint_blocks() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        fs::create_dir_all(real.events(4)).unwrap();
        real.machine.detect(4, false).unwrap();
        for _ in 0..2 {
            let error = real.follower().settle().unwrap_err();
            let error = error.downcast_ref::<ProjectionError>().unwrap();
            assert!(matches!(error, ProjectionError::Blocked { .. }), "{error}");
        }
        let rebuilt = real.rebuild(Scope::All, false).unwrap_err().to_string();
        assert!(rebuilt.contains(real.events(4).to_str().unwrap()), "{rebuilt}");
        fs::remove_dir(real.events(4)).unwrap();
        real.settle();
        real.assert_whole();
        fs::remove_file(real.checkpoint()).unwrap();
        fs::create_dir(real.checkpoint()).unwrap();
        let error = real.follower().settle().unwrap_err().to_string();
        assert!(error.contains(real.checkpoint().to_str().unwrap()), "{error}");
    }
}

#[test]
fn no_symbolic_link_is_followed() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let elsewhere = crate::day_files::common::scratch();
        symlink(elsewhere.path(), real.path(4, "").to_str().unwrap().trim_end_matches('/'))
            .unwrap();
        real.machine.detect(4, false).unwrap();
        let error = real.follower().settle().unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        let link = real.path(4, "");
        fs::remove_file(link.to_str().unwrap().trim_end_matches('/')).unwrap();
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn what_others_left_in_the_place_of_a_new_file_is_kept_aside() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        fs::create_dir_all(real.path(4, "")).unwrap();
        fs::write(real.events(4), "an older program's\n").unwrap();
        real.machine.detect(4, false).unwrap();
        real.settle();
        let aside = real.events(4).to_str().unwrap().to_owned() + ".old-1";
        assert_eq!(fs::read_to_string(&aside).unwrap(), "an older program's\n");
        fs::remove_file(aside).unwrap();
        real.assert_whole();
    }
}

#[test]
fn what_somebody_appended_is_cut_off() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let append = |text: &str| {
            let before = fs::read_to_string(real.events(1)).unwrap();
            fs::write(real.events(1), before + text).unwrap();
        };
        append("while stopped\n");
        real.settle();
        real.assert_whole();
        let mut follower = real.follower();
        follower.start().unwrap();
        // Longer than what is written over it.
        append(&"while it runs\n".repeat(1000));
        real.machine.detect(1, false).unwrap();
        follower.follow().unwrap();
        real.assert_whole();
    }
}

#[test]
fn what_somebody_appended_to_a_day_that_is_over_is_cut_off_too() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let mut follower = real.follower();
        follower.start().unwrap();
        real.machine.detect(2, false).unwrap();
        follower.follow().unwrap();
        let whole = fs::read(real.events(0)).unwrap();
        fs::write(real.events(0), [&whole[..], b"while it runs\n"].concat()).unwrap();
        assert_eq!(follower.inspect().unwrap(), Inspection::Intact);
        assert_eq!(fs::read(real.events(0)).unwrap(), whole);
        real.assert_whole();
        fs::remove_file(real.events(1)).unwrap();
        fs::write(real.events(0), [&whole[..], b"once more\n"].concat()).unwrap();
        assert!(matches!(follower.inspect().unwrap(), Inspection::Tampered { .. }));
        assert_eq!(fs::read(real.events(0)).unwrap(), whole);
    }
}

#[test]
fn what_is_too_much_to_be_ours_is_not_read_and_its_day_is_made_again() {
    let real = Real::with_events(BOTH[0]);
    // Together more than an opening reads, without being written anywhere.
    for number in [0, 1] {
        let file = fs::File::options().write(true).open(real.events(number)).unwrap();
        file.set_len(40 << 20).unwrap();
    }
    let mut projection = real.projection();
    assert!(matches!(projection.open().unwrap(), Opened::At { .. }));
    let found = projection.inspect().unwrap();
    let Inspection::Tampered { reason, scope } = found else { panic!("{found:?}") };
    assert!(reason.contains("bytes that were never written"), "{reason}");
    assert_eq!(scope, days(&[1]));
    real.settle();
    real.assert_whole();
}

#[test]
fn files_can_be_read_by_everybody() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let mode = fs::metadata(real.events(0)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        real.rebuild(Scope::All, false).unwrap();
        let mode = fs::metadata(real.events(0)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}

/// Ends every line as Windows does, in the same file.
fn end_lines_with_crlf(path: &std::path::Path) {
    let identity = |path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = identity(path);
    let text = fs::read_to_string(path).unwrap().replace('\n', "\r\n");
    let file = fs::File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
    assert_eq!(identity(path), before);
}

#[test]
fn lines_that_end_with_crlf_are_repaired() {
    for kept in BOTH {
        // While it runs.
        let real = Real::with_events(kept);
        let path = real.events(1);
        let found = look(&real, || end_lines_with_crlf(&path));
        let Inspection::Tampered { reason, scope } = found else { panic!("{found:?}") };
        assert!(reason.contains("changed in place"), "{reason}");
        assert_eq!(scope, days(&[1]));
        real.settle();
        real.assert_whole();
        // While it does not.
        end_lines_with_crlf(&path);
        real.settle();
        real.assert_whole();
    }
}

#[test]
fn nothing_is_appended_to_a_file_that_was_changed_in_place() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let path = real.events(1);
        let mut follower = real.follower();
        follower.start().unwrap();
        follower.follow().unwrap();
        end_lines_with_crlf(&path);
        let changed = fs::read(&path).unwrap();
        real.machine.detect(1, false).unwrap();
        follower.follow().unwrap();
        follower.commit(CommitKind::Durable).unwrap();
        assert!(fs::read(&path).unwrap() == changed);
        drop(follower);
        real.settle();
        real.assert_whole();
    }
}
