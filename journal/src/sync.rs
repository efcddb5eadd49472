//! The locks of this crate. A thread that panicked while it held one leaves it free for the others.
//!
//! They come from one place, so that a model checker can put its own here (`--cfg shuttle`).

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

#[cfg(shuttle)]
pub(crate) use self::scheduled::{Condvar, Mutex, MutexGuard};

/// Locks of the model checker with the methods of `parking_lot`.
#[cfg(shuttle)]
mod scheduled {
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;
    use std::time::Duration;

    use shuttle::sync;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    /// The guard is away while its thread waits.
    pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(sync::Condvar);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }
    }

    impl Condvar {
        pub(crate) const fn new() -> Self {
            Self(sync::Condvar::new())
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard
                .0
                .take()
                .map(|inner| self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
        }

        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
            guard.0 = guard.0.take().map(|inner| {
                self.0.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner).0
            });
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        #[expect(clippy::panic, reason = "a thread that waits runs nothing else")]
        fn deref(&self) -> &T {
            let Some(guard) = &self.0 else { panic!("the guard is away") };
            guard
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[expect(clippy::panic, reason = "a thread that waits runs nothing else")]
        fn deref_mut(&mut self) -> &mut T {
            let Some(guard) = &mut self.0 else { panic!("the guard is away") };
            guard
        }
    }
}
