//! [`EventCodec`]: the meaning of a journal's records. The engine knows no other.

use std::fmt::Debug;

use lenslog_journal::{Day, Error, Key, Kind, NewRecord, Tags};

/// The error of encoding or decoding an event: reported, never matched.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// The facts a program journals, and their bytes.
///
/// Decoding is pure: the same kind, version and bytes give the same event for ever. Older versions are brought up to
/// date here, once, so that projections know the newest form only.
pub trait EventCodec: Send + Sync + 'static {
    /// Any fact that the program journals.
    type Event: Debug + Clone + PartialEq + Send + Sync + 'static;

    /// Version of the decoding: rises whenever payloads can be decoded that could not be before. Projections that parked
    /// such events are then rebuilt.
    const VERSION: u32 = 1;

    /// Reads a payload. `Ok(None)`: a kind, or a version of it, that this program does not know; the record is kept
    /// and passed over.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the bytes. Must not panic on any bytes.
    fn decode(kind: Kind, version: u16, payload: &[u8]) -> Result<Option<Self::Event>, CodecError>;

    /// The record to be appended for an event, with the tags by which it is found.
    ///
    /// # Errors
    ///
    /// The problem with the event: a tag that is too long, a value that the payload's form cannot hold.
    fn encode(event: &Self::Event) -> Result<Encoded, CodecError>;
}

/// Why events were not appended, or whether they were is unknown: see [`Error::Sync`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The codec refused an event. Nothing was appended.
    #[error("event: it cannot be encoded: {reason}; nothing was appended; correct the event")]
    Encode {
        /// What the codec said.
        reason: String,
    },
    /// The journal refused, or failed.
    #[error(transparent)]
    Journal(#[from] Error),
}

/// Encodes the events of a batch.
pub(crate) fn encode_all<C: EventCodec>(events: &[C::Event]) -> Result<Vec<Encoded>, AppendError> {
    let encode =
        |event| C::encode(event).map_err(|error| AppendError::Encode { reason: error.to_string() });
    events.iter().map(encode).collect()
}

/// An event as a record: everything of [`NewRecord`], owned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoded {
    /// What it is about.
    pub kind: Kind,
    /// Version of the payload's form.
    pub version: u16,
    /// Local day of the fact, if it is not the day of appending.
    pub day: Option<Day>,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Names by which it is found.
    pub tags: Tags,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Encoded {
    /// A record of the day of appending, without key and tags.
    #[must_use]
    pub fn new(kind: Kind, version: u16, payload: Vec<u8>) -> Self {
        Self { kind, version, day: None, key: None, tags: Tags::default(), payload }
    }

    /// Sets the local day of the fact.
    #[must_use]
    pub fn day(self, day: impl Into<Option<Day>>) -> Self {
        Self { day: day.into(), ..self }
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn key(self, key: impl Into<Option<Key>>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// Sets the tags. They outlive the erasure of a payload: use pseudonyms, never personal data.
    #[must_use]
    pub fn tags(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }

    /// As the journal takes it.
    #[must_use]
    pub fn as_record(&self) -> NewRecord<'_> {
        let record = NewRecord::new(self.kind, self.version, &self.payload);
        record.day(self.day).key(self.key).tags(self.tags.list())
    }
}
