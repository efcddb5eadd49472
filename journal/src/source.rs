//! [`Source`]: reads a journal in the process that writes it, in another one, or at rest.

use crate::sync::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::{ChainCache, Link};
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::examine::{Bounds, examine};
use crate::format::{ContentEnd, DurabilityMarker, Salt, SegmentHeader, SegmentName};
use crate::index::{SegmentIndex, Sidecar, TermHasher, read_before};

use crate::control::{PrunedAndGaps, control_records};
use crate::newest::find_newest;
use crate::recovery::clean_end;
use crate::segment_end::{SegmentEnd, segment_end};
use crate::storage::{Access, EntryKind, FileStat, Storage};
use crate::watermark::Durable;
use crate::writer::Writer;
use crate::{Error, Seq};

/// Interval of checks of another process's journal while waiting.
const POLL: Duration = Duration::from_millis(20);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Writer(Arc<Writer>),
    Other(Arc<Other>),
}

/// The journal of another process, or at rest.
#[derive(Debug)]
pub(crate) struct Other {
    directory: Directory,
    journal: [u8; 16],
    incarnation: [u8; 16],
    chain: ChainCache,
    /// The end at rest, and the state of the files from which it was computed.
    at_rest: Mutex<Option<(FilesAtRest, Head)>>,
}

/// What every run of a writer changes: while it is equal, so is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FilesAtRest {
    marker: Option<DurabilityMarker>,
    last: SegmentName,
    last_file: FileStat,
    files: usize,
}

/// The readable end of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) durable: Durable,
    /// The segment after the last one is missing: it held the newest records.
    pub(crate) active_missing: bool,
}

impl Source {
    /// Opens the journal below `root`, of another process or at rest. Locks and writes nothing.
    pub(crate) fn open(root: &Path, storage: Arc<dyn Storage>) -> Result<Self, Error> {
        let directory = Directory::new(storage, root);
        directory.check_layout()?;
        let missing = || Error::NotFound { path: root.to_owned() };
        match directory.storage.stat(&directory.journal) {
            Ok(stat) if stat.kind == EntryKind::File => return Err(missing()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(error).context("read", &directory.journal),
        }
        directory.check_mounted(directory.is_mount().context("read", &directory.journal)?)?;
        if directory.segments()?.is_empty() {
            return Err(missing());
        }
        let newest = find_newest(&directory, Access::Read)?;
        let of_segment = newest.segment.as_ref().and_then(|segment| segment.header.as_ref().ok());
        let journal = of_segment
            .map(|read| read.header.journal)
            .or(newest.marker.map(|marker| marker.journal))
            .or(newest.identity.map(|identity| identity.journal))
            .unwrap_or_default();
        let chain = ChainCache::default();
        let incarnation = newest.incarnation().unwrap_or_default();
        let other = Other { directory, journal, incarnation, chain, at_rest: Mutex::new(None) };
        Ok(Self::Other(Arc::new(other)))
    }

    pub(crate) fn journal_id(&self) -> [u8; 16] {
        match self {
            Self::Writer(writer) => writer.settings.journal,
            Self::Other(other) => other.journal,
        }
    }

    pub(crate) fn incarnation(&self) -> [u8; 16] {
        match self {
            Self::Writer(writer) => writer.settings.incarnation,
            Self::Other(other) => other.incarnation,
        }
    }

    pub(crate) fn head(&self) -> Result<Seq, Error> {
        self.readable_end().map(|head| head.durable.seq)
    }

    /// Waits until a record from `seq` on may be read, for the timeout, or until a nudge.
    pub(crate) fn wait(&self, seq: Seq, timeout: Duration, nudges_seen: &mut u64) {
        match self {
            Self::Writer(writer) => writer.watermark.wait(seq, timeout, nudges_seen),
            Self::Other(_) => std::thread::sleep(POLL.min(timeout)),
        }
    }

    pub(crate) fn directory(&self) -> &Directory {
        match self {
            Self::Writer(writer) => &writer.directory,
            Self::Other(other) => &other.directory,
        }
    }

    /// The end of `segment`, which comes before `successor`.
    pub(crate) fn end_of(
        &self,
        segment: &OpenSegment,
        successor: &Link,
    ) -> Result<SegmentEnd, Error> {
        segment_end(segment, successor, || Ok(self.pruned_and_gaps()?.pruned))
    }

    /// Hashes the terms of this journal as a file with so many bits does.
    pub(crate) fn hasher(&self, bits: u32) -> TermHasher {
        TermHasher::new(self.journal_id(), bits)
    }

    /// The index of a sealed segment, if its file is there and whole.
    pub(crate) fn known_sidecar(&self, name: SegmentName, salt: Salt, end: Seq) -> Option<Sidecar> {
        Sidecar::open(self.directory(), salt, name, end)
    }

    /// The index of a sealed segment. The process that writes makes a missing one if `is_needed`.
    pub(crate) fn sidecar(
        &self,
        name: SegmentName,
        salt: Salt,
        end: ContentEnd,
        is_needed: bool,
    ) -> Result<Option<Sidecar>, Error> {
        let directory = self.directory();
        let found = self.known_sidecar(name, salt, end.seq);
        let Self::Writer(writer) = self else { return Ok(found) };
        if found.is_some() || !is_needed {
            return Ok(found);
        }
        let hasher = writer.lock().tags.hasher;
        let Some(segment) = directory.open_segment(name, Access::Read)? else { return Ok(None) };
        let Ok(read) = &segment.header else { return Ok(None) };
        if read.header.salt != salt {
            return Ok(None);
        }
        let Some(index) = SegmentIndex::read(&segment, &hasher, end)? else { return Ok(None) };
        Sidecar::write(directory, &read.header, &hasher, end.seq, &index);
        Ok(Sidecar::open(directory, salt, name, end.seq))
    }

    /// Calls `choose` with the index of the active segment if this is it and this process writes it.
    ///
    /// If `is_needed`, frames that were there when the segment was opened are read, without the lock.
    pub(crate) fn in_active<T>(
        &self,
        (name, salt): (SegmentName, Salt),
        is_needed: bool,
        choose: impl Fn(&SegmentIndex, &TermHasher) -> (u32, Option<T>),
    ) -> Result<(u32, Option<T>), Error> {
        let Self::Writer(writer) = self else { return Ok((0, None)) };
        loop {
            let state = writer.lock();
            let is_active = |header: &SegmentHeader| (header.name, header.salt) == (name, salt);
            if !state.active().is_some_and(|active| is_active(&active.header)) {
                return Ok((0, None));
            }
            if let Some(index) = state.tags.whole() {
                return Ok(choose(index, &state.tags.hasher));
            }
            let (hasher, Some(unread_to)) = (state.tags.hasher, state.tags.unread_to) else {
                return Ok((0, None));
            };
            drop(state);
            if !is_needed {
                return Ok((0, None));
            }
            let before = read_before(self.directory(), name, &hasher, unread_to);
            let Some(before) = before else { return Ok((0, None)) };
            let mut state = writer.lock();
            if state.active().is_some_and(|active| is_active(&active.header)) {
                state.tags.complete(unread_to, before);
            }
        }
    }

    /// The segments of the journal from the one that holds `from` on, oldest first.
    pub(crate) fn links_from(&self, from: Seq) -> Result<Vec<Link>, Error> {
        let newest = match self {
            Self::Writer(writer) => writer.watermark.durable().segment,
            Self::Other(other) => other.head()?.durable.segment,
        };
        let Some(newest) = newest else { return Ok(Vec::new()) };
        let cache = self.chain_cache();
        cache.ask(self.directory(), self.journal_id(), newest, from, |chain| {
            Ok(chain.links_from(from))
        })
    }

    /// All segments of the journal, oldest first, empty ones included.
    pub(crate) fn links(&self) -> Result<Vec<Link>, Error> {
        self.links_from(Seq(0))
    }

    /// Forgets the chain after files have changed: the next call follows it again.
    pub(crate) fn forget_chain(&self) {
        self.chain_cache().clear();
    }

    fn chain_cache(&self) -> &ChainCache {
        match self {
            Self::Writer(writer) => &writer.chain,
            Self::Other(other) => &other.chain,
        }
    }

    pub(crate) fn readable_end(&self) -> Result<Head, Error> {
        match self {
            Self::Writer(writer) => {
                Ok(Head { durable: writer.watermark.durable(), active_missing: false })
            }
            Self::Other(other) => other.head(),
        }
    }

    pub(crate) fn pruned_and_gaps(&self) -> Result<PrunedAndGaps, Error> {
        match self {
            Self::Writer(writer) => Ok(writer.lock().pruned_and_gaps.clone()),
            Self::Other(other) => other.pruned_and_gaps(),
        }
    }
}

impl Other {
    fn head(&self) -> Result<Head, Error> {
        let root = &self.directory.root;
        let lock = || self.at_rest.lock();
        let is_locked =
            || self.directory.storage.is_locked(root).context("probe the lock of", root);
        if is_locked()? {
            return self.live_head();
        }
        let rest = self.files_at_rest()?;
        if let Some((_, head)) = lock().filter(|(known, _)| *known == rest) {
            return Ok(head);
        }
        let head = self.head_at_rest()?;
        // Another process may have begun to write: then some of these frames may not be durable.
        if is_locked()? {
            return self.live_head();
        }
        *lock() = (self.files_at_rest()? == rest).then_some((rest, head));
        Ok(head)
    }

    fn files_at_rest(&self) -> Result<FilesAtRest, Error> {
        let marker = self.read_marker();
        let names = self.directory.segments()?;
        let Some(&last) = names.last() else {
            return Err(Error::NotFound { path: self.directory.root.clone() });
        };
        let path = self.directory.segment(last);
        let last_file = self.directory.storage.stat(&path).context("read", &path)?;
        Ok(FilesAtRest { marker, last, last_file, files: names.len() })
    }

    /// The marker of this journal.
    fn read_marker(&self) -> Option<DurabilityMarker> {
        self.directory.read_markers().into_iter().find(|marker| marker.journal == self.journal)
    }

    /// The end in the marker of the process that writes.
    fn live_head(&self) -> Result<Head, Error> {
        let durable = match self.read_marker() {
            Some(marker) => Durable {
                seq: marker.seq,
                segment: Some((marker.name, marker.salt)),
                offset: marker.offset,
            },
            // It is not written yet, or cannot be: only the initial end of the last segment is proven.
            None => self.initial_end_of_last()?,
        };
        Ok(Head { durable, active_missing: false })
    }

    fn initial_end_of_last(&self) -> Result<Durable, Error> {
        let newest = find_newest(&self.directory, Access::Read)?;
        let Some(segment) = newest.segment else {
            return Ok(Durable { seq: Seq::FIRST, segment: None, offset: 0 });
        };
        let name = segment.name;
        Ok(match segment.header {
            Ok(read) => Durable {
                seq: read.header.initial_end.seq,
                segment: Some((name, read.header.salt)),
                offset: read.header.initial_end.offset,
            },
            Err(_) => Durable { seq: name.base, segment: Some((name, Salt(0))), offset: 0 },
        })
    }

    /// The end that an opening would keep.
    fn head_at_rest(&self) -> Result<Head, Error> {
        let newest = find_newest(&self.directory, Access::Read)?;
        let Some(segment) = &newest.segment else {
            // Only the marker or `IDENTITY` is left.
            let lost = newest.lost_from(Seq(0));
            let seq = lost.map_or(Seq::FIRST, |lost| lost.seq.max(lost.name.base.next()));
            let durable = Durable { seq, segment: None, offset: 0 };
            return Ok(Head { durable, active_missing: lost.is_some() });
        };
        let name = segment.name;
        let Ok(read) = &segment.header else {
            let known_to = newest.marker.map_or(name.base, |marker| marker.seq);
            let lost = newest.lost_from(name.base).map_or(Seq(0), |lost| lost.seq);
            let seq = known_to.max(name.base).max(lost);
            let durable = Durable { seq, segment: Some((name, Salt(0))), offset: 0 };
            return Ok(Head { durable, active_missing: true });
        };
        let header = &read.header;
        let footer = segment.footer(header.salt)?;
        if let Some(marker) = clean_end(&newest, segment, header, footer.as_ref()) {
            let segment = Some((name, header.salt));
            let durable = Durable { seq: marker.seq, segment, offset: marker.offset };
            return Ok(Head { durable, active_missing: false });
        }
        let sealed_to = footer.map_or(Seq(0), |footer| footer.end_seq);
        let bounds = Bounds { proven_to: sealed_to, limit: newest.limit() };
        let examination = examine(segment, header, newest.marker.as_ref(), bounds)?;
        let lost = newest.lost_from(examination.valid_seq);
        let durable = Durable {
            seq: examination.valid_seq.max(lost.map_or(Seq(0), |lost| lost.seq)),
            segment: Some((name, header.salt)),
            offset: examination.valid_offset,
        };
        Ok(Head { durable, active_missing: footer.is_some() || lost.is_some() })
    }

    fn pruned_and_gaps(&self) -> Result<PrunedAndGaps, Error> {
        let end = self.head()?.durable;
        let Some(newest) = end.segment else { return Ok(PrunedAndGaps::default()) };
        let directory = &self.directory;
        // The writer says whether the newest segment has tombstones or gaps up to this end.
        let marker = self.read_marker().filter(|marker| {
            (marker.name, marker.salt) == newest && marker.seq == end.seq && !marker.has_control
        });
        self.chain.ask(directory, self.journal, newest, Seq(u64::MAX), |chain| {
            for back in 0.. {
                let Some(link) = chain.back(back) else { break };
                if let Some(segment) = directory.open_segment(link.name, Access::Read)?
                    && let Ok(read) = &segment.header
                {
                    let mut pruned_and_gaps = PrunedAndGaps::of_header(&read.header);
                    let salt = read.header.salt;
                    if marker.is_some() && newest == (link.name, salt) {
                        return Ok(pruned_and_gaps);
                    }
                    let limit = match end.segment {
                        Some(active) if active == (link.name, salt) => end.offset,
                        _ => segment.len,
                    };
                    for (_, record) in control_records(&segment, limit, end.seq)? {
                        pruned_and_gaps.apply(&record);
                    }
                    return Ok(pruned_and_gaps);
                }
                if chain.back(back + 1).is_none() && !chain.extend(directory)? {
                    break;
                }
            }
            Ok(PrunedAndGaps::default())
        })
    }
}
