//! [`Minute`], what a camera did since the minute began.

use lenslog_events::{CameraMinute, DetectedObject, Suppressed};
use lenslog_journal::Timestamp;

use super::{BACKWARD_MAX, MOTION_LABEL, Observation, Suppression};
use crate::detection::OBJECTS_MAX;
use crate::motion::MotionOutcome;

const MINUTE_MICROS: i64 = 60_000_000;

/// The counters of one minute of UTC.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Minute {
    start: Timestamp,
    frames: u64,
    dropped: u64,
    max_motion: f64,
    best: Option<(String, f64)>,
    suppressed: [u64; Suppression::ALL.len()],
}

impl Minute {
    /// The minute that `time` belongs to, with nothing in it.
    pub(super) fn of(time: Timestamp) -> Self {
        // Down to the minute without leaving the numbers there are.
        let into = time.utc_micros.rem_euclid(MINUTE_MICROS);
        let utc_micros = time.utc_micros.checked_sub(into).unwrap_or(i64::MIN);
        Self {
            start: Timestamp { utc_micros, ..time },
            frames: 0,
            dropped: 0,
            max_motion: 0.0,
            best: None,
            suppressed: [0; Suppression::ALL.len()],
        }
    }

    /// Whether a frame of that time is counted here: one of this minute, or one of a little before, which comes
    /// of a clock that was set back a little.
    pub(super) fn includes(&self, time: Timestamp) -> bool {
        let backward = i64::try_from(BACKWARD_MAX.as_micros()).unwrap_or(i64::MAX);
        let since = time.utc_micros.saturating_sub(self.start.utc_micros);
        (-backward..MINUTE_MICROS).contains(&since)
    }

    /// Counts a frame, and why it made no event.
    pub(super) fn add(&mut self, observation: &Observation<'_>, reason: Option<Suppression>) {
        self.frames = self.frames.saturating_add(1);
        self.dropped = self.dropped.saturating_add(observation.dropped_before);
        match observation.motion {
            Some(MotionOutcome::Motion(motion)) => {
                self.add_motion(motion.changed_percent);
                if observation.objects.is_none() {
                    self.add_object(MOTION_LABEL, motion.confidence);
                }
            }
            Some(MotionOutcome::Quiet { changed_percent, .. }) => self.add_motion(*changed_percent),
            Some(
                MotionOutcome::Learning { .. }
                | MotionOutcome::LightChanged { .. }
                | MotionOutcome::Blind,
            )
            | None => {}
        }
        let objects = observation.objects.unwrap_or_default();
        for DetectedObject { label, confidence, .. } in objects.iter().take(OBJECTS_MAX) {
            self.add_object(label, *confidence);
        }
        if let Some(reason) = reason
            && let Some(count) = self.suppressed.get_mut(reason as usize)
        {
            *count = count.saturating_add(1);
        }
    }

    fn add_motion(&mut self, changed_percent: f64) {
        // False for what is not a number.
        if changed_percent > self.max_motion {
            self.max_motion = changed_percent.min(100.0);
        }
    }

    fn add_object(&mut self, label: &str, confidence: f64) {
        let best = self.best.as_ref().map_or(0.0, |(_, confidence)| *confidence);
        if confidence > best {
            self.best = Some((label.into(), confidence.min(1.0)));
        }
    }

    /// The record of it.
    pub(super) fn finish(&self, camera_id: &str) -> CameraMinute {
        let (best_label, best_confidence) = self.best.clone().unzip();
        let counts = Suppression::ALL.into_iter().zip(self.suppressed);
        let suppressed = counts
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| Suppressed { reason: reason.name().into(), count })
            .collect();
        CameraMinute {
            camera_id: camera_id.into(),
            minute: self.start,
            frames: self.frames,
            dropped: self.dropped,
            max_motion: self.max_motion,
            best_label,
            best_confidence,
            suppressed,
        }
    }
}
