//! The wire format of payloads: one versioned struct for each version of each kind, apart from the domain types.
//!
//! The format is that of bincode 1: fixed-width little-endian integers, floats by their bits, `u64` lengths in
//! front of texts and sequences, one byte of 0 or 1 in front of an optional value, `u32` numbers of variants.
//! It is written and read with wincode. A wire struct is never changed once a release has written it: what
//! changes is a new struct with the next version, and an upcast from the last one.
//!
//! Wire structs borrow from the payload. A hostile length therefore finds the bytes missing before anything
//! is allocated, and [`Sequence`] does the same for counts.

mod detected;
mod frozen;

use std::collections::LinkedList;

use wincode::config::{Configuration, DEFAULT_PREALLOCATION_SIZE_LIMIT};
use wincode::io::Reader;
use wincode::{SchemaRead, SchemaWrite};

use crate::{Event, PayloadFault};

pub(crate) use detected::{EventDetectedV1, EventDetectedV2};
pub(crate) use frozen::{
    CameraFoundV1, CameraLostV1, CameraMinuteV1, DeliveryFailedV1, DescriptionAddedV1,
    DescriptionDeferredV1, DescriptionFailedV1, DetectorFailedV1, EventEndedV1, ImagePurgedV1,
    RecorderStartedV1, RecorderStoppedV1, StorageWarningV1, Wire,
};

/// A sequence on the wire.
///
/// A list and not a vector because wincode fills it element by element: a count that lies allocates nothing
/// beyond the elements that are really there, whereas a vector would be allocated before the first is read.
pub(crate) type Sequence<T> = LinkedList<T>;

/// Largest sequence that is read, in bytes of memory: the elements of a whole frame of the journal. Nothing here
/// is allocated ahead ([`Sequence`]); the limit is for a container that one day should.
const PREALLOCATION_BYTES_MAX: usize = 32 * 1024 * 1024;

type ReadConfig = Configuration<true, PREALLOCATION_BYTES_MAX>;
type WriteConfig = Configuration<true, { usize::MAX }>;

const _: () = assert!(DEFAULT_PREALLOCATION_SIZE_LIMIT < PREALLOCATION_BYTES_MAX);

/// An event as a journal stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEvent {
    /// Its number in [`kind::TABLE`](crate::kind::TABLE).
    pub kind: u16,
    /// The version of its wire struct, always the current one.
    pub version: u16,
    /// Its wire struct in the bincode 1 format.
    pub payload: Vec<u8>,
}

/// Encodes an event in the current version of its kind.
///
/// Total: an event that is not valid is encoded, too. Its producer calls [`Event::validate`] before.
///
/// ```
/// use lenslog_events::{CameraFound, Event, decode, encode, kind};
/// use lenslog_journal::Timestamp;
///
/// let event = Event::CameraFound(CameraFound {
///     camera_id: "camera_1".to_owned(),
///     at: Timestamp { utc_micros: 1_700_000_000_000_000, offset_minutes: 60 },
/// });
/// let encoded = encode(&event);
/// assert_eq!(encoded.kind, kind::CAMERA_FOUND);
/// assert_eq!(decode(encoded.kind, encoded.version, &encoded.payload)?, Some(event));
/// # Ok::<(), lenslog_events::DecodeError>(())
/// ```
#[must_use]
pub fn encode(event: &Event) -> EncodedEvent {
    let payload = match event {
        Event::Detected(event) => {
            let texts = detected::metadata_texts(&event.metadata);
            write(&EventDetectedV2::new(event, &texts))
        }
        Event::Ended(event) => write(&EventEndedV1::of(event)),
        Event::CameraMinute(event) => write(&CameraMinuteV1::of(event)),
        Event::CameraLost(event) => write(&CameraLostV1::of(event)),
        Event::CameraFound(event) => write(&CameraFoundV1::of(event)),
        Event::DetectorFailed(event) => write(&DetectorFailedV1::of(event)),
        Event::DescriptionAdded(event) => write(&DescriptionAddedV1::of(event)),
        Event::DescriptionDeferred(event) => write(&DescriptionDeferredV1::of(event)),
        Event::DescriptionFailed(event) => write(&DescriptionFailedV1::of(event)),
        Event::ImagePurged(event) => write(&ImagePurgedV1::of(event)),
        Event::RecorderStarted(event) => write(&RecorderStartedV1::of(event)),
        Event::RecorderStopped(event) => write(&RecorderStoppedV1::of(event)),
        Event::StorageWarning(event) => write(&StorageWarningV1::of(event)),
        Event::DeliveryFailed(event) => write(&DeliveryFailedV1::of(event)),
    };
    let kind = event.kind();
    EncodedEvent { kind: kind.number, version: kind.version, payload }
}

fn write<T: SchemaWrite<WriteConfig, Src = T>>(wire: &T) -> Vec<u8> {
    match wincode::config::serialize(wire, WriteConfig::new()) {
        Ok(payload) => payload,
        // The buffer has the size that wincode itself computed, and there is no limit to exceed.
        Err(error) => unreachable!("wincode writes any wire struct to memory: {error}"),
    }
}

/// Reads a whole payload as one wire struct.
pub(crate) fn read<'a, T>(payload: &'a [u8]) -> Result<T, PayloadFault>
where
    T: SchemaRead<'a, ReadConfig, Dst = T>,
{
    let mut rest = payload;
    let wire = T::get(rest.by_ref()).map_err(|error| PayloadFault::Unreadable {
        offset: payload.len() - rest.len(),
        reason: error.to_string(),
    })?;
    if !rest.is_empty() {
        let expected = payload.len() - rest.len();
        return Err(PayloadFault::TrailingBytes { expected, found: payload.len() });
    }
    Ok(wire)
}
