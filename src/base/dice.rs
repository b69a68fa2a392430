//! Numbers that look random and come again with their seed.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// The dice.
#[derive(Clone, Debug)]
pub struct Dice(SplitMix64);

impl Dice {
    /// From a seed; seeds next to each other have nothing in common.
    pub fn new(seed: u64) -> Dice {
        Dice(SplitMix64::seed_from_u64(seed))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// One below `limit`, which is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    /// One from `least` to `most`, smaller ones as likely as ten times as large ones.
    pub fn spread(&mut self, least: f64, most: f64) -> f64 {
        let share = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        least * (most / least).powf(share)
    }

    /// True so many times in a thousand.
    pub fn hits(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
