//! [`CancellationToken`]: ends waits in other threads. [`Notify`] wakes one thread, [`Interrupt`] ends HTTP requests.
//!
//! None of them owns a thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use ureq::Agent;

/// Waits on a condition of its own, which a fired [`CancellationToken`] interrupts.
pub(crate) trait WakeOnCancel: Send + Sync {
    /// Wakes every waiting thread. Called once, by the thread that cancels, without locks held.
    fn wake(&self);
}

/// Fires once and wakes every thread that waits on it.
///
/// Clones share one state. A [`child`](CancellationToken::child) fires with its parent, but not the parent with its
/// child: one camera can be stopped alone, or all of them together.
///
/// ```
/// use lenslog::CancellationToken;
///
/// let recorder = CancellationToken::new();
/// let camera = recorder.child();
/// recorder.cancel();
/// assert!(camera.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancellationToken {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    wakers: Mutex<Vec<Weak<dyn WakeOnCancel>>>,
    changed: Condvar,
}

impl CancellationToken {
    /// Returns a token that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a token that fires together with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let waker: Weak<dyn WakeOnCancel> = Arc::<Shared>::downgrade(&child.shared);
        self.register(waker);
        child
    }

    /// Fires the token: every wait returns. Firing again does nothing.
    pub fn cancel(&self) {
        self.shared.wake();
    }

    /// Whether the token has fired.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// Waits until the token fires or `deadline` (`None`: no limit); returns whether it fired.
    pub fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let mut guard = self.shared.lock();
        loop {
            if self.is_cancelled() {
                return true;
            }
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return false,
                Some(deadline) => {
                    self.shared.changed.wait_until(&mut guard, deadline);
                }
                None => self.shared.changed.wait(&mut guard),
            }
        }
    }

    /// Registers `waker` to be woken when the token fires; at once if it already has.
    pub(crate) fn register(&self, waker: Weak<dyn WakeOnCancel>) {
        let mut wakers = self.shared.lock();
        // Dead wakers are dropped, so the list stays as long as there are waiting threads.
        wakers.retain(|old| old.strong_count() > 0);
        if self.is_cancelled() {
            drop(wakers);
            wake_all([waker]);
        } else {
            wakers.push(waker);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn WakeOnCancel>>> {
        self.wakers.lock()
    }
}

impl WakeOnCancel for Shared {
    fn wake(&self) {
        let mut guard = self.lock();
        // Stored under the lock: a waiting thread has either seen it or is already waiting for the notification.
        self.cancelled.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut *guard);
        drop(guard);
        self.changed.notify_all();
        wake_all(wakers);
    }
}

fn wake_all(wakers: impl IntoIterator<Item = Weak<dyn WakeOnCancel>>) {
    for waker in wakers.into_iter().filter_map(|waker| waker.upgrade()) {
        waker.wake();
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CancellationToken")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

/// An HTTP agent whose requests under way fail when its [`CancellationToken`] fires.
pub struct Interrupt(Agent);

impl Interrupt {
    /// Shuts `agent` down when `cancel` fires.
    #[must_use]
    pub fn new(agent: Agent, cancel: &CancellationToken) -> Arc<Self> {
        let interrupt = Arc::new(Self(agent));
        let waker: Weak<dyn WakeOnCancel> = Arc::<Self>::downgrade(&interrupt);
        cancel.register(waker);
        interrupt
    }

    /// Returns the agent that sends requests.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.0
    }
}

impl WakeOnCancel for Interrupt {
    fn wake(&self) {
        self.0.clone().shutdown();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Interrupt")
    }
}

/// Wakes one waiting thread. A notification that comes before the wait is kept.
#[derive(Debug, Default)]
pub struct Notify {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Notify {
    /// Wakes the waiting thread, or lets its next wait return at once.
    pub fn notify(&self) {
        *self.notified.lock() = true;
        self.changed.notify_all();
    }

    /// Waits for a notification, at most `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let mut notified = self.notified.lock();
        self.changed.wait_while_for(&mut notified, |notified| !*notified, timeout);
        *notified = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_parent_fires_its_children_and_not_the_reverse() {
        let parent = CancellationToken::new();
        let (first, second) = (parent.child(), parent.child());
        first.cancel();
        assert!(first.is_cancelled() && !second.is_cancelled() && !parent.is_cancelled());
        parent.cancel();
        assert!(second.is_cancelled() && parent.is_cancelled());
        assert!(parent.child().is_cancelled(), "a late child has fired");
    }

    #[test]
    fn a_wait_without_deadline_ends_when_the_token_fires() {
        // Often enough that it fires before, at and after the start of the wait.
        for _ in 0..200 {
            let cancel = CancellationToken::new();
            let (child, barrier) = (cancel.child(), Arc::new(Barrier::new(2)));
            let sleeper = {
                let barrier = Arc::clone(&barrier);
                std::thread::spawn(move || {
                    barrier.wait();
                    child.wait_until(None)
                })
            };
            barrier.wait();
            cancel.cancel();
            assert!(sleeper.join().unwrap());
        }
    }

    #[test]
    fn a_deadline_that_has_passed_is_not_waited_for() {
        let cancel = CancellationToken::new();
        assert!(!cancel.wait_until(Some(Instant::now())));
        cancel.cancel();
        assert!(cancel.wait_until(Some(Instant::now())));
    }

    #[test]
    fn dropped_children_are_forgotten() {
        let parent = CancellationToken::new();
        for _ in 0..1000 {
            drop(parent.child());
        }
        assert!(parent.shared.lock().len() <= 1);
    }
}
