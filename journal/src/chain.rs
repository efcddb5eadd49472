//! [`Chain`]: which files in `journal/` are the journal.
//!
//! Names are not believed: a file may be a copy under another name, or belong to another journal, or to a copy of this
//! one that went its own way. The header of each segment names the one before it by name and salt, so the chain is
//! followed from the newest segment backwards, where every step has one answer. Where a link is missing, damaged
//! or pruned, an older segment keeps its place by its seqs: a file is left out only where a header proves that its
//! seqs are another file's. What is left out is never read, changed or deleted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::directory::{Directory, HeaderFlaw, OpenSegment};
use crate::format::{
    ANCESTORS_MAX, Ancestor, HeaderRead, PreviousEnd, Salt, SegmentHeader, SegmentName,
};
use crate::storage::Access;
use crate::{Error, Seq};

/// Segments looked at for the one that ends where a missing one began.
const CANDIDATES_MAX: usize = 16;

/// One segment of the journal.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) name: SegmentName,
    /// 0 where the header cannot be used.
    pub(crate) salt: Salt,
    pub(crate) incarnation: [u8; 16],
    /// The seq that comes before its first frame; its base where the header cannot be used.
    pub(crate) start: Seq,
    /// The segment before it, as its header says.
    pub(crate) previous: Option<PreviousEnd>,
    /// Those before it that are known by name and salt, nearest first.
    before: Vec<Ancestor>,
}

/// The segments of the journal, from the newest as far back as they were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    journal: [u8; 16],
    /// Newest first.
    links: Vec<Link>,
    /// Names that stand before the oldest link, in order; not looked at yet.
    below: Vec<SegmentName>,
}

/// Remembers the chain, so that every header is read once.
#[derive(Debug, Default)]
pub(crate) struct ChainCache(Mutex<Option<Chain>>);

impl Link {
    pub(crate) fn of(segment: &OpenSegment) -> Self {
        match &segment.header {
            Ok(read) => Self::of_header(&read.header),
            Err(_) => Self {
                name: segment.name,
                salt: Salt(0),
                incarnation: [0; 16],
                start: segment.name.base,
                previous: None,
                before: Vec::new(),
            },
        }
    }

    pub(crate) fn of_header(header: &SegmentHeader) -> Self {
        Self {
            name: header.name,
            salt: header.salt,
            incarnation: header.incarnation,
            start: header.start_seq(),
            previous: header.previous,
            before: header.before(),
        }
    }

    /// The segments before this one that are known by name and salt, nearest first.
    pub(crate) fn before(&self) -> &[Ancestor] {
        &self.before
    }

    /// This segment and those before it, as the ancestors of one whose previous segment is gone.
    pub(crate) fn and_before(&self) -> Vec<Ancestor> {
        let before = self.before.iter().copied();
        [(self.name, self.salt)].into_iter().chain(before).take(ANCESTORS_MAX).collect()
    }

    /// Whether what it says of the segments before it leaves no place for `ancestor`.
    fn rules_out(&self, (name, salt): Ancestor) -> bool {
        let reaches = self.before.last().is_some_and(|(oldest, _)| oldest.base < name.base);
        reaches && !self.before.contains(&(name, salt))
    }

    /// Where the segment before this one ends, if that is the one that `before` is, or may be, damaged as it is.
    pub(crate) fn previous_end_of(&self, before: &OpenSegment) -> Option<PreviousEnd> {
        self.previous.filter(|previous| {
            let is_other =
                |read: &HeaderRead| previous.salt.0 != 0 && read.header.salt != previous.salt;
            previous.name == before.name
                && !previous.unreadable
                && !before.header.as_ref().is_ok_and(is_other)
        })
    }
}

impl SegmentHeader {
    /// The segments before this one that it names, nearest first.
    pub(crate) fn before(&self) -> Vec<Ancestor> {
        let previous = self.previous.iter().map(|previous| (previous.name, previous.salt));
        previous.chain(self.ancestors.iter().copied()).collect()
    }

    /// The segments before the one that would come after this one, but for this one itself.
    pub(crate) fn ancestors_of_next(&self) -> Vec<Ancestor> {
        let mut before = self.before();
        before.truncate(ANCESTORS_MAX);
        before
    }
}

impl Chain {
    /// The chain that ends with `newest`; `names` are those of all files, in order.
    pub(crate) fn new(journal: [u8; 16], newest: Link, names: &[SegmentName]) -> Self {
        let below = names.iter().copied().filter(|name| name.base < newest.name.base).collect();
        Self { journal, links: vec![newest], below }
    }

    /// Goes back until the segment that holds `from` is in the chain, or there is none before.
    pub(crate) fn extend_to(&mut self, directory: &Directory, from: Seq) -> Result<(), Error> {
        while self.oldest().is_some_and(|oldest| oldest.start > from) && self.extend(directory)? {}
        Ok(())
    }

    /// Goes back by one segment; `false`: there is none before.
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

    /// The link that many steps before the newest.
    pub(crate) fn back(&self, steps: usize) -> Option<&Link> {
        self.links.get(steps)
    }

    /// The links found so far from the one that holds `from` on, oldest first.
    pub(crate) fn links_from(&self, from: Seq) -> Vec<Link> {
        let holding = self.links.partition_point(|link| link.name.base > from);
        self.links.iter().take(holding + 1).rev().cloned().collect()
    }

    /// Segments were unlinked.
    fn forget(&mut self, is_gone: impl Fn(SegmentName) -> bool) {
        let newest = self.newest().map(|newest| newest.name);
        self.links.retain(|link| Some(link.name) == newest || !is_gone(link.name));
        self.below.retain(|name| !is_gone(*name));
    }

    /// The link before the oldest one, taken out of `below` with everything that it rules out.
    fn find_previous(&mut self, directory: &Directory) -> Result<Option<Link>, Error> {
        let Some(oldest) = self.links.last() else { return Ok(None) };
        let (mut base, incarnation) = (oldest.name.base, oldest.incarnation);
        let mut before = oldest.before.clone();
        // Where the previous one was missing already, others may be missing between it and the next.
        let is_open = oldest.previous.is_some_and(|previous| previous.unreadable);
        let known = before.get(1).copied().filter(|_| is_open);
        if is_open {
            before.truncate(1);
        }
        for (index, &(name, salt)) in before.iter().enumerate() {
            if name.base >= base {
                break;
            }
            // The seqs from there to the oldest link are proven to be those of segments that it names.
            base = name.base;
            let covered = self.below.split_off(self.below.partition_point(|name| name.base < base));
            if covered.contains(&name)
                && let Some(segment) = directory.open_segment(name, Access::Read)?
                && self.is_link(&segment, salt)
            {
                let mut link = Link::of(&segment);
                if segment.header.is_err() {
                    (link.salt, link.incarnation) = (salt, incarnation);
                    link.before = before.get(index + 1..).unwrap_or_default().to_vec();
                }
                return Ok(Some(link));
            }
        }
        self.by_seqs(directory, base, incarnation, known)
    }

    /// Whether the file is the segment that a header names with this salt. A damaged one in its place is.
    fn is_link(&self, segment: &OpenSegment, salt: Salt) -> bool {
        match &segment.header {
            Ok(read) => {
                read.header.journal == self.journal && (salt.0 == 0 || read.header.salt == salt)
            }
            Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => true,
            Err(HeaderFlaw::Blank | HeaderFlaw::Misnamed(_)) => false,
        }
    }

    /// The newest segment before `end` that nothing proves to be another's: what stands between is missing.
    ///
    /// Of those that may be it, the one that ends just there comes first, then one of the same incarnation.
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
        let mut looked_at = 0;
        for &name in self.below.iter().rev() {
            let Some(segment) = directory.open_segment(name, Access::Read)? else { continue };
            let Some(rank) = self.rank(directory, &segment, end, incarnation)? else { continue };
            let link = Link::of(&segment);
            let is_other = |known: Ancestor| {
                link.salt.0 != 0
                    && (link.name.base < known.0.base
                        || (link.name, link.salt) != known && link.rules_out(known))
            };
            if known.is_some_and(is_other) && self.is_there(directory, known)? {
                continue;
            }
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, link));
            }
            looked_at += 1;
            if rank == RANK_CONNECTED || looked_at >= CANDIDATES_MAX {
                break;
            }
        }
        let Some((_, link)) = best else { return Ok(None) };
        self.below.truncate(self.below.partition_point(|name| name.base < link.name.base));
        Ok(Some(link))
    }

    /// Whether the segment with this name and salt is there.
    fn is_there(&self, directory: &Directory, ancestor: Option<Ancestor>) -> Result<bool, Error> {
        let Some((name, salt)) = ancestor else { return Ok(false) };
        let found = directory.open_segment(name, Access::Read)?;
        Ok(found.is_some_and(|found| found.header.is_ok_and(|read| read.header.salt == salt)))
    }

    /// How well a file fits before `end`; `None` where it is proven not to belong there.
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

/// Whether a segment continues from the middle of a sealed one: that one's own footer says that it went on.
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
    /// Asks the chain that ends with `newest`, and which reaches at least as far back as `from`.
    ///
    /// No lock is held meanwhile: of two who ask at once, one may follow the chain in vain.
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
        *self.lock() = Some(chain);
        Ok(answer)
    }

    /// Files are not what they were: the chain is followed again.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    /// Segments were unlinked.
    pub(crate) fn forget(&self, is_gone: impl Fn(SegmentName) -> bool) {
        if let Some(chain) = &mut *self.lock() {
            chain.forget(is_gone);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Chain>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain that ends with `newest`; what is known of an older state of it is kept.
fn renewed(
    directory: &Directory,
    journal: [u8; 16],
    (name, salt): (SegmentName, Salt),
    known: Option<Chain>,
) -> Result<Chain, Error> {
    let newest = match directory.open_segment(name, Access::Read)? {
        Some(segment) => Link { salt, ..Link::of(&segment) },
        // It is gone. What came before it is not.
        None => Link {
            name,
            salt,
            incarnation: [0; 16],
            start: name.base,
            previous: None,
            before: Vec::new(),
        },
    };
    let mut chain = Chain::new(journal, newest, &directory.segments()?);
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
