//! Trains of padding that measure the bottleneck: sent faster than it carries, they arrive just as fast as it does.
//!
//! While a train is faster than the link, the link never rests, and what arrives in a given time is its rate, whatever
//! the queue drops of the rest. Trains grow until a good part of a round trip's worth of acknowledgements tells it.

use super::AckSample;
use super::arrivals::Arrivals;
use crate::base::time::{MILLISECOND, SECOND};
use crate::base::{Nanos, Rate};

/// Packets of the first train: a burst that every ring and switch port takes.
const FIRST_PACKETS: u64 = 64;
/// While a train arrives within too few ACKs to tell a rate, the next one is so many times as long. Lower: more round
/// trips. Higher: a slow link with little queue loses more of it.
const LONGER: u64 = 16;
/// A train that took this long to arrive tells the rate well enough: ACKs come when turns of 20 to 100 µs let them,
/// so to half a percent or better.
const ENOUGH_NS: Nanos = 20 * MILLISECOND;
/// One that took this long tells it well enough for a last, fine train.
const ROUGH_NS: Nanos = 4 * MILLISECOND;
/// How long a coarse train is sent, and how much faster than the rate known so far: the guess may be half of the truth.
const COARSE_NS: Nanos = 8 * MILLISECOND;
const COARSE_FACTOR: f64 = 2.0;
/// The same for the fine one. Lower: not faster than the link for sure. Higher: the queue that it builds, a quarter of
/// its length here, and what it loses where there is no queue.
const FINE_NS: Nanos = 25 * MILLISECOND;
const FINE_FACTOR: f64 = 1.25;
/// A train of which this share arrived in the time that it was sent in did not fill the link: so much faster the next.
const UNFILLED: f64 = 0.93;
const RAISE: f64 = 4.0;
/// Slower packets at the end of a train, which find room in any queue: an ACK of them says that the train is over.
const TAIL_PACKETS: u64 = 8;
/// Of which so many may be lost.
const TAIL_LOST: u64 = 4;
/// How fast the tail of a train leaves at most, so that pacing does not make a burst of it: a packet in 250 µs …
const TAIL_BPS: f64 = 50e6;
/// … and where nothing is known: one in 1.2 ms.
const TAIL_UNKNOWN_BPS: f64 = 10e6;
/// More trains than this don't help: the link changes all the time.
const MOST_TRAINS: u32 = 10;
/// Longest train in packets: 8 ms at 100 Gbit/s.
const MOST_PACKETS: u64 = 1 << 16;

/// What the trains have found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// Wire bits per second that the link delivers.
    pub rate: Rate,
    /// How long it took.
    pub took_ns: Nanos,
    /// Packets spent on it.
    pub packets: u64,
}

/// The measurement of one connection.
#[derive(Debug)]
pub struct Trains {
    mtu_wire_bytes: u64,
    most_packets: u64,
    began_ns: Nanos,
    stage: Stage,
    train: Train,
    trains: u32,
    packets: u64,
    /// The best that is known so far, in bits per second.
    known_bps: Option<f64>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// As fast as this host sends.
    Burst,
    Coarse,
    Fine,
}

/// One train.
#[derive(Clone, Default, Debug)]
struct Train {
    /// Packets of its body; the tail follows.
    body: u64,
    /// `None`: as fast as this host sends.
    body_bps: Option<f64>,
    tail_bps: f64,
    first: Option<u64>,
    sent: u64,
    first_sent_ns: Nanos,
    last_sent_ns: Nanos,
    acked: u64,
    arrivals: Arrivals,
}

impl Trains {
    /// Begins with a first train. No train is longer than `most_packets`.
    pub fn new(now: Nanos, mtu_wire_bytes: u64, most_packets: u64) -> Trains {
        let mut trains = Trains {
            mtu_wire_bytes,
            most_packets: most_packets.clamp(FIRST_PACKETS, MOST_PACKETS),
            began_ns: now,
            stage: Stage::Burst,
            train: Train::default(),
            trains: 0,
            packets: 0,
            known_bps: None,
        };
        trains.couple(Stage::Burst, FIRST_PACKETS, None);
        trains
    }

    /// Whether packets of the train are still to be sent; else its acknowledgements are waited for.
    pub fn is_sending(&self) -> bool {
        self.train.sent < self.train.body + TAIL_PACKETS
    }

    /// How fast the next packet may leave; `None` for as fast as the host can.
    pub fn pacing_bps(&self) -> Option<u64> {
        let train = &self.train;
        if train.sent < train.body { train.body_bps.map(|bps| bps as u64) } else { Some(train.tail_bps as u64) }
    }

    /// A packet of the train left.
    pub fn on_sent(&mut self, now: Nanos, number: u64) {
        let train = &mut self.train;
        if train.first.is_none() {
            train.first = Some(number);
            train.first_sent_ns = now;
        }
        train.sent += 1;
        if train.sent <= train.body {
            train.last_sent_ns = now;
        }
        self.packets += 1;
    }

    /// Packets were acknowledged. Some when all is known.
    pub fn on_ack(&mut self, ack: &AckSample<'_>) -> Option<Measured> {
        let first = self.train.first.filter(|first| ack.largest_newly_acked >= *first)?;
        let place = ack.largest_newly_acked - first;
        self.train.acked += ack.acked_bytes;
        if place < self.train.body {
            self.train.arrivals.add(ack.now.saturating_sub(ack.ack_delay_ns), self.train.acked);
        }
        let told = !self.is_sending() && place + TAIL_LOST >= self.train.body + TAIL_PACKETS;
        if told { self.conclude(ack.now) } else { None }
    }

    /// The train is over: what it says, and what follows.
    fn conclude(&mut self, now: Nanos) -> Option<Measured> {
        let train = &self.train;
        let Some(bps) = train.arrivals.rate_bps() else {
            self.lengthen();
            return self.give_up(now);
        };
        let span_ns = train.arrivals.span_ns();
        let sent_bps = train.sent_bps(self.mtu_wire_bytes);
        let filled = sent_bps.is_none_or(|sent| bps < UNFILLED * sent);
        // Where this host can't send faster, it is the bottleneck.
        let exhausted = sent_bps.zip(train.body_bps).is_some_and(|(sent, asked)| sent < 0.7 * asked);
        self.known_bps = Some(bps);
        match self.stage {
            Stage::Burst if !filled => self.couple_for(Stage::Coarse, COARSE_NS, RAISE * bps),
            Stage::Burst if span_ns >= ENOUGH_NS => return Some(self.done(now, bps)),
            Stage::Burst if span_ns >= ROUGH_NS => self.couple_for(Stage::Fine, FINE_NS, FINE_FACTOR * bps),
            Stage::Burst => self.couple_for(Stage::Coarse, COARSE_NS, COARSE_FACTOR * bps),
            Stage::Coarse if filled || exhausted => self.couple_for(Stage::Fine, FINE_NS, FINE_FACTOR * bps),
            Stage::Fine if filled || exhausted => return Some(self.done(now, bps)),
            Stage::Coarse | Stage::Fine => self.couple_for(Stage::Coarse, COARSE_NS, RAISE * bps),
        }
        self.give_up(now)
    }

    /// Too few ACKs for a rate: a longer train, or where little arrived at all, a slow one.
    fn lengthen(&mut self) {
        let (body, acked) = (self.train.body, self.train.acked);
        if acked * 2 >= body * self.mtu_wire_bytes {
            self.couple(Stage::Burst, body * LONGER, None);
        } else {
            let bps = acked.max(self.mtu_wire_bytes) as f64 * 8e9 / COARSE_NS as f64;
            self.couple_for(Stage::Coarse, COARSE_NS, COARSE_FACTOR * bps);
        }
    }

    fn couple_for(&mut self, stage: Stage, span_ns: Nanos, bps: f64) {
        let packets = bps * span_ns as f64 / 8e9 / self.mtu_wire_bytes as f64;
        self.couple(stage, (packets as u64).max(FIRST_PACKETS), Some(bps));
    }

    fn couple(&mut self, stage: Stage, packets: u64, body_bps: Option<f64>) {
        self.stage = stage;
        self.trains += 1;
        // Half of the slowest that the link may be, as the body goes faster than it.
        let tail_bps = body_bps.map_or(TAIL_UNKNOWN_BPS, |bps| (bps / COARSE_FACTOR / 2.0).min(TAIL_BPS));
        self.train = Train { body: packets.min(self.most_packets), body_bps, tail_bps, ..Train::default() };
    }

    /// Some after the last train that makes sense: with what is known, or a rate that surely is too low.
    fn give_up(&self, now: Nanos) -> Option<Measured> {
        let least = (FIRST_PACKETS * self.mtu_wire_bytes) as f64 * 8.0;
        (self.trains > MOST_TRAINS).then(|| self.done(now, self.known_bps.unwrap_or(least)))
    }

    fn done(&self, now: Nanos, bps: f64) -> Measured {
        Measured { rate: Rate::nearest(bps), took_ns: now - self.began_ns, packets: self.packets }
    }
}

impl Train {
    /// How fast the body really left, if that took any time.
    fn sent_bps(&self, mtu_wire_bytes: u64) -> Option<f64> {
        let span_ns = self.last_sent_ns - self.first_sent_ns;
        let bytes = (self.sent.min(self.body) - 1) * mtu_wire_bytes;
        (span_ns > 0).then(|| bytes as f64 * 8.0 * SECOND as f64 / span_ns as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::tests::ack;
    use super::*;
    use crate::base::time::MICROSECOND;

    const MTU: u64 = 1538;
    const TURN_NS: Nanos = 20 * MICROSECOND;

    /// A link, the host before it, and how often the receiver answers.
    #[derive(Clone, Copy)]
    struct Link {
        bps: u64,
        host_bps: u64,
        rtt_ns: Nanos,
        queue_bytes: u64,
        ack_every_ns: Nanos,
        /// Every so many packets one is lost; 0: none.
        lose_every: u64,
    }

    const GBIT: Link = Link {
        bps: 1_000_000_000,
        host_bps: 10_000_000_000,
        rtt_ns: 20 * MILLISECOND,
        queue_bytes: 2_500_000,
        ack_every_ns: 100 * MICROSECOND,
        lose_every: 0,
    };

    /// Measures the link: the result and the wire bytes of the longest queue.
    fn measure(link: Link) -> (Measured, u64) {
        let (rate, host) = (Rate::nearest(link.bps as f64), Rate::nearest(link.host_bps as f64));
        let mut trains = Trains::new(0, MTU, 1 << 16);
        let (mut now, mut number, mut host_free, mut link_free, mut due) = (0, 0, 0, 0, 0.0);
        let mut arrivals: VecDeque<(Nanos, u64)> = VecDeque::new();
        let (mut acks, mut longest, mut next_ack) = (VecDeque::new(), 0, 0);
        loop {
            now += TURN_NS;
            assert!(now < 60 * SECOND, "{trains:?}");
            // Up to a pacer's quantum ahead, and no more than the host sends in a turn.
            while trains.is_sending() && host_free < now + TURN_NS && due < now as f64 + 4e4 {
                let gap = trains.pacing_bps().map_or(0.0, |bps| MTU as f64 * 8e9 / bps as f64);
                due = due.max(now as f64 - 1e5) + gap;
                host_free = host_free.max(now) + host.duration_of(MTU);
                let queue = rate.bytes_in(u64::saturating_sub(link_free, now));
                if queue + MTU <= link.queue_bytes {
                    longest = longest.max(queue);
                    link_free = u64::max(link_free, now) + rate.duration_of(MTU);
                    if link.lose_every == 0 || number % link.lose_every != 0 {
                        arrivals.push_back((link_free + link.rtt_ns / 2, number));
                    }
                }
                trains.on_sent(now, number);
                number += 1;
            }
            if now >= next_ack && arrivals.front().is_some_and(|first| first.0 <= now) {
                next_ack = now + link.ack_every_ns;
                let count = arrivals.iter().take_while(|packet| packet.0 <= now).count();
                let last = arrivals.drain(..count).next_back().unwrap();
                acks.push_back((now + link.rtt_ns / 2, count as u64 * MTU, last.1, now - last.0));
            }
            while acks.front().is_some_and(|ack| ack.0 <= now) {
                let (_, bytes, largest, delay) = acks.pop_front().unwrap();
                let mut sample = ack(bytes, largest, number, 0);
                (sample.now, sample.ack_delay_ns) = (now, delay);
                if let Some(measured) = trains.on_ack(&sample) {
                    return (measured, longest);
                }
            }
        }
    }

    fn rate_bytes(bps: u64, span_ns: Nanos) -> u64 {
        Rate::nearest(bps as f64).bytes_in(span_ns)
    }

    fn error(link: Link) -> f64 {
        measure(link).0.rate.bps() as f64 / link.bps as f64 - 1.0
    }

    #[test]
    fn the_rate_is_found_to_a_percent_whatever_it_is() {
        for bps in [10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 100_000_000_000] {
            for rtt_ns in [MILLISECOND / 10, 2 * MILLISECOND, 200 * MILLISECOND] {
                // Any queue that holds the bursts of a turn.
                for queue in [(10 * MTU).max(rate_bytes(bps, 60 * MICROSECOND)), rate_bytes(bps, 100 * MILLISECOND)] {
                    let link = Link { bps, rtt_ns, queue_bytes: queue, host_bps: 20 * bps, ..GBIT };
                    let error = error(link);
                    assert!(error.abs() < 0.01, "{bps} bit/s, {rtt_ns} ns, queue {queue}: {error:.4}");
                }
            }
        }
    }

    #[test]
    fn it_takes_three_round_trips_and_a_fraction_of_a_percent_of_ten_seconds() {
        for rtt_ns in [20 * MILLISECOND, 200 * MILLISECOND] {
            let (measured, longest) = measure(Link { rtt_ns, ..GBIT });
            assert!(measured.took_ns < 3 * rtt_ns + 70 * MILLISECOND, "{measured:?}");
            assert!(measured.packets < 6_000, "{measured:?}");
            assert!(longest < 1_600_000, "a queue of {longest} bytes");
        }
    }

    #[test]
    fn acks_that_come_each_half_millisecond_are_enough() {
        for rtt_ns in [20 * MILLISECOND, 200 * MILLISECOND] {
            let error = error(Link { rtt_ns, ack_every_ns: MILLISECOND / 2, ..GBIT });
            assert!(error.abs() < 0.01, "{error:.4}");
        }
    }

    #[test]
    fn a_host_slower_than_the_link_measures_itself() {
        let (measured, _) = measure(Link { host_bps: 300_000_000, ..GBIT });
        assert!((280..=302).contains(&(measured.rate.bps() / 1_000_000)), "{measured:?}");
    }

    #[test]
    fn what_the_link_loses_it_does_not_deliver() {
        let error = error(Link { lose_every: 20, ..GBIT });
        assert!((-0.06..-0.04).contains(&error), "{error:.4}");
    }
}
