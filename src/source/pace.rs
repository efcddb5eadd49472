//! [`FrameRate`], how many frames a second, exact in microseconds, and the pacer that delivers frames in real
//! time. Reads the monotonic clock only, never the time of day.

use std::fmt;
use std::time::{Duration, Instant};

use crate::util::CancellationToken;

/// How late a paced source may run before it stops catching up and goes on from now: after a suspended laptop
/// wakes, minutes of frames must not arrive in one burst.
pub(crate) const LATENESS_MAX: Duration = Duration::from_secs(1);

/// Frames a second, in thousandths: 29.97 is exact, and so is the time of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameRate {
    per_1000_seconds: u32,
}

impl FrameRate {
    /// The slowest rate, a frame in 1,000 seconds.
    pub const MIN: Self = Self { per_1000_seconds: 1 };
    /// The fastest rate, 1,000 frames a second.
    pub const MAX: Self = Self { per_1000_seconds: 1_000_000 };

    /// The rate of `fps` frames a second, rounded to thousandths; `None` unless it lies between
    /// [`FrameRate::MIN`] and [`FrameRate::MAX`].
    #[must_use]
    pub fn from_fps(fps: f64) -> Option<Self> {
        let thousandths = (fps * 1000.0).round();
        let range = f64::from(Self::MIN.per_1000_seconds)..=f64::from(Self::MAX.per_1000_seconds);
        range.contains(&thousandths).then_some(Self { per_1000_seconds: thousandths as u32 })
    }

    /// Frames a second.
    #[must_use]
    pub fn fps(self) -> f64 {
        f64::from(self.per_1000_seconds) / 1000.0
    }

    /// When frame `number` is due, in microseconds after frame 0, rounded down. Not a sum of rounded steps,
    /// so it never drifts; saturates after 292,000 years.
    #[must_use]
    pub fn micros_at(self, number: u64) -> i64 {
        let micros = u128::from(number) * 1_000_000_000 / u128::from(self.per_1000_seconds);
        i64::try_from(micros).unwrap_or(i64::MAX)
    }
}

impl Default for FrameRate {
    /// 5 frames a second.
    fn default() -> Self {
        Self { per_1000_seconds: 5000 }
    }
}

impl fmt::Display for FrameRate {
    /// `5`, `29.97`: the number alone.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fps().fmt(formatter)
    }
}

/// Holds frames back until they are due.
#[derive(Debug)]
pub(crate) struct Pacer {
    rate: FrameRate,
    /// When frame 0 was due.
    origin: Option<Instant>,
}

impl Pacer {
    /// A pacer whose first frame is due at once.
    pub(crate) fn new(rate: FrameRate) -> Self {
        Self { rate, origin: None }
    }

    /// Waits until frame `number` is due; returns whether the wait was cancelled.
    pub(crate) fn wait(&mut self, number: u64, cancel: &CancellationToken) -> bool {
        let due = self.due(number, Instant::now());
        cancel.wait_until(Some(due))
    }

    /// When frame `number` is due. Where that lies [`LATENESS_MAX`] in the past, it is due now and the frames
    /// after it follow from there.
    fn due(&mut self, number: u64, now: Instant) -> Instant {
        let micros = u64::try_from(self.rate.micros_at(number)).unwrap_or_default();
        let after = Duration::from_micros(micros);
        let origin = self.origin.or_else(|| now.checked_sub(after)).unwrap_or(now);
        let due = origin.checked_add(after).unwrap_or(now);
        if now.saturating_duration_since(due) > LATENESS_MAX {
            self.origin = now.checked_sub(after);
            return now;
        }
        self.origin = Some(origin);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_times_are_exact_and_never_drift() {
        let five = FrameRate::default();
        assert_eq!(
            (0..4).map(|n| five.micros_at(n)).collect::<Vec<_>>(),
            [0, 200_000, 400_000, 600_000]
        );
        let ntsc = FrameRate::from_fps(29.97).unwrap();
        assert_eq!(ntsc.micros_at(2997), 100_000_000);
        assert_eq!(FrameRate::from_fps(3.0).unwrap().micros_at(1), 333_333);
        assert_eq!(FrameRate::from_fps(3.0).unwrap().micros_at(3_000_000), 1_000_000_000_000);
        assert_eq!(FrameRate::MIN.micros_at(u64::MAX), i64::MAX);
    }

    #[test]
    fn rates_that_no_camera_has_are_refused() {
        for fps in [0.0, -1.0, 0.0001, 1000.01, f64::NAN, f64::INFINITY] {
            assert_eq!(FrameRate::from_fps(fps), None, "{fps}");
        }
        assert_eq!(FrameRate::from_fps(0.001), Some(FrameRate::MIN));
        assert_eq!(FrameRate::from_fps(1000.0), Some(FrameRate::MAX));
        assert_eq!(FrameRate::from_fps(29.97).unwrap().to_string(), "29.97");
        assert_eq!(FrameRate::default().to_string(), "5");
    }

    #[test]
    fn a_paced_frame_is_due_at_its_place_from_the_first() {
        let mut pacer = Pacer::new(FrameRate::default());
        let start = Instant::now();
        assert_eq!(pacer.due(0, start), start);
        assert_eq!(pacer.due(5, start), start + Duration::from_secs(1));
        assert_eq!(
            pacer.due(10, start),
            start + Duration::from_secs(2),
            "no drift by asking again"
        );
    }

    #[test]
    fn a_little_lateness_is_caught_up_and_a_long_pause_is_not() {
        let mut pacer = Pacer::new(FrameRate::default());
        let start = Instant::now();
        pacer.due(0, start);
        let late = start + Duration::from_millis(900);
        assert_eq!(pacer.due(1, late), start + Duration::from_millis(200));
        let woken = start + Duration::from_secs(3600);
        assert_eq!(pacer.due(2, woken), woken);
        assert_eq!(pacer.due(3, woken), woken + Duration::from_millis(200));
    }

    #[test]
    fn waiting_for_a_frame_ends_when_cancelled() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let mut pacer = Pacer::new(FrameRate::MIN);
        pacer.wait(0, &cancel);
        assert!(pacer.wait(1, &cancel), "the frame would be due in 1,000 seconds");
    }
}
