//! [`RangeSet`]: a bounded set of seqs, kept as sorted, disjoint, non-adjacent ranges.

use crate::{Seq, SeqRange};

/// Which seqs were pruned, or lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RangeSet(Vec<SeqRange>);

impl RangeSet {
    pub(crate) fn from_ranges(ranges: impl IntoIterator<Item = SeqRange>) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }

    pub(crate) fn ranges(&self) -> &[SeqRange] {
        &self.0
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a range, joining those it touches.
    pub(crate) fn insert(&mut self, range: SeqRange) {
        if range.is_empty() {
            return;
        }
        let start = self.0.partition_point(|known| known.to < range.from);
        let end = self.0.partition_point(|known| known.from <= range.to);
        let touched = self.0.get(start..end).unwrap_or_default();
        let from = touched.first().map_or(range.from, |first| first.from.min(range.from));
        let to = touched.last().map_or(range.to, |last| last.to.max(range.to));
        self.0.splice(start..end, [SeqRange::new(from, to)]);
    }

    /// Whether every seq of `range` is in the set.
    pub(crate) fn covers(&self, range: SeqRange) -> bool {
        range.is_empty() || self.0.iter().any(|known| known.covers(range))
    }

    /// Takes out every range that lies wholly in `others`.
    pub(crate) fn remove_covered_by(&mut self, others: &Self) {
        self.0.retain(|range| !others.covers(*range));
    }

    /// Joins the newest ranges until there are no more than `count`.
    pub(crate) fn limit_to(&mut self, count: usize) {
        while self.0.len() > count.max(1) {
            if let (Some(last), Some(before)) = (self.0.pop(), self.0.last_mut()) {
                before.to = last.to;
            }
        }
    }

    /// First seq behind the range that begins with the first seq of all: what comes before was pruned.
    pub(crate) fn floor(&self) -> Seq {
        self.0.first().filter(|first| first.from <= Seq::FIRST).map_or(Seq::FIRST, |first| first.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u64, u64)]) -> RangeSet {
        RangeSet::from_ranges(ranges.iter().map(|(from, to)| SeqRange::new(Seq(*from), Seq(*to))))
    }

    #[test]
    fn ranges_that_touch_are_joined_in_any_order() {
        let joined = set(&[(1, 9)]);
        for ranges in [[(1, 3), (3, 7), (7, 9)], [(7, 9), (1, 3), (2, 8)], [(5, 9), (1, 5), (4, 5)]]
        {
            assert_eq!(set(&ranges), joined);
        }
        assert_eq!(set(&[(5, 6), (1, 2), (3, 4)]).len(), 3);
    }

    #[test]
    fn coverage_needs_one_range_around_the_whole() {
        let known = set(&[(1, 5), (8, 12)]);
        let range = |from, to| SeqRange::new(Seq(from), Seq(to));
        assert!(
            known.covers(range(8, 12)) && known.covers(range(2, 3)) && known.covers(range(6, 6))
        );
        assert!(!known.covers(range(4, 9)) && !known.covers(range(5, 6)));
    }

    #[test]
    fn the_floor_lies_behind_a_range_from_the_very_beginning_only() {
        assert_eq!(set(&[(1, 5), (8, 12)]).floor(), Seq(5));
        assert_eq!(set(&[(2, 5)]).floor(), Seq(1));
        assert_eq!(set(&[]).floor(), Seq(1));
    }

    #[test]
    fn too_many_ranges_are_joined_at_the_newest_end() {
        let mut known = set(&[(1, 2), (4, 5), (7, 8)]);
        known.limit_to(2);
        assert_eq!(known, set(&[(1, 2), (4, 8)]));
        known.remove_covered_by(&set(&[(1, 3)]));
        assert_eq!(known, set(&[(4, 8)]));
    }
}
