//! What stands in the way of deleting is told once, and once more after it was gone.

use std::path::Path;

use super::*;
use crate::testing::logging_to;

/// How often the lines logged by so many checks say something.
fn told(guard: &StorageGuard, checks: u32, text: &str) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let lines = directory.path().join("lines");
    logging_to(&lines, || (0..checks).for_each(|_| guard.inner.check()));
    fs::read_to_string(&lines).unwrap().matches(text).count()
}

#[test]
fn that_the_mount_is_missing() {
    let mut lab = Lab::new(0);
    let link = lab.config.storage.data_dir.with_extension("mount");
    let put = |target: &Path| {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link).unwrap();
    };
    lab.config.storage.require_mount = link.clone();
    put(Path::new("/proc"));
    let (guard, _runner) = lab.watched(1_000_000);
    let told = |checks| told(&guard, checks, "nothing is mounted");
    assert_eq!((guard.figures().checks, told(1)), (1, 0));
    for _ in 0..2 {
        put(&lab.config.storage.data_dir);
        assert_eq!((told(1), told(2)), (1, 0));
        put(Path::new("/proc"));
        assert_eq!(told(1), 0);
    }
}

#[test]
fn that_nothing_may_be_deleted() {
    let mut lab = Lab::new(2);
    lab.config.storage.min_retention_days = 7;
    let large = lab.config.storage.data_dir.join("large");
    let put = || fs::write(&large, vec![1; 20_000_000]).unwrap();
    put();
    let (guard, _runner) = lab.watched(110);
    let told = |checks| told(&guard, checks, "nothing may be deleted: among the newest 7");
    assert_eq!(told(2), 0, "at the first check");
    fs::remove_file(&large).unwrap();
    assert_eq!(told(1), 0);
    put();
    assert_eq!((told(1), told(2)), (1, 0));
}

#[test]
fn that_the_clock_is_not_trusted() {
    if kernel_clock::is_synchronised() {
        return println!("skipped: the kernel vouches for the clock");
    }
    let mut lab = Lab::new(3);
    lab.config.storage.max_retention_days = 2;
    lab.opened = lab.journal.view().floor().unwrap();
    let (guard, _runner) = lab.watched(1_000_000);
    let told = |checks| told(&guard, checks, "max_retention_days waits: 2 days are older");
    assert_eq!(told(2), 0, "at the first check");
    // No day is that old.
    lab.clock.step_to(noon(3));
    assert_eq!(told(1), 0);
    lab.clock.step_to(noon(0));
    assert_eq!((told(1), told(2)), (1, 0));
}

#[test]
fn that_the_limit_is_near_only_where_it_is_not_exceeded_already() {
    for (percent, count) in [(115, 1), (50, 0)] {
        let mut lab = Lab::new(2);
        lab.config.storage.min_retention_days = 7;
        // The check at the start tells nothing yet.
        let link = lab.config.storage.data_dir.with_extension("mount");
        lab.config.storage.require_mount = link.clone();
        let (guard, _runner) = lab.watched(percent);
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        assert_eq!(told(&guard, 2, "approaching limit"), count, "{percent}");
    }
}
