//! [`LeftOut`]: the files in `journal/` that do not belong to the journal, and why.

use std::path::PathBuf;

use crate::chain::{Chain, Link, exists, forks_off};
use crate::directory::{Directory, HeaderFlaw};
use crate::format::{SegmentHeader, SegmentName};
use crate::newest::find_newest;
use crate::storage::Access;
use crate::{Error, Seq};

/// Why a file with the name of a segment does not belong to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// A segment of another journal.
    Foreign,
    /// A copy of a segment of the journal, or an empty file.
    Superseded,
    /// A segment of a diverged copy of this journal: that copy acknowledged its records.
    Forked,
    /// A segment of this journal under another name: its records count as lost until `replay repair` renames it.
    Misnamed,
    /// Neither header copy can be read, and no header names the file.
    Unreadable,
}

/// A file that is never read, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The file.
    pub path: PathBuf,
    /// Why it does not belong to the journal.
    pub standing: Standing,
    /// The name in its header, if that is a different one.
    pub real_name: Option<SegmentName>,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match (self.standing, self.real_name) {
            (Standing::Foreign, _) => write!(
                formatter,
                "{path}: foreign: a segment of another journal; move it back to its own journal/, or delete it"
            ),
            (Standing::Superseded, _) => write!(
                formatter,
                "{path}: superseded: a copy of a segment of this journal, or empty; delete it"
            ),
            (Standing::Forked, _) => write!(
                formatter,
                "{path}: forked: a segment of a diverged copy of this journal; only that copy has its records; move it back \
                 there, or export the copy and ingest it here"
            ),
            (Standing::Misnamed, Some(name)) => write!(
                formatter,
                "{path}: misnamed: this is {}; run `replay repair`, which renames it",
                name.file_name()
            ),
            (Standing::Misnamed, None) => {
                write!(formatter, "{path}: misnamed; run `replay repair`, which renames it")
            }
            (Standing::Unreadable, _) => write!(
                formatter,
                "{path}: unreadable: both header copies are damaged and no segment names the file; move it away"
            ),
        }
    }
}

/// The segments of a journal, and what decides which file is one of them.
pub(crate) struct ChainContext {
    pub(crate) journal: [u8; 16],
    pub(crate) links: Vec<Link>,
    pub(crate) names: Vec<SegmentName>,
    /// A later segment that existed, and is missing.
    lost: Option<SegmentName>,
    /// The incarnation of marker or `IDENTITY`.
    incarnation: Option<[u8; 16]>,
    /// Another process writes: it may have begun a segment that its marker does not name yet.
    is_live: bool,
}

impl ChainContext {
    /// Follows the whole chain of a journal that no process writes.
    pub(crate) fn find(directory: &Directory) -> Result<Self, Error> {
        let newest = find_newest(directory, Access::Read)?;
        let of_segment = newest.segment.as_ref().and_then(|segment| segment.header.as_ref().ok());
        let of_segment = of_segment.map(|read| read.header.journal);
        let of_marker = newest.marker.map(|marker| marker.journal);
        let journal = of_segment.or(of_marker).or(newest.identity.map(|found| found.journal));
        let journal = journal.unwrap_or_default();
        let mut links = Vec::new();
        if let Some(segment) = &newest.segment {
            let mut chain = Chain::new(journal, Link::of(segment), &newest.names);
            chain.extend_to(directory, Seq(0))?;
            links = chain.links_from(Seq(0));
        }
        let names = directory.all_names()?;
        let lost = newest.lost_from(Seq(0)).map(|lost| lost.name);
        let of_marker = newest.marker.map(|marker| marker.incarnation);
        let incarnation = of_marker.or(newest.identity.map(|identity| identity.incarnation));
        Ok(Self { journal, links, names, lost, incarnation, is_live: false })
    }

    /// The context of a journal with these segments.
    pub(crate) fn of(
        directory: &Directory,
        journal: [u8; 16],
        links: Vec<Link>,
    ) -> Result<Self, Error> {
        let newest = links.last().map(|link| link.name);
        let marker = directory.read_marker();
        let incarnation = marker.map(|marker| marker.incarnation);
        let marker = marker.map(|marker| marker.name);
        let lost = marker.filter(|marker| newest.is_some_and(|newest| marker.base > newest.base));
        let is_live = directory.storage.is_locked(&directory.root).unwrap_or(false);
        let names = directory.all_names()?;
        Ok(Self { journal, links, names, lost, incarnation, is_live })
    }

    /// Every file that is no link.
    pub(crate) fn left_out(&self, directory: &Directory) -> Result<Vec<LeftOut>, Error> {
        let mut left_out = Vec::new();
        for &name in &self.names {
            if self.links.binary_search_by_key(&name, |link| link.name).is_ok() {
                continue;
            }
            let Some(segment) = directory.open_segment(name, Access::Read)? else { continue };
            if self.is_live
                && segment.header.as_ref().is_ok_and(|read| self.chains_on(&read.header))
            {
                continue;
            }
            let (standing, real_name) = match &segment.header {
                Ok(read) => (self.standing_of(directory, &read.header, false)?, None),
                Err(HeaderFlaw::Misnamed(header)) => {
                    (self.standing_of(directory, header, true)?, Some(header.name))
                }
                Err(HeaderFlaw::Blank) => (Standing::Superseded, None),
                Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => {
                    (Standing::Unreadable, None)
                }
            };
            left_out.push(LeftOut { path: segment.path, standing, real_name });
        }
        Ok(left_out)
    }

    fn standing_of(
        &self,
        directory: &Directory,
        header: &SegmentHeader,
        is_misnamed: bool,
    ) -> Result<Standing, Error> {
        Ok(if header.journal != self.journal {
            Standing::Foreign
        } else if self.links.iter().any(|link| link.salt == header.salt) {
            Standing::Superseded
        } else if is_misnamed && self.is_missing(directory, header)? {
            Standing::Misnamed
        } else {
            Standing::Forked
        })
    }

    /// Whether the next segment names this very one as its previous one.
    pub(crate) fn is_named(&self, header: &SegmentHeader) -> bool {
        let index = self.links.partition_point(|link| link.name.base <= header.name.base);
        let Some(next) = self.links.get(index) else { return false };
        next.previous.is_some_and(|previous| {
            previous.name == header.name
                && (header.salt == previous.salt
                    || previous.unreadable
                        && header.is_or_replaces(previous.salt, next.incarnation))
        })
    }

    fn chains_on(&self, header: &SegmentHeader) -> bool {
        self.links.last().zip(header.previous).is_some_and(|(newest, previous)| {
            (previous.name, previous.salt) == (newest.name, newest.salt)
        })
    }

    /// Whether the segment with this header belongs to the journal and is not in its place.
    pub(crate) fn is_missing(
        &self,
        directory: &Directory,
        header: &SegmentHeader,
    ) -> Result<bool, Error> {
        let base = header.name.base;
        let index = self.links.partition_point(|link| link.name.base < base);
        if header.journal != self.journal
            || self.links.get(index).is_some_and(|link| link.name.base == base)
            || forks_off(directory, header)?
        {
            return Ok(false);
        }
        let Some(successor) = self.links.get(index) else {
            // Newer than all: the marker names it, or it continues the newest one.
            let is_first = self.links.is_empty();
            let is_before_lost = self.lost.is_some_and(|lost| lost.base > base)
                && self.incarnation == Some(header.incarnation);
            let is_lost = self.lost == Some(header.name) || is_before_lost;
            return Ok(is_first || is_lost || self.chains_on(header));
        };
        // The segment before it is named too, and may prove that this one belongs to a diverged copy.
        if let Some(known) = successor.known_before_missing()
            && header.incarnation != successor.incarnation
            && Link::of_header(header).excludes(known)
            && exists(directory, known)?
        {
            return Ok(false);
        }
        Ok(successor.previous.is_none_or(|previous| {
            if previous.name.base == base && previous.salt.0 == 0 {
                // Only its seq was known.
                true
            } else if previous.name == header.name {
                self.is_named(header)
            } else {
                // The segment that the successor names covers these seqs, or is even older, or was missing before this one.
                previous.name.base > base
                    || previous.unreadable
                        && base >= previous.seq
                        && header.incarnation == successor.incarnation
            }
        }))
    }
}
