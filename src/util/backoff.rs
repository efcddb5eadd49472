//! [`ReconnectBackoff`]: when a lost camera is opened again. [`LogRateLimiter`]: how often a log line may come.

use std::time::{Duration, Instant};

/// The first pause before a lost camera is opened again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Whether a camera is connected, and how long to wait before the next attempt.
#[derive(Debug)]
pub(crate) struct ReconnectBackoff {
    pub(crate) is_lost: bool,
    connected_since: Option<Instant>,
    pause: Duration,
    /// Limits the log lines about pictures that cannot be decoded.
    pub(crate) skipped: LogRateLimiter,
}

impl Default for ReconnectBackoff {
    fn default() -> Self {
        let skipped = LogRateLimiter::default();
        Self { is_lost: false, connected_since: None, pause: PAUSE_MIN, skipped }
    }
}

impl ReconnectBackoff {
    pub(crate) const fn is_connected(&self) -> bool {
        self.connected_since.is_some()
    }

    /// Notes a connection; returns whether the camera was lost before.
    pub(crate) fn connected(&mut self, now: Instant) -> bool {
        self.connected_since = Some(now);
        std::mem::take(&mut self.is_lost)
    }

    /// Notes a loss; returns the pause before the next attempt.
    ///
    /// The pause of a flapping camera grows, so that it does not fill the journal.
    pub(crate) fn disconnected(&mut self, now: Instant) -> Duration {
        let lasted = self.connected_since.take().is_some_and(|since| now - since >= PAUSE_MAX);
        if lasted {
            self.pause = PAUSE_MIN;
        }
        self.is_lost = true;
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

/// Lines that pass in a minute; the others are counted.
const LINES_PER_MINUTE_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Lets 20 lines a minute pass and counts the rest.
#[derive(Debug, Default)]
pub struct LogRateLimiter {
    since: Option<Instant>,
    passed: u32,
    suppressed: u64,
}

impl LogRateLimiter {
    /// Returns how many lines were suppressed before this one; `None`: suppress this one too.
    pub fn allow(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= MINUTE) {
            (self.since, self.passed) = (Some(now), 0);
        }
        if self.passed >= LINES_PER_MINUTE_MAX {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flapping_camera_is_opened_less_and_less_often() {
        let start = Instant::now();
        let mut backoff = ReconnectBackoff::default();
        assert!(!backoff.connected(start), "it was never lost");
        let pauses: Vec<u64> = (0..8)
            .map(|second| {
                let now = start + Duration::from_secs(second);
                let pause = backoff.disconnected(now).as_secs();
                assert!(backoff.connected(now), "it was lost");
                pause
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let later = start + Duration::from_secs(7) + PAUSE_MAX;
        assert_eq!(backoff.disconnected(later), PAUSE_MIN, "it was connected for a while");
        assert!(!backoff.is_connected());
    }

    #[test]
    fn a_flood_passes_twenty_lines_a_minute_and_counts_the_rest() {
        let start = Instant::now();
        let mut limiter = LogRateLimiter::default();
        let passed = (0..1000).filter(|_| limiter.allow(start).is_some()).count();
        assert_eq!(passed, LINES_PER_MINUTE_MAX as usize);
        assert_eq!(limiter.allow(start + MINUTE), Some(980));
        assert_eq!(limiter.allow(start + MINUTE), Some(0));
    }
}
