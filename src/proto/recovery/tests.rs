//! The whole room at work: scenarios of single packets, the algebra of ACKs, and a closed loop over a small link.

mod algebra;
mod link;
mod loops;
mod scenarios;

use super::*;
use crate::base::Rate;
use crate::wire::AckWords;

/// A config for an MTU of 1500.
fn config(algorithm: Algorithm) -> RecoveryConfig {
    RecoveryConfig::new(algorithm, 1500)
}

/// A full-sized data packet.
fn data() -> SentPacket {
    SentPacket { len: 1514, payload: 1460, flags: SentPacket::DATA, ..SentPacket::default() }
}

/// An ACK of exactly these numbers (rising), told from the word of `from` on.
struct Told {
    largest: u64,
    floor: u64,
    first_word: u64,
    words: Vec<u64>,
    delay_ns: u32,
}

impl Told {
    fn new(numbers: &[u64], from: u64, floor: u64) -> Told {
        let largest = *numbers.last().expect("an ACK names something");
        let first_word = from / 64;
        let mut words = vec![0; (largest / 64 - first_word + 1) as usize];
        for number in numbers {
            words[(number / 64 - first_word) as usize] |= 1 << (number % 64);
        }
        Told { largest, floor, first_word, words, delay_ns: 0 }
    }

    fn of(ack: &Ack<'_>) -> Told {
        let words = (0..ack.words.len()).map(|index| ack.words.get(index)).collect();
        Told { largest: ack.largest, floor: ack.floor, first_word: ack.first_word, words, delay_ns: ack.delay_ns }
    }

    fn ack(&self) -> Ack<'_> {
        Ack {
            largest: self.largest,
            delay_ns: self.delay_ns,
            floor: self.floor,
            first_word: self.first_word,
            words: AckWords::Native(&self.words),
        }
    }

    /// Whether this ACK says that `number` has arrived.
    fn has(&self, number: u64) -> bool {
        let word = (number / 64).checked_sub(self.first_word).and_then(|index| self.words.get(index as usize));
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

fn numbers(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(|sent| sent.number).collect()
}
