//! [`JournalView`]: the reading half, in the process that writes, in another one, or where nobody writes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::chain::{SegmentEnd, segment_end};
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::examine::examine;
use crate::format::{SegmentName, Witness};
use crate::ledger::Ledger;
use crate::notable::system_records;
use crate::reader::{Reader, ReaderOptions, Resume};
use crate::storage::{Access, EntryKind, FileStat, Storage};
use crate::watermark::Durable;
use crate::writer::Writer;
use crate::{Error, Position, Seq, SeqRange};

/// How often another process's journal is looked at while waiting.
const POLL: Duration = Duration::from_millis(20);

/// A journal to be read. Cheap to clone; any number may exist beside the one that writes.
///
/// Nothing is ever shown that a power cut could still take back: the writer's process says how far the journal is
/// durable, in memory or through the witness. Where nobody writes, what an opening would keep is shown.
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
    /// The end as found where nobody writes, and what it was found from.
    at_rest: Mutex<Option<(Rest, Head)>>,
}

/// What every run of a writer changes: while it is the same, so is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rest {
    witness: Option<Witness>,
    last: SegmentName,
    last_file: FileStat,
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
        let names = directory.segments()?;
        if names.is_empty() {
            return Err(missing());
        }
        let mut journal = None;
        for name in names.iter().rev() {
            if let Some(segment) = directory.open_segment(*name, Access::Read)?
                && let Some(read) = segment.header
            {
                journal = Some(read.header.journal);
                break;
            }
        }
        let journal = journal
            .or_else(|| directory.read_witness().map(|witness| witness.journal))
            .or_else(|| directory.read_identity())
            .unwrap_or_default();
        let other = Other { directory, journal, at_rest: Mutex::new(None) };
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
        for name in directory.segments()? {
            let Some(segment) = directory.open_segment(name, Access::Read)? else {
                continue;
            };
            let salt = segment.header.as_ref().map(|read| read.header.salt);
            let footer = salt.map(|salt| segment.footer(salt)).transpose()?.flatten();
            let sealed = footer.map(|footer| SealedInfo {
                records: footer.counts.records,
                days: footer.counts.days,
                end: footer.end_seq,
            });
            segments.push(SegmentInfo { name, bytes: segment.len, sealed });
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
        successor: SegmentName,
    ) -> Result<SegmentEnd, Error> {
        segment_end(self.directory(), segment, successor, || Ok(self.ledger()?.pruned))
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
        let witness = self.read_witness();
        let Some(&last) = self.directory.segments()?.last() else {
            return Err(Error::NotFound { path: self.directory.root.clone() });
        };
        let path = self.directory.segment(last);
        let last_file = self.directory.storage.stat(&path).context("read", &path)?;
        Ok(Rest { witness, last, last_file })
    }

    /// The witness, where it is this journal's.
    fn read_witness(&self) -> Option<Witness> {
        self.directory.read_witness().filter(|witness| witness.journal == self.journal)
    }

    /// What the witness of the process that writes says.
    fn live_head(&self) -> Result<Head, Error> {
        let durable = match self.read_witness() {
            Some(witness) => Durable {
                seq: witness.seq,
                segment: Some((witness.name, witness.salt)),
                offset: witness.offset,
            },
            // It is about to be written, or cannot be: nothing newer than the last segment's birth is proven.
            None => self.birth_of_last()?,
        };
        Ok(Head { durable, active_missing: false })
    }

    fn birth_of_last(&self) -> Result<Durable, Error> {
        let Some(&name) = self.directory.segments()?.last() else {
            return Ok(Durable { seq: Seq::FIRST, segment: None, offset: 0 });
        };
        let header = self.directory.open_segment(name, Access::Read)?.and_then(|open| open.header);
        Ok(header.map_or(Durable { seq: name.base, segment: None, offset: 0 }, |read| Durable {
            seq: read.header.born_seq,
            segment: Some((name, read.header.salt)),
            offset: read.header.born_offset,
        }))
    }

    /// What an opening would keep.
    fn head_at_rest(&self) -> Result<Head, Error> {
        let witness = self.read_witness();
        let Some(&last) = self.directory.segments()?.last() else {
            return Err(Error::NotFound { path: self.directory.root.clone() });
        };
        let Some(segment) = self.directory.open_segment(last, Access::Read)? else {
            return Err(Error::NotFound { path: self.directory.segment(last) });
        };
        let witnessed_to = witness.map_or(last.base, |witness| witness.seq);
        let Some(read) = &segment.header else {
            let durable = Durable { seq: witnessed_to.max(last.base), segment: None, offset: 0 };
            return Ok(Head { durable, active_missing: true });
        };
        let header = &read.header;
        let footer = segment.footer(header.salt)?;
        let successor = witness.filter(|witness| witness.name.base > last.base);
        if let Some(witness) = witness
            && witness.clean
            && (witness.name, witness.salt) == (last, header.salt)
            && footer.is_none()
            && segment.is_blank_behind(witness.offset)
        {
            let segment = Some((last, header.salt));
            let durable = Durable { seq: witness.seq, segment, offset: witness.offset };
            return Ok(Head { durable, active_missing: false });
        }
        let sealed_to = footer.map_or(Seq(0), |footer| footer.end_seq);
        let examination = examine(&segment, header, witness.as_ref(), sealed_to)?;
        let durable = Durable {
            seq: examination.valid_seq.max(successor.map_or(Seq(0), |witness| witness.seq)),
            segment: Some((last, header.salt)),
            offset: examination.valid_offset,
        };
        Ok(Head { durable, active_missing: footer.is_some() || successor.is_some() })
    }

    fn ledger(&self) -> Result<Ledger, Error> {
        let end = self.head()?.durable;
        for name in self.directory.segments()?.into_iter().rev() {
            let Some(segment) = self.directory.open_segment(name, Access::Read)? else {
                continue;
            };
            let Some(read) = &segment.header else {
                continue;
            };
            let mut ledger = Ledger::of_header(&read.header);
            let salt = read.header.salt;
            let limit = match end.segment {
                Some(active) if active == (name, salt) => end.offset,
                _ => segment.len,
            };
            for (_, record) in system_records(&segment, salt, limit, end.seq)? {
                ledger.apply(&record);
            }
            return Ok(ledger);
        }
        Ok(Ledger::default())
    }
}
