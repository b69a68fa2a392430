//! The histograms that every engine keeps.

use super::hist::{Histogram, Unit};

/// Where one engine's time goes.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// Round trips, the peer's ACK delay subtracted.
    pub rtt: Histogram,
    /// From the application's commit to the hand-over of the frame to the link.
    pub queueing: Histogram,
    /// How long one turn of the engine took; turns that moved nothing are left out.
    pub turn: Histogram,
    /// Frames that one receive burst brought; empty bursts are left out.
    pub burst_size: Histogram,
}

impl Latencies {
    /// Four empty histograms.
    pub fn new() -> Latencies {
        Latencies {
            rtt: Histogram::new(),
            queueing: Histogram::new(),
            turn: Histogram::new(),
            burst_size: Histogram::of(Unit::Count),
        }
    }

    /// Every histogram with its stable name, the unit last.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        [
            ("rtt_ns", &self.rtt),
            ("queueing_ns", &self.queueing),
            ("turn_ns", &self.turn),
            ("burst_size_frames", &self.burst_size),
        ]
        .into_iter()
    }

    /// Adds what another engine measured.
    pub fn merge(&mut self, other: &Latencies) {
        self.rtt.merge(&other.rtt);
        self.queueing.merge(&other.queueing);
        self.turn.merge(&other.turn);
        self.burst_size.merge(&other.burst_size);
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_the_four_apart() {
        let (mut one, mut other) = (Latencies::new(), Latencies::new());
        other.rtt.record(1);
        other.queueing.record_n(2, 2);
        other.turn.record_n(3, 3);
        other.burst_size.record_n(4, 4);
        one.merge(&other);
        one.merge(&other);
        let seen: Vec<_> = one.iter().map(|(_, histogram)| (histogram.count(), histogram.max())).collect();
        assert_eq!(seen, [(2, 1), (4, 2), (6, 3), (8, 4)]);
    }
}
