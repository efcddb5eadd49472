//! Recovery: decides at opening where the last segment ends, and makes the [`Plan`] for the writer.
//!
//! After a clean shutdown the last segment is continued. After any other end it stays as it is, and a new segment is begun
//! whose header says where it ends.

use std::sync::Arc;

use crate::chain::Link;
use crate::control::{PrunedAndGaps, control_records};
use crate::digest::SegmentDigest;
use crate::directory::{Directory, OpenSegment};
use crate::examine::{Bounds, Examination, examine};
use crate::format::{
    ContentEnd, DurabilityMarker, FRAMES_OFFSET, Footer, Gap, PreviousEnd, RECORD_BYTES_MIN,
    Recovered, SegmentHeader, SegmentName,
};
use crate::id_source::IdSource;
use crate::keys::KeyIndex;
use crate::limits::{BLOCK_BYTES, UNSYNCED_RECORDS_MAX};
use crate::newest::{LostSegment, Newest};
use crate::options::Options;
use crate::plan::{
    Numbering, Opening, Plan, SEGMENT_SEQS_MAX, Start, all_lost, begin_with_control_records,
    missing, unreadable, vanished,
};
use crate::storage::{Access, read_full};
use crate::writer::{ActiveSegment, LastSegment, PendingSegment, Replaced};
use crate::{Error, Seq, SeqRange};

/// Plans how writing continues. `can_continue`: the claim of this opening is on the medium, and the last one was released.
pub(crate) fn make_plan(
    directory: &Directory,
    options: &Options,
    newest: &Newest,
    can_continue: bool,
    ids: &IdSource,
) -> Result<Plan, Error> {
    let Some(segment) = &newest.segment else {
        // `IDENTITY` is written once a segment has its name: if it exists, there were records.
        return match (newest.lost_from(Seq(0)), newest.identity) {
            (Some(lost), _) => all_lost(directory, options, newest, &lost, ids),
            (None, Some(identity)) => vanished(directory, options, &identity, ids),
            (None, None) => create(ids),
        };
    };
    let Ok(read) = &segment.header else {
        return unreadable(directory, options, segment, newest, ids);
    };
    let header = &read.header;
    let footer = segment.footer(header.salt)?;
    let left_out_to = end_of_left_out(directory, newest, header)?;
    let clean = clean_end(newest, segment, header, footer.as_ref());
    match clean.filter(|_| can_continue && left_out_to.is_none()) {
        Some(marker) => resume_clean(segment, header.clone(), marker),
        None => {
            let (examination, lost) = examine_end(newest, segment, header, footer.as_ref())?;
            Ok(Recovery { segment, header, examination, lost, left_out_to }.plan(options))
        }
    }
}

/// The marker, if it proves a clean shutdown at the end of this very segment.
///
/// The only place that decides whether a clean shutdown is believed, for openings and for readers.
pub(crate) fn clean_end<'a>(
    newest: &'a Newest,
    segment: &OpenSegment,
    header: &SegmentHeader,
    footer: Option<&Footer>,
) -> Option<&'a DurabilityMarker> {
    newest.marker.as_ref().filter(|marker| {
        marker.clean
            && footer.is_none()
            && newest.lost_from(marker.seq).is_none()
            && (marker.journal, marker.salt, marker.name)
                == (header.journal, header.salt, header.name)
            && marker.offset >= FRAMES_OFFSET
            && marker.offset <= segment.len
            && marker.offset >= header.initial_end.offset
            && marker.seq >= header.initial_end.seq
            // A marker older than the segment, such as one in a copy made next to the writer, is not believed.
            && segment.is_blank_after(marker.offset)
    })
}

/// A seq after every record that a left-out segment of this journal can hold.
///
/// Such seqs were used once, perhaps by this journal before an older state of it was restored. They are not used again.
fn end_of_left_out(
    directory: &Directory,
    newest: &Newest,
    header: &SegmentHeader,
) -> Result<Option<Seq>, Error> {
    for &name in newest.left_out.iter().rev() {
        let Some(segment) = directory.open_segment(name, Access::Read)? else { continue };
        if segment.header.is_ok_and(|read| read.header.journal == header.journal) {
            return Ok(Some(name.base.plus(SEGMENT_SEQS_MAX)));
        }
    }
    Ok(None)
}

fn create(ids: &IdSource) -> Result<Plan, Error> {
    Ok(Plan {
        opening: Opening::Created,
        journal: ids.bytes()?,
        incarnation: ids.bytes()?,
        pruned_and_gaps: PrunedAndGaps::default(),
        tombstones: Vec::new(),
        keys: KeyIndex::default(),
        next_seq: Seq::FIRST,
        start: Start::Begin(Box::new(PendingSegment::empty(None, Seq::FIRST))),
    })
}

fn resume_clean(
    segment: &OpenSegment,
    header: SegmentHeader,
    marker: &DurabilityMarker,
) -> Result<Plan, Error> {
    let mut pruned_and_gaps = PrunedAndGaps::of_header(&header);
    let mut tombstones = Vec::new();
    if marker.has_control {
        for (_, record) in control_records(segment, marker.offset, marker.seq)? {
            pruned_and_gaps.apply(&record);
            tombstones.extend(record.pruned_segments());
        }
    }
    let keys = if marker.counts.keyed > 0 {
        KeyIndex::with_unread_active(marker.offset)
    } else {
        KeyIndex::default()
    };
    let active = ActiveSegment {
        path: segment.path.clone(),
        file: Arc::clone(&segment.file),
        identity: segment.identity,
        // A copy must not continue in the same segment as its original.
        ends_here: segment.links > 1 || marker.inode != segment.identity.1,
        // Bytes before the end are never zeroed, whatever the length of the file.
        allocated: (segment.len / BLOCK_BYTES * BLOCK_BYTES).max(marker.offset),
        synced: ContentEnd { offset: marker.offset, seq: marker.seq },
        digest: resume_digest(segment, marker)?,
        counts: marker.counts,
        has_control: marker.has_control,
        day: (marker.counts.records > 0).then(|| header.created.day()),
        header: header.clone(),
    };
    Ok(Plan {
        opening: Opening::Clean,
        journal: header.journal,
        incarnation: header.incarnation,
        pruned_and_gaps,
        tombstones,
        keys,
        next_seq: marker.seq,
        start: Start::Continue(Box::new(active)),
    })
}

fn resume_digest(segment: &OpenSegment, marker: &DurabilityMarker) -> Result<SegmentDigest, Error> {
    let start = SegmentDigest::block_start(marker.offset);
    let mut digest = SegmentDigest::resume(marker.digest, start);
    let mut bytes = vec![0; (marker.offset - start) as usize];
    // Bytes that cannot be read leave a wrong digest: a later check finds both.
    let filled = read_full(&*segment.file, &mut bytes, start).unwrap_or(0);
    digest.absorb(start, bytes.get(..filled).unwrap_or_default());
    Ok(digest)
}

/// Examines the newest segment, and finds the later segment that is lost, if one is.
fn examine_end(
    newest: &Newest,
    segment: &OpenSegment,
    header: &SegmentHeader,
    footer: Option<&Footer>,
) -> Result<(Examination, Option<LostSegment>), Error> {
    let marker = newest.marker.as_ref();
    let sealed_to = footer.map_or(Seq(0), |footer| footer.end_seq);
    let bounds = Bounds { proven_to: sealed_to, limit: newest.limit() };
    let mut examination = examine(segment, header, marker, bounds)?;
    let lost = newest.lost_from(examination.valid_seq);
    if let Some(lost) = lost.filter(|lost| lost.name.base > examination.proven) {
        // If a later segment is known, everything before that one was proven.
        let bounds = Bounds { proven_to: sealed_to.max(lost.name.base), ..bounds };
        examination = examine(segment, header, marker, bounds)?;
    }
    let lost = lost.or_else(|| {
        let name = SegmentName { base: examination.valid_seq, day: header.name.day };
        footer.map(|_| LostSegment::after(name))
    });
    Ok((examination, lost))
}

/// Recovery after an abnormal end.
///
/// | case | what shows it | what follows |
/// |---|---|---|
/// | torn | no valid frame after the last proven sync | later whole frames are salvaged; the rest was never acknowledged |
/// | damaged | no valid frame before the last proven sync | a `Gap` for each range of missing seqs |
/// | successor lost | a footer, the marker or `IDENTITY` proves a later segment | a `Gap` from the end on; its seqs are never used again |
///
/// The cases combine. In each, numbering continues after every seq that may have been used.
struct Recovery<'a> {
    segment: &'a OpenSegment,
    header: &'a SegmentHeader,
    examination: Examination,
    lost: Option<LostSegment>,
    /// A seq after the records of left-out segments.
    left_out_to: Option<Seq>,
}

/// The successor that is lost, as the header of the new segment names it.
struct LostSuccessor {
    gap: Gap,
    previous: PreviousEnd,
}

impl Recovery<'_> {
    fn plan(self, options: &Options) -> Plan {
        let (header, kept_to) = (self.header, self.examination.valid_seq);
        let mut gaps = self.damaged();
        let mut next = self.after_torn().max(self.left_out_to.unwrap_or(Seq(0)));
        let successor = self.lost.as_ref().map(|lost| self.successor_lost(lost));
        if let Some(successor) = &successor {
            next = next.max(successor.gap.range.to).plus(SEGMENT_SEQS_MAX);
            gaps.push(successor.gap);
        }
        let recovered = Recovered {
            kept_to,
            bytes: self.examination.torn_bytes,
            records_salvaged: self.examination.salvaged.counts.records,
            proof_missing: !self.examination.markered,
            damaged: !gaps.is_empty(),
        };
        let mut pruned_and_gaps = PrunedAndGaps::of_header(header);
        let mut tombstones = Vec::new();
        for (_, record) in &self.examination.control {
            pruned_and_gaps.apply(record);
            tombstones.extend(record.pruned_segments());
        }
        for gap in &gaps {
            pruned_and_gaps.add_gap(gap.range);
        }
        // The lost seqs have to be missing before the new segment too, or readers skip them silently. Salvaged frames take
        // their place.
        let successor = successor.filter(|_| self.examination.salvaged.counts.frames == 0);
        let expected = successor.as_ref().map_or(kept_to, |successor| successor.gap.range.to);
        let end = self.segment_end();
        let (ancestors, previous) = match &successor {
            // Others may be missing between the two, as the flag of the previous one says.
            Some(successor) => (Link::of_header(header).and_before(), successor.previous),
            None => (header.ancestors_of_next(), end),
        };
        let last = LastSegment {
            name: header.name,
            salt: header.salt,
            offset: self.examination.kept_offset,
        };
        let next = begin_with_control_records(
            options,
            Some(previous),
            self.examination.salvaged,
            Numbering { expected, next },
            &recovered,
            &gaps,
        );
        let mut next = PendingSegment { ancestors, last: Some(last), ..next };
        if next.base == header.name.base {
            // Nothing in the segment is proven: the new one has the same name and takes its place.
            next.replaces = Some(Replaced { name: header.name, salt: header.salt });
            (next.previous, next.ancestors) = (header.previous, header.ancestors.clone());
        }
        Plan {
            opening: Opening::Recovered { recovered, gaps },
            journal: header.journal,
            incarnation: header.incarnation,
            pruned_and_gaps,
            tombstones,
            keys: KeyIndex::with_active(self.examination.keys),
            next_seq: next.end,
            start: Start::Begin(Box::new(next)),
        }
    }

    /// Damaged: the acknowledged records that are missing in the segment.
    fn damaged(&self) -> Vec<Gap> {
        let segment = (self.header.name.base, self.header.name.day);
        let gap = |&(range, offset)| Gap { range, segment, offset, upper_bound_unknown: false };
        self.examination.lost.iter().map(gap).collect()
    }

    /// Torn: the first seq that no record of the torn tail can have had.
    fn after_torn(&self) -> Seq {
        let lost_bytes = self.segment.len.saturating_sub(self.examination.first_invalid);
        // Unsynced records may not even be part of the file's length.
        let skipped = lost_bytes / RECORD_BYTES_MIN + UNSYNCED_RECORDS_MAX;
        self.examination.seen.max(self.examination.valid_seq).plus(skipped + 1)
    }

    /// Successor lost: the gap that it leaves.
    fn successor_lost(&self, lost: &LostSegment) -> LostSuccessor {
        let kept_to = self.examination.valid_seq;
        let to = lost.seq.max(kept_to.next());
        // One that began before the end of what is kept was a copy's: its name proves nothing.
        let (name, salt) = match lost.name.base < kept_to {
            true => (SegmentName { base: kept_to, day: lost.name.day }, crate::format::Salt(0)),
            false => (lost.name, lost.salt),
        };
        LostSuccessor {
            gap: Gap {
                range: SeqRange::new(kept_to, to),
                segment: (name.base, name.day),
                offset: 0,
                upper_bound_unknown: true,
            },
            previous: missing(name, salt, to),
        }
    }

    /// The end of the segment, as the next header states it.
    fn segment_end(&self) -> PreviousEnd {
        PreviousEnd {
            name: self.header.name,
            salt: self.header.salt,
            offset: self.examination.kept_offset,
            seq: self.examination.proven,
            digest: self.examination.digest.finish(self.examination.kept_offset),
            unreadable: false,
        }
    }
}
