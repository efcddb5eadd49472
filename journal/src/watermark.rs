//! [`Watermark`]: how far the journal is durable, for the readers of this process to wait on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Seq;
use crate::format::{Salt, SegmentName};

/// The durable end of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Durable {
    /// The seq behind the last durable record.
    pub(crate) seq: Seq,
    /// The active segment, where there is one.
    pub(crate) segment: Option<(SegmentName, Salt)>,
    /// First offset of it that is not durable.
    pub(crate) offset: u64,
}

#[derive(Debug)]
struct State {
    durable: Durable,
    closed: bool,
    nudges: u64,
}

#[derive(Debug)]
pub(crate) struct Watermark {
    state: Mutex<State>,
    risen: Condvar,
}

impl Watermark {
    pub(crate) const fn new(durable: Durable) -> Self {
        let state = State { durable, closed: false, nudges: 0 };
        Self { state: Mutex::new(state), risen: Condvar::new() }
    }

    pub(crate) fn durable(&self) -> Durable {
        self.lock().durable
    }

    pub(crate) fn set(&self, durable: Durable) {
        self.lock().durable = durable;
        self.risen.notify_all();
    }

    /// Says that nothing will follow; whoever waits returns.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.risen.notify_all();
    }

    /// Wakes whoever waits, or is about to, though nothing rose.
    pub(crate) fn nudge(&self) {
        self.lock().nudges += 1;
        self.risen.notify_all();
    }

    /// Waits until the durable end lies behind `seq`, at most `timeout`, and not beyond the first nudge that the
    /// caller has not seen.
    pub(crate) fn wait(&self, seq: Seq, timeout: Duration, nudges_seen: &mut u64) {
        let mut state = self.lock();
        if state.durable.seq <= seq && !state.closed && state.nudges == *nudges_seen {
            let waited = self.risen.wait_timeout(state, timeout);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *nudges_seen = state.nudges;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
