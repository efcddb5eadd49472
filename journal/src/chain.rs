//! [`Chain`]: which files in `journal/` are the segments of the journal.
//!
//! File names prove nothing: a file may be a copy under another name, or belong to another journal or to a diverged copy
//! of this one. The header of each segment names the previous one by name and salt, so the chain is followed from the
//! newest segment backwards, and each step has one result. If a link is missing, damaged or pruned, an older segment
//! keeps its place by its seqs. A file is left out only if a header proves that its seqs belong to another file. A file
//! that is left out is never read, changed or deleted.

use crate::sync::{Mutex, MutexGuard};

use crate::directory::{Directory, HeaderFlaw, OpenSegment};
use crate::format::{Ancestor, Salt, SegmentHeader, SegmentName};
pub(crate) use crate::link::Link;
use crate::storage::Access;
use crate::{Error, Seq};

/// Limit on the segments that are compared as the one before a missing segment.
pub(crate) const CANDIDATES_MAX: usize = 16;

/// The segments of the journal, from the newest back to the oldest that was requested.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    journal: [u8; 16],
    /// Newest first.
    links: Vec<Link>,
    /// Names before the oldest link, in order; not read yet.
    below: Vec<SegmentName>,
    /// The newest link is what its header says.
    is_newest_read: bool,
}

/// Caches the chain, so that every header is read once.
#[derive(Debug, Default)]
pub(crate) struct ChainCache(Mutex<Option<Chain>>);

impl Chain {
    /// The chain that ends with `newest`; `names` are the names of all files, in order.
    pub(crate) fn new(journal: [u8; 16], newest: Link, names: &[SegmentName]) -> Self {
        let below = names.iter().copied().filter(|name| name.base < newest.name.base).collect();
        Self { journal, links: vec![newest], below, is_newest_read: true }
    }

    /// Goes back until the segment that holds `from` is in the chain, or no earlier one exists.
    pub(crate) fn extend_to(&mut self, directory: &Directory, from: Seq) -> Result<(), Error> {
        // After a missing segment, an older one may hold more than the header knew.
        let is_short = |oldest: &Link| {
            let is_open = oldest.previous.is_some_and(|previous| previous.unreadable);
            oldest.start > from || is_open && oldest.name.base > from
        };
        while self.oldest().is_some_and(is_short) && self.extend(directory)? {}
        Ok(())
    }

    /// Goes back by one segment; `false` if no earlier one exists.
    pub(crate) fn extend(&mut self, directory: &Directory) -> Result<bool, Error> {
        let link = self.find_previous(directory)?;
        if link.is_none() {
            self.below.clear();
        }
        let is_found = link.is_some();
        self.links.extend(link);
        Ok(is_found)
    }

    pub(crate) fn newest(&self) -> Option<&Link> {
        self.links.first()
    }

    pub(crate) fn oldest(&self) -> Option<&Link> {
        self.links.last()
    }

    /// The link at this distance before the newest.
    pub(crate) fn back(&self, steps: usize) -> Option<&Link> {
        self.links.get(steps)
    }

    /// The links found so far from the one that holds `from` on, oldest first.
    pub(crate) fn links_from(&self, from: Seq) -> Vec<Link> {
        let holding = self.links.partition_point(|link| link.name.base > from);
        self.links.iter().take(holding + 1).rev().cloned().collect()
    }

    /// Removes unlinked segments.
    fn forget(&mut self, is_gone: impl Fn(SegmentName) -> bool) {
        let newest = self.newest().map(|newest| newest.name);
        self.links.retain(|link| Some(link.name) == newest || !is_gone(link.name));
        self.below.retain(|name| !is_gone(*name));
    }

    /// Takes the link before the oldest one out of `below`, with everything that it rules out.
    fn find_previous(&mut self, directory: &Directory) -> Result<Option<Link>, Error> {
        let Some(oldest) = self.links.last() else { return Ok(None) };
        let (mut base, incarnation) = (oldest.name.base, oldest.incarnation);
        let mut before = oldest.before.clone();
        // If the previous one was missing, others may be missing between it and the next.
        let is_open = oldest.previous.is_some_and(|previous| previous.unreadable);
        let known = oldest.known_before_missing();
        if let Some(link) = self.after_missing(directory)? {
            self.below.truncate(self.below.partition_point(|name| name.base < link.name.base));
            return Ok(Some(link));
        }
        if is_open {
            before.truncate(1);
        }
        for (index, &(name, salt)) in before.iter().enumerate() {
            if name.base >= base {
                break;
            }
            // The seqs from there to the oldest link are proven to belong to segments that it names.
            base = name.base;
            let covered = self.below.split_off(self.below.partition_point(|name| name.base < base));
            // If only the seq of the previous one is known, its day may be different.
            let is_it =
                |other: &&SegmentName| **other == name || salt.0 == 0 && other.base == name.base;
            if let Some(&name) = covered.iter().find(is_it)
                && let Some(segment) = directory.open_segment(name, Access::Read)?
                && self.is_link(&segment, salt, is_open && index == 0)
            {
                let mut link = Link::of(&segment);
                if index == 0
                    && link.incarnation != incarnation
                    && self.is_ruled_out(directory, &link, known)?
                {
                    continue;
                }
                if segment.header.is_err() {
                    (link.salt, link.incarnation) = (salt, incarnation);
                    link.before = before.get(index + 1..).unwrap_or_default().to_vec();
                }
                return Ok(Some(link));
            }
        }
        self.by_seqs(directory, base, incarnation, known)
    }

    /// The segment between the oldest link and the missing one that it names, if both were lost and this one is back.
    ///
    /// Only its incarnation proves that it belongs there.
    fn after_missing(&self, directory: &Directory) -> Result<Option<Link>, Error> {
        let Some(oldest) = self.links.last() else { return Ok(None) };
        let Some(missing) = oldest.previous.filter(|previous| previous.unreadable) else {
            return Ok(None);
        };
        for &name in self.below.iter().rev().take_while(|name| name.base >= missing.seq) {
            let Some(segment) = directory.open_segment(name, Access::Read)? else { continue };
            if let Ok(read) = &segment.header
                && read.header.journal == self.journal
                && read.header.incarnation == oldest.incarnation
                && !forks_off(directory, &read.header)?
                && !self.leads_past(directory, Link::of(&segment), (missing.name, missing.salt))?
            {
                return Ok(Some(Link::of(&segment)));
            }
        }
        Ok(None)
    }

    /// Whether the segments before `link` leave no place for `missing`: a copy may have kept the incarnation.
    fn leads_past(
        &self,
        directory: &Directory,
        link: Link,
        missing: Ancestor,
    ) -> Result<bool, Error> {
        let mut chain = Self::new(self.journal, link, &self.below);
        while let Some(oldest) = chain.oldest() {
            if oldest.excludes(missing) {
                return Ok(true);
            }
            // Each header is read once: what is before another missing segment is not followed.
            let is_open = oldest.previous.is_some_and(|previous| previous.unreadable);
            if is_open || oldest.name.base <= missing.0.base || !chain.extend(directory)? {
                break;
            }
        }
        Ok(false)
    }

    /// Whether the file is the segment that a header names with this salt. A damaged file in its place counts.
    ///
    /// A segment that was missing when the header was written may have been replaced shortly before.
    fn is_link(&self, segment: &OpenSegment, salt: Salt, was_missing: bool) -> bool {
        match &segment.header {
            Ok(read) => {
                let header = &read.header;
                let is_it = header.salt == salt
                    || was_missing
                        && self.links.last().is_some_and(|named_by| {
                            header.is_or_replaces(salt, named_by.incarnation)
                        });
                header.journal == self.journal && (salt.0 == 0 || is_it)
            }
            Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => true,
            Err(HeaderFlaw::Blank | HeaderFlaw::Misnamed(_)) => false,
        }
    }

    /// The newest segment before `end` that no header excludes; everything between the two is missing.
    ///
    /// One that ends exactly there is preferred, then one of the same incarnation.
    fn by_seqs(
        &mut self,
        directory: &Directory,
        end: Seq,
        incarnation: [u8; 16],
        known: Option<Ancestor>,
    ) -> Result<Option<Link>, Error> {
        let before = self.below.partition_point(|name| name.base < end);
        self.below.truncate(before);
        let mut best: Option<(u8, Link)> = None;
        let mut compared = 0;
        for &name in self.below.iter().rev() {
            let Some(segment) = directory.open_segment(name, Access::Read)? else { continue };
            let Some(rank) = self.rank(directory, &segment, end, incarnation)? else { continue };
            let link = Link::of(&segment);
            if self.is_ruled_out(directory, &link, known)? {
                continue;
            }
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, link));
            }
            compared += 1;
            if rank == RANK_CONNECTED || compared >= CANDIDATES_MAX {
                break;
            }
        }
        let Some((_, link)) = best else { return Ok(None) };
        self.below.truncate(self.below.partition_point(|name| name.base < link.name.base));
        Ok(Some(link))
    }

    /// Whether `known`, which exists and comes before a missing segment, leaves no place for `link`.
    fn is_ruled_out(
        &self,
        directory: &Directory,
        link: &Link,
        known: Option<Ancestor>,
    ) -> Result<bool, Error> {
        Ok(match known {
            Some(known) => link.excludes(known) && exists(directory, known)?,
            None => false,
        })
    }

    /// How well a file fits before `end`; `None` if it is proven not to belong there.
    fn rank(
        &self,
        directory: &Directory,
        segment: &OpenSegment,
        end: Seq,
        incarnation: [u8; 16],
    ) -> Result<Option<u8>, Error> {
        let header = match &segment.header {
            Ok(read) => &read.header,
            Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => return Ok(Some(RANK_DAMAGED)),
            Err(HeaderFlaw::Blank | HeaderFlaw::Misnamed(_)) => return Ok(None),
        };
        if header.journal != self.journal || forks_off(directory, header)? {
            return Ok(None);
        }
        let footer = segment.footer(header.salt)?;
        Ok(Some(match footer {
            Some(footer) if footer.end_seq == end => RANK_CONNECTED,
            _ if header.incarnation == incarnation => RANK_SAME_INCARNATION,
            _ => RANK_POSSIBLE,
        }))
    }
}

const RANK_DAMAGED: u8 = 0;
const RANK_POSSIBLE: u8 = 1;
const RANK_SAME_INCARNATION: u8 = 2;
const RANK_CONNECTED: u8 = 3;

/// Whether the segment with this name and salt exists.
pub(crate) fn exists(directory: &Directory, (name, salt): Ancestor) -> Result<bool, Error> {
    let found = directory.open_segment(name, Access::Read)?;
    Ok(found.is_some_and(|found| found.header.is_ok_and(|read| read.header.salt == salt)))
}

/// Whether a segment continues from the middle of a sealed one, whose footer proves later records.
pub(crate) fn forks_off(directory: &Directory, header: &SegmentHeader) -> Result<bool, Error> {
    let Some(previous) = header.previous.filter(|previous| previous.salt.0 != 0) else {
        return Ok(false);
    };
    let Some(before) = directory.open_segment(previous.name, Access::Read)? else {
        return Ok(false);
    };
    match &before.header {
        Ok(read) if read.header.salt == previous.salt => {
            let footer = before.footer(previous.salt)?;
            Ok(footer.is_some_and(|footer| footer.end_seq > previous.seq))
        }
        _ => Ok(false),
    }
}

impl ChainCache {
    /// Calls `ask` with the chain that ends with `newest` and reaches back at least to `from`.
    ///
    /// No lock is held during the call: of two concurrent callers, one may follow the chain in vain.
    pub(crate) fn ask<T>(
        &self,
        directory: &Directory,
        journal: [u8; 16],
        newest: (SegmentName, Salt),
        from: Seq,
        ask: impl FnOnce(&mut Chain) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let known = self.lock().take();
        let is_current =
            |chain: &Chain| chain.newest().is_some_and(|link| (link.name, link.salt) == newest);
        let mut chain = match known {
            Some(chain) if is_current(&chain) => chain,
            known => renewed(directory, journal, newest, known)?,
        };
        chain.extend_to(directory, from)?;
        let answer = ask(&mut chain)?;
        // A newest segment whose header could not be read may be back at the next call.
        *self.lock() = Some(chain).filter(|chain| chain.is_newest_read);
        Ok(answer)
    }

    /// Files have changed: the chain is followed again.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    /// Removes unlinked segments.
    pub(crate) fn forget(&self, is_gone: impl Fn(SegmentName) -> bool) {
        if let Some(chain) = &mut *self.lock() {
            chain.forget(is_gone);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Chain>> {
        self.0.lock()
    }
}

/// The incarnation of a segment, from the marker that names it; zeros if none does.
fn marked_incarnation(directory: &Directory, name: SegmentName, salt: Salt) -> [u8; 16] {
    let markers = directory.read_markers();
    let of_segment = markers.iter().find(|marker| (marker.name, marker.salt) == (name, salt));
    of_segment.map_or([0; 16], |marker| marker.incarnation)
}

/// The chain that ends with `newest`; the links of an older state are kept.
fn renewed(
    directory: &Directory,
    journal: [u8; 16],
    (name, salt): (SegmentName, Salt),
    known: Option<Chain>,
) -> Result<Chain, Error> {
    let found = directory.open_segment(name, Access::Read)?.filter(|found| found.header.is_ok());
    let is_newest_read = found.is_some();
    let newest = match found {
        Some(segment) => Link { salt, ..Link::of(&segment) },
        // It is missing. The segments before it may exist.
        None => Link {
            salt,
            incarnation: marked_incarnation(directory, name, salt),
            ..Link::unknown(name)
        },
    };
    let mut chain = Chain { is_newest_read, ..Chain::new(journal, newest, &directory.segments()?) };
    let Some(known) = known else { return Ok(chain) };
    let Some((end, end_salt)) = known.newest().map(|link| (link.name, link.salt)) else {
        return Ok(chain);
    };
    while !chain.below.is_empty() && chain.oldest().is_some_and(|link| link.name.base > end.base) {
        match chain.find_previous(directory)? {
            Some(link) if link.name == end && link.salt == end_salt => {
                chain.links.extend(known.links);
                chain.below = known.below;
                return Ok(chain);
            }
            Some(link) => chain.links.push(link),
            None => chain.below.clear(),
        }
    }
    Ok(chain)
}
