//! [`Levels`]: which threshold is crossed, told once when it begins. Pure.

use lenslog_events::StorageLevel;

use super::stats::{StorageStats, WARNING_PERCENT};

/// Below this percentage all is well again; a little lower than where the warning begins, so that usage that
/// hovers around the threshold does not warn again and again.
const WELL_PERCENT: u64 = 78;

/// Remembers what was told.
#[derive(Debug, Default)]
pub struct Levels {
    told: u8,
}

impl Levels {
    /// The levels that begin with these figures, lowest first; [`StorageLevel::Normal`] where all is well again.
    pub fn crossed(&mut self, stats: &StorageStats) -> Vec<StorageLevel> {
        let now = rank_of(stats);
        if now < self.told {
            // From above a threshold to between two nothing is told; only well again is.
            let well = !stats.reaches(WELL_PERCENT);
            self.told = if well { 0 } else { now.max(1) };
            return if well { vec![StorageLevel::Normal] } else { Vec::new() };
        }
        let begun = LEVELS.iter().skip(usize::from(self.told)).take(usize::from(now - self.told));
        let begun = begun.copied().collect();
        self.told = now;
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

    fn check(percents: &[u64]) -> Vec<Vec<StorageLevel>> {
        let mut levels = Levels::default();
        percents.iter().map(|percent| levels.crossed(&StorageStats::new(*percent, 100))).collect()
    }

    #[test]
    fn each_level_is_told_when_it_begins_and_not_again() {
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
