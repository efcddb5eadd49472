//! [`examine`]: reads the last segment after an abnormal end and says what is proven, torn and lost.
//!
//! X is the first offset where no valid frame stands, P the seq behind the last record that is proven to have been
//! synced. P comes from the marker, from the `synced` field of every valid frame, before X or behind it, and from
//! the segment's birth. X behind P: torn, the normal end of a power cut. X before P: damaged. That frames stand
//! behind X proves nothing by itself: writeback may persist one block and not the one before it.

use std::sync::Arc;

use crate::carried::{Carried, Counts};
use crate::digest::SegmentDigest;
use crate::directory::OpenSegment;
use crate::format::{
    DurabilityMarker, FRAMES_OFFSET, Key, RecordsCursor, Salt, SegmentHeader, SystemRecord,
};
use crate::limits::{BLOCK_BYTES, GAPS_MAX};
use crate::walk::{FoundFrame, FrameWalk};
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

/// What an examination found.
#[derive(Debug)]
pub(crate) struct Examination {
    /// The seq behind the last record proven to have been synced.
    pub(crate) proven: Seq,
    /// Whether a marker of this very segment took part in the proof.
    pub(crate) markered: bool,
    /// Where the segment ends: frames before belong to it for ever.
    pub(crate) kept_offset: u64,
    /// What those frames hold.
    pub(crate) kept: Counts,
    /// Digest of the content up to `kept_offset`.
    pub(crate) digest: SegmentDigest,
    /// Whole frames behind the last proven sync.
    pub(crate) carried: Carried,
    /// First offset behind everything that is kept or carried.
    pub(crate) valid_offset: u64,
    /// The seq behind everything that is kept or carried.
    pub(crate) valid_seq: Seq,
    /// Acknowledged seqs that are gone, each with the offset where the damage begins.
    pub(crate) lost: Vec<(SeqRange, u64)>,
    /// The seq behind the last one that was ever seen, in a frame that is kept, carried or given up.
    pub(crate) seen: Seq,
    /// X: the first offset where no valid frame stands.
    pub(crate) first_invalid: u64,
    /// Bytes from the first to the last one written behind `valid_offset`.
    pub(crate) torn_bytes: u64,
    /// Keys of carried records; those of kept ones are found in the segment when they are needed.
    pub(crate) keys: Vec<(Key, Seq)>,
    /// Tombstones and gaps among the kept and carried records, each with its seq.
    pub(crate) notable: Vec<(Seq, SystemRecord)>,
}

/// Reads `segment` whole, twice, with bounded memory. Everything before `sealed_to` is proven by its footer; from `limit` on
/// nothing belongs to the journal.
pub(crate) fn examine(
    segment: &OpenSegment,
    header: &SegmentHeader,
    marker: Option<&DurabilityMarker>,
    (sealed_to, limit): (Seq, Seq),
) -> Result<Examination, Error> {
    let marker = marker.filter(|marker| {
        (marker.journal, marker.salt, marker.name) == (header.journal, header.salt, header.name)
    });
    let mut survey = Survey::of(segment, header, marker)?;
    survey.proven = survey.proven.max(sealed_to).min(limit);
    let mut examination = Examination {
        proven: survey.proven,
        markered: marker.is_some(),
        kept_offset: FRAMES_OFFSET,
        kept: Counts::default(),
        digest: SegmentDigest::new(),
        carried: Carried::default(),
        valid_offset: FRAMES_OFFSET,
        valid_seq: header.start_seq(),
        lost: Vec::new(),
        seen: survey.seen.max(survey.proven),
        first_invalid: survey.first_invalid,
        torn_bytes: 0,
        keys: Vec::new(),
        notable: Vec::new(),
    };
    examination.collect(segment, header, limit)?;
    let torn_from = first_written(segment, examination.valid_offset, survey.written_to)?;
    examination.torn_bytes = survey.written_to.saturating_sub(torn_from);
    Ok(examination)
}

fn window_of(segment: &OpenSegment) -> Window {
    Window::new(segment.path.clone(), Arc::clone(&segment.file), segment.len)
}

/// The first offset from `from` on, before `to`, where a byte is not zero; `to` where all are.
fn first_written(segment: &OpenSegment, from: u64, to: u64) -> Result<u64, Error> {
    let mut window = window_of(segment);
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

/// What the first reading tells.
struct Survey {
    proven: Seq,
    seen: Seq,
    first_invalid: u64,
    /// First offset behind the last byte that is not zero.
    written_to: u64,
}

impl Survey {
    fn of(
        segment: &OpenSegment,
        header: &SegmentHeader,
        marker: Option<&DurabilityMarker>,
    ) -> Result<Self, Error> {
        let mut window = window_of(segment);
        let mut walk = FrameWalk::new(header.salt, FRAMES_OFFSET, header.start_seq());
        let mut proven = header.born_seq.max(marker.map_or(Seq(0), |marker| marker.seq));
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
        let mut window = window_of(segment);
        let mut walk = FrameWalk::new(header.salt, FRAMES_OFFSET, header.start_seq());
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
                self.note_loss(SeqRange::new(self.valid_seq, follows), offset);
                self.keep(&found, &window);
            } else if follows == self.valid_seq.max(self.proven) {
                self.note_loss(SeqRange::new(self.valid_seq, self.proven), offset);
                self.carry(&found, &window, header.salt);
            } else {
                break;
            }
            self.valid_offset = found.end();
            self.valid_seq = found.header.end_seq();
        }
        self.note_loss(SeqRange::new(self.valid_seq, self.proven), self.valid_offset);
        self.valid_seq = self.valid_seq.max(self.proven);
        Ok(())
    }

    /// Notes that acknowledged seqs are missing; where there are too many ranges the last one grows.
    fn note_loss(&mut self, range: SeqRange, offset: u64) {
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
        let counts = self.look_into(found, window);
        self.kept.add(&counts);
    }

    fn carry(&mut self, found: &FoundFrame, window: &Window, salt: Salt) {
        let counts = self.look_into(found, window);
        self.carried.counts.add(&counts);
        let body = found.body(window);
        let mut cursor = RecordsCursor::new(found.header.first_seq);
        while let Some(record) = cursor.next(body) {
            self.keys.extend(record.key.map(|key| (key, record.seq)));
        }
        self.carried.push_frames(found.bytes(window), salt, found.offset);
    }

    fn look_into(&mut self, found: &FoundFrame, window: &Window) -> Counts {
        let records = u64::from(found.header.records);
        let mut counts = Counts { frames: 1, records, ..Counts::default() };
        let body = found.body(window);
        let mut cursor = RecordsCursor::new(found.header.first_seq);
        while let Some(record) = cursor.next(body) {
            counts.add_day(record.day);
            counts.keyed += u64::from(record.key.is_some());
            if record.kind.is_reserved() {
                let system = SystemRecord::decode(record.kind, record.version, record.payload);
                self.notable.extend(system.map(|system| (record.seq, system)));
            }
        }
        counts
    }
}
