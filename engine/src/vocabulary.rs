//! [`Vocabulary`]: what the records of a journal mean. The engine knows no other meaning.

use std::fmt::Debug;

use lenslog_journal::{Day, Key, Kind};

/// The error of decoding a payload; told, never matched.
pub type DecodeError = Box<dyn std::error::Error + Send + Sync>;

/// The facts a program journals, and their bytes.
///
/// Decoding is pure: the same kind, version and bytes give the same event for ever. Older versions are brought up to
/// date here, once, so that projections know the newest form only.
pub trait Vocabulary: Send + Sync + 'static {
    /// Any fact of the vocabulary.
    type Event: Debug + Clone + PartialEq + Send + Sync + 'static;

    /// Version of the decoding: rises whenever payloads can be decoded that could not be before. Projections that set
    /// such events aside are then rebuilt.
    const VERSION: u32 = 1;

    /// Reads a payload. `Ok(None)`: a kind, or a version of it, that this program does not know; the record is kept
    /// and passed over.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the bytes. Must not panic on any bytes.
    fn decode(kind: Kind, version: u16, payload: &[u8])
    -> Result<Option<Self::Event>, DecodeError>;

    /// The record to be appended for an event.
    fn encode(event: &Self::Event) -> Encoded;
}

/// An event as a record: everything of [`NewRecord`](lenslog_journal::NewRecord), owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// What it is about.
    pub kind: Kind,
    /// Version of the payload's form.
    pub version: u16,
    /// Local day of the fact, if it is not the day of appending.
    pub day: Option<Day>,
    /// Idempotency key.
    pub key: Option<Key>,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Encoded {
    /// As the journal takes it.
    #[must_use]
    pub fn as_record(&self) -> lenslog_journal::NewRecord<'_> {
        lenslog_journal::NewRecord {
            kind: self.kind,
            version: self.version,
            day: self.day,
            key: self.key,
            payload: &self.payload,
        }
    }
}
