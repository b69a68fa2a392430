//! Any sequence of packets sent, delivered, lost and acknowledged, honestly or not, drives the sender's recovery and
//! the receiver's bitmap beside a naive model: a list with one word for each packet number.

mod model;
mod told;

use std::collections::VecDeque;

use farwire::base::time::{MICROSECOND, MILLISECOND, SECOND};
use farwire::base::{Nanos, Rate};
use farwire::proto::received::{Received, Seen};
use farwire::proto::recovery::{
    Algorithm, DecoyKey, MAX_SPAN, Outcome, Recovery, RecoveryConfig, SendPermit, SentPacket,
};

use super::script::{Script, take};
use model::Model;
use told::Told;

/// Packets of one input, or nearly: more only take time. All numbers that are left out are remembered for as long.
const MAX_PACKETS: usize = 16_000;
/// No script waits beyond this: who acknowledges later with each timeout makes the next one longer, in centuries.
const LAST_NS: Nanos = 3600 * SECOND;
/// ACKs that are remembered, to arrive again.
const REMEMBERED: usize = 32;
/// Probes until all is settled. Where the script made a round trip of many seconds, one alone tells little.
const MAX_ROUNDS: usize = 400;

/// Runs one script.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut world = World::new(&mut script);
    while let Some(step) = script.step() {
        world.apply(step, &mut script);
        world.check();
    }
    world.heal();
}

/// A packet on its way: its number, the lowest one in flight when it left, whether it asks for an acknowledgement.
type Packet = (u64, u64, bool);

struct World {
    now: Nanos,
    sender: Recovery,
    receiver: Received,
    model: Model,
    out: Outcome,
    transit: VecDeque<Packet>,
    acks: VecDeque<Told>,
    former: VecDeque<Told>,
}

impl World {
    fn new(script: &mut Script<'_>) -> World {
        let doublings = script.below(16);
        let rate = Rate::nearest(1e6 * f64::from(1_u32 << doublings));
        let algorithms = [Algorithm::Fixed(rate), Algorithm::Auto, Algorithm::Bbr, Algorithm::Cubic, Algorithm::Reno];
        let mut config = RecoveryConfig::new(algorithms[script.below(algorithms.len())], 1500);
        config.max_in_flight = if script.byte() == 0 { MAX_SPAN } else { script.number().max(1) };
        // In every other world some numbers are never sent.
        config.decoys = (doublings % 2 == 1).then_some(DecoyKey([doublings as u8; 32]));
        World {
            now: SECOND,
            sender: Recovery::new(&config),
            receiver: Received::new(MAX_SPAN),
            model: Model::default(),
            out: Outcome::default(),
            transit: VecDeque::new(),
            acks: VecDeque::new(),
            former: VecDeque::new(),
        }
    }

    fn apply(&mut self, step: u8, script: &mut Script<'_>) {
        let full = self.model.packets() >= MAX_PACKETS;
        match step % 16 {
            0..4 if full => {}
            12 | 13 if self.now > LAST_NS => {}
            0 => (0..script.byte()).for_each(|_| self.send(true, 1514)),
            1 => (0..script.number() % 5000).for_each(|_| self.send(true, 1514)),
            2 => {
                let (count, len) = (script.byte(), 60 + script.number() as u16 % 1454);
                (0..count).for_each(|index| self.send(index % 50 != 49, len));
            }
            3 => self.send(false, 60),
            4 => (0..script.number().min(self.transit.len() as u64)).for_each(|_| self.deliver(0)),
            5 => self.deliver(script.number() as usize),
            6 => (0..script.byte()).for_each(|_| _ = self.transit.pop_front()),
            7 => _ = take(&mut self.transit, script.number() as usize),
            8 => self.acknowledge(1 + script.below(176)),
            9 => (0..=script.byte()).for_each(|_| self.on_ack_arrives(0)),
            10 => self.on_ack_arrives(script.below(256)),
            11 => drop(take(&mut self.acks, script.below(256))),
            12 => self.now += script.number() % (100 * MILLISECOND),
            13 => self.wait_for_timer(),
            14 => {
                let former = self.former.get(script.below(REMEMBERED)).cloned();
                former.into_iter().for_each(|ack| self.on_ack(&ack));
            }
            _ => self.on_ack(&Told::forged(script, self.model.next())),
        }
    }

    fn send(&mut self, eliciting: bool, len: u16) {
        let lowest = self.sender.lowest_in_flight();
        let packet = SentPacket { len, flags: SentPacket::DATA, ..SentPacket::default() };
        let number = self.sender.on_sent(self.now, packet, eliciting);
        self.model.on_sent(number, eliciting, packet.wire_bytes());
        self.transit.push_back((number, lowest, eliciting));
    }

    fn deliver(&mut self, index: usize) {
        let Some((number, lowest, eliciting)) = take(&mut self.transit, index) else { return };
        self.receiver.on_lowest(lowest);
        match self.receiver.on_packet(self.now, number, eliciting) {
            Seen::New => self.model.on_arrived(number),
            seen => assert!(seen == Seen::TooOld && number < self.receiver.floor(), "packet {number} is {seen:?}"),
        }
        let again = self.receiver.on_packet(self.now, number, eliciting);
        assert!(matches!(again, Seen::Duplicate | Seen::TooOld), "packet {number}, again, is {again:?}");
    }

    fn acknowledge(&mut self, max_words: usize) {
        for count in 0.. {
            let Some(ack) = self.receiver.poll_ack(self.now, max_words) else { return };
            let ack = Told::of(&ack);
            assert!(count < 10_000 && ack.words.len() <= max_words, "ACKs without end, or too long: {ack:?}");
            self.model.check_truth(&ack);
            self.acks.push_back(ack);
        }
    }

    fn on_ack_arrives(&mut self, index: usize) {
        let Some(ack) = take(&mut self.acks, index) else { return };
        self.on_ack(&ack);
        self.former.push_front(ack);
        self.former.truncate(REMEMBERED);
    }

    fn on_ack(&mut self, ack: &Told) {
        let expected = self.model.expect(ack);
        self.out.clear();
        let result = self.sender.on_ack(self.now, &ack.ack(), &mut self.out);
        assert_eq!(result.is_ok(), expected.is_some(), "{ack:?}: {result:?}");
        match expected {
            Some(expected) => self.model.on_acked(ack, &expected, &self.out),
            None => assert!(self.out.acked.is_empty() && self.out.lost.is_empty() && self.out.spurious.is_empty()),
        }
        self.model.on_lost(&self.out);
    }

    fn wait_for_timer(&mut self) {
        let Some(due) = self.sender.poll_timeout() else { return };
        self.now = self.now.max(due);
        self.out.clear();
        self.sender.on_timeout(self.now, &mut self.out);
        assert!(self.out.acked.is_empty() && self.out.spurious.is_empty(), "acknowledged by a timer");
        assert!(
            self.out.probe || !self.out.lost.is_empty() || self.sender.poll_timeout() != Some(due),
            "a timer for nothing"
        );
        self.model.on_lost(&self.out);
        if self.out.probe {
            self.send(true, 1514);
        }
    }

    /// The sender's numbers are the model's; what is in flight has a timer.
    fn check(&self) {
        let (sender, model) = (&self.sender, &self.model);
        assert_eq!(sender.packets_in_flight(), model.in_flight());
        assert_eq!(sender.bytes_in_flight(), model.bytes_in_flight());
        assert_eq!(sender.lowest_in_flight(), model.lowest());
        assert_eq!(sender.next_number(), model.next());
        assert_eq!(sender.poll_timeout().is_some(), model.in_flight() > 0, "a timer for what is in flight");
        let cwnd = sender.stats().cwnd_bytes;
        assert!(cwnd > 0);
        match sender.poll_send(self.now) {
            SendPermit::Now { bytes } => assert!(bytes > 0 && sender.bytes_in_flight() + bytes <= cwnd),
            SendPermit::At(due) => assert!(due > self.now),
            SendPermit::Blocked => assert!(model.in_flight() > 0, "blocked by nothing"),
        }
    }

    /// The link heals: whatever is in flight is settled soon.
    fn heal(&mut self) {
        self.transit.clear();
        self.acks.clear();
        for _ in 0..MAX_ROUNDS {
            if self.model.in_flight() == 0 {
                break;
            }
            self.wait_for_timer();
            self.now += 50 * MICROSECOND;
            (0..self.transit.len()).for_each(|_| self.deliver(0));
            self.acknowledge(176);
            (0..self.acks.len()).for_each(|_| self.on_ack_arrives(0));
            self.now += 300 * MILLISECOND;
        }
        self.check();
        assert_eq!(self.model.in_flight(), 0, "never settled: {:?}", self.sender.stats());
    }
}
