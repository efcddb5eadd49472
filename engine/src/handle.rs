//! [`Handle`]: reads the live value of a [`Reducer`](crate::Reducer), and knows which records are in it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lenslog_journal::Seq;
use parking_lot::{Condvar, Mutex, MutexGuard};

/// Projections that had not applied a record in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "projection {}: not followed up to seq {next} in time; wait longer, or see the status of the runner",
    names.join(", ")
)]
#[non_exhaustive]
pub struct Behind {
    /// Their names.
    pub names: Vec<&'static str>,
    /// Every record before this seq was expected.
    pub next: Seq,
}

impl Behind {
    /// The names of the projections that are behind; none if the wait succeeded.
    #[must_use]
    pub fn names_in(waited: Result<(), Self>) -> Vec<&'static str> {
        waited.err().map_or_else(Vec::new, |behind| behind.names)
    }
}

/// The live value of a reducer, to be read from any thread.
///
/// The value is the fold of what is durable in the journal, with nothing else in it. While the projection is opened again
/// after an error, or rebuilt, the value may go back; [`Handle::at_least`] waits then.
pub struct Handle<R> {
    shared: Arc<Shared<R>>,
    name: &'static str,
}

impl<R> Handle<R> {
    pub(crate) const fn new(shared: Arc<Shared<R>>, name: &'static str) -> Self {
        Self { shared, name }
    }

    /// Waits until the record with this seq is applied, and holds the value.
    ///
    /// The projection applies nothing while the result exists: keep it briefly. A batch that was appended at once is whole
    /// in the value from its last seq on.
    ///
    /// # Errors
    ///
    /// [`Behind`] after `timeout`.
    pub fn at_least(&self, seq: Seq, timeout: Duration) -> Result<Reading<'_, R>, Behind> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state.lock();
        while state.next <= seq {
            if self.shared.changed.wait_until(&mut state, deadline).timed_out() && state.next <= seq
            {
                return Err(Behind { names: vec![self.name], next: seq.next() });
            }
        }
        Ok(Reading(state))
    }

    /// Reads the value as it is. The projection applies nothing meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&R) -> T) -> T {
        read(&self.shared.state.lock().value)
    }

    /// The seq of the first record that may be missing in the value.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.shared.state.lock().next
    }
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), name: self.name }
    }
}

impl<R> fmt::Debug for Handle<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handle").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A value that contains the record that was waited for. It does not change while this exists.
#[must_use]
pub struct Reading<'a, R>(MutexGuard<'a, State<R>>);

impl<R> Reading<'_, R> {
    /// Reads the value.
    pub fn read<T>(&self, read: impl FnOnce(&R) -> T) -> T {
        read(&self.0.value)
    }

    /// The seq of the first record that may be missing in the value.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.0.next
    }
}

impl<R> Deref for Reading<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0.value
    }
}

impl<R: fmt::Debug> fmt::Debug for Reading<'_, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(formatter)
    }
}

/// What the projection's thread writes and handles read.
#[derive(Debug, Default)]
pub(crate) struct Shared<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State<R> {
    value: R,
    /// Every record before it is in the value.
    next: Seq,
}

impl<R> Shared<R> {
    /// Changes the value by a record. Handles wait for [`Shared::publish`].
    pub(crate) fn change(&self, change: impl FnOnce(&mut R)) {
        change(&mut self.state.lock().value);
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&R) -> T) -> T {
        read(&self.state.lock().value)
    }

    /// Every record before `next` is in the value.
    pub(crate) fn publish(&self, next: Seq) {
        self.state.lock().next = next;
        self.changed.notify_all();
    }

    /// Replaces the value by one with every record before `next`.
    pub(crate) fn replace(&self, value: R, next: Seq) {
        *self.state.lock() = State { value, next };
        self.changed.notify_all();
    }
}
