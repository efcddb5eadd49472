//! [`Watermark`]: the durable end of the journal, on which readers of this process wait.

use crate::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::Seq;
use crate::format::{Salt, SegmentName};

/// The durable end of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Durable {
    /// The seq after the last durable record.
    pub(crate) seq: Seq,
    /// The active segment, if there is one.
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

    /// Wakes every waiting reader for good: nothing will follow.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.risen.notify_all();
    }

    /// Wakes every waiting reader, or its next wait, although the end is unchanged.
    pub(crate) fn nudge(&self) {
        self.lock().nudges += 1;
        self.risen.notify_all();
    }

    /// Waits until the durable end is after `seq`, for the timeout, or until a nudge that the caller has not seen.
    pub(crate) fn wait(&self, seq: Seq, timeout: Duration, nudges_seen: &mut u64) {
        let mut state = self.lock();
        if state.durable.seq <= seq && !state.closed && state.nudges == *nudges_seen {
            self.risen.wait_for(&mut state, timeout);
        }
        *nudges_seen = state.nudges;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
