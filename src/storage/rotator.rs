//! [`LogRotator`]: deletes what the policy says, step by step.
//!
//! A step is a tombstone in the journal, which every projection applies like any other record: rows, day files and
//! pictures go. When they have, or after a bounded time, the segments that the tombstone names are unlinked. Cut off
//! anywhere, the next start finishes the step: the tombstone says for ever what goes.
//!
//! Deciding is left to [`policy`](super::policy), which decides again after every step.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lenslog_control::{GoneDay, RotationReport};
use lenslog_engine::{Behind, Runner};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::{Day, Error, Journal, Seq};
use parking_lot::Mutex;

use super::ballast::Ballast;
use super::pictures::{self, Picture};
use super::policy::{Mode, Protection, Step, Why};
use super::retention::{RetentionPlan, RetentionPlanner};
use super::stats::StorageStats;
use super::units::Megabytes;
use crate::config::StorageConfig;

/// A step waits for the projections this long at most.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long nothing may move before it is looked whether waiting makes sense.
const STALL_TIMEOUT: Duration = Duration::from_millis(250);
/// Projections that fail are waited for no longer than this.
const STUCK_TIMEOUT: Duration = Duration::from_secs(5);
/// So many steps in a row may give back less than half of what is expected: one file that cannot be deleted stops
/// nothing, a medium that gives nothing back does.
const SHORT_STEPS_MAX: u32 = 3;
/// Less than that is not worth talking about.
const WORTH_BYTES: u64 = 64 << 10;
/// Pictures made less than this before a tombstone stay with it: their events may be on the way. Those that the
/// journal knows already are purged by name.
const ON_THE_WAY: Duration = Duration::from_secs(120);
/// Name of the projection that is the database.
const DATABASE: &str = "sqlite";
/// Records appended at once.
const BATCH: usize = 1000;

/// Deletes by date.
#[derive(Debug)]
pub struct LogRotator {
    journal: Journal,
    runner: Arc<Runner>,
    planner: RetentionPlanner,
    data: PathBuf,
    ballast: Ballast,
    stop: Arc<AtomicBool>,
    /// One rotation at a time; days whose pictures are left over, with their bytes.
    left_over: Mutex<BTreeMap<Day, u64>>,
}

/// One rotation on its way.
struct Rotation<'a> {
    rotator: &'a LogRotator,
    left_over: &'a mut BTreeMap<Day, u64>,
    mode: Mode,
    tried_through: Option<Day>,
    short_steps: u32,
    report: RotationReport,
}

impl LogRotator {
    /// Deletes in the data directory of `storage`, through a journal and the projections that `runner` runs. `stop`
    /// ends a rotation after the step it is in.
    #[must_use]
    pub fn new(
        journal: Journal,
        runner: Arc<Runner>,
        planner: RetentionPlanner,
        storage: &StorageConfig,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let (data, ballast) = (storage.data_dir.clone(), Ballast::of(storage));
        Self { journal, runner, planner, data, ballast, stop, left_over: Mutex::default() }
    }

    /// What looks at what there is.
    #[must_use]
    pub fn planner(&self) -> &RetentionPlanner {
        &self.planner
    }

    /// Deletes what has to go: days and pictures that are too old, and, above 90 %, the oldest days until less than
    /// 80 % are used. `force` begins below 90 % too, and ends after one day where less than 80 % are used already.
    ///
    /// Each day is a WARNING and a line of the report. What could not be deleted is reported, stops nothing else, and
    /// is tried again by the projections.
    ///
    /// # Errors
    ///
    /// Those of the journal: what was deleted until then stays deleted.
    pub fn rotate_logs(&self, force: bool) -> Result<RotationReport, Error> {
        let mut left_over = self.left_over.lock();
        let mode = if force { Mode::Forced } else { Mode::Check };
        let rotation = Rotation {
            rotator: self,
            left_over: &mut left_over,
            mode,
            tried_through: None,
            short_steps: 0,
            report: RotationReport::default(),
        };
        rotation.run()
    }

    /// What [`LogRotator::rotate_logs`] would do now.
    ///
    /// # Errors
    ///
    /// Those of reading the journal.
    pub fn plan(&self, force: bool) -> Result<RetentionPlan, Error> {
        let left_over = self.left_over.lock();
        let mode = if force { Mode::Forced } else { Mode::Check };
        self.planner.plan(mode, None, &left_over)
    }

    /// Waits, a bounded time, until the projections have applied everything before `seq`; names those that have not.
    fn wait(&self, seq: Seq) -> Vec<&'static str> {
        let start = Instant::now();
        loop {
            let behind = Behind::names_in(self.runner.wait_for(seq, STALL_TIMEOUT));
            let status = self.runner.status();
            let stuck = status
                .iter()
                .filter(|status| behind.contains(&status.name))
                .all(|status| status.state.is_degraded());
            // They try again after a pause, and what is deleted may be what they wait for.
            let stuck = stuck && start.elapsed() >= STUCK_TIMEOUT;
            let is_over = start.elapsed() >= WAIT_MAX || self.stop.load(Ordering::Acquire);
            if behind.is_empty() || stuck || is_over {
                return behind;
            }
        }
    }

    /// Whether there is too little room for nothing but a database on a disk of its own, and it cannot be written even
    /// so: no row goes before it can, and days would go for nothing.
    fn waits_for_database(&self, stats: &StorageStats) -> Result<bool, Error> {
        let elsewhere = || self.planner.monitor().usage_without_database_disk();
        if stats.is_below_target() || !elsewhere().is_below_target() {
            return Ok(false);
        }
        let head = self.planner.view().head()?;
        let mut is_stuck = self.database_is_stuck(head);
        if is_stuck && self.ballast.release_beside_database() {
            is_stuck = self.database_is_stuck(head);
        }
        Ok(is_stuck)
    }

    /// Whether the database does not get as far as that, because it cannot be written.
    fn database_is_stuck(&self, head: Seq) -> bool {
        let is_behind = self.wait(head).contains(&DATABASE);
        let status = self.runner.status();
        let mut database = status.iter().filter(|status| status.name == DATABASE);
        is_behind && database.any(|status| status.state.is_degraded())
    }

    /// Journals that pictures go, and waits until they have.
    fn purge(&self, pictures: &[Picture]) -> Result<(), Error> {
        for batch in pictures.chunks(BATCH) {
            let encoded: Vec<_> = batch
                .iter()
                .map(|picture| RecorderCodec::encode(&Event::ImagePurged(picture.purged.clone())))
                .collect();
            let records: Vec<_> = encoded.iter().map(lenslog_engine::Encoded::as_record).collect();
            for appended in self.journal.append_each(&records) {
                let _ = appended?;
            }
            self.wait(self.planner.view().head()?);
        }
        Ok(())
    }

    /// The bytes that the directory of each day takes.
    fn directories(&self) -> BTreeMap<Day, u64> {
        self.planner.monitor().check_usage();
        self.planner.monitor().days().iter().map(|data| (data.day, data.bytes)).collect()
    }

    fn was_touched_just_now(&self, day: Day) -> bool {
        let path = self.data.join("events").join(day.to_string());
        let modified = fs::symlink_metadata(path).and_then(|found| found.modified());
        // A time ahead of the clock says that the clock went back.
        modified.is_ok_and(|at| at.elapsed().map_or(true, |age| age < ON_THE_WAY))
    }
}

impl Rotation<'_> {
    fn run(mut self) -> Result<RotationReport, Error> {
        let mut first = true;
        let plan = loop {
            let plan = self.rotator.planner.plan(self.mode, self.tried_through, self.left_over)?;
            if std::mem::take(&mut first) {
                self.report.before = plan.stats.to_string();
            }
            let Some(step) = plan.steps.first().cloned() else { break plan };
            if self.rotator.stop.load(Ordering::Acquire) || !self.take(&plan, step)? {
                break plan;
            }
        };
        let stats = self.rotator.planner.monitor().check_usage();
        self.rotator.ballast.make();
        self.report.after = stats.to_string();
        self.report.is_over_limit = stats.is_over_limit;
        let gone: Vec<_> = self.report.gone.iter().map(|gone| gone.day.clone()).collect();
        self.report.kept = plan.kept_days();
        self.report.kept.retain(|kept| !gone.contains(&kept.day) || kept.bytes > 0);
        for (data, protection) in &plan.kept {
            if *protection == Protection::Tried && data.bytes > 0 {
                let (day, left) = (data.day, Megabytes(data.bytes));
                self.problem(format!("{day} could not be deleted: {left} of it are left"));
            }
        }
        Ok(self.report)
    }

    /// Takes a step; says whether it makes sense to go on.
    fn take(&mut self, plan: &RetentionPlan, step: Step) -> Result<bool, Error> {
        let makes_room = match &step {
            Step::Days { why, .. } => *why == Why::Room,
            Step::PicturesOfToday { .. } => true,
            Step::Pictures { .. } => false,
        };
        if makes_room && self.rotator.waits_for_database(&plan.stats)? {
            self.problem(
                "the disk of the database is full, and deleting days gives it no room while the database cannot be \
                 written; free some there, or delete the database: it is rebuilt from the journal"
                    .to_owned(),
            );
            return Ok(false);
        }
        let before = self.mode;
        if makes_room && !matches!(self.mode, Mode::Continuing { .. }) {
            self.mode = Mode::Continuing { was_full: plan.stats.needs_rotation() };
        }
        self.rotator.ballast.release_if_full(&self.rotator.journal);
        let gone_before = self.report.gone.len();
        let goes_on = self.take_step(plan, step)?;
        if self.report.gone.len() == gone_before {
            // What gave nothing back is not the one day that was asked for.
            self.mode = before;
        }
        Ok(goes_on)
    }

    fn take_step(&mut self, plan: &RetentionPlan, step: Step) -> Result<bool, Error> {
        match step {
            Step::Days { through, days, why } => self.prune((through, plan.wrong_from), &days, why),
            Step::Pictures { day, .. } => {
                self.purge(day, u64::MAX)?;
                self.left_over.insert(day, self.picture_bytes(day));
                Ok(true)
            }
            Step::PicturesOfToday { bytes } => {
                let freed = self.purge(plan.today, bytes)?;
                if freed == 0 {
                    self.problem(
                        "no picture of today that an event names is left to delete".to_owned(),
                    );
                }
                Ok(freed > 0)
            }
        }
    }

    fn prune(
        &mut self,
        (through, wrong_from): (Day, Option<Day>),
        days: &[(Day, u64)],
        why: Why,
    ) -> Result<bool, Error> {
        let rotator = self.rotator;
        self.tried_through = Some(through);
        let directories = rotator.directories();
        self.purge_young(days);
        let free_before = rotator.planner.monitor().database_free();
        let segments = rotator.planner.segments()?;
        let pruned_before = rotator.planner.view().pruned_through()?;
        let pruned = match wrong_from {
            Some(from) => rotator.journal.prune_around(through, from)?,
            None => rotator.journal.prune_through(through)?,
        };
        let mut behind = rotator.wait(pruned.tombstone.next());
        // Their word counts, not what the file system says is free.
        if !behind.is_empty() && rotator.ballast.release(&rotator.journal) {
            behind = rotator.wait(pruned.tombstone.next());
        }
        if !behind.is_empty() {
            self.problem(format!(
                "{} will follow later: not everything of the days up to {through} is gone yet",
                behind.join(", ")
            ));
        }
        let unlinked = rotator.journal.unlink_pruned()?;
        for (path, error) in &unlinked.failed {
            self.problem(format!("{} cannot be removed: {error}", path.display()));
        }
        rotator.planner.monitor().shorten_database_log();
        let after = rotator.directories();
        let mut freed: BTreeMap<Day, u64> = BTreeMap::new();
        for (day, before) in directories.range(..=through) {
            let left = after.get(day).copied().unwrap_or(0);
            *freed.entry(*day).or_default() += before.saturating_sub(left);
        }
        // What could not be deleted earlier says nothing about this step.
        let of_step = |day: &Day| days.iter().any(|(of_step, _)| of_step == day);
        let from_directories = freed.iter().filter(|(day, _)| of_step(day)).map(|(_, b)| b).sum();
        for segment in &pruned.segments {
            // What was sealed just now is not in the list yet.
            let known = segments.iter().find(|(base, ..)| segment.range.contains(*base));
            if let Some((_, day, bytes)) = known {
                *freed.entry(*day).or_default() += bytes;
            }
        }
        let rows = rotator.planner.monitor().database_free().saturating_sub(free_before);
        if let Some((day, _)) = days.last() {
            *freed.entry(*day).or_default() += rows;
        }
        for (day, _) in days {
            let bytes = freed.get(day).copied().unwrap_or(0);
            // A day that was pruned before and still cannot be deleted is a problem, not a deletion.
            if bytes > 0 || pruned_before.is_none_or(|before| *day > before) {
                self.gone(*day, bytes, why);
            }
        }
        if let Some(from) = pruned.wrong_from {
            for (day, before) in directories.range(from..) {
                let left = after.get(day).copied().unwrap_or(0);
                if left == 0 {
                    self.gone(*day, *before, why);
                }
            }
        }
        let expected = directories.iter().filter(|(day, _)| of_step(day)).map(|(_, b)| b).sum();
        Ok(self.gave_back(from_directories, expected, through))
    }

    /// Counts steps that give too little back; says whether to go on.
    fn gave_back(&mut self, freed: u64, expected: u64, through: Day) -> bool {
        if expected <= WORTH_BYTES || freed >= expected / 2 {
            self.short_steps = 0;
            return true;
        }
        self.problem(format!(
            "the days up to {through} gave back {} of {}",
            Megabytes(freed),
            Megabytes(expected)
        ));
        self.short_steps += 1;
        if self.short_steps >= SHORT_STEPS_MAX {
            self.problem("rotation ends: deleting gives no room back".to_owned());
        }
        self.short_steps < SHORT_STEPS_MAX
    }

    /// Pictures that were made just now stay with a tombstone, unless they are purged by name. What does not work
    /// here goes with the next tombstone.
    fn purge_young(&mut self, days: &[(Day, u64)]) {
        for (day, _) in days {
            if !self.rotator.was_touched_just_now(*day) {
                continue;
            }
            let rotator = self.rotator;
            let purged = pictures::of_day(rotator.planner.view(), &rotator.data, *day, u64::MAX)
                .and_then(|pictures| rotator.purge(&pictures));
            if let Err(error) = purged {
                tracing::debug!(%day, %error, "pictures made just now stay until the next rotation");
            }
        }
    }

    /// Purges the oldest pictures of a day, that many bytes of them, and says how many bytes that gave back.
    fn purge(&mut self, day: Day, wanted: u64) -> Result<u64, Error> {
        let rotator = self.rotator;
        let before = self.picture_bytes(day);
        let pictures = pictures::of_day(rotator.planner.view(), &rotator.data, day, wanted)?;
        rotator.purge(&pictures)?;
        let freed = before.saturating_sub(self.picture_bytes(day));
        if !pictures.is_empty() {
            let (count, megabytes) = (pictures.len(), Megabytes(freed));
            let why =
                if wanted == u64::MAX { "Pictures too old" } else { "Storage limit approaching" };
            tracing::warn!("{why}, deleting pictures: {day}, {count} (freed {megabytes})");
            self.report.gone.push(GoneDay {
                day: day.to_string(),
                bytes: freed,
                pictures_only: true,
                too_old: wanted == u64::MAX,
            });
        }
        Ok(freed)
    }

    fn picture_bytes(&self, day: Day) -> u64 {
        let monitor = self.rotator.planner.monitor();
        monitor.check_usage();
        monitor.days().iter().find(|data| data.day == day).map_or(0, |data| data.picture_bytes)
    }

    fn gone(&mut self, day: Day, bytes: u64, why: Why) {
        let freed = Megabytes(bytes);
        match why {
            Why::Room => {
                tracing::warn!(
                    "Storage limit approaching, deleting old logs: {day} (freed {freed})"
                );
            }
            Why::TooOld => {
                tracing::warn!("Retention limit reached, deleting old logs: {day} (freed {freed})");
            }
        }
        self.report.gone.push(GoneDay {
            day: day.to_string(),
            bytes,
            pictures_only: false,
            too_old: why == Why::TooOld,
        });
    }

    fn problem(&mut self, text: String) {
        tracing::error!("rotation: {text}");
        self.report.problems.push(text);
    }
}
