//! Pruning by date: a tombstone first, durable, that names the segments; then they are unlinked.
//!
//! What a tombstone names is settled for ever. Interrupted anywhere, the next opening unlinks the rest; nothing is
//! evaluated by date a second time.

use std::io;
use std::path::PathBuf;

use super::Writer;
use crate::chain::Link;
use crate::directory::{Directory, HeaderFlaw, OpenSegment};
use crate::error::Context;
use crate::format::{
    FRAMES_OFFSET, PrunedSegment, PrunedThrough, RecordsCursor, SegmentName, SystemRecord,
};
use crate::limits::{PRUNED_RANGES_MAX, TOMBSTONE_SEGMENTS_MAX};
use crate::notable::system_records;
use crate::ranges::RangeSet;
use crate::segment_end::segment_end;
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

    /// Removes every segment that a durable tombstone names, and no other file.
    pub(crate) fn unlink_pruned(&self) -> Result<Unlinked, Error> {
        let _one_at_a_time = self.bookkeeping();
        let names = self.directory.segments()?;
        let (pruned, active) = {
            let state = self.lock();
            state.ensure_open(&self.directory.root)?;
            let active = state.active.as_ref().map(|active| active.header.name);
            (state.ledger.pruned.clone(), active)
        };
        let is_pruned = |name: &SegmentName| {
            Some(*name) != active && pruned.covers(SeqRange::new(name.base, name.base.next()))
        };
        let left: Vec<_> = names.into_iter().filter(is_pruned).collect();
        let mut unlinked = Unlinked::default();
        if left.is_empty() {
            return Ok(unlinked);
        }
        let mut gone = Vec::new();
        for (name, is_named) in self.named_by_tombstones(&left)? {
            if is_named {
                gone.push(name);
                unlink(&self.directory, name, &mut unlinked);
            } else {
                tracing::debug!(
                    path = %self.directory.segment(name).display(),
                    "no tombstone names this file, though its seqs were pruned; it is left alone"
                );
            }
        }
        if !gone.is_empty() {
            let journal = &self.directory.journal;
            self.directory.storage.sync_directory(journal).context("sync", journal)?;
            self.chain.forget(|name| gone.contains(&name));
            self.lock().keys.forget(|name| gone.contains(&name));
        }
        Ok(unlinked)
    }

    /// Says of each file whether it is the very one that a tombstone names: its header has that name, salt and journal.
    ///
    /// Tombstones in older segments are looked for only where one that is known does not answer.
    fn named_by_tombstones(
        &self,
        names: &[SegmentName],
    ) -> Result<Vec<(SegmentName, bool)>, Error> {
        let mut open = Vec::new();
        for &name in names {
            let Some(segment) = self.directory.open_segment(name, Access::Read)? else { continue };
            let salt = match &segment.header {
                Ok(read) if read.header.journal == self.settings.journal => read.header.salt.0,
                // It was damaged when it was pruned, or since.
                Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => 0,
                _ => continue,
            };
            open.push((name, salt));
        }
        let known = self.lock().tombstones.clone();
        let mut found: Vec<bool> =
            open.iter().map(|file| known.iter().any(|pruned| names_file(pruned, *file))).collect();
        let links = if found.contains(&false) { self.links()? } else { Vec::new() };
        for link in links.iter().rev() {
            if !found.contains(&false) {
                break;
            }
            let Some(segment) = self.directory.open_segment(link.name, Access::Read)? else {
                continue;
            };
            let Ok(read) = &segment.header else { continue };
            let (salt, limit) = (read.header.salt, segment.len);
            for (_, record) in system_records(&segment, salt, limit, Seq(u64::MAX))? {
                for pruned in record.pruned_segments() {
                    for (found, file) in found.iter_mut().zip(&open) {
                        *found |= names_file(&pruned, *file);
                    }
                }
            }
        }
        Ok(open.into_iter().map(|(name, _)| name).zip(found).collect())
    }

    /// All segments of the journal, oldest first, also those that hold nothing.
    pub(super) fn links(&self) -> Result<Vec<Link>, Error> {
        let Some(newest) = self.watermark.durable().segment else { return Ok(Vec::new()) };
        let (journal, first) = (self.settings.journal, Seq(0));
        self.chain.ask(&self.directory, journal, newest, first, |chain| Ok(chain.links_from(first)))
    }

    /// Seals the active segment if all its days go; returns the day to prune through.
    fn seal_if_prunable(&self, day: Day) -> Result<Day, Error> {
        let mut state = self.lock_idle();
        state.ensure_open(&self.directory.root)?;
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
        let links = self.links()?;
        let (active, gaps, mut pruned) = {
            let state = self.lock();
            let active = state.active.as_ref().map(|active| active.header.name);
            (active, state.ledger.gaps.clone(), state.ledger.pruned.clone())
        };
        let known = pruned.clone();
        let mut segments = Vec::new();
        // Nothing stays that stands before what is looked at.
        let mut is_first = true;
        for pair in links.windows(2) {
            let [link, successor] = pair else { continue };
            let name = link.name;
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
                segments.push(PrunedSegment {
                    range,
                    base: name.base,
                    day: name.day,
                    salt: link.salt.0,
                });
                is_first = was_first;
            }
        }
        Ok(segments)
    }
}

/// Whether a tombstone names the file with this name and salt; a header that could not be read has salt 0.
fn names_file(pruned: &PrunedSegment, (name, salt): (SegmentName, u64)) -> bool {
    (pruned.base, pruned.day) == (name.base, name.day)
        && (pruned.salt == salt || pruned.salt == 0 || salt == 0)
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
    successor: &Link,
    pruned: &RangeSet,
) -> Result<SeqRange, Error> {
    let whole = SeqRange::new(name.base, successor.name.base);
    let Some(segment) = directory.open_segment(name, Access::Read)? else {
        return Ok(whole);
    };
    let start = segment.header.as_ref().map_or(name.base, |read| read.header.start_seq());
    let from = start.min(name.base);
    if successor.previous.is_some_and(|previous| previous.name != name) {
        let end = segment_end(&segment, successor, || Ok(pruned.clone()))?;
        if end.certain {
            return Ok(SeqRange::new(from, end.seq));
        }
    }
    Ok(SeqRange::new(from, successor.name.base))
}

/// The newest day of a segment's records; the later of the two names' days where that cannot be read.
fn newest_day(
    directory: &Directory,
    name: SegmentName,
    successor: &Link,
    pruned: &RangeSet,
) -> Result<Day, Error> {
    let by_name = name.day.max(successor.name.day);
    let Some(segment) = directory.open_segment(name, Access::Read)? else {
        return Ok(by_name);
    };
    let Ok(header) = segment.header.as_ref().map(|read| read.header.clone()) else {
        return Ok(by_name);
    };
    if let Some(footer) = segment.footer(header.salt)? {
        return Ok(footer.counts.days.map_or(name.day, |(_, newest)| newest));
    }
    newest_day_of_frames(segment, (successor, pruned), name.day)
}

fn newest_day_of_frames(
    segment: OpenSegment,
    (successor, pruned): (&Link, &RangeSet),
    mut newest: Day,
) -> Result<Day, Error> {
    let end = segment_end(&segment, successor, || Ok(pruned.clone()))?;
    let Ok(read) = segment.header else {
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
