//! [`JournalView`]: the reading half, in the process that writes, in another one, or at rest.

use std::path::Path;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::Context;
use crate::format::{OwnedRecord, SegmentName};
use crate::left_out::{ChainContext, LeftOut};
use crate::reader::{BackwardReader, Reader, ReaderOptions, Resume};
use crate::source::Source;
use crate::storage::{Access, Storage};
use crate::writer::Writer;
use crate::{Error, Position, Query, Seq, SeqRange};

/// A journal to be read. Cheap to clone; any number may exist besides the writer.
///
/// It never shows a record that a power cut could still remove: the writer publishes the durable end, in memory or through
/// the durability marker. At rest it shows the records that an opening would keep.
#[derive(Debug, Clone)]
pub struct JournalView(Source);

/// One segment, as [`JournalView::segments`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its file name's parts.
    pub name: SegmentName,
    /// Bytes of the file, preallocated space included.
    pub bytes: u64,
    /// Records and days, if it is sealed.
    pub sealed: Option<SealedInfo>,
}

/// The content of a sealed segment, from its footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedInfo {
    /// Number of records.
    pub records: u64,
    /// Their earliest and latest day.
    pub days: Option<(crate::Day, crate::Day)>,
    /// The seq after the last record.
    pub end: Seq,
}

impl JournalView {
    /// The source of its records.
    pub(crate) const fn source(&self) -> &Source {
        &self.0
    }

    pub(crate) fn of_writer(writer: &Arc<Writer>) -> Self {
        Self(Source::Writer(Arc::clone(writer)))
    }

    /// Opens the journal below `root` for reading only. Nothing is locked and nothing is written.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Newer`], [`Error::Unexpected`], [`Error::Io`].
    pub fn open(root: &Path, storage: Arc<dyn Storage>) -> Result<Self, Error> {
        Ok(Self(Source::open(root, storage)?))
    }

    /// Identity of the journal: checkpoints of another one are not valid here.
    #[must_use]
    pub fn journal_id(&self) -> [u8; 16] {
        self.0.journal_id()
    }

    /// Identity of the branch of the journal: a copy that is written to has one of its own, with the same journal id.
    #[must_use]
    pub fn incarnation(&self) -> [u8; 16] {
        self.0.incarnation()
    }

    /// The data directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.directory().root
    }

    /// The storage of the files.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.0.directory().storage
    }

    /// Checks that the data directory exists. A storage may know that another directory is at its path now.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the problem.
    pub fn check_place(&self) -> Result<(), Error> {
        let root = self.root();
        self.storage().stat(root).map(drop).context("look at", root)
    }

    /// The seq after the last record that may be read.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the segments of another process cannot be read.
    pub fn head(&self) -> Result<Seq, Error> {
        self.0.head()
    }

    /// First retained seq: everything before was pruned.
    ///
    /// Cost: nothing in the process that writes; in another one, reads the newest segment, as `gaps`, `pruned_through` and the
    /// opening of a reader do.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the segments of another process cannot be read.
    pub fn floor(&self) -> Result<Seq, Error> {
        self.0.pruned_and_gaps().map(|pruned_and_gaps| pruned_and_gaps.pruned.floor())
    }

    /// The newest day that a tombstone names; no later tombstone names an earlier one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the segments of another process cannot be read.
    pub fn pruned_through(&self) -> Result<Option<crate::Day>, Error> {
        self.0.pruned_and_gaps().map(|pruned_and_gaps| pruned_and_gaps.last_pruned_day)
    }

    /// The seqs that are lost and not pruned yet.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the segments of another process cannot be read.
    pub fn gaps(&self) -> Result<Vec<SeqRange>, Error> {
        self.0.pruned_and_gaps().map(|pruned_and_gaps| pruned_and_gaps.gaps.ranges().to_vec())
    }

    /// The segments, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Newer`].
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, Error> {
        let directory = self.0.directory();
        let mut segments = Vec::new();
        for link in self.0.links()? {
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

    /// Reads from `from` on; from the floor if `from` is [`Seq::FIRST`].
    ///
    /// # Errors
    ///
    /// [`Error::Pruned`] if `from` is before the floor; [`Error::Io`].
    pub fn reader(&self, from: Seq, options: ReaderOptions) -> Result<Reader, Error> {
        Reader::from_seq(self.0.clone(), from, options)
    }

    /// Reads backwards, from the durable end (or `options.until`) to `from`.
    ///
    /// Cost: reads ever wider ranges of seqs forwards; with a query, the frames that the index names.
    ///
    /// # Errors
    ///
    /// [`Error::Pruned`] if `from` is before the floor; [`Error::Io`].
    pub fn reader_backward(
        &self,
        from: Seq,
        options: ReaderOptions,
    ) -> Result<BackwardReader, Error> {
        BackwardReader::new(self.clone(), from, options)
    }

    /// The record with this seq; `None` if there is none, or none yet.
    ///
    /// Cost: reads one block of the index and one frame; without an index, the segment up to it.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], [`Error::Pruned`], [`Error::Io`].
    pub fn get(&self, seq: Seq) -> Result<Option<OwnedRecord>, Error> {
        let floor = self.floor()?;
        if seq < floor {
            return Err(Error::Pruned { floor });
        }
        self.reader(seq, ReaderOptions::default().until(seq.next()))?.first()
    }

    /// The newest record that matches.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if lost records after it may match; [`Error::Io`].
    pub fn last(&self, query: Query) -> Result<Option<OwnedRecord>, Error> {
        let options = ReaderOptions::default().query(query);
        match self.reader_backward(Seq::FIRST, options)?.next()? {
            Some(Entry::Record(record)) => Ok(Some(record.to_owned())),
            Some(Entry::Lost(lost)) => Err(Error::Lost(lost)),
            None => Ok(None),
        }
    }

    /// Whether a retained record matches.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if lost records before the first match may match; [`Error::Io`].
    pub fn exists(&self, query: Query) -> Result<bool, Error> {
        let mut reader = self.reader(Seq::FIRST, ReaderOptions::default().query(query))?;
        Ok(reader.first()?.is_some())
    }

    /// How many retained records match.
    ///
    /// Cost: reads each of them.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if lost records may match; [`Error::Io`].
    pub fn count(&self, query: Query) -> Result<u64, Error> {
        let mut reader = self.reader(Seq::FIRST, ReaderOptions::default().query(query))?;
        let mut count = 0;
        while reader.first()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Resumes at a saved position, if the record before it is unchanged.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn resume(&self, position: &Position, options: ReaderOptions) -> Result<Resume, Error> {
        Reader::resume(self.0.clone(), position, options)
    }

    /// Wakes every reader of this process that waits, or the next time it waits.
    pub fn nudge(&self) {
        if let Source::Writer(writer) = &self.0 {
            writer.watermark.nudge();
        }
    }

    /// The files in `journal/` that do not belong to the journal. They are never read.
    ///
    /// Cost: reads the header of each segment.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Newer`].
    pub fn left_out(&self) -> Result<Vec<LeftOut>, Error> {
        let (directory, links) = (self.0.directory(), self.0.links()?);
        ChainContext::of(directory, self.journal_id(), links)?.left_out(directory)
    }
}
