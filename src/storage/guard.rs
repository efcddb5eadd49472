//! [`StorageGuard`]: the thread that has the storage checked, and [`Admission`], which asks it for room.
//!
//! A thread of its own, so that neither a camera nor an acknowledgement waits for a deletion. A sender that appends faster
//! than the thread can delete waits in [`Admission::admit`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lenslog_control::RotationReport;
use lenslog_engine::Runner;
use lenslog_journal::{Clock, Error, Journal, Seq};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::checker::{Checker, WriteEvent};
use super::clock_trust::ClockTrust;
use super::stats::StorageStats;
use crate::config::Config;

/// Checked this often at least.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// So many times the events between two checks may be appended before an append waits for the check.
const INTERVALS_AHEAD: u64 = 4;
/// An append waits for a check this long at most.
const ADMIT_MAX: Duration = Duration::from_secs(60);

/// Whether there is room for more events.
pub trait Admission {
    /// Admits a batch. May wait, a bounded time. `false`: the storage is full.
    fn admit(&self) -> bool;

    /// Notes an appended batch, after which the journal ends at `head`.
    fn note(&self, head: Seq);

    /// Waits, a bounded time, for room on a full file system. `true`: retry.
    fn make_room(&self) -> bool;
}

/// Has the storage of one data directory checked, every minute and every so many events.
pub struct StorageGuard {
    pub(super) inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Inner {
    pub(super) checker: Checker,
    interval: u64,
    stop: Arc<AtomicBool>,
    signal: Mutex<Signal>,
    changed: Condvar,
}

/// What the thread waits for.
#[derive(Debug, Default)]
struct Signal {
    /// The journal's end when it was last checked, and now.
    checked: Seq,
    head: Seq,
    asked: bool,
    checks_begun: u64,
    checks_done: u64,
}

impl fmt::Debug for StorageGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StorageGuard").field("stats", &self.stats()).finish()
    }
}

impl StorageGuard {
    /// Begins to watch. The first check is done before it returns. `opened` is the seq that was next when the journal
    /// was opened; `when_full` is called when more is used than may be and nothing else can be deleted.
    #[must_use]
    pub fn start(
        config: &Config,
        journal: &Journal,
        (runner, opened): (&Arc<Runner>, Seq),
        clock: &Arc<dyn Clock>,
        write_event: WriteEvent,
        when_full: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let when_full = Box::new(when_full);
        let opening = (runner, opened);
        let checker = Checker::new(
            config,
            journal,
            opening,
            clock,
            write_event,
            when_full,
            Arc::clone(&stop),
        );
        let inner = Arc::new(Inner {
            checker,
            interval: u64::from(config.storage.storage_check_interval.max(1)),
            stop,
            signal: Mutex::new(Signal { checked: opened, head: opened, ..Signal::default() }),
            changed: Condvar::new(),
        });
        inner.check();
        let watched = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("storage".to_owned());
        let thread = thread.spawn(move || watched.run());
        if let Err(error) = &thread {
            tracing::error!(%error, "storage is not watched");
        }
        Self { inner, thread: Mutex::new(thread.ok()) }
    }

    /// Has everything checked soon.
    pub fn check_soon(&self) {
        self.inner.lock().asked = true;
        self.inner.changed.notify_all();
    }

    /// Returns [`Admission::note`] for any thread, without keeping the guard alive.
    pub fn on_append(&self) -> impl Fn(Seq) + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.inner);
        move |head| {
            if let Some(inner) = inner.upgrade() {
                inner.note(head);
            }
        }
    }

    /// Whether more is used than may be, with nothing left that may be deleted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inner.checker.is_full()
    }

    /// Usage at the last check.
    #[must_use]
    pub fn stats(&self) -> StorageStats {
        self.inner.checker.stats()
    }

    /// Warnings and errors since the start: thresholds crossed, days deleted, and failures.
    #[must_use]
    pub fn warnings(&self) -> u64 {
        self.inner.checker.warnings()
    }

    /// What vouches for this machine's clock.
    #[must_use]
    pub fn clock_trust(&self) -> ClockTrust {
        self.inner.checker.rotator.planner().clock_trust()
    }

    /// Counts now.
    #[must_use]
    pub fn check_usage(&self) -> StorageStats {
        self.inner.checker.rotator.planner().monitor().check_usage()
    }

    /// Deletes what has to go, or says what would.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub fn rotate(&self, force: bool, dry_run: bool) -> Result<RotationReport, Error> {
        if dry_run {
            return self.inner.checker.rotator.plan(force).map(|plan| plan.dry_run());
        }
        let report = self.inner.checker.rotator.rotate_logs(force)?;
        self.inner.checker.count(&report);
        self.check_soon();
        Ok(report)
    }

    /// In how many days everything is full at this pace; `None` before there is a forecast.
    #[must_use]
    pub fn days_until_full(&self) -> Option<u64> {
        self.inner.checker.rotator.plan(false).ok()?.days_until_full()
    }

    /// Stops watching, after the step of a rotation that is on its way.
    pub fn stop(&self) {
        self.inner.stop.store(true, Ordering::Release);
        // The lock, so that the thread cannot be between looking at the flag and going to sleep.
        drop(self.inner.lock());
        self.inner.changed.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches the storage panicked");
        }
    }
}

impl Admission for StorageGuard {
    fn admit(&self) -> bool {
        let ahead = self.inner.interval.saturating_mul(INTERVALS_AHEAD);
        self.inner.wait_until(|signal| signal.since_check() < ahead);
        !self.is_full()
    }

    fn note(&self, head: Seq) {
        self.inner.note(head);
    }

    fn make_room(&self) -> bool {
        let begun = {
            let mut signal = self.inner.lock();
            signal.asked = true;
            self.inner.changed.notify_all();
            signal.checks_begun
        };
        self.inner.wait_until(|signal| signal.checks_done > begun);
        !self.is_full()
    }
}

impl Drop for StorageGuard {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Signal {
    const fn since_check(&self) -> u64 {
        self.head.0.saturating_sub(self.checked.0)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock()
    }

    fn note(&self, head: Seq) {
        let mut signal = self.lock();
        signal.head = signal.head.max(head);
        if signal.since_check() >= self.interval {
            self.changed.notify_all();
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn wait_until(&self, is_so: impl Fn(&Signal) -> bool) {
        let deadline = Instant::now() + ADMIT_MAX;
        let mut signal = self.lock();
        while !is_so(&signal) && !self.is_stopped() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.changed.wait_for(&mut signal, left);
        }
    }

    fn run(&self) {
        let mut last = Instant::now();
        loop {
            let mut signal = self.lock();
            loop {
                if self.is_stopped() {
                    self.changed.notify_all();
                    return;
                }
                let left = CHECK_INTERVAL.saturating_sub(last.elapsed());
                let is_due = signal.asked || signal.since_check() >= self.interval;
                if is_due || left.is_zero() {
                    break;
                }
                self.changed.wait_for(&mut signal, left);
            }
            drop(signal);
            self.check();
            last = Instant::now();
        }
    }

    /// Checks once, and lets through what waits for a check.
    fn check(&self) {
        {
            let mut signal = self.lock();
            signal.asked = false;
            signal.checked = signal.head;
            signal.checks_begun += 1;
        }
        self.checker.check();
        let mut signal = self.lock();
        signal.checks_done = signal.checks_begun;
        self.changed.notify_all();
    }

    /// Checks since the start, the first one included.
    #[cfg(test)]
    pub(super) fn checks_done(&self) -> u64 {
        self.lock().checks_done
    }
}
