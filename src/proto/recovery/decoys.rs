//! Decoys: packet numbers that are never sent, so that who acknowledges what it has not received is caught.
//!
//! A peer that acknowledges ahead of what it gets, to be sent more than its path carries, or that hides what got lost,
//! has to name numbers without knowing whether they exist. Some do not, and nobody who lacks the key can tell which:
//! a decoy looks like a loss. An honest receiver never names one, whatever it forgets, sweeps over or repeats.

use std::collections::VecDeque;
use std::fmt;

use crate::wire::Ack;

/// Of so many words of 64 numbers one has a decoy: one number in 2048, each as likely as the next. A decoy costs its
/// receiver an ACK and lets the floor wait for a round trip, which makes ACKs longer. Lower: that is felt. Higher: a
/// peer gets further before it is caught, by this many packets on average.
const WORDS_PER_DECOY: u16 = 32;
/// Numbers below the lowest in flight for which decoys are still known: what an ACK with news can also name.
const REMEMBERED: u64 = 1 << 14;
/// Draws that one hash gives.
const DRAWS: u64 = 16;

/// What a connection's decoys are drawn with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DecoyKey(pub [u8; 32]);

impl fmt::Debug for DecoyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecoyKey(secret)")
    }
}

/// Where the keys of an endpoint's connections come from.
#[derive(Debug)]
pub struct DecoyKeys {
    secret: DecoyKey,
    drawn: u64,
}

impl DecoyKeys {
    /// From the endpoint's random seed, which nobody learns from them.
    pub fn new(seed: &[u8; 32]) -> DecoyKeys {
        let secret = blake3::derive_key("farwire 2026 keys of packet numbers that are never sent", seed);
        DecoyKeys { secret: DecoyKey(secret), drawn: 0 }
    }

    /// A key for a connection; never the same twice, so that a peer that comes back knows nothing.
    pub fn draw(&mut self) -> DecoyKey {
        self.drawn += 1;
        DecoyKey(*blake3::keyed_hash(&self.secret.0, &self.drawn.to_be_bytes()).as_bytes())
    }
}

/// The decoys of one direction of a connection.
#[derive(Debug)]
pub struct Decoys {
    key: Option<DecoyKey>,
    /// The next number to be left out; none is that high without a key.
    next: u64,
    /// The word whose draw is next, and the draws of its block.
    word: u64,
    draws: [u8; 32],
    /// Those that were left out, rising, as far down as [`REMEMBERED`].
    left_out: VecDeque<u64>,
}

impl Decoys {
    /// None without a key.
    pub fn new(key: Option<DecoyKey>) -> Decoys {
        let mut decoys = Decoys { key, next: u64::MAX, word: 0, draws: [0; 32], left_out: VecDeque::new() };
        decoys.draw();
        decoys
    }

    /// Whether `number`, which is the next that a packet could have, is to be left out.
    #[inline]
    pub fn is_next(&self, number: u64) -> bool {
        number >= self.next
    }

    /// It is left out.
    pub fn leave_out(&mut self, number: u64) {
        self.left_out.push_back(number);
        self.draw();
    }

    /// A decoy that this ACK says has arrived. Below its floor that is said of what is in flight only, from `lowest`
    /// on: of the rest it may just no longer be waited for.
    pub fn named_by(&self, ack: &Ack<'_>, lowest: u64) -> Option<u64> {
        let from = ack.first_word * 64;
        let end = (from + ack.words.len() as u64 * 64).min(ack.largest + 1);
        let has = |number: &u64| ack.words.get((number / 64 - ack.first_word) as usize) >> (number % 64) & 1 == 1;
        let by_words = self.range(from, end).find(has);
        let by_floor = || self.range(lowest, ack.floor).next();
        let as_largest = || self.range(ack.largest, ack.largest + 1).next();
        by_words.or_else(by_floor).or_else(as_largest)
    }

    /// How many were left out of the numbers from `first` up to, not including, `end`.
    pub fn count(&self, first: u64, end: u64) -> u64 {
        self.range(first, end).count() as u64
    }

    /// The lowest number in flight has moved up.
    pub fn forget_below(&mut self, lowest: u64) {
        while self.left_out.front().is_some_and(|number| number + REMEMBERED < lowest) {
            self.left_out.pop_front();
        }
    }

    /// What it takes.
    pub fn memory_bytes(&self) -> usize {
        self.left_out.capacity() * size_of::<u64>()
    }

    fn range(&self, first: u64, end: u64) -> impl Iterator<Item = u64> {
        let from = self.left_out.partition_point(|number| *number < first);
        self.left_out.range(from..).copied().take_while(move |number| *number < end)
    }

    /// Draws words until one has a decoy.
    fn draw(&mut self) {
        let Some(DecoyKey(key)) = &self.key else { return };
        loop {
            if self.word.is_multiple_of(DRAWS) {
                self.draws = *blake3::keyed_hash(key, &(self.word / DRAWS).to_be_bytes()).as_bytes();
            }
            let place = (self.word % DRAWS) as usize * 2;
            let draw = u16::from_be_bytes([self.draws[place], self.draws[place + 1]]);
            let first = self.word * 64;
            self.word += 1;
            if draw.is_multiple_of(WORDS_PER_DECOY) {
                self.next = first + u64::from(draw / WORDS_PER_DECOY % 64);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::AckWords;

    /// The decoys among the first `numbers`.
    fn drawn(key: DecoyKey, numbers: u64) -> (Decoys, Vec<u64>) {
        let mut decoys = Decoys::new(Some(key));
        let mut left_out = Vec::new();
        for number in 0..numbers {
            if decoys.is_next(number) {
                decoys.leave_out(number);
                left_out.push(number);
            }
        }
        (decoys, left_out)
    }

    fn named(decoys: &Decoys, largest: u64, floor: u64, first_word: u64, words: &[u64]) -> Option<u64> {
        let ack = Ack { largest, delay_ns: 0, floor, first_word, words: AckWords::Native(words) };
        decoys.named_by(&ack, 0)
    }

    #[test]
    fn one_number_in_two_thousand_is_left_out_wherever_it_lies() {
        let mut keys = DecoyKeys::new(&[7; 32]);
        let [(_, ours), (_, others)] = [keys.draw(), keys.draw()].map(|key| drawn(key, 1 << 22));
        assert!((1900..2200).contains(&ours.len()), "{}", ours.len());
        assert!(ours.iter().filter(|number| others.contains(number)).count() < 10, "each connection has its own");
        for bits in [0..16, 16..32, 32..48, 48..64] {
            let share = ours.iter().filter(|number| bits.contains(&(*number % 64))).count();
            assert!((400..640).contains(&share), "{share} in a quarter of the places");
        }
        let gaps: Vec<u64> = ours.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().any(|gap| *gap < 100) && gaps.iter().any(|gap| *gap > 6000), "no rhythm");
        assert_eq!(drawn(DecoyKeys::new(&[7; 32]).draw(), 1 << 22).1, ours, "the same seed, the same decoys");
    }

    #[test]
    fn without_a_key_there_are_none() {
        let decoys = Decoys::new(None);
        assert!(!(0..100_000).any(|number| decoys.is_next(number)));
    }

    #[test]
    fn a_bit_a_floor_and_the_largest_name_one() {
        let (mut decoys, left_out) = drawn(DecoyKeys::new(&[1; 32]).draw(), 100_000);
        let at = left_out[3];
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        assert_eq!(named(&decoys, at + 64, 0, word, &[bit, 0]), Some(at));
        assert_eq!(named(&decoys, at + 64, 0, word, &[!bit, 0]), None, "all around it");
        assert_eq!(named(&decoys, at + 64, left_out[0] + 1, word, &[]), Some(left_out[0]));
        assert_eq!(named(&decoys, at + 64, left_out[0], word, &[]), None, "below the floor is below");
        assert_eq!(named(&decoys, at, 0, word, &[]), Some(at));
        let ack = Ack { largest: at + 64, delay_ns: 0, floor: at, first_word: word, words: AckWords::Native(&[]) };
        assert_eq!(decoys.named_by(&ack, at), None, "no longer waited for");
        decoys.forget_below(at + REMEMBERED);
        assert_eq!((decoys.count(0, at), decoys.count(0, at + 1)), (0, 1));
    }
}
