//! What is computed from a flow's counts: goodput of a span, fairness, when a rate was first reached.

use serde::{Deserialize, Serialize};

/// Bins in a row that must reach a rate before it counts as reached: one alone may be what had piled up behind a gap.
const IN_A_ROW: usize = 3;

/// Bytes over time, in bins of one width.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    pub bin_ms: f64,
    pub bytes: Vec<u64>,
}

impl Series {
    /// Bytes in the first `seconds`; a bin that is cut counts by its share.
    pub fn bytes_in(&self, seconds: f64) -> f64 {
        let full = seconds * 1e3 / self.bin_ms;
        let whole = (full + 1e-9).floor() as usize;
        let bytes = |bins: &[u64]| bins.iter().sum::<u64>() as f64;
        let rest = self.bytes.get(whole).map_or(0.0, |last| *last as f64 * (full - whole as f64).max(0.0));
        bytes(&self.bytes[..whole.min(self.bytes.len())]) + rest
    }

    /// The same series without its first `seconds`, to a bin.
    pub fn skip(&self, seconds: f64) -> Series {
        let bins = (seconds * 1e3 / self.bin_ms).round() as usize;
        Series { bin_ms: self.bin_ms, bytes: self.bytes.get(bins..).unwrap_or_default().to_vec() }
    }

    /// Cut anew, beginning `offset_ms` after the old beginning, into bins of `bin_ms`; a bin's bytes are taken to have
    /// arrived evenly over it.
    pub fn rebin(&self, offset_ms: f64, bin_ms: f64) -> Series {
        let span_ms = self.bin_ms * self.bytes.len() as f64 - offset_ms;
        let bins = (span_ms / bin_ms + 1e-9).floor().max(0.0) as usize;
        let until = |ms: f64| self.bytes_in(ms.max(0.0) / 1e3);
        let cut = |index: usize| until(offset_ms + bin_ms * index as f64);
        let bytes = (0..bins).map(|index| (cut(index + 1).round() - cut(index).round()) as u64);
        Series { bin_ms, bytes: bytes.collect() }
    }

    /// Each bin as a rate.
    pub fn rates_bps(&self) -> impl Iterator<Item = f64> + '_ {
        self.bytes.iter().map(|bytes| *bytes as f64 * 8e3 / self.bin_ms)
    }

    /// The same series from the first bin on with at least `flow_bytes` in it: less is a handshake.
    pub fn beginning_with(&self, flow_bytes: u64) -> Series {
        let first = self.bytes.iter().position(|bytes| *bytes >= flow_bytes).unwrap_or(self.bytes.len());
        Series { bin_ms: self.bin_ms, bytes: self.bytes[first..].to_vec() }
    }

    /// When `rate_bps` was first reached and held for three bins in a row, in milliseconds. `None` if never.
    pub fn ms_to(&self, rate_bps: f64) -> Option<f64> {
        let reached: Vec<bool> = self.rates_bps().map(|rate| rate >= rate_bps).collect();
        let start = reached.windows(IN_A_ROW).position(|bins| bins.iter().all(|reached| *reached))?;
        Some(start as f64 * self.bin_ms)
    }
}

/// Jain's index of fairness (RFC 5166): 1 where all have the same, 1/n where one has all.
pub fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if squares == 0.0 { f64::NAN } else { sum * sum / (values.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(bin_ms: f64, bytes: &[u64]) -> Series {
        Series { bin_ms, bytes: bytes.to_vec() }
    }

    #[test]
    fn a_span_is_cut_where_it_ends() {
        let series = series(100.0, &[10, 20, 30]);
        assert_eq!(series.bytes_in(0.1), 10.0);
        assert_eq!(series.bytes_in(0.25), 45.0);
        assert_eq!(series.bytes_in(9.0), 60.0);
        assert_eq!(series.skip(0.1).bytes, [20, 30]);
        assert_eq!(series.skip(1.0).bytes, [0; 0]);
    }

    #[test]
    fn bins_cut_anew_hold_the_same_bytes() {
        let series = series(100.0, &[0, 100, 200, 200]);
        assert_eq!(series.rebin(100.0, 100.0).bytes, [100, 200, 200]);
        assert_eq!(series.rebin(150.0, 100.0).bytes, [150, 200]);
        assert_eq!(series.rebin(100.0, 50.0).bytes, [50, 50, 100, 100, 100, 100]);
        assert_eq!(series.rebin(900.0, 50.0).bytes, [0; 0]);
    }

    #[test]
    fn a_rate_is_reached_when_it_holds() {
        // 1000 bytes in 1 ms are 8 Mbit/s. A handshake, silence, then a spike, then the real thing.
        let series = series(1.0, &[100, 0, 2000, 500, 0, 900, 900, 950, 1000]);
        assert_eq!(series.beginning_with(200).ms_to(7.2e6), Some(3.0));
        assert_eq!(series.beginning_with(50).ms_to(7.2e6), Some(5.0), "counted from the handshake");
        assert_eq!(series.beginning_with(200).ms_to(7.9e6), None);
        assert_eq!(series.beginning_with(9000).bytes, [0; 0]);
        assert_eq!(Series { bin_ms: 1.0, bytes: vec![9000] }.ms_to(1.0), None, "too short to tell");
    }

    #[test]
    fn fairness_is_between_one_in_n_and_one() {
        assert_eq!(jain(&[5.0, 5.0]), 1.0);
        assert_eq!(jain(&[1.0, 0.0, 0.0, 0.0]), 0.25);
        assert!((jain(&[1.0, 3.0]) - 0.8).abs() < 1e-12);
        assert!(jain(&[0.0, 0.0]).is_nan());
    }
}
