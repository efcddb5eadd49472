//! What the tests share: where the files are, and what is in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_engine::{RebuildError, RebuildOptions, Scope, verify_within};
use lenslog_journal::ReaderOptions;
use lenslog_journal::storage::{FaultyStorage, RealStorage, Storage};

use crate::day_files::follower::{Boxed, Follower};
use crate::day_files::machine::{self, Kept, Machine};

/// A directory in memory where there is one: thousands of syncs cost nothing there.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Every file below `events/`, by its path there.
pub fn files(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(days) = std::fs::read_dir(data.join("events")) else { return found };
    for day in days {
        let day = day.unwrap();
        for file in std::fs::read_dir(day.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(data.join("events")).unwrap().to_owned();
            found.insert(name, std::fs::read(path).unwrap());
        }
    }
    found
}

/// All of them as one text.
pub fn text(files: &BTreeMap<PathBuf, Vec<u8>>) -> String {
    let shown = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        format!("== {}\n{}", path.display(), String::from_utf8_lossy(bytes))
    };
    files.iter().map(shown).collect()
}

/// A journal on a simulated disk, and a data directory with real files.
pub struct Real {
    pub machine: Machine,
    pub data: tempfile::TempDir,
    pub kept: Kept,
}

impl Real {
    pub fn new(kept: Kept) -> Self {
        let machine = Machine::boot(&FaultyStorage::new()).unwrap();
        Self { machine, data: scratch(), kept }
    }

    /// With events on three days, one of them with a late description, followed and committed.
    pub fn with_events(kept: Kept) -> Self {
        let mut real = Self::new(kept);
        for number in 0..12 {
            real.machine.detect(number % 3, false).unwrap();
        }
        let described = real.machine.events[4].clone();
        real.machine.describe(described, 0).unwrap();
        real.settle();
        real
    }

    pub fn projection(&self) -> Boxed {
        let storage: Arc<dyn Storage> = Arc::new(RealStorage);
        self.kept.projection(&storage, self.data.path())
    }

    pub fn follower(&self) -> Follower {
        Follower::new(self.projection(), &self.machine.journal.view())
    }

    /// A process that starts, puts everything right, and ends.
    pub fn settle(&self) {
        self.follower().settle().unwrap();
    }

    /// A path below the data directory; `name` in the directory of a day.
    pub fn path(&self, day: u8, name: &str) -> PathBuf {
        self.data.path().join("events").join(machine::day(day).to_string()).join(name)
    }

    /// The first file of a day.
    pub fn events(&self, day: u8) -> PathBuf {
        self.path(
            day,
            match self.kept {
                Kept::Jsonl => "events.json",
                Kept::Plaintext => "events.log",
            },
        )
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.data.path().join("checkpoints").join(match self.kept {
            Kept::Jsonl => "jsonl",
            Kept::Plaintext => "plaintext",
        })
    }

    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(self.data.path())
    }

    /// Asserts that the files are those of a fresh rebuild, and nothing else.
    pub fn assert_whole(&self) {
        let fresh = self.machine.fresh(self.kept).unwrap();
        assert_eq!(text(&self.files()), text(&fresh));
    }

    pub fn differences(&self) -> Vec<String> {
        let (projection, options) = (self.projection(), ReaderOptions::default());
        let view = self.machine.journal.view();
        let report =
            verify_within(&view, &[&*projection], options, std::time::Duration::ZERO, &mut |_| {
                true
            })
            .unwrap();
        report.projections.into_iter().flat_map(|report| report.differences).collect()
    }

    pub fn rebuild(&self, scope: Scope, accept_loss: bool) -> Result<(), RebuildError> {
        self.follower().rebuild(&RebuildOptions { scope, accept_loss, ..RebuildOptions::default() })
    }
}

pub const BOTH: [Kept; 2] = [Kept::Jsonl, Kept::Plaintext];
