//! [`SalvagedFrames`]: frames of one segment that are to be written again to the next.

use crate::format::{Counts, FrameSpan, NewRecord, Salt, Stamp, encode_frame, frames_in, restamp};
use crate::{Seq, Timestamp};

/// The salt of frames in memory: they are stamped with their offset in the buffer.
const IN_MEMORY: Salt = Salt(0);

/// Frames in memory, one after another, to be written again with their seqs unchanged.
#[derive(Debug, Default)]
pub(crate) struct SalvagedFrames {
    bytes: Vec<u8>,
    pub(crate) counts: Counts,
}

impl SalvagedFrames {
    /// Adds frames from `offset` of the segment with this salt. The caller adds their counts.
    pub(crate) fn push_frames(&mut self, frames: &[u8], salt: Salt, offset: u64) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frames);
        let target = Stamp { salt: IN_MEMORY, offset: start as u64 };
        let moved = restamp(&mut self.bytes[start..], Stamp { salt, offset }, target, Seq(0));
        self.bytes.truncate(start + moved);
    }

    /// Adds a new frame with these records.
    pub(crate) fn push_records(
        &mut self,
        records: &[NewRecord<'_>],
        time: Timestamp,
        first_seq: Seq,
        skipped: u32,
    ) {
        let span = FrameSpan { first_seq, synced_seq: Seq(0), skipped };
        let offset = self.bytes.len() as u64;
        encode_frame(records, time, span, IN_MEMORY, offset, &mut self.bytes);
        self.counts.frames += 1;
        self.counts.records += records.len() as u64;
        for record in records {
            self.counts.add_day(record.day.unwrap_or_else(|| time.day()));
            self.counts.keyed += u64::from(record.key.is_some());
        }
    }

    /// Seq of the first record.
    pub(crate) fn first_seq(&self) -> Option<Seq> {
        frames_in(&self.bytes, IN_MEMORY, 0).next().map(|(header, _)| header.first_seq)
    }

    /// The frames, stamped for `offset` of the segment with this salt.
    pub(crate) fn place(&self, salt: Salt, offset: u64, synced_seq: Seq) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        restamp(
            &mut bytes,
            Stamp { salt: IN_MEMORY, offset: 0 },
            Stamp { salt, offset },
            synced_seq,
        );
        bytes
    }
}
