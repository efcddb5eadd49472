//! [`LocalOffset`], which local time belongs to an instant of UTC, for pictures that do not say it themselves.

use chrono::{DateTime, Local, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use lenslog_journal::Timestamp;

/// Where local time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalOffset {
    /// The machine's time zone, daylight saving time included.
    #[default]
    System,
    /// Always this many minutes ahead of UTC.
    FixedMinutes(i16),
}

impl LocalOffset {
    /// The instant `utc_micros` with the offset that local time has then.
    #[must_use]
    pub fn at(self, utc_micros: i64) -> Timestamp {
        let offset_minutes = match self {
            Self::FixedMinutes(minutes) => minutes,
            Self::System => {
                let utc = DateTime::from_timestamp_micros(utc_micros).unwrap_or_default();
                minutes_of(Local.offset_from_utc_datetime(&utc.naive_utc()).fix())
            }
        };
        Timestamp { utc_micros, offset_minutes }
    }

    /// The instant at which clocks on the wall show `local`.
    ///
    /// The hour that autumn repeats is taken the first time. An hour that spring skips does not exist; it is
    /// read with the offset that holds an hour earlier, as a camera that missed the change would have meant.
    #[must_use]
    pub fn resolve(self, local: NaiveDateTime) -> Timestamp {
        let offset_minutes = match self {
            Self::FixedMinutes(minutes) => minutes,
            Self::System => match Local.offset_from_local_datetime(&local) {
                LocalResult::Single(offset) => minutes_of(offset.fix()),
                // In which order they come depends on how the zone is described. Further ahead of UTC is earlier.
                LocalResult::Ambiguous(one, other) => {
                    minutes_of(one.fix()).max(minutes_of(other.fix()))
                }
                LocalResult::None => {
                    let earlier = local.checked_sub_signed(TimeDelta::hours(1)).unwrap_or(local);
                    let offset = Local.offset_from_local_datetime(&earlier).latest();
                    let as_if_utc = || self.at(earlier.and_utc().timestamp_micros());
                    offset.map_or_else(
                        || as_if_utc().offset_minutes,
                        |offset| minutes_of(offset.fix()),
                    )
                }
            },
        };
        let utc = Utc.from_utc_datetime(&local).timestamp_micros();
        let utc_micros = utc.saturating_sub(i64::from(offset_minutes) * 60_000_000);
        Timestamp { utc_micros, offset_minutes }
    }

    /// As [`LocalOffset::resolve`], but of the hour that autumn repeats the latest reading that is not after
    /// `utc_micros`.
    #[must_use]
    pub fn resolve_not_after(self, local: NaiveDateTime, utc_micros: i64) -> Timestamp {
        let first = self.resolve(local);
        let Self::System = self else { return first };
        let LocalResult::Ambiguous(one, other) = Local.offset_from_local_datetime(&local) else {
            return first;
        };
        let later = minutes_of(one.fix()).min(minutes_of(other.fix()));
        let second = Self::FixedMinutes(later).resolve(local);
        if second.utc_micros <= utc_micros { second } else { first }
    }
}

fn minutes_of(offset: chrono::FixedOffset) -> i16 {
    i16::try_from(offset.local_minus_utc() / 60).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::own_process;

    #[test]
    fn a_fixed_offset_holds_for_every_instant() {
        let offset = LocalOffset::FixedMinutes(-210);
        assert_eq!(offset.at(0).to_string(), "1969-12-31T20:30:00-03:30");
        let wall = "2026-11-23T10:00:00".parse().unwrap();
        assert_eq!(offset.resolve(wall).to_string(), "2026-11-23T10:00:00-03:30");
    }

    #[test]
    fn the_machines_zone_agrees_with_itself_in_both_directions() {
        for text in ["2026-01-15T12:00:00", "2026-07-15T12:00:00", "1999-12-31T23:59:59"] {
            let local: NaiveDateTime = text.parse().unwrap();
            let resolved = LocalOffset::System.resolve(local);
            assert_eq!(LocalOffset::System.at(resolved.utc_micros), resolved);
            assert_eq!(resolved.to_local().naive_local(), local);
        }
    }

    #[test]
    fn an_hour_that_autumn_repeats_is_read_the_first_time() {
        for (zone, local, first, second) in [
            ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T02:30:00", "+02:00", "+01:00"),
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-04-05T02:30:00", "+11:00", "+10:00"),
        ] {
            // A zone is a process' own.
            let name =
                "source::local_offset::tests::an_hour_that_autumn_repeats_is_read_the_first_time";
            if let Some(ran) = own_process(name, &format!("export TZ='{zone}';")) {
                assert!(ran.status.success(), "{zone}: {}", String::from_utf8_lossy(&ran.stdout));
                assert!(String::from_utf8_lossy(&ran.stdout).contains("1 passed"));
                continue;
            }
            if std::env::var("TZ").as_deref() != Ok(zone) {
                continue;
            }
            let repeated: NaiveDateTime = local.parse().unwrap();
            let resolved = LocalOffset::System.resolve(repeated);
            assert_eq!(resolved.to_string(), format!("{local}{first}"));
            assert_eq!(LocalOffset::System.at(resolved.utc_micros), resolved);
            let hour = 3_600_000_000;
            for (at, offset) in [(0, first), (hour - 1, first), (hour, second), (2 * hour, second)]
            {
                let at = resolved.utc_micros + at;
                let latest = LocalOffset::System.resolve_not_after(repeated, at);
                assert_eq!(latest.to_string(), format!("{local}{offset}"));
            }
        }
    }

    #[test]
    fn instants_beyond_the_calendar_do_not_panic() {
        for utc_micros in [i64::MIN, i64::MAX] {
            assert_eq!(LocalOffset::System.at(utc_micros).utc_micros, utc_micros);
        }
        assert!(LocalOffset::System.resolve(NaiveDateTime::MIN).utc_micros < 0);
        assert!(LocalOffset::System.resolve(NaiveDateTime::MAX).utc_micros > 0);
    }
}
