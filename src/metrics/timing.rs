//! [`Timing`]: how long something takes: percentiles of the newest [`WINDOW`], and buckets of all.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

/// How many of the newest measurements figures are made of.
pub const WINDOW: usize = 1000;

/// Upper bounds of the buckets, in microseconds: from a quick sync to a slow language model.
pub const BUCKETS_MICROS: [u64; 16] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    120_000_000,
];

/// Figures of the newest [`WINDOW`] measurements, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Measurements since the start, not only those of the window.
    pub count: u64,
    /// Of the window.
    pub average: f64,
    /// Of the window.
    pub min: f64,
    /// Of the window.
    pub max: f64,
    /// Half of those in the window are no longer than this.
    pub p50: f64,
    /// 95 of 100 are no longer than this.
    pub p95: f64,
    /// 99 of 100 are no longer than this.
    pub p99: f64,
}

/// All measurements since the start, as a histogram whose buckets add up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Buckets {
    /// Measurements up to each of [`BUCKETS_MICROS`].
    pub up_to: [u64; BUCKETS_MICROS.len()],
    /// All measurements.
    pub count: u64,
    /// Their sum in microseconds.
    pub sum_micros: u64,
}

/// Collects measurements of one kind, from any thread.
#[derive(Debug, Default)]
pub struct Timing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The newest, in microseconds.
    window: VecDeque<u64>,
    /// Measurements in each bucket; the last one has no upper bound.
    buckets: [u64; BUCKETS_MICROS.len() + 1],
    count: u64,
    sum_micros: u64,
}

impl Timing {
    /// Notes one measurement.
    pub fn record(&self, length: Duration) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        let mut state = self.lock();
        if state.window.len() >= WINDOW {
            state.window.pop_front();
        }
        state.window.push_back(micros);
        if let Some(count) = state.buckets.get_mut(bucket) {
            *count += 1;
        }
        state.count += 1;
        state.sum_micros = state.sum_micros.saturating_add(micros);
    }

    /// Figures of the window; `None` before the first measurement.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        // Copied, so that no measuring thread waits for arithmetic.
        let (mut window, count) = {
            let state = self.lock();
            (state.window.iter().copied().collect::<Vec<u64>>(), state.count)
        };
        window.sort_unstable();
        let (min, max) = (window.first()?, window.last()?);
        // So many of 100 are no longer than the value at this rank.
        let percentile = |of_100: usize| {
            let rank = (window.len() * of_100).div_ceil(100);
            window.get(rank.saturating_sub(1)).map_or(0.0, |micros| *micros as f64)
        };
        let sum: u128 = window.iter().map(|micros| u128::from(*micros)).sum();
        let average = sum as f64 / window.len() as f64;
        let milliseconds = |micros: f64| micros.round() / 1000.0;
        Some(Summary {
            count,
            average: milliseconds(average),
            min: milliseconds(*min as f64),
            max: milliseconds(*max as f64),
            p50: milliseconds(percentile(50)),
            p95: milliseconds(percentile(95)),
            p99: milliseconds(percentile(99)),
        })
    }

    /// All measurements.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        let state = self.lock();
        let mut buckets =
            Buckets { count: state.count, sum_micros: state.sum_micros, ..Buckets::default() };
        let mut sum = 0;
        for (up_to, count) in buckets.up_to.iter_mut().zip(state.buckets) {
            sum += count;
            *up_to = sum;
        }
        buckets
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(value: u64) -> Duration {
        Duration::from_micros(value)
    }

    #[test]
    fn nothing_measured_has_no_figures() {
        let timing = Timing::default();
        assert_eq!(timing.summary(), None);
        assert_eq!(timing.buckets(), Buckets::default());
    }

    #[test]
    fn figures_are_those_of_the_newest_thousand() {
        let timing = Timing::default();
        // What is pushed out of the window leaves the figures, not the count.
        for _ in 0..500 {
            timing.record(Duration::from_secs(60));
        }
        for value in 1..=1000_u64 {
            timing.record(Duration::from_millis(value));
        }
        let summary = timing.summary().unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (1500, 1.0, 1000.0));
        assert_eq!(summary.average, 500.5);
        assert_eq!((summary.p50, summary.p95, summary.p99), (500.0, 950.0, 990.0));
        let buckets = timing.buckets();
        assert_eq!(buckets.count, 1500);
        let at = |bound: u64| {
            buckets.up_to[BUCKETS_MICROS.iter().position(|micros| *micros == bound).unwrap()]
        };
        assert_eq!((at(1_000), at(10_000), at(1_000_000), at(120_000_000)), (1, 10, 1000, 1500));
    }

    #[test]
    fn one_measurement_is_all_of_its_figures() {
        let timing = Timing::default();
        timing.record(micros(1234));
        let (min, max, average) = (1.234, 1.234, 1.234);
        let expected = Summary { count: 1, average, min, max, p50: min, p95: min, p99: min };
        assert_eq!(timing.summary(), Some(expected));
    }

    proptest! {
        #[test]
        fn any_lengths_have_figures_in_order(lengths in prop::collection::vec(any::<u64>(), 1..1200)) {
            let timing = Timing::default();
            for length in &lengths {
                timing.record(micros(*length));
            }
            let summary = timing.summary().unwrap();
            prop_assert!(summary.min <= summary.average && summary.average <= summary.max);
            let figures = [summary.min, summary.p50, summary.p95, summary.p99, summary.max];
            prop_assert!(figures.is_sorted(), "{figures:?}");
            let buckets = timing.buckets();
            prop_assert!(buckets.up_to.is_sorted());
            prop_assert_eq!(buckets.count, lengths.len() as u64);
            let mut newest = lengths[lengths.len().saturating_sub(WINDOW)..].to_vec();
            newest.sort_unstable();
            let exact = newest[(newest.len() * 95).div_ceil(100) - 1] as f64 / 1000.0;
            prop_assert_eq!(summary.p95, exact);
        }
    }
}
