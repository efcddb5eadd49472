//! What is said over the socket.

use lenslog_events::CameraMinute;
use lenslog_journal::Timestamp;
use serde::{Deserialize, Serialize};

use super::{RotationReport, Status};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// How the recorder fares.
    Status,
    /// The camera minutes that are not journaled yet.
    Minutes,
    /// The lines that follow become events.
    Ingest,
    /// Projections are made again.
    Rebuild {
        /// Their names; none: all.
        only: Vec<String>,
        /// First day, where only some are made again.
        from: Option<String>,
        /// Last day, where only some are made again.
        to: Option<String>,
        /// Replace them even if the journal has lost records.
        accept_loss: bool,
    },
    /// Days are deleted where there is no more room, or are said to be.
    Rotate {
        /// Below 90 % too.
        force: bool,
        /// Nothing is deleted: it is only said what would be.
        dry_run: bool,
    },
    /// Sentences are asked for about the events that have none.
    Describe {
        /// From when on, in UTC microseconds.
        since_utc_micros: i64,
        /// Those too that were given up.
        failed: bool,
    },
}

/// What the recorder answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Minutes`].
    Minutes {
        /// One a camera that has seen frames.
        minutes: Vec<Minute>,
    },
    /// To [`Request::Ingest`]: what became of lines.
    Lines {
        /// In the order of the lines.
        outcomes: Vec<Outcome>,
    },
    /// To [`Request::Ingest`], after the last line.
    Ingested {
        /// The sums.
        totals: Totals,
        /// Projections that have not caught up.
        behind: Vec<String>,
        /// What is wrong with the journal, where something is.
        degraded: Option<String>,
    },
    /// To [`Request::Rebuild`]: one projection was made again.
    Rebuilt {
        /// Its name.
        name: String,
        /// Records it was made from.
        records: u64,
        /// What the journal had lost.
        lost: Vec<String>,
    },
    /// To [`Request::Rebuild`]: one projection was left as it was.
    NotRebuilt {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
        /// The journal has lost records that the projection may still hold.
        damaged: bool,
    },
    /// To [`Request::Rotate`].
    Rotated {
        /// What was deleted, or would be.
        report: RotationReport,
    },
    /// To [`Request::Describe`].
    Queued {
        /// Events that wait for a sentence now.
        events: u64,
    },
    /// All is said.
    Done,
    /// It was not done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A camera minute in words that can be sent.
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

/// What became of a line that was ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// It is an event that survives a power cut.
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
    /// It is no event.
    Refused {
        /// Its number, from 1.
        line: u64,
        /// Why.
        reason: String,
        /// Nothing is wrong with it: there is no room.
        storage_full: bool,
    },
    /// A field that is not known; it is kept in the event's metadata. Told once a name.
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
