//! The footer of a sealed segment: one block after its last frame, at the end of the file.
//!
//! Everything in it can be derived from the segment; it saves pruning and opening from reading all of it.

use super::frame::Salt;
use super::{Put, SegmentName, Take};
use crate::limits::{BLOCK_BYTES, SEGMENT_OFFSET_MAX, SEQ_MAX};
use crate::{Day, Seq};

const MAGIC: [u8; 8] = *b"LENSLOGF";
const BLOCK: usize = BLOCK_BYTES as usize;
const COVERED_FROM: usize = 12;

/// Numbers of frames and records in a segment, and their days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Records that have a key.
    pub(crate) keyed: u64,
    pub(crate) days: Option<(Day, Day)>,
}

impl Counts {
    pub(crate) fn add_day(&mut self, day: Day) {
        let (min, max) = self.days.unwrap_or((day, day));
        self.days = Some((min.min(day), max.max(day)));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.records += other.records;
        self.keyed += other.keyed;
        if let Some((min, max)) = other.days {
            self.add_day(min);
            self.add_day(max);
        }
    }
}

/// The decoded footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) salt: Salt,
    pub(crate) name: SegmentName,
    /// First offset after the content; the footer is in the next whole block.
    pub(crate) end_offset: u64,
    pub(crate) end_seq: Seq,
    pub(crate) counts: Counts,
    pub(crate) digest: [u8; 32],
}

impl Footer {
    /// Offset of the footer of a segment that ends at `end_offset`.
    pub(crate) const fn offset_for(end_offset: u64) -> u64 {
        end_offset.next_multiple_of(BLOCK_BYTES)
    }

    pub(crate) fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let (day_min, day_max) = self.counts.days.unwrap_or((Day(i32::MAX), Day(i32::MIN)));
        Put::new(&mut block)
            .bytes(&MAGIC)
            .skip(4)
            .i32(self.name.day.0)
            .u64(self.salt.0)
            .u64(self.name.base.0)
            .u64(self.end_offset)
            .u64(self.end_seq.0)
            .u64(self.counts.frames)
            .u64(self.counts.records)
            .u64(self.counts.keyed)
            .i32(day_min.0)
            .i32(day_max.0)
            .bytes(&self.digest);
        let crc = crc32fast::hash(&block[COVERED_FROM..]);
        Put::new(&mut block).skip(MAGIC.len()).u32(crc);
        block
    }

    /// Reads the last block of a file; `None` if it is not the footer of this segment.
    pub(crate) fn decode(block: &[u8], name: SegmentName, salt: Salt) -> Option<Self> {
        let block = block.get(..BLOCK)?;
        let mut take = Take::new(block);
        if take.array() != MAGIC || take.u32() != crc32fast::hash(&block[COVERED_FROM..]) {
            return None;
        }
        let day = Day(take.i32());
        let found_salt = Salt(take.u64());
        let found_name = SegmentName { base: Seq(take.u64()), day };
        let (end_offset, end_seq) = (take.u64(), Seq(take.u64()));
        let (frames, records, keyed) = (take.u64(), take.u64(), take.u64());
        let days = (Day(take.i32()), Day(take.i32()));
        let days = Some(days).filter(|(min, max)| min <= max);
        let digest = take.array();
        let sane = end_offset <= SEGMENT_OFFSET_MAX && end_seq.0 <= SEQ_MAX;
        (sane && found_salt == salt && found_name == name).then_some(Self {
            salt,
            name,
            end_offset,
            end_seq,
            counts: Counts { frames, records, keyed, days },
            digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_round_trips_and_no_flipped_byte_passes() {
        let name = SegmentName { base: Seq(42), day: Day(20_000) };
        let mut footer = Footer {
            salt: Salt(3),
            name,
            end_offset: 12_288,
            end_seq: Seq(50),
            counts: Counts {
                frames: 2,
                records: 8,
                keyed: 1,
                days: Some((Day(19_999), Day(20_001))),
            },
            digest: [9; 32],
        };
        for days in [footer.counts.days, None] {
            footer.counts.days = days;
            assert_eq!(Footer::decode(&footer.encode(), name, Salt(3)), Some(footer));
        }
        assert_eq!(Footer::decode(&footer.encode(), name, Salt(4)), None);
        for index in 0..BLOCK {
            let mut damaged = footer.encode();
            damaged[index] ^= 1;
            assert_eq!(Footer::decode(&damaged, name, Salt(3)), None, "byte {index}");
        }
    }
}
