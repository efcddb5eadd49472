//! [`Carried`]: frames without a place, on their way from one segment to the next.

use crate::format::{FrameSpan, NewRecord, Salt, encode_frame, frames_in, reseed};
use crate::{Day, Seq, Timestamp};

/// How many frames, how many records, of which days a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Records that have a key.
    pub(crate) keyed: u64,
    pub(crate) days: Option<(Day, Day)>,
}

impl Counts {
    pub(crate) fn add_day(&mut self, day: Day) {
        let (min, max) = self.days.unwrap_or((day, day));
        self.days = Some((min.min(day), max.max(day)));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.records += other.records;
        self.keyed += other.keyed;
        if let Some((min, max)) = other.days {
            self.add_day(min);
            self.add_day(max);
        }
    }
}

/// The seeds of frames that have no place: salt 0, their offset in the buffer.
const NOWHERE: Salt = Salt(0);

/// Frames that stand one behind the other in memory, to be written again with their seqs unchanged.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    bytes: Vec<u8>,
    pub(crate) counts: Counts,
}

impl Carried {
    /// Adds frames that stand at `offset` of the segment with this salt. Counts are the caller's to add.
    pub(crate) fn push_frames(&mut self, frames: &[u8], salt: Salt, offset: u64) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frames);
        let target = (NOWHERE, start as u64);
        let moved = reseed(&mut self.bytes[start..], (salt, offset), target, Seq(0));
        self.bytes.truncate(start + moved);
    }

    /// Adds a frame of its own with these records.
    pub(crate) fn push_records(
        &mut self,
        records: &[NewRecord<'_>],
        time: Timestamp,
        first_seq: Seq,
        skipped: u32,
    ) {
        let span = FrameSpan { first_seq, synced_seq: Seq(0), skipped };
        let offset = self.bytes.len() as u64;
        encode_frame(records, time, span, NOWHERE, offset, &mut self.bytes);
        self.counts.frames += 1;
        self.counts.records += records.len() as u64;
        for record in records {
            self.counts.add_day(record.day.unwrap_or_else(|| time.day()));
            self.counts.keyed += u64::from(record.key.is_some());
        }
    }

    /// Seq of the first record.
    pub(crate) fn first_seq(&self) -> Option<Seq> {
        frames_in(&self.bytes, NOWHERE, 0).next().map(|(header, _)| header.first_seq)
    }

    /// The frames, rewritten for `offset` of the segment with this salt.
    pub(crate) fn place(&self, salt: Salt, offset: u64, synced_seq: Seq) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        reseed(&mut bytes, (NOWHERE, 0), (salt, offset), synced_seq);
        bytes
    }
}
