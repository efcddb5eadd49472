//! Control records, which the journal appends itself: recoveries, gaps, prunings and clock steps.
//!
//! Their payloads are fixed little-endian structures.

use super::{Kind, NewRecord, Put, Record, Take};
use crate::limits::TOMBSTONE_SEGMENTS_MAX;
use crate::{Day, Seq, SeqRange, Timestamp};

const VERSION: u16 = 1;

const PRUNED_SEGMENT_BYTES: usize = 40;
const WRONG_FROM_BYTES: usize = 8;
const FLAG_PROOF_MISSING: u32 = 1;
const FLAG_DAMAGED: u32 = 2;
const FLAG_UPPER_BOUND_UNKNOWN: u32 = 1;

/// The journal was opened after an abnormal end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The seq after the last record that was kept.
    pub kept_to: Seq,
    /// Bytes after the last valid frame that were written but never acknowledged.
    pub bytes: u64,
    /// Records after the last proven sync that were whole and kept.
    pub records_salvaged: u64,
    /// No marker proved which records were acknowledged.
    pub proof_missing: bool,
    /// Acknowledged records were lost: `Gap` records say which.
    pub damaged: bool,
}

/// Acknowledged records were lost by the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The lost seqs.
    pub range: SeqRange,
    /// First seq and day of the segment that held them.
    pub segment: (Seq, Day),
    /// Where in it the damage begins.
    pub offset: u64,
    /// The number of lost records is unknown: `range` ends where numbering continues.
    pub upper_bound_unknown: bool,
}

/// Days up to `day` were pruned: records before this one in the journal, and no later ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedThrough {
    /// The newest day pruned.
    pub day: Day,
    /// Days from this one on were pruned too: a wrong clock set them, and the records around them are pruned.
    pub wrong_from: Option<Day>,
    /// The pruned segments, oldest first.
    pub segments: Vec<PrunedSegment>,
}

/// The days that a [`PrunedThrough`] prunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrunedDays {
    /// Days up to this one.
    pub through: Day,
    /// Days from this one on.
    pub wrong_from: Option<Day>,
}

impl PrunedThrough {
    /// The days that it prunes.
    #[must_use]
    pub const fn days(&self) -> PrunedDays {
        PrunedDays { through: self.day, wrong_from: self.wrong_from }
    }
}

impl PrunedDays {
    /// Whether `day` is one of them.
    #[must_use]
    pub fn contains(self, day: Day) -> bool {
        day <= self.through || self.wrong_from.is_some_and(|from| day >= from)
    }
}

/// One segment that a [`PrunedThrough`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrunedSegment {
    /// The seqs it covered.
    pub range: SeqRange,
    /// The first seq in its file name.
    pub base: Seq,
    /// The day in its file name.
    pub day: Day,
    /// The salt in its header: which file of that name it is. 0 where the header could not be read.
    pub salt: u64,
}

/// Wall-clock time was set: it moved differently from the time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStepped {
    /// The time that the clock would have shown.
    pub expected: Timestamp,
    /// The time that it shows.
    pub found: Timestamp,
}

/// Any control record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlRecord {
    /// The journal was opened after an abnormal end.
    Recovered(Recovered),
    /// Acknowledged records were lost by the medium.
    Gap(Gap),
    /// Days were pruned.
    PrunedThrough(PrunedThrough),
    /// Wall-clock time was set.
    ClockStepped(ClockStepped),
}

impl ControlRecord {
    /// The kind of a [`Recovered`].
    pub const RECOVERED: Kind = Kind(0xFF00);
    /// The kind of a [`Gap`].
    pub const GAP: Kind = Kind(0xFF01);
    /// The kind of a [`PrunedThrough`].
    pub const PRUNED_THROUGH: Kind = Kind(0xFF02);
    /// The kind of a [`ClockStepped`].
    pub const CLOCK_STEPPED: Kind = Kind(0xFF03);

    /// The record to be appended, with this payload.
    pub(crate) const fn as_record<'a>(&self, payload: &'a [u8]) -> NewRecord<'a> {
        NewRecord::new(self.kind(), VERSION, payload)
    }

    /// Decodes a record of a reserved kind; `None` for any other.
    pub(crate) fn of(record: &Record<'_>) -> Option<Self> {
        record
            .kind
            .is_reserved()
            .then(|| Self::decode(record.kind, record.version, record.payload))?
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Recovered(_) => Self::RECOVERED,
            Self::Gap(_) => Self::GAP,
            Self::PrunedThrough(_) => Self::PRUNED_THROUGH,
            Self::ClockStepped(_) => Self::CLOCK_STEPPED,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Recovered(recovered) => {
                let mut flags = 0;
                flags |= if recovered.proof_missing { FLAG_PROOF_MISSING } else { 0 };
                flags |= if recovered.damaged { FLAG_DAMAGED } else { 0 };
                let mut payload = vec![0; 32];
                Put::new(&mut payload)
                    .u64(recovered.kept_to.0)
                    .u64(recovered.bytes)
                    .u64(recovered.records_salvaged)
                    .u32(flags);
                payload
            }
            Self::Gap(gap) => {
                let mut payload = vec![0; 40];
                Put::new(&mut payload)
                    .u64(gap.range.from.0)
                    .u64(gap.range.to.0)
                    .u64(gap.segment.0.0)
                    .u64(gap.offset)
                    .i32(gap.segment.1.0)
                    .u32(if gap.upper_bound_unknown { FLAG_UPPER_BOUND_UNKNOWN } else { 0 });
                payload
            }
            Self::PrunedThrough(pruned) => {
                let wrong_bytes = if pruned.wrong_from.is_some() { WRONG_FROM_BYTES } else { 0 };
                let segments_bytes = pruned.segments.len() * PRUNED_SEGMENT_BYTES;
                let mut payload = vec![0; 8 + segments_bytes + wrong_bytes];
                let mut put = Put::new(&mut payload);
                put.i32(pruned.day.0).u32(pruned.segments.len() as u32);
                for segment in &pruned.segments {
                    put.u64(segment.range.from.0)
                        .u64(segment.range.to.0)
                        .u64(segment.base.0)
                        .u64(segment.salt)
                        .i32(segment.day.0)
                        .skip(4);
                }
                if let Some(from) = pruned.wrong_from {
                    put.i32(from.0);
                }
                payload
            }
            Self::ClockStepped(stepped) => {
                let mut payload = vec![0; 24];
                Put::new(&mut payload)
                    .i64(stepped.expected.utc_micros)
                    .i64(stepped.found.utc_micros)
                    .i16(stepped.expected.offset_minutes)
                    .i16(stepped.found.offset_minutes);
                payload
            }
        }
    }

    /// The segments that a tombstone names; none for any other record.
    pub(crate) fn pruned_segments(&self) -> Vec<PrunedSegment> {
        match self {
            Self::PrunedThrough(pruned) => pruned.segments.clone(),
            _ => Vec::new(),
        }
    }

    /// Decodes a record of a reserved kind; `None` for a newer version or invalid bytes.
    #[must_use]
    pub fn decode(kind: Kind, version: u16, payload: &[u8]) -> Option<Self> {
        if version != VERSION {
            return None;
        }
        let mut take = Take::new(payload);
        let record = match kind {
            Self::RECOVERED => {
                let (kept_to, bytes, records_salvaged) = (Seq(take.u64()), take.u64(), take.u64());
                let flags = take.u32();
                Self::Recovered(Recovered {
                    kept_to,
                    bytes,
                    records_salvaged,
                    proof_missing: flags & FLAG_PROOF_MISSING != 0,
                    damaged: flags & FLAG_DAMAGED != 0,
                })
            }
            Self::GAP => {
                let range = SeqRange::new(Seq(take.u64()), Seq(take.u64()));
                let (base, offset, day) = (Seq(take.u64()), take.u64(), Day(take.i32()));
                let upper_bound_unknown = take.u32() & FLAG_UPPER_BOUND_UNKNOWN != 0;
                Self::Gap(Gap { range, segment: (base, day), offset, upper_bound_unknown })
            }
            Self::PRUNED_THROUGH => {
                let (day, count) = (Day(take.i32()), take.u32() as usize);
                if count > TOMBSTONE_SEGMENTS_MAX || !day.is_valid() {
                    return None;
                }
                let segments: Vec<_> = std::iter::repeat_with(|| {
                    let range = SeqRange::new(Seq(take.u64()), Seq(take.u64()));
                    let (base, salt, day) = (Seq(take.u64()), take.u64(), Day(take.i32()));
                    take.skip(4);
                    PrunedSegment { range, base, day, salt }
                })
                .take(count)
                .collect();
                let has_wrong =
                    payload.len() >= 8 + count * PRUNED_SEGMENT_BYTES + WRONG_FROM_BYTES;
                let wrong_from = has_wrong.then(|| Day(take.i32()));
                if wrong_from.is_some_and(|from| from <= day || !from.is_valid()) {
                    return None;
                }
                Self::PrunedThrough(PrunedThrough { day, wrong_from, segments })
            }
            Self::CLOCK_STEPPED => {
                let (expected, found) = (take.i64(), take.i64());
                let offsets = (take.i16(), take.i16());
                let at = |utc_micros, offset_minutes| Timestamp { utc_micros, offset_minutes };
                let (expected, found) = (at(expected, offsets.0), at(found, offsets.1));
                Self::ClockStepped(ClockStepped { expected, found })
            }
            _ => return None,
        };
        (!take.is_short()).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_round_trips_and_no_prefix_of_its_bytes_does() {
        let time = Timestamp { utc_micros: 1, offset_minutes: 60 };
        let range = SeqRange::new(Seq(3), Seq(9));
        let day = Day(20_000);
        for record in [
            ControlRecord::Recovered(Recovered {
                kept_to: Seq(9),
                bytes: 77,
                records_salvaged: 2,
                proof_missing: true,
                damaged: false,
            }),
            ControlRecord::Gap(Gap {
                range,
                segment: (Seq(1), day),
                offset: 8192,
                upper_bound_unknown: true,
            }),
            ControlRecord::PrunedThrough(PrunedThrough {
                day,
                wrong_from: None,
                segments: vec![PrunedSegment { range, base: Seq(4), day, salt: 5 }; 3],
            }),
            ControlRecord::PrunedThrough(PrunedThrough {
                day,
                wrong_from: Some(Day(day.0 + 1)),
                segments: vec![PrunedSegment { range, base: Seq(4), day, salt: 5 }],
            }),
            ControlRecord::ClockStepped(ClockStepped {
                expected: time,
                found: time.plus_micros(5_000_000),
            }),
        ] {
            let payload = record.encode();
            let decode = |bytes: &[u8]| ControlRecord::decode(record.kind(), VERSION, bytes);
            assert_eq!(decode(&payload), Some(record.clone()));
            assert_eq!(decode(&payload[..payload.len() / 2]), None);
            assert_eq!(ControlRecord::decode(record.kind(), VERSION + 1, &payload), None);
        }
    }
}
