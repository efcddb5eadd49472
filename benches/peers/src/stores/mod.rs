//! The stores, each with the call that makes an append durable.

mod lenslog;
mod logs;
mod sqlite;
mod tephra;
mod umadb;

use std::path::Path;

use anyhow::{Context, Result};

use crate::event::{Event, Filter};

/// A store that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This one.
    Lenslog,
    /// Segments and an index, one writer thread.
    Tephra,
    /// B+trees, one writer thread.
    Umadb,
    /// Two tables, WAL, synchronous=FULL.
    Sqlite,
    /// A write-ahead log; no index.
    Okaywal,
    /// A log of many Raft groups.
    RaftEngine,
    /// A log with offsets; no sync of its own but `flush`.
    Commitlog,
    /// An LSM tree.
    Fjall,
    /// A copy-on-write B+tree.
    Redb,
}

/// Stores that find events by tag. Lenslog is the first of them.
pub const EVENT_STORES: [Kind; 4] = [Kind::Lenslog, Kind::Tephra, Kind::Umadb, Kind::Sqlite];

/// Everything that appends.
pub const ALL: [Kind; 9] = [
    Kind::Lenslog,
    Kind::Tephra,
    Kind::Umadb,
    Kind::Sqlite,
    Kind::Okaywal,
    Kind::RaftEngine,
    Kind::Commitlog,
    Kind::Fjall,
    Kind::Redb,
];

impl Kind {
    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lenslog => "Lenslog",
            Self::Tephra => "tephra 0.4",
            Self::Umadb => "umadb-core 0.7",
            Self::Sqlite => "SQLite",
            Self::Okaywal => "okaywal 0.3",
            Self::RaftEngine => "raft-engine 0.4",
            Self::Commitlog => "commitlog 0.2",
            Self::Fjall => "fjall 3",
            Self::Redb => "redb 4",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Result<Self> {
        ALL.into_iter().find(|kind| kind.name() == name).context("no such store")
    }
}

/// What every store is asked. An append returns once it is durable.
pub trait Store: Sync {
    /// Appends the events as one batch.
    fn append(&self, events: &[Event]) -> Result<()>;

    /// Reads everything, in any order, and calls `each` with every payload.
    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// The store as one that finds events.
    fn events(&self) -> Option<&dyn EventStore> {
        None
    }
}

/// What a store that finds events is asked.
pub trait EventStore: Store {
    /// Appends unless an event after the position matches; `false` after a conflict.
    fn append_unless(&self, events: &[Event], filter: &Filter, after: u64) -> Result<bool>;

    /// Reads the matching events after a position, in order; returns the last position.
    fn read(&self, filter: &Filter, after: u64, each: &mut dyn FnMut(&[u8])) -> Result<u64>;

    /// The position of the newest event; 0 if there is none.
    fn head(&self) -> Result<u64>;
}

/// Opens or creates a store; `small`: with files of at most a few megabytes, where that can be chosen.
pub fn open(kind: Kind, directory: &Path, small: bool) -> Result<Box<dyn Store>> {
    Ok(match kind {
        Kind::Lenslog => Box::new(lenslog::Lenslog::open(directory)?),
        Kind::Tephra => Box::new(tephra::Tephra::open(directory, small)?),
        Kind::Umadb => Box::new(umadb::Umadb::open(directory)?),
        Kind::Sqlite => Box::new(sqlite::Sqlite::open(directory)?),
        Kind::Okaywal => Box::new(logs::Okaywal::open(directory)?),
        Kind::RaftEngine => Box::new(logs::RaftEngine::open(directory, small)?),
        Kind::Commitlog => Box::new(logs::Commitlog::open(directory)?),
        Kind::Fjall => Box::new(logs::Fjall::open(directory)?),
        Kind::Redb => Box::new(logs::Redb::open(directory)?),
    })
}
