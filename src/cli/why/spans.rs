//! [`Span`], the minutes that are asked about, and [`Outage`], a time in which something was not there. Pure.

use std::time::Duration;

use lenslog_journal::Timestamp;

pub(super) const MINUTE_MICROS: i64 = 60_000_000;

/// Whole minutes, in UTC microseconds: from the first one to before the second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Span {
    /// The minutes that are at most `around` away from the one of `at`.
    pub(super) fn around(at: Timestamp, around: Duration) -> Self {
        let around = i64::try_from(around.as_micros()).unwrap_or(i64::MAX / 4);
        let floor = |micros: i64| micros.div_euclid(MINUTE_MICROS).saturating_mul(MINUTE_MICROS);
        Self {
            from: floor(at.utc_micros.saturating_sub(around)),
            to: floor(at.utc_micros.saturating_add(around)).saturating_add(MINUTE_MICROS),
        }
    }

    /// The minute that begins then.
    pub(super) const fn minute(start: Timestamp) -> Self {
        Self { from: start.utc_micros, to: start.utc_micros.saturating_add(MINUTE_MICROS) }
    }

    pub(super) fn contains(self, time: Timestamp) -> bool {
        (self.from..self.to).contains(&time.utc_micros)
    }
}

/// Something was not there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outage {
    /// Since when.
    pub(super) from: Timestamp,
    /// Until when, where it came back.
    pub(super) to: Option<Timestamp>,
    /// Why.
    pub(super) reason: String,
}

impl Outage {
    /// Whether a part of it lies in these minutes.
    pub(super) fn touches(&self, span: Span) -> bool {
        self.from.utc_micros < span.to && self.to.is_none_or(|to| to.utc_micros >= span.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { utc_micros: seconds * 1_000_000, offset_minutes: 0 }
    }

    #[test]
    fn a_moment_is_its_minute_and_those_around_it() {
        let span = Span::around(at(125), Duration::ZERO);
        assert_eq!(span, Span::minute(at(120)));
        assert!(span.contains(at(120)) && span.contains(at(179)) && !span.contains(at(180)));
        let wide = Span::around(at(125), Duration::from_secs(60));
        assert_eq!(wide, Span { from: at(60).utc_micros, to: at(240).utc_micros });
    }

    #[test]
    fn an_outage_touches_the_minutes_that_it_reaches_into() {
        let span = Span::minute(at(120));
        let outage = |from, to: Option<i64>| {
            Outage { from: at(from), to: to.map(at), reason: String::new() }.touches(span)
        };
        assert!(outage(0, None) && outage(0, Some(121)) && outage(179, Some(500)));
        assert!(!outage(0, Some(119)) && !outage(180, None));
    }
}
