//! [`Seq`], the position of a record in the journal, and [`SeqRange`], a half-open run of them.

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
    /// First seq behind the range.
    pub to: Seq,
}

impl SeqRange {
    /// The range `from..to`; empty where `to` does not lie behind `from`.
    #[must_use]
    pub const fn new(from: Seq, to: Seq) -> Self {
        Self { from, to }
    }

    /// Whether no seq lies in the range.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.to.0 <= self.from.0
    }

    /// Number of seqs in the range.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// Whether `seq` lies in the range.
    #[must_use]
    pub const fn contains(self, seq: Seq) -> bool {
        self.from.0 <= seq.0 && seq.0 < self.to.0
    }

    /// Whether every seq of `other` lies in this range.
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
}
