//! The vocabulary of the Lenslog recorder. No I/O.

mod event;
mod object;

pub use event::{
    CameraFound, CameraLost, CameraMinute, DescriptionAdded, DescriptionDeferred,
    DescriptionFailed, DetectorFailed, Event, EventDetected, EventEnded, EventRef, ImagePurged,
    Metadata, RecorderStarted, RecorderStopped, StorageLevel, StorageWarning, Suppressed,
};
pub use object::{BoundingBox, DetectedObject};
