//! [`Newest`]: which journal a directory holds, and its newest segment, for an opening and for readers where no process
//! writes.
//!
//! Three things bear witness: the marker, `IDENTITY` and the segments themselves. Which journal it is, two of them decide.
//! The newest segment is the one that the marker names, or what chains on from it; files that sort after it and do
//! not chain on are left alone.

use crate::chain::{Chain, Link, forks_off};
use crate::directory::{Directory, HeaderFlaw, Identity, OpenSegment};
use crate::format::{
    Ancestor, DurabilityMarker, FRAMES_OFFSET, PreviousEnd, Salt, SegmentHeader, SegmentName,
};
use crate::ledger::Ledger;
use crate::notable::system_records;
use crate::ranges::RangeSet;
use crate::storage::Access;
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

use std::sync::Arc;

/// What is found.
#[derive(Debug)]
pub(crate) struct Newest {
    /// Its newest segment; `None` where none is left.
    pub(crate) segment: Option<OpenSegment>,
    /// What is believed of the marker and `IDENTITY`: those of another journal or another branch are not.
    pub(crate) marker: Option<DurabilityMarker>,
    pub(crate) identity: Option<Identity>,
    /// A later segment that is known to have been there.
    lost: Option<LostSegment>,
    /// The names of all files, in order.
    pub(crate) names: Vec<SegmentName>,
    /// Those after the newest segment.
    pub(crate) left_out: Vec<SegmentName>,
}

/// A segment that marker or `IDENTITY` name and that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostSegment {
    pub(crate) name: SegmentName,
    pub(crate) salt: Salt,
    /// The seq that it reached at least.
    pub(crate) seq: Seq,
    /// The marker says so, which is written after every sync: the seq is the one that it reached. `IDENTITY` knows where it
    /// began only.
    pub(crate) is_exact: bool,
    /// Nothing that is there says otherwise.
    is_proven: bool,
}

impl LostSegment {
    /// One that followed a sealed segment, of which nothing else is known.
    pub(crate) const fn after(name: SegmentName) -> Self {
        Self { name, salt: Salt(0), seq: name.base, is_exact: true, is_proven: true }
    }
}

impl Newest {
    /// The later segment that is known to have been there, where the journal reached `head` without it.
    pub(crate) fn lost_from(&self, head: Seq) -> Option<LostSegment> {
        self.lost.filter(|lost| lost.is_proven || lost.seq >= head)
    }

    /// The seq from which on the newest segment holds nothing of this journal: a lost segment is proven to have held it.
    pub(crate) fn limit(&self) -> Seq {
        let proven = self.lost.filter(|lost| lost.is_proven);
        proven.map_or(Seq(u64::MAX), |lost| lost.name.base)
    }
}

/// What the directory says of itself.
struct Evidence<'a> {
    directory: &'a Directory,
    access: Access,
    journal: Option<[u8; 16]>,
    markers: Vec<DurabilityMarker>,
    identity: Option<Identity>,
    names: Vec<SegmentName>,
}

/// Finds the newest segment and opens it with `access`.
pub(crate) fn find_newest(directory: &Directory, access: Access) -> Result<Newest, Error> {
    let mut evidence = Evidence {
        directory,
        access,
        journal: None,
        markers: directory.read_markers(),
        identity: directory.read_identity(),
        names: directory.segments()?,
    };
    evidence.journal = evidence.decide_journal()?;
    if let Some(journal) = evidence.journal {
        evidence.markers.retain(|marker| marker.journal == journal);
        evidence.identity = evidence.identity.filter(|identity| identity.journal == journal);
    }
    evidence.find()
}

impl Evidence<'_> {
    /// The journal that two of marker, `IDENTITY` and newest chained segment name; the segment's where no two agree.
    fn decide_journal(&self) -> Result<Option<[u8; 16]>, Error> {
        let of_marker = self.markers.first().map(|marker| marker.journal);
        let of_identity = self.identity.map(|identity| identity.journal);
        if of_marker.is_some() && of_marker == of_identity {
            return Ok(of_marker);
        }
        if let Some(marker) = self.markers.first()
            && let Some(segment) = self.directory.open_segment(marker.name, Access::Read)?
            && let Ok(read) = &segment.header
            && (read.header.journal, read.header.salt) == (marker.journal, marker.salt)
        {
            return Ok(of_marker);
        }
        let is_named = |id: [u8; 16]| Some(id) == of_marker || Some(id) == of_identity;
        let mut fallback = None;
        for &name in self.names.iter().rev() {
            let Some(segment) = self.directory.open_segment(name, Access::Read)? else { continue };
            let Ok(read) = &segment.header else { continue };
            let header = &read.header;
            if self.is_chained(&segment, header)?
                && (is_named(header.journal) || of_marker.or(of_identity).is_none())
            {
                return Ok(Some(header.journal));
            }
            if fallback.is_none() || is_named(header.journal) && !fallback.is_some_and(is_named) {
                fallback = Some(header.journal);
            }
        }
        Ok(fallback.or(of_marker).or(of_identity))
    }

    /// Whether the segment before it is there or was pruned, or it is the first of all.
    fn is_chained(&self, segment: &OpenSegment, header: &SegmentHeader) -> Result<bool, Error> {
        let Some(previous) = header.previous else { return Ok(true) };
        let base = previous.name.base;
        let mut ledger = Ledger::of_header(header);
        for (_, record) in system_records(segment, header.salt, segment.len, Seq(u64::MAX))? {
            ledger.apply(&record);
        }
        if ledger.pruned.covers(SeqRange::new(base, base.next())) {
            return Ok(true);
        }
        let before = self.directory.open_segment(previous.name, Access::Read)?;
        Ok(before.is_some_and(|before| {
            before.header.is_ok_and(|read| {
                read.header.journal == header.journal && read.header.salt == previous.salt
            })
        }))
    }

    fn open(&self, name: SegmentName, access: Access) -> Result<Option<OpenSegment>, Error> {
        self.directory.open_segment(name, access)
    }

    /// The segment of this name, if it is the one with this salt, or so damaged that it may be.
    fn named(&self, name: SegmentName, salt: Salt, seq: Seq) -> Result<Option<OpenSegment>, Error> {
        if self.names.binary_search(&name).is_err() {
            return Ok(None);
        }
        let segment = self.open(name, self.access)?;
        Ok(segment.filter(|segment| match &segment.header {
            Ok(read) => {
                // A segment that held nothing durable may have been replaced since.
                Some(read.header.journal) == self.journal
                    && (read.header.salt == salt
                        || read.header.replaces == salt && salt.0 != 0 && seq <= name.base)
            }
            Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => true,
            Err(HeaderFlaw::Blank | HeaderFlaw::Misnamed(_)) => false,
        }))
    }

    fn find(self) -> Result<Newest, Error> {
        let mut marker = None;
        let mut marked = None;
        for candidate in self.markers.iter().copied() {
            let found = self.named(candidate.name, candidate.salt, candidate.seq)?;
            if let Some(segment) = found {
                (marked, marker) = (Some(segment), Some(candidate));
                break;
            }
            marker.get_or_insert(candidate);
        }
        let mut lost: Option<LostSegment> = None;
        let mut identified = None;
        if let Some((name, salt, seq)) = self.identity.and_then(|identity| identity.newest) {
            identified = self.named(name, salt, seq)?;
            if identified.is_none() {
                let is_proven = marked.is_none();
                lost = Some(LostSegment { name, salt, seq, is_exact: false, is_proven });
            }
        }
        // `IDENTITY` is written before the marker names a segment. Where the one that it names is there and the
        // marker's is not, the marker is that of a copy.
        if marked.is_none()
            && let Some(known) = marker
        {
            if identified.is_some() && !known.unnamed {
                marker = None;
            } else {
                let DurabilityMarker { name, salt, seq, .. } = known;
                let later = LostSegment { name, salt, seq, is_exact: true, is_proven: true };
                lost = lost.filter(|lost| lost.seq > seq).or(Some(later));
            }
        }
        let durable = marker.filter(|_| marked.is_some()).map_or(Seq(0), |marker| marker.seq);
        let newest = match (marked, identified) {
            (Some(marked), Some(identified)) => Some(self.later_of(marked, identified, durable)?),
            (Some(marked), None) => {
                let newest = self.chain_on(marked, durable)?;
                Some(self.before_lost(newest, lost, durable)?)
            }
            (None, Some(identified)) => Some(self.chain_on(identified, Seq(0))?),
            (None, None) => {
                let incarnation = match (&marker, self.identity) {
                    (Some(marker), _) => Some(marker.incarnation),
                    (None, identity) => identity.map(|identity| identity.incarnation),
                };
                self.newest_without_names(&mut lost, incarnation)?
            }
        };
        if let Some(newest) = &newest
            && let Err(HeaderFlaw::Unopenable(source)) = &newest.header
        {
            let (path, source) = (newest.path.clone(), source.clone());
            return Err(Error::Io { operation: "open", path, source });
        }
        let after = newest
            .as_ref()
            .map_or(0, |newest| self.names.partition_point(|name| *name <= newest.name));
        let base = newest.as_ref().map(|newest| newest.name.base);
        let is_other = |lost: &LostSegment| {
            let salt = newest.as_ref().and_then(|newest| newest.header.as_ref().ok());
            salt.is_none_or(|read| read.header.salt != lost.salt)
        };
        // One of the same name is known by its salt only.
        let lost =
            lost.filter(|lost| base.is_none_or(|base| lost.name.base >= base) && is_other(lost));
        let lost = lost.map(|lost| LostSegment {
            is_proven: lost.is_proven && base.is_none_or(|base| lost.name.base > base),
            ..lost
        });
        Ok(Newest {
            lost,
            left_out: self.names.get(after..).unwrap_or_default().to_vec(),
            segment: newest,
            marker,
            identity: self.identity,
            names: self.names,
        })
    }

    /// The newest segment where marker and `IDENTITY` both name one that is there: the marker's branch is the journal,
    /// unless its segment is an older one of the branch that `IDENTITY` names, or was pruned from it.
    fn later_of(
        &self,
        marked: OpenSegment,
        identified: OpenSegment,
        durable: Seq,
    ) -> Result<OpenSegment, Error> {
        let name = identified.name;
        if marked.name.base < name.base
            && let Ok(read) = &identified.header
            && let Ok(of_marked) = &marked.header
        {
            let header = &read.header;
            let (base, salt) = (marked.name.base, of_marked.header.salt);
            let mut chain = Chain::new(header.journal, Link::of_header(header), &self.names);
            chain.extend_to(self.directory, base)?;
            let links = chain.links_from(base);
            let is_marked = links.first().is_some_and(|link| link.salt == salt);
            let ends_early = links
                .get(1)
                .and_then(|link| link.previous)
                .is_some_and(|previous| previous.name == marked.name && previous.seq < durable);
            let names_marked = is_marked && !ends_early;
            let was_pruned =
                covers(header, base) && of_marked.header.incarnation == header.incarnation;
            let is_older = names_marked || was_pruned;
            if is_older {
                return self.chain_on(identified, Seq(0));
            }
        }
        self.chain_on(marked, durable)
    }

    /// The newest segment before the one that `IDENTITY` names and that is gone, if it comes after the newest one that the
    /// marker's chains on to.
    fn before_lost(
        &self,
        newest: OpenSegment,
        lost: Option<LostSegment>,
        durable: Seq,
    ) -> Result<OpenSegment, Error> {
        let Some(lost) = lost.filter(|lost| lost.name.base > newest.name.base) else {
            return Ok(newest);
        };
        let Some(candidate) = self.newest_by_name(lost.name.base)? else { return Ok(newest) };
        let (Ok(read), Ok(of_newest)) = (&candidate.header, &newest.header) else {
            return Ok(newest);
        };
        if candidate.name.base <= newest.name.base {
            return Ok(newest);
        }
        let header = &read.header;
        let mut chain = Chain::new(header.journal, Link::of_header(header), &self.names);
        chain.extend_to(self.directory, newest.name.base)?;
        let links = chain.links_from(newest.name.base);
        let is_before = links.first().is_some_and(|link| link.salt == of_newest.header.salt);
        let ends_early = links
            .get(1)
            .and_then(|link| link.previous)
            .is_some_and(|previous| previous.name == newest.name && previous.seq < durable);
        Ok(if is_before && !ends_early { candidate } else { newest })
    }

    /// The last of the segments that chain on from `anchor`; `durable` is the seq that the marker vouches for in it.
    fn chain_on(&self, anchor: OpenSegment, durable: Seq) -> Result<OpenSegment, Error> {
        let inode = self.marker_inode(&anchor);
        let is_restored = inode.is_some_and(|inode| inode != anchor.identity.1);
        let mut later = Vec::new();
        let mut damaged = None;
        let after = self.names.partition_point(|name| *name <= anchor.name);
        for &name in self.names.iter().skip(after) {
            let Some(segment) = self.open(name, Access::Read)? else { continue };
            match &segment.header {
                Ok(read) if Some(read.header.journal) == self.journal => {
                    let is_fresh = segment.is_blank_behind(read.header.born_offset);
                    later.push((Link::of_header(&read.header), is_fresh));
                }
                Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => {
                    damaged.get_or_insert(name);
                }
                _ => {}
            }
        }
        let named = self.identity.and_then(|identity| identity.newest);
        let is_named = |link: &Link| {
            named.is_some_and(|(name, salt, _)| (name, salt) == (link.name, link.salt))
        };
        let (mut newest, mut durable) = (anchor, durable);
        loop {
            let header = newest.header.as_ref().map(|read| &read.header).ok();
            let salt = header.map_or(Salt(0), |header| header.salt);
            let footer = header.map(|header| newest.footer(header.salt)).transpose()?.flatten();
            let sealed = footer.map(|footer| footer.end_seq);
            let name = newest.name;
            let mut candidates = Vec::new();
            for (link, is_fresh) in &later {
                let Some(previous) = link.previous else { continue };
                // Those between are gone. Where the anchor was put back from a copy, what descends from it was there
                // before; where it is the very file that was written last, that may be a copy's which went its own way.
                let is_descendant = previous.name != name
                    && previous.seq >= durable
                    && is_restored
                    && header.is_some_and(|header| header.incarnation == link.incarnation)
                    && self.descends(link, (name, salt))?;
                if is_descendant {
                    candidates.push((link, *is_fresh));
                    continue;
                }
                let follows = previous.name == name
                    && (previous.salt == salt || previous.salt.0 == 0 || salt.0 == 0)
                    && previous.seq >= durable
                    && link.name.base > name.base;
                if follows
                    && (sealed == Some(previous.seq)
                        || is_named(link)
                        || !goes_on(&newest, &previous, link.name.base)?)
                {
                    candidates.push((link, *is_fresh));
                }
            }
            let next = candidates.into_iter().max_by_key(|(link, is_fresh)| {
                let own = header.is_some_and(|header| header.incarnation == link.incarnation);
                let end = link.previous.map_or(Seq(0), |previous| previous.seq);
                (is_named(link), own, end, !*is_fresh, std::cmp::Reverse(link.name))
            });
            let Some((next, _)) = next else { break };
            let Some(segment) = self.open(next.name, self.access)? else { break };
            (newest, durable) = (segment, Seq(0));
        }
        // A successor of which nothing can be read is known by its place, behind a sealed segment, or by its name.
        if let Some(name) = damaged.filter(|name| *name > newest.name) {
            let footer = match &newest.header {
                Ok(read) => newest.footer(read.header.salt)?,
                Err(_) => None,
            };
            if footer.is_some_and(|footer| footer.end_seq == name.base)
                || named.is_some_and(|(newest, ..)| newest == name)
            {
                return Ok(self.open(name, self.access)?.unwrap_or(newest));
            }
        }
        Ok(newest)
    }

    /// The inode that the marker knows of a segment; `None` where it names another one.
    fn marker_inode(&self, segment: &OpenSegment) -> Option<u64> {
        let salt = segment.header.as_ref().map(|read| read.header.salt).ok()?;
        let marker =
            self.markers.iter().find(|marker| (marker.name, marker.salt) == (segment.name, salt));
        marker.map(|marker| marker.inode).filter(|inode| *inode != 0)
    }

    /// Whether a segment names `ancestor` among those before it, and none of those between is there.
    fn descends(&self, link: &Link, ancestor: Ancestor) -> Result<bool, Error> {
        for &(name, salt) in link.before() {
            if (name, salt) == ancestor {
                return Ok(true);
            }
            let between = match self.names.binary_search(&name) {
                Ok(_) => self.open(name, Access::Read)?,
                Err(_) => None,
            };
            if between.is_some_and(|found| found.header.is_ok_and(|read| read.header.salt == salt))
            {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The newest segment where those that marker and `IDENTITY` name are gone. Where no segment is of their incarnation they
    /// are those of a copy, and prove nothing.
    fn newest_without_names(
        &self,
        lost: &mut Option<LostSegment>,
        incarnation: Option<[u8; 16]>,
    ) -> Result<Option<OpenSegment>, Error> {
        let newest = self.newest_by_name(Seq(u64::MAX))?;
        let Some(known) = lost else { return Ok(newest) };
        let is_copys = newest.as_ref().is_some_and(|newest| {
            let header = newest.header.as_ref().ok();
            header.is_some_and(|read| Some(read.header.incarnation) != incarnation)
        });
        // In a segment that held nothing durable, and whose place others took since, nothing is lost either.
        if is_copys || known.seq <= known.name.base {
            known.is_proven = false;
            return Ok(newest);
        }
        self.newest_by_name(known.name.base)
    }

    /// The newest segment by name, before a seq, that no header proves to be another's: neither marker nor `IDENTITY` names
    /// one that is there.
    fn newest_by_name(&self, before: Seq) -> Result<Option<OpenSegment>, Error> {
        for &name in self.names.iter().rev().filter(|name| name.base < before) {
            let Some(segment) = self.open(name, self.access)? else { continue };
            let is_ours = match &segment.header {
                Ok(read) => {
                    Some(read.header.journal) == self.journal
                        && !forks_off(self.directory, &read.header)?
                }
                Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => true,
                Err(HeaderFlaw::Blank | HeaderFlaw::Misnamed(_)) => false,
            };
            if is_ours {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }
}

/// Whether a segment holds a record just after the place where a later one says that it ends. An opening writes such
/// records again, so that the later one begins with them; one that does not is a copy's.
fn goes_on(segment: &OpenSegment, end: &PreviousEnd, base: Seq) -> Result<bool, Error> {
    let Ok(read) = &segment.header else { return Ok(false) };
    if base == end.seq {
        return Ok(false);
    }
    let mut window = Window::new(segment.path.clone(), Arc::clone(&segment.file), segment.len);
    let mut walk = FrameWalk::new(read.header.salt, end.offset.max(FRAMES_OFFSET), end.seq);
    let found = walk.next(&mut window)?;
    Ok(found.is_some_and(|found| found.header.follows() == end.seq))
}

/// Whether a seq was pruned before the segment with this header was begun.
fn covers(header: &SegmentHeader, seq: Seq) -> bool {
    RangeSet::from_ranges(header.pruned.iter().copied()).covers(SeqRange::new(seq, seq.next()))
}
