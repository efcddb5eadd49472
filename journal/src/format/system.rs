//! The journal's own records: what an opening recovered, what the medium lost, what was pruned, how the clock
//! moved. Their payloads are fixed little-endian structures.

use super::{Kind, Put, Take};
use crate::limits::TOMBSTONE_SEGMENTS_MAX;
use crate::{Day, Seq, SeqRange, Timestamp};

const RECOVERED: Kind = Kind(0xFF00);
const GAP: Kind = Kind(0xFF01);
const PRUNED_THROUGH: Kind = Kind(0xFF02);
const CLOCK_STEPPED: Kind = Kind(0xFF03);
const VERSION: u16 = 1;

const PRUNED_SEGMENT_BYTES: usize = 40;
const FLAG_PROOF_MISSING: u32 = 1;
const FLAG_DAMAGED: u32 = 2;
const FLAG_UPPER_BOUND_UNKNOWN: u32 = 1;

/// The journal was opened after an abnormal end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The seq behind the last record that was kept.
    pub kept_to: Seq,
    /// Bytes behind the last valid frame that were written but never acknowledged.
    pub bytes: u64,
    /// Records behind the last proven sync that were found whole and kept.
    pub records_carried: u64,
    /// No marker vouched for what was acknowledged.
    pub proof_missing: bool,
    /// Acknowledged records were lost: `Gap` records say which.
    pub damaged: bool,
}

/// Acknowledged records were lost by the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The seqs that are gone.
    pub range: SeqRange,
    /// First seq and day of the segment that held them.
    pub segment: (Seq, Day),
    /// Where in it the damage begins.
    pub offset: u64,
    /// How many were lost is not known: `range` ends where numbering goes on.
    pub upper_bound_unknown: bool,
}

/// Days up to `day` were pruned. Prunes exactly what stands before it in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedThrough {
    /// The newest day pruned.
    pub day: Day,
    /// The segments that go, oldest first.
    pub segments: Vec<PrunedSegment>,
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

/// Wall-clock time was set: it moved otherwise than time since boot did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStepped {
    /// What the clock would have shown.
    pub expected: Timestamp,
    /// What it shows.
    pub found: Timestamp,
}

/// Any record the journal appends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemRecord {
    /// The journal was opened after an abnormal end.
    Recovered(Recovered),
    /// Acknowledged records were lost by the medium.
    Gap(Gap),
    /// Days were pruned.
    PrunedThrough(PrunedThrough),
    /// Wall-clock time was set.
    ClockStepped(ClockStepped),
}

impl SystemRecord {
    /// Version of the payload's form, of every kind.
    pub(crate) const VERSION: u16 = VERSION;

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Recovered(_) => RECOVERED,
            Self::Gap(_) => GAP,
            Self::PrunedThrough(_) => PRUNED_THROUGH,
            Self::ClockStepped(_) => CLOCK_STEPPED,
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
                    .u64(recovered.records_carried)
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
                let mut payload = vec![0; 8 + pruned.segments.len() * PRUNED_SEGMENT_BYTES];
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

    /// Reads a record of a reserved kind; `None` for one a newer version wrote and for bytes that make no sense.
    #[must_use]
    pub fn decode(kind: Kind, version: u16, payload: &[u8]) -> Option<Self> {
        if version != VERSION {
            return None;
        }
        let mut take = Take::new(payload);
        let record = match kind {
            RECOVERED => {
                let (kept_to, bytes, records_carried) = (Seq(take.u64()), take.u64(), take.u64());
                let flags = take.u32();
                Self::Recovered(Recovered {
                    kept_to,
                    bytes,
                    records_carried,
                    proof_missing: flags & FLAG_PROOF_MISSING != 0,
                    damaged: flags & FLAG_DAMAGED != 0,
                })
            }
            GAP => {
                let range = SeqRange::new(Seq(take.u64()), Seq(take.u64()));
                let (base, offset, day) = (Seq(take.u64()), take.u64(), Day(take.i32()));
                let upper_bound_unknown = take.u32() & FLAG_UPPER_BOUND_UNKNOWN != 0;
                Self::Gap(Gap { range, segment: (base, day), offset, upper_bound_unknown })
            }
            PRUNED_THROUGH => {
                let (day, count) = (Day(take.i32()), take.u32() as usize);
                if count > TOMBSTONE_SEGMENTS_MAX || !day.is_valid() {
                    return None;
                }
                let segments = std::iter::repeat_with(|| {
                    let range = SeqRange::new(Seq(take.u64()), Seq(take.u64()));
                    let (base, salt, day) = (Seq(take.u64()), take.u64(), Day(take.i32()));
                    take.skip(4);
                    PrunedSegment { range, base, day, salt }
                })
                .take(count)
                .collect();
                Self::PrunedThrough(PrunedThrough { day, segments })
            }
            CLOCK_STEPPED => {
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
            SystemRecord::Recovered(Recovered {
                kept_to: Seq(9),
                bytes: 77,
                records_carried: 2,
                proof_missing: true,
                damaged: false,
            }),
            SystemRecord::Gap(Gap {
                range,
                segment: (Seq(1), day),
                offset: 8192,
                upper_bound_unknown: true,
            }),
            SystemRecord::PrunedThrough(PrunedThrough {
                day,
                segments: vec![PrunedSegment { range, base: Seq(4), day, salt: 5 }; 3],
            }),
            SystemRecord::ClockStepped(ClockStepped {
                expected: time,
                found: time.plus_micros(5_000_000),
            }),
        ] {
            let payload = record.encode();
            let decode = |bytes: &[u8]| SystemRecord::decode(record.kind(), VERSION, bytes);
            assert_eq!(decode(&payload), Some(record.clone()));
            assert_eq!(decode(&payload[..payload.len() / 2]), None);
            assert_eq!(SystemRecord::decode(record.kind(), VERSION + 1, &payload), None);
        }
    }
}
