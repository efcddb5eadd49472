//! Pruning by date: first a durable tombstone that names the segments, then they are unlinked.
//!
//! A tombstone is final. If pruning is interrupted at any point, the next opening unlinks the rest; no segment is judged by
//! date a second time.

use std::io;
use std::path::PathBuf;

use super::Writer;
use crate::chain::Link;
use crate::control::control_records;
use crate::directory::{Directory, HeaderFlaw, OpenSegment};
use crate::error::Context;
use crate::format::{ControlRecord, PrunedSegment, PrunedThrough, SegmentName};
use crate::limits::{PRUNED_RANGES_MAX, TOMBSTONE_SEGMENTS_MAX};
use crate::segment_end::segment_end;
use crate::seq::RangeSet;
use crate::storage::Access;
use crate::walk::for_each_record;
use crate::{Day, Error, Seq, SeqRange};

/// The result of a pruning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Seq of the tombstone: it prunes records before it only.
    pub tombstone: Seq,
    /// The newest day pruned; later than requested if a later one was pruned before.
    pub day: Day,
    /// Days from this one on were pruned too: see [`Journal::prune_around`](crate::Journal::prune_around).
    pub wrong_from: Option<Day>,
    /// The segments that [`Journal::unlink_pruned`](crate::Journal::unlink_pruned) will remove. On a full disk these
    /// may be fewer than possible: their room lets the next pruning take more.
    pub segments: Vec<PrunedSegment>,
}

/// The result of unlinking.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unlinked {
    /// Number of removed segments.
    pub segments: u64,
    /// Bytes that they took.
    pub bytes: u64,
    /// Files that could not be removed, with the error; the next opening or call tries again.
    pub failed: Vec<(PathBuf, io::Error)>,
}

impl Writer {
    /// Appends a tombstone. Days from `wrong_from` on were set by a wrong clock.
    pub(crate) fn prune_through(&self, day: Day, wrong_from: Option<Day>) -> Result<Pruned, Error> {
        let _one_at_a_time = self.bookkeeping();
        let day = self.seal_if_prunable(day)?;
        let wrong_from = wrong_from.filter(|from| *from > day);
        let (mut segments, wrong_from) = self.prunable(day, wrong_from)?;
        loop {
            let pruned = PrunedThrough { day, wrong_from, segments: segments.clone() };
            match self.append_control(&ControlRecord::PrunedThrough(pruned)) {
                Ok(tombstone) => return Ok(Pruned { tombstone, day, wrong_from, segments }),
                // A shorter one may fit into the reserve, and the segments that it names make room for the next.
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
            let active = state.active().map(|active| active.header.name);
            (state.pruned_and_gaps.pruned.clone(), active)
        };
        let is_pruned = |name: &SegmentName| {
            Some(*name) != active && pruned.covers(SeqRange::new(name.base, name.base.next()))
        };
        let mut unlinked = Unlinked::default();
        // A power cut may bring back an index of a segment that is gone.
        for (path, name) in self.directory.indexes()? {
            if is_pruned(&name) && !names.contains(&name) {
                unlink_index(&self.directory, path, &mut unlinked);
            }
        }
        let candidates: Vec<_> = names.into_iter().filter(is_pruned).collect();
        if candidates.is_empty() {
            return Ok(unlinked);
        }
        let mut gone = Vec::new();
        for (name, is_named) in self.named_by_tombstones(&candidates)? {
            if is_named {
                gone.push(name);
                unlink(&self.directory, name, &mut unlinked);
            } else {
                tracing::debug!(
                    path = %self.directory.segment(name).display(),
                    "pruning: no tombstone names this file, although its seqs were pruned; it is kept"
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

    /// Whether a tombstone names each file: its header has that name, salt and journal.
    ///
    /// Tombstones in older segments are read only for files that no known tombstone names.
    fn named_by_tombstones(
        &self,
        names: &[SegmentName],
    ) -> Result<Vec<(SegmentName, bool)>, Error> {
        let mut open = Vec::new();
        for &name in names {
            let Some(segment) = self.directory.open_segment(name, Access::Read)? else { continue };
            let salt = match &segment.header {
                Ok(read) if read.header.journal == self.settings.journal => read.header.salt.0,
                // The header was damaged when the file was pruned, or since.
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
            for (_, record) in control_records(&segment, segment.len, Seq(u64::MAX))? {
                for pruned in record.pruned_segments() {
                    for (found, file) in found.iter_mut().zip(&open) {
                        *found |= names_file(&pruned, *file);
                    }
                }
            }
        }
        Ok(open.into_iter().map(|(name, _)| name).zip(found).collect())
    }

    /// All segments of the journal, oldest first, empty ones included.
    pub(super) fn links(&self) -> Result<Vec<Link>, Error> {
        let Some(newest) = self.watermark.durable().segment else { return Ok(Vec::new()) };
        let (journal, first) = (self.settings.journal, Seq(0));
        self.chain.ask(&self.directory, journal, newest, first, |chain| Ok(chain.links_from(first)))
    }

    /// Seals the active segment if all its days are pruned; returns the day to prune through.
    fn seal_if_prunable(&self, day: Day) -> Result<Day, Error> {
        let mut state = self.lock_idle();
        state.ensure_open(&self.directory.root)?;
        self.resume(&mut state)?;
        let day = state.pruned_and_gaps.last_pruned_day.map_or(day, |last| last.max(day));
        self.sync_exclusively(&mut state)?;
        let days = state.active().and_then(|active| active.counts.days);
        if days.is_some_and(|(_, newest)| newest <= day) {
            match self.roll_over(&mut state) {
                // Without room for a new segment the active one stays for the next pruning.
                Err(error) if error.is_storage_full() && state.active().is_some() => {}
                result => result?,
            }
        }
        Ok(day)
    }

    /// The segments to prune, and the day from which the days of a wrong clock are pruned too, if any.
    fn prunable(
        &self,
        day: Day,
        wrong_from: Option<Day>,
    ) -> Result<(Vec<PrunedSegment>, Option<Day>), Error> {
        let links = self.links()?;
        let (active, of_active, gaps, mut pruned) = {
            let state = self.lock();
            let active = state.active();
            let days = active.and_then(|active| active.counts.days);
            let active = active.map(|active| active.header.name);
            (active, days, state.pruned_and_gaps.gaps.clone(), state.pruned_and_gaps.pruned.clone())
        };
        let known = pruned.clone();
        let wrong_from =
            wrong_from.filter(|from| of_active.is_none_or(|(_, newest)| newest < *from));
        let days = self.days_of(&links, wrong_from, &known)?;
        // The days of the wrong clock are pruned as a whole, or not at all.
        let mut places = days.iter().flatten().filter_map(|days| days.place).peekable();
        let takes_wrong = places.peek().is_some() && places.all(|place| place <= day);
        let mut segments = Vec::new();
        // No retained segment comes before the current one.
        let mut is_first = true;
        for (index, pair) in links.windows(2).enumerate() {
            let [link, successor] = pair else { continue };
            let name = link.name;
            if pruned.covers(SeqRange::new(name.base, name.base.next())) {
                continue;
            }
            let was_first = std::mem::take(&mut is_first);
            if Some(name) == active || segments.len() >= TOMBSTONE_SEGMENTS_MAX {
                continue;
            }
            let Some(SegmentDays { newest, place }) = days.get(index).copied().flatten() else {
                continue;
            };
            let newest = place.filter(|_| takes_wrong).unwrap_or(newest);
            if newest > day {
                continue;
            }
            let mut range = range_of(&self.directory, name, successor, &known)?;
            if was_first {
                // Missing segments before it were older: their loss is pruned with it.
                range.from = range.from.min(pruned.floor());
            }
            // So were missing segments between it and an older one that exists.
            let missing =
                gaps.ranges().iter().find(|gap| gap.from < range.from && gap.to >= range.from);
            if let Some(gap) = missing {
                let older = index.checked_sub(1).and_then(|index| links.get(index));
                let kept = match older {
                    Some(older) => end_of(&self.directory, older, link, &known)?,
                    None => gap.from,
                };
                range.from = gap.from.max(kept.min(range.from));
            }
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
        Ok((segments, wrong_from.filter(|_| takes_wrong)))
    }

    /// The days of each segment that was not pruned yet, except the active one.
    fn days_of(
        &self,
        links: &[Link],
        wrong_from: Option<Day>,
        pruned: &RangeSet,
    ) -> Result<Vec<Option<SegmentDays>>, Error> {
        let mut days = vec![None; links.len()];
        // Nothing comes after the active segment: a segment that counts for its place is kept.
        let mut after = Day::MAX;
        for (pair, days) in links.windows(2).zip(&mut days).rev() {
            let [link, successor] = pair else { continue };
            let (directory, name) = (&self.directory, link.name);
            if pruned.covers(SeqRange::new(name.base, name.base.next())) {
                continue;
            }
            let newest = newest_day(directory, name, successor, pruned, Day::MAX)?;
            let wrong_from = wrong_from.filter(|from| newest.is_some_and(|day| day >= *from));
            let place = match wrong_from {
                Some(from) => {
                    let last = Day(from.0.saturating_sub(1));
                    let other = newest_day(directory, name, successor, pruned, last)?;
                    Some(other.unwrap_or(after))
                }
                None => None,
            };
            after = place.or(newest).unwrap_or(after);
            *days = Some(SegmentDays { newest: newest.unwrap_or(name.day), place });
        }
        Ok(days)
    }
}

/// The age of a segment's records.
#[derive(Debug, Clone, Copy)]
struct SegmentDays {
    newest: Day,
    /// The day that counts if a wrong clock set the newest one: the newest other day, or that of the next segment.
    place: Option<Day>,
}

/// Whether a tombstone names the file with this name and salt; a header that could not be read has salt 0.
fn names_file(pruned: &PrunedSegment, (name, salt): (SegmentName, u64)) -> bool {
    (pruned.base, pruned.day) == (name.base, name.day)
        && (pruned.salt == salt || pruned.salt == 0 || salt == 0)
}

fn unlink_index(directory: &Directory, path: PathBuf, unlinked: &mut Unlinked) {
    match directory.storage.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            unlinked.failed.push((path, error));
        }
        _ => {}
    }
}

fn unlink(directory: &Directory, name: SegmentName, unlinked: &mut Unlinked) {
    // First the indexes: as long as the segment exists, the next attempt finds all of them.
    for path in [directory.keys(name), directory.tags(name)] {
        unlink_index(directory, path, unlinked);
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
            tracing::warn!(path = %path.display(), %error, "pruning: a segment cannot be removed; the next opening tries again");
            unlinked.failed.push((path, error));
        }
    }
}

/// The end of the records of `older`, which comes before `link`.
fn end_of(
    directory: &Directory,
    older: &Link,
    link: &Link,
    pruned: &RangeSet,
) -> Result<Seq, Error> {
    match directory.open_segment(older.name, Access::Read)? {
        Some(segment) => Ok(segment_end(&segment, link, || Ok(pruned.clone()))?.seq),
        None => Ok(older.name.base),
    }
}

/// The seqs that the pruning of `name` covers: from the end of the previous segment to the first seq of its successor.
///
/// If segments between it and the successor are missing, the range ends before them: that loss stays visible.
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

/// The newest day up to `last` of a segment's records; `None` if it holds no such record.
///
/// If the segment cannot be read, the later of the days in the two names.
fn newest_day(
    directory: &Directory,
    name: SegmentName,
    successor: &Link,
    pruned: &RangeSet,
    last: Day,
) -> Result<Option<Day>, Error> {
    let by_name = Some(name.day.max(successor.name.day));
    let Some(segment) = directory.open_segment(name, Access::Read)? else {
        return Ok(by_name);
    };
    let Ok(header) = segment.header.as_ref().map(|read| read.header.clone()) else {
        return Ok(by_name);
    };
    match segment.footer(header.salt)?.map(|footer| footer.counts.days) {
        Some(None) => return Ok(None),
        Some(Some((_, newest))) if newest <= last => return Ok(Some(newest)),
        _ => {}
    }
    newest_day_of_frames(&segment, successor, pruned, last)
}

fn newest_day_of_frames(
    segment: &OpenSegment,
    successor: &Link,
    pruned: &RangeSet,
    last: Day,
) -> Result<Option<Day>, Error> {
    let end = segment_end(segment, successor, || Ok(pruned.clone()))?;
    let mut newest = Some(segment.name.day).filter(|day| *day <= last);
    for_each_record(segment, end.offset, |record| {
        if record.seq < end.seq {
            newest = newest.max(Some(record.day).filter(|day| *day <= last));
        }
    })?;
    Ok(newest)
}
