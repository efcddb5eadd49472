//! `EventDetected`, version 1, and its upcast to version 2. Read, never written.

use wincode::SchemaRead;

use super::detected::{EventDetectedV2, ObjectV1};
use super::{Sequence, Time};

/// `EventDetected`, version 1: a camera had no name yet, and a description was either there or never came.
#[derive(Debug, SchemaRead)]
pub(crate) struct EventDetectedV1<'a> {
    event_id: &'a str,
    timestamp: Time,
    camera_id: &'a str,
    motion_confidence: Option<f64>,
    detected_objects: Sequence<ObjectV1<'a>>,
    image_path: Option<&'a str>,
    llm_description: Option<&'a str>,
    metadata: Sequence<(&'a str, &'a str)>,
}

impl<'a> From<EventDetectedV1<'a>> for EventDetectedV2<'a> {
    /// No name, and nothing to wait for: a projection must not hold such an event for a sentence.
    fn from(wire: EventDetectedV1<'a>) -> Self {
        Self {
            event_id: wire.event_id,
            timestamp: wire.timestamp,
            camera_id: wire.camera_id,
            camera_name: None,
            motion_confidence: wire.motion_confidence,
            detected_objects: wire.detected_objects,
            image_path: wire.image_path,
            llm_description: wire.llm_description,
            description_expected: false,
            metadata: wire.metadata,
        }
    }
}
