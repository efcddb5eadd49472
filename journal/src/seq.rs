//! [`Seq`], the position of a record in the journal, [`SeqRange`], a half-open run of them, and `RangeSet`.

use std::fmt;

/// The sequence number of a record: the only order there is.
///
/// Seqs rise by one from record to record, except where a reserved record (`Recovered`, `Gap`) says that a
/// range was skipped. None is ever used twice, not even for a record that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The seq of the first record of every journal.
    pub const FIRST: Self = Self(1);

    /// The seq that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// This seq advanced by `count`, saturating at the end of the number space.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A half-open range of seqs: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqRange {
    /// First seq of the range.
    pub from: Seq,
    /// First seq after the range.
    pub to: Seq,
}

impl SeqRange {
    /// The range `from..to`; empty unless `to` is after `from`.
    #[must_use]
    pub const fn new(from: Seq, to: Seq) -> Self {
        Self { from, to }
    }

    /// Whether the range contains no seq.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.to.0 <= self.from.0
    }

    /// Number of seqs in the range.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// Whether the range contains `seq`.
    #[must_use]
    pub const fn contains(self, seq: Seq) -> bool {
        self.from.0 <= seq.0 && seq.0 < self.to.0
    }

    /// Whether this range contains every seq of `other`.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.from.0 <= other.from.0 && other.to.0 <= self.to.0)
    }
}

impl fmt::Display for SeqRange {
    /// `7` for a single seq, `7-9` for more: both ends inclusive, as an operator counts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            0 => write!(formatter, "none"),
            1 => write!(formatter, "{}", self.from),
            _ => write!(formatter, "{}-{}", self.from, self.to.0 - 1),
        }
    }
}

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

    /// Removes every range that `others` covers.
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

    /// First seq after the range that begins with the first seq of all: everything before was pruned.
    pub(crate) fn floor(&self) -> Seq {
        self.0.first().filter(|first| first.from <= Seq::FIRST).map_or(Seq::FIRST, |first| first.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_print_inclusive_ends() {
        assert_eq!(SeqRange::new(Seq(7), Seq(8)).to_string(), "7");
        assert_eq!(SeqRange::new(Seq(7), Seq(10)).to_string(), "7-9");
        assert_eq!(SeqRange::new(Seq(7), Seq(7)).to_string(), "none");
    }

    #[test]
    fn a_range_covers_what_lies_inside_it() {
        let range = SeqRange::new(Seq(5), Seq(9));
        assert!(range.covers(SeqRange::new(Seq(5), Seq(9))));
        assert!(!range.covers(SeqRange::new(Seq(4), Seq(6))));
        assert!(range.contains(Seq(8)) && !range.contains(Seq(9)));
    }

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
    fn the_floor_is_the_end_of_a_range_from_the_first_seq() {
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
