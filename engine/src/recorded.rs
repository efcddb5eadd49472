//! [`Recorded`]: a record as projections get it, its payload decoded.

use lenslog_journal::{Day, Kind, Record, Seq, SystemRecord, Timestamp};

use crate::Vocabulary;

/// A record, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded<E> {
    /// Its position.
    pub seq: Seq,
    /// When it was appended.
    pub time: Timestamp,
    /// Local day of the fact it tells.
    pub day: Day,
    /// What it is about.
    pub kind: Kind,
    /// Version of the payload's form, as it stands in the journal.
    pub version: u16,
    /// What it says.
    pub fact: Fact<E>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fact<E> {
    /// A fact of the vocabulary.
    Event(E),
    /// The journal's own: recovered, lost, pruned, clock set.
    Journal(SystemRecord),
    /// A kind or version this program does not know.
    Unknown,
    /// Bytes that the vocabulary could not read, and why.
    Undecodable(String),
}

impl<E> Recorded<E> {
    /// Decodes a record.
    #[must_use]
    pub fn decode<V: Vocabulary<Event = E>>(record: &Record<'_>) -> Self {
        let fact = if record.kind.is_reserved() {
            SystemRecord::decode(record.kind, record.version, record.payload)
                .map_or(Fact::Unknown, Fact::Journal)
        } else {
            match V::decode(record.kind, record.version, record.payload) {
                Ok(Some(event)) => Fact::Event(event),
                Ok(None) => Fact::Unknown,
                Err(error) => Fact::Undecodable(error.to_string()),
            }
        };
        Self {
            seq: record.seq,
            time: record.time,
            day: record.day,
            kind: record.kind,
            version: record.version,
            fact,
        }
    }
}
