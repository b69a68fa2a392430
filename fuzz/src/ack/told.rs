//! An ACK that owns its words: as the receiver made it, or as nobody honest would.

use farwire::wire::{Ack, AckWords};

use super::super::script::Script;

/// The ACK.
#[derive(Clone, Debug)]
pub struct Told {
    pub largest: u64,
    pub floor: u64,
    pub first_word: u64,
    pub words: Vec<u64>,
    pub delay_ns: u32,
}

impl Told {
    /// A copy of an honest one.
    pub fn of(ack: &Ack<'_>) -> Told {
        let words = (0..ack.words.len()).map(|index| ack.words.get(index)).collect();
        Told { largest: ack.largest, floor: ack.floor, first_word: ack.first_word, words, delay_ns: ack.delay_ns }
    }

    /// Any ACK that the wire could carry; as likely as not about packets just below `next`.
    pub fn forged(script: &mut Script<'_>, next: u64) -> Told {
        let mut near = |from: u64| {
            let (back, number) = (script.byte() & 1 == 0, script.number());
            if back { from.wrapping_sub(number) } else { number }
        };
        let (largest, floor, first) = (near(next), near(next), near(next / 64));
        let count = script.below(8) as u64;
        let first_word = first.min((1 << 58) - count);
        let words = (0..count).map(|_| script.number().rotate_right(script.byte().into())).collect();
        Told { largest, floor, first_word, words, delay_ns: script.number() as u32 }
    }

    /// As the sender is given it.
    pub fn ack(&self) -> Ack<'_> {
        Ack {
            largest: self.largest,
            delay_ns: self.delay_ns,
            floor: self.floor,
            first_word: self.first_word,
            words: AckWords::Native(&self.words),
        }
    }

    /// Whether a bit says that this number has arrived.
    pub fn has(&self, number: u64) -> bool {
        let index = (number / 64).checked_sub(self.first_word);
        let word = index.and_then(|index| self.words.get(index as usize));
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// The numbers below `next` that its words speak of, arrived or not.
    pub fn range(&self, next: u64) -> std::ops::Range<u64> {
        let end = (self.first_word + self.words.len() as u64).min(next.div_ceil(64)) * 64;
        self.first_word * 64..end.min(next)
    }
}
