//! The witness: two slots in a file of its own that say how far the journal is durable.
//!
//! The leader writes one slot after every sync that returned, in turn, and does not sync it. Other processes read
//! it to know how far they may read; recovery reads it to know what was acknowledged.

use super::frame::Salt;
use super::{Put, SegmentName, Take};
use crate::carried::Counts;
use crate::limits::{BLOCK_BYTES, SEGMENT_OFFSET_MAX, SEQ_MAX};
use crate::{Day, Seq};

const MAGIC: [u8; 8] = *b"LENSLOGW";
const COVERED_FROM: usize = 12;
const SLOTS: u64 = 2;

/// Size of the witness file: a slot in each of two blocks, so that one bad sector leaves the other.
pub(crate) const WITNESS_BYTES: u64 = SLOTS * BLOCK_BYTES;

const FLAG_CLEAN: u32 = 1;
const FLAG_NOTABLE: u32 = 2;

/// The decoded witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Witness {
    /// Rises by one with every slot written; the higher one is the newer.
    pub(crate) generation: u64,
    pub(crate) journal: [u8; 16],
    pub(crate) salt: Salt,
    pub(crate) name: SegmentName,
    /// First offset of the segment that is not durable.
    pub(crate) offset: u64,
    /// The seq behind the last durable record.
    pub(crate) seq: Seq,
    /// Chained digest of the segment's whole digest blocks before `offset`.
    pub(crate) digest: [u8; 32],
    /// What the segment holds before `offset`.
    pub(crate) counts: Counts,
    /// The journal was closed in an orderly way: nothing stands behind `offset`.
    pub(crate) clean: bool,
    /// The segment holds records that an opening must see: tombstones, gaps.
    pub(crate) notable: bool,
}

impl Witness {
    /// Bytes of one slot.
    pub(crate) const SLOT_BYTES: usize = 160;

    /// Where the slots stand.
    pub(crate) const fn slot_offsets() -> [u64; SLOTS as usize] {
        [0, BLOCK_BYTES]
    }

    /// Where the slot of this generation stands.
    pub(crate) const fn slot_offset(&self) -> u64 {
        (self.generation % SLOTS) * BLOCK_BYTES
    }

    pub(crate) fn encode(&self) -> [u8; Self::SLOT_BYTES] {
        let mut slot = [0; Self::SLOT_BYTES];
        let mut flags = 0;
        flags |= if self.clean { FLAG_CLEAN } else { 0 };
        flags |= if self.notable { FLAG_NOTABLE } else { 0 };
        let (day_min, day_max) = self.counts.days.unwrap_or((Day(i32::MAX), Day(i32::MIN)));
        Put::new(&mut slot)
            .bytes(&MAGIC)
            .skip(4)
            .u32(flags)
            .u64(self.generation)
            .bytes(&self.journal)
            .u64(self.salt.0)
            .u64(self.name.base.0)
            .u64(self.offset)
            .u64(self.seq.0)
            .u64(self.counts.frames)
            .u64(self.counts.records)
            .u64(self.counts.keyed)
            .i32(self.name.day.0)
            .i32(day_min.0)
            .i32(day_max.0)
            .skip(4)
            .bytes(&self.digest);
        let crc = crc32fast::hash(&slot[COVERED_FROM..]);
        Put::new(&mut slot).skip(MAGIC.len()).u32(crc);
        slot
    }

    /// Reads one slot; `None` where it is none.
    pub(crate) fn decode(slot: &[u8]) -> Option<Self> {
        let slot = slot.get(..Self::SLOT_BYTES)?;
        let mut take = Take::new(slot);
        if take.array() != MAGIC || take.u32() != crc32fast::hash(&slot[COVERED_FROM..]) {
            return None;
        }
        let flags = take.u32();
        let generation = take.u64();
        let journal = take.array();
        let salt = Salt(take.u64());
        let base = Seq(take.u64());
        let (offset, seq) = (take.u64(), Seq(take.u64()));
        if offset > SEGMENT_OFFSET_MAX || seq.0 > SEQ_MAX || base.0 > SEQ_MAX {
            return None;
        }
        let (frames, records, keyed) = (take.u64(), take.u64(), take.u64());
        let name = SegmentName { base, day: Day(take.i32()) };
        let days = (Day(take.i32()), Day(take.i32()));
        let days = Some(days).filter(|(min, max)| min <= max);
        take.skip(4);
        Some(Self {
            generation,
            journal,
            salt,
            name,
            offset,
            seq,
            digest: take.array(),
            counts: Counts { frames, records, keyed, days },
            clean: flags & FLAG_CLEAN != 0,
            notable: flags & FLAG_NOTABLE != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(generation: u64) -> Witness {
        Witness {
            generation,
            journal: [1; 16],
            salt: Salt(2),
            name: SegmentName { base: Seq(42), day: Day(20_000) },
            offset: 12_288,
            seq: Seq(50),
            digest: [9; 32],
            counts: Counts { frames: 3, records: 8, keyed: 8, days: Some((Day(1), Day(2))) },
            clean: true,
            notable: false,
        }
    }

    #[test]
    fn a_slot_round_trips_and_no_flipped_byte_passes() {
        for generation in 6..=7 {
            let witness = witness(generation);
            assert!(Witness::slot_offsets().contains(&witness.slot_offset()));
            assert_eq!(Witness::decode(&witness.encode()), Some(witness));
            for index in 0..Witness::SLOT_BYTES {
                let mut damaged = witness.encode();
                damaged[index] ^= 0x20;
                assert_eq!(Witness::decode(&damaged), None, "byte {index}");
            }
        }
        assert_ne!(witness(6).slot_offset(), witness(7).slot_offset());
        assert_eq!(Witness::decode(&[0; Witness::SLOT_BYTES]), None);
    }
}
