//! [`Cancel`], the switch by which a source that waits is told to return. Holds no thread and no clock of its
//! own.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// Something that sleeps on a condition of its own and has to look again when its [`Cancel`] is thrown.
pub(crate) trait Wake: Send + Sync {
    /// Makes every sleeper look again. Called once, from the thread that cancels, without locks held.
    fn wake(&self);
}

/// A switch that is thrown once and wakes everything that waits under it.
///
/// Clones are the same switch. A [`child`](Cancel::child) is thrown with its parent, but not the parent with
/// the child: one camera can be stopped alone, or all of them together.
///
/// ```
/// use lenslog::source::Cancel;
///
/// let recorder = Cancel::new();
/// let camera = recorder.child();
/// recorder.cancel();
/// assert!(camera.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    wakers: Mutex<Vec<Weak<dyn Wake>>>,
    changed: Condvar,
}

impl Cancel {
    /// A switch that is not thrown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A switch that is thrown together with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let waker: Weak<dyn Wake> = Arc::<Shared>::downgrade(&child.shared);
        self.register(waker);
        child
    }

    /// Throws the switch. Whatever waits under it returns; throwing it again does nothing.
    pub fn cancel(&self) {
        self.shared.wake();
    }

    /// Whether the switch was thrown.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// Sleeps until `deadline`, or for ever where that is `None`, or until the switch is thrown; returns
    /// whether it was.
    pub fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let mut guard = self.shared.lock();
        loop {
            if self.is_cancelled() {
                return true;
            }
            guard = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return false,
                Some(left) => {
                    let waited = self.shared.changed.wait_timeout(guard, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.shared.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Has `waker` woken when the switch is thrown, at once if it already was.
    pub(crate) fn register(&self, waker: Weak<dyn Wake>) {
        let mut wakers = self.shared.lock();
        // Only what still lives is kept, so the list is as long as the recorder has waiting places.
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
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Wake>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(&self) {
        let mut guard = self.lock();
        // Stored under the lock: a sleeper has either seen it or is already waiting for the notification.
        self.cancelled.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut *guard);
        drop(guard);
        self.changed.notify_all();
        wake_all(wakers);
    }
}

fn wake_all(wakers: impl IntoIterator<Item = Weak<dyn Wake>>) {
    for waker in wakers.into_iter().filter_map(|waker| waker.upgrade()) {
        waker.wake();
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_parent_cancels_its_children_and_not_the_other_way_round() {
        let parent = Cancel::new();
        let (first, second) = (parent.child(), parent.child());
        first.cancel();
        assert!(first.is_cancelled() && !second.is_cancelled() && !parent.is_cancelled());
        parent.cancel();
        assert!(second.is_cancelled() && parent.is_cancelled());
        assert!(parent.child().is_cancelled(), "a late child is born cancelled");
    }

    #[test]
    fn a_sleeper_without_a_deadline_wakes_when_cancelled() {
        // Often enough that it is thrown while the sleeper looks, falls asleep and sleeps.
        for _ in 0..200 {
            let cancel = Cancel::new();
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
    fn a_deadline_that_has_passed_is_not_slept_on() {
        let cancel = Cancel::new();
        assert!(!cancel.wait_until(Some(Instant::now())));
        cancel.cancel();
        assert!(cancel.wait_until(Some(Instant::now())));
    }

    #[test]
    fn children_that_are_gone_are_forgotten() {
        let parent = Cancel::new();
        for _ in 0..1000 {
            drop(parent.child());
        }
        assert!(parent.shared.lock().len() <= 1);
    }
}
