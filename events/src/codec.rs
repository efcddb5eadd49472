//! [`RecorderCodec`]: the events of this crate as the engine's [`EventCodec`](lenslog_engine::EventCodec).

use lenslog_engine::{CodecError, Encoded, EventCodec};
use lenslog_journal::{Kind, Tags};

use crate::{Event, decode, encode, event_key};

/// What the records of a recorder's journal mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderCodec;

impl EventCodec for RecorderCodec {
    type Event = Event;

    fn decode(kind: Kind, version: u16, payload: &[u8]) -> Result<Option<Event>, CodecError> {
        Ok(decode(kind.0, version, payload)?)
    }

    fn encode(event: &Event) -> Result<Encoded, CodecError> {
        Ok(Self::encode(event))
    }
}

impl RecorderCodec {
    /// The record of an event: its day is that of the fact, and an [`Event::Detected`] carries the key of
    /// its id. Every event can be encoded.
    #[must_use]
    pub fn encode(event: &Event) -> Encoded {
        let wire = encode(event);
        let key = match event {
            Event::Detected(detected) => Some(event_key(&detected.event_id)),
            _ => None,
        };
        let record = Encoded::new(Kind(wire.kind), wire.version, wire.payload);
        record.day(event.day()).key(key).tags(tags_of(event))
    }
}

/// The tag of the records of a camera.
#[must_use]
pub fn camera_tag(camera_id: &str) -> String {
    format!("camera:{camera_id}")
}

/// The tag of the records of an event.
#[must_use]
pub fn event_tag(event_id: &str) -> String {
    format!("event:{event_id}")
}

/// The names by which a record is found: its camera and its event.
fn tags_of(event: &Event) -> Tags {
    let camera = match event {
        Event::Detected(event) => Some(&event.camera_id),
        Event::CameraMinute(minute) => Some(&minute.camera_id),
        Event::CameraLost(lost) => Some(&lost.camera_id),
        Event::CameraFound(found) => Some(&found.camera_id),
        Event::DetectorFailed(failed) => failed.camera_id.as_ref(),
        _ => None,
    };
    let id = match event {
        Event::Detected(event) => Some(&event.event_id),
        _ => event.event_ref().map(|event| &event.event_id),
    };
    let tags = camera.map(|id| camera_tag(id)).into_iter().chain(id.map(|id| event_tag(id)));
    // The limits of both ids leave room for the prefixes.
    Tags::new(tags).unwrap_or_default()
}
