//! [`Newest`]: the newest segment of a journal, for an opening and for readers at rest.
//!
//! It is the segment that the marker names, or the last one in the chain that continues it. Files that sort after it and
//! do not continue it are left out.

use crate::chain::{Chain, Link};
use crate::directory::{Directory, HeaderFlaw, OpenSegment};
use crate::evidence::{Evidence, continues_past, covers, leaves_out, pruned_before, pruned_by};
use crate::format::{DurabilityMarker, Salt, SegmentName};
use crate::marker_file::Identity;
use crate::seq::RangeSet;
use crate::storage::Access;
use crate::{Error, Seq};

/// The newest segment, and the files that decided it.
#[derive(Debug)]
pub(crate) struct Newest {
    /// The newest segment; `None` if none is left.
    pub(crate) segment: Option<OpenSegment>,
    /// The marker and `IDENTITY`, unless they belong to another journal or branch.
    pub(crate) marker: Option<DurabilityMarker>,
    pub(crate) identity: Option<Identity>,
    /// The segment that the marker names has another inode than the marker.
    marked_is_copy: bool,
    /// A later segment that existed, and is missing.
    lost: Option<LostSegment>,
    /// The names of all segment files, in order.
    pub(crate) names: Vec<SegmentName>,
    /// The names after the newest segment.
    pub(crate) left_out: Vec<SegmentName>,
}

/// A missing segment that marker or `IDENTITY` name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostSegment {
    pub(crate) name: SegmentName,
    pub(crate) salt: Salt,
    /// The seq up to which it held records, at least.
    pub(crate) seq: Seq,
    /// The seq comes from the marker, which is written after every sync. `IDENTITY` knows only where a segment began.
    pub(crate) is_exact: bool,
    /// No existing file contradicts it.
    is_proven: bool,
}

impl LostSegment {
    /// One that followed a sealed segment; nothing else is known of it.
    pub(crate) const fn after(name: SegmentName) -> Self {
        Self { name, salt: Salt(0), seq: name.base, is_exact: true, is_proven: true }
    }
}

impl Newest {
    /// Whether the segment that the marker names is a copy: its inode is not the one in the marker.
    pub(crate) const fn is_copy(&self) -> bool {
        self.marked_is_copy
    }

    /// The incarnation that wrote last: to the newest segment, which an older one may have begun, or to a lost one.
    pub(crate) fn incarnation(&self) -> Option<[u8; 16]> {
        let of_lost = || {
            let lost = self.lost.filter(|lost| lost.is_proven)?;
            let marker = self.marker.filter(|marker| marker.name == lost.name);
            let of_marker = marker.map(|marker| marker.incarnation);
            of_marker.or(self.identity.map(|identity| identity.incarnation))
        };
        self.own_marker().map(|marker| marker.incarnation).or_else(of_lost)
    }

    /// The marker, if it names the newest segment.
    fn own_marker(&self) -> Option<&DurabilityMarker> {
        let segment = self.segment.as_ref()?;
        let salt = segment.header.as_ref().ok()?.header.salt;
        self.marker.as_ref().filter(|marker| (marker.name, marker.salt) == (segment.name, salt))
    }

    /// The missing later segment of a journal that reached `head` without it.
    pub(crate) fn lost_from(&self, head: Seq) -> Option<LostSegment> {
        self.lost.filter(|lost| lost.is_proven || lost.seq >= head)
    }

    /// The first seq that a lost segment is proven to have held: from there on the newest segment holds nothing.
    pub(crate) fn limit(&self) -> Seq {
        let proven = self.lost.filter(|lost| lost.is_proven);
        proven.map_or(Seq(u64::MAX), |lost| lost.name.base)
    }
}

/// Finds the newest segment of a journal and opens it with `access`.
pub(crate) fn find_newest(directory: &Directory, access: Access) -> Result<Newest, Error> {
    Evidence::gather(directory, access)?.find()
}

impl Evidence<'_> {
    fn find(mut self) -> Result<Newest, Error> {
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
        // A file without a readable header, in the place of the marker's segment, does not agree with the marker.
        if let (Some(found), Some(known), Some(identity)) = (&marked, &marker, &self.identity)
            && found.header.is_err()
            && !known.unnamed
            && known.incarnation != identity.incarnation
            && identified.as_ref().is_some_and(|identified| identified.header.is_ok())
        {
            (marked, marker) = (None, None);
        }
        // The same holds for `IDENTITY`.
        if let (Some(found), Some(known), Some(identity)) = (&identified, &marker, &self.identity)
            && found.header.is_err()
            && known.incarnation != identity.incarnation
            && marked.as_ref().is_some_and(|marked| marked.header.is_ok())
        {
            (identified, self.identity) = (None, None);
        }
        // `IDENTITY` names a segment before the marker does. If that segment exists and the marker's does not, the marker
        // belongs to a copy.
        if marked.is_none()
            && let Some(known) = marker
        {
            let is_of_copy = identified.is_some() || self.identity_outvotes(&known)?;
            if is_of_copy && !known.unnamed {
                marker = None;
            } else {
                let DurabilityMarker { name, salt, seq, .. } = known;
                let later = LostSegment { name, salt, seq, is_exact: true, is_proven: true };
                // `IDENTITY` may name a later segment: one that began where the marker's ends, or after it.
                lost = lost.filter(|lost| lost.seq > seq || lost.name.base >= seq).or(Some(later));
            }
        }
        let durable = marker.filter(|_| marked.is_some()).map_or(Seq(0), |marker| marker.seq);
        let marked_is_copy =
            marker.as_ref().zip(marked.as_ref()).is_some_and(|(marker, marked)| {
                let is_it =
                    marked.header.as_ref().is_ok_and(|read| read.header.salt == marker.salt);
                is_it && marker.inode != 0 && marker.inode != marked.identity.1
            });
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
        // A segment of the same name is identified by its salt.
        let lost =
            lost.filter(|lost| base.is_none_or(|base| lost.name.base >= base) && is_other(lost));
        let lost = lost.map(|lost| LostSegment {
            is_proven: lost.is_proven && base.is_none_or(|base| lost.name.base > base),
            ..lost
        });
        Ok(Newest {
            marked_is_copy,
            lost,
            left_out: self.names.get(after..).unwrap_or_default().to_vec(),
            segment: newest,
            marker,
            identity: self.identity,
            names: self.names,
        })
    }

    /// The newest segment if marker and `IDENTITY` both name an existing one.
    ///
    /// The journal is the marker's branch, unless the marker's segment is an older one, or a pruned one, of the branch
    /// that `IDENTITY` names.
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
            let names_marked = is_marked && !leaves_out(&marked, links.get(1), durable)?;
            let was_pruned = covers(&pruned_before(header), base)
                && of_marked.header.incarnation == header.incarnation;
            let is_older = names_marked || was_pruned;
            if is_older {
                return self.chain_on(identified, Seq(0));
            }
        }
        self.chain_on(marked, durable)
    }

    /// The newest segment before the missing one that `IDENTITY` names, if it continues the marker's branch.
    fn before_lost(
        &self,
        newest: OpenSegment,
        lost: Option<LostSegment>,
        durable: Seq,
    ) -> Result<OpenSegment, Error> {
        let Some(lost) = lost.filter(|lost| lost.name.base > newest.name.base) else {
            return Ok(newest);
        };
        let incarnation = self.identity.map(|identity| identity.incarnation);
        let Some(candidate) = self.newest_by_name(lost.name.base, incarnation)? else {
            return Ok(newest);
        };
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
        let of_newest = &of_newest.header;
        let is_before = links.first().is_some_and(|link| link.salt == of_newest.salt);
        // A copy's segment may find its place after ours by its seqs alone.
        let is_named = links.get(1).and_then(|link| link.previous).is_some_and(|previous| {
            (previous.name, previous.salt) == (of_newest.name, of_newest.salt)
        });
        let is_ours = is_named || header.incarnation == of_newest.incarnation;
        let follows = is_before && is_ours && !leaves_out(&newest, links.get(1), durable)?;
        Ok(if follows { candidate } else { newest })
    }

    /// The last segment of the chain that continues `anchor`; the marker proves its records before `durable`.
    fn chain_on(&self, anchor: OpenSegment, durable: Seq) -> Result<OpenSegment, Error> {
        let inode = self.marker_inode(&anchor);
        let is_restored = inode.is_some_and(|inode| inode != anchor.identity.1);
        // A copy continues under its own incarnation. The file that was written last is followed by its own segments only.
        let mut may_change = inode.is_none() || is_restored;
        let mut later = Vec::new();
        let mut damaged = None;
        let after = self.names.partition_point(|name| *name <= anchor.name);
        for &name in self.names.iter().skip(after) {
            let Some(segment) = self.open(name, Access::Read)? else { continue };
            match &segment.header {
                Ok(read) if Some(read.header.journal) == self.journal => {
                    let is_fresh = segment.is_blank_after(read.header.initial_end.offset);
                    let pruned = match is_restored {
                        true => pruned_by(&segment, &read.header)?,
                        false => RangeSet::default(),
                    };
                    later.push((Link::of_header(&read.header), is_fresh, pruned));
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
            for (link, is_fresh, pruned) in &later {
                let Some(previous) = link.previous else { continue };
                // The segments between are gone. If the anchor was restored from a copy, its descendants existed before. If
                // it is the file that was written last, they may belong to a diverged copy.
                let is_descendant = previous.name != name
                    && previous.seq >= durable
                    && is_restored
                    && header.is_some_and(|header| header.incarnation == link.incarnation)
                    && (covers(pruned, name.base) || self.descends(link, (name, salt))?);
                if is_descendant {
                    candidates.push((link, *is_fresh));
                    continue;
                }
                let follows = previous.name == name
                    && (previous.salt == salt || previous.salt.0 == 0 || salt.0 == 0)
                    && previous.seq >= durable
                    && link.name.base > name.base;
                let is_own = header.is_none_or(|header| header.incarnation == link.incarnation)
                    || self.writes_as(link.incarnation);
                if follows
                    && (is_own || may_change || is_named(link))
                    && (sealed == Some(previous.seq)
                        || is_named(link)
                        || !continues_past(&newest, &previous, link.name.base)?)
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
            (newest, durable, may_change) = (segment, Seq(0), true);
        }
        // A successor without a readable header is identified by its place after a sealed segment, or by its name.
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

    /// The newest segment if those that marker and `IDENTITY` name are missing.
    ///
    /// If no segment has their incarnation, they belong to a copy and prove nothing.
    fn newest_without_names(
        &self,
        lost: &mut Option<LostSegment>,
        incarnation: Option<[u8; 16]>,
    ) -> Result<Option<OpenSegment>, Error> {
        let newest = self.newest_by_name(Seq(u64::MAX), None)?;
        let Some(known) = lost else { return Ok(newest) };
        let is_readable = newest.as_ref().is_some_and(|newest| newest.header.is_ok());
        let is_of_copy = is_readable && !self.holds_segment_of(incarnation)?;
        let continues_after = newest.as_ref().is_some_and(|newest| {
            newest.header.as_ref().is_ok_and(|read| {
                let end = read.header.previous.filter(|previous| previous.name == known.name);
                self.writes_as(read.header.incarnation)
                    && read.header.before().contains(&(known.name, known.salt))
                    && end.is_none_or(|end| end.seq >= known.seq)
            })
        });
        if continues_after {
            return Ok(newest);
        }
        // A segment that held nothing durable, and was replaced since, lost nothing either.
        if is_of_copy || known.seq <= known.name.base {
            known.is_proven = false;
            return Ok(newest);
        }
        self.newest_by_name(known.name.base, incarnation)
    }
}
