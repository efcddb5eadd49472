//! The requests and replies on the socket.

use lenslog_events::CameraMinute;
use lenslog_journal::Timestamp;
use serde::{Deserialize, Serialize};

use crate::status::Status;

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ControlRequest {
    /// Report the recorder's status.
    Status,
    /// Report the camera minutes that are not journaled yet.
    Minutes,
    /// Journal the lines that follow as events.
    Ingest,
    /// Rebuild projections.
    Rebuild {
        /// Their names; none: all.
        only: Vec<String>,
        /// First day, where a range is rebuilt.
        from: Option<String>,
        /// Last day, where a range is rebuilt.
        to: Option<String>,
        /// Replace them even if the journal has lost records.
        accept_loss: bool,
    },
    /// Delete days to make room, or report which would go.
    Rotate {
        /// Below 90 % too.
        force: bool,
        /// Delete nothing; only report.
        dry_run: bool,
    },
    /// Send parked messages of a delivery again, or forget them.
    Parked {
        /// The delivery.
        delivery: String,
        /// The first seq.
        from: u64,
        /// The last seq.
        to: u64,
        /// Forget them.
        discard: bool,
    },
    /// Request descriptions of the events that have none.
    Describe {
        /// From when on, in UTC microseconds.
        since_utc_micros: i64,
        /// Include events whose description failed.
        failed: bool,
    },
}

/// An answer of the recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Reply {
    /// To [`ControlRequest::Status`].
    Status(Box<Status>),
    /// To [`ControlRequest::Minutes`].
    Minutes {
        /// One a camera that has seen frames.
        minutes: Vec<Minute>,
    },
    /// To [`ControlRequest::Ingest`]: the outcomes of lines.
    Lines {
        /// In the order of the lines.
        outcomes: Vec<IngestOutcome>,
    },
    /// To [`ControlRequest::Ingest`], after the last line.
    Ingested {
        /// The sums.
        totals: Totals,
        /// Projections that have not caught up.
        behind: Vec<String>,
        /// What is wrong with the journal, where something is.
        degraded: Option<String>,
    },
    /// To [`ControlRequest::Rebuild`]: one projection was rebuilt.
    Rebuilt {
        /// Its name.
        name: String,
        /// Records that it was rebuilt from.
        records: u64,
        /// Losses of the journal.
        lost: Vec<String>,
    },
    /// To [`ControlRequest::Rebuild`]: one projection was left as it was.
    NotRebuilt {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
        /// The journal has lost records that the projection may still hold.
        damaged: bool,
    },
    /// To [`ControlRequest::Rotate`].
    Rotated {
        /// What was deleted, or would be.
        report: RotationReport,
    },
    /// To [`ControlRequest::Parked`].
    Unparked {
        /// How many messages.
        messages: u64,
    },
    /// To [`ControlRequest::Describe`].
    Queued {
        /// Events that wait for a description now.
        events: u64,
    },
    /// The answer is complete.
    Done,
    /// The request failed.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A camera minute in a form that can be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// The camera.
    pub camera_id: String,
    /// Where it begins, in UTC microseconds.
    pub utc_micros: i64,
    /// Local offset in minutes.
    pub offset_minutes: i16,
    /// Frames looked at.
    pub frames: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// Largest changed area in per cent.
    pub max_motion: f64,
    /// Best object.
    pub best: Option<(String, f64)>,
    /// Suppressed sightings by reason.
    pub suppressed: Vec<(String, u64)>,
}

impl From<CameraMinute> for Minute {
    fn from(minute: CameraMinute) -> Self {
        Self {
            camera_id: minute.camera_id,
            utc_micros: minute.minute.utc_micros,
            offset_minutes: minute.minute.offset_minutes,
            frames: minute.frames,
            dropped: minute.dropped,
            max_motion: minute.max_motion,
            best: minute.best_label.zip(minute.best_confidence),
            suppressed: minute.suppressed.into_iter().map(|s| (s.reason, s.count)).collect(),
        }
    }
}

impl From<Minute> for CameraMinute {
    fn from(minute: Minute) -> Self {
        let (best_label, best_confidence) = minute.best.unzip();
        Self {
            camera_id: minute.camera_id,
            minute: Timestamp {
                utc_micros: minute.utc_micros,
                offset_minutes: minute.offset_minutes,
            },
            frames: minute.frames,
            dropped: minute.dropped,
            max_motion: minute.max_motion,
            best_label,
            best_confidence,
            suppressed: minute
                .suppressed
                .into_iter()
                .map(|(reason, count)| lenslog_events::Suppressed { reason, count })
                .collect(),
        }
    }
}

/// The outcome of a line that was ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum IngestOutcome {
    /// The line is an event, which now survives a power cut.
    Accepted {
        /// Its number, from 1.
        line: u64,
        /// The event's id.
        event_id: String,
        /// The seq of its record.
        seq: u64,
        /// It was known before: nothing was appended, and the seq is that of the first.
        duplicate: bool,
    },
    /// The line is no event.
    Refused {
        /// Its number, from 1.
        line: u64,
        /// Why.
        reason: String,
        /// The line is valid, but the storage is full.
        storage_full: bool,
    },
    /// A field that is not known; it is kept in the event's metadata. Reported once a name.
    UnknownField {
        /// The first line that has it.
        line: u64,
        /// Its name.
        name: String,
    },
}

/// Sums over all lines that were ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Events appended.
    pub accepted: u64,
    /// Events that were known already.
    pub duplicates: u64,
    /// Lines that are no events, or that there was no room for.
    pub refused: u64,
    /// Lines that there was no room for.
    pub storage_full: u64,
}

/// What a rotation did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RotationReport {
    /// Nothing was done: this is what would be.
    pub dry_run: bool,
    /// Usage before, as `1.2GB / 4GB (30%)`.
    pub before: String,
    /// Usage after it; what is expected, in a dry run.
    pub after: String,
    /// More is used than may be, after it.
    pub is_over_limit: bool,
    /// What went, in this order.
    pub gone: Vec<GoneDay>,
    /// What stays, oldest first.
    pub kept: Vec<KeptDay>,
    /// What did not go as it should.
    pub problems: Vec<String>,
}

/// A day that went, or its pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneDay {
    /// The day.
    pub day: String,
    /// Bytes that came free, or would.
    pub bytes: u64,
    /// Only pictures went; the records of the events stay.
    pub pictures_only: bool,
    /// It went for its age, not for its room.
    pub too_old: bool,
}

/// A day that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDay {
    /// The day.
    pub day: String,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Why it stays.
    pub reason: String,
}
