//! [`ClockTrust`]: whether the clock is to be believed before something is deleted for its age.
//!
//! A camera's clock may begin in 1970, or years ahead. What is deleted for its age cannot be had back, so the clock
//! is believed only where something vouches for it: NTP, or the journal's newest record, if it is less than 48 hours
//! away. The record must be from before the start: what is written since says what this very clock says.

use std::time::Duration;

use lenslog_journal::{ClockReading, Entry, Error, JournalView, ReaderOptions, Seq, Timestamp};

use super::kernel_clock;
use crate::util::SET_CLOCK_MICROS_MIN;

/// How far the newest record may be away.
const NEAR: Duration = Duration::from_secs(48 * 3600);

/// What vouches for the clock.
#[derive(Debug, Clone, Copy)]
pub struct ClockTrust {
    /// When the newest record from before the start was appended.
    newest: Option<Timestamp>,
    /// The clock at the start.
    start: ClockReading,
}

impl ClockTrust {
    /// Judges the clock by the journal's newest record before `opened`, the seq that was next when it was opened.
    ///
    /// # Errors
    ///
    /// Those of reading the journal.
    pub fn of(view: &JournalView, opened: Seq, start: ClockReading) -> Result<Self, Error> {
        Ok(Self { newest: newest_before(view, opened)?, start })
    }

    /// Judges a clock that no record vouches for.
    #[must_use]
    pub const fn without_record(start: ClockReading) -> Self {
        Self { newest: None, start }
    }

    /// Whether the clock is to be believed now.
    #[must_use]
    pub fn is_trusted(&self, now: ClockReading) -> bool {
        kernel_clock::is_synchronised() || self.is_near(now)
    }

    /// Whether the clocks of others may be judged by this one: it is to be believed, or nothing is there to compare it with
    /// and it was set.
    #[must_use]
    pub fn may_judge(&self, now: ClockReading) -> bool {
        let is_set = now.wall.utc_micros >= SET_CLOCK_MICROS_MIN;
        self.is_trusted(now) || (self.newest.is_none() && is_set)
    }

    /// Whether the clock, as it goes now, was near the newest record at the start: a step since then counts.
    fn is_near(&self, now: ClockReading) -> bool {
        let Some(newest) = self.newest else { return false };
        let since_start = now.boot.saturating_sub(self.start.boot);
        let micros = |time: Duration| i128::try_from(time.as_micros()).unwrap_or(i128::MAX);
        let at_start = i128::from(now.wall.utc_micros) - micros(since_start);
        (at_start - i128::from(newest.utc_micros)).abs() <= micros(NEAR)
    }
}

/// When the newest record before `end` was appended that the recovery did not append itself.
fn newest_before(view: &JournalView, end: Seq) -> Result<Option<Timestamp>, Error> {
    let floor = view.floor()?;
    for segment in view.segments()?.into_iter().rev() {
        if segment.name.base >= end {
            continue;
        }
        let mut newest = None;
        let from = segment.name.base.max(floor);
        let mut reader = view.reader(from, ReaderOptions::default())?;
        while let Some(entry) = reader.next()? {
            let Entry::Record(record) = entry else { continue };
            if record.seq >= end {
                break;
            }
            if !record.kind.is_reserved() {
                newest = Some(record.time);
            }
        }
        if newest.is_some() {
            return Ok(newest);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lenslog_journal::storage::FaultyStorage;
    use lenslog_journal::{Clock, Journal, Kind, NewRecord, Opening, Options, SimulatedClock};

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn reading(wall_hours: i64, boot_hours: u64) -> ClockReading {
        let wall = Timestamp { utc_micros: wall_hours * HOUR, offset_minutes: 60 };
        ClockReading { wall, boot: Duration::from_secs(boot_hours * 3600) }
    }

    #[test]
    fn a_record_within_48_hours_vouches_for_the_clock_until_it_steps() {
        let at = |hours: i64| Timestamp { utc_micros: hours * HOUR, offset_minutes: 60 };
        let trust = |newest, start| ClockTrust { newest, start };
        let near = trust(Some(at(1000)), reading(1047, 5));
        assert!(near.is_near(reading(1047, 5)));
        assert!(near.is_near(reading(1047 + 5000, 5 + 5000)), "time passes");
        assert!(!near.is_near(reading(1047 + 50, 5)), "a step ahead");
        assert!(near.is_near(reading(1047 - 50, 5)), "a step to where the record is");
        assert!(
            !trust(Some(at(1000)), reading(1049, 5)).is_near(reading(1049, 5)),
            "too far ahead"
        );
        assert!(!trust(Some(at(1000)), reading(0, 5)).is_near(reading(0, 5)), "1970");
        assert!(!trust(None, reading(1000, 5)).is_near(reading(1000, 5)), "nothing vouches");
    }

    #[test]
    fn a_clock_judges_others_where_it_was_set_and_nothing_contradicts_it() {
        let is_set = reading(SET_CLOCK_MICROS_MIN / HOUR, 5);
        for (newest, now, expected) in [
            (None, is_set, true),
            (None, reading(0, 5), kernel_clock::is_synchronised()),
            (Some(reading(1000, 0).wall), is_set, kernel_clock::is_synchronised()),
            (Some(is_set.wall), is_set, true),
        ] {
            assert_eq!(ClockTrust { newest, start: now }.may_judge(now), expected, "{now:?}");
        }
    }

    #[test]
    fn what_was_appended_since_the_start_vouches_for_nothing() {
        let disk = FaultyStorage::new();
        let storage = Arc::new(disk.clone());
        let clock = Arc::new(SimulatedClock::new(reading(1000, 1).wall));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let options = Options { storage, clock: shared, seed: Some(1), ..Options::default() };
        let record = NewRecord::new(Kind(1), 1, b"x");
        let journal = Journal::open("/data", &options).unwrap();
        let _ = journal.append(&[record]).unwrap();
        // Killed, not closed: each opening recovers, and appends a record of its own, in a segment of its own.
        clock.step_to(reading(20_000, 1).wall);
        let once = Arc::new(disk.snapshot());
        let _killed = Journal::open("/data", &Options { storage: once.clone(), ..options.clone() });
        clock.step_to(reading(20_100, 1).wall);
        let storage = Arc::new(once.snapshot());
        let journal = Journal::open("/data", &Options { storage, ..options }).unwrap();
        assert!(matches!(journal.opening(), Opening::Recovered { .. }));
        let opened = journal.next_seq();
        let _ = journal.append(&[record]).unwrap();
        let trust = ClockTrust::of(&journal.view(), opened, clock.read()).unwrap();
        assert_eq!(trust.newest, Some(reading(1000, 1).wall));
        assert!(!trust.is_near(clock.read()));
    }
}
