//! Sender and receiver against a naive model: whatever the link loses, delays or repeats, sets agree.

use proptest::prelude::*;
use std::collections::BTreeSet;

use super::*;
use crate::base::time::SECOND;
use crate::proto::received::{Received, Seen};

/// What may happen to a connection.
#[derive(Clone, Debug)]
enum Step {
    /// Send so many packets, every one in `skip` of them without asking for an acknowledgement.
    Send { count: u64, skip: u64 },
    /// Of the packets on their way deliver some, in the order that `order` makes.
    Deliver { count: usize, order: u64 },
    /// Lose some packets on their way.
    Lose { count: usize, order: u64 },
    /// The receiver says all that it wants to; each ACK is lost where the bit of `lost` is set.
    Acknowledge { max_words: usize, lost: u64 },
    /// Time passes, the sender's timer is looked at.
    Wait { us: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..300, 2u64..50).prop_map(|(count, skip)| Step::Send { count, skip }),
        3 => (1usize..300, any::<u64>()).prop_map(|(count, order)| Step::Deliver { count, order }),
        1 => (1usize..200, any::<u64>()).prop_map(|(count, order)| Step::Lose { count, order }),
        3 => (1usize..12, prop_oneof![Just(0), any::<u64>()])
            .prop_map(|(max_words, lost)| Step::Acknowledge { max_words, lost }),
        2 => (1u64..3000).prop_map(|us| Step::Wait { us }),
    ]
}

struct World {
    now: Nanos,
    sender: Recovery,
    receiver: Received,
    /// On their way: number, lowest in flight when it left, whether it asks for an acknowledgement.
    transit: Vec<(u64, u64, bool)>,
    tracked: BTreeSet<u64>,
    arrived: BTreeSet<u64>,
    told_lowest: u64,
    acked: BTreeSet<u64>,
    lost: BTreeSet<u64>,
    eliciting: u64,
    spurious: u64,
}

impl World {
    fn new(decoys: Option<DecoyKey>) -> World {
        let config = RecoveryConfig { decoys, ..config(Algorithm::Cubic) };
        World {
            now: SECOND,
            sender: Recovery::new(&config),
            receiver: Received::new(MAX_SPAN),
            transit: Vec::new(),
            tracked: BTreeSet::new(),
            arrived: BTreeSet::new(),
            told_lowest: 0,
            acked: BTreeSet::new(),
            lost: BTreeSet::new(),
            eliciting: 0,
            spurious: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Send { count, skip } => (0..count).for_each(|index| self.send(index % skip != 0)),
            Step::Deliver { count, order } => (0..count).for_each(|round| self.deliver(round, order)),
            Step::Lose { count, order } => (0..count).for_each(|round| {
                self.pick(round, order);
            }),
            Step::Acknowledge { max_words, lost } => self.acknowledge(max_words, lost),
            Step::Wait { us } => self.wait(us * MICROSECOND),
        }
    }

    fn send(&mut self, eliciting: bool) {
        let lowest = self.sender.lowest_in_flight();
        let number = self.sender.on_sent(self.now, data(), eliciting);
        if eliciting {
            self.tracked.insert(number);
            self.eliciting += 1;
        }
        self.transit.push((number, lowest, eliciting));
    }

    /// Takes one of the packets on their way: mostly the oldest, now and then one of the next few.
    fn pick(&mut self, round: usize, order: u64) -> Option<(u64, u64, bool)> {
        let ahead = (order >> (round % 60) & 7) as usize;
        let index = if ahead == 7 { 5 } else { 0 };
        (!self.transit.is_empty()).then(|| self.transit.remove(index.min(self.transit.len() - 1)))
    }

    fn deliver(&mut self, round: usize, order: u64) {
        let Some((number, lowest, eliciting)) = self.pick(round, order) else { return };
        self.receiver.on_lowest(lowest);
        self.told_lowest = self.told_lowest.max(lowest);
        assert_eq!(self.receiver.on_packet(self.now, number, eliciting), Seen::New);
        assert_eq!(self.receiver.on_packet(self.now, number, eliciting), Seen::Duplicate);
        self.arrived.insert(number);
    }

    fn acknowledge(&mut self, max_words: usize, lost: u64) {
        let mut told = Vec::new();
        while let Some(ack) = self.receiver.poll_ack(self.now, max_words) {
            assert!(ack.words.len() <= max_words);
            told.push(Told::of(&ack));
            assert!(told.len() < 10_000, "ACKs without end");
        }
        for ack in &told {
            self.check_truth(ack);
        }
        let mut out = Outcome::default();
        for (index, ack) in told.iter().enumerate() {
            if lost >> (index % 64) & 1 == 0 {
                out.clear();
                self.sender.on_ack(self.now, &ack.ack(), &mut out).expect("our own receiver is honest");
                self.book(&out);
            }
        }
    }

    /// An ACK says what is so.
    fn check_truth(&self, ack: &Told) {
        assert_eq!(Some(&ack.largest), self.arrived.last());
        for number in ack.first_word * 64..(ack.first_word + ack.words.len() as u64) * 64 {
            assert_eq!(ack.has(number), self.arrived.contains(&number), "packet {number}");
        }
        let missing = (self.told_lowest..ack.floor).find(|number| !self.arrived.contains(number));
        assert_eq!(missing, None, "below the floor of {}", ack.floor);
    }

    fn wait(&mut self, span: Nanos) {
        self.now += span;
        let mut out = Outcome::default();
        self.sender.on_timeout(self.now, &mut out);
        self.book(&out);
        if out.probe {
            self.send(true);
        }
    }

    /// Each packet leaves once, and for a reason.
    fn book(&mut self, out: &Outcome) {
        for number in numbers(&out.acked) {
            assert!(self.arrived.contains(&number), "packet {number} never arrived");
            assert!(self.tracked.remove(&number), "packet {number} left twice, or was never tracked");
            self.acked.insert(number);
        }
        for number in numbers(&out.lost) {
            assert!(self.tracked.remove(&number), "packet {number} left twice, or was never tracked");
            self.lost.insert(number);
        }
        for number in numbers(&out.spurious) {
            assert!(self.arrived.contains(&number), "packet {number} never arrived");
            assert!(self.lost.remove(&number), "packet {number} was not lost");
            self.spurious += 1;
        }
        assert_eq!(self.sender.packets_in_flight(), self.tracked.len() as u64);
        assert_eq!(self.sender.bytes_in_flight(), self.tracked.len() as u64 * 1538);
        let lowest = self.tracked.first().copied().unwrap_or(self.sender.next_number());
        assert_eq!(self.sender.lowest_in_flight(), lowest);
    }

    /// The link heals: everything that is still outstanding must be settled soon.
    fn heal(&mut self) {
        self.transit.clear();
        for _ in 0..40 {
            self.wait(300 * MILLISECOND);
            self.deliver(0, 0);
            self.acknowledge(176, 0);
        }
        assert!(self.tracked.is_empty(), "never settled: {:?}", self.tracked);
        let settled = self.acked.len() + self.lost.len();
        assert_eq!(settled as u64, self.eliciting - self.spurious, "each packet is acknowledged or lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn sets_agree_and_everything_settles(
        steps in prop::collection::vec(step(), 1..60),
        decoys in prop::option::weighted(0.7, any::<[u8; 32]>()),
    ) {
        let mut world = World::new(decoys.map(DecoyKey));
        for step in &steps {
            world.apply(step);
        }
        world.heal();
    }

    #[test]
    fn the_ring_agrees_with_a_map(ops in prop::collection::vec((0u8..5, any::<u64>()), 1..400)) {
        let mut ring = sent::SentRing::default();
        let mut model = BTreeSet::new();
        for (op, draw) in ops {
            let next = ring.next();
            let mut left = Vec::new();
            match op {
                0 => (0..draw % 200).for_each(|_| { model.insert(ring.next()); ring.push(data()); }),
                1 => ring.skip(),
                2 if next > 0 => {
                    let index = draw % (next / 64 + 1);
                    let bits = draw.rotate_left(17);
                    ring.acknowledge(index, bits, &mut left, &mut Vec::new());
                    ring.settle();
                    let expected: Vec<u64> =
                        model.iter().copied().filter(|n| n / 64 == index && bits >> (n % 64) & 1 == 1).collect();
                    prop_assert_eq!(numbers(&left), expected);
                }
                _ => left.extend(ring.lose_first()),
            }
            for sent in &left {
                prop_assert!(model.remove(&sent.number));
            }
            prop_assert_eq!(ring.packets(), model.len() as u64);
            prop_assert_eq!(ring.lowest(), model.first().copied().unwrap_or(ring.next()));
        }
    }
}
