//! [`SegmentIndex`]: the terms and frames of one segment in memory. [`ActiveIndex`]: that of the active segment.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Postings, Sidecar, Term, TermHasher, Terms};
use crate::directory::{Directory, OpenSegment};
use crate::format::{ContentEnd, SegmentHeader, SegmentName};
use crate::limits::{SEGMENT_POSTINGS_MAX, SEGMENT_TERMS_MAX};
use crate::storage::Access;
use crate::walk::FrameWalk;
use crate::{Error, Seq};

/// A term is a hash already.
#[derive(Debug, Default)]
pub(crate) struct TermIsHash(u64);

impl Hasher for TermIsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, term: u64) {
        // The table uses the highest bits and the lowest ones.
        self.0 = term ^ term >> 32;
    }
}

/// Most terms are in one frame only.
#[derive(Debug, Clone)]
enum Frames {
    One(u32),
    Many(Postings),
}

impl Frames {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(frame) => std::slice::from_ref(frame),
            Self::Many(frames) => frames,
        }
    }

    /// Whether the frame, which is not before the others, was added.
    fn add(&mut self, frame: u32) -> bool {
        match self {
            Self::One(known) if *known == frame => false,
            Self::One(known) => {
                *self = Self::Many(vec![*known, frame]);
                true
            }
            Self::Many(frames) if frames.last() == Some(&frame) => false,
            Self::Many(frames) => {
                frames.push(frame);
                true
            }
        }
    }
}

/// The terms and frames of a segment, or of a part of it. Offsets are divided by eight.
#[derive(Debug, Default)]
pub(crate) struct SegmentIndex {
    terms: HashMap<Term, Frames, BuildHasherDefault<TermIsHash>>,
    postings: usize,
    /// First seq and offset of each frame, in order.
    frames: Vec<(Seq, u32)>,
}

impl SegmentIndex {
    /// The index of the frames of a segment before `end`; `None` if some of them are lost.
    pub(crate) fn read(
        segment: &OpenSegment,
        hasher: &TermHasher,
        end: ContentEnd,
    ) -> Result<Option<Self>, Error> {
        let Ok(read) = &segment.header else { return Ok(None) };
        let mut index = Self::default();
        let mut window = segment.window(end.offset.min(segment.len));
        let mut walk = FrameWalk::of(&read.header);
        while let Some(found) = walk.next(&mut window)? {
            if found.header.first_seq >= end.seq {
                break;
            }
            if found.hole.is_some_and(|hole| !hole.lost.is_empty()) {
                return Ok(None);
            }
            index.begin_frame(found.header.first_seq, found.offset);
            found.for_each_record(&window, |record| {
                hasher.each_term_of(record, |term| index.add(term));
            });
        }
        Ok((walk.expected() >= end.seq).then_some(index))
    }

    pub(crate) fn begin_frame(&mut self, first_seq: Seq, offset: u64) {
        self.frames.push((first_seq, (offset / 8) as u32));
    }

    /// Adds a term of a record of the last frame.
    pub(crate) fn add(&mut self, term: Term) {
        let Some(&(_, frame)) = self.frames.last() else { return };
        let mut is_new = false;
        let known = self.terms.entry(term).or_insert_with(|| {
            is_new = true;
            Frames::One(frame)
        });
        self.postings += usize::from(is_new || known.add(frame));
    }

    /// Puts the part before this one at its beginning.
    fn prepend(&mut self, before: Self) {
        let after = std::mem::replace(self, before);
        self.frames.extend(after.frames);
        self.postings += after.postings;
        for (term, frames) in after.terms {
            match self.terms.entry(term) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(frames);
                }
                std::collections::hash_map::Entry::Occupied(mut entry) => {
                    for frame in frames.as_slice() {
                        entry.get_mut().add(*frame);
                    }
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        self.terms.len() >= SEGMENT_TERMS_MAX || self.postings >= SEGMENT_POSTINGS_MAX
    }

    pub(crate) fn frames(&self) -> &[(Seq, u32)] {
        &self.frames
    }

    /// The terms with their frames, sorted by term.
    pub(crate) fn sorted(&self) -> Vec<(Term, &[u32])> {
        let mut terms: Vec<_> =
            self.terms.iter().map(|(term, frames)| (*term, frames.as_slice())).collect();
        terms.sort_unstable_by_key(|(term, _)| *term);
        terms
    }

    /// The first seq of the frame with this offset.
    pub(crate) fn seq_of(&self, frame: u32) -> Option<Seq> {
        let index = self.frames.binary_search_by_key(&frame, |(_, frame)| *frame).ok()?;
        self.frames.get(index).map(|(seq, _)| *seq)
    }

    /// The last frame that begins at or before `seq`: its first seq and its offset.
    pub(crate) fn frame_of(&self, seq: Seq) -> Option<(Seq, u32)> {
        let after = self.frames.partition_point(|(first, _)| *first <= seq);
        self.frames.get(after.checked_sub(1)?).copied()
    }
}

impl Terms for SegmentIndex {
    fn count(&self, term: Term) -> Option<u32> {
        Some(self.terms.get(&term).map_or(0, |frames| frames.as_slice().len() as u32))
    }

    fn postings(&self, term: Term, from: u32) -> Option<Postings> {
        let all = self.terms.get(&term).map_or(&[][..], Frames::as_slice);
        Some(all.get(all.partition_point(|frame| *frame < from)..).unwrap_or_default().to_vec())
    }
}

/// The index of the active segment, pending frames included.
#[derive(Debug)]
pub(crate) struct ActiveIndex {
    pub(crate) hasher: TermHasher,
    index: SegmentIndex,
    /// Frames before this offset are not in it: the segment was begun or opened with them.
    pub(crate) unread_to: Option<ContentEnd>,
}

impl ActiveIndex {
    /// An index of a segment whose frames before `unread_to` are read when they are needed.
    pub(crate) fn new(hasher: TermHasher, unread_to: Option<ContentEnd>) -> Self {
        Self { hasher, index: SegmentIndex::default(), unread_to }
    }

    /// Another segment is the active one; its frames before `unread_to` are read when they are needed.
    pub(crate) fn begin(&mut self, unread_to: Option<ContentEnd>) {
        *self = Self::new(self.hasher, unread_to);
    }

    pub(crate) fn begin_frame(&mut self, first_seq: Seq, offset: u64) {
        self.index.begin_frame(first_seq, offset);
    }

    pub(crate) fn add(&mut self, term: Term) {
        self.index.add(term);
    }

    /// Whether the segment has to end before the next batch.
    pub(crate) fn is_full(&self) -> bool {
        self.index.is_full()
    }

    /// The index; `None` while frames are missing in it.
    pub(crate) fn whole(&self) -> Option<&SegmentIndex> {
        self.unread_to.is_none().then_some(&self.index)
    }

    /// The index of the frames that were appended since the segment was begun or opened.
    pub(crate) const fn appended(&self) -> &SegmentIndex {
        &self.index
    }

    /// Adds the frames before `unread_to`, if they are still missing.
    pub(crate) fn complete(&mut self, unread_to: ContentEnd, before: SegmentIndex) {
        if self.unread_to == Some(unread_to) {
            self.index.prepend(before);
            self.unread_to = None;
        }
    }

    /// Writes the file of the segment, which ended at `end`. Without it, queries read the segment.
    pub(crate) fn seal(&mut self, directory: &Directory, header: &SegmentHeader, end: Seq) {
        if let Some(unread_to) = self.unread_to
            && let Some(before) = read_before(directory, header.name, &self.hasher, unread_to)
        {
            self.complete(unread_to, before);
        }
        if self.unread_to.is_none() && end > header.name.base {
            Sidecar::write(directory, header, &self.hasher, end, &self.index);
        }
    }
}

/// The index of a segment's frames before `end`; `None` if it cannot be read whole.
pub(crate) fn read_before(
    directory: &Directory,
    name: SegmentName,
    hasher: &TermHasher,
    end: ContentEnd,
) -> Option<SegmentIndex> {
    let segment = directory.open_segment(name, Access::Read).ok()??;
    SegmentIndex::read(&segment, hasher, end).ok()?
}
