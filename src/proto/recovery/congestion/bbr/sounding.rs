//! The second window: its first part leaves faster than the bottleneck carries it, and so measures it well.
//!
//! The first window is too short for that: its ACKs come over less than a millisecond, and workers that rest, or get no
//! core, move each by a quarter of one. What they tell may be a third of the truth, rarely more than it. Data a few
//! milliseconds long, sent several times as fast, tells it to some percent.

use super::super::AckSample;
use super::arrivals::Arrivals;
use crate::base::Nanos;
use crate::base::time::MILLISECOND;

/// How fast the data leaves, in units of the rate known so far. Lower: a bottleneck of which a third was seen needs one
/// more round trip. Higher: more of it waits in the queue at once.
pub const FACTOR: f64 = 4.0;
/// How fast what follows leaves, so that the queue that it made is gone before it is told of. Lower: a link of which
/// little was known runs dry. Higher: the queue stands for longer.
const SLOW: f64 = 0.5;
/// How much of it, as the round trip's share at the rate known so far. All but a quarter may wait in the queue, which
/// is less than 0.1 BDP. Lower: fewer ACKs tell the rate. Higher: shallow queues overflow.
const ROUND_TRIP_SHARE: Nanos = 8;
/// And at most so much: it is enough.
const SPAN_MAX_NS: Nanos = 16 * MILLISECOND;
/// And at least: what shallow switch ports hold.
const PACKETS_MIN: u64 = 64;
/// Arrived at this share of the speed that it was sent with, it has not filled the bottleneck …
const UNFILLED: f64 = 0.9;
/// … and it is tried again if it brought at least so much.
const WORTH_MORE: f64 = 1.5;
/// How often at most. Each costs a round trip, and raises the rate by [`FACTOR`].
const TRIES: u32 = 4;

/// The measurement under way.
#[derive(Clone, Debug)]
pub struct Sounding {
    mss: u64,
    known_bps: u64,
    packets: u64,
    began_ns: Nanos,
    /// The number of its first packet.
    first: u64,
    sent: u64,
    first_sent_ns: Nanos,
    last_sent_ns: Nanos,
    /// Bytes of it that were acknowledged.
    acked: u64,
    arrivals: Arrivals,
    tries: u32,
}

/// What it has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sounded {
    /// The bottleneck's rate, in bits per second.
    Rate(u64),
    /// At least this: the bottleneck was not filled, and it is to be tried again.
    AtLeast(u64),
}

impl Sounding {
    /// Begins with the next packet. A bottleneck of `known_bps` was seen.
    pub fn new(ack: &AckSample<'_>, known_bps: u64, mss: u64) -> Sounding {
        let span_ns = (ack.rtt.smoothed_ns() / ROUND_TRIP_SHARE).min(SPAN_MAX_NS);
        Sounding {
            mss,
            known_bps,
            packets: (super::bytes_in(known_bps, span_ns) / mss).max(PACKETS_MIN),
            began_ns: ack.now,
            first: ack.next_number,
            sent: 0,
            first_sent_ns: 0,
            last_sent_ns: 0,
            acked: 0,
            arrivals: Arrivals::default(),
            tries: 1,
        }
    }

    /// The same, faster, as this one has not filled the bottleneck.
    pub fn again(&self, ack: &AckSample<'_>, known_bps: u64) -> Sounding {
        Sounding { tries: self.tries + 1, ..Sounding::new(ack, known_bps, self.mss) }
    }

    /// Whether packets of it are still to be sent, or of what follows more slowly so that its queue goes.
    pub fn is_sending(&self) -> bool {
        self.sent < self.packets + self.slow_packets()
    }

    /// How fast the next packet leaves, in units of the rate known so far.
    pub fn gain(&self) -> f64 {
        if self.sent < self.packets {
            FACTOR
        } else if self.is_sending() {
            SLOW
        } else {
            1.0
        }
    }

    /// What was sent too early is made up for by these.
    fn slow_packets(&self) -> u64 {
        (self.packets as f64 * (1.0 - 1.0 / FACTOR) * SLOW / (1.0 - SLOW)) as u64
    }

    /// What it may have in flight beside what the path holds.
    pub fn bytes(&self) -> u64 {
        self.packets * self.mss
    }

    /// A packet left.
    pub fn on_sent(&mut self, now: Nanos, number: u64) {
        if number < self.first || !self.is_sending() {
            return;
        }
        if self.sent == 0 {
            self.first_sent_ns = now;
        }
        self.sent += 1;
        if self.sent <= self.packets {
            self.last_sent_ns = now;
        }
    }

    /// Takes an ACK; some when all is known.
    pub fn on_ack(&mut self, ack: &AckSample<'_>, max_ack_delay_ns: Nanos) -> Option<Sounded> {
        let rtt_ns = ack.rtt.smoothed_ns();
        if ack.largest_newly_acked >= self.first && ack.largest_newly_acked < self.first + self.packets {
            self.acked += ack.acked_bytes;
            let held_ns = ack.ack_delay_ns.min(ack.rtt.ack_held_most_ns(max_ack_delay_ns));
            self.arrivals.add(ack.now.saturating_sub(held_ns), self.acked);
        }
        // There may be less to send than it takes.
        let late = ack.now.saturating_sub(self.began_ns) > 2 * rtt_ns;
        if !late && ack.largest_newly_acked + 1 < self.first + self.packets {
            return None;
        }
        let Some(bps) = self.arrivals.rate_bps() else { return Some(Sounded::Rate(self.known_bps)) };
        let sent_ns = (self.last_sent_ns - self.first_sent_ns).max(1);
        let sent_bps = ((self.sent.clamp(1, self.packets) - 1) * self.mss * 8_000_000_000) as f64 / sent_ns as f64;
        // A host that can't send faster than this has shown all that it can.
        let more = bps > UNFILLED * sent_bps && bps > WORTH_MORE * self.known_bps as f64;
        if self.sent < self.packets {
            // What arrived was all that there was to send.
            return Some(Sounded::Rate(self.known_bps.max(bps as u64)));
        }
        let again = more && !late && self.tries < TRIES;
        Some(if again { Sounded::AtLeast(bps as u64) } else { Sounded::Rate(bps as u64) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::ack_at;
    use super::*;
    use crate::base::time::SECOND;

    const RTT: Nanos = 80 * MILLISECOND;
    const MSS: u64 = 1538;
    const MBIT: u64 = 1_000_000;

    /// What a link of `link_mbit` shows to who knows of `known_mbit`, acknowledged by eights from packet 100 on.
    fn sound(known_mbit: u64, link_mbit: u64) -> (Option<Sounded>, Sounding) {
        let mut sounding = Sounding::new(&ack_at(SECOND, 0, 99, 100, RTT), known_mbit * MBIT, MSS);
        let packets = sounding.packets;
        let gap_ns = |mbit: u64| MSS * 8000 / mbit;
        for packet in 0..packets {
            sounding.on_sent(SECOND + packet * gap_ns(known_mbit * FACTOR as u64), 100 + packet);
        }
        assert!(sounding.is_sending() && sounding.gain() == SLOW);
        // What was sent in a quarter of its time, and what follows in twice its time, together take their time.
        let slow = sounding.slow_packets();
        assert!((packets / 4 + 2 * slow).abs_diff(packets + slow) <= 2, "{packets} {slow}");
        (0..slow).for_each(|packet| sounding.on_sent(SECOND + RTT / 2, 100 + packets + packet));
        assert!(!sounding.is_sending() && sounding.gain() == 1.0);
        let slowest_ns = gap_ns(link_mbit).max(gap_ns(known_mbit * FACTOR as u64));
        let mut shown = None;
        for told in (8..=packets + 8).step_by(8) {
            let now = SECOND + RTT + told * slowest_ns;
            shown = shown.or(sounding.on_ack(&ack_at(now, 8 * MSS, 99 + told, 100 + packets, RTT), 0));
        }
        (shown, sounding)
    }

    #[test]
    fn what_arrives_of_a_filled_link_is_its_rate() {
        for known_mbit in [300, 500, 950] {
            let (shown, _) = sound(known_mbit, 1000);
            let Some(Sounded::Rate(bps)) = shown else { panic!("{known_mbit}: {shown:?}") };
            assert!(bps.abs_diff(1000 * MBIT) < 20 * MBIT, "{known_mbit}: {bps}");
        }
    }

    #[test]
    fn a_link_that_was_not_filled_is_tried_again_a_few_times() {
        let (shown, sounding) = sound(50, 1000);
        let Some(Sounded::AtLeast(bps)) = shown else { panic!("{shown:?}") };
        assert!(bps.abs_diff(200 * MBIT) < 10 * MBIT, "{bps}");
        let next = sounding.again(&ack_at(2 * SECOND, 0, 99, 100, RTT), bps);
        assert_eq!((next.tries, next.sent, next.known_bps), (2, 0, bps));
    }

    #[test]
    fn who_has_too_little_to_send_goes_by_what_was_known() {
        let mut sounding = Sounding::new(&ack_at(SECOND, 0, 99, 100, RTT), 500 * MBIT, MSS);
        sounding.on_sent(SECOND, 100);
        assert!(sounding.is_sending() && sounding.gain() == FACTOR);
        assert_eq!(sounding.on_ack(&ack_at(SECOND + RTT, MSS, 100, 101, RTT), 0), None);
        // An application that trickles: twenty packets over two round trips.
        for packet in 1..20 {
            let at = SECOND + packet * RTT / 10;
            sounding.on_sent(at, 100 + packet);
            assert_eq!(sounding.on_ack(&ack_at(at, MSS, 100 + packet, 101 + packet, RTT), 0), None);
        }
        let late = ack_at(SECOND + 2 * RTT + 1, MSS, 120, 121, RTT);
        assert_eq!(sounding.on_ack(&late, 0), Some(Sounded::Rate(500 * MBIT)));
    }
}
