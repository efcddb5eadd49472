//! The file of a sealed segment's keys: a header block, a Bloom filter, then the sorted keys in blocks.
//!
//! Derivable: a missing or damaged file is written again from the segment.

use super::frame::Salt;
use super::{Key, Put, SegmentName, Take, record_len};
use crate::Seq;
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX};

const MAGIC: [u8; 8] = *b"LENSLOGK";
const BLOCK: usize = BLOCK_BYTES as usize;
const COVERED_FROM: usize = 12;
const ENTRY_BYTES: usize = 24;
const CRC_BYTES: usize = 4;
/// Keys in one block; its last four bytes are a CRC.
const ENTRIES_PER_BLOCK: usize = (BLOCK - CRC_BYTES) / ENTRY_BYTES;
const FILTER_BITS_PER_KEY: u64 = 10;
const FILTER_PROBES: u64 = 7;
/// More keys than any segment has room for are damage, whatever the CRC says.
const KEYS_MAX: u64 = 4 * SEGMENT_BYTES_MAX / record_len(0, true, 0) as u64;

/// The first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeysHeader {
    pub(crate) salt: Salt,
    pub(crate) name: SegmentName,
    pub(crate) keys: u64,
    filter_crc: u32,
}

/// A Bloom filter: rules out most keys that are not in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFilter {
    words: Vec<u64>,
}

impl KeyFilter {
    /// The filter of these keys.
    pub(crate) fn of<'a>(keys: impl ExactSizeIterator<Item = &'a Key>) -> Self {
        let mut filter = Self { words: vec![0; Self::words_for(keys.len() as u64)] };
        for key in keys {
            filter.insert(key);
        }
        filter
    }

    const fn words_for(keys: u64) -> usize {
        (keys * FILTER_BITS_PER_KEY).div_ceil(64) as usize
    }

    fn insert(&mut self, key: &Key) {
        for bit in Self::bits(key, self.words.len()) {
            if let Some(word) = self.words.get_mut((bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// `false`: the key is certainly not in the set.
    pub(crate) fn may_contain(&self, key: &Key) -> bool {
        !self.words.is_empty()
            && Self::bits(key, self.words.len()).all(|bit| {
                self.words.get((bit / 64) as usize).is_some_and(|word| word >> (bit % 64) & 1 == 1)
            })
    }

    fn bits(key: &Key, words: usize) -> impl Iterator<Item = u64> {
        let mut take = Take::new(key);
        let mut random = crate::id_source::Random::new(take.u64() ^ take.u64().rotate_left(32));
        let (first, step) = (random.bits(), random.bits() | 1);
        let bits = (words as u64 * 64).max(1);
        (0..FILTER_PROBES).map(move |probe| first.wrapping_add(probe.wrapping_mul(step)) % bits)
    }

    fn encode(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

impl KeysHeader {
    /// The whole file of these keys, which must be sorted.
    pub(crate) fn encode_file(salt: Salt, name: SegmentName, keys: &[(Key, Seq)]) -> Vec<u8> {
        let filter = KeyFilter::of(keys.iter().map(|(key, _)| key)).encode();
        let mut file = vec![0; BLOCK];
        Put::new(&mut file)
            .bytes(&MAGIC)
            .skip(4)
            .i32(name.day.0)
            .u64(salt.0)
            .u64(name.base.0)
            .u64(keys.len() as u64)
            .u32(crc32fast::hash(&filter));
        let crc = crc32fast::hash(&file[COVERED_FROM..]);
        Put::new(&mut file).skip(MAGIC.len()).u32(crc);
        file.extend_from_slice(&filter);
        file.resize(file.len().next_multiple_of(BLOCK), 0);
        for entries in keys.chunks(ENTRIES_PER_BLOCK) {
            let mut block = [0; BLOCK];
            let mut put = Put::new(&mut block);
            for (key, seq) in entries {
                put.bytes(key).u64(seq.0);
            }
            let crc = crc32fast::hash(&block[..BLOCK - CRC_BYTES]);
            Put::new(&mut block).skip(BLOCK - CRC_BYTES).u32(crc);
            file.extend_from_slice(&block);
        }
        file
    }

    /// Reads the first block; `None` if it is not that of this segment's keys.
    pub(crate) fn decode(block: &[u8], salt: Salt, name: SegmentName) -> Option<Self> {
        let block = block.get(..BLOCK)?;
        let mut take = Take::new(block);
        if take.array() != MAGIC || take.u32() != crc32fast::hash(&block[COVERED_FROM..]) {
            return None;
        }
        let day = crate::Day(take.i32());
        let found_salt = Salt(take.u64());
        let found_name = SegmentName { base: Seq(take.u64()), day };
        let (keys, filter_crc) = (take.u64(), take.u32());
        (found_salt == salt && found_name == name && keys <= KEYS_MAX).then_some(Self {
            salt,
            name,
            keys,
            filter_crc,
        })
    }

    /// Offset and length of the filter.
    pub(crate) const fn filter_span(&self) -> (u64, usize) {
        (BLOCK_BYTES, KeyFilter::words_for(self.keys) * 8)
    }

    pub(crate) fn decode_filter(&self, bytes: &[u8]) -> Option<KeyFilter> {
        let (_, len) = self.filter_span();
        if bytes.len() != len || crc32fast::hash(bytes) != self.filter_crc {
            return None;
        }
        let mut take = Take::new(bytes);
        let words = std::iter::repeat_with(|| take.u64()).take(len / 8).collect();
        Some(KeyFilter { words })
    }

    /// Number of key blocks.
    pub(crate) const fn blocks(&self) -> u64 {
        self.keys.div_ceil(ENTRIES_PER_BLOCK as u64)
    }

    /// Offset of a key block.
    pub(crate) const fn block_offset(&self, index: u64) -> u64 {
        let (start, len) = self.filter_span();
        (start + len as u64).next_multiple_of(BLOCK_BYTES) + index * BLOCK_BYTES
    }

    /// The keys of a block; `None` if its CRC is wrong.
    pub(crate) fn decode_block(&self, index: u64, block: &[u8]) -> Option<Vec<(Key, Seq)>> {
        let (entries, crc) = block.get(..BLOCK)?.split_at(BLOCK - CRC_BYTES);
        if Take::new(crc).u32() != crc32fast::hash(entries) {
            return None;
        }
        let before = index * ENTRIES_PER_BLOCK as u64;
        let count = self.keys.saturating_sub(before).min(ENTRIES_PER_BLOCK as u64) as usize;
        let mut take = Take::new(entries);
        Some(std::iter::repeat_with(|| (take.array(), Seq(take.u64()))).take(count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_passes_the_filter_and_is_in_its_block() {
        let key =
            |index: u64| *blake3::hash(&index.to_le_bytes()).as_bytes().first_chunk().unwrap();
        let mut keys: Vec<(Key, Seq)> = (0..1000).map(|index| (key(index), Seq(index))).collect();
        keys.sort_unstable();
        let name = SegmentName { base: Seq(1), day: crate::Day(0) };
        let file = KeysHeader::encode_file(Salt(5), name, &keys);
        let header = KeysHeader::decode(&file, Salt(5), name).unwrap();
        let (start, len) = header.filter_span();
        let filter = header.decode_filter(&file[start as usize..][..len]).unwrap();
        let stored: Vec<_> = (0..header.blocks())
            .flat_map(|index| {
                header.decode_block(index, &file[header.block_offset(index) as usize..]).unwrap()
            })
            .collect();
        assert_eq!(stored, keys);
        assert!(keys.iter().all(|(key, _)| filter.may_contain(key)));
        let passing = (1000..11_000).filter(|index| filter.may_contain(&key(*index))).count();
        assert!(passing < 300, "{passing} of 10000");
    }
}
