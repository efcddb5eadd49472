//! [`LocalOffset`], which local time belongs to an instant of UTC, for pictures that do not say it themselves.

use chrono::{DateTime, Local, LocalResult, NaiveDateTime, Offset, TimeZone, Utc};
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
                LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
                    minutes_of(offset.fix())
                }
                LocalResult::None => {
                    let before = local.and_utc().timestamp_micros().saturating_sub(3_600_000_000);
                    self.at(before).offset_minutes
                }
            },
        };
        let utc = Utc.from_utc_datetime(&local).timestamp_micros();
        let utc_micros = utc.saturating_sub(i64::from(offset_minutes) * 60_000_000);
        Timestamp { utc_micros, offset_minutes }
    }
}

fn minutes_of(offset: chrono::FixedOffset) -> i16 {
    i16::try_from(offset.local_minus_utc() / 60).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn instants_beyond_the_calendar_do_not_panic() {
        for utc_micros in [i64::MIN, i64::MAX] {
            assert_eq!(LocalOffset::System.at(utc_micros).utc_micros, utc_micros);
        }
        assert!(LocalOffset::System.resolve(NaiveDateTime::MIN).utc_micros < 0);
        assert!(LocalOffset::System.resolve(NaiveDateTime::MAX).utc_micros > 0);
    }
}
