//! The bytes on disk. `docs/FORMAT.md` is the reference; sizes are asserted at compile time.
//!
//! Every structure is little-endian with explicit widths. None is ever read without its CRC-32 having been
//! checked first, so that decoding never meets bytes the journal did not write.

mod control;
mod footer;
mod frame;
mod header;
mod keys_file;
mod marker;
mod record;
mod tags;
mod tags_file;

pub(crate) use footer::{Counts, Footer};
pub(crate) use frame::{
    FRAME_HEADER_BYTES, FrameHeader, FrameSpan, Salt, Stamp, encode_frame, frame_len, frames_in,
    restamp,
};
pub(crate) use header::{
    ANCESTORS_MAX, Ancestor, ContentEnd, FRAMES_OFFSET, HeaderError, HeaderRead, PreviousEnd,
    SegmentHeader, read_header,
};
pub(crate) use keys_file::{KeyFilter, KeysHeader};
pub(crate) use marker::{
    CLAIM_OFFSET, Claim, DurabilityMarker, MARKER_BYTES, SLOT_BYTES, WriterId,
};
pub(crate) use record::{RECORD_BYTES_MIN, RecordsCursor, record_len};

pub use control::{
    ClockStepped, ControlRecord, Gap, PrunedDays, PrunedSegment, PrunedThrough, Recovered,
};
pub(crate) use tags::check_tag;
pub(crate) use tags_file::{TagsFile, TagsHeader, TermEntry, decode_postings};

pub use record::{Key, Kind, NewRecord, OwnedRecord, Record};
pub use tags::{Extensions, TagList, Tags};

use crate::{Day, Seq};

/// First seq and creation day of a segment: the parts of its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Seq of its first record.
    pub base: Seq,
    /// Day it was begun.
    pub day: Day,
}

const SEQ_DIGITS: usize = 20;
const SUFFIX: &str = ".seg";

impl SegmentName {
    /// Reads a file name; anything that is not exactly the name of a segment is `None`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (base, rest) = name.split_at_checked(SEQ_DIGITS)?;
        if !base.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let day = rest.strip_prefix('-')?.strip_suffix(SUFFIX)?;
        Some(Self { base: Seq(base.parse().ok()?), day: day.parse().ok()? })
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:020}-{}{SUFFIX}", self.base.0, self.day)
    }

    /// Name of the file that holds the segment's sorted keys.
    pub(crate) fn keys_file_name(self) -> String {
        format!("{:020}-{}.keys", self.base.0, self.day)
    }

    /// Name of the file that holds the segment's terms.
    pub(crate) fn tags_file_name(self) -> String {
        format!("{:020}-{}.tags", self.base.0, self.day)
    }
}

/// Writes fields one after another into a buffer that is large enough.
pub(crate) struct Put<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> Put<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at + bytes.len();
        debug_assert!(end <= self.buffer.len(), "a field is outside of its structure");
        if let Some(target) = self.buffer.get_mut(self.at..end) {
            target.copy_from_slice(bytes);
        }
        self.at = end;
        self
    }

    pub(crate) const fn skip(&mut self, count: usize) -> &mut Self {
        self.at += count;
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i16(&mut self, value: i16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Bytes written and skipped so far.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }
}

/// Reads fields one after another; beyond the end every field is zero and [`Take::is_short`] is set.
///
/// Callers check lengths and CRCs first, so a short read is impossible in practice; it is still not a panic.
pub(crate) struct Take<'a> {
    bytes: &'a [u8],
    short: bool,
}

impl<'a> Take<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, short: false }
    }

    pub(crate) fn slice(&mut self, count: usize) -> &'a [u8] {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                taken
            }
            None => {
                self.short = true;
                self.bytes = &[];
                &[]
            }
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.slice(N).try_into().unwrap_or([0; N])
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.slice(count);
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }

    /// Whether more was asked for than there was.
    pub(crate) const fn is_short(&self) -> bool {
        self.short
    }

    /// Bytes not taken yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_by_seq() {
        let name = SegmentName { base: Seq(42), day: "2026-11-23".parse().unwrap() };
        assert_eq!(name.file_name(), "00000000000000000042-2026-11-23.seg");
        assert_eq!(SegmentName::parse(&name.file_name()), Some(name));
        let last = SegmentName { base: Seq(u64::MAX), day: Day::MAX };
        assert_eq!(SegmentName::parse(&last.file_name()), Some(last));
    }

    #[test]
    fn other_files_are_no_segments() {
        for name in [
            "",
            "spare",
            "42-2026-11-23.seg",
            "00000000000000000042-2026-13-23.seg",
            "00000000000000000042-2026-11-23.seg.tmp",
            "+0000000000000000042-2026-11-23.seg",
            "99999999999999999999-2026-11-23.seg",
            "0000000000000000004é-2026-11-23.seg",
        ] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
    }
}
