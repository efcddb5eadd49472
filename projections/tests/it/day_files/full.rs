//! A disk that has no room for the k-th page, for every k, and has room again: nothing acknowledged is lost, and the
//! followers catch up by themselves, in the same process.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lenslog_engine::{ProjectionState, Runner};
use lenslog_journal::Error;
use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
use lenslog_projections::media::Media;

use crate::day_files::follower::Result;
use crate::day_files::machine::{DATA, Kept, Machine, day};

/// Far longer than any machine needs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Days of events, six a day.
const ROUNDS: u8 = 5;
/// Days before this one are pruned when it begins.
const PRUNED_BEFORE: u8 = 3;

/// Appends until it is in; where there is no room, some is made.
fn insist<T>(storage: &FaultyStorage, mut append: impl FnMut() -> Result<T>) -> T {
    match append() {
        Ok(value) => value,
        Err(error) => {
            let error = error.downcast::<Error>().unwrap();
            assert!(error.is_storage_full(), "{error}");
            storage.heal();
            append().unwrap()
        }
    }
}

/// Returns how many pages were taken.
fn run(nth: Option<u64>) -> u64 {
    let storage = FaultyStorage::new();
    let mut machine = Machine::boot(&storage).unwrap();
    let before = storage.allocations();
    if let Some(nth) = nth {
        storage.inject(Fault::AllocationFails { nth });
    }
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let runner = Runner::start(
        &machine.journal.view(),
        vec![
            Kept::Jsonl.projection(&shared, Path::new(DATA)),
            Kept::Plaintext.projection(&shared, Path::new(DATA)),
            Box::new(Media::new(Arc::clone(&shared), DATA)),
        ],
        Arc::new(|lost| panic!("{lost}")),
    );
    for round in 0..ROUNDS {
        if round == PRUNED_BEFORE {
            // Deleting needs no room but what is kept back.
            insist(&storage, || machine.prune(round - 1));
            follow(&machine, &runner);
            machine.journal.unlink_pruned().unwrap();
        }
        for number in 0..6 {
            insist(&storage, || machine.detect(round, number % 2 == 0));
        }
        let described = machine.events[usize::from(round) * 6].clone();
        insist(&storage, || machine.describe(described.clone(), round % 3));
        follow(&machine, &runner);
    }
    storage.heal();
    machine.journal.sync().unwrap();
    let head = machine.journal.view().head().unwrap();
    let behind = runner.wait_for(head, TIMEOUT);
    assert!(behind.is_ok(), "{nth:?}: {:?}", runner.status());
    let status = runner.stop();
    assert!(status.iter().all(|one| one.state == ProjectionState::Stopped), "{nth:?}: {status:?}");
    assert!(!machine.journal.health().is_degraded(), "{nth:?}");
    let pages = storage.allocations() - before;
    for kept in [Kept::Jsonl, Kept::Plaintext] {
        assert_eq!(machine.verify(kept), Ok(()), "{nth:?} {kept:?}");
        let (shown, fresh) = (machine.files(DATA), machine.fresh(kept).unwrap());
        let days: BTreeSet<_> =
            (PRUNED_BEFORE..ROUNDS).map(|round| day(round).to_string()).collect();
        assert_eq!(fresh.keys().map(|path| day_of(path)).collect::<BTreeSet<_>>(), days, "{nth:?}");
        for (path, bytes) in &fresh {
            assert_eq!(shown.get(path), Some(bytes), "{nth:?}: {}", path.display());
        }
        assert_eq!(shown.keys().map(|path| day_of(path)).collect::<BTreeSet<_>>(), days, "{nth:?}");
    }
    pages
}

/// Waits until every follower has come to the end, or met the full disk.
fn follow(machine: &Machine, runner: &Runner) {
    let head = machine.journal.view().head().unwrap();
    while runner.status().iter().any(|status| status.next < head && status.errors == 0) {
        std::thread::yield_now();
    }
}

fn day_of(path: &Path) -> String {
    path.components().next().unwrap().as_os_str().to_string_lossy().into_owned()
}

#[test]
fn every_page_may_be_the_first_for_which_there_is_no_room() {
    let pages = run(None);
    assert!(pages > 20, "{pages} pages");
    for nth in 0..pages {
        run(Some(nth));
    }
}
