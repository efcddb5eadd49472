//! [`FrameSampler`], which frames of a camera that is faster than needed are looked at.

use std::time::{Duration, Instant};

use super::FrameRate;

/// Frames come a little early or late; one that is early by no more than this part of the interval is on time.
const EARLY_PART: u32 = 4;

/// Lets so many frames a second pass, evenly, whatever the camera's own rate.
#[derive(Debug)]
pub(super) struct FrameSampler {
    interval: Duration,
    /// When the next frame is due; `None` before the first.
    due: Option<Instant>,
}

impl FrameSampler {
    /// Lets `fps` frames a second pass.
    pub(super) fn new(fps: FrameRate) -> Self {
        Self { interval: Duration::from_secs_f64(1.0 / fps.fps()), due: None }
    }

    /// Whether a frame that was taken at `taken` is looked at.
    pub(super) fn is_due(&mut self, taken: Option<Instant>) -> bool {
        let Some(taken) = taken else { return true };
        let Some(due) = self.due else {
            self.due = taken.checked_add(self.interval);
            return true;
        };
        if taken + self.interval / EARLY_PART < due {
            return false;
        }
        // From where it was due, so that the rate is kept; from now where the camera was away.
        let next = if taken.saturating_duration_since(due) > self.interval { taken } else { due };
        self.due = next.checked_add(self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that pass of a camera with `camera` frames a second over 10 s.
    fn passed(camera: f64, fps: f64) -> usize {
        let mut frame_sampler = FrameSampler::new(FrameRate::from_fps(fps).unwrap());
        let start = Instant::now();
        let frames = (0..(camera * 10.0) as u32)
            .map(|n| start + Duration::from_secs_f64(f64::from(n) / camera));
        frames.filter(|taken| frame_sampler.is_due(Some(*taken))).count()
    }

    #[test]
    fn a_faster_camera_is_looked_at_as_often_as_asked() {
        for (camera, fps, expected) in [
            (30.0, 5.0, 50),
            (30.0, 30.0, 300),
            (29.97, 30.0, 299),
            (25.0, 10.0, 100),
            (5.0, 30.0, 50),
        ] {
            let found = passed(camera, fps);
            assert!(found.abs_diff(expected) <= 2, "{camera} at {fps}: {found}");
        }
    }

    #[test]
    fn a_pause_is_not_caught_up() {
        let mut frame_sampler = FrameSampler::new(FrameRate::from_fps(10.0).unwrap());
        let start = Instant::now();
        assert!(frame_sampler.is_due(Some(start)));
        let back = start + Duration::from_secs(60);
        assert!(frame_sampler.is_due(Some(back)));
        assert!(!frame_sampler.is_due(Some(back + Duration::from_millis(10))));
        assert!(frame_sampler.is_due(Some(back + Duration::from_millis(100))));
    }
}
