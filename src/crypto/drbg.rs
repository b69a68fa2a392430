//! Random numbers for keys and nonces, from a seed: each draw replaces the seed, so what was drawn can't be found
//! again.

use super::Secret;
use zeroize::Zeroize;

/// Where fresh randomness comes from: fills what it is given.
///
/// The simulator has none, so that a seed plays the same world again. Whatever talks to others takes the system's: two
/// copies of one virtual machine have the same seed, and must not have the same keys.
#[derive(Clone, Copy, Debug)]
pub struct Entropy(pub fn(&mut [u8; 32]));

impl Entropy {
    /// None.
    pub const NONE: Entropy = Entropy(|_| {});
}

/// A generator. Whoever sees its state learns nothing of what it gave out before: connections stay secret though this
/// process's memory be read later.
pub struct Drbg {
    state: Secret,
    entropy: Entropy,
}

impl Drbg {
    /// A generator over `seed`, which must be random.
    pub fn new(seed: [u8; 32]) -> Drbg {
        Drbg { state: Secret::new(seed), entropy: Entropy::NONE }
    }

    /// The same, which stirs in what is fresh when it is forked.
    pub fn with_entropy(seed: [u8; 32], entropy: Entropy) -> Drbg {
        Drbg { entropy, ..Drbg::new(seed) }
    }

    /// Fills `out` with bytes that nobody can guess.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.state);
        let mut stream = hasher.finalize_xof();
        stream.fill(self.state.as_mut());
        stream.fill(out);
        hasher.zeroize();
        stream.zeroize();
    }

    /// The same as a number.
    pub fn draw(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// Another generator, for the keys of one handshake: fresh whatever this one's seed was.
    pub fn fork(&mut self) -> Drbg {
        let mut fresh = Secret::default();
        (self.entropy.0)(&mut fresh);
        for (byte, fresh) in self.state.iter_mut().zip(fresh.iter()) {
            *byte ^= fresh;
        }
        let mut seed = Secret::default();
        self.fill(seed.as_mut());
        Drbg { state: seed, entropy: Entropy::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_and_are_repeatable() {
        let (mut a, mut b) = (Drbg::new([7; 32]), Drbg::new([7; 32]));
        let drawn: Vec<u64> = (0..100).map(|_| a.draw()).collect();
        assert!(drawn.iter().all(|number| *number == b.draw()));
        let distinct: std::collections::BTreeSet<u64> = drawn.into_iter().collect();
        assert_eq!(distinct.len(), 100);
        assert_ne!(a.fork().draw(), a.draw());
    }

    #[test]
    fn two_of_one_seed_give_different_keys_where_there_is_entropy() {
        use std::sync::atomic::{AtomicU8, Ordering};
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let entropy = Entropy(|fresh| fresh[0] = COUNT.fetch_add(1, Ordering::Relaxed));
        let twins = || Drbg::with_entropy([7; 32], entropy).fork().draw();
        assert_ne!(twins(), twins());
        let copies = || Drbg::new([7; 32]).fork().draw();
        assert_eq!(copies(), copies());
    }

    #[test]
    fn the_state_after_a_draw_is_not_what_was_drawn_from() {
        let mut drbg = Drbg::new([7; 32]);
        let mut out = [0; 32];
        drbg.fill(&mut out);
        assert_ne!(*drbg.state, [7; 32]);
        assert_ne!(*drbg.state, out);
    }
}
