//! Delivery rate: how fast what was sent has arrived (draft-ietf-ccwg-bbr, "Delivery Rate Samples").
//!
//! A sample spans from a packet's sending to its acknowledgement, about a round trip, and divides what was delivered
//! meanwhile by the longer of the time that it took to send and to be acknowledged. Packets of a turn leave at the same
//! `now` and in the same state, so what the draft keeps per packet is kept here per flight: packets sent within 1/256
//! of a round trip. Older marks only make a sample span a little more, at both of its ends, so it stays true.

use std::collections::VecDeque;

use super::congestion::Totals;
use super::sent::Sent;
use crate::base::Nanos;

/// Flights per round trip. Fewer: samples span needlessly more than a round trip, and the bytes in flight at a loss are
/// known less well. More: memory, 64 bytes each.
const FLIGHTS_PER_ROUND_TRIP: Nanos = 256;
/// A sender's pause below this part of a round trip is none. Lower: on long paths each preemption of the worker makes a
/// round trip's samples worthless. Higher: pauses make rates wrong by more than the percent that they are good to.
const SMALL_GAP: Nanos = 100;
/// What one acknowledgement says about the path's rate. Wire bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateSample {
    /// Delivered since the newest packet that this ACK names was sent, that packet included.
    pub delivered_bytes: u64,
    /// In this time.
    pub interval_ns: Nanos,
    /// The quotient in bits per second; 0 where the interval says nothing (shorter than the smallest round trip).
    pub rate_bps: u64,
    /// The sender had nothing to send, or no core, for a while before that packet: the path may carry more than this.
    pub is_app_limited: bool,
    /// Lost since that packet was sent.
    pub lost_bytes: u64,
    /// Acknowledged by this ACK for the first time.
    pub newly_acked_bytes: u64,
    /// Found lost since the last ACK.
    pub newly_lost_bytes: u64,
    /// In flight when that packet had been sent, itself included.
    pub tx_in_flight_bytes: u64,
    /// Delivered when that packet was sent: a round trip ends with a sample whose value is at least what was delivered
    /// when the round trip began.
    pub prior_delivered_bytes: u64,
    /// When that packet was sent.
    pub sent_ns: Nanos,
    /// The round trip of the ACK's highest packet, if that is news.
    pub rtt_ns: Option<Nanos>,
}

/// What was so when a packet was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AtSending {
    /// Wire bytes in flight, the packet included.
    pub in_flight: u64,
    /// Wire bytes lost until then.
    pub lost: u64,
}

/// Packets that were sent in one state.
#[derive(Clone, Copy, Debug)]
struct Flight {
    first_number: u64,
    /// Totals when the first of them was sent.
    delivered: u64,
    lost: u64,
    /// Wire bytes in flight before it.
    in_flight: u64,
    /// When `delivered` was reached.
    delivered_ns: Nanos,
    /// When the packet was sent whose acknowledgement reached it.
    first_sent_ns: Nanos,
    app_limited: bool,
}

/// The sampler of one connection.
#[derive(Debug)]
pub struct DeliverySampler {
    /// By number; those of packets that nobody waits for any more are gone.
    flights: VecDeque<Flight>,
    /// Packets sent before this belong to the last flight.
    flight_until_ns: Nanos,
    delivered_ns: Nanos,
    first_sent_ns: Nanos,
    /// Samples are app-limited until so much is delivered: what was in flight when the gap ended.
    app_limited_until: u64,
    /// There was nothing to send although the window had room.
    starved: bool,
    /// Total of losses when the last sample was taken.
    lost_before: u64,
}

/// What the sampler must know about a packet that begins a flight.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    /// Now.
    pub now: Nanos,
    /// The packet's number.
    pub number: u64,
    /// Wire bytes in flight without it.
    pub in_flight: u64,
    /// Totals without it.
    pub totals: Totals,
    /// The round trip, smoothed.
    pub srtt_ns: Nanos,
    /// Until when the sender had reason not to send: pacing, or its last packet.
    pub busy_until_ns: Nanos,
    /// What pacing makes good for: a gap up to this is none.
    pub credit_ns: Nanos,
    /// The window was full lately, which is reason enough.
    pub window_full: bool,
}

impl DeliverySampler {
    /// What it takes.
    pub fn memory_bytes(&self) -> usize {
        self.flights.capacity() * size_of::<Flight>()
    }

    /// Nothing sent yet.
    pub fn new() -> DeliverySampler {
        DeliverySampler {
            flights: VecDeque::new(),
            flight_until_ns: 0,
            delivered_ns: 0,
            first_sent_ns: 0,
            app_limited_until: 0,
            starved: false,
            lost_before: 0,
        }
    }

    /// The sender has nothing to send although the window has room.
    pub fn on_starved(&mut self) {
        self.starved = true;
        self.flight_until_ns = 0;
    }

    /// Whether a packet sent now begins a flight: then [`begin_flight`](Self::begin_flight) is to be called.
    pub fn is_flight_over(&self, now: Nanos) -> bool {
        now >= self.flight_until_ns
    }

    /// The next packet begins a flight, whenever it is sent.
    pub fn end_flight(&mut self) {
        self.flight_until_ns = 0;
    }

    /// A packet is sent that begins a flight. True when it ends a time of silence: nothing is in flight, and there was
    /// nothing to send.
    pub fn begin_flight(&mut self, sending: &Sending) -> bool {
        let Sending { now, number, in_flight, totals, srtt_ns, busy_until_ns, credit_ns, window_full } = *sending;
        if in_flight == 0 {
            self.first_sent_ns = now;
            self.delivered_ns = now;
        }
        let gap_ns = now.saturating_sub(busy_until_ns);
        // A sender that had nothing to send has left a gap in its flow. Where round trips are short, a quarter of one
        // is enough of a gap. A program that refills its stream a turn late is made good for by the pacer.
        // A gap that is a small part of a round trip is a small error of its rate.
        let small_ns = srtt_ns / SMALL_GAP;
        let starved = std::mem::take(&mut self.starved) && gap_ns > credit_ns.min(srtt_ns / 4).max(small_ns);
        // A host that was busy elsewhere: what arrives is what it sent, not what the path carries.
        let late = gap_ns > credit_ns.max(small_ns) && !window_full;
        if starved || late {
            self.app_limited_until = (totals.delivered + in_flight).max(1);
        }
        self.flights.push_back(Flight {
            first_number: number,
            delivered: totals.delivered,
            lost: totals.lost,
            in_flight,
            delivered_ns: self.delivered_ns,
            first_sent_ns: self.first_sent_ns,
            app_limited: self.app_limited_until > 0,
        });
        self.flight_until_ns = now + (srtt_ns / FLIGHTS_PER_ROUND_TRIP).max(1);
        in_flight == 0 && self.app_limited_until > 0
    }

    /// Packets were acknowledged, `newest` being the one with the highest number; `totals` include them. Tells the
    /// rate as far as this ACK knows it; `newly_acked_bytes` and `rtt_ns` are the caller's to fill in.
    pub fn on_acked(&mut self, now: Nanos, newest: &Sent, totals: Totals, min_rtt_ns: Nanos) -> RateSample {
        if totals.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        self.delivered_ns = now;
        let newly_lost_bytes = totals.lost.saturating_sub(self.lost_before);
        self.lost_before = totals.lost;
        let Some(flight) = self.flight_of(newest.number) else {
            return RateSample { newly_lost_bytes, sent_ns: newest.packet.sent_ns, ..RateSample::default() };
        };
        let send_ns = newest.packet.sent_ns.saturating_sub(flight.first_sent_ns);
        let interval_ns = send_ns.max(now.saturating_sub(flight.delivered_ns));
        self.first_sent_ns = self.first_sent_ns.max(newest.packet.sent_ns);
        let delivered_bytes = totals.delivered.saturating_sub(flight.delivered);
        let rate_bps = if interval_ns == 0 || interval_ns < min_rtt_ns {
            0
        } else {
            (u128::from(delivered_bytes) * 8_000_000_000 / u128::from(interval_ns)) as u64
        };
        RateSample {
            delivered_bytes,
            interval_ns,
            rate_bps,
            is_app_limited: flight.app_limited,
            lost_bytes: totals.lost.saturating_sub(flight.lost),
            newly_lost_bytes,
            tx_in_flight_bytes: flight.in_flight_with(newest.number, newest.packet.wire_bytes()),
            prior_delivered_bytes: flight.delivered,
            sent_ns: newest.packet.sent_ns,
            ..RateSample::default()
        }
    }

    /// What was so when packet `number` of `wire_bytes` was sent, as long as it is remembered.
    pub fn at_sending(&self, number: u64, wire_bytes: u64) -> Option<AtSending> {
        let flight = self.flight_of(number)?;
        Some(AtSending { in_flight: flight.in_flight_with(number, wire_bytes), lost: flight.lost })
    }

    /// Nobody waits for packets below `lowest`; `in_flight` are left.
    pub fn forget_below(&mut self, lowest: u64, in_flight: u64) {
        while self.flights.get(1).is_some_and(|second| second.first_number <= lowest) {
            self.flights.pop_front();
        }
        if in_flight == 0 {
            // The next packet starts the clocks anew.
            self.flight_until_ns = 0;
        }
    }

    fn flight_of(&self, number: u64) -> Option<Flight> {
        let after = self.flights.partition_point(|flight| flight.first_number <= number);
        self.flights.get(after.checked_sub(1)?).copied()
    }
}

impl Flight {
    /// Bytes in flight once packet `number` of this flight was sent, taking those before it to be as large.
    fn in_flight_with(&self, number: u64, wire_bytes: u64) -> u64 {
        self.in_flight + (number - self.first_number + 1) * wire_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};
    use crate::proto::recovery::SentPacket;

    const RTT: Nanos = 10 * MILLISECOND;
    const BYTES: u64 = 1538;
    const GAP_NS: Nanos = 250 * MICROSECOND;

    /// A sender of full packets, of which each one sent can be acknowledged by its number.
    struct Sender {
        sampler: DeliverySampler,
        totals: Totals,
        in_flight: u64,
        sent: Vec<Sent>,
        last_sent_ns: Nanos,
        window_full: bool,
    }

    impl Sender {
        fn new() -> Sender {
            let sampler = DeliverySampler::new();
            Sender {
                sampler,
                totals: Totals::default(),
                in_flight: 0,
                sent: Vec::new(),
                last_sent_ns: 0,
                window_full: true,
            }
        }

        fn send(&mut self, now: Nanos) -> bool {
            let number = self.sent.len() as u64;
            let mut restart = false;
            if self.sampler.is_flight_over(now) {
                let (in_flight, totals, busy_until_ns) = (self.in_flight, self.totals, self.last_sent_ns);
                let window_full = self.window_full;
                let sending = Sending {
                    now,
                    number,
                    in_flight,
                    totals,
                    srtt_ns: RTT,
                    busy_until_ns,
                    credit_ns: GAP_NS,
                    window_full,
                };
                restart = self.sampler.begin_flight(&sending);
            }
            let packet = SentPacket { sent_ns: now, len: 1514, ..SentPacket::default() };
            self.sent.push(Sent { number, packet });
            self.in_flight += BYTES;
            self.totals.sent += BYTES;
            self.last_sent_ns = now;
            restart
        }

        /// An ACK of `count` packets, the newest of which is `newest`.
        fn ack(&mut self, now: Nanos, newest: u64, count: u64) -> RateSample {
            self.totals.delivered += count * BYTES;
            self.in_flight -= count * BYTES;
            let sample = self.sampler.on_acked(now, &self.sent[newest as usize], self.totals, RTT);
            self.sampler.forget_below(newest + 1, self.in_flight);
            sample
        }
    }

    fn near(bps: u64, expected: u64) -> bool {
        bps.abs_diff(expected) * 50 < expected
    }

    #[test]
    fn a_steady_flow_is_measured_at_its_rate_whatever_the_acks() {
        // A packet each 10 µs, acknowledged a round trip later in lumps of 64: 1538 × 8 bits in 10 µs.
        let mut sender = Sender::new();
        let mut rates = Vec::new();
        for step in 0..10_000_u64 {
            let now = SECOND + step * 10 * MICROSECOND;
            sender.send(now);
            if step >= 1_000 && step % 64 == 0 {
                let newest = step - 1_000;
                let count = newest + 1 - sender.totals.delivered / BYTES;
                let sample = sender.ack(now, newest, count);
                if step > 3_000 {
                    rates.push(sample.rate_bps);
                }
                assert!(!sample.is_app_limited);
            }
        }
        assert!(rates.len() > 100 && rates.iter().all(|&bps| near(bps, 1_230_400_000)), "{rates:?}");
        assert!(sender.sampler.flights.len() < 300, "{} flights", sender.sampler.flights.len());
    }

    #[test]
    fn compressed_acks_do_not_inflate_the_rate() {
        // A packet each 100 µs, all ACKs of 5 ms held up and let go at once.
        let mut sender = Sender::new();
        for step in 0..100 {
            sender.send(SECOND + step * 100 * MICROSECOND);
        }
        let first = sender.ack(SECOND + RTT, 0, 1);
        assert_eq!((first.delivered_bytes, first.interval_ns), (BYTES, RTT));
        for step in 100..150 {
            sender.send(SECOND + step * 100 * MICROSECOND);
        }
        let last = SECOND + 15 * MILLISECOND;
        let best = (1..=50).map(|number| sender.ack(last, number, 1).rate_bps).max();
        assert!(best.is_some_and(|bps| bps <= 123_040_000 * 51 / 50), "{best:?} for 123 Mbit/s");
    }

    #[test]
    fn packets_of_a_turn_share_a_flight_and_know_what_was_in_flight() {
        let mut sender = Sender::new();
        for _ in 0..64 {
            sender.send(SECOND);
        }
        sender.send(SECOND + RTT / 2);
        assert_eq!(sender.sampler.flights.len(), 2);
        let seen = [0, 63, 64].map(|number| sender.sampler.at_sending(number, BYTES).map(|at| at.in_flight));
        assert_eq!(seen, [Some(BYTES), Some(64 * BYTES), Some(65 * BYTES)]);
        let sample = sender.ack(SECOND + RTT, 63, 64);
        assert_eq!((sample.tx_in_flight_bytes, sample.delivered_bytes), (64 * BYTES, 64 * BYTES));
        assert!(near(sample.rate_bps, 64 * BYTES * 800), "64 packets in 10 ms");
        assert_eq!(sender.sampler.at_sending(10, BYTES), None, "nobody waits for it");
    }

    #[test]
    fn losses_since_the_sending_are_counted() {
        let mut sender = Sender::new();
        for step in 0..20 {
            sender.send(SECOND + step * MILLISECOND);
        }
        sender.totals.lost += 2 * BYTES;
        sender.in_flight -= 2 * BYTES;
        let sample = sender.ack(SECOND + RTT + 3 * MILLISECOND, 3, 2);
        assert_eq!((sample.lost_bytes, sample.newly_lost_bytes), (2 * BYTES, 2 * BYTES));
        sender.send(SECOND + 20 * MILLISECOND);
        let sample = sender.ack(SECOND + 30 * MILLISECOND, 20, 1);
        assert_eq!((sample.lost_bytes, sample.newly_lost_bytes), (0, 0));
    }

    #[test]
    fn a_gap_in_the_flow_marks_its_samples_and_a_short_one_does_not() {
        let mut sender = Sender::new();
        sender.send(SECOND);
        sender.sampler.on_starved();
        sender.send(SECOND + GAP_NS);
        sender.sampler.on_starved();
        assert!(!sender.send(SECOND + 2 * GAP_NS + 1), "something is in flight");
        sender.send(SECOND + 3 * GAP_NS);
        let limited = [0, 1, 2, 3].map(|number| sender.ack(SECOND + RTT + GAP_NS * 3, number, 1).is_app_limited);
        assert_eq!(limited, [false, false, true, true]);
        sender.send(SECOND + 5 * RTT);
        assert!(!sender.ack(SECOND + 6 * RTT, 4, 1).is_app_limited, "the window was full");
        sender.sampler.on_starved();
        assert!(sender.send(SECOND + 9 * RTT), "a restart after silence");
        sender.send(SECOND + 9 * RTT + RTT / 2);
        assert!(sender.ack(SECOND + 10 * RTT, 5, 1).is_app_limited);
        sender.ack(SECOND + 10 * RTT + RTT / 2, 6, 1);
        sender.send(SECOND + 11 * RTT);
        assert!(!sender.ack(SECOND + 12 * RTT, 7, 1).is_app_limited, "the gap has left the path");
        sender.window_full = false;
        sender.send(SECOND + 13 * RTT);
        assert!(sender.ack(SECOND + 14 * RTT, 8, 1).is_app_limited, "the host itself was late");
    }
}
