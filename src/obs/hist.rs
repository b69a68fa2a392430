//! Histograms of three significant digits over nine decades, on crate hdrhistogram.

use std::fmt;

use serde::Serialize;

use crate::base::Nanos;
use crate::base::time::SECOND;

/// Significant digits: 0.1 % of error, at 8 KB for each power of two in use. With one fewer a round trip of 4.1 µs and
/// one of 4.13 µs are the same; with one more a histogram is 2 MB and leaves the L2 cache.
const DIGITS: u8 = 3;

/// Largest value told apart, 60 s: longer than any round trip or turn that a connection survives. It bounds a
/// histogram's memory to about 220 KB; whatever is longer counts as this.
const LARGEST: u64 = 60 * SECOND;

/// What a histogram's values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Spans of time.
    #[default]
    Nanoseconds,
    /// How many of something.
    Count,
}

/// How often each value was seen. Grows with the values it meets: empty it takes a few hundred bytes.
#[derive(Clone)]
pub struct Histogram {
    pub(super) inner: hdrhistogram::Histogram<u64>,
    unit: Unit,
}

/// What people ask a histogram for. All 0 when nothing was recorded.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Values recorded.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// Half are no larger.
    pub p50: u64,
    /// 90 % are no larger.
    pub p90: u64,
    /// 99 % are no larger.
    pub p99: u64,
    /// 99.9 % are no larger.
    pub p999: u64,
    /// The largest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
}

impl Histogram {
    /// A histogram of spans of time in nanoseconds.
    pub fn new() -> Histogram {
        Histogram::of(Unit::Nanoseconds)
    }

    /// A histogram of values of that unit.
    pub fn of(unit: Unit) -> Histogram {
        let mut inner = hdrhistogram::Histogram::new(DIGITS).expect("3 digits are among the 0 to 5 that it takes");
        inner.auto(true);
        Histogram { inner, unit }
    }

    /// What the values are.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Counts one value.
    #[inline]
    pub fn record(&mut self, value: Nanos) {
        self.record_n(value, 1);
    }

    /// Counts one value `times` over.
    #[inline]
    pub fn record_n(&mut self, value: Nanos, times: u64) {
        // Not the saturating call: that one does not grow. This one grows up to `LARGEST`, and refuses only what a
        // 32-bit machine could not index.
        let recorded = self.inner.record_n(value.min(LARGEST), times);
        debug_assert!(recorded.is_ok(), "{value}: {recorded:?}");
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.inner.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// The value that the share `quantile` (0 to 1) of all values does not exceed.
    pub fn value_at(&self, quantile: f64) -> u64 {
        // hdrhistogram answers with the upper end of a bucket, which may lie above the largest value recorded.
        self.inner.value_at_quantile(quantile).min(self.max())
    }

    /// The largest value, to three digits.
    pub fn max(&self) -> u64 {
        self.inner.max().min(LARGEST)
    }

    /// The usual figures.
    pub fn percentiles(&self) -> Percentiles {
        if self.is_empty() {
            return Percentiles::default();
        }
        Percentiles {
            count: self.count(),
            min: self.inner.min(),
            p50: self.value_at(0.5),
            p90: self.value_at(0.9),
            p99: self.value_at(0.99),
            p999: self.value_at(0.999),
            max: self.max(),
            mean: self.inner.mean(),
        }
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.inner.add(&other.inner).expect("a histogram that grows takes any other of the same digits");
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.inner.reset();
    }

    /// Every value that was seen (the upper end of its bucket), and how often.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.inner.iter_recorded().map(|step| (step.value_iterated_to().min(self.max()), step.count_at_value()))
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({:?}, {:?})", self.unit, self.percentiles())
    }
}

/// A value as people write it: `4.1 µs`, `12.0 ms`, or a plain number for a count.
pub fn show(value: u64, unit: Unit) -> String {
    let ns = value as f64;
    match (unit, value) {
        (Unit::Count, _) => value.to_string(),
        (_, 0..1_000) => format!("{value} ns"),
        (_, 1_000..1_000_000) => format!("{} µs", three_digits(ns / 1e3)),
        (_, 1_000_000..1_000_000_000) => format!("{} ms", three_digits(ns / 1e6)),
        _ => format!("{} s", three_digits(ns / 1e9)),
    }
}

/// A number from 1 to 1000 with as many decimals as three digits leave room for.
fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_series() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.record(value));
        let seen = histogram.percentiles();
        assert_eq!((seen.count, seen.min, seen.max), (1000, 1, 1000));
        assert_eq!((seen.p50, seen.p90, seen.p99, seen.p999), (500, 900, 990, 999));
        assert!((seen.mean - 500.5).abs() < 0.01);
    }

    #[test]
    fn an_empty_one_tells_zeroes() {
        assert_eq!(Histogram::new().percentiles(), Percentiles::default());
    }

    #[test]
    fn three_digits_hold_over_the_whole_range_and_beyond_it_counts_as_the_largest() {
        let mut histogram = Histogram::new();
        for exponent in 0..36 {
            let value = 1u64 << exponent;
            histogram.clear();
            histogram.record(value);
            let error = histogram.percentiles().max.abs_diff(value.min(LARGEST)) as f64;
            assert!(error <= value as f64 / 1000.0, "{value}: off by {error}");
        }
        histogram.clear();
        histogram.record(u64::MAX);
        assert_eq!((histogram.count(), histogram.max()), (1, LARGEST));
    }

    #[test]
    fn merging_counts_both() {
        let (mut small, mut large) = (Histogram::new(), Histogram::new());
        small.record(5);
        large.record_n(40 * SECOND, 3);
        small.merge(&large);
        assert_eq!((small.count(), small.percentiles().min), (4, 5));
        assert!(small.value_at(0.9).abs_diff(40 * SECOND) < 40 * SECOND / 1000);
    }

    #[test]
    fn values_are_shown_with_three_digits() {
        for (value, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (4_120, "4.12 µs"),
            (9_996, "10.0 µs"),
            (123_456, "123 µs"),
            (12_000_000, "12.0 ms"),
            (60 * SECOND, "60.0 s"),
        ] {
            assert_eq!(show(value, Unit::Nanoseconds), text);
        }
        assert_eq!(show(64, Unit::Count), "64");
    }
}
