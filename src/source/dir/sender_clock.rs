//! [`SenderClock`], whether the time that a sender claims for a picture is used. Pure: no I/O, no clock of its own.
//!
//! A sender's clock may begin in 1970 at each wake, be decades ahead, or count in another zone. An honest sender may be
//! days late: a memory card, a buffer, a recorder that was off. So a claim is used while it is possible, and a sender
//! that is late with everything is wrong.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::util::SET_CLOCK_MICROS_MIN;

/// How far a claim may be after the arrival: clocks differ a little.
pub(super) const EARLY_MAX: i64 = 120 * SECOND;
/// A sender whose single pictures all lag more than this is wrong.
const LAG_MAX: i64 = 600 * SECOND;
/// A sender of which one picture lags less than this is right again.
const RIGHT_WITHIN: i64 = 120 * SECOND;
/// Pictures that come closer together than this belong to a burst, which may have waited for long.
const SINGLE_AFTER: i64 = 60 * SECOND;
/// How many single pictures it takes to call a sender wrong.
const SINGLES: usize = 20;
/// A warning is given this often at most.
const WARN_EVERY: i64 = 86_400 * SECOND;
/// Offsets of time zones are multiples of this, and at most [`ZONE_MAX`].
const ZONE_STEP: i64 = 900 * SECOND;
const ZONE_MAX: i64 = 14 * 3600 * SECOND;
/// How far the clock of a file system may be ahead of this process's reading of it.
const CTIME_SLACK: i64 = SECOND;

const SECOND: i64 = 1_000_000;

/// Which time the pictures of a folder get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureTime {
    /// The time that the sender claims, always.
    Claimed,
    /// The time of arrival, always.
    Arrival,
    /// The time that the sender claims, while that is possible.
    #[default]
    Auto,
}

/// What is set about the clock of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSettings {
    /// Which time its pictures get.
    pub time: PictureTime,
    /// How late a picture may arrive.
    pub late_by: Duration,
}

impl Default for ClockSettings {
    /// The claimed time where it is at most 30 days before the arrival.
    fn default() -> Self {
        Self { time: PictureTime::Auto, late_by: Duration::from_secs(30 * 86_400) }
    }
}

/// When a picture arrived, in microseconds since 1970: the last change of its file, which no sender sets.
///
/// `changed`: where this machine's clock dates files, the time of that change. A time that the clock cannot have shown
/// is not used; `now` is.
pub(super) fn arrival(changed: Option<i64>, now: i64) -> i64 {
    let possible =
        |changed: &i64| (SET_CLOCK_MICROS_MIN..=now.saturating_add(CTIME_SLACK)).contains(changed);
    changed.filter(possible).map_or(now, |changed| changed.min(now))
}

/// What is remembered of one sender. Times and lags are in microseconds; a positive lag is a clock that is behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SenderClock {
    /// Of the last pictures that came singly, oldest first.
    lags: VecDeque<i64>,
    last_arrival: Option<i64>,
    /// The lag of the last picture, if none came shortly before it.
    single: Option<i64>,
    is_wrong: bool,
    /// The lag of the last picture, if its claim was not used.
    off: Option<i64>,
    /// When a warning was given last, and of which lag.
    warned: Option<(i64, i64)>,
}

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the claimed time is used.
    pub(super) is_believed: bool,
    /// A warning is due, of this lag.
    pub(super) warn: Option<i64>,
    /// The sender is right again.
    pub(super) is_right_again: bool,
}

impl SenderClock {
    /// Judges a picture with `claim` that arrived at `arrival` and is read at `now`. `is_trusted`: this machine's own
    /// clock is to be believed; while it is not, every claim is.
    pub(super) fn judge(
        &mut self,
        settings: &ClockSettings,
        claim: i64,
        arrival: i64,
        now: i64,
        is_trusted: bool,
    ) -> Verdict {
        let plain = |is_believed| Verdict { is_believed, warn: None, is_right_again: false };
        match settings.time {
            PictureTime::Claimed => return plain(true),
            PictureTime::Arrival => return plain(false),
            PictureTime::Auto if !is_trusted => return plain(true),
            PictureTime::Auto => {}
        }
        let lag = arrival.saturating_sub(claim);
        self.learn(lag, arrival);
        let late_by = i64::try_from(settings.late_by.as_micros()).unwrap_or(i64::MAX);
        let is_believed = (-EARLY_MAX..=late_by).contains(&lag) && !self.is_wrong;
        let before = std::mem::replace(&mut self.off, (!is_believed).then_some(lag));
        let far = |other: i64| lag.saturating_sub(other).saturating_abs() > LAG_MAX;
        let is_change = !is_believed && before.is_none_or(far);
        let may_warn = self.warned.is_none_or(|(at, _)| {
            // A clock that was set back does not silence it for ever.
            now.saturating_sub(at) >= WARN_EVERY || at > now
        });
        // A change that came while no warning was due is one still.
        let is_news = is_change || self.warned.is_none_or(|(_, of)| far(of));
        let warn = (!is_believed && is_news && may_warn).then_some(lag);
        if warn.is_some() {
            self.warned = Some((now, lag));
        }
        Verdict { is_believed, warn, is_right_again: is_believed && before.is_some() }
    }

    fn learn(&mut self, lag: i64, arrival: i64) {
        let gap = |last: i64| arrival.saturating_sub(last).saturating_abs();
        let is_single = self.last_arrival.is_none_or(|last| gap(last) > SINGLE_AFTER);
        // Whether a picture came singly is known when the next one comes.
        if let Some(single) = self.single.take().filter(|_| is_single) {
            self.lags.push_back(single);
            if self.lags.len() > SINGLES {
                self.lags.pop_front();
            }
        }
        self.single = is_single.then_some(lag);
        self.last_arrival = Some(arrival);
        if lag.saturating_abs() < RIGHT_WITHIN {
            self.is_wrong = false;
            self.lags.clear();
            self.single = None;
        } else if self.lags.len() == SINGLES && self.lags.iter().all(|lag| *lag > LAG_MAX) {
            self.is_wrong = true;
        }
    }

    /// How far the sender's clock is off, where its claims are not used.
    pub(super) fn off(&self) -> Option<i64> {
        self.off
    }

    /// One line that [`SenderClock::from_text`] reads.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        let word =
            |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{} {} {} {} {} {}",
            u8::from(self.is_wrong),
            word(self.off),
            word(self.warned.map(|(at, _)| at)),
            word(self.warned.map(|(_, of)| of)),
            word(self.last_arrival),
            word(self.single),
        );
        for lag in &self.lags {
            let _ = write!(text, " {lag}");
        }
        text
    }

    /// Reads a line; `None` where it is none.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let is_wrong = match words.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let mut word = || match words.next()? {
            "-" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let (off, at, of, last_arrival, single) = (word()?, word()?, word()?, word()?, word()?);
        let lags: Option<VecDeque<i64>> = words.map(|word| word.parse().ok()).collect();
        let lags = lags.filter(|lags| lags.len() <= SINGLES)?;
        Some(Self { lags, last_arrival, single, is_wrong, off, warned: at.zip(of) })
    }
}

/// A sender's clock that is not used, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockFault {
    /// How far it is behind, in microseconds; negative where it is ahead.
    pub lag_micros: i64,
    /// The offset from UTC, in minutes, with which its claims are right; `None` where they carry one themselves, or no
    /// zone explains the lag.
    pub zone_minutes: Option<i16>,
}

impl ClockFault {
    /// `offset_minutes`: how the claim was read, where it carries no offset itself.
    pub(super) fn new(lag_micros: i64, offset_minutes: Option<i16>) -> Self {
        let zone = Self { lag_micros, zone_minutes: None }.zone_lag().zip(offset_minutes);
        let zone_minutes = zone
            .and_then(|(lag, offset)| i16::try_from(i64::from(offset) - lag / (60 * SECOND)).ok());
        Self { lag_micros, zone_minutes }
    }

    /// The lag as a multiple of a quarter of an hour, where it is one.
    fn zone_lag(self) -> Option<i64> {
        let quarters = self.lag_micros.saturating_add(ZONE_STEP / 2).div_euclid(ZONE_STEP);
        let nearest = quarters.saturating_mul(ZONE_STEP);
        let is_near = self.lag_micros.saturating_sub(nearest).saturating_abs() <= RIGHT_WITHIN;
        (is_near && nearest != 0 && nearest.abs() <= ZONE_MAX).then_some(nearest)
    }

    /// The fault in words, with the keys of `camera`.
    #[must_use]
    pub fn describe(&self, camera: &str) -> String {
        let direction = if self.lag_micros < 0 { "ahead" } else { "behind" };
        let mut text = format!(
            "the sender's clock is {} {direction}; its pictures get the time of their arrival",
            Length(self.lag_micros.unsigned_abs() / SECOND.unsigned_abs())
        );
        // Writing to a string cannot fail.
        let _ = match (self.zone_lag(), self.zone_minutes) {
            (Some(_), Some(zone)) => {
                let (sign, minutes) = (if zone < 0 { '-' } else { '+' }, zone.unsigned_abs());
                write!(
                    text,
                    ". That is a fault of its time zone or daylight saving time: correct it in the camera, or set \
                     cameras.{camera}.zone = \"{sign}{:02}:{:02}\"",
                    minutes / 60,
                    minutes % 60
                )
            }
            (Some(_), None) => write!(
                text,
                ". That is a fault of its time zone or daylight saving time: correct it in the camera \
                 (cameras.{camera}.zone has no effect on pictures that carry an offset)"
            ),
            (None, _) => write!(text, "; set its clock, or NTP in the camera"),
        };
        text
    }
}

/// A length of time in its two largest units.
struct Length(u64);

impl fmt::Display for Length {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 5] =
            [("years", 31_557_600), ("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
        let first = UNITS.iter().position(|(_, seconds)| self.0 >= *seconds).unwrap_or(4);
        let mut rest = self.0;
        for (index, (unit, seconds)) in UNITS.iter().enumerate().skip(first).take(2) {
            let separator = if index == first { "" } else { " " };
            write!(formatter, "{separator}{} {unit}", rest / seconds)?;
            rest %= seconds;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_796_000_000 * SECOND;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    /// A sender whose pictures come every so often and lag by so much. Returns how many claims were used.
    fn send(clock: &mut SenderClock, from: i64, every: i64, lags: &[i64]) -> usize {
        let settings = ClockSettings::default();
        let arrivals = (0..).map(|index| from + index * every);
        let judge = |(lag, arrival): (&i64, i64)| {
            clock.judge(&settings, arrival - lag, arrival, arrival, true).is_believed
        };
        lags.iter().zip(arrivals).map(judge).filter(|is_believed| *is_believed).count()
    }

    #[test]
    fn honest_senders_are_believed() {
        // A memory card of fourteen days, oldest and newest first, in one go.
        let card: Vec<_> = (0..500).map(|index| index * 14 * DAY / 500).collect();
        let newest_last: Vec<_> = card.iter().rev().copied().collect();
        for lags in [&card, &newest_last] {
            assert_eq!(send(&mut SenderClock::default(), NOW, SECOND, lags), 500);
        }
        // Every minute, hours late once, and a little fast.
        assert_eq!(send(&mut SenderClock::default(), NOW, 61 * SECOND, &[5 * MINUTE; 100]), 100);
        assert_eq!(send(&mut SenderClock::default(), NOW, 61 * SECOND, &[-MINUTE; 100]), 100);
    }

    #[test]
    fn impossible_claims_are_not_believed() {
        for lag in [26 * 365 * DAY, 56 * 365 * DAY, -11 * 365 * DAY, -5 * MINUTE, 31 * DAY] {
            assert_eq!(send(&mut SenderClock::default(), NOW, HOUR, &[lag]), 0, "{lag}");
        }
        let late_by = Duration::from_secs(6 * 86_400);
        let settings = ClockSettings { late_by, ..ClockSettings::default() };
        let mut clock = SenderClock::default();
        assert!(!clock.judge(&settings, NOW - 7 * DAY, NOW, NOW, true).is_believed);
        assert!(clock.judge(&settings, NOW - 6 * DAY, NOW, NOW, true).is_believed);
    }

    #[test]
    fn a_sender_that_lags_with_twenty_single_pictures_is_wrong_until_one_is_right() {
        let mut clock = SenderClock::default();
        assert_eq!(send(&mut clock, NOW, 2 * MINUTE, &[2 * HOUR; 100]), SINGLES);
        let copy = SenderClock::from_text(&clock.to_text()).unwrap();
        assert_eq!(copy, clock);
        assert_eq!(send(&mut clock, NOW + DAY, MINUTE / 2, &[2 * HOUR; 10]), 0, "it stays wrong");
        assert_eq!(send(&mut clock, NOW + 2 * DAY, MINUTE, &[MINUTE, 2 * HOUR, 2 * HOUR]), 3);
        assert_eq!(clock.off(), None);
    }

    #[test]
    fn a_burst_does_not_make_a_sender_wrong() {
        let mut clock = SenderClock::default();
        for day in 0..40 {
            let lags: Vec<_> = (0..50).map(|index| (50 - index) * HOUR).collect();
            assert_eq!(send(&mut clock, NOW + day * DAY, SECOND, &lags), 50, "day {day}");
        }
    }

    #[test]
    fn the_arrival_is_that_of_the_file_where_a_set_clock_dated_it() {
        assert_eq!(arrival(Some(NOW - DAY), NOW), NOW - DAY);
        assert_eq!(arrival(Some(NOW + HOUR), NOW), NOW, "in the future");
        assert_eq!(arrival(Some(0), NOW), NOW, "before this machine's clock was set");
        assert_eq!(arrival(None, NOW), NOW, "a share");
    }

    #[test]
    fn a_warning_says_how_much_and_names_the_key_of_a_zone_fault() {
        let text = |lag, offset| ClockFault::new(lag, offset).describe("yard");
        assert!(text(26 * 31_557_600 * SECOND + 5 * DAY, Some(60)).contains("26 years 5 d behind"));
        assert!(text(-5 * MINUTE, Some(60)).contains("5 min 0 s ahead; "));
        assert!(text(-5 * MINUTE, Some(60)).ends_with("NTP in the camera"));
        let utc = text(2 * HOUR + 50 * SECOND, Some(120));
        assert!(
            utc.contains("2 h 0 min behind") && utc.ends_with("cameras.yard.zone = \"+00:00\""),
            "{utc}"
        );
        assert!(text(-5 * HOUR - HOUR / 2, Some(0)).ends_with("zone = \"+05:30\""));
        assert!(text(HOUR, None).contains("carry an offset"));
        assert!(!text(15 * HOUR, Some(0)).contains("zone"));
        assert!(!text(MINUTE, Some(0)).contains("zone"));
    }

    #[test]
    fn a_warning_is_given_at_a_change_and_once_a_day() {
        let (settings, mut clock) = (ClockSettings::default(), SenderClock::default());
        let mut warnings = Vec::new();
        for minute in (0..3 * 1440).step_by(10) {
            let now = NOW + minute * MINUTE;
            // Right and wrong in turn on the first day, then wrong by the same all the time.
            let lag = if minute < 1440 && minute % 20 == 0 { 0 } else { 40 * DAY };
            let verdict = clock.judge(&settings, now - lag, now, now, true);
            warnings.extend(verdict.warn.map(|lag| (minute, lag)));
        }
        assert_eq!(warnings, [(10, 40 * DAY)]);
        let later = NOW + 4 * DAY;
        let verdict = clock.judge(&settings, later + DAY, later, later, true);
        assert_eq!(verdict.warn, Some(-DAY), "it is off by something else");
    }

    proptest! {
        #[test]
        fn a_time_that_is_used_is_possible_and_memory_survives(
            pictures in prop::collection::vec(
                (0_i64..3 * HOUR, prop_oneof![-3 * DAY..40 * DAY, -3 * MINUTE..20 * MINUTE, any::<i64>()], any::<bool>()),
                1..200,
            ),
        ) {
            let settings = ClockSettings::default();
            let (mut clock, mut now, mut warned) = (SenderClock::default(), NOW, None::<i64>);
            for (pause, lag, is_trusted) in pictures {
                now += pause;
                let claim = now.saturating_sub(lag);
                let before = clock.clone();
                let verdict = clock.judge(&settings, claim, now, now, is_trusted);
                prop_assert_eq!(SenderClock::from_text(&clock.to_text()), Some(clock.clone()));
                prop_assert!(clock.lags.len() <= SINGLES);
                if !is_trusted {
                    prop_assert!(verdict.is_believed && clock == before);
                    continue;
                }
                if verdict.is_believed {
                    prop_assert!(claim >= now - 30 * DAY && claim <= now + EARLY_MAX);
                }
                if lag.saturating_abs() < RIGHT_WITHIN {
                    prop_assert!(verdict.is_believed, "it is right");
                }
                if verdict.warn.is_some() {
                    prop_assert!(warned.is_none_or(|at| now - at >= WARN_EVERY));
                    warned = Some(now);
                }
                prop_assert_eq!(clock.off().is_none(), verdict.is_believed);
                let _ = ClockFault::new(lag, Some(60)).describe("x");
            }
        }

        #[test]
        fn any_line_is_read_or_refused(text in ".{0,200}") {
            let _ = SenderClock::from_text(&text);
        }
    }
}
