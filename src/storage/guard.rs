//! [`StorageGuard`]: checks again and again, warns, has logs rotated, and says when everything is full.
//!
//! A thread of its own, so that neither a camera nor an acknowledgement waits for a deletion. Whoever appends faster
//! than it can delete waits in [`Admission::admit`].

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lenslog_engine::Runner;
use lenslog_events::{Event, StorageLevel, StorageWarning};
use lenslog_journal::{Clock, Day, Error, Journal, Seq};
use lenslog_tools::control::RotationReport;

use super::level::Levels;
use super::monitor::StorageMonitor;
use super::mount::missing_mount;
use super::policy::{Protection, Step};
use super::report;
use super::reserve::Reserve;
use super::rotator::LogRotator;
use super::stats::StorageStats;
use super::surveyor::{Survey, Surveyor};
use crate::config::Config;
use crate::ingest::Admission;

/// Checked this often at least.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// What could not be deleted is tried again this often by deleting its day once more.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// So many times the events between two checks may be appended before whoever appends waits for the check.
const INTERVALS_AHEAD: u64 = 4;
/// Whoever appends waits for a check this long at most.
const ADMIT_MAX: Duration = Duration::from_secs(60);

/// Puts an event of the guard's into the journal.
pub type Tell = Arc<dyn Fn(&Event) + Send + Sync>;

/// Figures for whoever shows them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StorageFigures {
    /// Usage at the last check.
    pub stats: StorageStats,
    /// Warnings and errors since the start: thresholds crossed and days deleted.
    pub storage_warnings: u64,
    /// Days deleted since the start.
    pub days_deleted: u64,
    /// Checks since the start.
    pub checks: u64,
}

/// Watches over the storage of one data directory.
pub struct StorageGuard {
    pub(super) inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Inner {
    rotator: LogRotator,
    clock: Arc<dyn Clock>,
    reserve: Reserve,
    interval: u64,
    require_mount: PathBuf,
    tell: Tell,
    when_full: Box<dyn Fn() + Send + Sync>,
    stop: Arc<AtomicBool>,
    is_full: AtomicBool,
    signal: Mutex<Signal>,
    bell: Condvar,
    watch: Mutex<Watch>,
    figures: Mutex<StorageFigures>,
    warnings: AtomicU64,
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

/// What a check remembers for the next one.
#[derive(Debug, Default)]
struct Watch {
    levels: Levels,
    /// What was left to do after the last rotation, and when that was, since boot.
    left: Option<(Vec<Day>, Duration)>,
    /// It was told that nothing may be deleted.
    told_nothing: bool,
    told_clock: bool,
    told_mount: bool,
}

impl fmt::Debug for StorageGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StorageGuard").field("figures", &self.figures()).finish()
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
        tell: Tell,
        when_full: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let monitor = Arc::new(StorageMonitor::new(config));
        let surveyor = Surveyor::new(config, monitor, journal.view(), Arc::clone(clock), opened);
        let rotator = LogRotator::new(
            journal.clone(),
            Arc::clone(runner),
            surveyor,
            &config.storage,
            Arc::clone(&stop),
        );
        let inner = Arc::new(Inner {
            rotator,
            clock: Arc::clone(clock),
            reserve: Reserve::of(&config.storage),
            interval: u64::from(config.storage.storage_check_interval.max(1)),
            require_mount: config.storage.require_mount.clone(),
            tell,
            when_full: Box::new(when_full),
            stop,
            is_full: AtomicBool::new(false),
            signal: Mutex::new(Signal { checked: opened, head: opened, ..Signal::default() }),
            bell: Condvar::new(),
            watch: Mutex::default(),
            figures: Mutex::default(),
            warnings: AtomicU64::new(0),
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
        self.inner.bell.notify_all();
    }

    /// Tells how far the journal is from any thread, as [`Admission::note`] does, without keeping the guard alive.
    pub fn noter(&self) -> impl Fn(Seq) + Send + Sync + 'static {
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
        self.inner.is_full.load(Ordering::Acquire)
    }

    /// The figures of the last check.
    #[must_use]
    pub fn figures(&self) -> StorageFigures {
        let figures = *lock(&self.inner.figures);
        StorageFigures { storage_warnings: self.inner.warnings.load(Ordering::Relaxed), ..figures }
    }

    /// Counts now.
    #[must_use]
    pub fn check_usage(&self) -> StorageStats {
        self.inner.rotator.surveyor().monitor().check_usage()
    }

    /// Deletes what has to go, or says what would.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub fn rotate(&self, force: bool, dry_run: bool) -> Result<RotationReport, Error> {
        if dry_run {
            return self.inner.rotator.survey(force).map(|survey| report::dry_run(&survey));
        }
        let report = self.inner.rotator.rotate_logs(force)?;
        self.inner.count(&report);
        self.check_soon();
        Ok(report)
    }

    /// In how many days everything is full at this pace; `None` where nothing tells yet.
    #[must_use]
    pub fn days_until_full(&self) -> Option<u64> {
        self.inner.rotator.survey(false).ok()?.days_until_full()
    }

    /// Stops watching, after the step of a rotation that is on its way.
    pub fn stop(&self) {
        self.inner.stop.store(true, Ordering::Release);
        // The lock, so that the thread cannot be between looking at the flag and going to sleep.
        drop(self.inner.lock());
        self.inner.bell.notify_all();
        if let Some(thread) = lock(&self.thread).take()
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
            self.inner.bell.notify_all();
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
        lock(&self.signal)
    }

    fn note(&self, head: Seq) {
        let mut signal = self.lock();
        signal.head = signal.head.max(head);
        if signal.since_check() >= self.interval {
            self.bell.notify_all();
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
            let waited = self.bell.wait_timeout(signal, left);
            signal = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self) {
        let mut last = Instant::now();
        loop {
            let mut signal = self.lock();
            loop {
                if self.is_stopped() {
                    self.bell.notify_all();
                    return;
                }
                let left = CHECK_INTERVAL.saturating_sub(last.elapsed());
                let is_due = signal.asked || signal.since_check() >= self.interval;
                if is_due || left.is_zero() {
                    break;
                }
                let waited = self.bell.wait_timeout(signal, left);
                signal = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            signal.asked = false;
            signal.checked = signal.head;
            signal.checks_begun += 1;
            drop(signal);
            self.check();
            last = Instant::now();
            let mut signal = self.lock();
            signal.checks_done = signal.checks_begun;
            self.bell.notify_all();
        }
    }

    pub(super) fn check(&self) {
        let mut watch = lock(&self.watch);
        if let Some(missing) = missing_mount(&self.require_mount) {
            if !std::mem::replace(&mut watch.told_mount, true) {
                tracing::error!("{missing}: nothing is counted or deleted until it is back");
            }
            return;
        }
        watch.told_mount = false;
        // Whoever owns the journal tells that; nothing may be counted, made or deleted in its place.
        if self.rotator.surveyor().view().check_place().is_err() {
            return;
        }
        self.reserve.make();
        let surveyor = self.rotator.surveyor();
        let mut stats = surveyor.monitor().check_usage();
        if stats.needs_rotation() || surveyor.ages_matter() {
            // Whether it is too much is known when what may go has gone.
            if !self.is_full.load(Ordering::Acquire) {
                let before = StorageStats { is_over_limit: false, ..stats };
                self.tell_levels(&mut watch, &before);
            }
            if let Err(error) = self.rotate(&mut watch) {
                tracing::error!(%error, "rotation failed; it is tried again");
            }
            stats = surveyor.monitor().check_usage();
        }
        if !stats.needs_rotation() {
            watch.told_nothing = false;
        }
        self.tell_levels(&mut watch, &stats);
        {
            let mut figures = lock(&self.figures);
            figures.stats = stats;
            figures.checks += 1;
        }
        let was_full = self.is_full.swap(stats.is_over_limit, Ordering::AcqRel);
        if stats.is_over_limit && !was_full {
            (self.when_full)();
        }
    }

    /// Rotates, unless what there is to do is what the last rotation could not do.
    fn rotate(&self, watch: &mut Watch) -> Result<(), Error> {
        let survey = self.rotator.survey(false)?;
        self.tell_obstacles(watch, &survey);
        let wanted = days_of(&survey);
        let now = self.clock.read().boot;
        let is_known = watch
            .left
            .as_ref()
            .is_some_and(|(left, at)| *left == wanted && now.saturating_sub(*at) < RETRY_INTERVAL);
        if wanted.is_empty() || is_known {
            return Ok(());
        }
        let result = self.rotator.rotate_logs(false);
        let left = self.rotator.survey(false).map_or(wanted, |survey| days_of(&survey));
        watch.left = Some((left, self.clock.read().boot));
        self.count(&result?);
        Ok(())
    }

    fn count(&self, report: &RotationReport) {
        let days = report.gone.iter().filter(|gone| !gone.pictures_only).count() as u64;
        lock(&self.figures).days_deleted += days;
        let warnings = report.gone.len() + report.problems.len();
        self.warnings.fetch_add(warnings as u64, Ordering::Relaxed);
    }

    fn tell_levels(&self, watch: &mut Watch, stats: &StorageStats) {
        for level in watch.levels.crossed(stats) {
            match level {
                // Beyond the limit already: whether it is exceeded is told when what may go has gone.
                StorageLevel::Approaching if stats.exceeds(100) => {}
                StorageLevel::Approaching => {
                    tracing::warn!("Storage at {stats}, approaching limit");
                }
                StorageLevel::Exceeded => tracing::error!("Storage limit exceeded: {stats}"),
                StorageLevel::Normal => tracing::info!("Storage at {stats}: there is room again"),
                _ => {}
            }
            if matches!(level, StorageLevel::Approaching | StorageLevel::Exceeded) {
                self.warnings.fetch_add(1, Ordering::Relaxed);
            }
            (self.tell)(&Event::StorageWarning(StorageWarning {
                at: self.clock.read().wall,
                level,
                used_bytes: stats.total_bytes,
                limit_bytes: stats.limit_bytes,
            }));
        }
    }

    /// Says once what stands in the way of deleting.
    fn tell_obstacles(&self, watch: &mut Watch, survey: &Survey) {
        let waits = |(_, why): &&(_, Protection)| *why == Protection::ClockNotTrusted;
        let waiting = survey.plan.kept.iter().filter(waits).count();
        if waiting > 0 && !std::mem::replace(&mut watch.told_clock, true) {
            tracing::warn!(
                "max_retention_days waits: {waiting} days are older, but the clock is not trusted (not synchronised, \
                 and more than 48 hours from the newest record)"
            );
        }
        watch.told_clock &= waiting > 0;
        let is_stuck = survey.stats.needs_rotation() && survey.plan.steps.is_empty();
        if is_stuck && !std::mem::replace(&mut watch.told_nothing, true) {
            let reasons: std::collections::BTreeSet<_> =
                survey.plan.kept.iter().map(|(_, why)| why.to_string()).collect();
            let reasons: Vec<_> = reasons.into_iter().collect();
            tracing::warn!(
                "Storage at {}, and nothing may be deleted: {}",
                survey.stats,
                if reasons.is_empty() {
                    "there are no days".to_owned()
                } else {
                    reasons.join("; ")
                }
            );
        }
    }
}

/// The days that a plan touches: what tells one plan from another.
fn days_of(survey: &Survey) -> Vec<Day> {
    let days = survey.plan.steps.iter().flat_map(|step| match step {
        Step::Days { days, .. } => days.iter().map(|(day, _)| *day).collect(),
        Step::Pictures { day, .. } => vec![*day],
        Step::PicturesOfToday { .. } => vec![survey.today],
    });
    days.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
