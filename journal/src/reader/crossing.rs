//! Moves a [`Reader`] from one segment to the next, past pruned, missing and unreadable ones.

use super::{Current, End, Reader, lost_from, note};
use crate::chain::Link;
use crate::digest::SegmentDigest;
use crate::directory::{HeaderFlaw, OpenSegment};
use crate::entry::{LossCause, Lost, Notice};
use crate::format::{FRAMES_OFFSET, Salt, SegmentHeader, SegmentName};
use crate::segment_end::SegmentEnd;
use crate::seq::RangeSet;
use crate::storage::Access;
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

impl Reader {
    /// Extends the window of the last segment to the current durable end.
    pub(super) fn extend(&mut self) -> Result<bool, Error> {
        let head = self.source.readable_end()?;
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        match head.durable.segment {
            Some((name, salt)) if (name, salt) == (current.name, current.salt) => {
                if head.durable.offset > current.window.limit() {
                    current.window.set_limit(head.durable.offset);
                    self.aim_in_active(head.durable)?;
                    return Ok(true);
                }
                let missing = SeqRange::new(current.walk.expected(), head.durable.seq);
                if !missing.is_empty() && self.reopens() {
                    return self.begin_again(missing.from);
                }
                let Some(current) = &mut self.current else { return Ok(true) };
                current.walk.skip_to(head.durable.seq);
                let (name, offset) = (current.name, current.walk.offset());
                self.lost = lost_from(self.from, missing, name, offset);
                if self.lost.is_none() && head.active_missing && !self.missing_reported {
                    self.missing_reported = true;
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
            // A segment that cannot be read: everything so far was reported as lost.
            Some((name, _))
                if name == current.name && current.salt.0 == 0 && self.from >= head.durable.seq =>
            {
                Ok(false)
            }
            Some((name, _)) if name == current.name => {
                // Replaced by a segment with the same frames.
                self.current = None;
                Ok(true)
            }
            _ => self.fix_end(),
        }
    }

    /// Fixes the end of a segment that is not the last one any more.
    fn fix_end(&mut self) -> Result<bool, Error> {
        self.links = self.source.links_from(self.from)?;
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        let base = current.name.base;
        let Some(successor) = self.links.iter().find(|link| link.name.base > base) else {
            return Ok(false);
        };
        let directory = self.source.directory();
        let end = match directory.open_segment(current.name, Access::Read)? {
            Some(segment) => self.source.end_of(&segment, successor)?,
            // Unlinked while being read: its end is the durable end that was known.
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

    /// Leaves a segment at its end: checks that no record is missing, then opens the next one.
    pub(super) fn leave(&mut self, end: SegmentEnd) -> Result<bool, Error> {
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        let reached = current.walk.expected().min(end.seq);
        let missing = SeqRange::new(reached, end.seq);
        if end.certain && !missing.is_empty() {
            if self.reopens() {
                return self.begin_again(reached);
            }
            let Some(current) = &mut self.current else { return Ok(true) };
            let (name, offset) = (current.name, current.walk.offset());
            current.digest = None;
            current.walk.skip_to(end.seq);
            self.lost = lost_from(self.from, missing, name, offset);
            if self.lost.is_some() {
                return Ok(true);
            }
        }
        let Some(current) = &mut self.current else { return Ok(true) };
        if let (Some(digest), Some(expected)) = (current.digest.take(), end.digest)
            && digest.finish(end.offset) != expected
        {
            note(&mut self.notices, Notice::DigestDiffers { segment: current.name });
        }
        let base = current.name.base;
        let reached = if end.certain { end.seq } else { reached };
        let next = |links: &[Link]| links.iter().position(|link| link.name.base > base);
        let index = match next(&self.links) {
            Some(index) => Some(index),
            None => {
                self.links = self.source.links_from(self.from)?;
                next(&self.links)
            }
        };
        index.map_or(Ok(false), |index| self.open_at(index, reached))
    }

    pub(super) fn open_first(&mut self) -> Result<bool, Error> {
        self.links = self.source.links_from(self.from)?;
        if self.links.is_empty() {
            return Ok(false);
        }
        let holding = self.links.partition_point(|link| link.name.base <= self.from);
        self.open_at(holding.saturating_sub(1), self.from)
    }

    /// Opens the segment with this index; `reached` is the next expected seq.
    pub(super) fn open_at(&mut self, index: usize, reached: Seq) -> Result<bool, Error> {
        let is_pruned = |link: &Link, pruned: &RangeSet| {
            pruned.covers(SeqRange::new(link.name.base, link.name.base.next()))
        };
        let (mut index, mut reached) = (index, reached);
        loop {
            let rest = self.links.iter().skip(index);
            index += rest.take_while(|link| is_pruned(link, &self.pruned)).count();
            let passed = self.pass_without_match(index, reached);
            if passed == (index, reached) {
                break;
            }
            (index, reached) = passed;
        }
        let Some(link) = self.links.get(index).cloned() else {
            return Ok(false);
        };
        let name = link.name;
        let successor = self.links.get(index + 1).cloned();
        let directory = self.source.directory();
        let segment = directory.open_segment(name, Access::Read)?;
        // Another file may have taken the name since the chain was followed.
        let segment = segment.filter(|segment| match &segment.header {
            Ok(read) => link.salt.0 == 0 || read.header.salt == link.salt,
            Err(HeaderFlaw::Misnamed(_) | HeaderFlaw::Blank) => false,
            Err(_) => true,
        });
        let Some(segment) = segment else {
            if self.gone != Some(name) {
                // Unlinked, or moved, since the chain was followed: begin again.
                self.gone = Some(name);
                return self.begin_again(reached);
            }
            return self.open_at(index + 1, reached);
        };
        let read = match &segment.header {
            Ok(read) => read.clone(),
            Err(flaw) => {
                let cause = match flaw {
                    HeaderFlaw::Unopenable(_) => LossCause::Unopenable,
                    _ => LossCause::HeaderDamaged,
                };
                return self.pass_unreadable(segment, successor, reached, cause);
            }
        };
        for copy in &read.damaged_copies {
            let offset = copy * crate::limits::BLOCK_BYTES;
            note(&mut self.notices, Notice::HeaderCopyDamaged { segment: name, offset });
        }
        let start = read.header.start_seq();
        if !self.check_missing(SeqRange::new(reached, start), &read.header)? {
            return self.begin_again(reached);
        }
        let end = match successor {
            Some(successor) => End::Fixed(self.source.end_of(&segment, &successor)?),
            None => End::Open,
        };
        let window = self.window_of(segment, end)?;
        let digest = self.options.check_digests.then(SegmentDigest::new);
        let salt = read.header.salt;
        let walk = FrameWalk::new(salt, FRAMES_OFFSET, start);
        self.current = Some(Current { name, salt, window, walk, end, digest, jumps: None });
        self.aim_in_sealed()?;
        Ok(true)
    }

    /// Whether to open the current segment again before a loss is reported, which is done once.
    ///
    /// Its file may have been replaced, or a cache may show old bytes.
    pub(super) fn reopens(&mut self) -> bool {
        let name = self.current.as_ref().map(|current| current.name);
        let first_time = self.reopened != name;
        self.reopened = name;
        first_time
    }

    /// Follows the chain again from `reached` on, because files have changed.
    pub(super) fn begin_again(&mut self, reached: Seq) -> Result<bool, Error> {
        self.source.forget_chain();
        self.current = None;
        self.from = self.from.max(reached);
        Ok(true)
    }

    /// Reports the rest as missing: no segment follows, although the journal reached `head`.
    pub(super) fn check_end(&mut self, head: Seq) -> Result<(), Error> {
        let missing = SeqRange::new(self.from, head);
        if missing.is_empty() {
            return Ok(());
        }
        if self.source.pruned_and_gaps()?.pruned.covers(missing) {
            self.from = head;
            return Ok(());
        }
        let last = self.links.last().map(|link| link.name);
        let day = last.map_or(crate::Day(0), |name| name.day);
        let segment = last.filter(|last| last.base >= self.from);
        let segment = segment.unwrap_or(SegmentName { base: self.from, day });
        let cause = LossCause::SegmentMissing;
        self.lost = Some(Lost { range: missing, segment, offset: 0, cause });
        Ok(())
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

    /// Skips pruned seqs between two segments and reports others as lost.
    ///
    /// `false`: the chain has to be followed again before a loss is reported.
    fn check_missing(&mut self, missing: SeqRange, header: &SegmentHeader) -> Result<bool, Error> {
        if missing.is_empty() || self.pruned.covers(missing) {
            return Ok(true);
        }
        let pruned_and_gaps = self.source.pruned_and_gaps()?;
        let floor = pruned_and_gaps.pruned.floor();
        if self.from < floor {
            return Err(Error::Pruned { floor });
        }
        if !pruned_and_gaps.pruned.covers(missing) {
            if self.missed != Some(missing.from) {
                self.missed = Some(missing.from);
                return Ok(false);
            }
            let first = SegmentName { base: missing.from, day: header.name.day };
            let segment = header.previous.map_or(first, |previous| previous.name);
            let range = SeqRange::new(missing.from.max(self.from), missing.to);
            let cause = LossCause::SegmentMissing;
            self.lost = (!range.is_empty()).then_some(Lost { range, segment, offset: 0, cause });
        }
        Ok(true)
    }

    /// Skips a segment in which nothing can be verified.
    fn pass_unreadable(
        &mut self,
        segment: OpenSegment,
        successor: Option<Link>,
        reached: Seq,
        cause: LossCause,
    ) -> Result<bool, Error> {
        let name = segment.name;
        let end = match &successor {
            Some(successor) => self.source.end_of(&segment, successor)?.seq,
            None => self.source.head()?,
        };
        let named = successor.as_ref().and_then(|successor| successor.previous);
        let after =
            named.filter(|previous| previous.name == name).map_or(end, |previous| previous.seq);
        let range = SeqRange::new(reached.max(self.from), after);
        if !range.is_empty() && !self.source.pruned_and_gaps()?.pruned.covers(range) {
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
        self.current =
            Some(Current { name, salt: Salt(0), window, walk, end, digest: None, jumps: None });
        Ok(true)
    }
}
