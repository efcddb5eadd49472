//! The durability marker: slots in the file `WITNESS` with the durable end of the journal and its writer.
//!
//! The leader writes one of two slots after every successful sync, in turn, and does not sync it. Other processes read it to
//! learn how far they may read; recovery reads it to learn which records were acknowledged. A third slot holds the claim
//! of the process that opened the journal last: only an opening and a clean shutdown write it.

use super::frame::Salt;
use super::{Counts, Put, SegmentName, Take};
use crate::limits::{BLOCK_BYTES, SEGMENT_OFFSET_MAX, SEQ_MAX};
use crate::{Day, Seq};

const MAGIC: [u8; 8] = *b"LENSLOGW";
const CLAIM_MAGIC: [u8; 8] = *b"LENSLOGC";
const COVERED_FROM: usize = 12;
const SLOTS: u64 = 2;
const HOST_BYTES: usize = 64;

/// Bytes of one slot, the claim's too: one sector, so that a power cut leaves the old or the new one.
pub(crate) const SLOT_BYTES: usize = 512;

/// Offset of the claim, after the slots. Each has its own block, so that one bad sector does not hit the others.
pub(crate) const CLAIM_OFFSET: u64 = SLOTS * BLOCK_BYTES;

/// Size of the file.
pub(crate) const MARKER_BYTES: u64 = CLAIM_OFFSET + BLOCK_BYTES;

const FLAG_CLEAN: u32 = 1;
const FLAG_CONTROL: u32 = 2;
const FLAG_UNNAMED: u32 = 4;
const FLAG_RELEASED: u32 = 1;

/// Random id of one opening of a journal.
pub(crate) type WriterId = [u8; 16];

/// A decoded slot of the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DurabilityMarker {
    /// Rises by one with every slot written; the higher one is the newer.
    pub(crate) generation: u64,
    pub(crate) journal: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    /// The opening that wrote it.
    pub(crate) writer: WriterId,
    pub(crate) salt: Salt,
    pub(crate) name: SegmentName,
    /// Inode of the segment's file: another inode proves that the file is a copy. 0 if unknown.
    pub(crate) inode: u64,
    /// First offset of the segment that is not durable.
    pub(crate) offset: u64,
    /// The seq after the last durable record.
    pub(crate) seq: Seq,
    /// Chained digest of the segment's whole digest blocks before `offset`.
    pub(crate) digest: [u8; 32],
    /// What the segment holds before `offset`.
    pub(crate) counts: Counts,
    /// The journal was closed cleanly: the file holds nothing after `offset`.
    pub(crate) clean: bool,
    /// The segment holds records that an opening must see: tombstones, gaps.
    pub(crate) has_control: bool,
    /// `IDENTITY` could not be written when the segment was begun, so that it names an older one.
    pub(crate) unnamed: bool,
}

/// The process that opened the journal last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) writer: WriterId,
    /// It closed the journal cleanly. Otherwise it may still be writing.
    pub(crate) released: bool,
    pub(crate) process: u32,
    /// Name of its machine, for messages only.
    pub(crate) host: String,
}

impl DurabilityMarker {
    /// Offsets of the slots.
    pub(crate) const fn slot_offsets() -> [u64; SLOTS as usize] {
        [0, BLOCK_BYTES]
    }

    /// Offset of the slot of this generation.
    pub(crate) const fn slot_offset(&self) -> u64 {
        (self.generation % SLOTS) * BLOCK_BYTES
    }

    pub(crate) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        let mut flags = 0;
        flags |= if self.clean { FLAG_CLEAN } else { 0 };
        flags |= if self.has_control { FLAG_CONTROL } else { 0 };
        flags |= if self.unnamed { FLAG_UNNAMED } else { 0 };
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
            .bytes(&self.digest)
            .bytes(&self.incarnation)
            .bytes(&self.writer)
            .u64(self.inode);
        seal(&mut slot);
        slot
    }

    /// Reads one slot; `None` if it is not valid.
    pub(crate) fn decode(slot: &[u8]) -> Option<Self> {
        let mut take = checked(slot, MAGIC)?;
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
            incarnation: take.array(),
            writer: take.array(),
            inode: take.u64(),
            counts: Counts { frames, records, keyed, days },
            clean: flags & FLAG_CLEAN != 0,
            has_control: flags & FLAG_CONTROL != 0,
            unnamed: flags & FLAG_UNNAMED != 0,
        })
    }
}

impl Claim {
    pub(crate) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        let mut host = [0; HOST_BYTES];
        for (to, from) in host.iter_mut().zip(self.host.bytes()) {
            *to = from;
        }
        Put::new(&mut slot)
            .bytes(&CLAIM_MAGIC)
            .skip(4)
            .u32(if self.released { FLAG_RELEASED } else { 0 })
            .bytes(&self.writer)
            .u32(self.process)
            .skip(4)
            .bytes(&host);
        seal(&mut slot);
        slot
    }

    /// Reads the claim's slot; `None` if it is not valid.
    pub(crate) fn decode(slot: &[u8]) -> Option<Self> {
        let mut take = checked(slot, CLAIM_MAGIC)?;
        let released = take.u32() & FLAG_RELEASED != 0;
        let (writer, process) = (take.array(), take.u32());
        take.skip(4);
        let host: [u8; HOST_BYTES] = take.array();
        let host = String::from_utf8_lossy(&host);
        let host: String = host.chars().take_while(|character| !character.is_control()).collect();
        Some(Self { writer, released, process, host })
    }

    /// The process that holds it, for messages.
    pub(crate) fn holder(&self) -> String {
        format!("process {} on {}", self.process, self.host)
    }
}

fn seal(slot: &mut [u8; SLOT_BYTES]) {
    let crc = crc32fast::hash(&slot[COVERED_FROM..]);
    Put::new(slot).skip(MAGIC.len()).u32(crc);
}

/// The fields after the CRC of a valid slot with this magic.
fn checked(slot: &[u8], magic: [u8; 8]) -> Option<Take<'_>> {
    let slot = slot.get(..SLOT_BYTES)?;
    let mut take = Take::new(slot);
    let whole = take.array() == magic && take.u32() == crc32fast::hash(&slot[COVERED_FROM..]);
    whole.then_some(take)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(generation: u64) -> DurabilityMarker {
        DurabilityMarker {
            generation,
            journal: [1; 16],
            incarnation: [3; 16],
            writer: [4; 16],
            salt: Salt(2),
            name: SegmentName { base: Seq(42), day: Day(20_000) },
            inode: 77,
            offset: 12_288,
            seq: Seq(50),
            digest: [9; 32],
            counts: Counts { frames: 3, records: 8, keyed: 8, days: Some((Day(1), Day(2))) },
            clean: true,
            has_control: false,
            unnamed: true,
        }
    }

    #[test]
    fn a_slot_round_trips_and_no_flipped_byte_passes() {
        for generation in 6..=7 {
            let marker = marker(generation);
            assert!(DurabilityMarker::slot_offsets().contains(&marker.slot_offset()));
            assert_eq!(DurabilityMarker::decode(&marker.encode()), Some(marker));
            for index in 0..SLOT_BYTES {
                let mut damaged = marker.encode();
                damaged[index] ^= 0x20;
                assert_eq!(DurabilityMarker::decode(&damaged), None, "byte {index}");
            }
        }
        assert_ne!(marker(6).slot_offset(), marker(7).slot_offset());
        assert_eq!(DurabilityMarker::decode(&[0; SLOT_BYTES]), None);
    }

    #[test]
    fn a_claim_round_trips_and_no_flipped_byte_passes() {
        let host = "camera-box".to_owned();
        for released in [false, true] {
            let claim = Claim { writer: [4; 16], released, process: 4711, host: host.clone() };
            assert_eq!(Claim::decode(&claim.encode()), Some(claim.clone()));
            for index in 0..SLOT_BYTES {
                let mut damaged = claim.encode();
                damaged[index] ^= 0x20;
                assert_eq!(Claim::decode(&damaged), None, "byte {index}");
            }
        }
        let long = Claim { writer: [4; 16], released: true, process: 1, host: "x".repeat(300) };
        assert_eq!(Claim::decode(&long.encode()).unwrap().host.len(), HOST_BYTES);
    }
}
