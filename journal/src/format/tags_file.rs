//! The file of a sealed segment's terms: a header block, a dictionary, postings, and places of frames.
//!
//! Derivable: without it, or with a damaged one, a query reads the segment.

use super::frame::Salt;
use super::{Put, SegmentName, Take};
use crate::Seq;
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX};

const MAGIC: [u8; 8] = *b"LENSLOGT";
const BLOCK: usize = BLOCK_BYTES as usize;
const COVERED_FROM: usize = 12;
const CRC_BYTES: usize = 4;
/// term u64 · count u32 · at u32
const ENTRY_BYTES: usize = 16;
/// CRC u32 · entries u16 · flags u16
const DICTIONARY_HEAD_BYTES: usize = 8;
const ENTRIES_MAX: usize = (BLOCK - DICTIONARY_HEAD_BYTES) / ENTRY_BYTES;
/// Terms that a block of the dictionary is planned for.
const ENTRIES_PLANNED: u64 = 190;
/// Flag of a dictionary block: entries that belong to it are in the next one.
const FLAG_CONTINUED: u16 = 1;
/// Bytes of content in a block of postings or places; the rest is a CRC.
const CONTENT_BYTES: usize = BLOCK - CRC_BYTES;
/// seq − first seq u32 · offset / 8 u32
const PLACE_BYTES: usize = 8;
const PLACES_PER_BLOCK: usize = CONTENT_BYTES / PLACE_BYTES;
/// A place is kept for the first frame of each stretch of so many bytes, divided by eight.
const PLACE_STRIDE: u32 = (BLOCK_BYTES / 8) as u32;
/// More terms or blocks than any segment has room for are damage, whatever the CRC says.
const COUNT_MAX: u64 = SEGMENT_BYTES_MAX;

/// The first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagsHeader {
    pub(crate) salt: Salt,
    pub(crate) name: SegmentName,
    /// The seq after the last record that is in it.
    pub(crate) end: Seq,
    /// How many bits of a hash are used.
    pub(crate) hash_bits: u32,
    terms: u64,
    dictionary_blocks: u64,
    planned_blocks: u64,
    postings_bytes: u64,
    places: u64,
}

/// Where the frames of a term are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TermEntry {
    /// In how many frames the term is.
    pub(crate) count: u32,
    /// One frame: its offset divided by eight. More: where their postings begin.
    pub(crate) at: u32,
}

/// The entries of a dictionary block.
#[derive(Debug)]
pub(crate) struct DictionaryBlock {
    entries: Vec<(u64, TermEntry)>,
    pub(crate) is_continued: bool,
}

impl DictionaryBlock {
    pub(crate) fn find(&self, term: u64) -> Option<TermEntry> {
        let index = self.entries.binary_search_by_key(&term, |(known, _)| *known).ok()?;
        self.entries.get(index).map(|(_, entry)| *entry)
    }
}

/// A file as it is written: its bytes follow from the terms and frames of a segment.
pub(crate) struct TagsFile<'a> {
    pub(crate) salt: Salt,
    pub(crate) name: SegmentName,
    pub(crate) end: Seq,
    pub(crate) hash_bits: u32,
    /// The terms and the offsets of their frames, divided by eight; sorted.
    pub(crate) terms: &'a [(u64, &'a [u32])],
    /// First seq and offset of each frame.
    pub(crate) frames: &'a [(Seq, u32)],
}

impl TagsFile<'_> {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut postings = Vec::new();
        let entries: Vec<(u64, TermEntry)> = self
            .terms
            .iter()
            .map(|(term, frames)| {
                let count = frames.len() as u32;
                let at = match frames {
                    [frame] => *frame,
                    _ => postings.len() as u32,
                };
                if count > 1 {
                    let before = std::iter::once(0).chain(frames.iter().copied());
                    for (before, frame) in before.zip(frames.iter()) {
                        put_number(frame - before, &mut postings);
                    }
                }
                (*term, TermEntry { count, at })
            })
            .collect();
        let planned_blocks = (entries.len() as u64).div_ceil(ENTRIES_PLANNED).max(1);
        let dictionary = encode_dictionary(&entries, planned_blocks);
        let places = self.places();
        let header = TagsHeader {
            salt: self.salt,
            name: self.name,
            end: self.end,
            hash_bits: self.hash_bits,
            terms: entries.len() as u64,
            dictionary_blocks: (dictionary.len() / BLOCK) as u64,
            planned_blocks,
            postings_bytes: postings.len() as u64,
            places: (places.len() / PLACE_BYTES) as u64,
        };
        let mut file = header.encode();
        file.extend(dictionary);
        put_blocks(&postings, CONTENT_BYTES, &mut file);
        put_blocks(&places, PLACES_PER_BLOCK * PLACE_BYTES, &mut file);
        file
    }

    fn places(&self) -> Vec<u8> {
        let mut places = Vec::new();
        let mut next = 0;
        for (seq, frame) in self.frames {
            if *frame >= next {
                next = frame + PLACE_STRIDE;
                places.extend_from_slice(&((seq.0 - self.name.base.0) as u32).to_le_bytes());
                places.extend_from_slice(&frame.to_le_bytes());
            }
        }
        places
    }
}

fn encode_dictionary(entries: &[(u64, TermEntry)], planned: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = entries;
    let mut block = 0;
    while block < planned || !rest.is_empty() {
        let own = rest.partition_point(|(term, _)| block_of(*term, planned) <= block);
        let (taken, after) = rest.split_at(own.min(ENTRIES_MAX));
        let mut encoded = vec![0; BLOCK];
        let mut put = Put::new(&mut encoded);
        let flags = if own > taken.len() { FLAG_CONTINUED } else { 0 };
        put.skip(CRC_BYTES).u16(taken.len() as u16).u16(flags);
        for (term, entry) in taken {
            put.u64(*term).u32(entry.count).u32(entry.at);
        }
        let crc = crc32fast::hash(encoded.get(CRC_BYTES..).unwrap_or_default());
        Put::new(&mut encoded).u32(crc);
        bytes.extend(encoded);
        (rest, block) = (after, block + 1);
    }
    bytes
}

/// The dictionary block that a term belongs to: hashes are spread evenly.
fn block_of(term: u64, blocks: u64) -> u64 {
    ((u128::from(term) * u128::from(blocks)) >> 64) as u64
}

/// Writes `content` in blocks, each with its CRC.
fn put_blocks(content: &[u8], per_block: usize, file: &mut Vec<u8>) {
    for chunk in content.chunks(per_block) {
        let start = file.len();
        file.extend_from_slice(chunk);
        file.resize(start + CONTENT_BYTES, 0);
        let crc = crc32fast::hash(file.get(start..).unwrap_or_default());
        file.extend_from_slice(&crc.to_le_bytes());
    }
}

fn put_number(mut number: u32, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads `count` postings from the beginning of `bytes`; `None` if there are fewer, or if they do not rise.
pub(crate) fn decode_postings(bytes: &[u8], count: u32) -> Option<Vec<u32>> {
    let mut frames = Vec::new();
    let (mut frame, mut bytes) = (0_u32, bytes.iter());
    for _ in 0..count {
        let mut delta = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = *bytes.next()?;
            delta |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let delta = u32::try_from(delta).ok().filter(|delta| *delta > 0)?;
        frame = frame.checked_add(delta)?;
        frames.push(frame);
    }
    Some(frames)
}

impl TagsHeader {
    fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        Put::new(&mut block)
            .bytes(&MAGIC)
            .skip(4)
            .i32(self.name.day.0)
            .u64(self.salt.0)
            .u64(self.name.base.0)
            .u64(self.end.0)
            .u64(self.terms)
            .u64(self.dictionary_blocks)
            .u64(self.planned_blocks)
            .u64(self.postings_bytes)
            .u64(self.places)
            .u32(self.hash_bits);
        let crc = crc32fast::hash(block.get(COVERED_FROM..).unwrap_or_default());
        Put::new(&mut block).skip(MAGIC.len()).u32(crc);
        block
    }

    /// Reads the first block of the file of this segment.
    pub(crate) fn decode(block: &[u8], salt: Salt, name: SegmentName) -> Option<Self> {
        let block = block.get(..BLOCK)?;
        let mut take = Take::new(block);
        if take.array() != MAGIC || take.u32() != crc32fast::hash(block.get(COVERED_FROM..)?) {
            return None;
        }
        let day = crate::Day(take.i32());
        let header = Self {
            salt: Salt(take.u64()),
            name: SegmentName { base: Seq(take.u64()), day },
            end: Seq(take.u64()),
            terms: take.u64(),
            dictionary_blocks: take.u64(),
            planned_blocks: take.u64(),
            postings_bytes: take.u64(),
            places: take.u64(),
            hash_bits: take.u32(),
        };
        let counts = [header.terms, header.dictionary_blocks, header.postings_bytes, header.places];
        let is_valid = header.salt == salt
            && header.name == name
            && counts.iter().all(|count| *count <= COUNT_MAX)
            && (1..=header.dictionary_blocks).contains(&header.planned_blocks)
            && (1..=64).contains(&header.hash_bits);
        is_valid.then_some(header)
    }

    /// Bytes of the whole file.
    pub(crate) const fn file_len(&self) -> u64 {
        self.places_at() + self.places.div_ceil(PLACES_PER_BLOCK as u64) * BLOCK_BYTES
    }

    const fn postings_at(&self) -> u64 {
        (1 + self.dictionary_blocks) * BLOCK_BYTES
    }

    const fn places_at(&self) -> u64 {
        self.postings_at() + self.postings_bytes.div_ceil(CONTENT_BYTES as u64) * BLOCK_BYTES
    }

    /// The dictionary block that a term belongs to.
    pub(crate) fn dictionary_block(&self, term: u64) -> u64 {
        block_of(term, self.planned_blocks)
    }

    /// Offset of a dictionary block; `None` after the last one.
    pub(crate) fn dictionary_offset(&self, index: u64) -> Option<u64> {
        (index < self.dictionary_blocks).then_some((1 + index) * BLOCK_BYTES)
    }

    pub(crate) fn decode_dictionary(block: &[u8]) -> Option<DictionaryBlock> {
        let mut take = Take::new(block.get(..BLOCK)?);
        if take.u32() != crc32fast::hash(block.get(CRC_BYTES..BLOCK)?) {
            return None;
        }
        let (count, flags) = (usize::from(take.u16()), take.u16());
        let entry = || (take.u64(), TermEntry { count: take.u32(), at: take.u32() });
        (count <= ENTRIES_MAX).then(|| DictionaryBlock {
            entries: std::iter::repeat_with(entry).take(count).collect(),
            is_continued: flags & FLAG_CONTINUED != 0,
        })
    }

    /// Offsets of the blocks of postings from byte `at` of the postings on, and where in the first one it is.
    pub(crate) fn postings_blocks(&self, at: u32) -> (impl Iterator<Item = u64>, usize) {
        let first = u64::from(at) / CONTENT_BYTES as u64;
        let end = self.places_at();
        let offsets = (0..).map(move |index| self.postings_at() + (first + index) * BLOCK_BYTES);
        (offsets.take_while(move |offset| *offset < end), at as usize % CONTENT_BYTES)
    }

    /// The content of a block of postings or places; `None` if its CRC is wrong.
    pub(crate) fn content(block: &[u8]) -> Option<&[u8]> {
        let (content, crc) = block.get(..BLOCK)?.split_at(CONTENT_BYTES);
        (Take::new(crc).u32() == crc32fast::hash(content)).then_some(content)
    }

    /// Number of blocks of places, and the offset of each.
    pub(crate) const fn places_blocks(&self) -> u64 {
        self.places.div_ceil(PLACES_PER_BLOCK as u64)
    }

    pub(crate) const fn places_offset(&self, index: u64) -> u64 {
        self.places_at() + index * BLOCK_BYTES
    }

    /// The places in a block: the seq and the offset, divided by eight, of a frame each.
    pub(crate) fn decode_places(&self, index: u64, content: &[u8]) -> Vec<(Seq, u32)> {
        let before = index * PLACES_PER_BLOCK as u64;
        let count = self.places.saturating_sub(before).min(PLACES_PER_BLOCK as u64) as usize;
        let mut take = Take::new(content);
        let base = self.name.base;
        std::iter::repeat_with(|| (base.plus(u64::from(take.u32())), take.u32()))
            .take(count)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: SegmentName = SegmentName { base: Seq(1), day: crate::Day(0) };

    fn encode(terms: &[(u64, &[u32])]) -> Vec<u8> {
        let frames: Vec<_> =
            (0..3000).map(|frame| (Seq(1 + u64::from(frame)), 1024 + frame * 16)).collect();
        let (salt, name, end) = (Salt(5), NAME, Seq(3001));
        TagsFile { salt, name, end, hash_bits: 64, terms, frames: &frames }.encode()
    }

    #[test]
    fn terms_with_close_hashes_overflow_into_the_next_block() {
        // All of them belong to the first of the planned blocks.
        let close: Vec<(u64, &[u32])> = (0..1000).map(|term| (term * 3, &[7][..])).collect();
        let far = (u64::MAX, &[9, 11][..]);
        let file = encode(&[&close[..], &[far]].concat());
        let header = TagsHeader::decode(&file, Salt(5), NAME).unwrap();
        assert_eq!(file.len() as u64, header.file_len());
        let find = |term: u64| {
            let mut index = header.dictionary_block(term);
            loop {
                let offset = header.dictionary_offset(index)? as usize;
                let block = TagsHeader::decode_dictionary(&file[offset..]).unwrap();
                match block.find(term) {
                    None if block.is_continued => index += 1,
                    found => return found,
                }
            }
        };
        for (term, _) in &close {
            assert_eq!(find(*term), Some(TermEntry { count: 1, at: 7 }), "{term}");
            assert_eq!(find(term + 1), None, "{term}");
        }
        assert_eq!(find(u64::MAX).map(|entry| entry.count), Some(2));
    }

    #[test]
    fn a_file_of_another_segment_is_refused() {
        let file = encode(&[]);
        assert!(TagsHeader::decode(&file, Salt(6), NAME).is_none());
        let other = SegmentName { base: Seq(2), ..NAME };
        assert!(TagsHeader::decode(&file, Salt(5), other).is_none());
    }

    #[test]
    fn postings_and_places_round_trip() {
        let frames: Vec<u32> = (0..2500).map(|frame| 1024 + frame * frame).collect();
        let mut bytes = Vec::new();
        for (before, frame) in std::iter::once(0).chain(frames.iter().copied()).zip(&frames) {
            put_number(frame - before, &mut bytes);
        }
        assert_eq!(decode_postings(&bytes, 2500).unwrap(), frames);
        assert_eq!(decode_postings(&bytes, 2501), None);
        assert_eq!(decode_postings(&[0x80; 9], 1), None);
        let file = encode(&[]);
        let header = TagsHeader::decode(&file, Salt(5), NAME).unwrap();
        let content = TagsHeader::content(&file[header.places_offset(0) as usize..]).unwrap();
        let places = header.decode_places(0, content);
        // One for each 4,096 bytes: each 32nd frame.
        assert_eq!(places[..2], [(Seq(1), 1024), (Seq(33), 1536)]);
        assert_eq!(places.len(), 3000_usize.div_ceil(32));
    }
}
