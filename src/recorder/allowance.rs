//! [`Allowance`], how often something that may come thousands of times a second is logged.

use std::time::{Duration, Instant};

/// Lines that are logged in a minute; the others are counted.
const LINES_A_MINUTE_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Lets so many lines a minute pass.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    since: Option<Instant>,
    passed: u32,
    left_out: u64,
}

impl Allowance {
    /// Whether a line is logged now, and how many were left out before it.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= MINUTE) {
            (self.since, self.passed) = (Some(now), 0);
        }
        if self.passed >= LINES_A_MINUTE_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_some_lines_a_minute_and_the_count_of_the_others() {
        let start = Instant::now();
        let mut allowance = Allowance::default();
        let passed = (0..1000).filter(|_| allowance.take(start).is_some()).count();
        assert_eq!(passed, LINES_A_MINUTE_MAX as usize);
        assert_eq!(allowance.take(start + MINUTE), Some(980));
        assert_eq!(allowance.take(start + MINUTE), Some(0));
    }
}
