//! [`Patience`], how long a live source waits for a picture. A camera that trickles bytes is as silent as one that
//! sends none.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Cancel, FrameRate};

/// Least time after the last picture before a camera counts as lost: cables come loose without anybody noticing.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The same before its first picture: a stream begins with a whole picture only now and then.
pub const FIRST_PICTURE_MAX: Duration = Duration::from_secs(30);
/// Intervals between pictures that pass without one before a slow camera counts as lost.
const INTERVALS_MAX: f64 = 3.0;
/// How often whoever waits looks whether it was cancelled.
pub(super) const STEP: Duration = Duration::from_millis(200);

/// When the next picture has to be there. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    deadline: Arc<Mutex<Instant>>,
    silence_max: Duration,
    cancel: Cancel,
}

impl Patience {
    /// Waits for the first picture of a camera of which `fps` a second are looked at.
    pub(super) fn new(fps: FrameRate, cancel: Cancel) -> Self {
        let silence_max = SILENCE_MAX.max(Duration::from_secs_f64(INTERVALS_MAX / fps.fps()));
        let first = silence_max.max(FIRST_PICTURE_MAX);
        Self { deadline: Arc::new(Mutex::new(Instant::now() + first)), silence_max, cancel }
    }

    /// A picture came.
    pub(super) fn renew(&self) {
        let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        *deadline = Instant::now() + self.silence_max;
    }

    /// As if it had been waited for too long.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
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
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < deadline {
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
        let patience = |fps| Patience::new(FrameRate::from_fps(fps).unwrap(), Cancel::new());
        assert_eq!(patience(5.0).silence_max, SILENCE_MAX);
        assert_eq!(patience(0.05).silence_max, Duration::from_secs(60));
        assert!(patience(5.0).check().is_ok());
    }

    #[test]
    fn waiting_ends_at_the_deadline_and_when_cancelled() {
        let cancel = Cancel::new();
        let patience = Patience::new(FrameRate::default(), cancel.clone());
        patience.expire();
        assert_eq!(patience.check().unwrap_err().kind(), io::ErrorKind::TimedOut);
        patience.renew();
        assert!(patience.clone().check().is_ok());
        cancel.cancel();
        assert_eq!(patience.check().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
