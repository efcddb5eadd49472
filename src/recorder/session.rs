//! One run of the recorder: its options, the state that threads share, its result and the printed summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lenslog_engine::ProjectionState;
use lenslog_events::EventDetected;
use lenslog_journal::Error;
use lenslog_tools::counted as plural;
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::camera::CameraThread;
use super::data_store::DataStore;
use super::writer::EventWriter;
use super::{LostRecords, Signals, SourceFlags};
use crate::config::{Config, Warning};
use crate::detector::Detector;
use crate::logging::Logging;
use crate::metrics::{Counted, GaugeSource, MetricsCollector, ProjectionFigures};

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
    /// What did not get into the journal.
    pub lost: LostRecords,
    /// Why the journal could not be closed: what was acknowledged is durable all the same.
    pub unclosed: Option<Error>,
}

/// The state that the control socket and the metrics read too.
pub(super) struct Shared {
    /// Why there is none: the data directory is gone.
    pub(super) store: RwLock<Result<Arc<DataStore>, Error>>,
    pub(super) cameras: Mutex<BTreeMap<String, CameraThread>>,
    pub(super) metrics: Arc<MetricsCollector>,
    pub(super) writer: Arc<EventWriter>,
    pub(super) detector: Mutex<Option<Arc<Detector>>>,
}

impl Shared {
    pub(super) fn detector(&self) -> Option<Arc<Detector>> {
        self.detector.lock().clone()
    }

    pub(super) fn store(&self) -> Result<Arc<DataStore>, Error> {
        self.store.read().clone()
    }

    pub(super) fn set_store(
        &self,
        store: Result<Arc<DataStore>, Error>,
    ) -> Result<Arc<DataStore>, Error> {
        let mut own = self.store.write();
        std::mem::replace(&mut *own, store)
    }

    pub(super) fn cameras(&self) -> MutexGuard<'_, BTreeMap<String, CameraThread>> {
        self.cameras.lock()
    }
}

impl GaugeSource for Shared {
    fn projections(&self) -> Vec<ProjectionFigures> {
        let Ok(store) = self.store() else { return Vec::new() };
        let head = store.view.head().unwrap_or_default();
        let figures = |status: lenslog_engine::ProjectionStatus| ProjectionFigures {
            name: status.name.to_owned(),
            following: status.state == ProjectionState::Following,
            lag_records: head.0.saturating_sub(status.next.0),
            parked: status.parked,
            errors: status.errors,
            next: status.next.0,
        };
        store.runner.status().into_iter().map(figures).collect()
    }

    fn events_waiting(&self) -> u64 {
        self.writer.backlog() as u64
    }
}

/// The summary of a session, for the end of its output.
#[must_use]
pub fn summary(config: &Config, session: &Session) -> String {
    let Session { counted, last_event, reason, .. } = session;
    let uptime_s = session.uptime.as_secs().max(1);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nRecorded for {uptime_s} s, ended by {reason}.");
    let _ = writeln!(
        text,
        "  {} looked at, {} dropped, {} could not be decoded",
        plural(counted.frames, "frame"),
        counted.frames_dropped,
        plural(counted.pictures_lost, "picture")
    );
    let suppressed: u64 = counted.suppressed.values().sum();
    let (events, sightings) = (plural(counted.events, "event"), plural(suppressed, "sighting"));
    let _ = writeln!(text, "  {events}, {sightings} that made none");
    for (reason, count) in &counted.suppressed {
        let _ = writeln!(text, "    {count:>8} {}", reason.replace('_', " "));
    }
    if counted.journal_errors + counted.image_errors > 0 {
        let _ = writeln!(
            text,
            "  {} had to wait for the journal, {} could not be written",
            plural(counted.journal_errors, "event"),
            plural(counted.image_errors, "picture")
        );
    }
    lost(&mut text, &session.lost);
    let data = &config.storage.data_dir;
    let day = last_event
        .as_ref()
        .map_or_else(|| "DAY".to_owned(), |event| event.timestamp.day().to_string());
    let days = data.join("events").join(day);
    let _ = writeln!(text, "\nWhat there is to look at:");
    for (name, path) in [
        ("events.db", config.storage.db_path.clone()),
        ("events.json", days.join("events.json")),
        ("events.log", days.join("events.log")),
    ] {
        let _ = writeln!(text, "  {name:<12} {}", shown(&path));
    }
    let program = program();
    let flag = data_flag(data);
    match last_event {
        Some(event) => {
            let block = lenslog_projections::plaintext_block(event);
            let _ = writeln!(text, "\nThe last event:\n\n{}", block.trim_end());
            let _ = writeln!(text, "\nNext: {program} events{flag} --limit 5");
        }
        None => {
            let _ = writeln!(text, "\nThere was no event. Next: {program} why{flag} --at now");
        }
    }
    text
}

/// What did not get into the journal, by number and as far as possible by name.
fn lost(text: &mut String, lost: &LostRecords) {
    if !lost.is_any() {
        return;
    }
    let LostRecords { events, records, named } = lost;
    let lost = format!("{} and {}", plural(*events, "event"), plural(*records, "other record"));
    let _ = writeln!(text, "  LOST: {lost}, which the journal could not take");
    for event in named {
        let _ =
            writeln!(text, "    {} of {} at {}", event.event_id, event.camera_id, event.timestamp);
    }
    let more = events.saturating_sub(named.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "    and {more} more");
    }
}

/// A path as it can be pasted into a shell.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn data_flag(data: &Path) -> String {
    if data == Path::new("data") { String::new() } else { format!(" --data {}", data.display()) }
}

/// How this program was called, so that what is printed can be typed.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_else(|| "lenslog".to_owned());
    let path = Path::new(&called);
    match path.strip_prefix(std::env::current_dir().unwrap_or_default()) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => called,
    }
}
