//! What the storm's programs mean to do, drawn from the seed alone, so that both ends know it.

use super::super::rough::Dice;
use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};
use crate::base::{Nanos, Rate};
use crate::link::impair::{Burst, Profile, Reorder};
use crate::link::memory::MemoryConfig;
use crate::proto::config::Config;
use crate::proto::recovery::Algorithm;

/// The whole scene.
pub struct Scene {
    pub memory: MemoryConfig,
    pub proto: Config,
    pub trouble: Profile,
    /// When the trouble stops, counted from the start.
    pub trouble_ns: Nanos,
    pub conns: Vec<ConnPlan>,
    /// Virtual time from one look to the next while anything happens.
    pub tick_ns: Nanos,
    /// By host: when its link takes nothing, and when its worker gets no core, each from and to.
    pub jams: [(Nanos, Nanos); 2],
    pub stops: [(Nanos, Nanos); 2],
    /// When host 1 falls silent for ever.
    pub death_ns: Option<Nanos>,
}

/// One connection: host 0 or 1 opens it; each opens streams at these times; perhaps one closes it midway.
#[derive(Clone, Debug)]
pub struct ConnPlan {
    pub from: usize,
    pub opens: [Vec<Nanos>; 2],
    /// Who closes it and when, whatever is under way.
    pub rude: Option<(usize, Nanos)>,
    /// Each side finishes as soon as all streams are there, not when they are done.
    pub early: [bool; 2],
}

/// One direction of a stream, by its writer.
#[derive(Clone, Debug)]
pub struct WritePlan {
    pub len: u64,
    pub piece: u64,
    pub nagle: bool,
    /// Gives up after this many bytes.
    pub cut: Option<u64>,
    /// The end travels with the last bytes.
    pub end_along: bool,
    /// Keeps its end until all is acknowledged.
    pub lingers: bool,
    pub pause_ns: Nanos,
    pub wanted: u32,
    pub key: u64,
}

/// The same, by its reader.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// Wants no more after this many bytes.
    pub stop: Option<u64>,
    pub pause_ns: Nanos,
    pub burst: usize,
    /// Messages that it keeps before it gives the first of them back.
    pub keeps: usize,
}

impl Scene {
    pub fn draw(seed: u64) -> Scene {
        let mut dice = Dice::new(seed);
        let trouble = trouble(&mut dice);
        let streams = dice.pick(&[1, 3, 8, 20]);
        let count = dice.pick(&[1, 1, 2, 3]);
        let mut scene = Scene {
            memory: memory(&mut dice),
            proto: proto(&mut dice),
            trouble,
            trouble_ns: dice.pick(&[1, 20, 100, 300]) * MILLISECOND,
            conns: (0..count).map(|_| ConnPlan::draw(&mut dice, streams)).collect(),
            tick_ns: dice.pick(&[1, 5, 20]) * MICROSECOND,
            jams: [span(&mut dice), span(&mut dice)],
            stops: [span(&mut dice), span(&mut dice)],
            death_ns: dice.hits(50).then(|| dice.below(20 * MILLISECOND)),
        };
        if scene.death_ns.is_some() {
            scene.proto.idle_timeout_ns = 2 * SECOND;
        }
        scene
    }
}

/// Each kind of trouble in half of the scenes, for up to a tenth of the frames.
fn trouble(dice: &mut Dice) -> Profile {
    let rough = dice.pick(&[0, 10, 50, 100]);
    let mut part = || if dice.hits(500) { dice.below(rough + 1) as f64 / 1000.0 } else { 0.0 };
    let [loss, late, duplicate, corrupt, bad] = [part(), part(), part(), part(), part()];
    let reorder = Reorder { share: late, least_ns: 1, most_ns: 1 + dice.pick(&[0, 20, 500, 5000]) * MICROSECOND };
    let burst = Burst { share: bad, mean_len: dice.pick(&[1.0, 5.0, 20.0]) };
    Profile {
        loss,
        duplicate,
        corrupt,
        reorder: (late > 0.0).then_some(reorder),
        burst: (bad > 0.0).then_some(burst),
        ..Profile::default()
    }
}

/// Mostly never, else up to 50 ms somewhere in the first 20.
fn span(dice: &mut Dice) -> (Nanos, Nanos) {
    if dice.hits(800) {
        return (0, 0);
    }
    let from = dice.below(20 * MILLISECOND);
    (from, from + dice.below(50 * MILLISECOND))
}

fn memory(dice: &mut Dice) -> MemoryConfig {
    let rx_reserve = dice.pick(&[64, 128, 1024]);
    MemoryConfig {
        frames: rx_reserve + 128 + dice.pick(&[100, 128, 300, 2000]),
        mtu: dice.pick(&[256, 1500, 1500, 9000]),
        rx_reserve,
        queue_frames: dice.pick(&[4, 64, 512]),
        hold_completions: dice.pick(&[0, 0, 16, 100]),
        hold_kicks: dice.pick(&[1, 8, 100]),
    }
}

fn proto(dice: &mut Dice) -> Config {
    let rate = Rate::from_bps(dice.pick(&[100_000_000, 10_000_000_000])).expect("a rate");
    Config {
        algorithm: dice.pick(&[Algorithm::Bbr, Algorithm::Cubic, Algorithm::Reno, Algorithm::Fixed(rate)]),
        max_streams: dice.pick(&[1, 3, 8, 1024]),
        require_cookie: dice.hits(300),
        max_stream_window_bytes: dice.pick(&[1, 20_000, u64::MAX, u64::MAX]),
        ..Config::default()
    }
}

impl ConnPlan {
    fn draw(dice: &mut Dice, streams: u64) -> ConnPlan {
        let mut opens = || (0..dice.below(streams + 1)).map(|_| dice.below(20 * MILLISECOND)).collect();
        let opens = [opens(), opens()];
        let rude = dice.hits(200).then(|| (dice.below(2) as usize, dice.below(30 * MILLISECOND)));
        ConnPlan { from: dice.below(2) as usize, opens, rude, early: [dice.hits(500), dice.hits(500)] }
    }
}

impl WritePlan {
    /// What `writer` does on a stream.
    pub fn draw(seed: u64, conn: usize, stream: u32, writer: usize) -> WritePlan {
        let key = seed << 20 ^ (conn as u64) << 16 ^ u64::from(stream) << 2 ^ writer as u64;
        let mut dice = Dice::new(key);
        let (most, piece) = dice.pick(&[(0, 1), (1, 1), (500, 1), (2_000, 7), (20_000, 100), (300_000, 100_000)]);
        let len = if most == 300_000 { dice.below(most) } else { most };
        WritePlan {
            len,
            piece,
            nagle: dice.hits(500),
            cut: dice.hits(150).then(|| dice.below(len + 1)),
            end_along: dice.hits(500),
            lingers: dice.hits(500),
            pause_ns: if dice.hits(300) { dice.below(200 * MICROSECOND) } else { 0 },
            wanted: dice.pick(&[1, 8, 64, 256]),
            key,
        }
    }

    /// Bytes `at..` of the stream: no shifted or repeated piece of it equals it.
    pub fn fill(&self, at: u64, out: &mut [u8]) {
        for (index, byte) in out.iter_mut().enumerate() {
            let place = at + index as u64;
            let word = Dice::new(self.key ^ (place / 8) << 32).draw();
            *byte = word.to_le_bytes()[(place % 8) as usize];
        }
    }
}

impl ReadPlan {
    /// What the reader of the direction that `writer` writes does.
    pub fn draw(seed: u64, conn: usize, stream: u32, writer: usize) -> ReadPlan {
        let plan = WritePlan::draw(seed, conn, stream, writer);
        let mut dice = Dice::new(plan.key ^ 1 << 60);
        ReadPlan {
            stop: dice.hits(150).then(|| dice.below(plan.len + 1)),
            pause_ns: if dice.hits(400) { dice.below(MILLISECOND) } else { 0 },
            burst: dice.pick(&[1, 8, 64]),
            keeps: dice.pick(&[0, 0, 3]),
        }
    }
}
