//! [`Surveyor`]: looks at what there is and asks the policy what may go. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lenslog_journal::{Clock, Day, Error, JournalView, Seq};

use super::clock_trust::ClockTrust;
use super::monitor::StorageMonitor;
use super::policy::{DayData, Mode, Plan, Rules, Situation, plan};
use super::stats::StorageStats;
use crate::config::Config;

/// Looks at what there is.
#[derive(Debug, Clone)]
pub struct Surveyor {
    monitor: Arc<StorageMonitor>,
    view: JournalView,
    rules: Rules,
    clock: Arc<dyn Clock>,
    ages_matter: bool,
    trust: Option<ClockTrust>,
}

/// What was found, and what may go.
#[derive(Debug, Clone)]
pub struct Survey {
    /// How much is used of how much.
    pub stats: StorageStats,
    /// Days of which there is something, oldest first.
    pub days: Vec<DayData>,
    /// The local day.
    pub today: Day,
    /// What may go.
    pub plan: Plan,
}

impl Surveyor {
    /// Looks at the journal of `view` and what `monitor` counts. `opened` is the seq that was next when the journal
    /// was opened.
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
        let clock_matters = ages_matter || rules.overwrite_oldest;
        let trust = clock_matters.then(|| {
            let start = clock.read();
            ClockTrust::of(&view, opened, start).unwrap_or_else(|error| {
                tracing::warn!(%error, "the newest record cannot be read: it does not vouch for the clock");
                ClockTrust::without_witness(start)
            })
        });
        Self { monitor, view, rules, clock, ages_matter, trust }
    }

    /// What counts usage.
    #[must_use]
    pub fn monitor(&self) -> &Arc<StorageMonitor> {
        &self.monitor
    }

    pub(super) fn view(&self) -> &JournalView {
        &self.view
    }

    /// Whether anything is to be deleted for its age.
    #[must_use]
    pub fn ages_matter(&self) -> bool {
        self.ages_matter
    }

    /// Looks at everything once. `tried_through`: days that this rotation has tried already; `without_pictures`: days
    /// whose pictures nobody knows how to purge.
    ///
    /// # Errors
    ///
    /// Those of reading the journal.
    pub fn survey(
        &self,
        mode: Mode,
        tried_through: Option<Day>,
        without_pictures: &BTreeMap<Day, u64>,
    ) -> Result<Survey, Error> {
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
        let plan = plan(&Situation {
            days: &considered,
            today,
            pruned_through: self.view.pruned_through()?,
            tried_through,
            stats,
            rules: self.rules,
            clock_is_trusted: self.trust.is_some_and(|trust| trust.is_trusted(now)),
            mode,
        });
        Ok(Survey { stats, days, today, plan })
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

    /// The sealed segments: where each begins, its newest day, its bytes.
    pub(super) fn segments(&self) -> Result<Vec<(Seq, Day, u64)>, Error> {
        let segments = self.view.segments()?;
        let sealed = segments.iter().filter_map(|segment| {
            let (_, newest) = segment.sealed?.days?;
            Some((segment.name.base, newest, segment.bytes))
        });
        Ok(sealed.collect())
    }
}

impl Survey {
    /// In how many days everything is full, if each brings as much as those before; `None` where nothing tells yet.
    #[must_use]
    pub fn days_until_full(&self) -> Option<u64> {
        let past = self.days.iter().filter(|data| data.has_events && data.day < self.today);
        let count = past.count() as u64;
        let left = self.stats.limit_bytes.saturating_sub(self.stats.total_bytes);
        let per_day = self.stats.total_bytes.checked_div(count)?;
        left.checked_div(per_day)
    }
}
