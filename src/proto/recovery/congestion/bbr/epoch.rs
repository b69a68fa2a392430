//! Epochs: what a round trip of acknowledgements says together.
//!
//! The draft takes a rate sample from each ACK and keeps the highest. Over thousands of samples a second that finds the
//! luckiest one, a few percent above the link on short paths, for ever. Here a sample is an epoch: all that is
//! delivered between two ACKs a round trip apart, and 10 ms at least.

use super::super::AckSample;
use crate::base::Nanos;
use crate::base::time::MILLISECOND;

/// Shortest epoch. ACKs come each 100 µs and hosts jitter by as much: 1% of this. Lower: rates are overestimated on
/// short paths. Higher: short paths learn slower than they could; at 10 ms and above it makes no difference.
pub const EPOCH_MIN_NS: Nanos = 10 * MILLISECOND;
/// Packets that took longer to arrive than to be sent by more than this were held up by the bottleneck.
const SQUEEZED: f64 = 1.05;

/// What one epoch saw. Wire bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Seen {
    /// Acknowledged in it.
    pub delivered: u64,
    /// Found lost in it.
    pub lost: u64,
    /// Of these, while round trips showed a queue.
    pub crowded_lost: u64,
    /// From its first ACK to its last.
    pub acked_ns: Nanos,
    /// What the packets between took to be sent.
    pub sent_ns: Nanos,
    /// Smallest round trip.
    pub rtt_min_ns: Option<Nanos>,
    /// Some of its packets were sent after a time without anything to send.
    pub app_limited: bool,
}

impl Seen {
    /// Rate at which packets arrived, in bits per second. Lost ones count as far as the link loses `own_loss` of all by
    /// itself: they have used the bottleneck as well.
    pub fn rate_bps(&self, own_loss: f64) -> u64 {
        let bytes = (self.delivered as f64 / (1.0 - own_loss)).min((self.delivered + self.lost) as f64);
        (bytes * 8e9 / self.acked_ns.max(self.sent_ns).max(1) as f64) as u64
    }

    /// Share that was lost.
    pub fn loss(&self) -> f64 {
        self.lost as f64 / (self.delivered + self.lost).max(1) as f64
    }

    /// Share that was lost while there was a queue.
    pub fn crowded_loss(&self) -> f64 {
        self.crowded_lost as f64 / (self.delivered + self.lost).max(1) as f64
    }

    /// Packets arrived more slowly than they were sent.
    pub fn is_squeezed(&self) -> bool {
        self.acked_ns as f64 > SQUEEZED * self.sent_ns as f64
    }
}

/// The epoch under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epoch {
    begin: Option<Begin>,
    crowded_lost: u64,
    rtt_min_ns: Option<Nanos>,
    app_limited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Begin {
    now: Nanos,
    sent_ns: Nanos,
    delivered: u64,
    lost: u64,
}

impl Epoch {
    /// Begins anew with the next ACK.
    pub fn restart(&mut self) {
        *self = Epoch::default();
    }

    /// Bytes were lost; `crowded`: while there was a queue.
    pub fn on_loss(&mut self, bytes: u64, crowded: bool) {
        if crowded {
            self.crowded_lost += bytes;
        }
    }

    /// Takes an ACK; tells what the epoch saw if it ends with it.
    pub fn on_ack(&mut self, ack: &AckSample<'_>) -> Option<Seen> {
        let rate = &ack.rate;
        self.app_limited |= rate.is_app_limited;
        self.rtt_min_ns = self.rtt_min_ns.into_iter().chain(rate.rtt_ns).min();
        let seen = self.so_far(ack);
        let over = |begin: Begin| {
            rate.prior_delivered_bytes >= begin.delivered && ack.now.saturating_sub(begin.now) >= EPOCH_MIN_NS
        };
        if self.begin.is_some_and(|begin| !over(begin)) {
            return None;
        }
        *self = Epoch::default();
        let (delivered, lost) = (ack.totals.delivered, ack.totals.lost);
        self.begin = Some(Begin { now: ack.now, sent_ns: rate.sent_ns, delivered, lost });
        seen
    }

    /// What it has seen until now.
    pub fn so_far(&self, ack: &AckSample<'_>) -> Option<Seen> {
        let begin = self.begin?;
        Some(Seen {
            delivered: ack.totals.delivered - begin.delivered,
            lost: ack.totals.lost.saturating_sub(begin.lost),
            crowded_lost: self.crowded_lost,
            acked_ns: ack.now.saturating_sub(begin.now),
            sent_ns: ack.rate.sent_ns.saturating_sub(begin.sent_ns),
            rtt_min_ns: self.rtt_min_ns,
            app_limited: self.app_limited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Totals;
    use super::super::super::tests::ack_at;
    use super::*;
    use crate::base::time::SECOND;
    use crate::proto::recovery::RateSample;

    const RTT: Nanos = 20 * MILLISECOND;

    /// An ACK each `step_ms` of a flow of a kilobyte a millisecond, sent `squeeze` times as fast.
    fn epochs(step_ms: u64, rtt_ns: Nanos, squeeze: f64) -> Vec<Seen> {
        let mut epoch = Epoch::default();
        let mut seen = Vec::new();
        for ms in (step_ms..500).step_by(step_ms as usize) {
            let now = SECOND + ms * MILLISECOND;
            let delivered = ms * 1000;
            let rate = RateSample {
                prior_delivered_bytes: delivered.saturating_sub(rtt_ns / MILLISECOND * 1000),
                sent_ns: (now as f64 - ms as f64 * 1e6 * (1.0 - 1.0 / squeeze)) as Nanos - rtt_ns,
                rtt_ns: Some(rtt_ns),
                ..RateSample::default()
            };
            let totals = Totals { delivered, lost: ms * 10, ..Totals::default() };
            seen.extend(epoch.on_ack(&AckSample { totals, rate, ..ack_at(now, 0, ms, ms + 20, rtt_ns) }));
        }
        seen
    }

    #[test]
    fn an_epoch_is_a_round_trip_and_at_least_ten_milliseconds() {
        assert!((20..=24).contains(&epochs(1, RTT, 1.0).len()));
        assert!((44..=50).contains(&epochs(1, MILLISECOND, 1.0).len()));
    }

    #[test]
    fn its_rate_is_what_arrived_whatever_the_acks() {
        for step_ms in [1, 3, 7] {
            for seen in epochs(step_ms, RTT, 1.0) {
                assert_eq!(seen.rate_bps(0.0), 8_000_000, "{seen:?}");
                assert!(!seen.is_squeezed());
                assert!((seen.loss() - 0.0099).abs() < 0.0001);
            }
        }
    }

    #[test]
    fn own_losses_count_but_never_more_than_there_were() {
        let seen = epochs(1, RTT, 1.0)[3];
        assert_eq!(seen.rate_bps(0.005), 8_040_201);
        assert_eq!(seen.rate_bps(0.08), 8_080_000, "as if all had arrived");
    }

    #[test]
    fn what_arrives_more_slowly_than_it_was_sent_is_squeezed() {
        assert!(epochs(1, RTT, 1.2).iter().all(Seen::is_squeezed));
    }
}
