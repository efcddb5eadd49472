//! The header of a segment: two identical 4 KiB blocks at its beginning.
//!
//! It chains the segment to the previous one (name, end, digest of its content) and contains what an opening needs from
//! older segments: which seqs were pruned and which were lost.

use super::frame::Salt;
use super::{Put, SegmentName, Take};
use crate::limits::{BLOCK_BYTES, GAPS_MAX, PRUNED_RANGES_MAX, SEGMENT_OFFSET_MAX, SEQ_MAX};
use crate::{Day, Seq, SeqRange, Timestamp};

/// In every version of the format: the first eight bytes, then the CRC of the rest of the block.
const MAGIC: [u8; 8] = *b"LENSLOGJ";
const VERSION: u16 = 1;
/// Incompatible features this program knows: a segment with any other is not read.
const INCOMPATIBLE_KNOWN: u32 = 0;

const BLOCK: usize = BLOCK_BYTES as usize;
const COPIES: u64 = 2;
const COVERED_FROM: usize = 12;
const RANGES_FROM: usize = 256;
const RANGE_BYTES: usize = 16;
/// Segments before the previous one that a header names.
pub(crate) const ANCESTORS_MAX: usize = 3;
const FLAG_HAS_PREVIOUS: u32 = 1;
const FLAG_PREVIOUS_UNREADABLE: u32 = 2;

/// Offset of the first frame of every segment.
pub(crate) const FRAMES_OFFSET: u64 = COPIES * BLOCK_BYTES;

const _: () = assert!(RANGES_FROM + (PRUNED_RANGES_MAX + GAPS_MAX) * RANGE_BYTES <= BLOCK);

/// An end of a segment's content, both exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentEnd {
    /// First offset after the last frame.
    pub(crate) offset: u64,
    /// First seq after the last record.
    pub(crate) seq: Seq,
}

/// Where the previous segment ends, for every reader and for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PreviousEnd {
    pub(crate) name: SegmentName,
    /// Its salt, which identifies the file of that name; 0 if unknown.
    pub(crate) salt: Salt,
    /// First offset that does not belong to it.
    pub(crate) offset: u64,
    /// The seq after its last record.
    pub(crate) seq: Seq,
    /// Digest of its content, see `docs/FORMAT.md`.
    pub(crate) digest: [u8; 32],
    /// Its header could not be read when this one was written: offset and digest mean nothing.
    pub(crate) unreadable: bool,
}

/// Name and salt of a segment further back.
pub(crate) type Ancestor = (SegmentName, Salt);

/// The decoded header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Identity of the journal, the same in all its segments and in a restored copy.
    pub(crate) journal: [u8; 16],
    /// Identity of this branch: a copy begins a new incarnation.
    pub(crate) incarnation: [u8; 16],
    pub(crate) salt: Salt,
    /// Salt of the segment that this one replaced, which held nothing durable; 0 if none.
    pub(crate) replaces: Salt,
    pub(crate) name: SegmentName,
    pub(crate) created: Timestamp,
    pub(crate) previous: Option<PreviousEnd>,
    /// The segments before the previous one, nearest first, in case that one is missing.
    pub(crate) ancestors: Vec<Ancestor>,
    /// The end of the frames that were synced before the segment got its name.
    pub(crate) initial_end: ContentEnd,
    /// The newest day ever pruned.
    pub(crate) last_pruned_day: Option<Day>,
    pub(crate) pruned: Vec<SeqRange>,
    pub(crate) gaps: Vec<SeqRange>,
}

/// Why a block is not a header this program can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Magic or CRC are wrong: damage, or no segment at all.
    Damaged,
    /// The header is whole and contains another name than the file's.
    Misnamed(Box<SegmentHeader>),
    /// Written by a newer version, with features this one must not ignore.
    Newer { version: u16, incompatible: u32 },
}

/// The header of a segment, read from its two copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderRead {
    pub(crate) header: SegmentHeader,
    /// The damaged copies; the other one was used.
    pub(crate) damaged_copies: Vec<u64>,
}

impl SegmentHeader {
    /// The seq after the previous segment. The base is larger if seqs were skipped between the two.
    pub(crate) fn start_seq(&self) -> Seq {
        self.previous.map_or(self.name.base, |previous| previous.seq)
    }

    /// Both copies, as at the beginning of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = [0; BLOCK];
        let mut flags = 0;
        if let Some(previous) = &self.previous {
            flags |= FLAG_HAS_PREVIOUS;
            if previous.unreadable {
                flags |= FLAG_PREVIOUS_UNREADABLE;
            }
        }
        let previous = self.previous.unwrap_or(PreviousEnd {
            name: SegmentName { base: Seq(0), day: Day(0) },
            salt: Salt(0),
            offset: 0,
            seq: Seq(0),
            digest: [0; 32],
            unreadable: false,
        });
        let pruned = &self.pruned[..self.pruned.len().min(PRUNED_RANGES_MAX)];
        let gaps = &self.gaps[..self.gaps.len().min(GAPS_MAX)];
        let mut put = Put::new(&mut block);
        put.bytes(&MAGIC)
            .skip(4)
            .u16(VERSION)
            .skip(2)
            .u32(INCOMPATIBLE_KNOWN)
            .u32(0)
            .bytes(&self.journal)
            .bytes(&self.incarnation)
            .u64(self.salt.0)
            .u64(self.name.base.0)
            .i32(self.name.day.0)
            .i16(self.created.offset_minutes)
            .skip(2)
            .i64(self.created.utc_micros)
            .u32(flags)
            .i32(previous.name.day.0)
            .u64(previous.name.base.0)
            .u64(previous.offset)
            .u64(previous.seq.0)
            .bytes(&previous.digest)
            .u64(self.initial_end.offset)
            .u64(self.initial_end.seq.0)
            .i32(self.last_pruned_day.map_or(i32::MIN, |day| day.0))
            .u16(pruned.len() as u16)
            .u16(gaps.len() as u16)
            .u64(previous.salt.0)
            .u64(self.replaces.0);
        for (name, salt) in self.ancestors.iter().take(ANCESTORS_MAX) {
            put.u64(name.base.0).u64(salt.0).i32(name.day.0);
        }
        debug_assert!(put.position() <= RANGES_FROM, "the fixed fields run into the ranges");
        put.skip(RANGES_FROM - put.position());
        for range in pruned.iter().chain(gaps) {
            put.u64(range.from.0).u64(range.to.0);
        }
        let crc = crc32fast::hash(&block[COVERED_FROM..]);
        Put::new(&mut block).skip(MAGIC.len()).u32(crc);
        block.repeat(COPIES as usize)
    }

    /// Reads one copy.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        let block = block.get(..BLOCK).ok_or(HeaderError::Damaged)?;
        let mut take = Take::new(block);
        if take.array() != MAGIC || take.u32() != crc32fast::hash(&block[COVERED_FROM..]) {
            return Err(HeaderError::Damaged);
        }
        let version = take.u16();
        take.skip(2);
        let incompatible = take.u32();
        if version != VERSION || incompatible & !INCOMPATIBLE_KNOWN != 0 {
            return Err(HeaderError::Newer { version, incompatible });
        }
        take.skip(4);
        let (journal, incarnation) = (take.array(), take.array());
        let salt = Salt(take.u64());
        let name = SegmentName { base: Seq(take.u64()), day: Day(take.i32()) };
        let offset_minutes = take.i16();
        take.skip(2);
        let created = Timestamp { utc_micros: take.i64(), offset_minutes };
        let flags = take.u32();
        let previous_day = Day(take.i32());
        let mut previous = PreviousEnd {
            name: SegmentName { base: Seq(take.u64()), day: previous_day },
            salt: Salt(0),
            offset: take.u64(),
            seq: Seq(take.u64()),
            digest: take.array(),
            unreadable: flags & FLAG_PREVIOUS_UNREADABLE != 0,
        };
        let initial_end = ContentEnd { offset: take.u64(), seq: Seq(take.u64()) };
        let last_pruned_day = Some(Day(take.i32())).filter(|day| day.is_valid());
        let (pruned_count, gap_count) = (take.u16() as usize, take.u16() as usize);
        previous.salt = Salt(take.u64());
        let replaces = Salt(take.u64());
        let mut ancestor = || {
            let (base, salt, day) = (Seq(take.u64()), Salt(take.u64()), Day(take.i32()));
            (SegmentName { base, day }, salt)
        };
        let ancestors: Vec<Ancestor> = std::iter::repeat_with(&mut ancestor)
            .take(ANCESTORS_MAX)
            .take_while(|(name, salt)| salt.0 != 0 && name.base.0 <= SEQ_MAX)
            .collect();
        if pruned_count > PRUNED_RANGES_MAX || gap_count > GAPS_MAX {
            return Err(HeaderError::Damaged);
        }
        let seqs = [name.base, previous.seq, previous.name.base, initial_end.seq];
        let offsets = [previous.offset, initial_end.offset];
        if seqs.iter().any(|seq| seq.0 > SEQ_MAX)
            || offsets.iter().any(|offset| *offset > SEGMENT_OFFSET_MAX)
        {
            return Err(HeaderError::Damaged);
        }
        let mut take = Take::new(&block[RANGES_FROM..]);
        let mut range = || SeqRange::new(Seq(take.u64()), Seq(take.u64()));
        let pruned = std::iter::repeat_with(&mut range).take(pruned_count).collect();
        let gaps = std::iter::repeat_with(&mut range).take(gap_count).collect();
        Ok(Self {
            journal,
            incarnation,
            salt,
            replaces,
            name,
            created,
            previous: (flags & FLAG_HAS_PREVIOUS != 0).then_some(previous),
            ancestors,
            initial_end,
            last_pruned_day,
            pruned,
            gaps,
        })
    }
}

/// Reads the header of the segment called `name` from its first two blocks, either of which may be missing.
///
/// A copy with another name next to one with this name (a misdirected write) counts as damaged. If all whole copies have
/// another name, the file was renamed or copied.
pub(crate) fn read_header(
    blocks: [Option<&[u8]>; COPIES as usize],
    name: SegmentName,
) -> Result<HeaderRead, HeaderError> {
    let mut found = None;
    let mut misnamed = None;
    let mut newer = None;
    let mut damaged_copies = Vec::new();
    for (copy, block) in (0..).zip(blocks) {
        match block.ok_or(HeaderError::Damaged).and_then(SegmentHeader::decode) {
            Ok(header) if header.name == name => {
                found.get_or_insert(header);
            }
            Err(error @ HeaderError::Newer { .. }) => newer = Some(error),
            Ok(header) => {
                misnamed.get_or_insert(header);
                damaged_copies.push(copy);
            }
            Err(_) => damaged_copies.push(copy),
        }
    }
    match (found, misnamed, newer) {
        (_, _, Some(error)) => Err(error),
        (Some(header), _, None) => Ok(HeaderRead { header, damaged_copies }),
        (None, Some(header), None) => Err(HeaderError::Misnamed(Box::new(header))),
        (None, None, None) => Err(HeaderError::Damaged),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> SegmentHeader {
        let name = |base, day: &str| SegmentName { base: Seq(base), day: day.parse().unwrap() };
        SegmentHeader {
            journal: [1; 16],
            incarnation: [2; 16],
            salt: Salt(3),
            replaces: Salt(5),
            name: name(42, "2026-11-23"),
            created: Timestamp { utc_micros: 1_764_000_000_000_000, offset_minutes: -210 },
            previous: Some(PreviousEnd {
                name: name(7, "2026-11-22"),
                salt: Salt(6),
                offset: 12_288,
                seq: Seq(42),
                digest: [4; 32],
                unreadable: false,
            }),
            ancestors: vec![(name(3, "2026-11-21"), Salt(9)), (name(1, "2026-11-20"), Salt(8))],
            initial_end: ContentEnd { offset: FRAMES_OFFSET, seq: Seq(42) },
            last_pruned_day: Some("2026-11-01".parse().unwrap()),
            pruned: vec![SeqRange::new(Seq(1), Seq(5))],
            gaps: vec![SeqRange::new(Seq(8), Seq(9)), SeqRange::new(Seq(11), Seq(12))],
        }
    }

    fn read(bytes: &[u8], name: SegmentName) -> Result<HeaderRead, HeaderError> {
        read_header([bytes.get(..BLOCK), bytes.get(BLOCK..)], name)
    }

    #[test]
    fn a_header_round_trips_with_and_without_a_previous_segment() {
        let mut header = sample();
        for previous in [header.previous, None] {
            header.previous = previous;
            header.ancestors.truncate(if previous.is_some() { 2 } else { 0 });
            let bytes = header.encode();
            assert_eq!(bytes.len() as u64, FRAMES_OFFSET);
            let read = read(&bytes, header.name).unwrap();
            assert_eq!(read, HeaderRead { header: header.clone(), damaged_copies: vec![] });
        }
    }

    #[test]
    fn a_flipped_byte_anywhere_leaves_the_other_copy() {
        let header = sample();
        let bytes = header.encode();
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x10;
            let read = read(&damaged, header.name).unwrap();
            assert_eq!(read.header, header, "byte {index}");
            assert_eq!(read.damaged_copies, [(index / BLOCK) as u64], "byte {index}");
        }
    }

    #[test]
    fn full_range_lists_fit() {
        let range = |from| SeqRange::new(Seq(from), Seq(from + 1));
        let mut header = sample();
        header.pruned = (0..PRUNED_RANGES_MAX as u64).map(|index| range(index * 2)).collect();
        header.gaps = (0..GAPS_MAX as u64).map(|index| range(index * 3)).collect();
        assert_eq!(read(&header.encode(), header.name).unwrap().header, header);
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let header = sample();
        let mut block = header.encode()[..BLOCK].to_vec();
        block[16] = 0x80;
        let crc = crc32fast::hash(&block[COVERED_FROM..]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        let newer = HeaderError::Newer { version: VERSION, incompatible: 0x80 };
        assert_eq!(SegmentHeader::decode(&block), Err(newer.clone()));
        assert_eq!(read_header([Some(&block), None], header.name), Err(newer));
        block[0] = b'X';
        assert_eq!(SegmentHeader::decode(&block), Err(HeaderError::Damaged));
    }

    #[test]
    fn a_header_under_another_name_is_misnamed() {
        let bytes = sample().encode();
        let other = SegmentName { base: Seq(43), day: sample().name.day };
        let misnamed = HeaderError::Misnamed(Box::new(sample()));
        assert_eq!(read(&bytes, other), Err(misnamed));
        // One copy that was written to the wrong place is damage of that copy.
        let own = SegmentHeader { name: other, ..sample() };
        let mixed = [&own.encode()[..BLOCK], &bytes[..BLOCK]].concat();
        assert_eq!(
            read(&mixed, other).unwrap(),
            HeaderRead { header: own, damaged_copies: vec![1] }
        );
    }
}
