//! HyStart++ (RFC 9406): leaves slow start when the round trip grows, before the queue overflows.

use super::AckSample;
use crate::base::Nanos;
use crate::base::time::{MICROSECOND, MILLISECOND};

/// Least growth of a round trip's minimum that means a queue. RFC 9406 has 4 ms, for the Internet's jitter and
/// millisecond clocks; a circuit's jitter is microseconds, but a receiver's turn is up to 100 µs.
/// Lower: slow start ends because a core was busy. Higher: never ends early on links of a few hundred µs.
const MIN_RTT_THRESH_NS: Nanos = 250 * MICROSECOND;
/// Most growth that is let pass (RFC 9406).
const MAX_RTT_THRESH_NS: Nanos = 16 * MILLISECOND;
/// Samples that make a round's minimum worth comparing (RFC 9406).
const RTT_SAMPLES: u32 = 8;
/// In conservative slow start the window grows this many times slower (RFC 9406).
const CSS_GROWTH_DIVISOR: u64 = 4;
/// Rounds of conservative slow start before it ends for good. RFC 9406 has 5, for paths that give eight samples a round
/// and jitter by milliseconds; an ACK in each 100 µs tells sooner. Lower: a receiver that lost its core for a few round
/// trips ends slow start. Higher: five rounds triple the window, into a queue that is already there.
const CSS_ROUNDS: u32 = 3;

/// What slow start should do with an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// Grow by this many bytes.
    By(u64),
    /// Slow start is over: this window is the one.
    Done,
}

/// The state of one slow start.
#[derive(Clone, Debug)]
pub struct HyStart {
    /// The round ends when this packet number is acknowledged.
    round_end: u64,
    last_min_ns: Nanos,
    current_min_ns: Nanos,
    samples: u32,
    /// In conservative slow start: the round trip that it began with, and the rounds left.
    conservative: Option<(Nanos, u32)>,
}

impl HyStart {
    /// At the begin of a slow start.
    pub fn new() -> HyStart {
        HyStart { round_end: 0, last_min_ns: Nanos::MAX, current_min_ns: Nanos::MAX, samples: 0, conservative: None }
    }

    /// Takes an acknowledgement that arrived in slow start.
    pub fn on_ack(&mut self, ack: &AckSample<'_>) -> Growth {
        if ack.largest_newly_acked >= self.round_end && !self.next_round(ack.next_number) {
            return Growth::Done;
        }
        if let Some(sample_ns) = ack.rtt_sample_ns {
            self.current_min_ns = self.current_min_ns.min(sample_ns);
            self.samples += 1;
        }
        self.judge();
        match self.conservative {
            None => Growth::By(ack.acked_bytes),
            Some(_) => Growth::By(ack.acked_bytes / CSS_GROWTH_DIVISOR),
        }
    }

    /// Begins a round; false where conservative slow start has run its rounds.
    fn next_round(&mut self, next_number: u64) -> bool {
        self.round_end = next_number;
        self.last_min_ns = self.current_min_ns;
        self.current_min_ns = Nanos::MAX;
        self.samples = 0;
        match &mut self.conservative {
            Some((_, 0)) => false,
            Some((_, left)) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    fn judge(&mut self) {
        if self.samples < RTT_SAMPLES {
            return;
        }
        match self.conservative {
            // The round trip fell below what made us cautious: that was noise.
            Some((baseline_ns, _)) if self.current_min_ns < baseline_ns => self.conservative = None,
            Some(_) => {}
            None if self.last_min_ns < Nanos::MAX => {
                let threshold = (self.last_min_ns / 8).clamp(MIN_RTT_THRESH_NS, MAX_RTT_THRESH_NS);
                if self.current_min_ns >= self.last_min_ns + threshold {
                    self.conservative = Some((self.current_min_ns, CSS_ROUNDS - 1));
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ack_with_rtt;
    use super::*;

    /// One round of ten acknowledgements of 1000 bytes with this round trip; the growth in bytes, or the end.
    fn round(hystart: &mut HyStart, number: u64, rtt_ns: Nanos) -> Option<u64> {
        let mut grown = 0;
        for step in 0..10 {
            match hystart.on_ack(&ack_with_rtt(1000, number + step, number + 10, rtt_ns)) {
                Growth::By(bytes) => grown += bytes,
                Growth::Done => return None,
            }
        }
        Some(grown)
    }

    #[test]
    fn a_growing_round_trip_slows_down_and_then_ends_slow_start() {
        let mut hystart = HyStart::new();
        assert_eq!(round(&mut hystart, 0, 10 * MILLISECOND), Some(10_000));
        assert_eq!(round(&mut hystart, 10, 10 * MILLISECOND), Some(10_000));
        let cautious = round(&mut hystart, 20, 12 * MILLISECOND).unwrap();
        assert!(cautious < 10_000, "the eighth sample tells: {cautious}");
        let rounds = (3..20).take_while(|n| round(&mut hystart, n * 10, 12 * MILLISECOND).is_some()).count();
        assert_eq!(rounds, 2, "three conservative rounds with the one in which it began");
    }

    #[test]
    fn a_round_trip_that_falls_again_resumes_full_growth() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 0, 10 * MILLISECOND);
        round(&mut hystart, 10, 12 * MILLISECOND);
        assert!(round(&mut hystart, 20, 9 * MILLISECOND).unwrap() > 2_500);
        assert_eq!(round(&mut hystart, 30, 9 * MILLISECOND), Some(10_000));
    }

    #[test]
    fn jitter_of_a_busy_core_is_no_queue() {
        let mut hystart = HyStart::new();
        for number in 0..20 {
            let rtt_ns = 50 * MICROSECOND + number % 2 * 150 * MICROSECOND;
            assert_eq!(round(&mut hystart, number * 10, rtt_ns), Some(10_000));
        }
    }
}
