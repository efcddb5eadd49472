//! [`Reader`]: goes through the journal from a seq to its durable end, across segments, damage and prunings.

use std::time::Duration;

use crate::chain::Link;
use crate::digest::SegmentDigest;
use crate::entry::{Entry, FrameHint, LossCause, Lost, Notice};
use crate::format::{RecordsCursor, Salt, SegmentName};
use crate::ranges::RangeSet;
use crate::segment_end::SegmentEnd;
use crate::view::JournalView;
use crate::walk::{FoundFrame, FrameWalk};
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

mod crossing;
mod position;

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
    /// The segments from the one being read on, as far as they were known when it was opened.
    links: Vec<Link>,
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
    /// The segment for whose absence the chain was last followed again.
    gone: Option<SegmentName>,
    /// The seq for whose absence the chain was last followed again.
    missed: Option<Seq>,
    /// The segment that was last opened again because something is missing in it.
    reopened: Option<SegmentName>,
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
            links: Vec::new(),
            current: None,
            frame: None,
            lost: None,
            notices: Vec::new(),
            last: None,
            before_last: None,
            nudges_seen: 0,
            told_missing: false,
            gone: None,
            missed: None,
            reopened: None,
        }
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
            if self.find_frame()? {
                continue;
            }
            // Less than the head, taken before nothing was found, is a loss.
            let head = self.view.head()?;
            if self.from >= head {
                return Ok(Step::AtHead);
            }
            if !self.find_frame()? {
                self.check_end(head)?;
                if self.lost.is_none() {
                    return Ok(Step::AtHead);
                }
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
            if !hole.lost.is_empty() && self.reopens() {
                return self.begin_again(hole.lost.from);
            }
            let Some(current) = &mut self.current else { return Ok(true) };
            if hole.lost.is_empty() {
                let notice = Notice::PaddingDamaged { segment: current.name, offset: hole.offset };
                note(&mut self.notices, notice);
            } else {
                current.digest = None;
                self.lost = lost_from(self.from, hole.lost, current.name, hole.offset);
            }
        }
        if let Some(current) = &mut self.current
            && let Some(digest) = &mut current.digest
        {
            digest.absorb(found.offset, found.bytes(&current.window));
        }
        self.frame = Some((found, RecordsCursor::new(found.header.first_seq)));
        Ok(true)
    }
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
