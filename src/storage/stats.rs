//! [`StorageStats`]: how much is used of how much, and [`Thresholds`], which reports each crossed one once. Pure.

use std::fmt;

use lenslog_events::StorageLevel;

use super::units::Gigabytes;

/// From this percentage on there is a warning.
pub const WARNING_PERCENT: u64 = 80;
/// Above this percentage rotation begins.
pub const ROTATION_PERCENT: u64 = 90;
/// Below this percentage rotation ends.
pub const TARGET_PERCENT: u64 = 80;

/// Below this percentage all is well again; a little lower than where the warning begins, so that usage that
/// hovers around the threshold does not warn again and again.
const WELL_PERCENT: u64 = 78;

/// How much is used of how much.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StorageStats {
    /// Bytes that everything below the data and the log directory takes, free pages of the database not counted.
    pub total_bytes: u64,
    /// Bytes that it may take: the configured limit, or less where a file system runs full before it.
    pub limit_bytes: u64,
    /// The one in per cent of the other.
    pub percentage_used: f64,
    /// More is used than may be.
    pub is_over_limit: bool,
}

impl StorageStats {
    /// The figures that follow from these two.
    #[must_use]
    pub fn new(total_bytes: u64, limit_bytes: u64) -> Self {
        Self {
            total_bytes,
            limit_bytes,
            percentage_used: total_bytes as f64 * 100.0 / limit_bytes.max(1) as f64,
            is_over_limit: total_bytes > limit_bytes,
        }
    }

    /// The percentage as it is printed: begun per cents do not count.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let percent = u128::from(self.total_bytes) * 100 / u128::from(self.limit_bytes.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// Whether at least that many per cent are used.
    #[must_use]
    pub fn reaches(&self, percent: u64) -> bool {
        u128::from(self.total_bytes) * 100 >= u128::from(self.limit_bytes) * u128::from(percent)
    }

    /// Whether more than that many per cent are used.
    #[must_use]
    pub fn exceeds(&self, percent: u64) -> bool {
        u128::from(self.total_bytes) * 100 > u128::from(self.limit_bytes) * u128::from(percent)
    }

    /// Whether rotation has to begin.
    #[must_use]
    pub fn needs_rotation(&self) -> bool {
        self.exceeds(ROTATION_PERCENT)
    }

    /// Whether rotation may end.
    #[must_use]
    pub fn is_below_target(&self) -> bool {
        !self.reaches(TARGET_PERCENT)
    }
}

/// `1.2GB / 4GB (30%)`.
impl fmt::Display for StorageStats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, limit) = (Gigabytes(self.total_bytes), Gigabytes(self.limit_bytes));
        match self.limit_bytes {
            0 => write!(formatter, "{total} / {limit} (the file system is full)"),
            _ => write!(formatter, "{total} / {limit} ({}%)", self.percent()),
        }
    }
}

/// Remembers the reported level.
#[derive(Debug, Default)]
pub struct Thresholds {
    reported: u8,
}

impl Thresholds {
    /// The levels that begin with these figures, lowest first; [`StorageLevel::Normal`] where all is well again.
    pub fn crossed(&mut self, stats: &StorageStats) -> Vec<StorageLevel> {
        let now = rank_of(stats);
        if now < self.reported {
            // From above a threshold to between two nothing is reported, only the return to normal.
            let well = !stats.reaches(WELL_PERCENT);
            self.reported = if well { 0 } else { now.max(1) };
            return if well { vec![StorageLevel::Normal] } else { Vec::new() };
        }
        let begun =
            LEVELS.iter().skip(usize::from(self.reported)).take(usize::from(now - self.reported));
        let begun = begun.copied().collect();
        self.reported = now;
        begun
    }
}

const LEVELS: [StorageLevel; 3] =
    [StorageLevel::Approaching, StorageLevel::Rotating, StorageLevel::Exceeded];

fn rank_of(stats: &StorageStats) -> u8 {
    if stats.is_over_limit {
        3
    } else if stats.needs_rotation() {
        2
    } else {
        u8::from(stats.reaches(WARNING_PERCENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_stories() {
        let of = |total: f64| StorageStats::new((total * 1e9) as u64, 4_000_000_000);
        assert_eq!(of(1.2).to_string(), "1.2GB / 4GB (30%)");
        let full = StorageStats::new(1_100_000, 0).to_string();
        assert_eq!(full, "0.0011GB / 0GB (the file system is full)");
        assert_eq!(of(3.2).to_string(), "3.2GB / 4GB (80%)");
        assert_eq!(of(4.1).to_string(), "4.1GB / 4GB (102%)");
        assert!(of(4.1).is_over_limit && !of(4.0).is_over_limit);
        assert!(of(3.2).reaches(WARNING_PERCENT) && !of(3.2).is_below_target());
        assert!(!of(3.6).needs_rotation() && of(3.600_001).needs_rotation());
    }

    #[test]
    fn a_limit_of_nothing_is_exceeded_by_anything() {
        assert!(StorageStats::new(1, 0).is_over_limit);
        assert!(StorageStats::new(u64::MAX, 1).needs_rotation());
        assert!(!StorageStats::new(0, 0).is_over_limit);
    }

    fn check(percents: &[u64]) -> Vec<Vec<StorageLevel>> {
        let mut levels = Thresholds::default();
        percents.iter().map(|percent| levels.crossed(&StorageStats::new(*percent, 100))).collect()
    }

    #[test]
    fn each_level_is_reported_once_when_it_begins() {
        use StorageLevel::{Approaching, Exceeded, Normal, Rotating};
        let none = Vec::new;
        assert_eq!(
            check(&[79, 80, 85, 79, 81, 91, 95, 79, 92, 77, 80]),
            [
                none(),
                vec![Approaching],
                none(),
                none(),
                none(),
                vec![Rotating],
                none(),
                none(),
                vec![Rotating],
                vec![Normal],
                vec![Approaching]
            ]
        );
        assert_eq!(
            check(&[101, 102, 99, 101, 10]),
            [vec![Approaching, Rotating, Exceeded], none(), none(), vec![Exceeded], vec![Normal]]
        );
    }
}
