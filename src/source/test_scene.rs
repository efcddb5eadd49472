//! [`TestSource`], `test:`: a camera that films a [`Scene`] instead of the world. It never ends by itself.

use std::fmt;
use std::sync::Arc;

use lenslog_journal::{Clock, Timestamp};

use super::pace::Pacer;
use super::{FrameRate, Source, SourceError, SourceItem};
use crate::util::CancellationToken;
use lenslog_vision::frame::Frame;
use lenslog_vision::scene::{Scene, SceneRenderer};

/// When the frames of a [`TestSource`] are taken.
#[derive(Clone)]
pub enum TestTime {
    /// In real time: each frame is drawn when it is due, and its time is read from this clock then.
    Live(Arc<dyn Clock>),
    /// As fast as they are taken, at times that begin here.
    From(Timestamp),
}

impl fmt::Debug for TestTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(_) => formatter.write_str("Live"),
            Self::From(start) => formatter.debug_tuple("From").field(start).finish(),
        }
    }
}

/// The frames of a [`Scene`], one after another, for ever.
#[derive(Debug)]
pub struct TestSource {
    renderer: SceneRenderer,
    fps: FrameRate,
    time: TestTime,
    pacer: Pacer,
    cancel: CancellationToken,
    number: u64,
}

impl TestSource {
    /// Films `scene` until `cancel` is thrown.
    #[must_use]
    pub fn new(scene: Scene, fps: FrameRate, time: TestTime, cancel: CancellationToken) -> Self {
        let pacer = Pacer::new(fps);
        Self { renderer: SceneRenderer::new(scene), fps, time, pacer, cancel, number: 0 }
    }
}

impl Source for TestSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if self.cancel.is_cancelled() {
            return Ok(None);
        }
        let number = self.number;
        let time = match &self.time {
            TestTime::From(start) => start.plus_micros(self.fps.micros_at(number)),
            TestTime::Live(_) if self.pacer.wait(number, &self.cancel) => return Ok(None),
            TestTime::Live(clock) => clock.read().wall,
        };
        self.number += 1;
        let picture = self.renderer.render(number);
        Ok(Some(SourceItem::Frame(Frame {
            number,
            time,
            picture,
            dropped_before: 0,
            origin: None,
            claimed: None,
        })))
    }
}

#[cfg(test)]
mod tests {
    use lenslog_journal::SimulatedClock;

    use super::*;
    use lenslog_vision::scene::Walk;

    fn small() -> Scene {
        Scene { size: (64, 64), walk: Some(Walk::default()), ..Scene::default() }
    }

    fn next(source: &mut TestSource) -> Option<Frame> {
        match source.next_item().unwrap()? {
            SourceItem::Frame(frame) => Some(frame),
            SourceItem::Problem(problem) => panic!("{problem}"),
        }
    }

    #[test]
    fn unpaced_frames_have_exact_times() {
        let start = Timestamp { utc_micros: 1_000, offset_minutes: -90 };
        let time = TestTime::From(start);
        let mut source =
            TestSource::new(small(), FrameRate::default(), time, CancellationToken::new());
        let frames: Vec<_> = (0..3).filter_map(|_| next(&mut source)).collect();
        let times: Vec<_> = frames.iter().map(|frame| (frame.number, frame.time)).collect();
        assert_eq!(times, [0, 1, 2].map(|n: u64| (n, start.plus_micros(n as i64 * 200_000))));
        assert_eq!(frames[2].picture, SceneRenderer::new(small()).render(2));
    }

    #[test]
    fn live_frames_have_the_time_of_the_clock() {
        let start = Timestamp { utc_micros: 5, offset_minutes: 60 };
        let clock = Arc::new(SimulatedClock::new(start));
        let fast = FrameRate::MAX;
        let time = TestTime::Live(clock.clone());
        let mut source = TestSource::new(small(), fast, time, CancellationToken::new());
        assert_eq!(next(&mut source).unwrap().time, start);
        clock.advance(std::time::Duration::from_secs(7));
        assert_eq!(next(&mut source).unwrap().time, start.plus_micros(7_000_000));
    }

    #[test]
    fn a_cancelled_scene_ends() {
        let cancel = CancellationToken::new();
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let time = TestTime::Live(clock);
        let mut source = TestSource::new(small(), FrameRate::MIN, time, cancel.clone());
        assert!(next(&mut source).is_some());
        let waiting = std::thread::spawn(move || next(&mut source).is_none());
        cancel.cancel();
        assert!(waiting.join().unwrap(), "the next frame would come in 1,000 seconds");
    }
}
