//! [`Link`]: when a camera that is lost is tried again.

use std::time::{Duration, Instant};

use super::allowance::Allowance;

/// The first pause before a lost camera is opened again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Whether a camera is there, and how long it is left alone before it is tried again.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) is_lost: bool,
    up_since: Option<Instant>,
    pause: Duration,
    /// How much is said about pictures that cannot be decoded.
    pub(super) skipped: Allowance,
}

impl Default for Link {
    fn default() -> Self {
        Self { is_lost: false, up_since: None, pause: PAUSE_MIN, skipped: Allowance::default() }
    }
}

impl Link {
    pub(super) const fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// It is there. Returns whether it was lost before.
    pub(super) fn established(&mut self, now: Instant) -> bool {
        self.up_since = Some(now);
        std::mem::take(&mut self.is_lost)
    }

    /// It is lost. Returns how long to wait. One that comes and goes is tried less and less often, so that it does
    /// not fill the journal.
    pub(super) fn broken(&mut self, now: Instant) -> Duration {
        let lasted = self.up_since.take().is_some_and(|since| now - since >= PAUSE_MAX);
        if lasted {
            self.pause = PAUSE_MIN;
        }
        self.is_lost = true;
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_comes_and_goes_is_tried_less_and_less_often() {
        let start = Instant::now();
        let mut link = Link::default();
        assert!(!link.established(start), "it was never lost");
        let pauses: Vec<u64> = (0..8)
            .map(|second| {
                let now = start + Duration::from_secs(second);
                let pause = link.broken(now).as_secs();
                assert!(link.established(now), "it was lost");
                pause
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let later = start + Duration::from_secs(7) + PAUSE_MAX;
        assert_eq!(link.broken(later), PAUSE_MIN, "it had been there for a while");
        assert!(!link.is_up());
    }
}
