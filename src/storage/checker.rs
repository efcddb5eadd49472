//! [`Checker`]: one check of the storage: count, warn, rotate, and report when everything is full.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lenslog_control::RotationReport;
use lenslog_engine::Runner;
use lenslog_events::{Event, StorageLevel, StorageWarning};
use lenslog_journal::{Clock, Day, Error, Journal, Seq};
use parking_lot::Mutex;

use super::ballast::Ballast;
use super::monitor::StorageMonitor;
use super::mount::missing_mount;
use super::policy::{Protection, Step};
use super::retention::{RetentionPlan, RetentionPlanner};
use super::rotator::LogRotator;
use super::stats::{StorageStats, Thresholds};
use crate::config::Config;

/// A deletion that failed is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);

/// Writes an event of the storage to the journal.
pub type WriteEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// Checks the storage of one data directory.
pub(super) struct Checker {
    pub(super) rotator: LogRotator,
    clock: Arc<dyn Clock>,
    ballast: Ballast,
    require_mount: PathBuf,
    write_event: WriteEvent,
    when_full: Box<dyn Fn() + Send + Sync>,
    is_full: AtomicBool,
    memory: Mutex<Memory>,
    stats: Mutex<StorageStats>,
    warnings: AtomicU64,
}

/// What a check remembers for the next one.
#[derive(Debug, Default)]
struct Memory {
    levels: Thresholds,
    /// What was left to do after the last rotation, and when that was, since boot.
    left: Option<(Vec<Day>, Duration)>,
    /// Whether it was logged that nothing may be deleted.
    stuck_reported: bool,
    clock_reported: bool,
    mount_reported: bool,
}

impl Checker {
    /// See [`StorageGuard::start`](super::StorageGuard::start). `stop` ends a rotation after the step it is in.
    pub(super) fn new(
        config: &Config,
        journal: &Journal,
        (runner, opened): (&Arc<Runner>, Seq),
        clock: &Arc<dyn Clock>,
        write_event: WriteEvent,
        when_full: Box<dyn Fn() + Send + Sync>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let monitor = Arc::new(StorageMonitor::new(config));
        let planner =
            RetentionPlanner::new(config, monitor, journal.view(), Arc::clone(clock), opened);
        let (journal, runner) = (journal.clone(), Arc::clone(runner));
        Self {
            rotator: LogRotator::new(journal, runner, planner, &config.storage, stop),
            clock: Arc::clone(clock),
            ballast: Ballast::of(&config.storage),
            require_mount: config.storage.require_mount.clone(),
            write_event,
            when_full,
            is_full: AtomicBool::new(false),
            memory: Mutex::default(),
            stats: Mutex::default(),
            warnings: AtomicU64::new(0),
        }
    }

    /// Whether more is used than may be, with nothing left that may be deleted.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Usage at the last check.
    pub(super) fn stats(&self) -> StorageStats {
        *self.stats.lock()
    }

    /// Warnings and errors since the start: thresholds crossed, days deleted, and failures.
    pub(super) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed)
    }

    pub(super) fn check(&self) {
        let mut memory = self.memory.lock();
        if let Some(missing) = missing_mount(&self.require_mount) {
            if !std::mem::replace(&mut memory.mount_reported, true) {
                tracing::error!("{missing}: nothing is counted or deleted until it is back");
            }
            return;
        }
        memory.mount_reported = false;
        // The owner of the journal reports that; nothing may be counted, created or deleted in its place.
        if self.rotator.planner().view().check_place().is_err() {
            return;
        }
        self.ballast.make();
        let planner = self.rotator.planner();
        let mut stats = planner.monitor().check_usage();
        if stats.needs_rotation() || planner.ages_matter() {
            // Whether it is too much is known when what may go has gone.
            if !self.is_full() {
                let before = StorageStats { is_over_limit: false, ..stats };
                self.report_levels(&mut memory, &before);
            }
            if let Err(error) = self.rotate(&mut memory) {
                tracing::error!(%error, "rotation failed; it is tried again");
            }
            stats = planner.monitor().check_usage();
        }
        if !stats.needs_rotation() {
            memory.stuck_reported = false;
        }
        self.report_levels(&mut memory, &stats);
        *self.stats.lock() = stats;
        let was_full = self.is_full.swap(stats.is_over_limit, Ordering::AcqRel);
        if stats.is_over_limit && !was_full {
            (self.when_full)();
        }
    }

    /// Rotates, unless what there is to do is what the last rotation could not do.
    fn rotate(&self, memory: &mut Memory) -> Result<(), Error> {
        let plan = self.rotator.plan(false)?;
        self.report_obstacles(memory, &plan);
        let wanted = days_of(&plan);
        let now = self.clock.read().boot;
        let is_known = memory
            .left
            .as_ref()
            .is_some_and(|(left, at)| *left == wanted && now.saturating_sub(*at) < RETRY_INTERVAL);
        if wanted.is_empty() || is_known {
            return Ok(());
        }
        let result = self.rotator.rotate_logs(false);
        let left = self.rotator.plan(false).map_or(wanted, |plan| days_of(&plan));
        memory.left = Some((left, self.clock.read().boot));
        self.count(&result?);
        Ok(())
    }

    /// Counts the warnings of a rotation.
    pub(super) fn count(&self, report: &RotationReport) {
        let warnings = report.gone.len() + report.problems.len();
        self.warnings.fetch_add(warnings as u64, Ordering::Relaxed);
    }

    fn report_levels(&self, memory: &mut Memory, stats: &StorageStats) {
        for level in memory.levels.crossed(stats) {
            match level {
                // Beyond the limit already: whether it is exceeded is reported after the deletion.
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
            (self.write_event)(&Event::StorageWarning(StorageWarning {
                at: self.clock.read().wall,
                level,
                used_bytes: stats.total_bytes,
                limit_bytes: stats.limit_bytes,
            }));
        }
    }

    /// Logs once what prevents a deletion.
    fn report_obstacles(&self, memory: &mut Memory, plan: &RetentionPlan) {
        let waits = |(_, why): &&(_, Protection)| *why == Protection::ClockNotTrusted;
        let waiting = plan.kept.iter().filter(waits).count();
        if waiting > 0 && !std::mem::replace(&mut memory.clock_reported, true) {
            tracing::warn!(
                "max_retention_days waits: {waiting} days are older, but the clock is not trusted (not synchronised, \
                 and more than 48 hours from the newest record)"
            );
        }
        memory.clock_reported &= waiting > 0;
        let is_stuck = plan.stats.needs_rotation() && plan.steps.is_empty();
        if is_stuck && !std::mem::replace(&mut memory.stuck_reported, true) {
            let reasons: std::collections::BTreeSet<_> =
                plan.kept.iter().map(|(_, why)| why.to_string()).collect();
            let reasons: Vec<_> = reasons.into_iter().collect();
            tracing::warn!(
                "Storage at {}, and nothing may be deleted: {}",
                plan.stats,
                if reasons.is_empty() {
                    "no day has events".to_owned()
                } else {
                    reasons.join("; ")
                }
            );
        }
    }
}

/// The days that a plan touches: the identity of a plan.
fn days_of(plan: &RetentionPlan) -> Vec<Day> {
    let days = plan.steps.iter().flat_map(|step| match step {
        Step::Days { days, .. } => days.iter().map(|(day, _)| *day).collect(),
        Step::Pictures { day, .. } => vec![*day],
        Step::PicturesOfToday { .. } => vec![plan.today],
    });
    days.collect()
}
