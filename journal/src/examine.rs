//! [`examine`]: reads the last segment after an abnormal end and decides what is proven, torn and lost.
//!
//! X is the first offset without a valid frame. P is the seq after the last record that is proven to have been synced. P
//! comes from the marker, from the `synced` field of every valid frame, before X or after it, and from the initial end of
//! the segment. X after P: torn, the normal result of a power cut. X before P: damaged. Frames after X prove nothing by
//! themselves: writeback may persist one block and not the one before it.

use crate::digest::SegmentDigest;
use crate::directory::OpenSegment;
use crate::format::{
    ControlRecord, Counts, DurabilityMarker, FRAMES_OFFSET, Key, Salt, SegmentHeader,
};
use crate::limits::{BLOCK_BYTES, GAPS_MAX};
use crate::salvage::SalvagedFrames;
use crate::walk::{FoundFrame, FrameWalk};
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

/// The result of an examination.
#[derive(Debug)]
pub(crate) struct Examination {
    /// The seq after the last record that is proven to have been synced.
    pub(crate) proven: Seq,
    /// Whether a marker of this very segment took part in the proof.
    pub(crate) markered: bool,
    /// The end of the segment: frames before it belong to the segment for good.
    pub(crate) kept_offset: u64,
    /// Digest of the content up to `kept_offset`.
    pub(crate) digest: SegmentDigest,
    /// Whole frames after the last proven sync.
    pub(crate) salvaged: SalvagedFrames,
    /// First offset after everything that is kept or salvaged.
    pub(crate) valid_offset: u64,
    /// The seq after everything that is kept or salvaged.
    pub(crate) valid_seq: Seq,
    /// Acknowledged seqs that are lost, each range with the offset where the damage begins.
    pub(crate) lost: Vec<(SeqRange, u64)>,
    /// The seq after the last one in any frame, whether kept, salvaged or dropped.
    pub(crate) seen: Seq,
    /// X: the first offset without a valid frame.
    pub(crate) first_invalid: u64,
    /// Bytes from the first to the last one written after `valid_offset`.
    pub(crate) torn_bytes: u64,
    /// Keys of salvaged records. Keys of kept records are read from the segment when they are needed.
    pub(crate) keys: Vec<(Key, Seq)>,
    /// Tombstones and gaps among the kept and salvaged records, each with its seq.
    pub(crate) control: Vec<(Seq, ControlRecord)>,
}

/// What other files prove about the segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Everything before this seq was synced: a footer or a later segment says so.
    pub(crate) proven_to: Seq,
    /// From this seq on, nothing in the segment belongs to the journal.
    pub(crate) limit: Seq,
}

/// Reads the whole segment, twice, with bounded memory.
pub(crate) fn examine(
    segment: &OpenSegment,
    header: &SegmentHeader,
    marker: Option<&DurabilityMarker>,
    bounds: Bounds,
) -> Result<Examination, Error> {
    let marker = marker.filter(|marker| {
        (marker.journal, marker.salt, marker.name) == (header.journal, header.salt, header.name)
    });
    let mut survey = Survey::of(segment, header, marker)?;
    survey.proven = survey.proven.max(bounds.proven_to).min(bounds.limit);
    let mut examination = Examination {
        proven: survey.proven,
        markered: marker.is_some(),
        kept_offset: FRAMES_OFFSET,
        digest: SegmentDigest::new(),
        salvaged: SalvagedFrames::default(),
        valid_offset: FRAMES_OFFSET,
        valid_seq: header.start_seq(),
        lost: Vec::new(),
        seen: survey.seen.max(survey.proven),
        first_invalid: survey.first_invalid,
        torn_bytes: 0,
        keys: Vec::new(),
        control: Vec::new(),
    };
    examination.collect(segment, header, bounds.limit)?;
    let torn_from = first_written(segment, examination.valid_offset, survey.written_to)?;
    examination.torn_bytes = survey.written_to.saturating_sub(torn_from);
    Ok(examination)
}

/// The first offset from `from` on, before `to`, where a byte is not zero; `to` where all are.
fn first_written(segment: &OpenSegment, from: u64, to: u64) -> Result<u64, Error> {
    let mut window = segment.window(segment.len);
    let mut at = from;
    while at < to {
        let bytes = window.get(at, BLOCK_BYTES as usize)?;
        match bytes.iter().position(|byte| *byte != 0) {
            Some(index) => return Ok((at + index as u64).min(to)),
            None if bytes.is_empty() => break,
            None => at += bytes.len() as u64,
        }
    }
    Ok(to)
}

/// The result of the first reading.
struct Survey {
    proven: Seq,
    seen: Seq,
    first_invalid: u64,
    /// First offset after the last byte that is not zero.
    written_to: u64,
}

impl Survey {
    fn of(
        segment: &OpenSegment,
        header: &SegmentHeader,
        marker: Option<&DurabilityMarker>,
    ) -> Result<Self, Error> {
        let mut window = segment.window(segment.len);
        let mut walk = FrameWalk::of(header);
        let mut proven = header.initial_end.seq.max(marker.map_or(Seq(0), |marker| marker.seq));
        let mut first_invalid = None;
        while let Some(found) = walk.next(&mut window)? {
            if let Some(hole) = found.hole.filter(|hole| !hole.lost.is_empty()) {
                first_invalid.get_or_insert(hole.offset);
            }
            proven = proven.max(found.header.synced_seq);
        }
        Ok(Self {
            proven,
            seen: walk.expected(),
            first_invalid: first_invalid.unwrap_or_else(|| walk.offset()),
            written_to: walk.offset().max(walk.last_stray().map_or(0, |last| last + 1)),
        })
    }
}

impl Examination {
    fn collect(
        &mut self,
        segment: &OpenSegment,
        header: &SegmentHeader,
        limit: Seq,
    ) -> Result<(), Error> {
        let mut window = segment.window(segment.len);
        let mut walk = FrameWalk::of(header);
        loop {
            let offset = walk.offset();
            let Some(found) = walk.next(&mut window)? else {
                break;
            };
            let follows = found.header.follows();
            if found.header.first_seq >= limit {
                break;
            }
            if found.header.first_seq < self.proven {
                self.add_loss(SeqRange::new(self.valid_seq, follows), offset);
                self.keep(&found, &window);
            } else if follows == self.valid_seq.max(self.proven) {
                self.add_loss(SeqRange::new(self.valid_seq, self.proven), offset);
                self.salvage(&found, &window, header.salt);
            } else {
                break;
            }
            self.valid_offset = found.end();
            self.valid_seq = found.header.end_seq();
        }
        self.add_loss(SeqRange::new(self.valid_seq, self.proven), self.valid_offset);
        self.valid_seq = self.valid_seq.max(self.proven);
        Ok(())
    }

    /// Records that acknowledged seqs are missing; with too many ranges the last one grows.
    fn add_loss(&mut self, range: SeqRange, offset: u64) {
        if range.is_empty() {
            return;
        }
        let full = self.lost.len() >= GAPS_MAX;
        match self.lost.last_mut() {
            Some((last, _)) if full => last.to = range.to,
            _ => self.lost.push((range, offset)),
        }
    }

    fn keep(&mut self, found: &FoundFrame, window: &Window) {
        self.digest.absorb(found.offset, found.bytes(window));
        self.kept_offset = found.end();
        found.for_each_record(window, |record| {
            self.control.extend(ControlRecord::of(record).map(|control| (record.seq, control)));
        });
    }

    fn salvage(&mut self, found: &FoundFrame, window: &Window, salt: Salt) {
        let records = u64::from(found.header.records);
        let mut counts = Counts { frames: 1, records, ..Counts::default() };
        found.for_each_record(window, |record| {
            counts.add_day(record.day);
            counts.keyed += u64::from(record.key.is_some());
            self.keys.extend(record.key.map(|key| (key, record.seq)));
            self.control.extend(ControlRecord::of(record).map(|control| (record.seq, control)));
        });
        self.salvaged.counts.add(&counts);
        self.salvaged.push_frames(found.bytes(window), salt, found.offset);
    }
}
