//! [`TimeText`]: a timestamp as RFC 3339 with offset, without allocations. Readers such as pandas take a column for times
//! only where all its texts have one form.

use chrono::SecondsFormat;
use lenslog_journal::Timestamp;
use serde::{Serialize, Serializer};

use crate::limits::{OFFSET_MINUTES_MAX, TIME_MICROS_MAX, TIME_MICROS_MIN};

/// Bytes of `2026-11-23T17:04:05.123456+01:00`, the longest text.
const BYTES_MAX: usize = 32;

/// Serialises as the text of a timestamp, always of the same form.
pub(super) struct TimeText(pub(super) Timestamp, pub(super) Precision);

/// How much of an event's numbers is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// Seconds with three digits, confidences with at most four.
    Rounded,
    /// Seconds with six digits and every digit of a confidence: all that the journal has.
    Full,
}

impl Serialize for TimeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = [0; BYTES_MAX];
        let text =
            write(self.0, self.1, &mut buffer).and_then(|bytes| std::str::from_utf8(bytes).ok());
        match text {
            Some(text) => serializer.serialize_str(text),
            None => {
                let form = match self.1 {
                    Precision::Rounded => SecondsFormat::Millis,
                    Precision::Full => SecondsFormat::Micros,
                };
                serializer.serialize_str(&self.0.to_local().to_rfc3339_opts(form, false))
            }
        }
    }
}

/// The text of a valid time; `None` for any other.
fn write(time: Timestamp, precision: Precision, buffer: &mut [u8; BYTES_MAX]) -> Option<&[u8]> {
    let local = time.utc_micros.checked_add(i64::from(time.offset_minutes) * 60_000_000)?;
    let years = TIME_MICROS_MIN..=TIME_MICROS_MAX;
    let valid = years.contains(&time.utc_micros)
        && years.contains(&local)
        && (-OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX).contains(&time.offset_minutes);
    if !valid {
        return None;
    }
    let (seconds, micros) = (local / 1_000_000, local % 1_000_000);
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    let mut text = Writer { buffer, length: 0 };
    text.digits(year, 4);
    text.after(b'-', month, 2);
    text.after(b'-', day, 2);
    text.after(b'T', second / 3_600, 2);
    text.after(b':', second / 60 % 60, 2);
    text.after(b':', second % 60, 2);
    match precision {
        Precision::Rounded => text.after(b'.', micros / 1_000, 3),
        Precision::Full => text.after(b'.', micros, 6),
    }
    let offset = i64::from(time.offset_minutes.unsigned_abs());
    let sign = if time.offset_minutes < 0 { b'-' } else { b'+' };
    text.after(sign, offset / 60, 2);
    text.after(b':', offset % 60, 2);
    let length = text.length;
    Some(&buffer[..length])
}

struct Writer<'a> {
    buffer: &'a mut [u8; BYTES_MAX],
    length: usize,
}

impl Writer<'_> {
    fn after(&mut self, separator: u8, number: i64, digits: usize) {
        self.buffer[self.length] = separator;
        self.length += 1;
        self.digits(number, digits);
    }

    fn digits(&mut self, mut number: i64, digits: usize) {
        for place in self.buffer[self.length..self.length + digits].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.length += digits;
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Counts from the first of March, so that the leap day is the last of its year: then the months before a given
/// one have (153 × month + 2) / 5 days, and four centuries 146,097.
fn civil(day: i64) -> (i64, i64, i64) {
    let from_march = day + 719_468;
    let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let days_before = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - days_before;
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use lenslog_journal::Day;

    use super::*;

    fn serialised(time: Timestamp) -> String {
        let full = serde_json::to_string(&TimeText(time, Precision::Full)).unwrap();
        let micros = time.to_local().to_rfc3339_opts(SecondsFormat::Micros, false);
        assert_eq!(full.trim_matches('"'), micros);
        let text = serde_json::to_string(&TimeText(time, Precision::Rounded)).unwrap();
        text.trim_matches('"').to_owned()
    }

    fn expected(time: Timestamp) -> String {
        time.to_local().to_rfc3339_opts(SecondsFormat::Millis, false)
    }

    #[test]
    fn every_time_is_of_one_form() {
        for (utc_micros, text) in [
            (0, "1970-01-01T01:00:00.000+01:00"),
            (1, "1970-01-01T01:00:00.000+01:00"),
            (1_795_449_845_123_999, "2026-11-23T17:04:05.123+01:00"),
        ] {
            assert_eq!(serialised(Timestamp { utc_micros, offset_minutes: 60 }), text);
        }
    }

    #[test]
    fn every_day_of_the_calendar_prints_as_display_prints_it() {
        for day in 0..=Day::MAX.0 {
            let (year, month, of_month) = civil(i64::from(day));
            if day % 97 == 0 || of_month >= 28 || of_month == 1 {
                let text = format!("{year:04}-{month:02}-{of_month:02}");
                assert_eq!(text, Day(day).to_string());
            }
        }
    }

    #[test]
    fn times_have_three_digits_of_a_second_and_their_offset() {
        let micros = [0, 1, 999, 1_000, 250_000, 999_999, 86_399_999_999, 1_795_449_845_123_456];
        for utc_micros in micros.into_iter().chain([TIME_MICROS_MAX - 64_800_000_000]) {
            for offset_minutes in [0, 60, -210, 345, 1_080, -1_080] {
                let time = Timestamp { utc_micros, offset_minutes };
                assert_eq!(serialised(time), expected(time));
            }
        }
    }

    #[test]
    fn times_out_of_range_print_in_the_same_form() {
        for utc_micros in [i64::MIN, -1, TIME_MICROS_MAX, TIME_MICROS_MAX + 1, i64::MAX] {
            for offset_minutes in [i16::MIN, -1_081, 0, 1_081, i16::MAX] {
                let time = Timestamp { utc_micros, offset_minutes };
                assert_eq!(serialised(time), expected(time));
            }
        }
    }
}
