//! The bytes on disk. `docs/FORMAT.md` is the reference; what it says is asserted here at compile time.
//!
//! Every structure is little-endian with explicit widths. None is ever read without its CRC-32 having been
//! checked first, so that decoding never meets bytes the journal did not write.

mod bytes;
mod footer;
mod frame;
mod header;
mod keys_file;
mod marker;
mod name;
mod record;
mod system;

pub(crate) use bytes::{Put, Take};
pub(crate) use footer::Footer;
pub(crate) use frame::{
    FRAME_HEADER_BYTES, FrameHeader, FrameSpan, Salt, encode_frame, frame_len, frames_in, reseed,
};
pub(crate) use header::{
    ANCESTORS_MAX, Ancestor, FRAMES_OFFSET, HeaderError, HeaderRead, PreviousEnd, SegmentHeader,
    read_header,
};
pub(crate) use keys_file::{KeyFilter, KeysHeader};
pub(crate) use marker::{
    CLAIM_OFFSET, Claim, DurabilityMarker, MARKER_BYTES, SLOT_BYTES, WriterId,
};
pub use name::SegmentName;
pub(crate) use record::{RECORD_BYTES_MIN, RecordsCursor, record_len};

pub use record::{Key, Kind, NewRecord, Record};
pub use system::{ClockStepped, Gap, PrunedSegment, PrunedThrough, Recovered, SystemRecord};
