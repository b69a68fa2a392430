//! What the path is like: its bandwidth, its round trip without a queue, and how lumpy its acknowledgements are.

use crate::base::Nanos;
use crate::base::time::{MICROSECOND, SECOND};
use crate::proto::recovery::rtt::settled_ns;

/// A round trip that is longer by less than this share (or by [`NOISE_NS`]) is the same round trip. Lower: the noise of
/// busy hosts passes for a queue, and the sender slows down for nothing. Higher: a queue of 0.1 BDP is not seen.
const NOISE_SHIFT: u32 = 5;
/// What turns of the two workers add on short paths, in the least of several round trips.
const NOISE_NS: Nanos = 50 * MICROSECOND;
/// A queue of so much noise is one that may overflow. Lower: the few packets that cruising leaves in the queue make
/// every loss on a dirty link look like congestion. Higher: 0.1 BDP is not seen.
const CROWDED_NOISES: Nanos = 2;
/// After so long without a round trip near the minimum the minimum is measured anew (probe-RTT). The draft has 5 s and
/// takes only new minima for a confirmation, which costs up to 4% of the link for ever. Here a round trip within the
/// noise confirms it, which every drained queue gives. Lower: a competitor's queue makes us stop more often.
/// Higher: after a change of path to a longer one, the window stays too small for longer.
const MIN_RTT_EXPIRES_NS: Nanos = 10 * SECOND;
/// Where a queue stands that does not go, the minimum may be measured so often (the draft does it always).
/// Lower: beside a competitor we stop more often. Higher: a longer path is noticed later.
const DOUBT_AFTER_NS: Nanos = 5 * SECOND;
/// Epochs in each half of the window of [`ExtraAcked`] (the draft has 10 round trips together).
const EXTRA_HALF_EPOCHS: u32 = 5;

/// Highest delivery rate of this probing cycle and the one before, in bits per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MaxBandwidth {
    now_bps: u64,
    before_bps: u64,
}

impl MaxBandwidth {
    /// The highest; 0 as long as nothing was measured.
    pub fn bps(&self) -> u64 {
        self.now_bps.max(self.before_bps)
    }

    /// Takes a measured rate.
    pub fn offer(&mut self, bps: u64) {
        self.now_bps = self.now_bps.max(bps);
    }

    /// A cycle is over; one in which nothing was measured does not count.
    pub fn advance(&mut self) {
        if self.now_bps > 0 {
            self.before_bps = self.now_bps;
            self.now_bps = 0;
        }
    }

    /// Forgets what was measured: it is this.
    pub fn replace(&mut self, bps: u64) {
        *self = MaxBandwidth { now_bps: bps, before_bps: 0 };
    }
}

/// Smallest round trip, and the queue that longer ones show.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinRtt {
    ns: Option<Nanos>,
    confirmed_ns: Option<Nanos>,
    /// When it was measured with little in flight.
    measured_ns: Option<Nanos>,
    /// The last samples, so that a single one that a busy host made longer shows no queue.
    recent: [Nanos; 4],
    next: usize,
}

impl MinRtt {
    /// Takes a sample.
    pub fn on_sample(&mut self, now: Nanos, rtt_ns: Nanos) {
        self.recent[self.next] = rtt_ns;
        self.next = (self.next + 1) % self.recent.len();
        if self.ns.is_none_or(|min| rtt_ns <= min + noise_ns(min)) {
            self.confirmed_ns = Some(now);
        }
        self.lower(rtt_ns);
    }

    /// A round trip that was measured otherwise.
    pub fn lower(&mut self, rtt_ns: Nanos) {
        self.ns = Some(self.ns.map_or(rtt_ns, |min| min.min(rtt_ns)));
    }

    /// The smallest; 0 as long as there is none.
    pub fn ns(&self) -> Nanos {
        self.ns.unwrap_or(0)
    }

    /// Whether no round trip was near it for too long.
    pub fn is_expired(&self, now: Nanos) -> bool {
        self.confirmed_ns.is_some_and(|at| now.saturating_sub(at) > MIN_RTT_EXPIRES_NS)
    }

    /// A queue stands that does not go: the minimum expires sooner, but not at once after it was measured.
    pub fn doubt(&mut self, now: Nanos) {
        let earliest = now.saturating_sub(MIN_RTT_EXPIRES_NS + 1);
        if self.measured_ns.is_none_or(|at| now.saturating_sub(at) > DOUBT_AFTER_NS) {
            self.confirmed_ns = Some(earliest);
        }
    }

    /// It was not used for a while, so nothing is known against it.
    pub fn renew(&mut self, now: Nanos) {
        self.confirmed_ns = Some(now);
    }

    /// What a round trip measured with little in flight has shown.
    pub fn replace(&mut self, now: Nanos, rtt_ns: Nanos) {
        self.ns = Some(rtt_ns);
        self.confirmed_ns = Some(now);
        self.measured_ns = Some(now);
    }

    /// How long packets wait on the way, by this round trip.
    pub fn queue_ns(&self, rtt_ns: Nanos) -> Nanos {
        rtt_ns.saturating_sub(self.ns())
    }

    /// How long they waited by the last few samples: what all of them show.
    pub fn recent_queue_ns(&self) -> Nanos {
        self.queue_ns(self.recent.iter().copied().min().unwrap_or(0))
    }

    /// A wait up to this is noise.
    pub fn noise_ns(&self) -> Nanos {
        noise_ns(self.ns())
    }

    /// Whether they show one that may overflow.
    pub fn is_crowded(&self) -> bool {
        self.recent_queue_ns() > self.crowded_ns()
    }

    /// A wait above this is a queue that may overflow, and not two hosts that rest: taken for one at 20 ms, those left
    /// 375 Mbit/s of a gigabit that loses packets in bursts.
    pub fn crowded_ns(&self) -> Nanos {
        CROWDED_NOISES * self.noise_ns() + 2 * settled_ns(self.ns())
    }

    /// Whether the last samples show a queue.
    pub fn is_queueing(&self) -> bool {
        self.recent_queue_ns() > self.noise_ns()
    }
}

fn noise_ns(min_ns: Nanos) -> Nanos {
    (min_ns >> NOISE_SHIFT).max(NOISE_NS)
}

/// How much more is acknowledged at a time than the bandwidth explains: receivers and busy hosts acknowledge in lumps,
/// and while a lump is under way the window must not be what stops the sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtraAcked {
    began_ns: Nanos,
    acked: u64,
    now: u64,
    before: u64,
    epochs: u32,
}

impl ExtraAcked {
    /// Takes an acknowledgement of `acked` bytes; more than `most` is not believed.
    pub fn on_ack(&mut self, now: Nanos, acked: u64, bps: u64, most: u64) {
        let mut expected = (u128::from(bps) * u128::from(now.saturating_sub(self.began_ns)) / 8_000_000_000) as u64;
        if self.acked <= expected {
            self.restart(now);
            expected = 0;
        }
        self.acked += acked;
        self.now = self.now.max(self.acked.saturating_sub(expected).min(most));
    }

    /// A round trip is over.
    pub fn on_epoch(&mut self) {
        self.epochs += 1;
        if self.epochs >= EXTRA_HALF_EPOCHS {
            self.before = self.now;
            self.now = 0;
            self.epochs = 0;
        }
    }

    /// Begins to count anew: nothing was sent for a while.
    pub fn restart(&mut self, now: Nanos) {
        self.began_ns = now;
        self.acked = 0;
    }

    /// The most of the last epochs.
    pub fn bytes(&self) -> u64 {
        self.now.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::MILLISECOND;

    #[test]
    fn bandwidth_is_the_best_of_two_cycles() {
        let mut bandwidth = MaxBandwidth::default();
        bandwidth.offer(100);
        bandwidth.offer(70);
        bandwidth.advance();
        bandwidth.offer(80);
        assert_eq!(bandwidth.bps(), 100);
        bandwidth.advance();
        assert_eq!(bandwidth.bps(), 80, "the cycle of 100 is too old");
        bandwidth.advance();
        assert_eq!(bandwidth.bps(), 80, "a cycle without a sample ages nothing");
        bandwidth.replace(50);
        assert_eq!(bandwidth.bps(), 50);
    }

    #[test]
    fn a_round_trip_near_the_minimum_confirms_it() {
        let mut min_rtt = MinRtt::default();
        min_rtt.on_sample(0, 100 * MILLISECOND);
        min_rtt.on_sample(9 * SECOND, 103 * MILLISECOND);
        assert!(!min_rtt.is_expired(18 * SECOND));
        min_rtt.on_sample(18 * SECOND, 104 * MILLISECOND);
        assert!(min_rtt.is_expired(19 * SECOND + 1));
        assert_eq!(min_rtt.ns(), 100 * MILLISECOND);
        min_rtt.replace(20 * SECOND, 104 * MILLISECOND);
        assert!(!min_rtt.is_expired(29 * SECOND));
    }

    #[test]
    fn one_long_round_trip_is_no_queue_and_four_are() {
        let mut min_rtt = MinRtt::default();
        for _ in 0..4 {
            min_rtt.on_sample(0, 10 * MILLISECOND);
        }
        for _ in 0..3 {
            min_rtt.on_sample(0, 12 * MILLISECOND);
            assert!(!min_rtt.is_queueing());
        }
        min_rtt.on_sample(0, 13 * MILLISECOND);
        assert!(min_rtt.is_queueing());
        assert_eq!(min_rtt.recent_queue_ns(), 2 * MILLISECOND);
    }

    #[test]
    fn lumps_of_acks_are_counted_and_forgotten() {
        let mut extra = ExtraAcked::default();
        // 8 Mbit/s: a kilobyte a millisecond, acknowledged at that pace, then held up for 10 ms.
        for step in 1..=10 {
            extra.on_ack(step * MILLISECOND, 1000, 8_000_000, u64::MAX);
        }
        assert!(extra.bytes() <= 1000, "{}", extra.bytes());
        extra.on_ack(20 * MILLISECOND, 1000, 8_000_000, u64::MAX);
        (0..9).for_each(|_| extra.on_ack(20 * MILLISECOND, 1000, 8_000_000, u64::MAX));
        assert!((9_000..=11_000).contains(&extra.bytes()), "{}", extra.bytes());
        (0..2 * EXTRA_HALF_EPOCHS).for_each(|_| extra.on_epoch());
        assert_eq!(extra.bytes(), 0);
    }
}
