//! Times as people write them.

use chrono::{
    DateTime, Duration, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone,
};
use lenslog_journal::Timestamp;

/// Reads `now`, `today`, `yesterday 14:32`, `10m ago`, `14:32`, `2026-11-23`, `2026-11-23 14:32:15` or RFC 3339; without
/// an offset in the machine's time zone.
pub(super) fn parse(text: &str, now: DateTime<Local>) -> Result<Timestamp, String> {
    let error = || {
        format!(
            "'{text}' is not a time; expected now, today, \"yesterday 14:32\", \"10m ago\", 14:32, 2026-11-23, \
             \"2026-11-23 14:32\" or 2026-11-23T14:32:15+01:00"
        )
    };
    let trimmed = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(trimmed) {
        return Ok(Timestamp::from_local(time));
    }
    let today = now.date_naive();
    let naive = match trimmed {
        "now" => return Ok(Timestamp::from_local(now.fixed_offset())),
        _ => match trimmed.strip_suffix(" ago") {
            Some(length) => {
                let seconds: crate::config::Seconds = length.parse().map_err(|_| error())?;
                let back = Duration::from_std(seconds.0).map_err(|_| error())?;
                let time = now.checked_sub_signed(back).ok_or_else(error)?;
                return Ok(Timestamp::from_local(time.fixed_offset()));
            }
            None => naive(trimmed, today).ok_or_else(error)?,
        },
    };
    local(naive).map(Timestamp::from_local).ok_or_else(error)
}

fn naive(text: &str, today: NaiveDate) -> Option<NaiveDateTime> {
    let time = |text: &str| {
        NaiveTime::parse_from_str(text, "%H:%M:%S%.f")
            .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"))
            .ok()
    };
    if let Some(time) = time(text) {
        return Some(today.and_time(time));
    }
    let (day, rest) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let day = match day {
        "today" => today,
        "yesterday" => today.pred_opt()?,
        day => NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?,
    };
    Some(day.and_time(time(rest.trim())?))
}

/// Local time that does not exist, because clocks went forward over it, is the hour after.
fn local(naive: NaiveDateTime) -> Option<DateTime<FixedOffset>> {
    let resolve = |naive: NaiveDateTime| Local.from_local_datetime(&naive).earliest();
    resolve(naive)
        .or_else(|| resolve(naive.checked_add_signed(Duration::hours(1))?))
        .map(|time| time.fixed_offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Local> {
        Local
            .from_local_datetime(
                &NaiveDateTime::parse_from_str("2026-11-23 15:00:00", "%F %T").unwrap(),
            )
            .earliest()
            .unwrap()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("now", "2026-11-23 15:00:00"),
            ("today", "2026-11-23 00:00:00"),
            ("yesterday", "2026-11-22 00:00:00"),
            ("yesterday 07:08", "2026-11-22 07:08:00"),
            ("today 07:08:09", "2026-11-23 07:08:09"),
            ("30m ago", "2026-11-23 14:30:00"),
            ("14:32", "2026-11-23 14:32:00"),
            ("14:32:15", "2026-11-23 14:32:15"),
            ("2026-11-20", "2026-11-20 00:00:00"),
            ("2026-11-20 07:08", "2026-11-20 07:08:00"),
            ("2026-11-20T07:08:09", "2026-11-20 07:08:09"),
        ] {
            let time = parse(text, now()).unwrap().to_local();
            assert_eq!(time.format("%F %T").to_string(), expected, "{text}");
        }
        let fixed = parse("2026-11-23T14:32:15-03:30", now()).unwrap();
        assert_eq!(fixed.to_string(), "2026-11-23T14:32:15-03:30");
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in ["", "noon", "25:00", "2026-13-01", "m ago", "yesterday noon"] {
            assert!(parse(text, now()).unwrap_err().contains("expected now"), "{text}");
        }
    }
}
