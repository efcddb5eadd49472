//! Times as people write them.

use chrono::{
    DateTime, Duration, FixedOffset, Local, LocalResult, NaiveDate, NaiveDateTime, NaiveTime,
    TimeZone,
};
use lenslog_journal::Timestamp;

/// Which instant a local time means in the hour that autumn repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// Its first time: for where something begins.
    First,
    /// Its second time: for where something ends.
    Second,
}

/// Reads `now`, `today`, `yesterday 14:32`, `10m ago`, `14:32`, `2026-11-23`, `2026-11-23 14:32:15` or RFC 3339; without
/// an offset in the machine's time zone.
pub(super) fn parse(
    text: &str,
    now: DateTime<Local>,
    repeated: Repeated,
) -> Result<Timestamp, String> {
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
    local(&Local, naive, repeated).map(Timestamp::from_local).ok_or_else(error)
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
fn local<Tz: TimeZone>(
    zone: &Tz,
    naive: NaiveDateTime,
    repeated: Repeated,
) -> Option<DateTime<FixedOffset>> {
    let resolve = |naive: NaiveDateTime| match zone.from_local_datetime(&naive) {
        LocalResult::Single(time) => Some(time.fixed_offset()),
        LocalResult::Ambiguous(one, other) => {
            // In either order: chrono does not promise the earlier one first.
            let (one, other) = (one.fixed_offset(), other.fixed_offset());
            Some(if repeated == Repeated::First { one.min(other) } else { one.max(other) })
        }
        LocalResult::None => None,
    };
    resolve(naive).or_else(|| resolve(naive.checked_add_signed(Duration::hours(1))?))
}

/// A time for a table, in a form of chrono's; with its offset in the hour that autumn repeats in `zone`.
pub(super) fn shown<Tz: TimeZone>(zone: &Tz, time: DateTime<FixedOffset>, form: &str) -> String {
    let text = time.format(form).to_string();
    match zone.from_local_datetime(&time.naive_local()) {
        LocalResult::Ambiguous(..) => format!("{text} {}", time.format("%:z")),
        _ => text,
    }
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
            let time = parse(text, now(), Repeated::First).unwrap().to_local();
            assert_eq!(time.format("%F %T").to_string(), expected, "{text}");
        }
        let fixed = parse("2026-11-23T14:32:15-03:30", now(), Repeated::First).unwrap();
        assert_eq!(fixed.to_string(), "2026-11-23T14:32:15-03:30");
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in ["", "noon", "25:00", "2026-13-01", "m ago", "yesterday noon"] {
            assert!(
                parse(text, now(), Repeated::First).unwrap_err().contains("expected now"),
                "{text}"
            );
        }
    }
    /// A zone that goes back from +02:00 to +01:00 on 2026-10-25 at 03:00, and forward at 02:00 on 2026-03-29. Like
    /// chrono's own `Local`, it names the later reading first.
    #[derive(Debug, Clone, Copy)]
    struct Berlin;

    const SUMMER: Option<FixedOffset> = FixedOffset::east_opt(7_200);
    const WINTER: Option<FixedOffset> = FixedOffset::east_opt(3_600);

    impl TimeZone for Berlin {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }

        fn offset_from_local_date(&self, _: &NaiveDate) -> LocalResult<FixedOffset> {
            LocalResult::None
        }

        fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<FixedOffset> {
            let (summer, winter) = (SUMMER.unwrap(), WINTER.unwrap());
            match local.to_string().as_str() {
                time if time.starts_with("2026-10-25 02:") => {
                    LocalResult::Ambiguous(winter, summer)
                }
                time if time.starts_with("2026-03-29 02:") => LocalResult::None,
                time if ("2026-03-29 03".."2026-10-25 02").contains(&time) => {
                    LocalResult::Single(summer)
                }
                _ => LocalResult::Single(winter),
            }
        }

        fn offset_from_utc_date(&self, _: &NaiveDate) -> FixedOffset {
            WINTER.unwrap()
        }

        fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
            let is_summer = ("2026-03-29 01".."2026-10-25 01").contains(&utc.to_string().as_str());
            if is_summer { SUMMER.unwrap() } else { WINTER.unwrap() }
        }
    }

    #[test]
    fn an_hour_that_autumn_repeats_has_two_readings() {
        for (text, repeated, expected) in [
            ("2026-10-25 02:30:00", Repeated::First, "2026-10-25T02:30:00+02:00"),
            ("2026-10-25 02:30:00", Repeated::Second, "2026-10-25T02:30:00+01:00"),
            ("2026-10-25 03:30:00", Repeated::First, "2026-10-25T03:30:00+01:00"),
            ("2026-03-29 02:30:00", Repeated::First, "2026-03-29T03:30:00+02:00"),
        ] {
            let naive = NaiveDateTime::parse_from_str(text, "%F %T").unwrap();
            let time = local(&Berlin, naive, repeated).unwrap();
            assert_eq!(time.to_rfc3339(), expected, "{text} {repeated:?}");
        }
    }

    #[test]
    fn a_table_shows_the_offset_of_a_repeated_hour_only() {
        for (utc, expected) in [
            ("2026-10-25T00:30:00Z", "2026-10-25 02:30:00 +02:00"),
            ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00 +01:00"),
            ("2026-10-25T02:30:00Z", "2026-10-25 03:30:00"),
        ] {
            let time = DateTime::parse_from_rfc3339(utc).unwrap().with_timezone(&Berlin);
            assert_eq!(shown(&Berlin, time.fixed_offset(), "%F %T"), expected);
        }
    }
}
