//! What refers to an earlier event: `EventEnded`, the three of the description, `ImagePurged`.

use lenslog_journal::{Day, Seq};
use wincode::{SchemaRead, SchemaWrite};

use super::Time;
use crate::{
    DescriptionAdded, DescriptionDeferred, DescriptionFailed, EventEnded, EventRef, ImagePurged,
};

/// An [`EventRef`] on the wire.
#[derive(Debug, SchemaWrite, SchemaRead)]
struct ReferenceV1<'a> {
    event_seq: u64,
    event_day: i32,
    event_id: &'a str,
}

/// `EventEnded`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct EventEndedV1<'a> {
    event: ReferenceV1<'a>,
    last_seen: Time,
    sightings: u64,
}

/// `DescriptionAdded`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct DescriptionAddedV1<'a> {
    event: ReferenceV1<'a>,
    llm_description: &'a str,
    model: &'a str,
    duration_ms: u64,
}

/// `DescriptionDeferred`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct DescriptionDeferredV1<'a> {
    event: ReferenceV1<'a>,
}

/// `DescriptionFailed`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct DescriptionFailedV1<'a> {
    event: ReferenceV1<'a>,
    reason: &'a str,
}

/// `ImagePurged`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct ImagePurgedV1<'a> {
    event: ReferenceV1<'a>,
    image_path: &'a str,
}

impl<'a> From<&'a EventRef> for ReferenceV1<'a> {
    fn from(event: &'a EventRef) -> Self {
        Self {
            event_seq: event.event_seq.0,
            event_day: event.event_day.0,
            event_id: &event.event_id,
        }
    }
}

impl From<ReferenceV1<'_>> for EventRef {
    fn from(wire: ReferenceV1<'_>) -> Self {
        Self {
            event_seq: Seq(wire.event_seq),
            event_day: Day(wire.event_day),
            event_id: wire.event_id.to_owned(),
        }
    }
}

impl<'a> From<&'a EventEnded> for EventEndedV1<'a> {
    fn from(event: &'a EventEnded) -> Self {
        Self {
            event: (&event.event).into(),
            last_seen: event.last_seen.into(),
            sightings: event.sightings,
        }
    }
}

impl From<EventEndedV1<'_>> for EventEnded {
    fn from(wire: EventEndedV1<'_>) -> Self {
        Self {
            event: wire.event.into(),
            last_seen: wire.last_seen.into(),
            sightings: wire.sightings,
        }
    }
}

impl<'a> From<&'a DescriptionAdded> for DescriptionAddedV1<'a> {
    fn from(event: &'a DescriptionAdded) -> Self {
        Self {
            event: (&event.event).into(),
            llm_description: &event.llm_description,
            model: &event.model,
            duration_ms: event.duration_ms,
        }
    }
}

impl From<DescriptionAddedV1<'_>> for DescriptionAdded {
    fn from(wire: DescriptionAddedV1<'_>) -> Self {
        Self {
            event: wire.event.into(),
            llm_description: wire.llm_description.to_owned(),
            model: wire.model.to_owned(),
            duration_ms: wire.duration_ms,
        }
    }
}

impl<'a> From<&'a DescriptionDeferred> for DescriptionDeferredV1<'a> {
    fn from(event: &'a DescriptionDeferred) -> Self {
        Self { event: (&event.event).into() }
    }
}

impl From<DescriptionDeferredV1<'_>> for DescriptionDeferred {
    fn from(wire: DescriptionDeferredV1<'_>) -> Self {
        Self { event: wire.event.into() }
    }
}

impl<'a> From<&'a DescriptionFailed> for DescriptionFailedV1<'a> {
    fn from(event: &'a DescriptionFailed) -> Self {
        Self { event: (&event.event).into(), reason: &event.reason }
    }
}

impl From<DescriptionFailedV1<'_>> for DescriptionFailed {
    fn from(wire: DescriptionFailedV1<'_>) -> Self {
        Self { event: wire.event.into(), reason: wire.reason.to_owned() }
    }
}

impl<'a> From<&'a ImagePurged> for ImagePurgedV1<'a> {
    fn from(event: &'a ImagePurged) -> Self {
        Self { event: (&event.event).into(), image_path: &event.image_path }
    }
}

impl From<ImagePurgedV1<'_>> for ImagePurged {
    fn from(wire: ImagePurgedV1<'_>) -> Self {
        Self { event: wire.event.into(), image_path: wire.image_path.to_owned() }
    }
}
