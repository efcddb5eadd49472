//! [`StallTimeout`], how long a live source waits for a picture. A camera that trickles bytes is as silent as one that
//! sends none.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::FrameRate;
use crate::util::CancellationToken;

/// Least time after the last picture before a camera counts as lost: cables come loose unnoticed.
pub const STALL_TIMEOUT_MIN: Duration = Duration::from_secs(10);
/// The same before its first picture: a stream begins with a whole picture only now and then.
pub const FIRST_PICTURE_TIMEOUT: Duration = Duration::from_secs(30);
/// The same where a program waits for a key frame, which some cameras send every 20 s or more, and looks at the stream
/// before it decodes it.
pub(super) const FIRST_KEY_FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// Intervals between pictures that pass without one before a slow camera counts as lost.
const INTERVALS_MAX: f64 = 3.0;
/// How often a waiting thread checks for cancellation.
pub(super) const STEP: Duration = Duration::from_millis(200);

/// When the next picture has to be there. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct StallTimeout {
    deadline: Arc<Mutex<Instant>>,
    silence_max: Duration,
    cancel: CancellationToken,
}

impl StallTimeout {
    /// Waits for the first picture of a camera of which `fps` a second are looked at.
    pub(super) fn new(fps: FrameRate, cancel: CancellationToken) -> Self {
        Self::for_first(FIRST_PICTURE_TIMEOUT, fps, cancel)
    }

    /// As [`Self::new`], with `first` as the least time before the first picture.
    pub(super) fn for_first(first: Duration, fps: FrameRate, cancel: CancellationToken) -> Self {
        let silence_max = STALL_TIMEOUT_MIN.max(Duration::from_secs_f64(INTERVALS_MAX / fps.fps()));
        Self::with(silence_max.max(first), silence_max, cancel)
    }

    /// Waits `first` for the first picture and `silence_max` for each later one.
    pub(super) fn with(first: Duration, silence_max: Duration, cancel: CancellationToken) -> Self {
        Self { deadline: Arc::new(Mutex::new(Instant::now() + first)), silence_max, cancel }
    }

    /// How long may be waited for the next picture.
    pub(super) fn left(&self) -> Duration {
        let deadline = *self.deadline.lock();
        deadline.saturating_duration_since(Instant::now())
    }

    /// A picture came.
    pub(super) fn renew(&self) {
        let mut deadline = self.deadline.lock();
        *deadline = Instant::now() + self.silence_max;
    }

    /// As if it had been waited for too long.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        *self.deadline.lock() = Instant::now();
    }

    /// Whether to go on waiting.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] after too long without a picture, [`io::ErrorKind::ConnectionAborted`] when
    /// cancelled.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if !self.left().is_zero() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it sends no picture"))
    }

    /// Whether waiting was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_with_few_frames_is_given_the_time_it_needs() {
        let stall_timeout =
            |fps| StallTimeout::new(FrameRate::from_fps(fps).unwrap(), CancellationToken::new());
        assert_eq!(stall_timeout(5.0).silence_max, STALL_TIMEOUT_MIN);
        assert_eq!(stall_timeout(0.05).silence_max, Duration::from_secs(60));
        assert!(stall_timeout(5.0).check().is_ok());
    }

    #[test]
    fn waiting_ends_at_the_deadline_and_when_cancelled() {
        let cancel = CancellationToken::new();
        let stall_timeout = StallTimeout::new(FrameRate::default(), cancel.clone());
        stall_timeout.expire();
        assert_eq!(stall_timeout.check().unwrap_err().kind(), io::ErrorKind::TimedOut);
        stall_timeout.renew();
        assert!(stall_timeout.clone().check().is_ok());
        cancel.cancel();
        assert_eq!(stall_timeout.check().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
