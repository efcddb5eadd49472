//! [`Sidecar`]: the index of a sealed segment, in a file next to it. No byte of it may change an answer, only its cost.

use std::io;
use std::sync::Arc;

use super::{Postings, SegmentIndex, Term, TermHasher, Terms};
use crate::Seq;
use crate::directory::Directory;
use crate::format::{
    Salt, SegmentHeader, SegmentName, TagsFile, TagsHeader, TermEntry, decode_postings,
};
use crate::limits::BLOCK_BYTES;
use crate::storage::{Access, StorageFile, open_new, read_full};

/// The opened file of a segment.
#[derive(Debug)]
pub(crate) struct Sidecar {
    file: Arc<dyn StorageFile>,
    header: TagsHeader,
}

type Block = [u8; BLOCK_BYTES as usize];

impl Sidecar {
    /// Opens the file of this segment; `None` if it is missing, damaged, of another segment, or ends before `end`.
    pub(crate) fn open(
        directory: &Directory,
        salt: Salt,
        name: SegmentName,
        end: Seq,
    ) -> Option<Self> {
        let file = directory.storage.open(&directory.tags(name), Access::Read).ok()?;
        let mut block: Block = [0; BLOCK_BYTES as usize];
        read_full(&*file, &mut block, 0).ok()?;
        let header = TagsHeader::decode(&block, salt, name)?;
        let is_whole = header.end >= end && file.stat().ok()?.len >= header.file_len();
        is_whole.then_some(Self { file, header })
    }

    /// Writes the file of a segment that ended at `end`. It is not synced: it can be derived.
    pub(crate) fn write(
        directory: &Directory,
        header: &SegmentHeader,
        hasher: &TermHasher,
        end: Seq,
        index: &SegmentIndex,
    ) {
        let terms = index.sorted();
        let file = TagsFile {
            salt: header.salt,
            name: header.name,
            end,
            hash_bits: hasher.bits,
            terms: &terms,
            frames: index.frames(),
        };
        let path = directory.tags(header.name);
        // Under a temporary name first: a copy may share the old file.
        let temporary = path.with_extension("tags.tmp");
        let written = open_new(&*directory.storage, &temporary)
            .and_then(|made| made.write_at(&file.encode(), 0))
            .and_then(|()| directory.storage.rename(&temporary, &path));
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "tags: a write failed; queries read the segment");
            // Half a file would only take space.
            let _ = directory.storage.remove(&temporary);
        }
    }

    pub(crate) const fn hash_bits(&self) -> u32 {
        self.header.hash_bits
    }

    /// A frame that begins at or before `seq`: its first seq and its offset, divided by eight.
    pub(crate) fn frame_before(&self, seq: Seq) -> Option<(Seq, u32)> {
        let (mut low, mut high) = (0, self.header.places_blocks());
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.block(self.header.places_offset(middle)).ok()?;
            let places = self.header.decode_places(middle, TagsHeader::content(&block)?);
            match places.partition_point(|(first, _)| *first <= seq).checked_sub(1) {
                Some(last) => {
                    found = places.get(last).copied();
                    low = middle + 1;
                }
                None => high = middle,
            }
        }
        found
    }

    fn find(&self, term: Term) -> Option<TermEntry> {
        let mut index = self.header.dictionary_block(term);
        while let Some(offset) = self.header.dictionary_offset(index) {
            let block = TagsHeader::decode_dictionary(&self.block(offset).ok()?)?;
            if let Some(entry) = block.find(term) {
                return Some(entry);
            }
            if !block.is_continued {
                break;
            }
            index += 1;
        }
        Some(TermEntry { count: 0, at: 0 })
    }

    fn block(&self, offset: u64) -> io::Result<Block> {
        let mut block: Block = [0; BLOCK_BYTES as usize];
        read_full(&*self.file, &mut block, offset)?;
        Ok(block)
    }

    fn read_postings(&self, entry: TermEntry) -> Option<Postings> {
        let (blocks, start) = self.header.postings_blocks(entry.at);
        let mut bytes = Vec::new();
        // A number has one byte at least and five at most.
        let most = start + 5 * entry.count as usize;
        for offset in blocks {
            bytes.extend_from_slice(TagsHeader::content(&self.block(offset).ok()?)?);
            if bytes.len() >= most {
                break;
            }
        }
        decode_postings(bytes.get(start..)?, entry.count)
    }
}

impl Terms for Sidecar {
    fn count(&self, term: Term) -> Option<u32> {
        self.find(term).map(|entry| entry.count)
    }

    fn postings(&self, term: Term, from: u32) -> Option<Postings> {
        let entry = self.find(term)?;
        let all = match entry.count {
            0 => Postings::new(),
            1 => vec![entry.at],
            _ => self.read_postings(entry)?,
        };
        let first = all.partition_point(|frame| *frame < from);
        Some(all.get(first..).unwrap_or_default().to_vec())
    }
}
