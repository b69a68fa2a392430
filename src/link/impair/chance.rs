//! Dice that fall the same way for a seed in every version, and what is made of them.

use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

use super::profile::{Burst, Reorder};
use crate::base::Nanos;

/// xoshiro256++, seeded through splitmix64 as its authors say: both are fixed by their published references.
#[derive(Clone, Debug)]
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// Dice of one seed that never meet: their sequences are 2^128 throws apart.
    pub fn split<const N: usize>(seed: u64) -> [Dice; N] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        std::array::from_fn(|_| {
            let dice = Dice(rng.clone());
            rng.jump();
            dice
        })
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// True with the probability `share`: never for 0, always for 1.
    pub fn hits(&mut self, share: f64) -> bool {
        // 53 bits make every double below 1 that is a multiple of 2^-53.
        const ULP: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.draw() >> 11) as f64 * ULP) < share
    }

    /// A number below `limit`; 0 for 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }
}

/// Something that happens to a share of the frames, each for itself.
#[derive(Clone, Debug)]
pub struct Chance {
    share: f64,
    pub dice: Dice,
}

impl Chance {
    pub fn new(share: f64, dice: Dice) -> Chance {
        Chance { share, dice }
    }

    pub fn hits(&mut self) -> bool {
        self.share > 0.0 && self.dice.hits(self.share)
    }
}

/// Gilbert's model: a good state that loses nothing and a bad one that loses everything. Where the link has a rate a
/// step takes as long as a full frame: what disturbs a link lasts for a time, however many frames meet it. (With a step
/// for each frame the few ACKs of a flow would be lost by twenties, which takes them milliseconds.) Else a step for
/// each frame.
#[derive(Clone, Debug)]
pub struct Bursts {
    is_bad: bool,
    share: f64,
    /// How much of the difference from the mean state is left after a step; below 0 the states rather alternate.
    memory: f64,
    /// Length of a step, and until when steps were made.
    step_ns: Option<Nanos>,
    until_ns: Nanos,
    dice: Dice,
}

impl Bursts {
    /// In the state that is met at any time.
    pub fn new(model: Burst, step_ns: Option<Nanos>, mut dice: Dice) -> Bursts {
        let is_bad = dice.hits(model.share);
        let memory = 1.0 - model.to_bad() - model.to_good();
        Bursts { is_bad, share: model.share, memory, step_ns, until_ns: 0, dice }
    }

    /// Whether the frame that leaves at `now` is lost.
    pub fn is_lost(&mut self, now: Nanos) -> bool {
        let steps = self.steps_until(now);
        if steps > 0 {
            let bad = f64::from(u8::from(self.is_bad));
            self.is_bad = self.dice.hits(self.share + (bad - self.share) * power(self.memory, steps));
        }
        self.is_bad
    }

    fn steps_until(&mut self, now: Nanos) -> u64 {
        let Some(step_ns) = self.step_ns else { return 1 };
        let steps = now.saturating_sub(self.until_ns) / step_ns;
        self.until_ns += steps * step_ns;
        steps
    }
}

/// `base` to the power of `exponent`, by multiplications, which round in the same way everywhere.
fn power(base: f64, exponent: u64) -> f64 {
    let (mut result, mut square, mut left) = (1.0, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}

/// Frames that are held back.
#[derive(Clone, Debug)]
pub struct Late {
    model: Reorder,
    dice: Dice,
}

impl Late {
    pub fn new(model: Reorder, dice: Dice) -> Late {
        Late { model, dice }
    }

    /// For how long the next frame is held back; mostly 0.
    pub fn next_ns(&mut self) -> Nanos {
        let Reorder { share, least_ns, most_ns } = self.model;
        if self.dice.hits(share) { least_ns + self.dice.below(most_ns - least_ns + 1) } else { 0 }
    }
}

/// How many times its own size the jitter takes from one random value to the next. Lower, and frames are squeezed
/// together (at 4 to 4/3 of the link's rate at most; below 1 they would overtake); higher, and delay changes more
/// slowly than on real paths, where queues of other traffic grow and drain within a few times their own length.
const PERIODS: u64 = 4;

/// Jitter: a delay that wanders between 0 and a most, by straight lines between random values. Depends on the time
/// alone, not on the frames, and changes more slowly than time passes: so frames keep their order.
#[derive(Clone, Debug)]
pub struct Wander {
    most_ns: Nanos,
    period_ns: Nanos,
    seed: u64,
}

impl Wander {
    pub fn new(most_ns: Nanos, seed: u64) -> Wander {
        Wander { most_ns, period_ns: PERIODS * most_ns, seed }
    }

    /// The delay of what leaves at `now`.
    pub fn at(&self, now: Nanos) -> Nanos {
        if self.most_ns == 0 {
            return 0;
        }
        let (index, into) = (now / self.period_ns, now % self.period_ns);
        let (from, to) = (self.corner(index), self.corner(index + 1));
        let weighted = u128::from(from) * u128::from(self.period_ns - into) + u128::from(to) * u128::from(into);
        match u64::try_from(weighted) {
            Ok(weighted) => weighted / self.period_ns,
            Err(_) => (weighted / u128::from(self.period_ns)) as Nanos,
        }
    }

    /// The random value number `index`. splitmix64 can be entered anywhere: its state is a counter.
    fn corner(&self, index: u64) -> Nanos {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let word = SplitMix64::seed_from_u64(self.seed.wrapping_add(index.wrapping_mul(STEP))).next_u64();
        ((u128::from(word) * (u128::from(self.most_ns) + 1)) >> 64) as Nanos
    }
}
