//! [`RetentionPlanner`]: counts what each day takes and has the policy decide what may go. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lenslog_control::{GoneDay, KeptDay, RotationReport};
use lenslog_journal::{Clock, Day, Error, JournalView, Seq};

use super::clock_trust::ClockTrust;
use super::monitor::StorageMonitor;
use super::policy::{self, DayData, Mode, Plan, Protection, Rules, Situation, Step, Why};
use super::stats::StorageStats;
use crate::config::Config;

/// Counts what each day takes, and has the policy decide.
#[derive(Debug, Clone)]
pub struct RetentionPlanner {
    monitor: Arc<StorageMonitor>,
    view: JournalView,
    rules: Rules,
    clock: Arc<dyn Clock>,
    ages_matter: bool,
    trust: ClockTrust,
}

/// What each day takes, and what may be deleted.
#[derive(Debug, Clone)]
pub struct RetentionPlan {
    /// How much is used of how much.
    pub stats: StorageStats,
    /// Days of which there is something, oldest first.
    pub days: Vec<DayData>,
    /// The local day.
    pub today: Day,
    /// Days from this one on were named by a clock that was wrong, if that is certain.
    pub wrong_from: Option<Day>,
    /// The steps that make room, if each frees what is expected of it.
    pub steps: Vec<Step>,
    /// The days that stay, oldest first, and why.
    pub kept: Vec<(DayData, Protection)>,
}

impl RetentionPlanner {
    /// Plans for the journal of `view` and the usage that `monitor` counts.
    ///
    /// `opened` is the seq that was next when the journal was opened.
    #[must_use]
    pub fn new(
        config: &Config,
        monitor: Arc<StorageMonitor>,
        view: JournalView,
        clock: Arc<dyn Clock>,
        opened: Seq,
    ) -> Self {
        let rules = Rules::of(&config.storage);
        let ages_matter = rules.max_retention_days > 0 || rules.images_retention_days > 0;
        let start = clock.read();
        let trust = ClockTrust::of(&view, opened, start).unwrap_or_else(|error| {
            tracing::warn!(%error, "the newest record cannot be read: it does not vouch for the clock");
            ClockTrust::without_record(start)
        });
        Self { monitor, view, rules, clock, ages_matter, trust }
    }

    /// The monitor that counts usage.
    #[must_use]
    pub fn monitor(&self) -> &Arc<StorageMonitor> {
        &self.monitor
    }

    pub(super) const fn clock_trust(&self) -> ClockTrust {
        self.trust
    }

    pub(super) fn view(&self) -> &JournalView {
        &self.view
    }

    /// Whether anything is to be deleted for its age.
    #[must_use]
    pub fn ages_matter(&self) -> bool {
        self.ages_matter
    }

    /// Counts everything once and plans. `tried_through`: days that this rotation has tried already; `without_pictures`: days
    /// whose pictures cannot be purged.
    ///
    /// # Errors
    ///
    /// Those of reading the journal.
    pub fn plan(
        &self,
        mode: Mode,
        tried_through: Option<Day>,
        without_pictures: &BTreeMap<Day, u64>,
    ) -> Result<RetentionPlan, Error> {
        let stats = self.monitor.check_usage();
        let now = self.clock.read();
        let today = now.wall.day();
        let days = self.days()?;
        let mut considered = days.clone();
        for data in &mut considered {
            if without_pictures.get(&data.day) == Some(&data.picture_bytes) {
                data.picture_bytes = 0;
            }
        }
        let clock_is_trusted = self.trust.is_trusted(now);
        let Plan { steps, kept } = policy::plan(&Situation {
            days: &considered,
            today,
            pruned_through: self.view.pruned_through()?,
            tried_through,
            stats,
            rules: self.rules,
            clock_is_trusted,
            mode,
        });
        let wrong_from = wrong_from(today, clock_is_trusted);
        Ok(RetentionPlan { stats, days, today, wrong_from, steps, kept })
    }

    /// The directories of the days, the rows as far as they can be guessed, and the segments: each counts for the
    /// newest day that it holds.
    fn days(&self) -> Result<Vec<DayData>, Error> {
        let mut days: BTreeMap<Day, DayData> =
            self.monitor.days().into_iter().map(|data| (data.day, data)).collect();
        // Rows are as many as lines, by and large.
        let texts = |data: &DayData| match data.has_events {
            true => data.bytes.saturating_sub(data.picture_bytes),
            false => 0,
        };
        let all: u128 = days.values().map(|data| u128::from(texts(data))).sum();
        let rows = u128::from(self.monitor.database_used());
        for data in days.values_mut() {
            let share = (rows * u128::from(texts(data))).checked_div(all).unwrap_or(0);
            data.bytes += u64::try_from(share).unwrap_or(0);
        }
        for (_, day, bytes) in self.segments()? {
            let none = DayData { day, bytes: 0, picture_bytes: 0, has_events: false };
            days.entry(day).or_insert(none).bytes += bytes;
        }
        Ok(days.into_values().collect())
    }

    /// The sealed segments: where each begins, its newest day, its bytes. A day that a wrong clock named is not the
    /// newest: what lies before and after it is from its time.
    pub(super) fn segments(&self) -> Result<Vec<(Seq, Day, u64)>, Error> {
        let segments = self.view.segments()?;
        let now = self.clock.read();
        let wrong_from = wrong_from(now.wall.day(), self.trust.is_trusted(now));
        let sealed = segments.iter().filter_map(|segment| {
            let (oldest, newest) = segment.sealed?.days?;
            let day = match wrong_from {
                Some(from) if newest >= from => oldest.min(now.wall.day()),
                _ => newest,
            };
            Some((segment.name.base, day, segment.bytes))
        });
        Ok(sealed.collect())
    }
}

/// Days from this one on were named by a clock that was wrong; `None` while this machine's may be the one. Tomorrow may
/// be another time zone's.
fn wrong_from(today: Day, clock_is_trusted: bool) -> Option<Day> {
    clock_is_trusted.then(|| today.next().next())
}

impl RetentionPlan {
    /// Returns the report of a rotation that deletes nothing.
    #[must_use]
    pub fn dry_run(&self) -> RotationReport {
        let gone: Vec<_> = self.steps.iter().flat_map(|step| self.gone(step)).collect();
        let freed: u64 = gone.iter().map(|gone| gone.bytes).sum();
        let left = self.stats.total_bytes.saturating_sub(freed);
        let after = StorageStats::new(left, self.stats.limit_bytes);
        RotationReport {
            dry_run: true,
            before: self.stats.to_string(),
            after: after.to_string(),
            is_over_limit: after.is_over_limit,
            gone,
            kept: self.kept_days(),
            problems: Vec::new(),
        }
    }

    fn gone(&self, step: &Step) -> Vec<GoneDay> {
        let gone = |day: Day, bytes, pictures_only, too_old| GoneDay {
            day: day.to_string(),
            bytes,
            pictures_only,
            too_old,
        };
        match step {
            Step::Days { days, why, .. } => {
                let too_old = *why == Why::TooOld;
                days.iter().map(|(day, bytes)| gone(*day, *bytes, false, too_old)).collect()
            }
            Step::Pictures { day, bytes } => vec![gone(*day, *bytes, true, true)],
            Step::PicturesOfToday { bytes } => vec![gone(self.today, *bytes, true, false)],
        }
    }

    /// The days that stay, and why, in words.
    pub(super) fn kept_days(&self) -> Vec<KeptDay> {
        let days = self.kept.iter();
        days.map(|(data, protection)| KeptDay {
            day: data.day.to_string(),
            bytes: data.bytes,
            reason: protection.to_string(),
        })
        .collect()
    }

    /// In how many days everything is full, if each brings as much as those before; `None` before there is a forecast.
    #[must_use]
    pub fn days_until_full(&self) -> Option<u64> {
        let past = self.days.iter().filter(|data| data.has_events && data.day < self.today);
        let count = past.count() as u64;
        let left = self.stats.limit_bytes.saturating_sub(self.stats.total_bytes);
        let per_day = self.stats.total_bytes.checked_div(count)?;
        left.checked_div(per_day)
    }
}
