//! [`PrunedAndGaps`] and the control records from which it is computed.

use crate::directory::OpenSegment;
use crate::format::{ControlRecord, SegmentHeader};
use crate::limits::GAPS_MAX;
use crate::seq::RangeSet;
use crate::walk::for_each_record;
use crate::{Day, Error, Seq, SeqRange};

/// Which seqs were pruned and which were lost, as the newest header and later records say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PrunedAndGaps {
    pub(crate) pruned: RangeSet,
    pub(crate) gaps: RangeSet,
    pub(crate) last_pruned_day: Option<Day>,
}

impl PrunedAndGaps {
    pub(crate) fn of_header(header: &SegmentHeader) -> Self {
        Self {
            pruned: RangeSet::from_ranges(header.pruned.iter().copied()),
            gaps: RangeSet::from_ranges(header.gaps.iter().copied()),
            last_pruned_day: header.last_pruned_day,
        }
    }

    /// Applies a control record; only tombstones and gaps change anything.
    pub(crate) fn apply(&mut self, record: &ControlRecord) {
        match record {
            ControlRecord::PrunedThrough(pruned) => {
                for segment in &pruned.segments {
                    self.pruned.insert(segment.range);
                }
                self.last_pruned_day = self.last_pruned_day.max(Some(pruned.day));
                self.gaps.remove_covered_by(&self.pruned);
            }
            ControlRecord::Gap(gap) => self.add_gap(gap.range),
            ControlRecord::Recovered(_) | ControlRecord::ClockStepped(_) => {}
        }
    }

    pub(crate) fn add_gap(&mut self, range: SeqRange) {
        if !self.pruned.covers(range) {
            self.gaps.insert(range);
            self.gaps.limit_to(GAPS_MAX);
        }
    }
}

/// Reads the control records before `limit` (an offset) and `end` (a seq), oldest first.
pub(crate) fn control_records(
    segment: &OpenSegment,
    limit: u64,
    end: Seq,
) -> Result<Vec<(Seq, ControlRecord)>, Error> {
    let mut records = Vec::new();
    for_each_record(segment, limit, |record| {
        if record.seq < end {
            records.extend(ControlRecord::of(record).map(|control| (record.seq, control)));
        }
    })?;
    Ok(records)
}
