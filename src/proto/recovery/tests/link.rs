//! A small link in virtual time: rate, delay, queue, loss, and a sender and a receiver in a closed loop over it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;
use crate::proto::received::Received;

/// One direction.
#[derive(Clone, Debug)]
pub struct Path {
    pub rate_bps: u64,
    pub delay_ns: Nanos,
    pub queue_bytes: u64,
    /// Lost at random, of a million.
    pub loss_ppm: u64,
    /// Delayed by up to this much more, at random, of which one in eight packets.
    pub jitter_ns: Nanos,
    busy_until: Nanos,
}

impl Path {
    /// With a queue of one round trip of `2 * delay_ns`, at least 256 packets.
    pub fn new(rate_bps: u64, delay_ns: Nanos) -> Path {
        let bdp = Rate::from_bps(rate_bps).expect("not 0").bytes_in(2 * delay_ns);
        Path { rate_bps, delay_ns, queue_bytes: bdp.max(256 * 1538), loss_ppm: 0, jitter_ns: 0, busy_until: 0 }
    }

    /// When a packet sent now arrives, if it does.
    fn carry(&mut self, now: Nanos, bytes: u64, draw: u64) -> Option<Nanos> {
        let rate = Rate::from_bps(self.rate_bps)?;
        let begin = self.busy_until.max(now);
        if rate.bytes_in(begin - now) > self.queue_bytes {
            return None;
        }
        self.busy_until = begin + rate.duration_of(bytes);
        if draw % 1_000_000 < self.loss_ppm {
            return None;
        }
        let late = if self.jitter_ns > 0 && draw >> 40 & 7 == 0 { (draw >> 20) % self.jitter_ns } else { 0 };
        Some(self.busy_until + self.delay_ns + late)
    }
}

/// A packet on its way: arrival, number, lowest in flight when it left, segment (`u32::MAX` in a probe).
type Arrival = Reverse<(Nanos, u64, u64, u32)>;

/// The loop. One turn of either end every `turn_ns`.
pub struct Loop {
    pub now: Nanos,
    pub turn_ns: Nanos,
    pub sender: Recovery,
    pub receiver: Received,
    pub forward: Path,
    pub back: Path,
    /// Nothing passes, in either direction.
    pub outage: bool,
    pub acks: u64,
    pub notices: Vec<Notice>,
    to_receiver: BinaryHeap<Arrival>,
    to_sender: VecDeque<(Nanos, Told)>,
    again: VecDeque<u32>,
    fresh: u32,
    arrived: Vec<bool>,
    seed: u64,
    out: Outcome,
}

impl Loop {
    pub fn new(algorithm: Algorithm, forward: Path) -> Loop {
        let back = Path { loss_ppm: 0, jitter_ns: 0, ..forward.clone() };
        let mut sender = Recovery::new(&config(algorithm));
        sender.on_handshake_rtt(1, 2 * forward.delay_ns);
        Loop {
            now: 1,
            turn_ns: 20 * MICROSECOND,
            sender,
            receiver: Received::new(MAX_SPAN),
            forward,
            back,
            outage: false,
            acks: 0,
            notices: Vec::new(),
            to_receiver: BinaryHeap::new(),
            to_sender: VecDeque::new(),
            again: VecDeque::new(),
            fresh: 0,
            arrived: Vec::new(),
            seed: 0x9E37_79B9_7F4A_7C15,
            out: Outcome::default(),
        }
    }

    /// Runs for `span`; the share of the link's wire rate that arrived as new segments.
    pub fn run(&mut self, span: Nanos) -> f64 {
        let before = self.arrived.iter().filter(|arrived| **arrived).count();
        let end = self.now + span;
        while self.now < end {
            self.receive();
            self.send();
            self.now += self.turn_ns;
        }
        let after = self.arrived.iter().filter(|arrived| **arrived).count();
        (after - before) as f64 * 1538.0 * 8e9 / span as f64 / self.forward.rate_bps as f64
    }

    fn receive(&mut self) {
        while self.to_receiver.peek().is_some_and(|Reverse(arrival)| arrival.0 <= self.now) {
            let Some(Reverse((_, number, lowest, segment))) = self.to_receiver.pop() else { break };
            self.receiver.on_lowest(lowest);
            self.receiver.on_packet(self.now, number, true);
            match self.arrived.get_mut(segment as usize) {
                Some(arrived) => *arrived = true,
                None => self.receiver.on_urgent(),
            }
        }
        if self.receiver.is_due(self.now) {
            let draw = self.draw();
            while let Some(ack) = self.receiver.poll_ack(self.now, 100) {
                self.acks += 1;
                let bytes = 80 + 8 * ack.words.len() as u64;
                let arrival = self.back.carry(self.now, bytes, draw).filter(|_| !self.outage);
                self.to_sender.extend(arrival.map(|arrival| (arrival, Told::of(&ack))));
            }
        }
    }

    fn send(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        while self.to_sender.front().is_some_and(|ack| ack.0 <= self.now) {
            let Some((_, told)) = self.to_sender.pop_front() else { break };
            self.sender.on_ack(self.now, &told.ack(), &mut out).expect("our own receiver is honest");
            self.notices.extend(self.sender.poll_notice());
        }
        self.sender.on_timeout(self.now, &mut out);
        self.again.extend(out.lost.iter().map(|lost| lost.packet.frame).filter(|segment| *segment != u32::MAX));
        if out.probe {
            self.transmit(SentPacket { len: 60, frame: u32::MAX, ..SentPacket::default() });
        }
        self.out = out;
        while let SendPermit::Now { bytes } = self.sender.poll_send(self.now) {
            let mut left = bytes as i64;
            while left > 0 {
                let segment = self.next_segment();
                left -= 1538;
                self.transmit(SentPacket { frame: segment, ..data() });
            }
        }
    }

    fn next_segment(&mut self) -> u32 {
        while let Some(segment) = self.again.pop_front() {
            if !self.arrived[segment as usize] {
                return segment;
            }
        }
        self.fresh += 1;
        self.arrived.push(false);
        self.fresh - 1
    }

    fn transmit(&mut self, packet: SentPacket) {
        let lowest = self.sender.lowest_in_flight();
        let number = self.sender.on_sent(self.now, packet, true);
        let draw = self.draw();
        let arrival = self.forward.carry(self.now, packet.wire_bytes(), draw).filter(|_| !self.outage);
        self.to_receiver.extend(arrival.map(|arrival| Reverse((arrival, number, lowest, packet.frame))));
    }

    fn draw(&mut self) -> u64 {
        // xorshift64*
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 1
    }
}
