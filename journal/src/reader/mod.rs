//! [`Reader`]: reads the journal from a seq to its durable end, across segments, damage and prunings.

use std::time::Duration;

pub use self::backward::BackwardReader;
use self::jumps::Jumps;
use crate::chain::Link;
use crate::digest::SegmentDigest;
use crate::entry::{Entry, FrameHint, LossCause, Lost, Notice};
use crate::format::{OwnedRecord, RecordsCursor, Salt, SegmentName};
use crate::segment_end::SegmentEnd;
use crate::seq::RangeSet;
use crate::source::Source;
use crate::walk::{FoundFrame, FrameWalk};
use crate::window::Window;
use crate::{Error, Query, Seq, SeqRange};

mod backward;
mod crossing;
mod jumps;
mod position;

/// How a journal is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// Maps sealed segments into memory instead of reading them. An unreadable block of a mapped file ends the process
    /// (SIGBUS): only for short-lived programs.
    pub map_sealed: bool,
    /// Compares the digest of every segment that is read whole.
    pub check_digests: bool,
    /// Only records that match. Losses that may hide a match are returned too.
    pub query: Option<Query>,
    /// Ends before this seq, and at it does not wait for more.
    pub until: Option<Seq>,
    /// Ends after so many records.
    pub limit: Option<u64>,
}

impl ReaderOptions {
    /// Only records that match the query.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Self { query: Some(query), ..self }
    }

    /// Ends before this seq.
    #[must_use]
    pub fn until(self, seq: Seq) -> Self {
        Self { until: Some(seq), ..self }
    }

    /// Ends after so many records.
    #[must_use]
    pub fn limit(self, records: u64) -> Self {
        Self { limit: Some(records), ..self }
    }

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

/// The result of resuming at a [`Position`](crate::Position).
#[derive(Debug)]
#[non_exhaustive]
pub enum Resume {
    /// The record before the position is unchanged: the reader continues after it.
    At(Reader),
    /// The record was pruned: the reader continues at the floor.
    Pruned(Reader),
    /// The journal holds another record there, or ends before: the position belongs to another journal or branch.
    Mismatch {
        /// The difference, for the log.
        reason: String,
    },
}

/// Reads records in the order of their seqs. At the durable end [`Reader::next`] returns `None`, and more later.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    options: ReaderOptions,
    /// The seqs pruned when the reader began: they are skipped even if the files still exist. Tombstones of later prunings
    /// are still to be read.
    pruned: RangeSet,
    /// The next seq to return.
    from: Seq,
    /// Records returned so far.
    returned: u64,
    /// The segments from the current one on that were known when it was opened.
    links: Vec<Link>,
    current: Option<Current>,
    frame: Option<(FoundFrame, RecordsCursor)>,
    lost: Option<Lost>,
    notices: Vec<Notice>,
    last: Option<(Seq, FrameHint)>,
    /// The record before the last one.
    before_last: Option<(Seq, FrameHint)>,
    nudges_seen: u64,
    /// It was reported that the segment after the last one is missing.
    missing_reported: bool,
    /// The missing segment because of which the chain was last followed again.
    gone: Option<SegmentName>,
    /// The missing seq because of which the chain was last followed again.
    missed: Option<Seq>,
    /// The segment that was last opened again because records are missing in it.
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
    /// Computed if the segment is read from its first frame on.
    digest: Option<SegmentDigest>,
    /// The frames to look at, where an index names them.
    jumps: Option<Jumps>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// It may grow.
    Open,
    Fixed(SegmentEnd),
}

/// Limit on the notices that are kept for [`Reader::take_notices`].
const NOTICES_MAX: usize = 1000;

enum Step {
    Record(RecordsCursor),
    Lost(Lost),
    AtHead,
}

impl Reader {
    pub(crate) fn from_seq(
        source: Source,
        from: Seq,
        options: ReaderOptions,
    ) -> Result<Self, Error> {
        options.query.as_ref().map_or(Ok(()), Query::check)?;
        let pruned = source.pruned_and_gaps()?.pruned;
        let floor = pruned.floor();
        if from < floor && from > Seq::FIRST {
            return Err(Error::Pruned { floor });
        }
        Ok(Self::new(source, pruned, from.max(floor), options))
    }

    fn new(source: Source, pruned: RangeSet, from: Seq, options: ReaderOptions) -> Self {
        Self {
            source,
            options,
            pruned,
            from,
            returned: 0,
            links: Vec::new(),
            current: None,
            frame: None,
            lost: None,
            notices: Vec::new(),
            last: None,
            before_last: None,
            nudges_seen: 0,
            missing_reported: false,
            gone: None,
            missed: None,
            reopened: None,
        }
    }

    /// The next record, or the loss before it; `None` at the durable end.
    ///
    /// # Errors
    ///
    /// [`Error::Pruned`] if the next records were pruned; [`Error::Newer`] if a newer version wrote the next record with a
    /// part that must not be ignored; [`Error::Io`].
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

    /// The next record; a loss before it is an error.
    pub(crate) fn first(&mut self) -> Result<Option<OwnedRecord>, Error> {
        match self.next()? {
            Some(Entry::Record(record)) => Ok(Some(record.to_owned())),
            Some(Entry::Lost(lost)) => Err(Error::Lost(lost)),
            None => Ok(None),
        }
    }

    /// The seq of the next record.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.from
    }

    /// Waits until more can be read, at most for the timeout; may return earlier.
    pub fn wait(&mut self, timeout: Duration) {
        self.source.wait(self.from, timeout, &mut self.nudges_seen);
    }

    /// Damage so far that lost nothing; each notice is returned once.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn step(&mut self) -> Result<Step, Error> {
        loop {
            if self.options.until.is_some_and(|until| self.from >= until)
                || self.options.limit.is_some_and(|limit| self.returned >= limit)
            {
                return Ok(Step::AtHead);
            }
            if let Some(mut lost) = self.lost.take() {
                lost.range.to = lost.range.to.min(self.options.until.unwrap_or(lost.range.to));
                if lost.range.is_empty() {
                    return Ok(Step::AtHead);
                }
                self.from = self.from.max(lost.range.to);
                return Ok(Step::Lost(lost));
            }
            if let (Some((found, cursor)), Some(current)) = (&mut self.frame, &self.current) {
                let before = *cursor;
                match cursor.next(found.body(&current.window)) {
                    Some(record) if record.seq < self.from => continue,
                    Some(record) if self.options.until.is_some_and(|until| record.seq >= until) => {
                        self.from = record.seq;
                        *cursor = before;
                        return Ok(Step::AtHead);
                    }
                    Some(record) => {
                        if let Some(id) = record.extensions.unknown() {
                            *cursor = before;
                            let found = format!("seq {}, extension {id:#06x}", record.seq);
                            let path = self.source.directory().segment(current.name);
                            return Err(Error::Newer { path, found });
                        }
                        self.from = record.seq.next();
                        if self.options.query.as_ref().is_some_and(|query| !query.matches(&record))
                        {
                            continue;
                        }
                        self.returned += 1;
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
            // Fewer records than the head, taken before the search ended, are a loss.
            let head = self.source.head()?;
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

    /// Finds the next frame or the loss before it; `false` at the durable end.
    fn find_frame(&mut self) -> Result<bool, Error> {
        if self.current.is_none() {
            return self.open_first();
        }
        if let Some(found) = self.next_candidate()? {
            return self.take_frame(found);
        }
        let Some(current) = &mut self.current else { return Ok(true) };
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
            // Written again to the next segment, or dropped: not part of this one.
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

/// The part of a loss that concerns a reader that begins at `from`.
fn lost_from(from: Seq, missing: SeqRange, segment: SegmentName, offset: u64) -> Option<Lost> {
    let range = SeqRange::new(missing.from.max(from), missing.to);
    (!range.is_empty()).then_some(Lost { range, segment, offset, cause: LossCause::Damaged })
}

fn note(notices: &mut Vec<Notice>, notice: Notice) {
    if notices.len() < NOTICES_MAX {
        notices.push(notice);
    }
}
