//! What prevents a deletion is reported once, and again after it was gone.

use std::path::Path;

use super::*;
use crate::testing::logging_to;

/// How often the lines logged by so many checks say something.
fn reported(guard: &StorageGuard, checks: u32, text: &str) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let lines = directory.path().join("lines");
    logging_to(&lines, || (0..checks).for_each(|_| guard.inner.checker.check()));
    fs::read_to_string(&lines).unwrap().matches(text).count()
}

#[test]
fn a_missing_mount_is_reported_once() {
    let mut env = TestEnv::new(0);
    let link = env.config.storage.data_dir.with_extension("mount");
    let put = |target: &Path| {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link).unwrap();
    };
    env.config.storage.require_mount = link.clone();
    put(Path::new("/proc"));
    let (guard, _runner) = env.watched(1_000_000);
    let reported = |checks| reported(&guard, checks, "nothing is mounted");
    assert_eq!((guard.inner.checks_done(), reported(1)), (1, 0));
    for _ in 0..2 {
        put(&env.config.storage.data_dir);
        assert_eq!((reported(1), reported(2)), (1, 0));
        put(Path::new("/proc"));
        assert_eq!(reported(1), 0);
    }
}

#[test]
fn a_stuck_rotation_is_reported_once() {
    let mut env = TestEnv::new(2);
    env.config.storage.min_retention_days = 7;
    let large = env.config.storage.data_dir.join("large");
    let put = || fs::write(&large, vec![1; 20_000_000]).unwrap();
    put();
    let (guard, _runner) = env.watched(110);
    let reported = |checks| reported(&guard, checks, "nothing may be deleted: among the newest 7");
    assert_eq!(reported(2), 0, "at the first check");
    fs::remove_file(&large).unwrap();
    assert_eq!(reported(1), 0);
    put();
    assert_eq!((reported(1), reported(2)), (1, 0));
}

#[test]
fn an_untrusted_clock_is_reported_once() {
    if kernel_clock::is_synchronised() {
        return println!("skipped: the kernel vouches for the clock");
    }
    let mut env = TestEnv::new(3);
    env.config.storage.max_retention_days = 2;
    env.opened = env.journal.view().floor().unwrap();
    let (guard, _runner) = env.watched(1_000_000);
    let reported = |checks| reported(&guard, checks, "max_retention_days waits: 2 days are older");
    assert_eq!(reported(2), 0, "at the first check");
    // No day is that old.
    env.clock.step_to(noon(3));
    assert_eq!(reported(1), 0);
    env.clock.step_to(noon(0));
    assert_eq!((reported(1), reported(2)), (1, 0));
}

#[test]
fn an_exceeded_limit_is_not_reported_as_approaching() {
    for (percent, count) in [(115, 1), (50, 0)] {
        let mut env = TestEnv::new(2);
        env.config.storage.min_retention_days = 7;
        // The check at the start reports nothing yet.
        let link = env.config.storage.data_dir.with_extension("mount");
        env.config.storage.require_mount = link.clone();
        let (guard, _runner) = env.watched(percent);
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        assert_eq!(reported(&guard, 2, "approaching limit"), count, "{percent}");
    }
}
