//! `EventDetected`: version 2, the current one, and version 1, which is read and never written.

use wincode::{SchemaRead, SchemaWrite};

use super::Sequence;
use super::frozen::{ObjectV1, Time, Wire};
use crate::json::strict;
use crate::limits::{METADATA_DEPTH_MAX, METADATA_VALUES_MAX};
use crate::{EventDetected, Metadata, PayloadFault};

/// `EventDetected`, version 2.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct EventDetectedV2<'a> {
    event_id: &'a str,
    timestamp: Time,
    camera_id: &'a str,
    camera_name: Option<&'a str>,
    motion_confidence: Option<f64>,
    detected_objects: Sequence<ObjectV1<'a>>,
    image_path: Option<&'a str>,
    llm_description: Option<&'a str>,
    description_expected: bool,
    /// Names, and the values as compact JSON texts.
    metadata: Sequence<(&'a str, &'a str)>,
}

/// The values of `metadata` as compact JSON texts, in the order of the names.
pub(super) fn metadata_texts(metadata: &Metadata) -> Vec<String> {
    metadata.values().map(serde_json::Value::to_string).collect()
}

impl<'a> EventDetectedV2<'a> {
    /// The wire struct of `event`, whose metadata has these [`metadata_texts`].
    pub(super) fn new(event: &'a EventDetected, metadata_texts: &'a [String]) -> Self {
        let names = event.metadata.keys().map(String::as_str);
        Self {
            event_id: &event.event_id,
            timestamp: Wire::of(&event.timestamp),
            camera_id: &event.camera_id,
            camera_name: event.camera_name.as_deref(),
            motion_confidence: event.motion_confidence,
            detected_objects: Wire::of(&event.detected_objects),
            image_path: event.image_path.as_deref(),
            llm_description: event.llm_description.as_deref(),
            description_expected: event.description_expected,
            metadata: names.zip(metadata_texts.iter().map(String::as_str)).collect(),
        }
    }
}

impl TryFrom<EventDetectedV2<'_>> for EventDetected {
    type Error = PayloadFault;

    fn try_from(wire: EventDetectedV2<'_>) -> Result<Self, Self::Error> {
        Ok(Self {
            event_id: wire.event_id.to_owned(),
            timestamp: wire.timestamp.into_domain(),
            camera_id: wire.camera_id.to_owned(),
            camera_name: wire.camera_name.map(str::to_owned),
            motion_confidence: wire.motion_confidence,
            detected_objects: wire.detected_objects.into_domain(),
            image_path: wire.image_path.map(str::to_owned),
            llm_description: wire.llm_description.map(str::to_owned),
            description_expected: wire.description_expected,
            metadata: read_metadata(wire.metadata)?,
        })
    }
}

fn read_metadata(wire: Sequence<(&str, &str)>) -> Result<Metadata, PayloadFault> {
    let mut budget = strict::Budget { values: METADATA_VALUES_MAX, depth: METADATA_DEPTH_MAX };
    let mut metadata = Metadata::new();
    for (name, text) in wire {
        let fault =
            |reason: String| PayloadFault::Metadata { name: crate::invalid::shown(name), reason };
        let value = strict::parse(text, &mut budget).map_err(|error| fault(error.to_string()))?;
        if metadata.insert(name.to_owned(), value).is_some() {
            return Err(fault("the name occurs twice".to_owned()));
        }
    }
    Ok(metadata)
}

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
