//! [`RecordOptions`], how a session is run, and [`Session`], how it ended.

use std::path::PathBuf;
use std::time::Duration;

use lenslog_events::EventDetected;
use lenslog_journal::Error;

use super::{Lost, Signals, SourceFlags};
use crate::config::{Config, Warning};
use crate::logging::Logging;
use crate::metrics::Counted;
use crate::storage::StorageStats;

/// The reason of a session that ended because everything is full.
pub const STORAGE_LIMIT: &str = "the storage limit";
/// Reads the configuration again.
pub type Reload = dyn Fn() -> Result<(Config, Vec<Warning>), crate::config::ConfigError> + Send;

/// How a session is run.
pub struct RecordOptions {
    /// How sources are read.
    pub sources: SourceFlags,
    /// Ends by itself after this time.
    pub duration: Option<Duration>,
    /// A camera that cannot be opened at the start ends the session.
    pub fail_fast: bool,
    /// What of logging can be changed on a reload, and the line below it.
    pub logging: Option<Logging>,
    /// Reads the configuration again, for a reload.
    pub reload: Box<Reload>,
    /// Signals of the operating system.
    pub signals: Signals,
    /// The `lenslog` program: the detector's worker is a process of it.
    pub program: PathBuf,
}

impl std::fmt::Debug for RecordOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RecordOptions")
            .field("sources", &self.sources)
            .field("duration", &self.duration)
            .field("fail_fast", &self.fail_fast)
            .finish_non_exhaustive()
    }
}

/// How a session ended.
#[derive(Debug, Clone)]
pub struct Session {
    /// What was counted.
    pub counted: Counted,
    /// The newest event of its cameras.
    pub last_event: Option<EventDetected>,
    /// How long it ran.
    pub uptime: Duration,
    /// Why it ended: `a signal`, `the set duration`, `the end of all sources`, [`STORAGE_LIMIT`].
    pub reason: &'static str,
    /// Cameras that could not be read, and why.
    pub failed: Vec<(String, String)>,
    /// Projections that did not catch up.
    pub behind: Vec<&'static str>,
    /// How much was used of how much at the last check.
    pub storage: StorageStats,
    /// What did not get into the journal.
    pub lost: Lost,
    /// Why the journal could not be closed: what was acknowledged is durable all the same.
    pub unclosed: Option<Error>,
}
