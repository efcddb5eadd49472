//! [`Reader`]: goes through the journal from a seq to its durable end, across segments, damage and prunings.

use std::time::Duration;

use crate::chain::SegmentEnd;
use crate::digest::SegmentDigest;
use crate::directory::OpenSegment;
use crate::entry::{Entry, FrameHint, LastRecord, LossCause, Lost, Notice, Position};
use crate::format::{
    FRAME_HEADER_BYTES, FRAMES_OFFSET, FrameHeader, RecordsCursor, Salt, SegmentHeader, SegmentName,
};
use crate::ranges::RangeSet;
use crate::storage::Access;
use crate::view::JournalView;
use crate::walk::{FoundFrame, FrameWalk};
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

/// How a journal is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// Maps sealed segments into memory instead of reading them. A block of a mapped file that cannot be read ends
    /// the process: only for programs that may be ended.
    pub map_sealed: bool,
    /// Compares every segment that is read whole with its digest.
    pub check_digests: bool,
}

impl ReaderOptions {
    /// Maps sealed segments.
    #[must_use]
    pub const fn map_sealed(mut self) -> Self {
        self.map_sealed = true;
        self
    }

    /// Compares digests.
    #[must_use]
    pub const fn check_digests(mut self) -> Self {
        self.check_digests = true;
        self
    }
}

/// What became of a remembered position.
#[derive(Debug)]
#[non_exhaustive]
pub enum Resume {
    /// The journal holds there what it did: the reader stands behind it.
    At(Reader),
    /// It was pruned: the reader stands at the floor.
    Pruned(Reader),
    /// The journal holds something else there, or ends before: what was made from it is not of this journal.
    Mismatch {
        /// What differs, for the log.
        reason: String,
    },
}

/// Reads records in the order of their seqs. At the durable end [`Reader::next`] returns `None`, and more later.
#[derive(Debug)]
pub struct Reader {
    view: JournalView,
    options: ReaderOptions,
    /// What was pruned when the reader began: passed over, whether its files are gone or not. The tombstones of
    /// later prunings are still to be read.
    pruned: RangeSet,
    /// Nothing before this seq is returned.
    from: Seq,
    current: Option<Current>,
    frame: Option<(FoundFrame, RecordsCursor)>,
    lost: Option<Lost>,
    notices: Vec<Notice>,
    last: Option<(Seq, FrameHint)>,
    /// The record before the last one.
    before_last: Option<(Seq, FrameHint)>,
    nudges_seen: u64,
    /// It was told that the segment behind the last one is missing.
    told_missing: bool,
}

/// The segment being read.
#[derive(Debug)]
struct Current {
    name: SegmentName,
    salt: Salt,
    window: Window,
    walk: FrameWalk,
    end: End,
    /// Computed where the segment is read from its first frame on.
    digest: Option<SegmentDigest>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// It may grow.
    Open,
    Fixed(SegmentEnd),
}

/// Damage that lost nothing is remembered up to this many times.
const NOTICES_MAX: usize = 1000;

enum Step {
    Record(RecordsCursor),
    Lost(Lost),
    AtHead,
}

impl Reader {
    pub(crate) fn from_seq(
        view: JournalView,
        from: Seq,
        options: ReaderOptions,
    ) -> Result<Self, Error> {
        let pruned = view.ledger()?.pruned;
        let floor = pruned.floor();
        if from < floor && from > Seq::FIRST {
            return Err(Error::Pruned { floor });
        }
        Ok(Self::new(view, pruned, from.max(floor), options))
    }

    const fn new(view: JournalView, pruned: RangeSet, from: Seq, options: ReaderOptions) -> Self {
        Self {
            view,
            options,
            pruned,
            from,
            current: None,
            frame: None,
            lost: None,
            notices: Vec::new(),
            last: None,
            before_last: None,
            nudges_seen: 0,
            told_missing: false,
        }
    }

    pub(crate) fn resume(
        view: JournalView,
        position: &Position,
        options: ReaderOptions,
    ) -> Result<Resume, Error> {
        let mismatch = |reason: String| Ok(Resume::Mismatch { reason });
        let pruned = view.ledger()?.pruned;
        let floor = pruned.floor();
        let begin = |from| Self::new(view.clone(), pruned.clone(), from, options);
        let Some(last) = &position.last else {
            return Ok(Resume::At(begin(position.next.max(floor))));
        };
        let head = view.head()?;
        if position.next > head {
            return mismatch(format!(
                "it stands at seq {}, the journal ends at {head}",
                position.next
            ));
        }
        if last.seq < floor {
            return Ok(Resume::Pruned(begin(position.next.max(floor))));
        }
        let mut reader = match begin(last.seq).at_hint(last)? {
            Some(reader) => reader,
            None => begin(last.seq),
        };
        match reader.next()? {
            Some(Entry::Record(record)) if record.seq == last.seq => {
                if record.digest() != last.digest {
                    return mismatch(format!("the record with seq {} is another one", last.seq));
                }
                reader.from = reader.from.max(position.next);
                return Ok(Resume::At(reader));
            }
            Some(Entry::Lost(lost)) if lost.range.contains(last.seq) => {}
            _ if pruned.covers(SeqRange::new(last.seq, last.seq.next())) => {}
            _ => return mismatch(format!("the journal has no record with seq {}", last.seq)),
        }
        Ok(Resume::At(begin(position.next)))
    }

    /// The next record, or what is known to be missing before it; `None` at the durable end.
    ///
    /// # Errors
    ///
    /// [`Error::Pruned`] where the reader fell behind a pruning; [`Error::Io`].
    #[expect(clippy::should_implement_trait, reason = "the entry borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        let mut cursor = match self.step()? {
            Step::AtHead => return Ok(None),
            Step::Lost(lost) => return Ok(Some(Entry::Lost(lost))),
            Step::Record(cursor) => cursor,
        };
        let (Some((found, _)), Some(current)) = (&self.frame, &self.current) else {
            return Ok(None);
        };
        Ok(cursor.next(found.body(&current.window)).map(Entry::Record))
    }

    /// Seq from which on records are still to come.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.from
    }

    /// Where the reader stands: behind the last record it returned.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the last record has to be read again and cannot be.
    pub fn position(&mut self) -> Result<Position, Error> {
        Ok(Position { next: self.from, last: self.remember(self.last)? })
    }

    /// Where the reader stood before the last record it returned.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the record before has to be read again and cannot be.
    pub fn position_before_last(&mut self) -> Result<Position, Error> {
        let next = self.last.map_or(self.from, |(seq, _)| seq);
        Ok(Position { next, last: self.remember(self.before_last)? })
    }

    fn remember(&mut self, place: Option<(Seq, FrameHint)>) -> Result<Option<LastRecord>, Error> {
        let Some((seq, hint)) = place else { return Ok(None) };
        let digest = self.digest_at(seq, hint)?;
        Ok(digest.map(|digest| LastRecord { seq, digest, hint }))
    }

    /// Waits until there is more to read, or the time is over; may return earlier.
    pub fn wait(&mut self, timeout: Duration) {
        self.view.wait(self.from, timeout, &mut self.nudges_seen);
    }

    /// Damage met so far that lost nothing; each is told once.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn step(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(lost) = self.lost.take() {
                self.from = self.from.max(lost.range.to);
                return Ok(Step::Lost(lost));
            }
            if let (Some((found, cursor)), Some(current)) = (&mut self.frame, &self.current) {
                let before = *cursor;
                match cursor.next(found.body(&current.window)) {
                    Some(record) if record.seq < self.from => continue,
                    Some(record) => {
                        self.from = record.seq.next();
                        let hint = FrameHint { segment: current.name, offset: found.offset };
                        self.before_last = self.last.replace((record.seq, hint));
                        return Ok(Step::Record(before));
                    }
                    None => self.frame = None,
                }
            }
            if !self.find_frame()? {
                return Ok(Step::AtHead);
            }
        }
    }

    /// Goes to the next frame or to what is missing before it. `false`: the durable end is reached.
    fn find_frame(&mut self) -> Result<bool, Error> {
        let Some(current) = &mut self.current else {
            return self.open_first();
        };
        if let Some(found) = current.walk.next(&mut current.window)? {
            return self.take_frame(found);
        }
        match current.end {
            End::Open => self.extend(),
            End::Fixed(end) => self.leave(end),
        }
    }

    fn take_frame(&mut self, found: FoundFrame) -> Result<bool, Error> {
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        if let End::Fixed(end) = current.end
            && found.header.first_seq >= end.seq
        {
            // Written again in the next segment, or given up: not part of this one.
            return self.leave(end);
        }
        if let Some(hole) = found.hole {
            if hole.lost.is_empty() {
                let notice = Notice::PaddingDamaged { segment: current.name, offset: hole.offset };
                note(&mut self.notices, notice);
            } else {
                current.digest = None;
                self.lost = lost_from(self.from, hole.lost, current.name, hole.offset);
            }
        }
        if let Some(digest) = &mut current.digest {
            digest.absorb(found.offset, found.bytes(&current.window));
        }
        self.frame = Some((found, RecordsCursor::new(found.header.first_seq)));
        Ok(true)
    }

    /// At the end of what was readable of the last segment: looks how far it is now.
    fn extend(&mut self) -> Result<bool, Error> {
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
    fn leave(&mut self, end: SegmentEnd) -> Result<bool, Error> {
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

    fn open_first(&mut self) -> Result<bool, Error> {
        let names = self.view.directory().segments()?;
        if names.is_empty() {
            return Ok(false);
        }
        let index = names.partition_point(|name| name.base <= self.from).saturating_sub(1);
        self.open_at(&names, index, self.from)
    }

    /// Opens a segment; `reached` is the seq that should come next.
    fn open_at(
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
            let segment = header.previous.map_or(header.name, |previous| previous.name);
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

    /// A reader that stands before the remembered record, found where its frame stood.
    fn at_hint(mut self, last: &LastRecord) -> Result<Option<Self>, Error> {
        let names = self.view.directory().segments()?;
        let Ok(index) = names.binary_search(&last.hint.segment) else {
            return Ok(None);
        };
        self.open_at(&names, index, last.seq)?;
        if let Some(current) = &mut self.current
            && matches!(current.end, End::Open)
        {
            let head = self.view.readable_end()?.durable;
            if head.segment == Some((current.name, current.salt)) {
                current.window.set_limit(head.offset);
            }
        }
        let Some(current) = &mut self.current else {
            return Ok(None);
        };
        let bytes = current.window.get(last.hint.offset, FRAME_HEADER_BYTES)?;
        let header = FrameHeader::decode(bytes, current.salt, last.hint.offset);
        let Some(header) =
            header.filter(|header| header.first_seq <= last.seq && last.seq < header.end_seq())
        else {
            return Ok(None);
        };
        current.walk = FrameWalk::new(current.salt, last.hint.offset, header.follows());
        current.digest = None;
        self.lost = None;
        Ok(Some(self))
    }

    fn digest_at(&mut self, seq: Seq, hint: FrameHint) -> Result<Option<[u8; 16]>, Error> {
        if let Some(current) = self.current.as_ref().filter(|current| current.name == hint.segment)
        {
            // The window itself stays where it is: the frame being read is in it.
            let (window, salt) = (&current.window, current.salt);
            let held = window.held(hint.offset, FRAME_HEADER_BYTES);
            let len = FrameHeader::decode(held, salt, hint.offset).map_or(0, |header| header.len());
            let held = digest_of(window.held(hint.offset, len as usize), salt, seq, hint.offset);
            return match (held, window.apart()) {
                (None, Some(mut apart)) => digest_in(&mut apart, salt, seq, hint.offset),
                (held, _) => Ok(held),
            };
        }
        let directory = self.view.directory();
        let Some(segment) = directory.open_segment(hint.segment, Access::Read)? else {
            return Ok(None);
        };
        let Some(read) = segment.header else {
            return Ok(None);
        };
        let mut window = Window::new(segment.path, segment.file, segment.len);
        digest_in(&mut window, read.header.salt, seq, hint.offset)
    }
}

/// The digest of a record in the frame at `offset`.
fn digest_in(
    window: &mut Window,
    salt: Salt,
    seq: Seq,
    offset: u64,
) -> Result<Option<[u8; 16]>, Error> {
    let Some(header) = FrameHeader::decode(window.get(offset, FRAME_HEADER_BYTES)?, salt, offset)
    else {
        return Ok(None);
    };
    Ok(digest_of(window.get(offset, header.len() as usize)?, salt, seq, offset))
}

/// The digest of a record in a frame; `None` where `frame` does not hold all of it.
fn digest_of(frame: &[u8], salt: Salt, seq: Seq, offset: u64) -> Option<[u8; 16]> {
    let header = FrameHeader::decode(frame, salt, offset)?;
    let body = frame.get(FRAME_HEADER_BYTES..header.len() as usize)?;
    let mut cursor = RecordsCursor::new(header.first_seq);
    std::iter::from_fn(|| cursor.next(body)).find(|record| record.seq == seq).map(|r| r.digest())
}

/// The part of what is missing that a reader who begins at `from` cares for.
fn lost_from(from: Seq, missing: SeqRange, segment: SegmentName, offset: u64) -> Option<Lost> {
    let range = SeqRange::new(missing.from.max(from), missing.to);
    (!range.is_empty()).then_some(Lost { range, segment, offset, cause: LossCause::Damaged })
}

fn note(notices: &mut Vec<Notice>, notice: Notice) {
    if notices.len() < NOTICES_MAX {
        notices.push(notice);
    }
}
