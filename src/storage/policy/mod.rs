//! What may be deleted, in which order, and why the rest stays. Pure: no I/O, no clock.
//!
//! * **Today and days after today** are never pruned. Days after today come from a clock that was wrong: they are not
//!   counted, and block nothing. Once the clock is trusted, their pictures are the first to go: at once where pictures
//!   have a bound (`max_retention_days`, `images_retention_days`), under `overwrite_oldest` when room is needed. Tomorrow
//!   may be another time zone's.
//! * **The newest N days with events** (`min_retention_days`) stay, whatever the disk says, with two exceptions:
//!   `max_retention_days`, a law, and `when_full = "overwrite_oldest"` while more than 90 % is used.
//! * **`max_retention_days = M`** keeps M days, today among them: what is M days old goes. It acts only while the
//!   clock is trusted, and so does `images_retention_days`.
//! * **A tombstone takes everything up to its day**, and never names a day before the last one: so no day is pruned
//!   while a protected one lies before it, or before the last tombstone's day.
//! * **Today's pictures**, oldest first, are what `overwrite_oldest` takes last. Event records of today stay.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use lenslog_journal::Day;

use super::stats::StorageStats;
use crate::config::{StorageConfig, WhenFull};

/// What the configuration says about deleting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Newest days with events that stay.
    pub min_retention_days: u32,
    /// Days that are kept at most, today among them; 0: no bound.
    pub max_retention_days: u32,
    /// As many days keep their pictures at most, today among them; 0: no bound.
    pub images_retention_days: u32,
    /// Rotation goes on inside `min_retention_days`.
    pub overwrite_oldest: bool,
}

impl Rules {
    /// Those of a configuration.
    #[must_use]
    pub fn of(storage: &StorageConfig) -> Self {
        Self {
            min_retention_days: storage.min_retention_days,
            max_retention_days: storage.max_retention_days,
            images_retention_days: storage.images_retention_days,
            overwrite_oldest: storage.when_full == WhenFull::OverwriteOldest,
        }
    }
}

/// A day of which there is something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayData {
    /// The day.
    pub day: Day,
    /// Bytes that pruning it gives back.
    pub bytes: u64,
    /// Bytes of its pictures, which are among them.
    pub picture_bytes: u64,
    /// There are events of it, not only figures about cameras.
    pub has_events: bool,
}

/// When rotation begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It begins above 90 % and ends below 80 %.
    Check,
    /// It begins at once and ends below 80 %, or after one day where less is used already.
    Forced,
    /// It has begun and ends below 80 %.
    Continuing {
        /// It began above 90 %, so `overwrite_oldest` may go on inside `min_retention_days`.
        was_full: bool,
    },
}

/// Everything that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Days of which there is something, each once, oldest first.
    pub days: &'a [DayData],
    /// The local day now.
    pub today: Day,
    /// The newest day that a tombstone names.
    pub pruned_through: Option<Day>,
    /// Days up to this one were tried in this rotation: what of them is still there does not go now.
    pub tried_through: Option<Day>,
    /// How much is used of how much.
    pub stats: StorageStats,
    /// What the configuration says.
    pub rules: Rules,
    /// Whether the clock is to be believed.
    pub clock_is_trusted: bool,
    /// When rotation begins and ends.
    pub mode: Mode,
}

/// Why something is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `max_retention_days` or `images_retention_days`.
    TooOld,
    /// There is no more room.
    Room,
}

/// One step of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Everything of these days.
    Days {
        /// The day that the tombstone names.
        through: Day,
        /// The days that go, oldest first, and what each gives back.
        days: Vec<(Day, u64)>,
        /// Why.
        why: Why,
    },
    /// All pictures of a day.
    Pictures {
        /// The day.
        day: Day,
        /// What they give back.
        bytes: u64,
    },
    /// The oldest pictures of today.
    PicturesOfToday {
        /// As many bytes, or all there are.
        bytes: u64,
    },
}

/// Why a day stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It is today.
    Today,
    /// It is after today.
    Future,
    /// It is among the newest days with events, of which that many stay.
    Newest(u32),
    /// It could go; there is room enough.
    Room,
    /// It is too old to stay, but the clock is not to be believed.
    ClockNotTrusted,
    /// A tombstone would take protected days with it.
    BehindProtected,
    /// It was tried just now and is still there.
    Tried,
}

impl fmt::Display for Protection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Today => formatter.write_str("today is never deleted"),
            Self::Future => formatter.write_str("it is after today: a clock was wrong"),
            Self::Newest(days) => {
                write!(formatter, "among the newest {days} days with events (min_retention_days)")
            }
            Self::Room => formatter.write_str("there is room enough"),
            Self::ClockNotTrusted => formatter.write_str(
                "older than max_retention_days, but the clock is not trusted: not synchronised, and far from the newest record",
            ),
            Self::BehindProtected => formatter
                .write_str("what was deleted last lies behind protected days: a clock was wrong"),
            Self::Tried => formatter.write_str("it could not be deleted"),
        }
    }
}

/// What goes, in which order, and why the rest stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps, if each gives back what is expected of it.
    pub steps: Vec<Step>,
    /// The days that stay, oldest first.
    pub kept: Vec<(DayData, Protection)>,
}

/// Decides.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    Planner::new(situation).plan()
}

struct Planner<'a> {
    situation: &'a Situation<'a>,
    /// Days before this one are not among the newest N with events.
    newest_from: Day,
    /// Days up to this one are too old.
    too_old: Option<Day>,
    used: u64,
    gone_through: Option<Day>,
    /// Days whose pictures go by themselves.
    without_pictures: BTreeSet<Day>,
    steps: Vec<Step>,
    blocked: bool,
}

impl<'a> Planner<'a> {
    fn new(situation: &'a Situation<'a>) -> Self {
        let rules = &situation.rules;
        Self {
            situation,
            newest_from: newest_from(situation),
            too_old: age_limit(situation.today, rules.max_retention_days)
                .filter(|_| situation.clock_is_trusted),
            used: situation.stats.total_bytes,
            gone_through: None,
            without_pictures: BTreeSet::new(),
            steps: Vec::new(),
            blocked: false,
        }
    }

    fn plan(mut self) -> Plan {
        if let Some(limit) = self.too_old {
            let old = self.days_before(limit.next());
            for data in old {
                self.prune(data, Why::TooOld, |planner, day| {
                    day <= limit || day < planner.newest_from
                });
            }
        }
        self.purge_old_pictures();
        let rules = &self.situation.rules;
        if rules.max_retention_days > 0 || rules.images_retention_days > 0 {
            self.purge_future_pictures(|_| true);
        }
        let was_full = match self.situation.mode {
            Mode::Continuing { was_full } => was_full,
            Mode::Check | Mode::Forced => self.stats().needs_rotation(),
        };
        self.make_room(was_full);
        Plan { kept: self.kept(), steps: self.steps }
    }

    fn purge_old_pictures(&mut self) {
        let Situation { today, rules, clock_is_trusted, .. } = *self.situation;
        let Some(limit) = age_limit(today, rules.images_retention_days) else { return };
        if !clock_is_trusted {
            return;
        }
        for data in self.days_before(limit.next()) {
            if data.picture_bytes > 0 && !self.is_gone(data.day) {
                self.steps.push(Step::Pictures { day: data.day, bytes: data.picture_bytes });
                self.used = self.used.saturating_sub(data.picture_bytes);
                self.without_pictures.insert(data.day);
            }
        }
    }

    /// Pictures of days that a wrong clock named, as long as `goes_on`.
    fn purge_future_pictures(&mut self, goes_on: impl Fn(&Self) -> bool) {
        let Situation { days, today, clock_is_trusted, .. } = *self.situation;
        let is_meant = |data: &&DayData| data.day > today.next() && data.picture_bytes > 0;
        for data in days.iter().filter(is_meant).filter(|_| clock_is_trusted) {
            if !goes_on(self) {
                return;
            }
            if self.without_pictures.insert(data.day) {
                self.steps.push(Step::Pictures { day: data.day, bytes: data.picture_bytes });
                self.used = self.used.saturating_sub(data.picture_bytes);
            }
        }
    }

    fn make_room(&mut self, was_full: bool) {
        let Situation { today, rules, mode, .. } = *self.situation;
        let overwrites = rules.overwrite_oldest && was_full;
        let end = if overwrites { today } else { self.newest_from };
        let begins = match mode {
            Mode::Check => was_full,
            Mode::Forced => true,
            Mode::Continuing { .. } => !self.stats().is_below_target(),
        };
        if !begins {
            return;
        }
        if overwrites {
            self.purge_future_pictures(|planner| !planner.stats().is_below_target());
        }
        for data in self.days_before(end) {
            if self.is_gone(data.day) {
                continue;
            }
            if overwrites && self.stats().is_below_target() {
                break;
            }
            self.prune(data, Why::Room, |_, day| day < end);
            if self.stats().is_below_target() {
                break;
            }
        }
        let stats = self.stats();
        if overwrites && !stats.is_below_target() {
            let pictures = self.situation.days.iter().find(|data| data.day == today);
            let wanted = stats.total_bytes - target(stats.limit_bytes);
            let bytes = pictures.map_or(0, |data| data.picture_bytes).min(wanted);
            if bytes > 0 {
                self.steps.push(Step::PicturesOfToday { bytes });
                self.used = self.used.saturating_sub(bytes);
            }
        }
    }

    /// Prunes a day and everything that its tombstone takes with it, if all of that may go.
    fn prune(&mut self, data: DayData, why: Why, goes: impl Fn(&Self, Day) -> bool) {
        if self.is_gone(data.day) {
            return;
        }
        let Situation { today, pruned_through, .. } = *self.situation;
        let through = pruned_through.map_or(data.day, |last| last.max(data.day));
        let taken: Vec<_> = self
            .days_before(through.next())
            .into_iter()
            .filter(|data| !self.is_gone(data.day))
            .collect();
        let all_go = through < today && taken.iter().all(|data| goes(self, data.day));
        if !all_go {
            self.blocked = true;
            return;
        }
        let left = |data: &DayData| match self.without_pictures.contains(&data.day) {
            true => data.bytes.saturating_sub(data.picture_bytes),
            false => data.bytes,
        };
        let days: Vec<_> = taken.iter().map(|data| (data.day, left(data))).collect();
        let bytes: u64 = days.iter().map(|(_, bytes)| bytes).sum();
        self.used = self.used.saturating_sub(bytes);
        self.gone_through = Some(through);
        self.steps.push(Step::Days { through, days, why });
    }

    fn days_before(&self, end: Day) -> Vec<DayData> {
        let tried = self.situation.tried_through;
        let is_meant =
            |data: &&DayData| data.day < end && tried.is_none_or(|tried| data.day > tried);
        self.situation.days.iter().filter(is_meant).copied().collect()
    }

    fn is_gone(&self, day: Day) -> bool {
        self.gone_through.is_some_and(|through| day <= through)
    }

    fn stats(&self) -> StorageStats {
        StorageStats::new(self.used, self.situation.stats.limit_bytes)
    }

    fn kept(&self) -> Vec<(DayData, Protection)> {
        let Situation { today, rules, clock_is_trusted, tried_through, .. } = *self.situation;
        let limit = age_limit(today, rules.max_retention_days);
        let stay = self.situation.days.iter().filter(|data| !self.is_gone(data.day));
        stay.map(|data| {
            let day = data.day;
            let protection = if day == today {
                Protection::Today
            } else if day > today {
                Protection::Future
            } else if tried_through.is_some_and(|tried| day <= tried) {
                Protection::Tried
            } else if !clock_is_trusted && limit.is_some_and(|limit| day <= limit) {
                Protection::ClockNotTrusted
            } else if day >= self.newest_from {
                Protection::Newest(rules.min_retention_days)
            } else if self.blocked {
                Protection::BehindProtected
            } else {
                Protection::Room
            };
            (*data, protection)
        })
        .collect()
    }
}

/// The first of the newest N days with events up to today; everything before may go. Where there are fewer than N,
/// nothing may.
fn newest_from(situation: &Situation<'_>) -> Day {
    let Situation { days, today, rules, .. } = *situation;
    let with_events = days.iter().rev().filter(|data| data.has_events && data.day <= today);
    match usize::try_from(rules.min_retention_days) {
        Ok(0) => today,
        Ok(count) => with_events.map(|data| data.day).nth(count - 1).unwrap_or(Day::MIN),
        Err(_) => Day::MIN,
    }
}

/// The newest day that is that many days old; `None` where there is no bound.
fn age_limit(today: Day, days: u32) -> Option<Day> {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    (days > 0).then(|| Day(today.0.saturating_sub(days)))
}

/// The largest usage that is below the target.
fn target(limit_bytes: u64) -> u64 {
    let at = u128::from(limit_bytes) * u128::from(super::stats::TARGET_PERCENT);
    u64::try_from(at.div_ceil(100).saturating_sub(1)).unwrap_or(u64::MAX)
}
