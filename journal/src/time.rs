//! Time in the journal: [`Timestamp`] (UTC microseconds and a local offset), [`Day`] (a local calendar day) and [`Clock`],
//! the only source of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, Local, NaiveDate, Offset, TimeZone, Utc};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Days between 0001-01-01 (day 1 of chrono's common era) and 1970-01-01.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;

/// An instant in UTC, with the offset of local time where and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub utc_micros: i64,
    /// Minutes that local time was ahead of UTC.
    pub offset_minutes: i16,
}

impl Timestamp {
    /// The largest offset from UTC that is accepted, in minutes.
    pub const OFFSET_MINUTES_MAX: i16 = 18 * 60;

    /// The local calendar day of this instant.
    #[must_use]
    pub const fn day(self) -> Day {
        let seconds = self
            .utc_micros
            .div_euclid(MICROS_PER_SECOND)
            .saturating_add(self.offset_minutes as i64 * 60);
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        Day(if days < Day::MIN.0 as i64 {
            Day::MIN.0
        } else if days > Day::MAX.0 as i64 {
            Day::MAX.0
        } else {
            days as i32
        })
    }

    /// This instant as a chrono value in its own offset; the epoch where chrono cannot hold it.
    #[must_use]
    pub fn to_local(self) -> DateTime<FixedOffset> {
        let offset =
            FixedOffset::east_opt(i32::from(self.offset_minutes) * 60).unwrap_or_else(|| Utc.fix());
        DateTime::from_timestamp_micros(self.utc_micros).unwrap_or_default().with_timezone(&offset)
    }

    /// The instant of a chrono value, microseconds and whole minutes of offset kept.
    #[must_use]
    pub fn from_local(time: DateTime<FixedOffset>) -> Self {
        Self {
            utc_micros: time.timestamp_micros(),
            offset_minutes: i16::try_from(time.offset().local_minus_utc() / 60).unwrap_or_default(),
        }
    }

    /// This instant moved by `micros`, the offset unchanged.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self {
            utc_micros: self.utc_micros.saturating_add(micros),
            offset_minutes: self.offset_minutes,
        }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with the offset, with as many digits of a second as are needed (none, 3 or 6).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_local().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, false);
        formatter.write_str(&text)
    }
}

/// A local calendar day, as days since 1970-01-01. Printed and parsed as `2026-11-23`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The earliest day the journal can name: 0000-01-01.
    pub const MIN: Self = Self(-719_528);
    /// The latest day the journal can name: 9999-12-31.
    pub const MAX: Self = Self(2_932_896);

    /// The day that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The day before.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Whether the day has a four-digit year.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        Self::MIN.0 <= self.0 && self.0 <= Self::MAX.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clamped = self.0.clamp(Self::MIN.0, Self::MAX.0);
        let date = NaiveDate::from_num_days_from_ce_opt(clamped.saturating_add(EPOCH_DAYS_FROM_CE))
            .unwrap_or_default();
        write!(formatter, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    }
}

/// The error of parsing a [`Day`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a day; expected YYYY-MM-DD, such as 2026-11-23")]
pub struct ParseDayError {
    /// The given text.
    pub text: String,
}

impl FromStr for Day {
    type Err = ParseDayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDayError { text: text.chars().take(40).collect() };
        let bytes = text.as_bytes();
        // chrono accepts `2026-1-2` and `+2026-01-02`; a directory name has exactly one spelling.
        let canonical = bytes.len() == 10
            && bytes.iter().enumerate().all(|(index, byte)| match index {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !canonical {
            return Err(error());
        }
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| error())?;
        Ok(Self(date.num_days_from_ce() - EPOCH_DAYS_FROM_CE))
    }
}

/// One reading of a [`Clock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// Wall-clock time.
    pub wall: Timestamp,
    /// Time since an arbitrary moment; no clock adjustment changes it, and it advances during suspend.
    pub boot: Duration,
}

/// The source of time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Reads wall-clock time and time since boot, as one pair.
    fn read(&self) -> ClockReading;
}

/// The machine's clock, in its own time zone or in a fixed one.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock {
    /// Overrides the offset of the machine's time zone.
    pub fixed_offset_minutes: Option<i16>,
}

impl Clock for SystemClock {
    fn read(&self) -> ClockReading {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let boot = Duration::new(
            u64::try_from(boot.tv_sec).unwrap_or_default(),
            u32::try_from(boot.tv_nsec).unwrap_or_default(),
        );
        let wall = Utc::now();
        let offset_minutes = self.fixed_offset_minutes.unwrap_or_else(|| {
            let seconds = Local.offset_from_utc_datetime(&wall.naive_utc()).fix().local_minus_utc();
            i16::try_from(seconds / 60).unwrap_or_default()
        });
        let wall = Timestamp { utc_micros: wall.timestamp_micros(), offset_minutes };
        ClockReading { wall, boot }
    }
}

#[cfg(any(test, feature = "simulation"))]
pub use simulated::SimulatedClock;

#[cfg(any(test, feature = "simulation"))]
mod simulated {
    use std::time::Duration;

    use super::{Clock, ClockReading, Timestamp};
    use crate::sync::Mutex;

    /// A clock for tests: it advances only when a test calls [`advance`](SimulatedClock::advance).
    #[derive(Debug)]
    pub struct SimulatedClock {
        reading: Mutex<ClockReading>,
    }

    impl SimulatedClock {
        /// A clock that shows `start` and was booted an hour before.
        #[must_use]
        pub fn new(start: Timestamp) -> Self {
            let reading = ClockReading { wall: start, boot: Duration::from_secs(3600) };
            Self { reading: Mutex::new(reading) }
        }

        /// Lets time pass, for both clocks.
        pub fn advance(&self, by: Duration) {
            self.change(|reading| {
                let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
                reading.wall = reading.wall.plus_micros(micros);
                reading.boot = reading.boot.saturating_add(by);
            });
        }

        /// Sets wall-clock time, as an NTP step or an operator would: boot time does not move.
        pub fn step_to(&self, wall: Timestamp) {
            self.change(|reading| reading.wall = wall);
        }

        fn change(&self, change: impl FnOnce(&mut ClockReading)) {
            change(&mut self.reading.lock());
        }
    }

    impl Clock for SimulatedClock {
        fn read(&self) -> ClockReading {
            *self.reading.lock()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_local(DateTime::parse_from_rfc3339(text).unwrap())
    }

    #[test]
    fn a_timestamp_belongs_to_its_own_local_day() {
        assert_eq!(at("2026-11-23T23:30:00+01:00").day().to_string(), "2026-11-23");
        assert_eq!(at("2026-11-23T00:30:00+01:00").day().to_string(), "2026-11-23");
        assert_eq!(at("2026-11-23T00:30:00-03:30").day().to_string(), "2026-11-23");
        assert_eq!(at("1969-12-31T23:59:59Z").day(), Day(-1));
    }

    #[test]
    fn days_print_and_parse_the_same_name() {
        for text in ["0000-01-01", "1970-01-01", "2000-02-29", "2026-11-23", "9999-12-31"] {
            assert_eq!(text.parse::<Day>().unwrap().to_string(), text);
        }
        assert_eq!("1970-01-01".parse(), Ok(Day(0)));
        assert_eq!("0000-01-01".parse(), Ok(Day::MIN));
        assert_eq!("9999-12-31".parse(), Ok(Day::MAX));
    }

    #[test]
    fn names_that_only_resemble_a_day_are_refused() {
        for text in ["2025-13-45", "2025-10-15.bak", "2025-1-2", "+025-01-02", "", "２０２５-01-02"]
        {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }

    #[test]
    fn timestamps_print_no_more_digits_than_they_need() {
        assert_eq!(at("2026-11-23T10:00:00+01:00").to_string(), "2026-11-23T10:00:00+01:00");
        assert_eq!(at("2026-11-23T10:00:00.25Z").to_string(), "2026-11-23T10:00:00.250+00:00");
        let micros = at("2026-11-23T10:00:00.000001-03:30");
        assert_eq!(micros.to_string(), "2026-11-23T10:00:00.000001-03:30");
    }

    #[test]
    fn extreme_timestamps_have_a_day_and_a_name() {
        for utc_micros in [i64::MIN, i64::MAX, 0] {
            for offset_minutes in [i16::MIN, i16::MAX, 0] {
                let time = Timestamp { utc_micros, offset_minutes };
                assert!(time.day().is_valid());
                assert!(!time.to_string().is_empty());
            }
        }
    }
}
