//! Fuzzing on stable Rust: changes the seeds at random, without knowing what of the program that reaches. libFuzzer
//! does know, and finds more in the same time. The same seed makes the same inputs.
//!
//! The mutator is our own because mutatis, the crate for it, wants a newer Rust than farwire does.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::Target;

/// Longest input: libFuzzer's default.
const MAX_LEN: usize = 4096;
/// Most changes between a seed and an input.
const MAX_CHANGES: usize = 12;
/// Values that stand at the edge of something.
const EDGES: [u8; 8] = [0, 1, 0x7F, 0x80, 0xBF, 0xC0, 0xFB, 0xFF];

/// An input upon which a target panicked, made as short as it still does.
pub struct Finding {
    /// Which input it was, counted from 0.
    pub run: u64,
    /// The input.
    pub bytes: Vec<u8>,
}

/// Runs a target over its seeds, then over changed ones for as long as `goes_on` says so of the number of runs so far.
/// Tells how many it were.
///
/// # Errors
/// The first input upon which it panicked.
pub fn fuzz(
    target: &Target,
    seeds: &[Vec<u8>],
    seed: u64,
    mut goes_on: impl FnMut(u64) -> bool,
) -> Result<u64, Box<Finding>> {
    let mut mutator = Mutator { dice: SplitMix64::seed_from_u64(seed), seeds };
    let mut run = 0;
    loop {
        let bytes = match seeds.get(run as usize) {
            Some(bytes) => bytes.clone(),
            None if goes_on(run) => mutator.input(),
            None => return Ok(run),
        };
        if panics(target, &bytes) {
            return Err(Box::new(Finding { run, bytes: shorten(target, bytes) }));
        }
        run += 1;
    }
}

fn panics(target: &Target, bytes: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_err()
}

/// Leaves out what is not needed, in pieces that become smaller.
fn shorten(target: &Target, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut piece = bytes.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < bytes.len() {
            let mut less = bytes.clone();
            less.drain(at..(at + piece).min(bytes.len()));
            if panics(target, &less) { bytes = less } else { at += piece }
        }
        piece /= 2;
    }
    bytes
}

struct Mutator<'a> {
    dice: SplitMix64,
    seeds: &'a [Vec<u8>],
}

impl Mutator<'_> {
    fn input(&mut self) -> Vec<u8> {
        let mut bytes = if self.below(8) == 0 { self.noise(256) } else { self.seed() };
        for _ in 0..=self.below(MAX_CHANGES) {
            self.change(&mut bytes);
        }
        bytes.truncate(MAX_LEN);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let (from, to) = self.range(bytes.len());
        match self.below(9) {
            0 => bytes.get_mut(from).into_iter().for_each(|byte| *byte ^= 1 << self.below(8)),
            1 => bytes.get_mut(from).into_iter().for_each(|byte| *byte = self.dice.next_u64() as u8),
            2 => bytes.get_mut(from).into_iter().for_each(|byte| *byte = EDGES[self.below(EDGES.len())]),
            3 => bytes
                .get_mut(from)
                .into_iter()
                .for_each(|byte| *byte = byte.wrapping_add(self.below(7) as u8).wrapping_sub(3)),
            4 => drop(bytes.splice(from..from, self.noise(8))),
            5 => drop(bytes.drain(from..to)),
            6 => drop(bytes.splice(from..from, bytes[from..to].to_vec())),
            7 => drop(bytes.splice(from..to, self.noise(16))),
            _ => {
                let other = self.seed();
                let (begin, end) = self.range(other.len());
                drop(bytes.splice(from..to, other[begin..end].iter().copied()));
            }
        }
    }

    /// A place in so many bytes, and one behind it: mostly not far.
    fn range(&mut self, len: usize) -> (usize, usize) {
        let from = self.below(len + 1);
        let span = if self.below(4) == 0 { len } else { 16 };
        (from, (from + self.below(span + 1)).min(len))
    }

    fn seed(&mut self) -> Vec<u8> {
        let index = self.below(self.seeds.len());
        self.seeds.get(index).cloned().unwrap_or_default()
    }

    fn noise(&mut self, most: usize) -> Vec<u8> {
        (0..=self.below(most)).map(|_| self.dice.next_u64() as u8).collect()
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.dice.next_u64() % limit.max(1) as u64) as usize
    }
}
