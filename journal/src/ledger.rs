//! [`Ledger`]: which seqs are gone, on purpose or not, as the newest header and the records behind it say.

use crate::format::{SegmentHeader, SystemRecord};
use crate::limits::GAPS_MAX;
use crate::ranges::RangeSet;
use crate::{Day, SeqRange};

/// What was pruned and what was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ledger {
    pub(crate) pruned: RangeSet,
    pub(crate) gaps: RangeSet,
    pub(crate) last_pruned_day: Option<Day>,
}

impl Ledger {
    pub(crate) fn of_header(header: &SegmentHeader) -> Self {
        Self {
            pruned: RangeSet::from_ranges(header.pruned.iter().copied()),
            gaps: RangeSet::from_ranges(header.gaps.iter().copied()),
            last_pruned_day: header.last_pruned_day,
        }
    }

    /// Adds what a record says; most say nothing here.
    pub(crate) fn apply(&mut self, record: &SystemRecord) {
        match record {
            SystemRecord::PrunedThrough(pruned) => {
                for segment in &pruned.segments {
                    self.pruned.insert(segment.range);
                }
                self.last_pruned_day = self.last_pruned_day.max(Some(pruned.day));
                self.gaps.remove_covered_by(&self.pruned);
            }
            SystemRecord::Gap(gap) => self.add_gap(gap.range),
            SystemRecord::Recovered(_) | SystemRecord::ClockStepped(_) => {}
        }
    }

    pub(crate) fn add_gap(&mut self, range: SeqRange) {
        if !self.pruned.covers(range) {
            self.gaps.insert(range);
            self.gaps.limit_to(GAPS_MAX);
        }
    }
}
