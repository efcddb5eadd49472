//! The vocabulary of the Lenslog recorder: its events, their numbers and their limits. No I/O.

mod event;
mod image_path;
mod invalid;
mod json;
pub mod kind;
pub mod limits;
mod object;
#[cfg(feature = "testing")]
pub mod testing;
mod validate;

pub use event::{
    CameraFound, CameraLost, CameraMinute, DescriptionAdded, DescriptionDeferred,
    DescriptionFailed, DetectorFailed, Event, EventDetected, EventEnded, EventRef, ImagePurged,
    Metadata, RecorderStarted, RecorderStopped, StorageLevel, StorageWarning, Suppressed,
    event_key,
};
pub use image_path::parse_image_path;
pub use invalid::InvalidEvent;
pub use json::{IngestedLine, LineError, parse_line, render_event, render_objects};
pub use object::{BoundingBox, DetectedObject};
