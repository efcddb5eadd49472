//! [`Plan`]: the result of examining a journal at opening: what was found, and where writing continues.
//!
//! Also the plans for a journal that lost whole segments: the header of the last one, every segment, or everything
//! but `IDENTITY`. Recording continues as the same journal, far after every seq that may have been used, with control
//! records that name the loss.

use crate::chain::forks_off;
use crate::control::{PrunedAndGaps, control_records};
use crate::directory::{Directory, OpenSegment};
use crate::format::{
    ControlRecord, Gap, NewRecord, PreviousEnd, PrunedSegment, RECORD_BYTES_MIN, Recovered, Salt,
    SegmentHeader, SegmentName,
};
use crate::id_source::IdSource;
use crate::keys::KeyIndex;
use crate::limits::{SEGMENT_BYTES_MAX, SEQ_AFTER_VANISHING_MAX, SEQ_AFTER_VANISHING_MIN};
use crate::marker_file::Identity;
use crate::newest::{LostSegment, Newest};
use crate::options::Options;
use crate::salvage::SalvagedFrames;
use crate::storage::Access;
use crate::writer::{ActiveSegment, PendingSegment};
use crate::{Error, Seq, SeqRange};

/// How an opening found the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opening {
    /// There was none; a new one was created.
    Created,
    /// The journal was closed cleanly.
    Clean,
    /// The journal was not closed cleanly: a power cut, a crash, or damage.
    Recovered {
        /// What was found and kept.
        recovered: Recovered,
        /// The acknowledged records that are lost.
        gaps: Vec<Gap>,
    },
}

/// The state with which a writer starts.
pub(crate) struct Plan {
    pub(crate) opening: Opening,
    pub(crate) journal: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    pub(crate) pruned_and_gaps: PrunedAndGaps,
    /// The segments that tombstones in the newest segment name.
    pub(crate) tombstones: Vec<PrunedSegment>,
    pub(crate) keys: KeyIndex,
    pub(crate) next_seq: Seq,
    pub(crate) start: Start,
}

/// Where writing continues.
pub(crate) enum Start {
    Continue(Box<ActiveSegment>),
    Begin(Box<PendingSegment>),
}

/// Where the numbering of records was interrupted, and where it continues.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbering {
    /// The seq that would have come next.
    pub(crate) expected: Seq,
    /// The seq that comes next: those between are skipped.
    pub(crate) next: Seq,
}

/// Seqs that the records of one segment can have at most.
pub(crate) const SEGMENT_SEQS_MAX: u64 = SEGMENT_BYTES_MAX / RECORD_BYTES_MIN;

/// A segment that begins with salvaged frames, then the control records that describe the loss.
pub(crate) fn begin_with_control_records(
    options: &Options,
    previous: Option<PreviousEnd>,
    mut salvaged: SalvagedFrames,
    numbering: Numbering,
    recovered: &Recovered,
    gaps: &[Gap],
) -> PendingSegment {
    let gaps: Vec<ControlRecord> = gaps.iter().map(|gap| ControlRecord::Gap(*gap)).collect();
    let records = [&gaps[..], &[ControlRecord::Recovered(*recovered)]].concat();
    let payloads: Vec<Vec<u8>> = records.iter().map(ControlRecord::encode).collect();
    let new_records: Vec<NewRecord<'_>> =
        records.iter().zip(&payloads).map(|(record, payload)| record.as_record(payload)).collect();
    let Numbering { expected, next } = numbering;
    let skipped = u32::try_from(next.0.saturating_sub(expected.0)).unwrap_or(u32::MAX);
    let first = expected.plus(u64::from(skipped));
    salvaged.push_records(&new_records, options.clock.read().wall, first, skipped);
    PendingSegment {
        end: first.plus(records.len() as u64),
        control: gaps,
        ..PendingSegment::with_frames(previous, salvaged, first)
    }
}

/// The plan for a newest segment whose header cannot be read: all of its records are lost.
pub(crate) fn unreadable(
    directory: &Directory,
    options: &Options,
    segment: &OpenSegment,
    newest: &Newest,
    ids: &IdSource,
) -> Result<Plan, Error> {
    let marker = newest.marker.as_ref();
    let journal = marker.map(|marker| marker.journal);
    let journal = journal.or(newest.identity.map(|identity| identity.journal));
    let of_marker = marker.filter(|marker| marker.name == segment.name);
    let salt = of_marker.map_or(Salt(0), |marker| marker.salt);
    let mut pruned_and_gaps = PrunedAndGaps::default();
    let mut tombstones = Vec::new();
    let before = newest_readable_before(directory, newest, segment, journal)?;
    if let Some((before, header)) = &before {
        pruned_and_gaps = PrunedAndGaps::of_header(header);
        for (_, record) in control_records(before, before.len, segment.name.base)? {
            pruned_and_gaps.apply(&record);
            tombstones.extend(record.pruned_segments());
        }
    }
    let base = segment.name.base;
    let known_to = of_marker.map_or(base, |marker| marker.seq.max(base));
    // A later segment may be missing too.
    let lost = newest.lost_from(base);
    let known_to = lost.map_or(known_to, |lost| lost.seq.max(known_to));
    let next = known_to.plus(segment.len.max(SEGMENT_BYTES_MAX) / RECORD_BYTES_MIN);
    let (name, salt) = lost.map_or((segment.name, salt), |lost| (lost.name, lost.salt));
    let before = before.map(|(_, header)| header);
    let loss = Loss {
        journal: journal.or(before.as_ref().map(|header| header.journal)),
        incarnation: before.map(|header| header.incarnation),
        pruned_and_gaps,
        tombstones,
        previous: Some(missing(name, salt, known_to)),
        numbering: Numbering { expected: known_to, next },
        gap: gap_from(segment.name, SeqRange::new(base, known_to.max(base.next()))),
    };
    loss.plan(options, ids)
}

/// The newest segment before `segment` whose header can be read.
fn newest_readable_before(
    directory: &Directory,
    newest: &Newest,
    segment: &OpenSegment,
    journal: Option<[u8; 16]>,
) -> Result<Option<(OpenSegment, SegmentHeader)>, Error> {
    let before = newest.names.iter().rev().filter(|name| name.base < segment.name.base);
    for &name in before {
        let Some(found) = directory.open_segment(name, Access::Read)? else { continue };
        if let Ok(read) = &found.header
            && journal.is_none_or(|journal| journal == read.header.journal)
            && !forks_off(directory, &read.header)?
        {
            let header = read.header.clone();
            return Ok(Some((found, header)));
        }
    }
    Ok(None)
}

/// The plan if no segment is left, although the marker or `IDENTITY` names one.
///
/// The journal keeps its id: projections of the lost records must not be taken for those of another journal.
pub(crate) fn all_lost(
    directory: &Directory,
    options: &Options,
    newest: &Newest,
    lost: &LostSegment,
    ids: &IdSource,
) -> Result<Plan, Error> {
    report_all_lost(directory);
    let known_to = lost.seq.max(Seq::FIRST.next());
    let mut numbering = Numbering { expected: known_to, next: known_to.plus(SEGMENT_SEQS_MAX) };
    if !lost.is_exact {
        // How far it came is unknown: everything before the next record counts as lost.
        let next = numbering.next.max(after_vanishing(options));
        numbering = Numbering { expected: next, next };
    }
    let end = numbering.expected;
    let marker = newest.marker.as_ref().map(|marker| (marker.journal, marker.incarnation));
    let identity = newest.identity.map(|identity| (identity.journal, identity.incarnation));
    let (journal, incarnation) = marker.or(identity).unzip();
    let loss = Loss {
        journal,
        incarnation,
        pruned_and_gaps: PrunedAndGaps::default(),
        tombstones: Vec::new(),
        // Numbering continues far after what is known: the header says where that ended.
        previous: Some(missing(lost.name, lost.salt, end)),
        numbering,
        gap: gap_from(lost.name, SeqRange::new(Seq::FIRST, end)),
    };
    loss.plan(options, ids)
}

/// The plan if `IDENTITY` names the journal and no segment of it.
pub(crate) fn vanished(
    directory: &Directory,
    options: &Options,
    identity: &Identity,
    ids: &IdSource,
) -> Result<Plan, Error> {
    report_all_lost(directory);
    let next = after_vanishing(options);
    let name = SegmentName { base: Seq::FIRST, day: options.clock.read().wall.day() };
    let loss = Loss {
        journal: Some(identity.journal),
        incarnation: Some(identity.incarnation),
        pruned_and_gaps: PrunedAndGaps::default(),
        tombstones: Vec::new(),
        previous: None,
        numbering: Numbering { expected: next, next },
        gap: gap_from(name, SeqRange::new(Seq::FIRST, next)),
    };
    loss.plan(options, ids)
}

/// The next seq if nothing says how far the journal came: the microseconds since 1970.
fn after_vanishing(options: &Options) -> Seq {
    let micros = u64::try_from(options.clock.read().wall.utc_micros).unwrap_or_default();
    Seq(micros.clamp(SEQ_AFTER_VANISHING_MIN, SEQ_AFTER_VANISHING_MAX))
}

fn report_all_lost(directory: &Directory) {
    tracing::error!(
        root = %directory.root.display(),
        "journal: IDENTITY or WITNESS name segments and none of them exists; every record is lost and recording continues \
         after them; put journal/ back from a backup, or move the whole directory away to begin a new journal"
    );
}

/// What a header says of a previous segment that cannot be read.
pub(crate) const fn missing(name: SegmentName, salt: Salt, seq: Seq) -> PreviousEnd {
    PreviousEnd { name, salt, offset: 0, seq, digest: [0; 32], unreadable: true }
}

/// A gap of unknown extent that begins with a segment.
fn gap_from(name: SegmentName, range: SeqRange) -> Gap {
    Gap { range, segment: (name.base, name.day), offset: 0, upper_bound_unknown: true }
}

/// Whole segments that are gone, and what is known of the journal without them.
struct Loss {
    journal: Option<[u8; 16]>,
    incarnation: Option<[u8; 16]>,
    pruned_and_gaps: PrunedAndGaps,
    tombstones: Vec<PrunedSegment>,
    previous: Option<PreviousEnd>,
    numbering: Numbering,
    gap: Gap,
}

impl Loss {
    fn plan(mut self, options: &Options, ids: &IdSource) -> Result<Plan, Error> {
        self.pruned_and_gaps.add_gap(self.gap.range);
        let recovered = Recovered {
            kept_to: self.numbering.expected,
            bytes: 0,
            records_salvaged: 0,
            proof_missing: true,
            damaged: true,
        };
        let (gaps, salvaged) = (vec![self.gap], SalvagedFrames::default());
        let next = begin_with_control_records(
            options,
            self.previous,
            salvaged,
            self.numbering,
            &recovered,
            &gaps,
        );
        Ok(Plan {
            opening: Opening::Recovered { recovered, gaps },
            journal: self.journal.map_or_else(|| ids.bytes(), Ok)?,
            incarnation: self.incarnation.map_or_else(|| ids.bytes(), Ok)?,
            pruned_and_gaps: self.pruned_and_gaps,
            tombstones: self.tombstones,
            keys: KeyIndex::default(),
            next_seq: next.end,
            start: Start::Begin(Box::new(next)),
        })
    }
}
