//! How a [`Reader`] comes from one segment to the next, past pruned, missing and unreadable ones.

use super::{Current, End, Reader, lost_from, note};
use crate::chain::SegmentEnd;
use crate::digest::SegmentDigest;
use crate::directory::OpenSegment;
use crate::entry::{LossCause, Lost, Notice};
use crate::format::{FRAMES_OFFSET, Salt, SegmentHeader, SegmentName};
use crate::storage::Access;
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

impl Reader {
    /// At the end of what was readable of the last segment: looks how far it is now.
    pub(super) fn extend(&mut self) -> Result<bool, Error> {
        let head = self.view.readable_end()?;
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        match head.durable.segment {
            Some((name, salt)) if (name, salt) == (current.name, current.salt) => {
                if head.durable.offset > current.window.limit() {
                    current.window.set_limit(head.durable.offset);
                    return Ok(true);
                }
                let missing = SeqRange::new(current.walk.expected(), head.durable.seq);
                current.walk.skip_to(head.durable.seq);
                let (name, offset) = (current.name, current.walk.offset());
                self.lost = lost_from(self.from, missing, name, offset);
                if self.lost.is_none() && head.active_missing && !self.told_missing {
                    self.told_missing = true;
                    let range = SeqRange::new(head.durable.seq, head.durable.seq.next());
                    self.lost = Some(Lost {
                        range,
                        segment: SegmentName { base: range.from, day: name.day },
                        offset: 0,
                        cause: LossCause::SegmentMissing,
                    });
                }
                Ok(self.lost.is_some())
            }
            Some((name, _)) if name == current.name => {
                // Replaced by one that carries its frames on.
                self.current = None;
                Ok(true)
            }
            _ => self.fix_end(),
        }
    }

    /// The segment is not the last one any more: finds out where it ends.
    fn fix_end(&mut self) -> Result<bool, Error> {
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        let directory = self.view.directory();
        let names = directory.segments()?;
        let Some(&successor) = names.iter().find(|name| name.base > current.name.base) else {
            return Ok(false);
        };
        let end = match directory.open_segment(current.name, Access::Read)? {
            Some(segment) => self.view.end_of(&segment, successor)?,
            // Unlinked while being read: what was readable is all there was.
            None => SegmentEnd {
                offset: current.window.limit(),
                seq: current.walk.expected(),
                digest: None,
                certain: false,
            },
        };
        current.window.set_limit(end.offset);
        current.end = End::Fixed(end);
        Ok(true)
    }

    /// The end of a segment: checks that nothing is missing, then opens the next one.
    pub(super) fn leave(&mut self, end: SegmentEnd) -> Result<bool, Error> {
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        let reached = current.walk.expected().min(end.seq);
        let missing = SeqRange::new(reached, end.seq);
        if end.certain && !missing.is_empty() {
            let (name, offset) = (current.name, current.walk.offset());
            current.digest = None;
            current.walk.skip_to(end.seq);
            self.lost = lost_from(self.from, missing, name, offset);
            if self.lost.is_some() {
                return Ok(true);
            }
        }
        if let (Some(digest), Some(expected)) = (current.digest.take(), end.digest)
            && digest.finish(end.offset) != expected
        {
            note(&mut self.notices, Notice::DigestDiffers { segment: current.name });
        }
        let behind = current.name;
        let reached = if end.certain { end.seq } else { reached };
        let names = self.view.directory().segments()?;
        let next = names.iter().position(|name| name.base > behind.base);
        match next {
            Some(index) => self.open_at(&names, index, reached),
            None => Ok(false),
        }
    }

    pub(super) fn open_first(&mut self) -> Result<bool, Error> {
        let names = self.view.directory().segments()?;
        if names.is_empty() {
            return Ok(false);
        }
        let index = names.partition_point(|name| name.base <= self.from).saturating_sub(1);
        self.open_at(&names, index, self.from)
    }

    /// Opens a segment; `reached` is the seq that should come next.
    pub(super) fn open_at(
        &mut self,
        names: &[SegmentName],
        index: usize,
        reached: Seq,
    ) -> Result<bool, Error> {
        let is_pruned =
            |name: &SegmentName| self.pruned.covers(SeqRange::new(name.base, name.base.next()));
        let pruned = names.iter().skip(index).take_while(|name| is_pruned(name)).count();
        let index = index + pruned;
        let Some(&name) = names.get(index) else {
            return Ok(false);
        };
        let successor = names.get(index + 1).copied();
        let directory = self.view.directory();
        let Some(segment) = directory.open_segment(name, Access::Read)? else {
            // Unlinked since it was listed: begin again with a new list.
            self.current = None;
            self.from = self.from.max(reached);
            return Ok(true);
        };
        let Some(read) = segment.header.clone() else {
            return self.pass_unreadable(segment, successor, reached);
        };
        for copy in &read.damaged_copies {
            let offset = copy * crate::limits::BLOCK_BYTES;
            note(&mut self.notices, Notice::HeaderCopyDamaged { segment: name, offset });
        }
        let start = read.header.start_seq();
        self.check_missing(SeqRange::new(reached, start), &read.header)?;
        let end = match successor {
            Some(successor) => End::Fixed(self.view.end_of(&segment, successor)?),
            None => End::Open,
        };
        let window = self.window_of(segment, end)?;
        let digest = self.options.check_digests.then(SegmentDigest::new);
        let salt = read.header.salt;
        let walk = FrameWalk::new(salt, FRAMES_OFFSET, start);
        self.current = Some(Current { name, salt, window, walk, end, digest });
        Ok(true)
    }

    fn window_of(&self, segment: OpenSegment, end: End) -> Result<Window, Error> {
        let limit = match end {
            End::Open => FRAMES_OFFSET,
            End::Fixed(end) => end.offset,
        };
        if self.options.map_sealed
            && matches!(end, End::Fixed(_))
            && let Ok(Some(map)) = segment.file.map(limit.min(segment.len))
        {
            return Ok(Window::mapped(segment.path, map, limit));
        }
        Ok(Window::new(segment.path, segment.file, limit))
    }

    /// Seqs between two segments: pruned ones are passed over, others are lost.
    fn check_missing(&mut self, missing: SeqRange, header: &SegmentHeader) -> Result<(), Error> {
        if missing.is_empty() || self.pruned.covers(missing) {
            return Ok(());
        }
        let ledger = self.view.ledger()?;
        let floor = ledger.pruned.floor();
        if self.from < floor {
            return Err(Error::Pruned { floor });
        }
        if !ledger.pruned.covers(missing) {
            let first = SegmentName { base: missing.from, day: header.name.day };
            let segment = header.previous.map_or(first, |previous| previous.name);
            let range = SeqRange::new(missing.from.max(self.from), missing.to);
            let cause = LossCause::SegmentMissing;
            self.lost = (!range.is_empty()).then_some(Lost { range, segment, offset: 0, cause });
        }
        Ok(())
    }

    /// Passes over a segment of which nothing can be verified.
    fn pass_unreadable(
        &mut self,
        segment: OpenSegment,
        successor: Option<SegmentName>,
        reached: Seq,
    ) -> Result<bool, Error> {
        let name = segment.name;
        let end = match successor {
            Some(successor) => self.view.end_of(&segment, successor)?.seq,
            None => self.view.head()?,
        };
        let after = self.end_told_by(successor, name)?.unwrap_or(end);
        let range = SeqRange::new(reached.max(self.from), after);
        let cause = LossCause::HeaderDamaged;
        if !range.is_empty() && !self.view.ledger()?.pruned.covers(range) {
            self.lost = Some(Lost { range, segment: name, offset: 0, cause });
        }
        let end = match successor {
            Some(_) => {
                End::Fixed(SegmentEnd { offset: 0, seq: after, digest: None, certain: false })
            }
            None => End::Open,
        };
        let walk = FrameWalk::new(Salt(0), FRAMES_OFFSET, after);
        let window = Window::new(segment.path, segment.file, 0);
        self.current = Some(Current { name, salt: Salt(0), window, walk, end, digest: None });
        Ok(true)
    }

    /// The seq behind `name` as the next segment's header tells it.
    fn end_told_by(
        &self,
        successor: Option<SegmentName>,
        name: SegmentName,
    ) -> Result<Option<Seq>, Error> {
        let Some(successor) = successor else {
            return Ok(None);
        };
        let next = self.view.directory().open_segment(successor, Access::Read)?;
        let previous = next.and_then(|next| next.header).and_then(|read| read.header.previous);
        Ok(previous.filter(|previous| previous.name == name).map(|previous| previous.seq))
    }
}
