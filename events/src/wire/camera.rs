//! What tells of cameras and of the detector: `CameraMinute`, `CameraLost`, `CameraFound`, `DetectorFailed`.

use wincode::{SchemaRead, SchemaWrite};

use super::{Sequence, Time};
use crate::{CameraFound, CameraLost, CameraMinute, DetectorFailed, Suppressed};

/// `CameraMinute`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct CameraMinuteV1<'a> {
    camera_id: &'a str,
    minute: Time,
    frames: u64,
    dropped: u64,
    max_motion: f64,
    best_label: Option<&'a str>,
    best_confidence: Option<f64>,
    suppressed: Sequence<SuppressedV1<'a>>,
}

/// A [`Suppressed`] on the wire.
#[derive(Debug, SchemaWrite, SchemaRead)]
struct SuppressedV1<'a> {
    reason: &'a str,
    count: u64,
}

/// `CameraLost`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct CameraLostV1<'a> {
    camera_id: &'a str,
    at: Time,
    reason: &'a str,
}

/// `CameraFound`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct CameraFoundV1<'a> {
    camera_id: &'a str,
    at: Time,
}

/// `DetectorFailed`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct DetectorFailedV1<'a> {
    camera_id: Option<&'a str>,
    at: Time,
    reason: &'a str,
}

impl<'a> From<&'a CameraMinute> for CameraMinuteV1<'a> {
    fn from(event: &'a CameraMinute) -> Self {
        let suppressed =
            |each: &'a Suppressed| SuppressedV1 { reason: &each.reason, count: each.count };
        Self {
            camera_id: &event.camera_id,
            minute: event.minute.into(),
            frames: event.frames,
            dropped: event.dropped,
            max_motion: event.max_motion,
            best_label: event.best_label.as_deref(),
            best_confidence: event.best_confidence,
            suppressed: event.suppressed.iter().map(suppressed).collect(),
        }
    }
}

impl From<CameraMinuteV1<'_>> for CameraMinute {
    fn from(wire: CameraMinuteV1<'_>) -> Self {
        let suppressed = |each: SuppressedV1<'_>| Suppressed {
            reason: each.reason.to_owned(),
            count: each.count,
        };
        Self {
            camera_id: wire.camera_id.to_owned(),
            minute: wire.minute.into(),
            frames: wire.frames,
            dropped: wire.dropped,
            max_motion: wire.max_motion,
            best_label: wire.best_label.map(str::to_owned),
            best_confidence: wire.best_confidence,
            suppressed: wire.suppressed.into_iter().map(suppressed).collect(),
        }
    }
}

impl<'a> From<&'a CameraLost> for CameraLostV1<'a> {
    fn from(event: &'a CameraLost) -> Self {
        Self { camera_id: &event.camera_id, at: event.at.into(), reason: &event.reason }
    }
}

impl From<CameraLostV1<'_>> for CameraLost {
    fn from(wire: CameraLostV1<'_>) -> Self {
        Self {
            camera_id: wire.camera_id.to_owned(),
            at: wire.at.into(),
            reason: wire.reason.to_owned(),
        }
    }
}

impl<'a> From<&'a CameraFound> for CameraFoundV1<'a> {
    fn from(event: &'a CameraFound) -> Self {
        Self { camera_id: &event.camera_id, at: event.at.into() }
    }
}

impl From<CameraFoundV1<'_>> for CameraFound {
    fn from(wire: CameraFoundV1<'_>) -> Self {
        Self { camera_id: wire.camera_id.to_owned(), at: wire.at.into() }
    }
}

impl<'a> From<&'a DetectorFailed> for DetectorFailedV1<'a> {
    fn from(event: &'a DetectorFailed) -> Self {
        Self { camera_id: event.camera_id.as_deref(), at: event.at.into(), reason: &event.reason }
    }
}

impl From<DetectorFailedV1<'_>> for DetectorFailed {
    fn from(wire: DetectorFailedV1<'_>) -> Self {
        Self {
            camera_id: wire.camera_id.map(str::to_owned),
            at: wire.at.into(),
            reason: wire.reason.to_owned(),
        }
    }
}
