//! [`RecorderVocabulary`]: the events of this crate as the engine's vocabulary.

use lenslog_engine::{DecodeError, Encoded, Vocabulary};
use lenslog_journal::Kind;

use crate::{Event, decode, encode, event_key};

/// What the records of a recorder's journal mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderVocabulary;

impl Vocabulary for RecorderVocabulary {
    type Event = Event;

    fn decode(kind: Kind, version: u16, payload: &[u8]) -> Result<Option<Event>, DecodeError> {
        Ok(decode(kind.0, version, payload)?)
    }

    /// The record of an event: its day is that of the fact it tells, and an [`Event::Detected`] carries the key of
    /// its id.
    fn encode(event: &Event) -> Encoded {
        let wire = encode(event);
        let key = match event {
            Event::Detected(detected) => Some(event_key(&detected.event_id)),
            _ => None,
        };
        Encoded {
            kind: Kind(wire.kind),
            version: wire.version,
            day: Some(event.day()),
            key,
            payload: wire.payload,
        }
    }
}
