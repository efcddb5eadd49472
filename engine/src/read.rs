//! Records, decoded: [`Recorded`] as projections get them, [`Events`] as a query finds them.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use lenslog_journal::{
    ControlRecord, Day, Entry, Error, JournalView, Key, Kind, Lost, Query, Reader, ReaderOptions,
    Record, Seq, Tags, Timestamp,
};

use crate::EventCodec;

/// A record, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded<E> {
    /// Its position.
    pub seq: Seq,
    /// When it was appended.
    pub time: Timestamp,
    /// Local day of the fact that it records.
    pub day: Day,
    /// What it is about.
    pub kind: Kind,
    /// Version of the payload's form, as the journal has it.
    pub version: u16,
    /// What it says.
    pub fact: Fact<E>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fact<E> {
    /// A fact that the codec decoded.
    Event(E),
    /// The journal's own: recovered, lost, pruned, clock set.
    Journal(ControlRecord),
    /// A kind or version this program does not know.
    Unknown,
    /// Bytes that the codec could not decode, and why.
    Undecodable(String),
}

impl<E> Recorded<E> {
    /// Decodes a record.
    #[must_use]
    pub fn decode<V: EventCodec<Event = E>>(record: &Record<'_>) -> Self {
        let fact = if record.kind.is_reserved() {
            ControlRecord::decode(record.kind, record.version, record.payload)
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

/// An event, and the record that holds it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SequencedEvent<E> {
    /// Its position.
    pub seq: Seq,
    /// When it was appended.
    pub time: Timestamp,
    /// Local day of the fact that it records.
    pub day: Day,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Names by which it is found.
    pub tags: Tags,
    /// What happened.
    pub event: E,
}

impl<E> SequencedEvent<E> {
    /// Decodes a record.
    ///
    /// # Errors
    ///
    /// [`ReadError::Undecodable`], [`ReadError::Unknown`].
    pub fn decode<C: EventCodec<Event = E>>(record: &Record<'_>) -> Result<Self, ReadError> {
        let Record { seq, kind, version, .. } = *record;
        match C::decode(kind, version, record.payload) {
            Ok(Some(event)) => Ok(Self {
                seq,
                time: record.time,
                day: record.day,
                key: record.key,
                tags: record.tags.to_owned(),
                event,
            }),
            Ok(None) => Err(ReadError::Unknown { seq, kind, version }),
            Err(reason) => Err(ReadError::Undecodable { seq, reason: reason.to_string() }),
        }
    }
}

/// Why an event cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The journal has lost records that may match.
    #[error("events: {0}; restore the segment from a backup, or accept the loss")]
    Lost(Lost),
    /// The codec refused the payload.
    #[error("event {seq}: the payload cannot be decoded: {reason}; correct the codec")]
    Undecodable {
        /// Its position.
        seq: Seq,
        /// What the codec said.
        reason: String,
    },
    /// The codec does not know this kind, or this version of it.
    #[error(
        "event {seq}: kind {}, version {version} is unknown; upgrade this program, or name the known kinds in the query",
        kind.0
    )]
    Unknown {
        /// Its position.
        seq: Seq,
        /// Its type.
        kind: Kind,
        /// Version of the payload's form.
        version: u16,
    },
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] Error),
}

/// Reads the events that match a query, in order, up to the durable end of the journal.
///
/// After [`ReadError::Lost`], [`ReadError::Undecodable`] and [`ReadError::Unknown`] the next event follows; after
/// [`ReadError::Journal`] the iterator ends. Where the journal has grown meanwhile, an iterator that ended continues.
pub struct Events<C> {
    reader: Reader,
    has_failed: bool,
    codec: PhantomData<fn() -> C>,
}

impl<C: EventCodec> Events<C> {
    /// Reads from a view of a journal. A range that begins at [`Seq::FIRST`], or has no beginning, begins at the floor.
    ///
    /// # Errors
    ///
    /// [`Error::Pruned`] if the range begins before the floor; [`Error::TooLarge`] for a query; [`Error::Io`].
    pub fn read(
        view: &JournalView,
        query: &Query,
        range: impl RangeBounds<Seq>,
    ) -> Result<Self, Error> {
        let from = match range.start_bound() {
            Bound::Included(seq) => *seq,
            Bound::Excluded(seq) => seq.next(),
            Bound::Unbounded => Seq::FIRST,
        };
        let options = ReaderOptions::default().query(query.clone());
        let options = match range.end_bound() {
            Bound::Included(seq) => options.until(seq.next()),
            Bound::Excluded(seq) => options.until(*seq),
            Bound::Unbounded => options,
        };
        Ok(Self { reader: view.reader(from, options)?, has_failed: false, codec: PhantomData })
    }
}

impl<C: EventCodec> Iterator for Events<C> {
    type Item = Result<SequencedEvent<C::Event>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_failed {
            return match self.reader.next() {
                Ok(None) => None,
                Ok(Some(Entry::Lost(lost))) => Some(Err(ReadError::Lost(lost))),
                Ok(Some(Entry::Record(record))) if record.kind.is_reserved() => continue,
                Ok(Some(Entry::Record(record))) => Some(SequencedEvent::decode::<C>(&record)),
                Err(error) => {
                    self.has_failed = true;
                    Some(Err(error.into()))
                }
            };
        }
        None
    }
}

impl<C> fmt::Debug for Events<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Events").field("reader", &self.reader).finish_non_exhaustive()
    }
}
