//! What happens in a round, drawn from the seed and the round's number alone: one that fails can be played by itself.

use std::time::Duration;

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// One round: several transfers of one load that something happens to, then one that must work.
#[derive(Debug)]
pub struct Plan {
    pub load: Load,
    /// The target holds other content under the same names.
    pub overwrites: bool,
    /// What both sides are started with.
    pub common: Vec<&'static str>,
    /// What the sender is started with besides.
    pub rate: Vec<&'static str>,
    pub blows: Vec<Blow>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// One file of so many bytes.
    File(usize),
    /// A tree of so many small files, with directories, links and holes.
    Tree(usize),
    /// A tree of so many empty files.
    Empty(usize),
    /// So many bytes of standard input.
    Stdin(usize),
    /// A file of so many bytes, which goes to standard output.
    Stdout(usize),
}

/// What happens to one transfer.
#[derive(Debug)]
pub struct Blow {
    pub victims: &'static [Side],
    pub moment: Moment,
    pub flaps: Vec<Flap>,
    /// Receivers that come after one that was killed, and how long each of them lives; the one after them stays.
    pub stillborn: Vec<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Sender,
    Receiver,
}

/// When it happens.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// So long after the sender's process was started: mostly before it is connected.
    AfterStart(Duration),
    /// When the receiver has written so many thousandths of all bytes.
    AtShare(u64),
    /// So long after it has written the last byte.
    AfterLast(Duration),
}

/// An interface that is down for a while.
#[derive(Clone, Copy, Debug)]
pub struct Flap {
    pub host: &'static str,
    /// From the sender's start, or from the end of the flap before it.
    pub wait: Duration,
    pub length: Duration,
}

impl Plan {
    pub fn draw(seed: u64, round: u64) -> Plan {
        // Seeds that are neighbours must not share rounds.
        let mixed = Dice(SplitMix64::seed_from_u64(seed)).draw();
        let mut dice = Dice(SplitMix64::seed_from_u64(mixed.wrapping_add(round)));
        let load = Load::draw(&mut dice);
        let blows = dice.pick(&[1, 2, 2, 3]);
        let mode: &[_] = dice.pick(&[&[][..], &[], &["--mode", "skb"]]);
        // A small pool is pinned faster.
        let umem: &[_] = dice.pick(&[&[][..], &["--umem", "16MiB"], &["--umem", "16MiB"], &["--umem", "16MiB"]]);
        Plan {
            load,
            overwrites: dice.below(3) == 0,
            common: [mode, umem].concat(),
            // Some hundred milliseconds to strike in, or as fast as it goes.
            rate: dice.pick::<&[_]>(&[&["--rate", "80mbit"], &["--rate", "80mbit"], &[]]).to_vec(),
            blows: (0..blows).map(|_| Blow::draw(&mut dice, load)).collect(),
        }
    }
}

impl Load {
    fn draw(dice: &mut Dice) -> Load {
        let bytes = 2_000_000 + dice.below(4_000_000) as usize;
        let count = 50 + dice.below(350) as usize;
        let one = Load::File(bytes);
        dice.pick(&[
            one,
            one,
            one,
            Load::Tree(count),
            Load::Tree(count),
            Load::Empty(count),
            Load::Stdin(bytes),
            Load::Stdout(bytes),
        ])
    }

    /// Bytes that the receiver writes for it, holes excluded; roughly, for a tree.
    pub fn has_bytes(self) -> bool {
        !matches!(self, Load::Empty(_))
    }
}

impl Blow {
    fn draw(dice: &mut Dice, load: Load) -> Blow {
        let both: &'static [Side] = &[Side::Sender, Side::Receiver];
        let (sender, receiver) = (&both[..1], &both[1..]);
        let victims = dice.pick(&[sender, sender, sender, receiver, receiver, receiver, both, &[]]);
        let moment = Moment::draw(dice, load);
        // Somebody must suffer.
        let flaps = dice.pick(&[0, 0, 0, 0, 1, 1, 2, 3]).max(u64::from(victims.is_empty()));
        let flaps = (0..flaps).map(|_| Flap::draw(dice)).collect();
        let stillborn = (0..dice.pick(&[0, 0, 1, 2])).map(|_| dice.millis(150)).collect();
        Blow { victims, moment, flaps, stillborn }
    }

    /// Whether it is meant to hit a transfer between its first and its last byte.
    pub fn is_midway(&self) -> bool {
        !self.victims.is_empty() && matches!(self.moment, Moment::AtShare(_))
    }
}

impl Moment {
    fn draw(dice: &mut Dice, load: Load) -> Moment {
        let start = Moment::AfterStart(dice.millis(500));
        let share = Moment::AtShare(10 + dice.below(960));
        let last = Moment::AfterLast(dice.millis(60));
        if load.has_bytes() { dice.pick(&[share, share, share, share, start, last]) } else { start }
    }
}

impl Flap {
    fn draw(dice: &mut Dice) -> Flap {
        Flap { host: dice.pick(&["a", "b"]), wait: dice.millis(800), length: dice.millis(500) }
    }
}

/// Numbers that look random and come again with their seed.
struct Dice(SplitMix64);

impl Dice {
    fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
