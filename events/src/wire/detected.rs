//! `EventDetected`, version 2: the current one.

use wincode::{SchemaRead, SchemaWrite};

use super::{Sequence, Time};
use crate::json::strict;
use crate::limits::{METADATA_DEPTH_MAX, METADATA_VALUES_MAX};
use crate::{BoundingBox, DetectedObject, EventDetected, Metadata, PayloadFault};

/// `EventDetected`, version 2.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct EventDetectedV2<'a> {
    pub(super) event_id: &'a str,
    pub(super) timestamp: Time,
    pub(super) camera_id: &'a str,
    pub(super) camera_name: Option<&'a str>,
    pub(super) motion_confidence: Option<f64>,
    pub(super) detected_objects: Sequence<ObjectV1<'a>>,
    pub(super) image_path: Option<&'a str>,
    pub(super) llm_description: Option<&'a str>,
    pub(super) description_expected: bool,
    /// Names, and the values as compact JSON texts.
    pub(super) metadata: Sequence<(&'a str, &'a str)>,
}

/// A detected object, as versions 1 and 2 of `EventDetected` have it.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct ObjectV1<'a> {
    label: &'a str,
    confidence: f64,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
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
            timestamp: event.timestamp.into(),
            camera_id: &event.camera_id,
            camera_name: event.camera_name.as_deref(),
            motion_confidence: event.motion_confidence,
            detected_objects: event.detected_objects.iter().map(ObjectV1::from).collect(),
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
            timestamp: wire.timestamp.into(),
            camera_id: wire.camera_id.to_owned(),
            camera_name: wire.camera_name.map(str::to_owned),
            motion_confidence: wire.motion_confidence,
            detected_objects: wire.detected_objects.into_iter().map(Into::into).collect(),
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

impl<'a> From<&'a DetectedObject> for ObjectV1<'a> {
    fn from(object: &'a DetectedObject) -> Self {
        let BoundingBox { x, y, width, height } = object.bbox;
        Self { label: &object.label, confidence: object.confidence, x, y, width, height }
    }
}

impl From<ObjectV1<'_>> for DetectedObject {
    fn from(wire: ObjectV1<'_>) -> Self {
        Self {
            label: wire.label.to_owned(),
            confidence: wire.confidence,
            bbox: BoundingBox { x: wire.x, y: wire.y, width: wire.width, height: wire.height },
        }
    }
}
