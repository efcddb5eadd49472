//! The control socket: [`StatusSource`] reports the state of the recorder, [`ControlHandler`] serves requests.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Instant;

use lenslog_control::{
    CameraStatus, ControlRequest, CounterStatus, DetectorStatus, Handler, JournalStatus,
    ProjectionReport, Reply, Status, StorageStatus, SyncStatus, delivery_reports, left_out_lines,
    projection_reports,
};
use lenslog_engine::{Behind, RebuildError, RebuildOptions, Scope};
use lenslog_journal::{Clock, Day, Error, Journal, Seq, SeqRange, Timestamp};
use lenslog_projections::held_database_log;

use super::camera::CameraState;
use super::data_store::DataStore;
use super::{BACKLOG_EVENTS_MAX, CATCH_UP_TIMEOUT, Shared};
use crate::config::Config;
use crate::description;
use crate::description::Describer;
use crate::ingest::Ingestor;
use crate::storage::{Admission, StorageStats};

/// Reports the state of the recorder, from any thread.
#[derive(Clone)]
pub(super) struct StatusSource {
    data: String,
    database: PathBuf,
    /// Weak, so that a request does not keep a recorder alive.
    shared: Weak<Shared>,
    started: Instant,
}

impl StatusSource {
    pub(super) fn new(config: &Config, shared: &Arc<Shared>, started: Instant) -> Self {
        Self {
            data: config.storage.data_dir.display().to_string(),
            database: config.storage.db_path.clone(),
            shared: Arc::downgrade(shared),
            started,
        }
    }

    /// The status.
    pub(super) fn status(&self) -> Result<Status, String> {
        let shared = self.shared.upgrade().ok_or("the recorder is stopping")?;
        let store = shared.store().map_err(|error| away(&shared, &error))?;
        store.view.check_place().map_err(|error| away(&shared, &error))?;
        let head = store.view.head().map_err(|error| away(&shared, &error))?;
        let counted = shared.metrics.counted();
        let mut journal = journal_status(&store.journal)?;
        journal.files.extend(left_out_lines(store.left_out.get().map_or(&[][..], Vec::as_slice)));
        journal.waiting = shared.writer.backlog() as u64;
        Ok(Status {
            running: true,
            in_use: true,
            pid: Some(std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: Some(self.started.elapsed().as_secs()),
            data: self.data.clone(),
            journal,
            projections: self.projections(projection_reports(&store.runner.status(), head)),
            cameras: cameras(&shared),
            detector: detector(&shared),
            counters: Some(CounterStatus {
                frames: counted.frames,
                frames_dropped: counted.frames_dropped,
                pictures_lost: counted.pictures_lost,
                events: counted.events,
                suppressed: counted.suppressed.values().sum(),
                journal_errors: counted.journal_errors,
                image_errors: counted.image_errors,
            }),
            storage: Some(storage_status(
                store.storage.check_usage(),
                Some(store.storage.warnings()),
            )),
            descriptions: store.describer().as_ref().map(Describer::status),
            deliveries: delivery_reports(&store.deliveries(), head),
        })
    }

    /// Adds what the projections do not take for an error yet: a reader that keeps the database's log from being cut.
    fn projections(&self, mut reports: Vec<ProjectionReport>) -> Vec<ProjectionReport> {
        if let Some(log) = held_database_log(&self.database)
            && let Some(report) = reports.iter_mut().find(|report| report.name == "sqlite")
        {
            let megabytes = log.bytes / 1_000_000;
            report.last_error.get_or_insert_with(|| {
                format!("{} takes {megabytes} MB: {log}", log.path.display())
            });
        }
        reports
    }

    /// What is wrong with the recorder, a line each; empty where all is well. The clock of a sender is no part of it.
    pub(super) fn problems(&self) -> Vec<String> {
        let problems = |mut status: Status| {
            status.cameras.iter_mut().for_each(|camera| camera.clock = None);
            status.problems()
        };
        self.status().map_or_else(|error| vec![error], problems)
    }
}

fn detector(shared: &Shared) -> Option<DetectorStatus> {
    let detector = shared.detector()?;
    let model = detector.settings().model.file_name().unwrap_or_default();
    Some(DetectorStatus {
        model: model.to_string_lossy().into_owned(),
        backend: detector.report().map(|report| report.backend),
        reason: detector.problem(),
    })
}

/// The state of a recorder without a data directory.
fn away(shared: &Shared, error: &Error) -> String {
    let waiting = shared.writer.backlog();
    format!(
        "{error}; {waiting} records wait in memory, at most {BACKLOG_EVENTS_MAX}, until it is back"
    )
}

/// The status of the journal that this process writes.
fn journal_status(journal: &Journal) -> Result<JournalStatus, String> {
    let view = journal.view();
    let mut status = lenslog_control::journal_status(&view).map_err(|error| error.to_string())?;
    let stats = journal.stats();
    status.next = journal.next_seq().0;
    status.suspended = journal.health().suspended;
    status.syncs = Some(SyncStatus {
        count: stats.syncs,
        average_us: stats.sync_micros_total.checked_div(stats.syncs).unwrap_or(0),
        max_us: stats.sync_micros_max,
    });
    Ok(status)
}

fn cameras(shared: &Shared) -> Vec<CameraStatus> {
    shared
        .cameras()
        .iter()
        .map(|(id, camera)| {
            let (state, reason) = match camera.state() {
                CameraState::Starting => ("starting", None),
                CameraState::Up => ("up", None),
                CameraState::Lost(reason) => ("lost", Some(reason)),
                CameraState::Ended => ("ended", None),
                CameraState::Failed(reason) => ("failed", Some(reason)),
            };
            CameraStatus {
                id: id.clone(),
                name: camera.plan().settings.name.clone(),
                source: crate::util::redact::redacted(&camera.plan().spec.to_string()),
                state: state.to_owned(),
                reason,
                clock: camera.clock_fault(),
            }
        })
        .collect()
}

pub(super) struct ControlHandler {
    /// Weak, so that a client that lingers does not keep a recorder alive.
    shared: Weak<Shared>,
    status: StatusSource,
    clock: Arc<dyn Clock>,
}

impl ControlHandler {
    pub(super) fn new(shared: &Arc<Shared>, status: &StatusSource, clock: &Arc<dyn Clock>) -> Self {
        Self { shared: Arc::downgrade(shared), status: status.clone(), clock: Arc::clone(clock) }
    }

    fn shared(&self) -> Result<Arc<Shared>, String> {
        self.shared.upgrade().ok_or_else(|| "the recorder is stopping".to_owned())
    }

    fn store(&self) -> Result<Arc<DataStore>, String> {
        self.shared()?.store().map_err(|error| error.to_string())
    }

    fn ingest(
        &self,
        input: &mut dyn Read,
        say: &mut dyn FnMut(&Reply) -> io::Result<()>,
    ) -> Result<(), String> {
        let metrics = Arc::clone(&self.shared()?.metrics);
        let admission = Room(&self.shared);
        let store = self.store()?;
        let ingestor = Ingestor::new(store.journal.clone(), Arc::clone(&self.clock), &admission)
            .counted_by(metrics);
        let totals = ingestor
            .run(input, &mut |outcomes| say(&Reply::Lines { outcomes }))
            .map_err(|error| error.to_string())?;
        let head = store.view.head().map_err(|error| error.to_string())?;
        let behind = Behind::names_in(store.runner.wait_for(head, CATCH_UP_TIMEOUT));
        let reply = Reply::Ingested {
            totals,
            behind: behind.into_iter().map(str::to_owned).collect(),
            degraded: crate::store::degraded(&store.journal),
        };
        say(&reply).map_err(|error| error.to_string())
    }

    /// Has events described that have no sentence. Returns how many wait.
    fn describe(&self, since_utc_micros: i64, failed: bool) -> Result<u64, String> {
        let store = self.store()?;
        let since = Timestamp { utc_micros: since_utc_micros, offset_minutes: 0 };
        let events = description::backlog(&store.view, since, failed);
        let events = events.map_err(|error| error.to_string())?;
        let describer = store.describer();
        let describer = describer.as_ref().ok_or(
            "the recorder that runs has no description.endpoint; set it and reload its configuration",
        )?;
        Ok(describer.add(events))
    }

    fn rebuild(
        &self,
        only: &[String],
        options: &RebuildOptions,
        say: &mut dyn FnMut(&Reply) -> io::Result<()>,
    ) -> Result<(), String> {
        let store = self.store()?;
        let names: Vec<&str> = store.runner.status().iter().map(|status| status.name).collect();
        if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(format!("there is no projection '{unknown}', only {}", names.join(", ")));
        }
        let wanted = |name: &&str| only.is_empty() || only.iter().any(|wanted| wanted == name);
        for name in names.into_iter().filter(wanted) {
            let Some(result) = store.runner.rebuild(name, options) else { continue };
            let reply = match result {
                Ok(rebuilt) => Reply::Rebuilt {
                    name: name.to_owned(),
                    records: rebuilt.records,
                    lost: rebuilt.lost.iter().map(ToString::to_string).collect(),
                },
                Err(error) => Reply::NotRebuilt {
                    name: name.to_owned(),
                    reason: error.to_string(),
                    damaged: matches!(
                        error,
                        RebuildError::Damaged { .. } | RebuildError::Ahead { .. }
                    ),
                },
            };
            say(&reply).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl Handler for ControlHandler {
    fn handle(
        &self,
        request: ControlRequest,
        input: &mut dyn Read,
        say: &mut dyn FnMut(&Reply) -> io::Result<()>,
    ) -> Result<(), String> {
        match request {
            ControlRequest::Status => {
                let status = Box::new(self.status.status()?);
                say(&Reply::Status(status)).map_err(|error| error.to_string())
            }
            ControlRequest::Minutes => {
                let shared = self.shared()?;
                let minutes = shared
                    .cameras()
                    .values()
                    .filter_map(|camera| camera.minute_so_far().map(Into::into))
                    .collect();
                say(&Reply::Minutes { minutes }).map_err(|error| error.to_string())
            }
            ControlRequest::Ingest => self.ingest(input, say),
            ControlRequest::Describe { since_utc_micros, failed } => {
                let events = self.describe(since_utc_micros, failed)?;
                say(&Reply::Queued { events }).map_err(|error| error.to_string())
            }
            ControlRequest::Parked { delivery, from, to, discard } => {
                let range = SeqRange::new(Seq(from), Seq(to.saturating_add(1)));
                let messages = self.store()?.parked(&delivery, range, discard)? as u64;
                say(&Reply::Unparked { messages }).map_err(|error| error.to_string())
            }
            ControlRequest::Rotate { force, dry_run } => {
                let rotated = self.store()?.storage.rotate(force, dry_run);
                let report = rotated.map_err(|error| error.to_string())?;
                say(&Reply::Rotated { report }).map_err(|error| error.to_string())
            }
            ControlRequest::Rebuild { only, from, to, accept_loss } => {
                let scope = scope(from.as_deref(), to.as_deref())?;
                let options = RebuildOptions { scope, accept_loss, ..RebuildOptions::default() };
                self.rebuild(&only, &options, say)
            }
        }
    }
}

/// Asks the recorder's storage for room, as long as there is a recorder.
struct Room<'a>(&'a Weak<Shared>);

impl Room<'_> {
    fn store(&self) -> Option<Arc<DataStore>> {
        self.0.upgrade()?.store().ok()
    }
}

impl Admission for Room<'_> {
    fn admit(&self) -> bool {
        self.store().is_none_or(|store| store.storage.admit())
    }

    fn note(&self, head: Seq) {
        if let Some(store) = self.store() {
            store.storage.note(head);
        }
    }

    fn make_room(&self) -> bool {
        self.store().is_some_and(|store| store.storage.make_room())
    }
}

/// How much is used, for the status.
#[must_use]
pub fn storage_status(stats: StorageStats, warnings: Option<u64>) -> StorageStatus {
    StorageStatus {
        total_bytes: stats.total_bytes,
        limit_bytes: stats.limit_bytes,
        percentage_used: stats.percentage_used,
        is_over_limit: stats.is_over_limit,
        text: stats.to_string(),
        warnings,
    }
}

fn scope(from: Option<&str>, to: Option<&str>) -> Result<Scope, String> {
    if from.is_none() && to.is_none() {
        return Ok(Scope::All);
    }
    let day = |text: Option<&str>, open: Day| {
        text.map_or(Ok(open), |text| text.parse::<Day>().map_err(|error| error.to_string()))
    };
    Ok(Scope::Range(day(from, Day::MIN)?, day(to, Day::MAX)?))
}
