//! Rebuilds that bring no progress become rare, and nothing that appends waits for them.
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{Entry, Ledger, Setting, encode, wait_for_state};
use lenslog_engine::{
    Aside, Checkpoint, CommitKind, Opened, Projection, ProjectionError, ProjectionState,
    RebuildOptions, Recorded, Runner, Scope, Spec, Verifier, rebuild,
};
use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{Journal, JournalView, Lost, Options, SimulatedClock, Timestamp};

/// What goes wrong again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// What it opens is of another logic, whatever was rebuilt.
    Outdated,
    /// What it opens cannot be used.
    Broken,
    /// Every commit finds its content broken.
    BreaksAtCommit,
    /// Every rebuild ends with broken content.
    BreaksAtEnd,
}

/// A projection that always mismatches.
struct Mismatching {
    fault: Fault,
    at_head: Checkpoint,
    file: PathBuf,
    kept: Arc<Mutex<Vec<Option<Aside>>>>,
}

fn spec() -> Spec {
    Spec::new("storm", 2)
}

fn broken() -> ProjectionError {
    ProjectionError::Broken { reason: "it rotted".to_owned() }
}

impl Projection<Ledger> for Mismatching {
    fn spec(&self) -> Spec {
        spec()
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        let mut checkpoint = self.at_head.clone();
        match self.fault {
            Fault::Broken => return Ok(Opened::Broken { reason: "it rotted".to_owned() }),
            Fault::Outdated | Fault::BreaksAtEnd => checkpoint.version = 1,
            Fault::BreaksAtCommit => {}
        }
        Ok(Opened::At { checkpoint, needs: BTreeSet::new() })
    }

    fn apply(&mut self, _record: &Recorded<Entry>) -> Result<(), ProjectionError> {
        Ok(())
    }

    fn commit(&mut self, _: &Checkpoint, _: CommitKind) -> Result<(), ProjectionError> {
        if self.fault == Fault::BreaksAtCommit { Err(broken()) } else { Ok(()) }
    }

    fn begin_rebuild(&mut self, _scope: &Scope) -> Result<(), ProjectionError> {
        Ok(())
    }

    fn finish_rebuild(
        &mut self,
        _: &Checkpoint,
        keep: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        self.kept.lock().unwrap().push(keep);
        if self.fault == Fault::BreaksAtEnd { Err(broken()) } else { Ok(()) }
    }

    fn abort_rebuild(&mut self) {}

    fn watched_files(&self) -> Vec<PathBuf> {
        vec![self.file.clone()]
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<Ledger>>>, ProjectionError> {
        Ok(None)
    }
}

/// A runner of a projection with a fault, its file, and how the old one was kept at the end of each rebuild.
struct Storm {
    setting: Setting,
    runner: Runner,
    file: PathBuf,
    kept: Arc<Mutex<Vec<Option<Aside>>>>,
    _directory: tempfile::TempDir,
}

fn at_start(view: &JournalView) -> Checkpoint {
    Checkpoint::at_start(view.journal_id(), &spec())
}

fn storm(fault: Fault) -> Storm {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    for cents in 1..=4 {
        setting.pay(1, cents);
    }
    let (view, file) = (setting.journal.view(), directory.path().join("file"));
    fs::write(&file, "one").unwrap();
    let kept = Arc::default();
    let projection = Mismatching {
        fault,
        at_head: at_start(&view),
        file: file.clone(),
        kept: Arc::clone(&kept),
    };
    let runner =
        Runner::start::<Ledger>(&view, vec![Box::new(projection)], Arc::new(|_: &Lost| {}));
    Storm { setting, runner, file, kept, _directory: directory }
}

impl Storm {
    fn rebuilds(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    /// Until so many rebuilds came to their end.
    fn wait_for_rebuilds(&self, count: usize) {
        let begun = Instant::now();
        while self.rebuilds() < count {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", self.runner.status());
            std::thread::yield_now();
        }
    }
}

#[test]
fn rebuilds_without_progress_pause_whatever_is_wrong() {
    for fault in [Fault::Outdated, Fault::Broken, Fault::BreaksAtCommit, Fault::BreaksAtEnd] {
        let storm = storm(fault);
        storm.wait_for_rebuilds(3);
        // The status says so before the pause begins.
        while !storm.runner.status()[0]
            .last_error
            .as_ref()
            .is_some_and(|e| e.contains("no progress"))
        {
            std::thread::yield_now();
        }
        // Nothing that appends waits, and no wait is endless.
        let begun = Instant::now();
        for cents in 0..100 {
            storm.setting.pay(2, cents);
        }
        let head = storm.setting.journal.next_seq();
        let behind = storm.runner.wait_at_most(head, Duration::from_millis(50)).unwrap_err();
        assert_eq!(behind.names, ["storm"]);
        if begun.elapsed() < Duration::from_secs(3) {
            assert_eq!(storm.rebuilds(), 3, "{fault:?}");
        }
        assert!(storm.runner.status()[0].state.is_degraded(), "{fault:?}");
        storm.runner.stop();
    }
}

#[test]
fn a_file_that_changes_ends_the_pause() {
    let storm = storm(Fault::Outdated);
    for count in 3..6 {
        storm.wait_for_rebuilds(count);
        wait_for_state(&storm.runner, ProjectionState::Waiting);
        let begun = Instant::now();
        let other = storm.file.with_extension("new");
        fs::write(&other, "another one").unwrap();
        fs::rename(&other, &storm.file).unwrap();
        storm.wait_for_rebuilds(count + 1);
        // The shortest pause is 5 s.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_command_is_served_in_a_pause() {
    let storm = storm(Fault::Outdated);
    storm.wait_for_rebuilds(3);
    wait_for_state(&storm.runner, ProjectionState::Waiting);
    let begun = Instant::now();
    storm.runner.rebuild("storm", &RebuildOptions::default()).unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(storm.rebuilds(), 4);
}

#[test]
fn waiting_for_a_projection_that_only_rebuilds_ends() {
    let storm = storm(Fault::Outdated);
    let head = storm.setting.journal.next_seq();
    let begun = Instant::now();
    let behind = storm.runner.wait_for(head.next(), Duration::from_millis(300));
    assert_eq!(behind.unwrap_err().names, ["storm"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_rebuild_beside_a_pruning_goes_on_from_the_new_floor() {
    let (storage, directory) = (FaultyStorage::new(), tempfile::tempdir().unwrap());
    let start = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };
    let clock = Arc::new(SimulatedClock::new(start));
    let options = Options {
        storage: Arc::new(storage),
        clock: Arc::clone(&clock) as _,
        segment_bytes_max: Some(32 << 10),
        ..Options::default()
    };
    let journal = Journal::open("/ledger", &options).unwrap();
    let pay = || journal.append(&[encode(&Entry::Paid { account: 1, cents: 1 }).as_record()]);
    for _ in 0..3000 {
        let _ = pay().unwrap();
    }
    clock.advance(Duration::from_secs(86_400));
    let _ = pay().unwrap();
    let mut looks = 0;
    let mut projection = crate::common::count(directory.path());
    let mut prune = |_| {
        looks += 1;
        if looks == 2 {
            journal.prune_through(start.day()).unwrap();
            journal.unlink_pruned().unwrap();
        }
        true
    };
    let view = journal.view();
    let rebuilt =
        rebuild::<Ledger>(&mut projection, &view, &RebuildOptions::default(), &mut prune).unwrap();
    assert!(rebuilt.lost.is_empty() && rebuilt.records < 3000, "{rebuilt:?}");
    assert_eq!(rebuilt.checkpoint.position.next, view.head().unwrap());
}
