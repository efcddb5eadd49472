//! [`SegmentDigest`]: the digest of a segment's content, computed as it grows and resumable from 32 bytes.
//!
//! Content means the frames as written and zeros everywhere between them, whatever the file contains there. It is hashed
//! in blocks of 64 KiB, each seeded with the digest of all blocks before it.

use crate::format::FRAMES_OFFSET;
use crate::limits::DIGEST_BLOCK_BYTES;

const ZEROS: [u8; 4096] = [0; 4096];

/// The state of a digest.
#[derive(Debug, Clone)]
pub(crate) struct SegmentDigest {
    /// Digest of all whole blocks.
    chain: [u8; 32],
    /// Hashes the block that is not whole yet.
    block: blake3::Hasher,
    /// Offset after the last byte absorbed.
    at: u64,
}

impl SegmentDigest {
    pub(crate) fn new() -> Self {
        Self::resume([0; 32], FRAMES_OFFSET)
    }

    /// Continues from a block boundary.
    pub(crate) fn resume(chain: [u8; 32], at: u64) -> Self {
        let mut block = blake3::Hasher::new();
        block.update(&chain);
        Self { chain, block, at }
    }

    /// The start of the block that holds `offset`: later bytes must be absorbed again after `resume`.
    pub(crate) const fn block_start(offset: u64) -> u64 {
        let content = offset - FRAMES_OFFSET;
        FRAMES_OFFSET + content - content % DIGEST_BLOCK_BYTES
    }

    /// Digest of all whole blocks so far.
    pub(crate) const fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// Absorbs frames at `offset`; zeros fill the bytes before it.
    pub(crate) fn absorb(&mut self, offset: u64, bytes: &[u8]) {
        self.fill_to(offset);
        self.update(bytes);
    }

    /// The digest of the content up to `end`.
    pub(crate) fn finish(&self, end: u64) -> [u8; 32] {
        let mut whole = self.clone();
        whole.fill_to(end);
        *whole.block.finalize().as_bytes()
    }

    fn fill_to(&mut self, offset: u64) {
        while self.at < offset {
            let count = (offset - self.at).min(ZEROS.len() as u64) as usize;
            self.update(&ZEROS[..count]);
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = Self::block_start(self.at) + DIGEST_BLOCK_BYTES - self.at;
            let count = bytes.len().min(room as usize);
            let (now, later) = bytes.split_at(count);
            self.block.update(now);
            self.at += count as u64;
            bytes = later;
            if count as u64 == room {
                *self = Self::resume(*self.block.finalize().as_bytes(), self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_does_not_depend_on_how_the_content_was_cut() {
        let content: Vec<u8> = (0..200_000_u32).map(|index| index as u8).collect();
        let end = FRAMES_OFFSET + content.len() as u64;
        let mut whole = SegmentDigest::new();
        whole.absorb(FRAMES_OFFSET, &content);
        for step in [1, 4096, 65_536, 100_000] {
            let mut parts = SegmentDigest::new();
            for (index, part) in content.chunks(step).enumerate() {
                parts.absorb(FRAMES_OFFSET + (index * step) as u64, part);
            }
            assert_eq!(parts.finish(end), whole.finish(end), "step {step}");
        }
    }

    #[test]
    fn a_resumed_digest_equals_one_that_went_on() {
        let content = vec![7; 150_000];
        let end = FRAMES_OFFSET + content.len() as u64;
        let mut whole = SegmentDigest::new();
        whole.absorb(FRAMES_OFFSET, &content);
        let start = SegmentDigest::block_start(end);
        let mut resumed = SegmentDigest::resume(whole.chain(), start);
        resumed.absorb(start, &content[(start - FRAMES_OFFSET) as usize..]);
        assert_eq!(resumed.finish(end + 100), whole.finish(end + 100));
    }

    #[test]
    fn gaps_count_as_zeros_and_other_content_as_other() {
        let mut gap = SegmentDigest::new();
        gap.absorb(FRAMES_OFFSET + 10_000, b"x");
        let mut zeros = SegmentDigest::new();
        zeros.absorb(FRAMES_OFFSET, &[0; 10_000]);
        zeros.absorb(FRAMES_OFFSET + 10_000, b"x");
        let end = FRAMES_OFFSET + 20_000;
        assert_eq!(gap.finish(end), zeros.finish(end));
        assert_ne!(gap.finish(end), SegmentDigest::new().finish(end));
        assert_ne!(gap.finish(end), gap.finish(end + 1));
    }
}
