//! [`Evidence`]: what the files of a directory say about which journal and which branch it holds.
//!
//! Marker, `IDENTITY` and the headers of the segments decide, two of three.

use crate::chain::{CANDIDATES_MAX, Link, forks_off};
use crate::control::{PrunedAndGaps, control_records};
use crate::directory::{Directory, HeaderFlaw, OpenSegment};
use crate::format::{
    Ancestor, DurabilityMarker, FRAMES_OFFSET, PreviousEnd, Salt, SegmentHeader, SegmentName,
};
use crate::marker_file::Identity;
use crate::seq::RangeSet;
use crate::storage::Access;
use crate::walk::FrameWalk;
use crate::{Error, Seq, SeqRange};

/// The files of one directory that decide which journal it holds.
pub(crate) struct Evidence<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) access: Access,
    pub(crate) journal: Option<[u8; 16]>,
    pub(crate) markers: Vec<DurabilityMarker>,
    pub(crate) identity: Option<Identity>,
    pub(crate) names: Vec<SegmentName>,
}

impl<'a> Evidence<'a> {
    /// Finds the journal, the markers and `IDENTITY` that belong to it, and all files with the name of a segment.
    pub(crate) fn gather(directory: &'a Directory, access: Access) -> Result<Self, Error> {
        let mut evidence = Self {
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
        Ok(evidence)
    }

    /// The journal that two of marker, `IDENTITY` and newest chained segment name; the segment's if no two agree.
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

    /// Whether the previous segment exists or was pruned, or there is none.
    fn is_chained(&self, segment: &OpenSegment, header: &SegmentHeader) -> Result<bool, Error> {
        let Some(previous) = header.previous else { return Ok(true) };
        let base = previous.name.base;
        if covers(&pruned_by(segment, header)?, base) {
            return Ok(true);
        }
        let before = self.directory.open_segment(previous.name, Access::Read)?;
        Ok(before.is_some_and(|before| {
            before.header.is_ok_and(|read| {
                read.header.journal == header.journal && read.header.salt == previous.salt
            })
        }))
    }

    pub(crate) fn open(
        &self,
        name: SegmentName,
        access: Access,
    ) -> Result<Option<OpenSegment>, Error> {
        self.directory.open_segment(name, access)
    }

    /// The segment of this name, if its salt is this one, or may be with a damaged header.
    pub(crate) fn named(
        &self,
        name: SegmentName,
        salt: Salt,
        seq: Seq,
    ) -> Result<Option<OpenSegment>, Error> {
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

    /// The inode of a segment in the marker; `None` if the marker names another one.
    pub(crate) fn marker_inode(&self, segment: &OpenSegment) -> Option<u64> {
        let salt = segment.header.as_ref().map(|read| read.header.salt).ok()?;
        let marker =
            self.markers.iter().find(|marker| (marker.name, marker.salt) == (segment.name, salt));
        marker.map(|marker| marker.inode).filter(|inode| *inode != 0)
    }

    /// Whether `IDENTITY` and the segments agree on another incarnation than the marker.
    ///
    /// For a directory that holds neither the marker's segment nor that of `IDENTITY`.
    pub(crate) fn identity_outvotes(&self, marker: &DurabilityMarker) -> Result<bool, Error> {
        let Some(identity) = self.identity.filter(|identity| identity.newest.is_some()) else {
            return Ok(false);
        };
        Ok(identity.incarnation != marker.incarnation
            && self.holds_segment_of(Some(identity.incarnation))?
            && !self.holds_segment_of(Some(marker.incarnation))?)
    }

    /// Whether a segment of this incarnation exists, under any name.
    pub(crate) fn holds_segment_of(&self, incarnation: Option<[u8; 16]>) -> Result<bool, Error> {
        for &name in self.names.iter().rev() {
            let Some(segment) = self.open(name, Access::Read)? else { continue };
            let found = match &segment.header {
                Ok(read) => read.header.incarnation,
                Err(HeaderFlaw::Misnamed(header)) => header.incarnation,
                Err(_) => continue,
            };
            if Some(found) == incarnation {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this is the incarnation of the last writer, which may have continued a segment of an older one.
    pub(crate) fn writes_as(&self, incarnation: [u8; 16]) -> bool {
        self.markers.iter().any(|marker| marker.incarnation == incarnation)
            || self.identity.is_some_and(|identity| identity.incarnation == incarnation)
    }

    /// Whether a segment names `ancestor` as an earlier one, and no segment between the two exists.
    pub(crate) fn descends(&self, link: &Link, ancestor: Ancestor) -> Result<bool, Error> {
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

    /// The newest segment by name, before a seq, that no header excludes.
    ///
    /// For a directory without the segments that marker and `IDENTITY` name. If the incarnation is known, a segment that
    /// ends exactly there is preferred, then one of that incarnation.
    pub(crate) fn newest_by_name(
        &self,
        before: Seq,
        incarnation: Option<[u8; 16]>,
    ) -> Result<Option<OpenSegment>, Error> {
        let mut best: Option<(u8, OpenSegment)> = None;
        let mut seen = 0;
        for &name in self.names.iter().rev().filter(|name| name.base < before) {
            let Some(segment) = self.open(name, self.access)? else { continue };
            let rank = match &segment.header {
                Ok(read) if Some(read.header.journal) != self.journal => continue,
                Ok(read) if forks_off(self.directory, &read.header)? => continue,
                Ok(read) => {
                    let footer = segment.footer(read.header.salt)?;
                    match incarnation {
                        Some(_) if footer.is_some_and(|footer| footer.end_seq == before) => 2,
                        Some(known) if known != read.header.incarnation => 0,
                        _ => 1,
                    }
                }
                Err(HeaderFlaw::Damaged | HeaderFlaw::Unopenable(_)) => 1,
                Err(HeaderFlaw::Blank | HeaderFlaw::Misnamed(_)) => continue,
            };
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, segment));
            }
            seen += 1;
            if incarnation.is_none() || rank == 2 || seen >= CANDIDATES_MAX {
                break;
            }
        }
        Ok(best.map(|(_, segment)| segment))
    }
}

/// Whether `next` ends a segment before records that it holds and the marker proves: then `next` belongs to a copy.
pub(crate) fn leaves_out(
    segment: &OpenSegment,
    next: Option<&Link>,
    durable: Seq,
) -> Result<bool, Error> {
    let Some(end) = next.and_then(|next| next.previous) else { return Ok(false) };
    let is_early = end.name == segment.name && end.seq < durable;
    Ok(is_early && reaches(segment, &end, durable)?)
}

/// Whether a segment holds a record directly after the end that a later one names.
///
/// An opening writes such records again, at the beginning of the later segment. One without them belongs to a copy.
pub(crate) fn continues_past(
    segment: &OpenSegment,
    end: &PreviousEnd,
    base: Seq,
) -> Result<bool, Error> {
    Ok(base != end.seq && reaches(segment, end, end.seq.next())?)
}

/// Whether a segment holds every record from the end that a later one names up to `seq`.
fn reaches(segment: &OpenSegment, end: &PreviousEnd, seq: Seq) -> Result<bool, Error> {
    let Ok(read) = &segment.header else { return Ok(false) };
    let mut window = segment.window(segment.len);
    let mut walk = FrameWalk::new(read.header.salt, end.offset.max(FRAMES_OFFSET), end.seq);
    let mut reached = end.seq;
    while reached < seq {
        match walk.next(&mut window)? {
            Some(found) if found.header.follows() == reached => reached = found.header.end_seq(),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The seqs that were pruned before the segment with this header was begun.
pub(crate) fn pruned_before(header: &SegmentHeader) -> RangeSet {
    RangeSet::from_ranges(header.pruned.iter().copied())
}

/// The seqs that were pruned before the end of a segment.
pub(crate) fn pruned_by(segment: &OpenSegment, header: &SegmentHeader) -> Result<RangeSet, Error> {
    let mut pruned_and_gaps = PrunedAndGaps::of_header(header);
    for (_, record) in control_records(segment, segment.len, Seq(u64::MAX))? {
        pruned_and_gaps.apply(&record);
    }
    Ok(pruned_and_gaps.pruned)
}

pub(crate) fn covers(pruned: &RangeSet, seq: Seq) -> bool {
    pruned.covers(SeqRange::new(seq, seq.next()))
}
