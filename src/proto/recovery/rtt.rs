//! Round-trip time: smoothed and its variance (RFC 9002 §5), minimum over a window.

use crate::base::Nanos;
use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};

/// Half of the window of the minimum. Two halves of 5 s: the minimum is that of the last 5 to 10 s.
/// Shorter: a standing queue of our own soon passes for the path. Longer: a path that became longer (a protection
/// switch on a circuit) keeps a minimum that it no longer has, and ACK delays are not subtracted rightly.
const MIN_HALF_WINDOW_NS: Nanos = 5 * SECOND;

/// Share of the round trip that waiting for company may add …
const PATIENCE_SHARE: u64 = 16;
/// … and the most of it. A worker that wakes 4,000 times a second moves 20 frames of 1 Gbit/s at a time; what a wake-up
/// costs (5 to 10 µs) is then a few percent of a core. Lower: CPU time. Higher: bursts that a shallow queue drops.
const PATIENCE_MOST_NS: Nanos = 250 * MICROSECOND;
/// A connection that has been measured for so long is past its start, in which ACKs show the link's rate, and its
/// patience grows …
const SETTLED_NS: Nanos = 2 * SECOND;
/// … to this smaller share of a longer round trip …
const SETTLED_SHARE: u64 = 32;
/// … and at most this: a worker that wakes 1,000 times a second moves 80 frames of 1 Gbit/s at a time.
const SETTLED_MOST_NS: Nanos = MILLISECOND;

/// The estimator.
#[derive(Clone, Copy, Debug)]
pub struct Rtt {
    latest_ns: Nanos,
    last_sample_ns: Nanos,
    smoothed_ns: Nanos,
    variance_ns: Nanos,
    min_now_ns: Nanos,
    min_before_ns: Nanos,
    half_began_ns: Nanos,
    first_sample_ns: Option<Nanos>,
    samples: u64,
}

impl Rtt {
    /// No sample yet; until then `initial_ns` stands for all of them.
    pub fn new(initial_ns: Nanos) -> Rtt {
        let initial_ns = initial_ns.max(1);
        Rtt {
            latest_ns: initial_ns,
            last_sample_ns: 0,
            smoothed_ns: initial_ns,
            variance_ns: initial_ns / 2,
            min_now_ns: Nanos::MAX,
            min_before_ns: Nanos::MAX,
            half_began_ns: 0,
            first_sample_ns: None,
            samples: 0,
        }
    }

    /// Takes a sample; `delay_ns` is how long the peer held its acknowledgement back on purpose.
    /// Returns what went into the smoothing.
    pub fn on_sample(&mut self, now: Nanos, sample_ns: Nanos, delay_ns: Nanos) -> Nanos {
        let sample_ns = sample_ns.max(1);
        self.age(now);
        self.min_now_ns = self.min_now_ns.min(sample_ns);
        // A delay that would push the sample below the minimum is not believed.
        let adjusted = if sample_ns >= self.min_ns() + delay_ns { sample_ns - delay_ns } else { sample_ns };
        self.latest_ns = adjusted;
        self.last_sample_ns = now;
        self.samples += 1;
        if self.first_sample_ns.is_none() {
            self.first_sample_ns = Some(now);
            self.smoothed_ns = adjusted;
            self.variance_ns = adjusted / 2;
        } else {
            let deviation = self.smoothed_ns.abs_diff(adjusted);
            self.variance_ns = (3 * self.variance_ns + deviation) / 4;
            self.smoothed_ns = (7 * self.smoothed_ns + adjusted) / 8;
        }
        adjusted
    }

    /// The last sample.
    pub fn latest_ns(&self) -> Nanos {
        self.latest_ns
    }

    /// Exponentially smoothed, by 1/8.
    pub fn smoothed_ns(&self) -> Nanos {
        self.smoothed_ns
    }

    /// Mean deviation, smoothed by 1/4.
    pub fn variance_ns(&self) -> Nanos {
        self.variance_ns
    }

    /// Smallest sample of the last 5 to 10 seconds; the smoothed value where there is none.
    pub fn min_ns(&self) -> Nanos {
        match self.min_now_ns.min(self.min_before_ns) {
            Nanos::MAX => self.smoothed_ns,
            min => min,
        }
    }

    /// How long something may wait for company without the path's users noticing: what ACKs and rests go by, each above
    /// a least value of its own. Nothing on short paths.
    pub fn patience_ns(&self) -> Nanos {
        let settled = self.last_sample_ns.saturating_sub(self.first_sample_ns.unwrap_or(0)) >= SETTLED_NS;
        if settled { self.patience_most_ns() } else { self.burst_patience_ns() }
    }

    /// How long the peer may hold an ACK back that it holds for `max_ack_delay_ns` on short paths.
    pub fn ack_held_most_ns(&self, max_ack_delay_ns: Nanos) -> Nanos {
        max_ack_delay_ns + 2 * self.patience_most_ns()
    }

    /// What patience may come to: the peer's may already be there.
    fn patience_most_ns(&self) -> Nanos {
        self.burst_patience_ns().max(settled_ns(self.min_ns()))
    }

    /// The same for what leaves in bursts, which a shallow queue must bear.
    pub fn burst_patience_ns(&self) -> Nanos {
        (self.min_ns() / PATIENCE_SHARE).min(PATIENCE_MOST_NS)
    }

    /// When the first sample was taken.
    pub fn first_sample_ns(&self) -> Option<Nanos> {
        self.first_sample_ns
    }

    /// How many samples were taken.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    fn age(&mut self, now: Nanos) {
        if now.saturating_sub(self.half_began_ns) >= MIN_HALF_WINDOW_NS {
            self.min_before_ns = self.min_now_ns;
            self.min_now_ns = Nanos::MAX;
            self.half_began_ns = now;
        }
    }
}

/// What each host's patience comes to on a settled path with this shortest round trip.
pub fn settled_ns(rtt_min_ns: Nanos) -> Nanos {
    (rtt_min_ns / SETTLED_SHARE).min(SETTLED_MOST_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_sample_replaces_the_guess() {
        let mut rtt = Rtt::new(100 * MILLISECOND);
        assert_eq!(rtt.smoothed_ns(), 100 * MILLISECOND);
        rtt.on_sample(0, 40 * MICROSECOND, 0);
        assert_eq!((rtt.smoothed_ns(), rtt.variance_ns()), (40 * MICROSECOND, 20 * MICROSECOND));
    }

    #[test]
    fn delay_is_subtracted_but_not_below_the_minimum() {
        let mut rtt = Rtt::new(MILLISECOND);
        rtt.on_sample(0, 1000, 0);
        assert_eq!(rtt.on_sample(1, 1500, 300), 1200);
        assert_eq!(rtt.on_sample(2, 1500, 600), 1500, "1500 - 600 would be below the minimum of 1000");
        assert_eq!(rtt.min_ns(), 1000);
    }

    #[test]
    fn patience_grows_with_the_path_up_to_a_bound() {
        let of = |rtt_ns| Rtt::new(rtt_ns).patience_ns();
        assert_eq!([of(160), of(MILLISECOND), of(SECOND)], [10, 62_500, PATIENCE_MOST_NS]);
        let settled = |rtt_ns| {
            let mut rtt = Rtt::new(rtt_ns);
            rtt.on_sample(SECOND, rtt_ns, 0);
            rtt.on_sample(SECOND + SETTLED_NS - 1, rtt_ns, 0);
            assert_eq!(rtt.patience_ns(), of(rtt_ns), "not yet");
            rtt.on_sample(SECOND + SETTLED_NS, rtt_ns, 0);
            rtt.patience_ns()
        };
        let long = 16 * MILLISECOND;
        assert_eq!([settled(MILLISECOND), settled(long), settled(SECOND)], [62_500, 500_000, SETTLED_MOST_NS]);
    }

    #[test]
    fn minimum_is_forgotten_after_its_window() {
        let mut rtt = Rtt::new(MILLISECOND);
        rtt.on_sample(6 * SECOND, 100, 0);
        rtt.on_sample(8 * SECOND, 900, 0);
        assert_eq!(rtt.min_ns(), 100);
        rtt.on_sample(12 * SECOND, 800, 0);
        assert_eq!(rtt.min_ns(), 100, "still within 10 s");
        rtt.on_sample(18 * SECOND, 900, 0);
        assert_eq!(rtt.min_ns(), 800);
    }
}
