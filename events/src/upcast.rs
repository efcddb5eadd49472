//! The reader of payloads: from any version of a kind to today's event, once and in one place.
//!
//! Pure functions of (kind, version, bytes). No other module ever sees an old version.

use crate::wire::{
    CameraFoundV1, CameraLostV1, CameraMinuteV1, DeliveryFailedV1, DescriptionAddedV1,
    DescriptionDeferredV1, DescriptionFailedV1, DetectorFailedV1, EventDetectedV1, EventDetectedV2,
    EventEndedV1, ImagePurgedV1, RecorderStartedV1, RecorderStoppedV1, StorageWarningV1, Wire,
    read,
};
use crate::{Event, kind};

/// A payload of a known kind that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A later release wrote it.
    #[error("{kind} is of version {found}, this program reads up to {known}: use a newer one")]
    NewerVersion {
        /// Name of the kind.
        kind: &'static str,
        /// The version it has.
        found: u16,
        /// The latest version this program reads.
        known: u16,
    },
    /// No release wrote it: versions begin at 1.
    #[error("{kind} is of version {found}, which no program writes")]
    NoSuchVersion {
        /// Name of the kind.
        kind: &'static str,
        /// The version it has.
        found: u16,
    },
    /// The bytes are not what that version writes.
    #[error("{kind} version {version}: {fault}")]
    Malformed {
        /// Name of the kind.
        kind: &'static str,
        /// The version it has.
        version: u16,
        /// What is wrong with the bytes.
        fault: PayloadFault,
    },
}

/// What is wrong with the bytes of a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadFault {
    /// It ends early, or holds a text that is not UTF-8 or a number that stands for nothing.
    #[error("unreadable near byte {offset}: {reason}")]
    Unreadable {
        /// How far it could be read.
        offset: usize,
        /// What was found there.
        reason: String,
    },
    /// It has bytes after its end.
    #[error("{found} bytes, expected {expected}")]
    TrailingBytes {
        /// Bytes that the event takes.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A value of the metadata is not one JSON value within the limits, or a name occurs twice.
    #[error("metadata {name}: {reason}")]
    Metadata {
        /// Name of the value, quoted and shortened.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Decodes a payload of any version of any kind into today's event.
///
/// `Ok(None)` is a kind that this program does not know: it passes through and is kept. A *known* kind in a
/// version that is newer than known is an error and not `None`: such an event belongs into projections that
/// this program keeps, so passing over it in silence would leave it out of them for good.
///
/// Never panics, whatever the bytes. Allocates at most 8 times the length of `payload`, and beside that for
/// parsed metadata what [`METADATA_VALUES_MAX`](crate::limits::METADATA_VALUES_MAX) JSON values take.
///
/// # Errors
///
/// [`DecodeError`]: the version is newer or no version at all, or the bytes are malformed. The outcome depends
/// on the arguments alone, so trying again is of no use.
pub fn decode(kind: u16, version: u16, payload: &[u8]) -> Result<Option<Event>, DecodeError> {
    let Some(known) = kind::find(kind) else {
        return Ok(None);
    };
    if version > known.version {
        let (kind, known) = (known.name, known.version);
        return Err(DecodeError::NewerVersion { kind, found: version, known });
    }
    if version == 0 {
        return Err(DecodeError::NoSuchVersion { kind: known.name, found: version });
    }
    decode_known(kind, version, payload).map_err(|fault| DecodeError::Malformed {
        kind: known.name,
        version,
        fault,
    })
}

fn decode_known(kind: u16, version: u16, payload: &[u8]) -> Result<Option<Event>, PayloadFault> {
    let event = match (kind, version) {
        (kind::EVENT_DETECTED, 1) => Event::Detected(
            EventDetectedV2::from(read::<EventDetectedV1<'_>>(payload)?).try_into()?,
        ),
        (kind::EVENT_DETECTED, _) => {
            Event::Detected(read::<EventDetectedV2<'_>>(payload)?.try_into()?)
        }
        (kind::EVENT_ENDED, _) => Event::Ended(read::<EventEndedV1<'_>>(payload)?.into_domain()),
        (kind::CAMERA_MINUTE, _) => {
            Event::CameraMinute(read::<CameraMinuteV1<'_>>(payload)?.into_domain())
        }
        (kind::CAMERA_LOST, _) => {
            Event::CameraLost(read::<CameraLostV1<'_>>(payload)?.into_domain())
        }
        (kind::CAMERA_FOUND, _) => {
            Event::CameraFound(read::<CameraFoundV1<'_>>(payload)?.into_domain())
        }
        (kind::DETECTOR_FAILED, _) => {
            Event::DetectorFailed(read::<DetectorFailedV1<'_>>(payload)?.into_domain())
        }
        (kind::DESCRIPTION_ADDED, _) => {
            Event::DescriptionAdded(read::<DescriptionAddedV1<'_>>(payload)?.into_domain())
        }
        (kind::DESCRIPTION_DEFERRED, _) => {
            Event::DescriptionDeferred(read::<DescriptionDeferredV1<'_>>(payload)?.into_domain())
        }
        (kind::DESCRIPTION_FAILED, _) => {
            Event::DescriptionFailed(read::<DescriptionFailedV1<'_>>(payload)?.into_domain())
        }
        (kind::IMAGE_PURGED, _) => {
            Event::ImagePurged(read::<ImagePurgedV1<'_>>(payload)?.into_domain())
        }
        (kind::RECORDER_STARTED, _) => {
            Event::RecorderStarted(read::<RecorderStartedV1<'_>>(payload)?.into_domain())
        }
        (kind::RECORDER_STOPPED, _) => {
            Event::RecorderStopped(read::<RecorderStoppedV1<'_>>(payload)?.into_domain())
        }
        (kind::STORAGE_WARNING, _) => {
            Event::StorageWarning(read::<StorageWarningV1>(payload)?.into_domain())
        }
        (kind::DELIVERY_FAILED, _) => {
            Event::DeliveryFailed(read::<DeliveryFailedV1<'_>>(payload)?.into_domain())
        }
        // The table of kinds has no other rows; a test decodes every one of them.
        _ => return Ok(None),
    };
    Ok(Some(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_passes_through() {
        for kind in [0, 15, 1_000, kind::RESERVED_FROM, u16::MAX] {
            assert_eq!(decode(kind, 1, b"anything"), Ok(None));
        }
    }

    #[test]
    fn a_known_kind_of_a_newer_version_is_an_error_that_asks_for_a_newer_program() {
        let error = decode(kind::EVENT_DETECTED, 3, b"").unwrap_err();
        assert_eq!(error, DecodeError::NewerVersion { kind: "EventDetected", found: 3, known: 2 });
        let text = "EventDetected is of version 3, this program reads up to 2: use a newer one";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn version_zero_of_a_known_kind_is_an_error() {
        for row in kind::TABLE {
            let error = DecodeError::NoSuchVersion { kind: row.name, found: 0 };
            assert_eq!(decode(row.number, 0, b""), Err(error));
        }
    }

    #[test]
    fn every_version_of_every_kind_in_the_table_has_a_reader() {
        for row in kind::TABLE {
            for version in 1..=row.version {
                let error = decode(row.number, version, b"").unwrap_err();
                assert!(matches!(error, DecodeError::Malformed { .. }), "{}: {error}", row.name);
            }
        }
    }
}
