//! When the packets of a train arrived, and the rate that this tells.

use crate::base::Nanos;

/// Fewest ACKs that tell a rate. On long paths they come each half millisecond.
const FEWEST_ACKS: usize = 4;
/// Most ACKs of a train that are looked at.
const MOST_ACKS: usize = 4096;

/// When how many bytes had arrived.
#[derive(Clone, Default, Debug)]
pub struct Arrivals {
    points: Vec<(Nanos, u64)>,
}

impl Arrivals {
    /// At this time so many bytes had arrived.
    pub fn add(&mut self, at_ns: Nanos, bytes: u64) {
        if self.points.len() < MOST_ACKS {
            self.points.push((at_ns, bytes));
        }
    }

    /// Bits per second: the median of the rates from each ACK to that a quarter of the train later. A host that got no
    /// core for a while in the middle of it bends some of them, where it would bend any line through all.
    pub fn rate_bps(&self) -> Option<f64> {
        if self.points.len() < FEWEST_ACKS {
            return None;
        }
        let apart = (self.points.len() / 4).max(1);
        let pairs = self.points.iter().zip(&self.points[apart..]);
        let rate = |(a, b): (&(Nanos, u64), &(Nanos, u64))| {
            let span_ns = b.0.saturating_sub(a.0);
            (span_ns > 0).then(|| (b.1 - a.1) as f64 * 8e9 / span_ns as f64)
        };
        let mut rates: Vec<f64> = pairs.filter_map(rate).collect();
        rates.sort_by(f64::total_cmp);
        let middle = rates.len() / 2;
        rates.get(middle).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{MILLISECOND, SECOND};

    #[test]
    fn a_pause_in_the_middle_does_not_bend_the_rate() {
        let mut arrivals = Arrivals::default();
        for step in 0..250 {
            let pause = if step < 120 { 0 } else { 5 * MILLISECOND };
            arrivals.add(SECOND + step * MILLISECOND / 10 + pause, step * 12_500);
        }
        assert!((arrivals.rate_bps().unwrap() / 1e9 - 1.0).abs() < 1e-6);
        assert_eq!(Arrivals::default().rate_bps(), None);
    }
}
