//! [`Newest`]: which journal a directory holds, and its newest segment, for an opening and for readers where no process
//! writes.
//!
//! Three things bear witness: the marker, `IDENTITY` and the segments themselves. Which journal it is, two of them decide.
//! The newest segment is the one that the marker names, or what chains on from it; files that sort after it and do
//! not chain on are left alone.

use crate::chain::{Link, forks_off};
use crate::directory::{Directory, HeaderFlaw, Identity, OpenSegment};
use crate::format::{DurabilityMarker, Salt, SegmentHeader, SegmentName};
use crate::storage::Access;
use crate::{Error, Seq};

/// What is found.
#[derive(Debug)]
pub(crate) struct Newest {
    /// Its newest segment; `None` where none is left.
    pub(crate) segment: Option<OpenSegment>,
    /// What is believed of the marker and `IDENTITY`: those of another journal or another branch are not.
    pub(crate) marker: Option<DurabilityMarker>,
    pub(crate) identity: Option<Identity>,
    /// A later segment that is known to have been there, and the seq that it reached at least.
    pub(crate) lost: Option<(SegmentName, Salt, Seq)>,
    /// The names of all files, in order.
    pub(crate) names: Vec<SegmentName>,
    /// Those after the newest segment.
    pub(crate) left_out: Vec<SegmentName>,
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
        let is_named = |id: [u8; 16]| Some(id) == of_marker || Some(id) == of_identity;
        let mut fallback = None;
        for &name in self.names.iter().rev() {
            let Some(segment) = self.directory.open_segment(name, Access::Read)? else { continue };
            let Ok(read) = &segment.header else { continue };
            let header = &read.header;
            if self.is_chained(header)?
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

    /// Whether the segment before it is there, or it is the first of all.
    fn is_chained(&self, header: &SegmentHeader) -> Result<bool, Error> {
        let Some(previous) = header.previous else { return Ok(true) };
        let before = self.directory.open_segment(previous.name, Access::Read)?;
        Ok(before.is_some_and(|before| {
            before.header.is_ok_and(|read| {
                read.header.journal == header.journal && read.header.is_of(previous.salt)
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
                    && (read.header.is_of(salt) || salt.0 == 0 && seq <= name.base)
            }
            Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => true,
            Err(HeaderFlaw::Blank | HeaderFlaw::Misnamed(_)) => false,
        }))
    }

    fn find(mut self) -> Result<Newest, Error> {
        let mut anchor = None;
        let mut marker = None;
        for candidate in std::mem::take(&mut self.markers) {
            let found = self.named(candidate.name, candidate.salt, candidate.seq)?;
            if let Some(segment) = found {
                (anchor, marker) = (Some(segment), Some(candidate));
                break;
            }
            marker.get_or_insert(candidate);
        }
        let marked = anchor.is_some();
        let mut lost = None;
        if anchor.is_none() {
            if let Some((name, salt, seq)) = self.identity.and_then(|identity| identity.newest) {
                anchor = self.named(name, salt, seq)?;
                if anchor.is_none() {
                    lost = Some((name, salt, seq));
                }
            }
            // `IDENTITY` is written before the marker names a segment. Where the one that it names is there and the
            // marker's is not, the marker is that of a copy.
            if anchor.is_some() && marker.is_some_and(|marker| !marker.unnamed) {
                marker = None;
            }
            if let Some(marker) = &marker {
                let later = (marker.name, marker.salt, marker.seq);
                lost = Some(lost.filter(|known| known.2 > marker.seq).unwrap_or(later));
            }
        }
        let newest = match anchor {
            Some(anchor) => {
                let from = marker.filter(|_| marked).map_or(Seq(0), |marker| marker.seq);
                Some(self.chain_on(anchor, from)?)
            }
            None => self.newest_by_name()?,
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
        let left_out = match newest {
            Some(_) => self.names.get(after..).unwrap_or_default().to_vec(),
            None => self.names.clone(),
        };
        let is_later = |(name, ..): &(SegmentName, Salt, Seq)| {
            newest.as_ref().is_none_or(|newest| name.base > newest.name.base)
        };
        Ok(Newest {
            lost: lost.filter(is_later),
            segment: newest,
            marker,
            identity: self.identity,
            names: self.names,
            left_out,
        })
    }

    /// The last of the segments that chain on from `anchor`; `durable` is the seq that the marker vouches for in it.
    fn chain_on(&self, anchor: OpenSegment, durable: Seq) -> Result<OpenSegment, Error> {
        let mut later = Vec::new();
        let mut damaged = None;
        let after = self.names.partition_point(|name| *name <= anchor.name);
        for &name in self.names.iter().skip(after) {
            let Some(segment) = self.open(name, Access::Read)? else { continue };
            match &segment.header {
                Ok(read) if Some(read.header.journal) == self.journal => {
                    later.push(Link::of_header(&read.header));
                }
                Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => {
                    damaged.get_or_insert(name);
                }
                _ => {}
            }
        }
        let (mut newest, mut durable) = (anchor, durable);
        loop {
            let salt = newest.header.as_ref().map_or(Salt(0), |read| read.header.salt);
            let (name, identity) =
                (newest.name, self.identity.and_then(|identity| identity.newest));
            let follows = |link: &&Link| {
                link.previous.is_some_and(|previous| {
                    previous.name == name
                        && (previous.salt == salt || previous.salt.0 == 0 || salt.0 == 0)
                        && previous.seq >= durable
                        && link.name.base > name.base
                })
            };
            let named = |link: &Link| {
                identity.is_some_and(|(name, salt, _)| (name, salt) == (link.name, link.salt))
            };
            let next = later.iter().filter(follows).max_by_key(|link| {
                let incarnation = newest.header.as_ref().map(|read| read.header.incarnation);
                let own = incarnation.is_ok_and(|own| own == link.incarnation);
                let end = link.previous.map_or(Seq(0), |previous| previous.seq);
                (named(link), own, end, std::cmp::Reverse(link.name))
            });
            let Some(next) = next else { break };
            let Some(segment) = self.open(next.name, self.access)? else { break };
            (newest, durable) = (segment, Seq(0));
        }
        // A successor of which nothing can be read is known by its place, behind a sealed segment, or by its name.
        if let Some(name) = damaged.filter(|name| *name > newest.name) {
            let footer = match &newest.header {
                Ok(read) => newest.footer(read.header.salt)?,
                Err(_) => None,
            };
            let named = self.identity.and_then(|identity| identity.newest);
            if footer.is_some_and(|footer| footer.end_seq == name.base)
                || named.is_some_and(|(newest, ..)| newest == name)
            {
                return Ok(self.open(name, self.access)?.unwrap_or(newest));
            }
        }
        Ok(newest)
    }

    /// The newest segment by name that no header proves to be another's: neither marker nor `IDENTITY` names one that is
    /// there.
    fn newest_by_name(&self) -> Result<Option<OpenSegment>, Error> {
        for &name in self.names.iter().rev() {
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
