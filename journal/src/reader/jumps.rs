//! Takes a [`Reader`] past frames that cannot matter: before its first seq, or without a match.
//!
//! The index of a segment names the frames that may hold a match. The frames decide. Where the index is missing or damaged,
//! or a frame that it names is, the reader goes on from frame to frame and reports what is lost.

use super::{Current, End, Reader};
use crate::format::{ContentEnd, FRAME_HEADER_BYTES, FrameHeader};
use crate::index::{Postings, candidates};
use crate::walk::{FoundFrame, FrameWalk};
use crate::watermark::Durable;
use crate::{Error, Seq};

/// The frames of the current segment that may hold a match.
#[derive(Debug)]
pub(super) struct Jumps {
    /// Their offsets, divided by eight.
    frames: std::vec::IntoIter<u32>,
    /// Everything before this end is passed when there are no more.
    end: ContentEnd,
}

impl Reader {
    /// Passes the segments from `index` on whose indexes name no frame, without opening them.
    ///
    /// The header of the next segment proves the salt and the end of each. Returns the first one that is not passed, and the
    /// seq that was reached.
    pub(super) fn pass_without_match(
        &mut self,
        mut index: usize,
        mut reached: Seq,
    ) -> (usize, Seq) {
        let Some(query) = &self.options.query else { return (index, reached) };
        while !self.options.check_digests
            && let Some([link, successor]) = self.links.get(index..index + 2)
            && let Some(end) = successor.previous
            && (end.name, end.salt, end.unreadable) == (link.name, link.salt, false)
            && link.start <= reached
            && link.salt.0 != 0
            && let Some(sidecar) = self.source.known_sidecar(link.name, link.salt, end.seq)
        {
            let hasher = self.source.hasher(sidecar.hash_bits());
            if candidates(&sidecar, &hasher, query, 0).is_none_or(|frames| !frames.is_empty()) {
                break;
            }
            (index, reached) = (index + 1, end.seq);
            self.from = self.from.max(reached);
        }
        (index, reached)
    }

    /// Uses the index of the sealed segment that was just opened.
    pub(super) fn aim_in_sealed(&mut self) -> Result<(), Error> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let End::Fixed(end) = current.end else { return Ok(()) };
        let seeks = self.from > current.walk.expected();
        let query = self.options.query.as_ref();
        if self.options.check_digests || !end.certain || !(seeks || query.is_some()) {
            return Ok(());
        }
        let end = ContentEnd { offset: end.offset, seq: end.seq };
        let sidecar = self.source.sidecar(current.name, current.salt, end, query.is_some())?;
        let Some(sidecar) = sidecar else { return Ok(()) };
        let first = if seeks { sidecar.frame_before(self.from) } else { None };
        let from = first.map_or(0, |(_, frame)| frame);
        let hasher = self.source.hasher(sidecar.hash_bits());
        match query.and_then(|query| candidates(&sidecar, &hasher, query, from)) {
            Some(frames) => current.jumps = Some(Jumps { frames: frames.into_iter(), end }),
            None if from > 0 => drop(current.jump_to(from)?),
            None => {}
        }
        Ok(())
    }

    /// Uses the index of the active segment, which now ends at `durable`.
    pub(super) fn aim_in_active(&mut self, durable: Durable) -> Result<(), Error> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let query = self.options.query.as_ref();
        let seeks = self.from > current.walk.expected();
        if self.options.check_digests || !(seeks || query.is_some()) {
            return Ok(());
        }
        let passed = (current.walk.offset() / 8) as u32;
        let (from, frames) = self.source.in_active(
            (current.name, current.salt),
            query.is_some(),
            |index, hasher| {
                let first = index.frame_of(self.from).map_or(0, |(_, frame)| frame);
                let from = if seeks { first.max(passed) } else { passed };
                (from, query.and_then(|query| candidates(index, hasher, query, from)))
            },
        )?;
        let end = ContentEnd { offset: durable.offset, seq: durable.seq };
        match frames {
            Some(frames) => {
                let frames: Postings =
                    frames.into_iter().filter(|frame| u64::from(*frame) * 8 < end.offset).collect();
                current.jumps = Some(Jumps { frames: frames.into_iter(), end });
            }
            None if from > passed => drop(current.jump_to(from)?),
            None => {}
        }
        Ok(())
    }

    /// The next frame that may hold a match; `None` if there are none, or no index to name them.
    pub(super) fn next_candidate(&mut self) -> Result<Option<FoundFrame>, Error> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let Some(mut jumps) = current.jumps.take() else { return Ok(None) };
        for frame in jumps.frames.by_ref() {
            let offset = u64::from(frame) * 8;
            if offset < current.walk.offset() || offset >= jumps.end.offset {
                continue;
            }
            let before = current.walk;
            if current.jump_to(frame)?
                && let Some(found) = current.walk.next(&mut current.window)?
                && found.offset == offset
            {
                current.jumps = Some(jumps);
                return Ok(Some(found));
            }
            // The frame is damaged: from here on every frame is looked at, and losses are reported.
            current.walk = before;
            current.window.read_ahead();
            return Ok(None);
        }
        current.walk = FrameWalk::new(current.salt, jumps.end.offset, jumps.end.seq);
        self.from = self.from.max(jumps.end.seq);
        Ok(None)
    }
}

impl Current {
    /// Continues at the frame with this offset, divided by eight, if there is one.
    fn jump_to(&mut self, frame: u32) -> Result<bool, Error> {
        let offset = u64::from(frame) * 8;
        self.window.read_little();
        let bytes = self.window.get(offset, FRAME_HEADER_BYTES)?;
        let header = FrameHeader::decode(bytes, self.salt, offset);
        if let Some(header) = header.filter(|header| header.follows() >= self.walk.expected()) {
            self.walk = FrameWalk::new(self.salt, offset, header.follows());
            return Ok(true);
        }
        Ok(false)
    }
}
