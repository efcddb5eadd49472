//! [`Change`]: what a record means for the database, before any SQL. Pure: live rows, rebuilds and verification all
//! begin here, so that they cannot disagree.

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, EventRef};
use lenslog_journal::{ControlRecord, PrunedDays, Seq};

use super::row::{EventRow, id_of};

/// What a record changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// A new row.
    Insert(Box<EventRow>),
    /// A row gets its sentence.
    Describe(RowRef, String),
    /// A row loses its picture.
    PurgeImage(RowRef),
    /// Rows of old days go.
    Prune(Pruning),
    /// Nothing but the checkpoint moves.
    Nothing,
}

/// The row of an earlier event. It may have been pruned, then nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowRef {
    pub(super) id: i64,
    pub(super) event_id: String,
}

/// Everything that stands before a tombstone and has one of its days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pruning {
    pub(super) days: PrunedDays,
    /// Rows with smaller ids only.
    pub(super) before: i64,
}

impl Change {
    /// What a record changes; the error says why it cannot be applied, now or later.
    pub(super) fn of(record: &Recorded<Event>) -> Result<Self, String> {
        Ok(match &record.fact {
            Fact::Event(Event::Detected(event)) => {
                Self::Insert(Box::new(EventRow::of(record.seq, record.time, event)?))
            }
            Fact::Event(Event::DescriptionAdded(added)) => {
                match RowRef::before(record.seq, &added.event) {
                    Some(row) => Self::Describe(row, added.llm_description.clone()),
                    None => Self::Nothing,
                }
            }
            Fact::Event(Event::ImagePurged(purged)) => {
                RowRef::before(record.seq, &purged.event).map_or(Self::Nothing, Self::PurgeImage)
            }
            Fact::Journal(ControlRecord::PrunedThrough(pruned)) => {
                let before = id_of(record.seq).unwrap_or(i64::MAX);
                Self::Prune(Pruning { days: pruned.days(), before })
            }
            _ => Self::Nothing,
        })
    }
}

impl RowRef {
    /// The row that a record refers to; what is said of an event that comes later means nothing.
    fn before(seq: Seq, event: &EventRef) -> Option<Self> {
        let id = id_of(event.event_seq).filter(|_| event.event_seq < seq)?;
        Some(Self { id, event_id: event.event_id.clone() })
    }
}
