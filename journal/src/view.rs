//! [`JournalView`]: the reading half, in the process that writes, in another one, or where nobody writes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::chain::{ChainCache, Link};
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::examine::examine;
use crate::format::{DurabilityMarker, Salt, SegmentName};
use crate::ledger::Ledger;
use crate::left_out::{LeftOut, Surroundings};
use crate::newest::find_newest;
use crate::notable::system_records;
use crate::open::clean_end;
use crate::reader::{Reader, ReaderOptions, Resume};
use crate::segment_end::{SegmentEnd, segment_end};
use crate::storage::{Access, EntryKind, FileStat, Storage};
use crate::watermark::Durable;
use crate::writer::Writer;
use crate::{Error, Position, Seq, SeqRange};

/// How often another process's journal is looked at while waiting.
const POLL: Duration = Duration::from_millis(20);

/// A journal to be read. Cheap to clone; any number may exist beside the one that writes.
///
/// Nothing is ever shown that a power cut could still take back: the writer's process says how far the journal is
/// durable, in memory or through the marker. Where nobody writes, what an opening would keep is shown.
#[derive(Debug, Clone)]
pub struct JournalView(Arc<Source>);

#[derive(Debug)]
enum Source {
    Writer(Arc<Writer>),
    Other(Box<Other>),
}

/// The journal of another process, or of nobody.
#[derive(Debug)]
struct Other {
    directory: Directory,
    journal: [u8; 16],
    chain: ChainCache,
    /// The end as found where nobody writes, and what it was found from.
    at_rest: Mutex<Option<(Rest, Head)>>,
}

/// What every run of a writer changes: while it is the same, so is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rest {
    marker: Option<DurabilityMarker>,
    last: SegmentName,
    last_file: FileStat,
    files: usize,
}

/// The readable end of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) durable: Durable,
    /// The segment behind the last one is missing: it held the newest records.
    pub(crate) active_missing: bool,
}

/// One segment, as [`JournalView::segments`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its file name's parts.
    pub name: SegmentName,
    /// Bytes of the file, preallocated space included.
    pub bytes: u64,
    /// Records and days, where it is sealed.
    pub sealed: Option<SealedInfo>,
}

/// What the footer of a sealed segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedInfo {
    /// Number of records.
    pub records: u64,
    /// Their earliest and latest day.
    pub days: Option<(crate::Day, crate::Day)>,
    /// The seq behind the last one.
    pub end: Seq,
}

impl JournalView {
    pub(crate) fn of_writer(writer: &Arc<Writer>) -> Self {
        Self(Arc::new(Source::Writer(Arc::clone(writer))))
    }

    /// Opens the journal below `root` for reading only. Nothing is locked and nothing is written.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Newer`], [`Error::Unexpected`], [`Error::Io`].
    pub fn open(root: &Path, storage: Arc<dyn Storage>) -> Result<Self, Error> {
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
        let other = Other { directory, journal, chain, at_rest: Mutex::new(None) };
        Ok(Self(Arc::new(Source::Other(Box::new(other)))))
    }

    /// Identity of the journal: checkpoints of another one mean nothing here.
    #[must_use]
    pub fn journal_id(&self) -> [u8; 16] {
        match &*self.0 {
            Source::Writer(writer) => writer.settings.journal,
            Source::Other(other) => other.journal,
        }
    }

    /// The data directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.directory().root
    }

    /// Where the files are.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.directory().storage
    }

    /// Whether the data directory is there, as far as the storage can tell: a storage may know that its path leads
    /// elsewhere by now.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] says what became of it.
    pub fn check_place(&self) -> Result<(), Error> {
        let root = self.root();
        let looked_at = self.storage().stat(root).map(drop);
        looked_at.context("look at", root)
    }

    /// The seq behind the last record that may be read.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the segments of another process cannot be read.
    pub fn head(&self) -> Result<Seq, Error> {
        self.readable_end().map(|head| head.durable.seq)
    }

    /// First retained seq: everything before was pruned.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the segments of another process cannot be read.
    pub fn floor(&self) -> Result<Seq, Error> {
        self.ledger().map(|ledger| ledger.pruned.floor())
    }

    /// The newest day that a tombstone names; no later tombstone names an earlier one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the segments of another process cannot be read.
    pub fn pruned_through(&self) -> Result<Option<crate::Day>, Error> {
        self.ledger().map(|ledger| ledger.last_pruned_day)
    }

    /// The seqs known to be lost and not yet pruned.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the segments of another process cannot be read.
    pub fn gaps(&self) -> Result<Vec<SeqRange>, Error> {
        self.ledger().map(|ledger| ledger.gaps.ranges().to_vec())
    }

    /// The segments there are, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Newer`].
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, Error> {
        let directory = self.directory();
        let mut segments = Vec::new();
        for link in self.links()? {
            let Some(segment) = directory.open_segment(link.name, Access::Read)? else {
                continue;
            };
            let salt = segment.header.as_ref().map(|read| read.header.salt).ok();
            let footer = salt.map(|salt| segment.footer(salt)).transpose()?.flatten();
            let sealed = footer.map(|footer| SealedInfo {
                records: footer.counts.records,
                days: footer.counts.days,
                end: footer.end_seq,
            });
            segments.push(SegmentInfo { name: link.name, bytes: segment.len, sealed });
        }
        Ok(segments)
    }

    /// Reads from `from` on; from the floor where it is [`Seq::FIRST`] and that was pruned.
    ///
    /// # Errors
    ///
    /// [`Error::Pruned`] where `from` lies before the floor; [`Error::Io`].
    pub fn reader(&self, from: Seq, options: ReaderOptions) -> Result<Reader, Error> {
        Reader::from_seq(self.clone(), from, options)
    }

    /// Reads on from a remembered position, if the journal still holds there what it did.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn resume(&self, position: &Position, options: ReaderOptions) -> Result<Resume, Error> {
        Reader::resume(self.clone(), position, options)
    }

    /// Waits until a record from `seq` on may be read, the time is over or somebody nudges.
    pub(crate) fn wait(&self, seq: Seq, timeout: Duration, nudges_seen: &mut u64) {
        match &*self.0 {
            Source::Writer(writer) => writer.watermark.wait(seq, timeout, nudges_seen),
            Source::Other(_) => std::thread::sleep(POLL.min(timeout)),
        }
    }

    /// Ends the waiting of every reader in this process that waits, or will next: to make it look at something else.
    pub fn nudge(&self) {
        if let Source::Writer(writer) = &*self.0 {
            writer.watermark.nudge();
        }
    }

    pub(crate) fn directory(&self) -> &Directory {
        match &*self.0 {
            Source::Writer(writer) => &writer.directory,
            Source::Other(other) => &other.directory,
        }
    }

    /// The end of `segment`, which has `successor` behind it.
    pub(crate) fn end_of(
        &self,
        segment: &OpenSegment,
        successor: &Link,
    ) -> Result<SegmentEnd, Error> {
        segment_end(segment, successor, || Ok(self.ledger()?.pruned))
    }

    /// The segments of the journal from the one that holds `from` on, oldest first.
    pub(crate) fn links_from(&self, from: Seq) -> Result<Vec<Link>, Error> {
        let newest = match &*self.0 {
            Source::Writer(writer) => writer.watermark.durable().segment,
            Source::Other(other) => other.head()?.durable.segment,
        };
        let Some(newest) = newest else { return Ok(Vec::new()) };
        let cache = self.chain_cache();
        cache.ask(self.directory(), self.journal_id(), newest, from, |chain| {
            Ok(chain.links_from(from))
        })
    }

    /// All segments of the journal, oldest first, also those that hold nothing.
    pub(crate) fn links(&self) -> Result<Vec<Link>, Error> {
        self.links_from(Seq(0))
    }

    /// The files in `journal/` that are no part of the journal. They are never read.
    ///
    /// Cost: reads the header of each segment.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Newer`].
    pub fn left_out(&self) -> Result<Vec<LeftOut>, Error> {
        let (directory, links) = (self.directory(), self.links()?);
        Surroundings::of(directory, self.journal_id(), links)?.left_out(directory)
    }

    /// Files are not what they were: the chain is followed again at the next question.
    pub(crate) fn forget_chain(&self) {
        self.chain_cache().clear();
    }

    fn chain_cache(&self) -> &ChainCache {
        match &*self.0 {
            Source::Writer(writer) => &writer.chain,
            Source::Other(other) => &other.chain,
        }
    }

    pub(crate) fn readable_end(&self) -> Result<Head, Error> {
        match &*self.0 {
            Source::Writer(writer) => {
                Ok(Head { durable: writer.watermark.durable(), active_missing: false })
            }
            Source::Other(other) => other.head(),
        }
    }

    pub(crate) fn ledger(&self) -> Result<Ledger, Error> {
        match &*self.0 {
            Source::Writer(writer) => Ok(writer.lock().ledger.clone()),
            Source::Other(other) => other.ledger(),
        }
    }
}

impl Other {
    fn head(&self) -> Result<Head, Error> {
        let root = &self.directory.root;
        let lock = || self.at_rest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_locked =
            || self.directory.storage.is_locked(root).context("probe the lock of", root);
        if is_locked()? {
            return self.live_head();
        }
        let rest = self.rest()?;
        if let Some((_, head)) = lock().filter(|(known, _)| *known == rest) {
            return Ok(head);
        }
        let head = self.head_at_rest()?;
        // Somebody may have begun to write meanwhile: then frames were looked at that may not be durable.
        if is_locked()? {
            return self.live_head();
        }
        *lock() = (self.rest()? == rest).then_some((rest, head));
        Ok(head)
    }

    fn rest(&self) -> Result<Rest, Error> {
        let marker = self.read_marker();
        let names = self.directory.segments()?;
        let Some(&last) = names.last() else {
            return Err(Error::NotFound { path: self.directory.root.clone() });
        };
        let path = self.directory.segment(last);
        let last_file = self.directory.storage.stat(&path).context("read", &path)?;
        Ok(Rest { marker, last, last_file, files: names.len() })
    }

    /// The marker, where it is this journal's.
    fn read_marker(&self) -> Option<DurabilityMarker> {
        self.directory.read_markers().into_iter().find(|marker| marker.journal == self.journal)
    }

    /// What the marker of the process that writes says.
    fn live_head(&self) -> Result<Head, Error> {
        let durable = match self.read_marker() {
            Some(marker) => Durable {
                seq: marker.seq,
                segment: Some((marker.name, marker.salt)),
                offset: marker.offset,
            },
            // It is about to be written, or cannot be: nothing newer than the last segment's birth is proven.
            None => self.birth_of_last()?,
        };
        Ok(Head { durable, active_missing: false })
    }

    fn birth_of_last(&self) -> Result<Durable, Error> {
        let newest = find_newest(&self.directory, Access::Read)?;
        let Some(segment) = newest.segment else {
            return Ok(Durable { seq: Seq::FIRST, segment: None, offset: 0 });
        };
        let name = segment.name;
        Ok(match segment.header {
            Ok(read) => Durable {
                seq: read.header.born_seq,
                segment: Some((name, read.header.salt)),
                offset: read.header.born_offset,
            },
            Err(_) => Durable { seq: name.base, segment: Some((name, Salt(0))), offset: 0 },
        })
    }

    /// What an opening would keep.
    fn head_at_rest(&self) -> Result<Head, Error> {
        let newest = find_newest(&self.directory, Access::Read)?;
        let Some(segment) = &newest.segment else {
            // Everything is gone but what tells of it.
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
        if let Some(marker) = clean_end(&newest, segment, header).filter(|_| footer.is_none()) {
            let segment = Some((name, header.salt));
            let durable = Durable { seq: marker.seq, segment, offset: marker.offset };
            return Ok(Head { durable, active_missing: false });
        }
        let sealed_to = footer.map_or(Seq(0), |footer| footer.end_seq);
        let examination =
            examine(segment, header, newest.marker.as_ref(), (sealed_to, newest.limit()))?;
        let lost = newest.lost_from(examination.valid_seq);
        let durable = Durable {
            seq: examination.valid_seq.max(lost.map_or(Seq(0), |lost| lost.seq)),
            segment: Some((name, header.salt)),
            offset: examination.valid_offset,
        };
        Ok(Head { durable, active_missing: footer.is_some() || lost.is_some() })
    }

    fn ledger(&self) -> Result<Ledger, Error> {
        let end = self.head()?.durable;
        let Some(newest) = end.segment else { return Ok(Ledger::default()) };
        let directory = &self.directory;
        self.chain.ask(directory, self.journal, newest, Seq(u64::MAX), |chain| {
            for back in 0.. {
                let Some(link) = chain.back(back) else { break };
                if let Some(segment) = directory.open_segment(link.name, Access::Read)?
                    && let Ok(read) = &segment.header
                {
                    let mut ledger = Ledger::of_header(&read.header);
                    let salt = read.header.salt;
                    let limit = match end.segment {
                        Some(active) if active == (link.name, salt) => end.offset,
                        _ => segment.len,
                    };
                    for (_, record) in system_records(&segment, salt, limit, end.seq)? {
                        ledger.apply(&record);
                    }
                    return Ok(ledger);
                }
                if chain.back(back + 1).is_none() && !chain.extend(directory)? {
                    break;
                }
            }
            Ok(Ledger::default())
        })
    }
}
