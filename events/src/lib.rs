//! What the Lenslog recorder journals: its events, their wire format, its upcasters, their JSON. No I/O.
//!
//! Every function here is pure: no clock, no randomness, no environment, no time zone. An [`Event`] is
//! [checked](Event::validate) at the door, [encoded](encode) into a payload for the journal, and [decoded](decode)
//! from any version that ever was. An [`EventDetected`] is also a line of JSON: [rendered](render_event) for
//! projections, [parsed](parse_line) from other systems.
//!
//! [`kind`] is the table of numbers, [`limits`] the table of limits. The wire structs are private: the bytes are
//! the contract, and the golden files in `tests/golden/` hold them.

mod codec;
mod event;
mod image_path;
mod invalid;
mod json;
pub mod kind;
pub mod limits;
#[cfg(feature = "testing")]
pub mod testing;
mod upcast;
mod validate;
mod wire;

pub use codec::{RecorderCodec, camera_tag, event_tag};
pub use event::{
    BoundingBox, CameraFound, CameraLost, CameraMinute, DeliveryFailed, DescriptionAdded,
    DescriptionDeferred, DescriptionFailed, DetectedObject, DetectorFailed, Event, EventDetected,
    EventEnded, EventRef, ImagePurged, Metadata, RecorderStarted, RecorderStopped, StorageLevel,
    StorageWarning, Suppressed, event_key,
};
pub use image_path::parse_image_path;
pub use invalid::InvalidEvent;
pub use json::{
    IngestedLine, LineError, parse_line, render_amendment, render_event, render_event_in_full,
    render_objects, rounded_confidence,
};
pub use upcast::{DecodeError, PayloadFault, decode};
pub use wire::{EncodedEvent, encode};
