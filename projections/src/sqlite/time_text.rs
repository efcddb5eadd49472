//! Time as the database holds it: `2026-11-23T16:04:05.123Z`, UTC, always three digits, so that text sorts as time.

use chrono::{DateTime, Datelike, Timelike, Utc};

/// Bytes of every time text.
const TIME_TEXT_BYTES: usize = 24;

/// An instant as the database holds it, cut to the millisecond; `None` outside of the years 0000 to 9999, whose text
/// would not sort.
pub(crate) fn time_text(utc_micros: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(utc_micros.div_euclid(1000))?;
    let year = u32::try_from(time.year()).ok().filter(|year| *year <= 9999)?;
    let fields = [
        (year, 4, '-'),
        (time.month(), 2, '-'),
        (time.day(), 2, 'T'),
        (time.hour(), 2, ':'),
        (time.minute(), 2, ':'),
        (time.second(), 2, '.'),
        (time.timestamp_subsec_millis(), 3, 'Z'),
    ];
    let mut text = String::with_capacity(TIME_TEXT_BYTES);
    for (number, digits, after) in fields {
        for place in (0..digits).rev() {
            let digit = number / 10_u32.pow(place) % 10;
            text.push(char::from(b'0' + digit as u8));
        }
        text.push(after);
    }
    Some(text)
}

/// Reads what [`time_text`] wrote, and any other RFC 3339 text.
pub(crate) fn parse_time_text(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        parse_time_text(text).unwrap().timestamp_micros()
    }

    #[test]
    fn every_time_has_three_digits_and_ends_with_z() {
        for text in
            ["2026-11-23T16:04:05.123Z", "0000-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z"]
        {
            assert_eq!(time_text(micros(text)).as_deref(), Some(text));
            assert_eq!(text.len(), TIME_TEXT_BYTES);
        }
    }

    #[test]
    fn microseconds_are_cut_towards_the_past() {
        let cut = |text| time_text(micros(text)).unwrap();
        assert_eq!(cut("2026-11-23T16:04:05.123999Z"), "2026-11-23T16:04:05.123Z");
        assert_eq!(cut("1969-12-31T23:59:59.999999Z"), "1969-12-31T23:59:59.999Z");
        assert_eq!(cut("2026-11-23T17:04:05.000001+01:00"), "2026-11-23T16:04:05.000Z");
    }

    #[test]
    fn a_time_whose_text_would_not_sort_has_none() {
        let (first, last) = (micros("0000-01-01T00:00:00Z"), micros("9999-12-31T23:59:59.999999Z"));
        assert!(time_text(first).is_some() && time_text(last).is_some());
        for outside in [first - 1, last + 1, i64::MIN, i64::MAX] {
            assert_eq!(time_text(outside), None, "{outside}");
        }
    }
}
