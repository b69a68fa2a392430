//! What the first window tells: its packets leave in one burst, and the bottleneck spreads them.
//!
//! Doubling from 64 packets to the 16,000 of 1 Gbit/s × 200 ms takes eight round trips, 1.6 s. The ACKs of the first
//! window tell the bottleneck's rate after one, within 10%.

use super::super::AckSample;
use crate::base::Nanos;
use crate::base::time::MICROSECOND;

/// Largest train: what a peer's ring of 256 frames holds. Lower: faster links than 5 Gbit/s are not measured.
/// Higher: a burst that shallow queues drop.
pub const TRAIN_PACKETS_MAX: u64 = 256;
/// Least time over which a train's end must be spread. ACKs are timed by turns of 20–50 µs. Lower: the rate is wrong by
/// a third. Higher: 64 packets at 1 Gbit/s (790 µs) or 256 at 10 Gbit/s (315 µs) are not enough.
const SPREAD_MIN_NS: Nanos = 150 * MICROSECOND;
/// ACKs of which at least so many must have come. Fewer: the receiver was busy elsewhere and took all at once.
const ACKS_MIN: u32 = 3;
/// What left so much earlier is not of the same burst. Lower: the packets of two turns. Higher: small messages before
/// it make the burst longer, and what it shows slower.
const APART_NS: Nanos = 50 * MICROSECOND;
/// Round trips that are shorter than so many spreads gain nothing: doubling is as quick.
const WORTH_SPREADS: Nanos = 4;

/// The train under way, if any.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    /// How many packets it has; 0 when trains are over.
    packets: u64,
    /// Its first packet number; `None`: the next to be sent when an ACK arrives.
    begin: Option<u64>,
    first: Option<Point>,
    middle: Option<Point>,
    /// The last of those that arrived more slowly than they were sent, and its number.
    last: Option<(Point, u64)>,
    acks: u32,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    arrived_ns: Nanos,
    sent_ns: Nanos,
    delivered: u64,
}

impl Point {
    /// Whether what lies between arrived more slowly than it was sent.
    fn bursts_to(self, later: Point) -> bool {
        let sent_ns = later.sent_ns.saturating_sub(self.sent_ns);
        let arrived_ns = later.arrived_ns.saturating_sub(self.arrived_ns);
        sent_ns * 4 <= arrived_ns * 3
    }
}

impl Train {
    /// The packets from `number` on are a train of `packets`.
    pub fn new(number: u64, packets: u64) -> Train {
        Train { packets, begin: Some(number), first: None, middle: None, last: None, acks: 0 }
    }

    /// The next packets are a train, whatever numbers they get.
    pub fn after_outage(packets: u64) -> Train {
        Train { begin: None, ..Train::new(0, packets) }
    }

    /// Whether the next packets are to leave in a burst.
    pub fn is_on(&self) -> bool {
        self.packets > 0
    }

    /// Takes an ACK: the bottleneck's rate, if it is known now.
    pub fn on_ack(&mut self, ack: &AckSample<'_>, max_ack_delay_ns: Nanos) -> Option<u64> {
        let packets = self.packets;
        let begin = *self.begin.get_or_insert(ack.next_number);
        let highest = ack.largest_newly_acked;
        if packets == 0 || highest < begin {
            return None;
        }
        let point = Point {
            arrived_ns: ack.now.saturating_sub(ack.ack_delay_ns.min(ack.rtt.ack_held_most_ns(max_ack_delay_ns))),
            sent_ns: ack.rate.sent_ns,
            delivered: ack.totals.delivered,
        };
        let first = self.first.get_or_insert(point);
        // A program's first small messages come before its bulk data.
        if highest < begin + packets / 4 && point.sent_ns > first.sent_ns + APART_NS {
            *first = point;
            self.acks = 0;
        }
        let first = *first;
        if first.bursts_to(point) {
            self.acks += 1;
            self.last = Some((point, highest));
        }
        if highest >= begin + packets / 2 {
            self.middle.get_or_insert(point);
        }
        if highest + 1 < begin + packets * 7 / 8 {
            return None;
        }
        // Of a train whose end a shallow queue dropped, what comes next left a round trip later.
        let (last, told) = self.last.unwrap_or((point, highest));
        let (acks, middle) = (self.acks, self.middle.filter(|middle| middle.delivered < last.delivered));
        let spread_ns = last.arrived_ns.saturating_sub(first.arrived_ns);
        let burst = first.bursts_to(last) && told >= begin + packets / 4;
        let worth = ack.rtt.smoothed_ns() >= WORTH_SPREADS * spread_ns;
        self.packets = 0;
        if acks >= ACKS_MIN && spread_ns >= SPREAD_MIN_NS && burst && worth {
            return rate_bps(first, middle, last);
        }
        if worth && burst && 2 * packets <= TRAIN_PACKETS_MAX {
            // The window has doubled: what follows this train is the next, let go by its ACKs.
            *self = Train::new(begin + packets, 2 * packets);
        }
        None
    }
}

/// The lowest of the rates of the whole train and of its halves: a receiver that paused in the middle takes what came
/// meanwhile at once, which makes one half too fast.
fn rate_bps(first: Point, middle: Option<Point>, last: Point) -> Option<u64> {
    let between = |from: Point, to: Point| {
        let span = to.arrived_ns.saturating_sub(from.arrived_ns);
        (span > 0).then(|| ((to.delivered - from.delivered) as f64 * 8e9 / span as f64) as u64)
    };
    let halves = middle.into_iter().flat_map(|middle| [between(first, middle), between(middle, last)]);
    halves.chain([between(first, last)]).flatten().filter(|bps| *bps > 0).min()
}

#[cfg(test)]
mod tests {
    use super::super::super::Totals;
    use super::super::super::tests::ack_at;
    use super::*;
    use crate::base::time::{MILLISECOND, SECOND};
    use crate::proto::recovery::RateSample;

    const RTT: Nanos = 20 * MILLISECOND;

    /// The ACKs of a burst of 64 packets: packets told of by each, and when they came, in µs after the first.
    fn measure(acks: &[(u64, u64)], sent_over_us: u64) -> (Option<u64>, Train) {
        let mut train = Train::new(0, 64);
        let mut shown = None;
        for &(told, at_us) in acks {
            let sent_ns = SECOND + sent_over_us * MICROSECOND * told / 64;
            let totals = Totals { delivered: told * 1538, ..Totals::default() };
            let rate = RateSample { sent_ns, ..RateSample::default() };
            let now = SECOND + RTT + at_us * MICROSECOND;
            let ack = AckSample { totals, rate, ..ack_at(now, 0, told - 1, 64, RTT) };
            shown = shown.or(train.on_ack(&ack, 0));
        }
        (shown, train)
    }

    #[test]
    fn a_burst_spread_by_the_bottleneck_shows_its_rate() {
        // 12.3 µs each at a gigabit, acknowledged by eights.
        let acks: Vec<_> = (1..=8).map(|ack| (8 * ack, 98 * ack)).collect();
        let (shown, train) = measure(&acks, 0);
        assert!(shown.is_some_and(|bps| bps.abs_diff(1_000_000_000) < 10_000_000), "{shown:?}");
        assert!(!train.is_on());
    }

    #[test]
    fn small_messages_before_the_burst_are_not_of_it() {
        let mut train = Train::new(0, 64);
        let mut shown = None;
        // Four packets 300 µs apart, then a burst of 60 at a gigabit.
        let burst = (1..=8).map(|ack| (4 + 8 * ack - 1, 1200, 1200 + 98 * ack));
        for (highest, sent_us, at_us) in (0..4).map(|n| (n, 300 * n, 300 * n)).chain(burst) {
            let totals = Totals { delivered: (highest + 1) * 1538, ..Totals::default() };
            let rate = RateSample { sent_ns: SECOND + sent_us * MICROSECOND, ..RateSample::default() };
            let ack = ack_at(SECOND + RTT + at_us * MICROSECOND, 0, highest, 70, RTT);
            shown = shown.or(train.on_ack(&AckSample { totals, rate, ..ack }, 0));
        }
        assert!(shown.is_some_and(|bps| bps.abs_diff(1_000_000_000) < 10_000_000), "{shown:?}");
    }

    #[test]
    fn a_receiver_that_paused_does_not_make_it_faster() {
        // The second half is taken at once.
        let acks = [(8, 98), (16, 196), (24, 294), (32, 392), (40, 780), (48, 782), (56, 784), (64, 786)];
        let (shown, _) = measure(&acks, 0);
        assert!(shown.is_some_and(|bps| bps <= 1_050_000_000), "{shown:?}");
    }

    #[test]
    fn a_train_whose_end_was_dropped_shows_what_arrived_of_it() {
        let mut train = Train::new(0, 64);
        let mut shown = None;
        // Of 64 packets at a gigabit 40 arrived; what was lost comes again a round trip later, as number 64 and on.
        let again_us = RTT / MICROSECOND;
        let burst = (1..=5).map(|ack| (8 * ack, 0, 98 * ack));
        for (told, sent_us, at_us) in burst.chain([(66, again_us, again_us + 500), (72, again_us, again_us + 600)]) {
            let totals = Totals { delivered: told.min(48) * 1538, ..Totals::default() };
            let rate = RateSample { sent_ns: SECOND + sent_us * MICROSECOND, ..RateSample::default() };
            let ack = ack_at(SECOND + RTT + at_us * MICROSECOND, 0, told - 1, 70, RTT);
            shown = shown.or(train.on_ack(&AckSample { totals, rate, ..ack }, 0));
        }
        assert!(shown.is_some_and(|bps| bps.abs_diff(1_000_000_000) < 10_000_000), "{shown:?}");
    }

    #[test]
    fn one_ack_shows_nothing_and_the_next_window_is_tried() {
        let (shown, train) = measure(&[(64, 80)], 0);
        assert_eq!((shown, train.begin, train.packets), (None, Some(64), 128));
    }

    #[test]
    fn what_was_not_sent_in_a_burst_shows_nothing() {
        let acks: Vec<_> = (1..=8).map(|ack| (8 * ack, 98 * ack)).collect();
        let (shown, train) = measure(&acks, 790);
        assert!(shown.is_none() && !train.is_on());
    }
}
