//! Flows over one bottleneck in virtual time: senders and receivers of the transport, the link's own impairment model.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use farwire::base::Nanos;
use farwire::base::time::{MICROSECOND, MILLISECOND, SECOND};
use farwire::link::impair::{Fate, Impairment, Profile};
use farwire::proto::received::Received;
use farwire::proto::recovery::{
    Algorithm, MAX_SPAN, Outcome, Recovery, RecoveryConfig, RecoveryStats, SendPermit, SentPacket,
};
use farwire::wire::{Ack, AckWords};

/// A full frame, as the link is given it and on the wire.
pub const FRAME_LEN: usize = 1514;
pub const WIRE: u64 = 1538;
/// Resolution of what arrived when.
const BIN_NS: Nanos = 2 * MILLISECOND;
/// Resolution of the time that frames wait in the queue.
const WAIT_NS: Nanos = 20 * MICROSECOND;

/// What a flow's application does.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Always has something to send.
    Bulk,
    /// Writes at this rate (wire bits per second), in pieces of a millisecond.
    Paced(u64),
    /// Writes as much as it can until the first time, nothing until the second, everything from then on.
    Silent(Nanos, Nanos),
}

/// An ACK on its way back, with its own words.
struct Told {
    largest: u64,
    floor: u64,
    first_word: u64,
    words: Vec<u64>,
    delay_ns: u32,
}

/// A packet on its way: arrival, number, lowest in flight when it left, segment (`u32::MAX` in a probe).
type Arrival = Reverse<(Nanos, u64, u64, u32)>;

/// One sender and its receiver.
pub struct Flow {
    pub sender: Recovery,
    pub source: Source,
    /// ACKs that arrive within such a span come together at its end; 0 for each by itself.
    pub ack_lumps_ns: Nanos,
    pub persistent: u64,
    receiver: Received,
    back: Impairment,
    start_ns: Nanos,
    to_receiver: BinaryHeap<Arrival>,
    to_sender: VecDeque<(Nanos, Told)>,
    again: VecDeque<u32>,
    arrived: Vec<bool>,
    written: u64,
    sent: u64,
    fresh_sent: u64,
    /// New segments by bins of time.
    bins: Vec<u32>,
    out: Outcome,
}

/// Flows, and the link that they share.
pub struct World {
    pub now: Nanos,
    pub turn_ns: Nanos,
    pub flows: Vec<Flow>,
    pub forward: Impairment,
    profile: Profile,
    /// Both hosts get no core for the second span, once in each first one.
    pub stalls: Option<(Nanos, Nanos)>,
    /// Frames by how long they waited in the queue.
    waits: Vec<u64>,
}

impl Flow {
    pub fn new(algorithm: Algorithm, profile: &Profile, start_ns: Nanos, back: &Profile) -> Flow {
        let mut sender = Recovery::new(&RecoveryConfig::new(algorithm, 1500));
        sender.on_handshake_rtt(start_ns.max(1), profile.delay_ns + back.delay_ns + 150 * MICROSECOND);
        let mut receiver = Received::new(MAX_SPAN);
        receiver.set_patience(sender.rtt().patience_ns());
        Flow {
            sender,
            source: Source::Bulk,
            ack_lumps_ns: 0,
            persistent: 0,
            receiver,
            back: Impairment::new(back, 77).expect("a profile that can be"),
            start_ns,
            to_receiver: BinaryHeap::new(),
            to_sender: VecDeque::new(),
            again: VecDeque::new(),
            arrived: Vec::new(),
            written: 0,
            sent: 0,
            fresh_sent: 0,
            bins: Vec::new(),
            out: Outcome::default(),
        }
    }

    /// Wire bytes that arrived for the first time in that span.
    pub fn arrived_bytes(&self, from: Nanos, until: Nanos) -> u64 {
        let bins = self.bins.iter().enumerate();
        let within = bins.filter(|(index, _)| (from..until).contains(&(*index as u64 * BIN_NS)));
        within.map(|(_, count)| u64::from(*count)).sum::<u64>() * WIRE
    }

    /// Share of what was sent that was sent before.
    pub fn twice(&self) -> f64 {
        (self.sent - self.fresh_sent) as f64 / self.sent.max(1) as f64
    }

    pub fn stats(&self) -> RecoveryStats {
        self.sender.stats()
    }

    fn receive(&mut self, now: Nanos) {
        while self.to_receiver.peek().is_some_and(|Reverse(arrival)| arrival.0 <= now) {
            let Some(Reverse((_, number, lowest, segment))) = self.to_receiver.pop() else { break };
            self.receiver.on_lowest(lowest);
            self.receiver.on_packet(now, number, true);
            match self.arrived.get_mut(segment as usize) {
                Some(arrived) if !*arrived => {
                    *arrived = true;
                    let bin = (now / BIN_NS) as usize;
                    self.bins.resize(self.bins.len().max(bin + 1), 0);
                    self.bins[bin] += 1;
                }
                Some(_) => {}
                None => self.receiver.on_urgent(),
            }
        }
        if !self.receiver.is_due(now) {
            return;
        }
        while let Some(ack) = self.receiver.poll_ack(now, 100) {
            let words: Vec<u64> = (0..ack.words.len()).map(|index| ack.words.get(index)).collect();
            let (largest, floor, first_word, delay_ns) = (ack.largest, ack.floor, ack.first_word, ack.delay_ns);
            let told = Told { largest, floor, first_word, words, delay_ns };
            if let Fate::Passed(delivery) = self.back.on_frame(now, 100) {
                let at = match self.ack_lumps_ns {
                    0 => delivery.at_ns,
                    lump => delivery.at_ns.next_multiple_of(lump),
                };
                self.to_sender.push_back((at, told));
            }
        }
    }

    fn take_acks(&mut self, now: Nanos) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        while self.to_sender.front().is_some_and(|ack| ack.0 <= now) {
            let Some((_, told)) = self.to_sender.pop_front() else { break };
            let Told { largest, floor, first_word, delay_ns, .. } = told;
            let ack = Ack { largest, delay_ns, floor, first_word, words: AckWords::Native(&told.words) };
            self.sender.on_ack(now, &ack, &mut out).expect("our own receiver is honest");
        }
        self.sender.on_timeout(now, &mut out);
        self.persistent += u64::from(out.persistent_congestion);
        self.again.extend(out.lost.iter().map(|lost| lost.packet.frame).filter(|segment| *segment != u32::MAX));
        self.out = out;
    }

    /// How many segments the application has written by now.
    fn on_application(&mut self, now: Nanos) {
        let age = now - self.start_ns;
        self.written = match self.source {
            Source::Bulk => u64::MAX,
            Source::Paced(bps) => (u128::from(bps) * u128::from(age / MILLISECOND) / (8_000 * u128::from(WIRE))) as u64,
            Source::Silent(from, until) if (from..until).contains(&age) => self.fresh_sent,
            Source::Silent(..) => u64::MAX,
        };
    }

    fn next_segment(&mut self) -> Option<u32> {
        while let Some(segment) = self.again.pop_front() {
            if !self.arrived[segment as usize] {
                return Some(segment);
            }
        }
        if self.fresh_sent >= self.written {
            return None;
        }
        self.fresh_sent += 1;
        self.arrived.push(false);
        Some(self.arrived.len() as u32 - 1)
    }

    fn transmit(&mut self, now: Nanos, segment: u32, link: &mut Impairment) -> Option<Nanos> {
        let len = if segment == u32::MAX { 60 } else { FRAME_LEN };
        let lowest = self.sender.lowest_in_flight();
        let packet = SentPacket { len: len as u16, frame: segment, flags: SentPacket::DATA, ..SentPacket::default() };
        let number = self.sender.on_sent(now, packet, true);
        match link.on_frame(now, len) {
            Fate::Passed(delivery) => {
                self.to_receiver.push(Reverse((delivery.at_ns, number, lowest, segment)));
                Some(delivery.queued_ns)
            }
            Fate::Dropped(_) => None,
        }
    }

    fn send(&mut self, now: Nanos, link: &mut Impairment, waits: &mut Vec<u64>) {
        self.on_application(now);
        if std::mem::take(&mut self.out.probe) {
            self.transmit(now, u32::MAX, link);
        }
        while let SendPermit::Now { .. } = self.sender.poll_send(now) {
            let Some(segment) = self.next_segment() else {
                self.sender.on_starved();
                break;
            };
            self.sent += 1;
            if let Some(wait_ns) = self.transmit(now, segment, link) {
                let slot = (wait_ns / WAIT_NS) as usize;
                waits.resize(waits.len().max(slot + 1), 0);
                waits[slot] += 1;
            }
        }
    }
}

impl World {
    /// A link described as the emulator's is (`rate=1gbit,delay=50ms,loss=1%`), both ways of the same delay, with one
    /// bulk flow.
    pub fn new(algorithm: Algorithm, link: &str) -> World {
        let profile: Profile = link.parse().expect("a profile");
        let mut world = World {
            now: 0,
            turn_ns: 20 * MICROSECOND,
            flows: Vec::new(),
            forward: Impairment::new(&profile, 1).expect("a profile that can be"),
            profile,
            stalls: None,
            waits: Vec::new(),
        };
        world.add(algorithm, 0);
        world
    }

    /// One more flow, from `start_ns` on, whose ACKs meet no trouble.
    pub fn add(&mut self, algorithm: Algorithm, start_ns: Nanos) -> &mut Flow {
        let back = Profile { delay_ns: self.profile.delay_ns, ..Profile::default() };
        self.flows.push(Flow::new(algorithm, &self.profile, start_ns, &back));
        self.flows.last_mut().expect("just added")
    }

    /// The ACKs of the first flow travel over this instead.
    pub fn set_back(&mut self, back: &str) {
        let back: Profile = back.parse().expect("a profile");
        self.flows[0].back = Impairment::new(&back, 77).expect("a profile that can be");
    }

    pub fn run(&mut self, span: Nanos) {
        let end = self.now + span;
        let World { flows, forward, waits, turn_ns, stalls, .. } = self;
        while self.now < end {
            let now = self.now;
            let stalled = stalls.is_some_and(|(every, span)| now % every < span);
            if !stalled {
                for flow in flows.iter_mut().filter(|flow| flow.start_ns <= now) {
                    flow.receive(now);
                    flow.take_acks(now);
                    flow.send(now, forward, waits);
                }
            }
            self.now += *turn_ns;
        }
    }

    /// The link's rate at the start.
    pub fn rate_bps(&self) -> u64 {
        self.profile.rate.expect("a bottleneck").bps()
    }

    /// Share of the link's limit that arrived of flow `index` in that span: of its rate less what it loses by itself.
    pub fn share(&self, index: usize, from: Nanos, until: Nanos) -> f64 {
        let own = self.profile.loss + self.profile.burst.map_or(0.0, |burst| burst.share);
        let bps = self.flows[index].arrived_bytes(from, until) as f64 * 8e9 / (until - from) as f64;
        bps / (self.rate_bps() as f64 * (1.0 - own))
    }

    /// Round trips until 90 % of the limit arrived for one, counted from the first packet sent.
    pub fn rounds_to_90(&self, index: usize) -> f64 {
        let rtt_ns = 2 * self.profile.delay_ns;
        let start = self.flows[index].start_ns;
        let span = rtt_ns.max(10 * MILLISECOND);
        let mut from = start;
        while from + span <= self.now {
            if self.share(index, from, from + span) >= 0.9 {
                return (from - start) as f64 / rtt_ns as f64;
            }
            from += BIN_NS;
        }
        f64::INFINITY
    }

    /// Shares of the frames offered: lost by the link itself, dropped as the queue was full. And how many those were.
    pub fn losses(&self) -> (f64, f64, u64) {
        let counters = self.forward.counters();
        let offered = counters.offered.frames.max(1) as f64;
        let own = counters.loss.frames + counters.burst.frames;
        (own as f64 / offered, counters.queue.frames as f64 / offered, counters.queue.frames)
    }

    /// How long such a share of the frames waited at most, in milliseconds.
    pub fn wait_ms(&self, share: f64) -> f64 {
        let all: u64 = self.waits.iter().sum();
        let mut seen = 0;
        for (slot, count) in self.waits.iter().enumerate() {
            seen += count;
            if seen as f64 >= share * all as f64 {
                return slot as f64 * WAIT_NS as f64 / 1e6;
            }
        }
        0.0
    }

    /// Frames that waited so far are not counted.
    pub fn forget_waits(&mut self) {
        self.waits.clear();
    }
}

/// Seconds.
pub fn seconds(count: f64) -> Nanos {
    (count * SECOND as f64) as Nanos
}
