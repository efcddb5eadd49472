//! [`StatusSource`]: how the recorder fares, for the control socket and for `GET /healthz`.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Instant;

use lenslog_journal::{Error, Journal};
use lenslog_projections::held_database_log;
use lenslog_tools::control::{
    CameraStatus, CounterStatus, DetectorStatus, JournalStatus, ProjectionReport, Status,
    SyncStatus, left_out_lines, projection_reports,
};

use super::camera::CameraState;
use super::{BACKLOG_EVENTS_MAX, Shared, storage_status};
use crate::config::Config;
use crate::description::Describer;

/// Tells how the recorder fares, from any thread.
#[derive(Clone)]
pub(super) struct StatusSource {
    data: String,
    database: PathBuf,
    /// Weak, so that whoever asks does not keep a recorder alive.
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

    /// How it fares.
    pub(super) fn status(&self) -> Result<Status, String> {
        let shared = self.shared.upgrade().ok_or("the recorder is stopping")?;
        let home = shared.home().map_err(|error| away(&shared, &error))?;
        home.view.check_place().map_err(|error| away(&shared, &error))?;
        let head = home.view.head().map_err(|error| away(&shared, &error))?;
        let counted = shared.metrics.counted();
        let mut journal = journal_status(&home.journal)?;
        journal.files.extend(left_out_lines(home.left_out.get().map_or(&[][..], Vec::as_slice)));
        journal.waiting = shared.writer.backlog() as u64;
        Ok(Status {
            running: true,
            in_use: true,
            pid: Some(std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: Some(self.started.elapsed().as_secs()),
            data: self.data.clone(),
            journal,
            projections: self.projections(projection_reports(&home.runner.status(), head)),
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
            storage: Some(storage_status(home.storage.check_usage(), Some(home.storage.figures()))),
            descriptions: home.describer().as_ref().map(Describer::status),
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

    /// What is wrong, a line each; empty where all is well.
    pub(super) fn problems(&self) -> Vec<String> {
        self.status().map_or_else(|error| vec![error], |status| status.problems())
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

/// How the journal that this process writes fares.
fn journal_status(journal: &Journal) -> Result<JournalStatus, String> {
    let view = journal.view();
    let mut status = lenslog_tools::journal_status(&view).map_err(|error| error.to_string())?;
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
                source: crate::redact::redacted(&camera.plan().spec.to_string()),
                state: state.to_owned(),
                reason,
            }
        })
        .collect()
}
