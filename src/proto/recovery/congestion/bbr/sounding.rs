//! The second window: its first part leaves faster than the bottleneck carries it, and so measures it well.
//!
//! The first window is too short for that: its ACKs come over less than a millisecond, and workers that rest, or get no
//! core, move each by a quarter of one. What they tell may be a third of the truth, rarely more than it. Data a few
//! milliseconds long, sent several times as fast, tells it to some percent.

use super::super::AckSample;
use super::super::arrivals::Arrivals;
use crate::base::Nanos;
use crate::base::time::MILLISECOND;

/// How fast the data leaves, in units of the rate known so far. Lower: a bottleneck of which a third was seen needs one
/// more round trip. Higher: more of it waits in the queue at once.
pub const FACTOR: f64 = 4.0;
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
    known_bps: u64,
    packets: u64,
    began_ns: Nanos,
    /// The number of its first packet.
    first: u64,
    sent: u64,
    first_sent_ns: Nanos,
    last_sent_ns: Nanos,
    /// Bytes delivered when it began.
    acked: u64,
    arrivals: Arrivals,
    tries: u32,
}

/// What it has shown.
#[derive(Clone, PartialEq, Debug)]
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
    pub fn again(&self, ack: &AckSample<'_>, known_bps: u64, mss: u64) -> Sounding {
        Sounding { tries: self.tries + 1, ..Sounding::new(ack, known_bps, mss) }
    }

    /// Whether packets of it are still to be sent.
    pub fn is_sending(&self) -> bool {
        self.sent < self.packets
    }

    /// How fast the next packet leaves, in units of the rate known so far.
    pub fn gain(&self) -> f64 {
        if self.is_sending() { FACTOR } else { 1.0 }
    }

    /// What it may have in flight beside what the path holds.
    pub fn bytes(&self, mss: u64) -> u64 {
        self.packets * mss
    }

    /// A packet left.
    pub fn on_sent(&mut self, now: Nanos, number: u64) {
        if number < self.first || !self.is_sending() {
            return;
        }
        if self.sent == 0 {
            self.first_sent_ns = now;
        }
        self.last_sent_ns = now;
        self.sent += 1;
    }

    /// Takes an ACK; some when all is known.
    pub fn on_ack(&mut self, ack: &AckSample<'_>, max_ack_delay_ns: Nanos, mss: u64) -> Option<Sounded> {
        let rtt_ns = ack.rtt.smoothed_ns();
        if ack.largest_newly_acked >= self.first && ack.largest_newly_acked < self.first + self.packets {
            self.acked += ack.acked_bytes;
            let held_ns = ack.ack_delay_ns.min(max_ack_delay_ns + 2 * ack.rtt.patience_most_ns());
            self.arrivals.add(ack.now.saturating_sub(held_ns), self.acked);
        }
        // There may be less to send than it takes.
        let late = ack.now.saturating_sub(self.began_ns) > 2 * rtt_ns;
        if !late && ack.largest_newly_acked + 1 < self.first + self.packets {
            return None;
        }
        let Some(bps) = self.arrivals.rate_bps() else { return Some(Sounded::Rate(self.known_bps)) };
        let sent_ns = (self.last_sent_ns - self.first_sent_ns).max(1);
        let sent_bps = ((self.sent.max(1) - 1) * mss * 8_000_000_000) as f64 / sent_ns as f64;
        // A host that can't send faster than this has shown all that it can.
        let more = bps > UNFILLED * sent_bps && bps > WORTH_MORE * self.known_bps as f64;
        let again = more && !late && self.tries < TRIES;
        Some(if again { Sounded::AtLeast(bps as u64) } else { Sounded::Rate(bps as u64) })
    }
}
