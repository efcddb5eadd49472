//! [`Status`]: the state of a recorder, for `lenslog status` and for programs that read its JSON.

use std::fmt;

use lenslog_engine::delivery::{DeliveryState, DeliveryStatus};
use lenslog_engine::{ProjectionState, ProjectionStatus};
use lenslog_journal::Seq;
use serde::{Deserialize, Serialize};

use crate::SOCKET;

/// The state of a recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether a recorder runs on this data directory.
    pub running: bool,
    /// Whether another program has the directory that could not be asked: an `ingest`, or a recorder without a socket.
    #[serde(default)]
    pub in_use: bool,
    /// The process of the recorder.
    pub pid: Option<u32>,
    /// The version of the recorder.
    pub version: String,
    /// How long it has run.
    pub uptime_s: Option<u64>,
    /// The data directory.
    pub data: String,
    /// The journal.
    pub journal: JournalStatus,
    /// The projections.
    pub projections: Vec<ProjectionReport>,
    /// The cameras, while a recorder runs.
    pub cameras: Vec<CameraStatus>,
    /// The object detector, where there is one.
    #[serde(default)]
    pub detector: Option<DetectorStatus>,
    /// What it did since it started.
    pub counters: Option<CounterStatus>,
    /// How much is used of how much, where it was counted.
    pub storage: Option<StorageStatus>,
    /// Descriptions of events, while a recorder runs that requests them.
    #[serde(default)]
    pub descriptions: Option<DescriptionStatus>,
    /// Notifications, while a recorder runs.
    #[serde(default)]
    pub deliveries: Vec<DeliveryReport>,
}

/// The state of the descriptions of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptionStatus {
    /// Events that wait for a description.
    pub waiting: u64,
    /// Why descriptions fail at present. Recording goes on.
    pub problem: Option<String>,
}

/// How much is used of how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// Bytes that everything takes.
    pub total_bytes: u64,
    /// Bytes that it may take.
    pub limit_bytes: u64,
    /// The one in per cent of the other.
    pub percentage_used: f64,
    /// More is used than may be.
    pub is_over_limit: bool,
    /// In words: `1.2GB / 4GB (30%)`.
    pub text: String,
    /// Warnings since the start, while a recorder runs.
    pub warnings: Option<u64>,
}

/// The state of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// First retained seq.
    pub floor: u64,
    /// Seq of the next record.
    pub next: u64,
    /// Number of segments.
    pub segments: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Seqs that are lost, as ranges.
    pub gaps: Vec<String>,
    /// Why nothing can be written now.
    pub suspended: Option<String>,
    /// Events that wait in memory.
    pub waiting: u64,
    /// What is wrong with its files, and which are no part of it: one line each.
    #[serde(default)]
    pub files: Vec<String>,
    /// Syncs since the start and how long they took.
    pub syncs: Option<SyncStatus>,
}

/// How long syncs take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// How many.
    pub count: u64,
    /// On average, in microseconds.
    pub average_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

/// The state of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionReport {
    /// Its name.
    pub name: String,
    /// What it does: `following`, `rebuilding`, `waiting`, `needs_operator`, `starting`, `stopped`.
    pub state: String,
    /// Records it has not applied yet.
    pub lag_records: u64,
    /// Events that it parked.
    pub parked: u64,
    /// Errors since the start.
    pub errors: u64,
    /// The latest of them while it is not following, or what will keep it from following.
    pub last_error: Option<String>,
}

/// The state of a delivery, such as a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// Its name.
    pub name: String,
    /// What it does: `delivering`, `down`, `full`, `disabled`, `waiting`, `stopped`.
    pub state: String,
    /// Records that it has not passed yet.
    pub lag_records: u64,
    /// Messages that were refused and are sent again.
    pub open: u64,
    /// Messages that were refused for good.
    pub parked: u64,
    /// Why it fails.
    pub last_error: Option<String>,
}

/// The state of the object detector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorStatus {
    /// Its model.
    pub model: String,
    /// What runs it, while it works.
    pub backend: Option<String>,
    /// Why it does not work.
    pub reason: Option<String>,
}

/// The state of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraStatus {
    /// Its id.
    pub id: String,
    /// Its display name.
    pub name: Option<String>,
    /// Where its frames come from.
    pub source: String,
    /// `starting`, `up`, `lost`, `ended`, `failed`.
    pub state: String,
    /// Why it is lost or failed.
    pub reason: Option<String>,
    /// What is wrong with the clock of what sends its pictures: a warning, and no reason to restart anything.
    #[serde(default)]
    pub clock: Option<String>,
}

/// What the recorder did since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterStatus {
    /// Frames looked at.
    pub frames: u64,
    /// Frames dropped.
    pub frames_dropped: u64,
    /// Pictures that could not be decoded.
    pub pictures_lost: u64,
    /// Events of its cameras that were journaled.
    pub events: u64,
    /// Sightings that made no event.
    pub suppressed: u64,
    /// Events that could not be journaled at once.
    pub journal_errors: u64,
    /// Pictures that could not be written.
    pub image_errors: u64,
}

/// The runner's view of the projections, beside the journal's durable end.
#[must_use]
pub fn projection_reports(status: &[ProjectionStatus], head: Seq) -> Vec<ProjectionReport> {
    status
        .iter()
        .map(|status| ProjectionReport {
            name: status.name.to_owned(),
            state: match status.state {
                ProjectionState::Starting => "starting",
                ProjectionState::Following => "following",
                ProjectionState::Rebuilding => "rebuilding",
                ProjectionState::Waiting => "waiting",
                ProjectionState::NeedsOperator => "needs_operator",
                _ => "stopped",
            }
            .to_owned(),
            lag_records: head.0.saturating_sub(status.next.0),
            parked: status.parked,
            errors: status.errors,
            last_error: status.last_error.clone().filter(|_| {
                // A projection that stopped by itself shows its error nowhere else.
                status.state.is_degraded() || status.state == ProjectionState::Stopped
            }),
        })
        .collect()
}

/// The reports of deliveries with this status; `head` is the journal's end.
#[must_use]
pub fn delivery_reports(status: &[DeliveryStatus], head: Seq) -> Vec<DeliveryReport> {
    status
        .iter()
        .map(|status| DeliveryReport {
            name: status.name.clone(),
            state: match status.state {
                DeliveryState::Delivering => "delivering",
                DeliveryState::Down => "down",
                DeliveryState::Full => "full",
                DeliveryState::Disabled => "disabled",
                DeliveryState::Waiting => "waiting",
                _ => "stopped",
            }
            .to_owned(),
            lag_records: head.0.saturating_sub(status.next.0),
            open: status.open as u64,
            parked: status.parked as u64,
            last_error: status.last_error.clone(),
        })
        .collect()
}

impl Status {
    /// The problems, one a line; empty where there is none.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let journal = &self.journal;
        if !journal.gaps.is_empty() {
            let gaps = journal.gaps.join(", ");
            problems.push(format!(
                "the journal has lost seq {gaps}; `replay verify` names the segments"
            ));
        }
        if let Some(reason) = &journal.suspended {
            let waiting = match journal.waiting {
                0 => String::new(),
                waiting => format!("; {waiting} records wait in memory"),
            };
            problems.push(format!("the journal cannot write: {reason}{waiting}"));
        }
        problems.extend(journal.files.iter().cloned());
        for projection in &self.projections {
            if let Some(error) = &projection.last_error {
                problems.push(format!("{}: {error}", projection.name));
            }
            if projection.parked > 0 {
                let (name, parked) = (&projection.name, projection.parked);
                let parked = crate::counted(parked, "event");
                problems.push(format!("{name}: {parked} could not be applied"));
            }
        }
        for delivery in &self.deliveries {
            let name = &delivery.name;
            if let Some(error) = &delivery.last_error {
                problems.push(format!("{name}: {error}"));
            }
            if delivery.parked > 0 {
                let parked = crate::counted(delivery.parked, "message");
                problems.push(format!(
                    "{name}: {parked} refused for good; `lenslog notify list --parked` lists them"
                ));
            }
        }
        if let Some(storage) = self.storage.as_ref().filter(|storage| storage.is_over_limit) {
            problems.push(format!("the storage limit is exceeded: {}", storage.text));
        }
        if let Some(reason) = self.detector.as_ref().and_then(|detector| detector.reason.as_ref()) {
            problems.push(format!("detector: {reason}; motion alone makes events"));
        }
        for camera in &self.cameras {
            if let Some(reason) = &camera.reason {
                problems.push(format!("camera {}: {reason}", camera.id));
            }
            if let Some(clock) = &camera.clock {
                problems.push(format!("camera {}: {clock}", camera.id));
            }
        }
        problems
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.uptime_s) {
            (Some(pid), Some(uptime)) => {
                writeln!(formatter, "recorder   running, process {pid}, for {}", length(uptime))?;
            }
            _ if self.in_use => writeln!(
                formatter,
                "recorder   another program uses the directory and has no {SOCKET}"
            )?,
            _ => writeln!(formatter, "recorder   not running")?,
        }
        writeln!(formatter, "data       {}", self.data)?;
        let journal = &self.journal;
        let (records, megabytes) =
            (journal.next.saturating_sub(journal.floor), journal.bytes as f64 / 1e6);
        writeln!(
            formatter,
            "journal    seq {} to {} ({records} numbers), {} segments, {megabytes:.1} MB",
            journal.floor,
            journal.next.saturating_sub(1),
            journal.segments,
        )?;
        if let Some(syncs) = journal.syncs.filter(|syncs| syncs.count > 0) {
            let (average, max) = (syncs.average_us as f64 / 1e3, syncs.max_us as f64 / 1e3);
            let count = syncs.count;
            writeln!(
                formatter,
                "           {count} syncs, {average:.2} ms on average, {max:.2} ms at most"
            )?;
        }
        for projection in &self.projections {
            let (name, state, lag) = (&projection.name, &projection.state, projection.lag_records);
            let lag = if lag == 0 { "up to date".to_owned() } else { format!("{lag} behind") };
            writeln!(formatter, "{name:<10} {state}, {lag}")?;
        }
        for DeliveryReport { name, state, lag_records, open, .. } in &self.deliveries {
            let open = if *open == 0 { String::new() } else { format!(", {open} refused so far") };
            writeln!(formatter, "{name}: {state}, {lag_records} records to look at{open}")?;
        }
        for camera in &self.cameras {
            let name = camera.name.as_deref().unwrap_or(&camera.id);
            let (id, state, source) = (&camera.id, &camera.state, &camera.source);
            writeln!(formatter, "camera     {id} ({name}): {state}, {source}")?;
        }
        if let Some(DetectorStatus { model, backend, .. }) = &self.detector {
            let state =
                backend.as_ref().map_or_else(|| "failed".to_owned(), |by| format!("by {by}"));
            writeln!(formatter, "detector   {model}, {state}")?;
        }
        if let Some(counters) = &self.counters {
            writeln!(
                formatter,
                "counted    {} frames ({} dropped), {} events, {} suppressed sightings",
                counters.frames, counters.frames_dropped, counters.events, counters.suppressed
            )?;
        }
        if let Some(DescriptionStatus { waiting, problem }) = &self.descriptions {
            let problem = problem.as_ref().map_or(String::new(), |problem| format!("; {problem}"));
            writeln!(formatter, "described  {waiting} events wait{problem}")?;
        }
        if let Some(storage) = &self.storage {
            writeln!(formatter, "Storage: {}", storage.text)?;
        }
        let problems = self.problems();
        if problems.is_empty() {
            return write!(formatter, "health     ok");
        }
        write!(formatter, "health     degraded")?;
        for problem in problems {
            write!(formatter, "\n           {problem}")?;
        }
        Ok(())
    }
}

/// A length of time as a status shows it: `8 s`, `5 min`, `3 h 20 min`, `4 d 2 h`.
#[must_use]
pub fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
