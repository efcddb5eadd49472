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
pub(crate) struct Watermark {
    state: Mutex<(Durable, bool)>,
    risen: Condvar,
}

impl Watermark {
    pub(crate) const fn new(durable: Durable) -> Self {
        Self { state: Mutex::new((durable, false)), risen: Condvar::new() }
    }

    pub(crate) fn durable(&self) -> Durable {
        self.lock().0
    }

    pub(crate) fn set(&self, durable: Durable) {
        self.lock().0 = durable;
        self.risen.notify_all();
    }

    /// Says that nothing will follow; whoever waits returns.
    pub(crate) fn close(&self) {
        self.lock().1 = true;
        self.risen.notify_all();
    }

    /// Wakes whoever waits, though nothing rose.
    pub(crate) fn nudge(&self) {
        drop(self.lock());
        self.risen.notify_all();
    }

    /// Waits until the durable end lies behind `seq`, at most `timeout`, and not longer than until a nudge.
    pub(crate) fn wait(&self, seq: Seq, timeout: Duration) -> Durable {
        let mut guard = self.lock();
        if guard.0.seq <= seq && !guard.1 {
            let waited = self.risen.wait_timeout(guard, timeout);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        guard.0
    }

    fn lock(&self) -> MutexGuard<'_, (Durable, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
