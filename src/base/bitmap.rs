//! A bitmap over a rising sequence: a ring of 64-bit words, so that 64 numbers cost one instruction.
//!
//! The window is `[start, start + capacity)`; numbers below it are forgotten, numbers above it are refused
//! until the window grows or advances.

/// A set of sequence numbers within a sliding window.
#[derive(Clone, Debug)]
pub struct SeqBitmap {
    words: Vec<u64>,
    /// First word of the window, counted in words from number 0.
    first: u64,
}

impl SeqBitmap {
    /// An empty window that starts at 0 and holds `capacity` numbers or more: the next power of two, 64 at least.
    pub fn new(capacity: usize) -> SeqBitmap {
        let words = capacity.div_ceil(64).next_power_of_two();
        SeqBitmap { words: vec![0; words], first: 0 }
    }

    /// How many numbers the window holds.
    pub fn capacity(&self) -> u64 {
        self.words.len() as u64 * 64
    }

    /// The lowest number in the window; a multiple of 64.
    pub fn start(&self) -> u64 {
        self.first * 64
    }

    /// One past the highest number that the window can hold.
    pub fn end(&self) -> u64 {
        self.start() + self.capacity()
    }

    /// Adds `number`; `Some(true)` if it was new, `Some(false)` if already there, `None` if outside the window.
    pub fn insert(&mut self, number: u64) -> Option<bool> {
        let bit = 1 << (number % 64);
        let word = self.word_mut(number / 64)?;
        let new = *word & bit == 0;
        *word |= bit;
        Some(new)
    }

    /// Removes `number`; true if it was there.
    pub fn remove(&mut self, number: u64) -> bool {
        let bit = 1 << (number % 64);
        let Some(word) = self.word_mut(number / 64) else { return false };
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }

    /// Whether `number` is in the set (false outside the window).
    pub fn contains(&self, number: u64) -> bool {
        self.word(number / 64) & (1 << (number % 64)) != 0
    }

    /// The 64 numbers from `index * 64` on as bits (0 outside the window).
    pub fn word(&self, index: u64) -> u64 {
        if self.holds(index) { self.words[self.slot(index)] } else { 0 }
    }

    /// The same, to be written; `None` outside the window.
    pub fn word_mut(&mut self, index: u64) -> Option<&mut u64> {
        if !self.holds(index) {
            return None;
        }
        let slot = self.slot(index);
        Some(&mut self.words[slot])
    }

    /// Forgets every word that lies wholly below `number`.
    pub fn advance_to(&mut self, number: u64) {
        let target = number / 64;
        if target <= self.first {
            return;
        }
        if target - self.first >= self.words.len() as u64 {
            self.words.fill(0);
        } else {
            for index in self.first..target {
                let slot = self.slot(index);
                self.words[slot] = 0;
            }
        }
        self.first = target;
    }

    /// Makes the window hold at least `capacity` numbers, keeping its content.
    pub fn grow(&mut self, capacity: u64) {
        let words = (capacity.div_ceil(64) as usize).next_power_of_two();
        if words <= self.words.len() {
            return;
        }
        let mut grown = vec![0; words];
        for index in self.first..self.first + self.words.len() as u64 {
            grown[(index % words as u64) as usize] = self.words[self.slot(index)];
        }
        self.words = grown;
    }

    fn holds(&self, index: u64) -> bool {
        index >= self.first && index - self.first < self.words.len() as u64
    }

    fn slot(&self, index: u64) -> usize {
        // The length is a power of two; a division would be the dearest thing that happens to a received packet.
        index as usize & (self.words.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    /// The naive model: a set, and the window that it is seen through.
    struct Model {
        set: BTreeSet<u64>,
        start: u64,
        capacity: u64,
    }

    impl Model {
        fn holds(&self, number: u64) -> bool {
            (self.start..self.start + self.capacity).contains(&number)
        }

        fn word(&self, index: u64) -> u64 {
            self.set.range(index * 64..index * 64 + 64).fold(0, |word, number| word | 1 << (number % 64))
        }
    }

    fn step(bitmap: &mut SeqBitmap, model: &mut Model, (kind, number, bits): (u8, u64, u64)) {
        // Around the window: somewhat below, within, somewhat above.
        let number = (model.start + number).saturating_sub(200);
        match kind {
            0..=3 => {
                let new = model.holds(number).then(|| model.set.insert(number));
                assert_eq!(bitmap.insert(number), new, "{number}");
            }
            4 => assert_eq!(bitmap.remove(number), model.set.remove(&number), "{number}"),
            5 => {
                let index = number / 64;
                let word = bitmap.word_mut(index);
                assert_eq!(word.is_some(), model.holds(index * 64), "word {index}");
                let Some(word) = word else { return };
                *word = bits;
                model.set.retain(|number| number / 64 != index);
                model.set.extend((0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| index * 64 + bit));
            }
            6 => {
                bitmap.advance_to(number);
                model.start = model.start.max(number / 64 * 64);
                model.set.retain(|number| *number >= model.start);
            }
            _ => {
                bitmap.grow(bits % 1500);
                model.capacity = model.capacity.max((bits % 1500).div_ceil(64).next_power_of_two() * 64);
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(
            capacity in 1usize..300, steps in prop::collection::vec((0u8..8, 0u64..900, any::<u64>()), 1..300),
        ) {
            let mut bitmap = SeqBitmap::new(capacity);
            let capacity = capacity.div_ceil(64).next_power_of_two() as u64 * 64;
            let mut model = Model { set: BTreeSet::new(), start: 0, capacity };
            for change in steps {
                step(&mut bitmap, &mut model, change);
                prop_assert_eq!((bitmap.start(), bitmap.capacity()), (model.start, model.capacity));
                prop_assert_eq!(bitmap.end(), model.start + model.capacity);
                for index in (model.start / 64).saturating_sub(3)..bitmap.end() / 64 + 3 {
                    prop_assert_eq!(bitmap.word(index), model.word(index), "word {}", index);
                }
                let probe = (model.start + change.1).saturating_sub(200);
                prop_assert_eq!(bitmap.contains(probe), model.set.contains(&probe));
            }
        }
    }
}
