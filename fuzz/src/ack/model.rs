//! The naive model: what became of each packet number, in a list.

use farwire::proto::recovery::{Outcome, Sent};

use super::told::Told;

/// What became of a packet number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It was never sent: who says that it has arrived is caught.
    LeftOut,
    /// It asked for nothing.
    Quiet,
    InFlight,
    Acked,
    Lost,
}

/// Every number that was sent.
#[derive(Default)]
pub struct Model {
    fates: Vec<(Fate, u64)>,
    arrived: Vec<bool>,
    in_flight: (u64, u64),
    /// The highest number that an ACK has named.
    largest: Option<u64>,
    /// No number below is in flight.
    settled: usize,
}

/// What an ACK must lead to.
pub struct Expected {
    acked: Vec<u64>,
    /// Taken for lost before, and not so long ago that nobody remembers.
    late: Vec<u64>,
    /// The same, however long ago.
    perhaps_late: Vec<u64>,
}

impl Model {
    pub fn packets(&self) -> usize {
        self.fates.len()
    }

    pub fn next(&self) -> u64 {
        self.fates.len() as u64
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.0
    }

    pub fn bytes_in_flight(&self) -> u64 {
        self.in_flight.1
    }

    pub fn lowest(&self) -> u64 {
        let rest = &self.fates[self.settled..];
        let lowest = rest.iter().position(|(fate, _)| *fate == Fate::InFlight);
        (self.settled + lowest.unwrap_or(rest.len())) as u64
    }

    pub fn on_sent(&mut self, number: u64, eliciting: bool, wire_bytes: u64) {
        assert!(number >= self.next() && number < self.next() + 8, "a number twice, or many left out");
        self.fates.resize(number as usize, (Fate::LeftOut, 0));
        self.arrived.resize(number as usize, false);
        self.fates.push((if eliciting { Fate::InFlight } else { Fate::Quiet }, wire_bytes));
        self.arrived.push(false);
        if eliciting {
            self.in_flight.0 += 1;
            self.in_flight.1 += wire_bytes;
        }
    }

    pub fn on_arrived(&mut self, number: u64) {
        let was = std::mem::replace(&mut self.arrived[number as usize], true);
        assert!(!was, "packet {number} is new twice");
    }

    /// An honest receiver's ACK says what is so.
    pub fn check_truth(&self, ack: &Told) {
        let largest = self.arrived.iter().rposition(|arrived| *arrived).map(|number| number as u64);
        assert_eq!(Some(ack.largest), largest);
        for number in ack.range(self.next()) {
            let arrived = self.arrived[number as usize];
            assert!(ack.has(number) == arrived || number < ack.floor, "packet {number} in {ack:?}");
            assert!(arrived || !ack.has(number), "packet {number} never arrived: {ack:?}");
        }
    }

    /// What this ACK must lead to, or `None` if it is to be refused.
    pub fn expect(&self, ack: &Told) -> Option<Expected> {
        let beyond = |(index, word): (usize, &u64)| {
            let first = (u128::from(ack.first_word) + index as u128) * 64;
            *word != 0 && first + u128::from(63 - word.leading_zeros()) > u128::from(ack.largest)
        };
        let unsent = ack.largest >= self.next() || ack.floor > self.next() || ack.first_word > ack.largest / 64;
        if unsent || ack.words.iter().enumerate().any(beyond) {
            return None;
        }
        let named = |number: u64| number == ack.largest || ack.has(number);
        let is = |number: u64, fate: Fate| self.fates[number as usize].0 == fate;
        // Below its floor an ACK speaks of what is in flight: the rest may just be waited for no longer.
        let caught = |n: u64| is(n, Fate::LeftOut) && (named(n) || (self.lowest()..ack.floor).contains(&n));
        if (0..self.next()).any(caught) {
            return None;
        }
        let acked = |n: &u64| is(*n, Fate::InFlight) && (named(*n) || *n < ack.floor);
        let mut spoken_of: Vec<u64> = ack.range(self.next()).chain([ack.largest]).collect();
        spoken_of.sort_unstable();
        spoken_of.dedup();
        let late = |n: &u64| is(*n, Fate::Lost) && named(*n);
        let perhaps_late: Vec<u64> = spoken_of.into_iter().filter(late).collect();
        // The ring never has fewer than four words of 64.
        let recent = |number: &u64| number / 64 + 4 >= self.next().div_ceil(64);
        Some(Expected {
            acked: (self.lowest()..self.next()).filter(acked).collect(),
            late: perhaps_late.iter().copied().filter(recent).collect(),
            perhaps_late,
        })
    }

    pub fn on_acked(&mut self, ack: &Told, expected: &Expected, out: &Outcome) {
        let mut acked = numbers(&out.acked);
        acked.sort_unstable();
        assert_eq!(acked, expected.acked, "{ack:?}");
        let late = numbers(&out.spurious);
        assert!(expected.late.iter().all(|number| late.contains(number)), "not taken back: {ack:?}");
        assert!(late.iter().all(|number| expected.perhaps_late.contains(number)), "taken back: {ack:?}");
        self.largest = self.largest.max(Some(ack.largest));
        acked.iter().for_each(|number| self.leave(*number, Fate::InFlight, Fate::Acked));
        late.iter().for_each(|number| self.leave(*number, Fate::Lost, Fate::Acked));
        self.settled = self.lowest() as usize;
    }

    pub fn on_lost(&mut self, out: &Outcome) {
        for number in numbers(&out.lost) {
            assert!(Some(number) < self.largest, "packet {number} is lost, and nothing behind it has arrived");
            self.leave(number, Fate::InFlight, Fate::Lost);
        }
    }

    fn leave(&mut self, number: u64, from: Fate, to: Fate) {
        let (fate, bytes) = &mut self.fates[number as usize];
        assert_eq!(*fate, from, "packet {number} becomes {to:?}");
        *fate = to;
        if from == Fate::InFlight {
            self.in_flight.0 -= 1;
            self.in_flight.1 -= *bytes;
        }
    }
}

fn numbers(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(|sent| sent.number).collect()
}
