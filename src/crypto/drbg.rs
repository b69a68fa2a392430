//! Random numbers for keys and nonces, from a seed: each draw replaces the seed, so what was drawn can't be found
//! again.

use super::Secret;
use zeroize::Zeroize;

/// A generator. Whoever sees its state learns nothing of what it gave out before: connections stay secret though this
/// process's memory be read later.
pub struct Drbg {
    state: Secret,
}

impl Drbg {
    /// A generator over `seed`, which must be random.
    pub fn new(seed: [u8; 32]) -> Drbg {
        Drbg { state: Secret::new(seed) }
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

    /// A seed for another generator.
    pub fn fork(&mut self) -> Drbg {
        let mut seed = Secret::default();
        self.fill(seed.as_mut());
        Drbg { state: seed }
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
    fn the_state_after_a_draw_is_not_what_was_drawn_from() {
        let mut drbg = Drbg::new([7; 32]);
        let mut out = [0; 32];
        drbg.fill(&mut out);
        assert_ne!(*drbg.state, [7; 32]);
        assert_ne!(*drbg.state, out);
    }
}
