//! Pruning by date: a tombstone first, durable, that names the segments; then they are unlinked.
//!
//! What a tombstone names is settled for ever. Interrupted anywhere, the next opening unlinks the rest; nothing is
//! evaluated by date a second time.

use std::io;
use std::path::PathBuf;

use super::Writer;
use crate::chain::segment_end;
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::format::{
    FRAMES_OFFSET, PrunedSegment, PrunedThrough, RecordsCursor, SegmentName, SystemRecord,
};
use crate::limits::{PRUNED_RANGES_MAX, TOMBSTONE_SEGMENTS_MAX};
use crate::ranges::RangeSet;
use crate::storage::Access;
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::{Day, Error, Seq, SeqRange};

/// What a pruning did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Seq of the tombstone: it prunes what stands before it.
    pub tombstone: Seq,
    /// The newest day pruned; later than asked for where a later one was pruned before.
    pub day: Day,
    /// The segments that [`Journal::unlink_pruned`](crate::Journal::unlink_pruned) will remove. On a full disk these
    /// may be fewer than could go: with their room the next pruning takes more.
    pub segments: Vec<PrunedSegment>,
}

/// What unlinking did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unlinked {
    /// Number of segments removed.
    pub segments: u64,
    /// Bytes they took.
    pub bytes: u64,
    /// Files that could not be removed, and why; they are tried again at the next opening or call.
    pub failed: Vec<(PathBuf, io::Error)>,
}

impl Writer {
    pub(crate) fn prune_through(&self, day: Day) -> Result<Pruned, Error> {
        let _one_at_a_time = self.bookkeeping();
        let day = self.seal_if_prunable(day)?;
        let mut segments = self.prunable(day)?;
        loop {
            let pruned = PrunedThrough { day, segments: segments.clone() };
            match self.append_system(&SystemRecord::PrunedThrough(pruned)) {
                Ok(tombstone) => return Ok(Pruned { tombstone, day, segments }),
                // A shorter one may fit into what is kept back, and what it names makes room for the next.
                Err(Error::StorageFull { .. }) if segments.len() > 1 => {
                    segments.truncate(segments.len() / 2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes every segment that a durable tombstone names.
    pub(crate) fn unlink_pruned(&self) -> Result<Unlinked, Error> {
        let _one_at_a_time = self.bookkeeping();
        let names = self.directory.segments()?;
        let gone: Vec<_> = {
            let state = self.lock();
            state.ensure_open()?;
            let active = state.active.as_ref().map(|active| active.header.name);
            let is_pruned = |name: &SegmentName| {
                Some(*name) != active
                    && state.ledger.pruned.covers(SeqRange::new(name.base, name.base.next()))
            };
            names.into_iter().filter(is_pruned).collect()
        };
        let mut unlinked = Unlinked::default();
        for &name in &gone {
            unlink(&self.directory, name, &mut unlinked);
        }
        if !gone.is_empty() {
            let journal = &self.directory.journal;
            self.directory.storage.sync_directory(journal).context("sync", journal)?;
            self.lock().keys.forget(|name| gone.contains(&name));
        }
        Ok(unlinked)
    }

    /// Seals the active segment if all its days go; returns the day to prune through.
    fn seal_if_prunable(&self, day: Day) -> Result<Day, Error> {
        let mut state = self.lock_idle();
        state.ensure_open()?;
        self.resume(&mut state)?;
        let day = state.ledger.last_pruned_day.map_or(day, |last| last.max(day));
        self.sync_exclusively(&mut state)?;
        let days = state.active.as_ref().and_then(|active| active.counts.days);
        if days.is_some_and(|(_, newest)| newest <= day) {
            match self.roll(&mut state) {
                // Without room for a new segment the active one stays for the next pruning.
                Err(error) if error.is_storage_full() && state.active.is_some() => {}
                result => result?,
            }
        }
        Ok(day)
    }

    fn prunable(&self, day: Day) -> Result<Vec<PrunedSegment>, Error> {
        let names = self.directory.segments()?;
        let (active, gaps, mut pruned) = {
            let state = self.lock();
            let active = state.active.as_ref().map(|active| active.header.name);
            (active, state.ledger.gaps.clone(), state.ledger.pruned.clone())
        };
        let known = pruned.clone();
        let mut segments = Vec::new();
        // Nothing stays that stands before what is looked at.
        let mut is_first = true;
        for pair in names.windows(2) {
            let &[name, successor] = pair else { continue };
            if pruned.covers(SeqRange::new(name.base, name.base.next())) {
                continue;
            }
            let was_first = std::mem::take(&mut is_first);
            if Some(name) == active || segments.len() >= TOMBSTONE_SEGMENTS_MAX {
                continue;
            }
            let newest = newest_day(&self.directory, name, successor, &known)?;
            if newest > day {
                continue;
            }
            let mut range = range_of(&self.directory, name, successor, &known)?;
            if was_first {
                // Segments that are missing before it were older: that loss is pruned with it, as they would have been.
                range.from = range.from.min(pruned.floor());
            }
            // So were those between it and an older one that is still there.
            let missing =
                gaps.ranges().iter().find(|gap| gap.from < range.from && gap.to >= range.from);
            range.from = missing.map_or(range.from, |gap| gap.from);
            let mut with = pruned.clone();
            with.insert(range);
            if with.len() <= PRUNED_RANGES_MAX {
                pruned = with;
                segments.push(PrunedSegment { range, day: name.day });
                is_first = was_first;
            }
        }
        Ok(segments)
    }
}

fn unlink(directory: &Directory, name: SegmentName, unlinked: &mut Unlinked) {
    // The keys go first: while the segment is there it is found again, and they with it.
    match directory.storage.remove(&directory.keys(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            unlinked.failed.push((directory.keys(name), error));
        }
        _ => {}
    }
    let path = directory.segment(name);
    let bytes = directory.storage.stat(&path).map_or(0, |stat| stat.len);
    match directory.storage.remove(&path) {
        Ok(()) => {
            unlinked.segments += 1;
            unlinked.bytes += bytes;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a pruned segment cannot be removed");
            unlinked.failed.push((path, error));
        }
    }
}

/// What the pruning of `name` accounts for: everything from the end of the segment before it, seqs left out included, to
/// where its successor begins, unless segments between the two are missing: that loss is not to be hidden.
fn range_of(
    directory: &Directory,
    name: SegmentName,
    successor: SegmentName,
    pruned: &RangeSet,
) -> Result<SeqRange, Error> {
    let whole = SeqRange::new(name.base, successor.base);
    let Some(segment) = directory.open_segment(name, Access::Read)? else {
        return Ok(whole);
    };
    let start = segment.header.as_ref().map_or(name.base, |read| read.header.start_seq());
    let from = start.min(name.base);
    let next = directory.open_segment(successor, Access::Read)?.and_then(|next| next.header);
    let previous = next.and_then(|read| read.header.previous);
    if previous.is_some_and(|previous| previous.name != name) {
        let end = segment_end(directory, &segment, successor, || Ok(pruned.clone()))?;
        if end.certain {
            return Ok(SeqRange::new(from, end.seq));
        }
    }
    Ok(SeqRange::new(from, successor.base))
}

/// The newest day of a segment's records; the later of the two names' days where that cannot be read.
fn newest_day(
    directory: &Directory,
    name: SegmentName,
    successor: SegmentName,
    pruned: &RangeSet,
) -> Result<Day, Error> {
    let by_name = name.day.max(successor.day);
    let Some(segment) = directory.open_segment(name, Access::Read)? else {
        return Ok(by_name);
    };
    let Some(header) = segment.header.as_ref().map(|read| read.header.clone()) else {
        return Ok(by_name);
    };
    if let Some(footer) = segment.footer(header.salt)? {
        return Ok(footer.counts.days.map_or(name.day, |(_, newest)| newest));
    }
    newest_day_of_frames(directory, segment, (successor, pruned), name.day)
}

fn newest_day_of_frames(
    directory: &Directory,
    segment: OpenSegment,
    (successor, pruned): (SegmentName, &RangeSet),
    mut newest: Day,
) -> Result<Day, Error> {
    let end = segment_end(directory, &segment, successor, || Ok(pruned.clone()))?;
    let Some(read) = segment.header else {
        return Ok(newest);
    };
    let mut window = Window::new(segment.path, segment.file, end.offset);
    let mut walk = FrameWalk::new(read.header.salt, FRAMES_OFFSET, read.header.start_seq());
    while let Some(found) = walk.next(&mut window)? {
        let body = found.body(&window);
        let mut cursor = RecordsCursor::new(found.header.first_seq);
        while let Some(record) = cursor.next(body).filter(|record| record.seq < end.seq) {
            newest = newest.max(record.day);
        }
    }
    Ok(newest)
}
