//! The vocabulary of the Lenslog recorder: its events, their wire format, its upcasters, their JSON. No I/O.
//!
//! Every function here is pure: no clock, no randomness, no environment, no time zone. An [`Event`] is
//! [checked](Event::validate) at the door, [encoded](encode) into a payload for the journal, and [decoded](decode)
//! from any version that ever was. An [`EventDetected`] is also a line of JSON: [rendered](render_event) for
//! projections, [parsed](parse_line) from other systems.
//!
//! [`kind`] is the table of numbers, [`limits`] the table of limits. The wire structs are private: the bytes are
//! the contract, and the golden files in `tests/golden/` hold them.

mod event;
mod image_path;
mod invalid;
mod json;
pub mod kind;
pub mod limits;
mod object;
#[cfg(feature = "testing")]
pub mod testing;
mod upcast;
mod validate;
mod vocabulary;
mod wire;

pub use event::{
    CameraFound, CameraLost, CameraMinute, DescriptionAdded, DescriptionDeferred,
    DescriptionFailed, DetectorFailed, Event, EventDetected, EventEnded, EventRef, ImagePurged,
    Metadata, RecorderStarted, RecorderStopped, StorageLevel, StorageWarning, Suppressed,
    event_key,
};
pub use image_path::parse_image_path;
pub use invalid::InvalidEvent;
pub use json::{
    IngestedLine, LineError, parse_line, render_amendment, render_event, render_objects,
};
pub use object::{BoundingBox, DetectedObject};
pub use upcast::{DecodeError, PayloadFault, decode};
pub use vocabulary::RecorderVocabulary;
pub use wire::{Encoded, encode};
