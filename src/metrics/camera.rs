//! [`CameraMetrics`]: what one camera delivered, and how much of the time it was there.

use std::collections::BTreeMap;
use std::time::Duration;

use lenslog_journal::{ClockReading, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

/// What one camera delivered. Recorded by its thread, read by any.
#[derive(Debug)]
pub struct CameraMetrics(Mutex<State>);

#[derive(Debug)]
struct State {
    counted: CameraCounts,
    last_frame: Option<Timestamp>,
    uptime: Uptime,
}

/// Sums of one camera since the recorder started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CameraCounts {
    pub(super) frames: u64,
    pub(super) frames_dropped: u64,
    pub(super) pictures_lost: u64,
    /// Frames in which motion was looked for.
    pub(super) looked_at: u64,
    pub(super) motion: u64,
    pub(super) suppressed: BTreeMap<&'static str, u64>,
}

impl CameraCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.frames_dropped += other.frames_dropped;
        self.pictures_lost += other.pictures_lost;
        self.looked_at += other.looked_at;
        self.motion += other.motion;
        for (reason, count) in &other.suppressed {
            *self.suppressed.entry(reason).or_default() += count;
        }
    }
}

/// How much of the time since it was configured a camera was up. Time is that since boot: no clock step changes it.
#[derive(Debug, Clone, Copy)]
struct Uptime {
    is_up: bool,
    /// The source ended by itself: nothing is expected of it any more, and no time counts.
    is_over: bool,
    since: Duration,
    up: Duration,
    down: Duration,
}

impl Uptime {
    fn settle(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.since);
        self.since = now;
        match (self.is_over, self.is_up) {
            (true, _) => {}
            (false, true) => self.up += passed,
            (false, false) => self.down += passed,
        }
    }

    fn share(mut self, now: Duration) -> Option<f64> {
        self.settle(now);
        let all = (self.up + self.down).as_secs_f64();
        (all > 0.0).then(|| self.up.as_secs_f64() / all)
    }
}

/// One camera's part of a [`MetricsSnapshot`](super::MetricsSnapshot).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraSnapshot {
    /// Its id.
    pub id: String,
    /// Whether it delivers.
    pub up: bool,
    /// Share of the time since it was configured in which it delivered, 0 to 1.
    pub availability: Option<f64>,
    /// Frames looked at.
    pub frames_processed: u64,
    /// Frames dropped because the pipeline was slower than the camera.
    pub frames_dropped: u64,
    /// Pictures that could not be decoded.
    pub pictures_lost: u64,
    /// Frames in which something moved.
    pub motion_detected: u64,
    /// Sightings that made no event, by reason.
    pub events_suppressed: BTreeMap<String, u64>,
    /// When its last frame came, by this machine's clock.
    pub last_frame: Option<String>,
    /// The same, in UTC microseconds.
    #[serde(skip)]
    pub last_frame_utc_micros: Option<i64>,
}

impl CameraMetrics {
    pub(super) fn new(now: ClockReading) -> Self {
        let uptime = Uptime {
            is_up: false,
            is_over: false,
            since: now.boot,
            up: Duration::ZERO,
            down: Duration::ZERO,
        };
        let counted = CameraCounts::default();
        Self(Mutex::new(State { counted, last_frame: None, uptime }))
    }

    /// A frame came.
    pub fn frame(&self, at: Timestamp, dropped_before: u64) {
        let mut state = self.lock();
        state.counted.frames += 1;
        state.counted.frames_dropped += dropped_before;
        state.last_frame = Some(at);
    }

    /// A picture could not be decoded.
    pub fn picture_lost(&self) {
        self.lock().counted.pictures_lost += 1;
    }

    /// Motion was looked for in a frame, and found or not.
    pub fn motion(&self, found: bool) {
        let mut state = self.lock();
        state.counted.looked_at += 1;
        state.counted.motion += u64::from(found);
    }

    /// A sighting made no event.
    pub fn suppressed(&self, reason: &'static str) {
        *self.lock().counted.suppressed.entry(reason).or_default() += 1;
    }

    /// It delivers from now on.
    pub fn up(&self, now: ClockReading) {
        self.turn(now, true, false);
    }

    /// It delivers no more, and should.
    pub fn down(&self, now: ClockReading) {
        self.turn(now, false, false);
    }

    /// Its source has ended by itself: what it was expected to deliver, it has delivered.
    pub fn over(&self, now: ClockReading) {
        self.turn(now, false, true);
    }

    fn turn(&self, now: ClockReading, is_up: bool, is_over: bool) {
        let uptime = &mut self.lock().uptime;
        uptime.settle(now.boot);
        (uptime.is_up, uptime.is_over) = (is_up, is_over);
    }

    pub(super) fn counted(&self) -> CameraCounts {
        self.lock().counted.clone()
    }

    pub(super) fn snapshot(&self, id: &str, now: ClockReading) -> (CameraSnapshot, CameraCounts) {
        let (counted, last_frame, uptime) = {
            let state = self.lock();
            (state.counted.clone(), state.last_frame, state.uptime)
        };
        let suppressed = counted.suppressed.iter();
        let snapshot = CameraSnapshot {
            id: id.to_owned(),
            up: uptime.is_up,
            availability: uptime.share(now.boot).map(super::rounded),
            frames_processed: counted.frames,
            frames_dropped: counted.frames_dropped,
            pictures_lost: counted.pictures_lost,
            motion_detected: counted.motion,
            events_suppressed: suppressed.map(|(reason, n)| ((*reason).to_owned(), *n)).collect(),
            last_frame: last_frame.map(|time| time.to_string()),
            last_frame_utc_micros: last_frame.map(|time| time.utc_micros),
        };
        (snapshot, counted)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use lenslog_journal::{Clock, SimulatedClock};

    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    #[test]
    fn availability_is_the_share_of_time_up_whatever_the_wall_clock_does() {
        let clock = SimulatedClock::new(Timestamp::default());
        let camera = CameraMetrics::new(clock.read());
        let availability = || camera.snapshot("door", clock.read()).0.availability;
        assert_eq!(availability(), None);
        clock.advance(minutes(1));
        assert_eq!(availability(), Some(0.0));
        camera.up(clock.read());
        clock.advance(minutes(3));
        assert_eq!(availability(), Some(0.75));
        // NTP sets the clock by years.
        clock.step_to(Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 });
        assert_eq!(availability(), Some(0.75));
        camera.down(clock.read());
        clock.advance(minutes(2));
        assert_eq!(availability(), Some(0.5));
        camera.up(clock.read());
        clock.advance(minutes(6));
        assert_eq!(availability(), Some(0.75));
    }

    #[test]
    fn a_source_that_ended_by_itself_is_not_held_to_be_absent() {
        let clock = SimulatedClock::new(Timestamp::default());
        let camera = CameraMetrics::new(clock.read());
        camera.up(clock.read());
        clock.advance(minutes(1));
        camera.over(clock.read());
        clock.advance(minutes(100));
        let (snapshot, _) = camera.snapshot("door", clock.read());
        assert_eq!((snapshot.up, snapshot.availability), (false, Some(1.0)));
    }
}
