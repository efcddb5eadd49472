//! What tells of the recorder itself: `RecorderStarted`, `RecorderStopped`, `StorageWarning`.

use wincode::{SchemaRead, SchemaWrite};

use super::{Sequence, Time};
use crate::{RecorderStarted, RecorderStopped, StorageLevel, StorageWarning};

/// `RecorderStarted`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct RecorderStartedV1<'a> {
    at: Time,
    version: &'a str,
    time_zone: &'a str,
    cameras: Sequence<&'a str>,
}

/// `RecorderStopped`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct RecorderStoppedV1<'a> {
    at: Time,
    reason: &'a str,
    uptime_s: u64,
    events: u64,
}

/// `StorageWarning`, version 1.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct StorageWarningV1 {
    at: Time,
    level: LevelV1,
    used_bytes: u64,
    limit_bytes: u64,
}

/// A [`StorageLevel`] on the wire, numbered in this order. A new level needs a new version of `StorageWarning`.
#[derive(Debug, Clone, Copy, SchemaWrite, SchemaRead)]
enum LevelV1 {
    Normal,
    Approaching,
    Rotating,
    Exceeded,
}

impl<'a> From<&'a RecorderStarted> for RecorderStartedV1<'a> {
    fn from(event: &'a RecorderStarted) -> Self {
        Self {
            at: event.at.into(),
            version: &event.version,
            time_zone: &event.time_zone,
            cameras: event.cameras.iter().map(String::as_str).collect(),
        }
    }
}

impl From<RecorderStartedV1<'_>> for RecorderStarted {
    fn from(wire: RecorderStartedV1<'_>) -> Self {
        Self {
            at: wire.at.into(),
            version: wire.version.to_owned(),
            time_zone: wire.time_zone.to_owned(),
            cameras: wire.cameras.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl<'a> From<&'a RecorderStopped> for RecorderStoppedV1<'a> {
    fn from(event: &'a RecorderStopped) -> Self {
        Self {
            at: event.at.into(),
            reason: &event.reason,
            uptime_s: event.uptime_s,
            events: event.events,
        }
    }
}

impl From<RecorderStoppedV1<'_>> for RecorderStopped {
    fn from(wire: RecorderStoppedV1<'_>) -> Self {
        Self {
            at: wire.at.into(),
            reason: wire.reason.to_owned(),
            uptime_s: wire.uptime_s,
            events: wire.events,
        }
    }
}

impl From<&StorageWarning> for StorageWarningV1 {
    fn from(event: &StorageWarning) -> Self {
        let level = match event.level {
            StorageLevel::Normal => LevelV1::Normal,
            StorageLevel::Approaching => LevelV1::Approaching,
            StorageLevel::Rotating => LevelV1::Rotating,
            StorageLevel::Exceeded => LevelV1::Exceeded,
        };
        Self {
            at: event.at.into(),
            level,
            used_bytes: event.used_bytes,
            limit_bytes: event.limit_bytes,
        }
    }
}

impl From<StorageWarningV1> for StorageWarning {
    fn from(wire: StorageWarningV1) -> Self {
        let level = match wire.level {
            LevelV1::Normal => StorageLevel::Normal,
            LevelV1::Approaching => StorageLevel::Approaching,
            LevelV1::Rotating => StorageLevel::Rotating,
            LevelV1::Exceeded => StorageLevel::Exceeded,
        };
        Self {
            at: wire.at.into(),
            level,
            used_bytes: wire.used_bytes,
            limit_bytes: wire.limit_bytes,
        }
    }
}
