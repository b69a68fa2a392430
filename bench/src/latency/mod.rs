//! `bench latency`: round trips of 64 bytes on one veth pair: farwire, raw AF_XDP, the kernel's UDP and TCP.
//!
//! All contenders play in every round, for the same number of round trips; their histograms are merged.

mod report;
mod sockets;

pub use sockets::Game;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use farwire::obs::{Histogram, Percentiles};
use serde::Serialize;
use serde_json::Value;

use crate::lab::Lab;
use crate::machine::{Clock, Disturbance, FOREIGN_MOST, await_quiet};
use crate::pingpong;
use crate::program::{Key, Program, SERVING, farwire};

/// The address of host b.
const B_MAC: &str = "02:00:0a:4d:00:02";
/// Runs of one round and contender that may be disturbed before one is taken as it is.
const TRIES: usize = 3;

#[derive(clap::Args)]
pub struct Options {
    /// How often each contender plays.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Round trips of each play of one that spins; those that block play a tenth of it.
    #[arg(short = 'c', long, default_value_t = 100_000)]
    count: u64,
    /// Bytes of payload: of the Ethernet frame for farwire and raw AF_XDP, of the datagram or segment for the kernel.
    #[arg(short = 's', long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(60..=1400))]
    bytes: u16,
    /// The farwire to measure [default: the one beside this program].
    #[arg(long)]
    farwire: Option<PathBuf>,
    /// Seconds to wait before each play for a quiet machine.
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// JSON lines, one for each play, instead of a table.
    #[arg(long)]
    json: bool,
}

/// Who plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    Raw,
    /// With a key, or without encryption.
    Farwire {
        idle: &'static str,
        sealed: bool,
    },
    Kernel(Game),
}

const CONTENDERS: [(&str, Contender); 8] = [
    ("raw AF_XDP, spinning", Contender::Raw),
    ("farwire ping, spin", Contender::Farwire { idle: "spin", sealed: true }),
    ("farwire ping, spin, --insecure", Contender::Farwire { idle: "spin", sealed: false }),
    ("kernel UDP, spinning", Contender::Kernel(game(false, true))),
    ("kernel TCP, spinning", Contender::Kernel(game(true, true))),
    ("farwire ping, adaptive", Contender::Farwire { idle: "adaptive", sealed: true }),
    ("kernel UDP, blocking", Contender::Kernel(game(false, false))),
    ("kernel TCP, blocking", Contender::Kernel(game(true, false))),
];

/// Enough to warm up whatever is warmed up: a few milliseconds where an end spins, a tenth of a second where it sleeps.
const WARM_UP: u64 = 2_000;

const fn game(tcp: bool, spin: bool) -> Game {
    Game { tcp, spin, warm_up: WARM_UP }
}

/// One play of one contender.
#[derive(Serialize)]
pub struct Play {
    benchmark: &'static str,
    pub contender: &'static str,
    pub round: usize,
    bytes: u16,
    pub rtt_ns: Percentiles,
    #[serde(flatten)]
    pub disturbance: Disturbance,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let farwire = farwire(options.farwire.as_deref())?;
    let key = Key::make(&farwire)?;
    let farwire = farwire.display().to_string();
    let lab = Lab::up(&[]);
    let mut plays = Vec::new();
    for round in 1..=options.rounds {
        for (name, contender) in CONTENDERS {
            let play = measure(&lab, options, (&farwire, &key), (name, contender), round)?;
            if options.json {
                println!("{}", serde_json::to_string(&play)?);
            } else {
                eprintln!("{}", report::line(&play));
            }
            plays.push(play);
        }
    }
    if !options.json {
        report::table(&CONTENDERS.map(|(name, _)| name), &plays);
    }
    Ok(())
}

/// One play; repeated while others disturb it, and then taken as it is.
fn measure(
    lab: &Lab,
    options: &Options,
    farwire: (&str, &Key),
    (name, contender): (&'static str, Contender),
    round: usize,
) -> anyhow::Result<Play> {
    let mut tries = 0;
    loop {
        tries += 1;
        await_quiet(Duration::from_secs(options.patience))?;
        let clock = Clock::now()?;
        let rtt_ns = contender.play(lab, options, farwire).with_context(|| name.to_owned())?;
        let disturbance = clock.since()?;
        if disturbance.foreign_cores < FOREIGN_MOST || tries == TRIES {
            return Ok(Play {
                benchmark: "latency",
                contender: name,
                round,
                bytes: options.bytes,
                rtt_ns,
                disturbance,
            });
        }
    }
}

impl Contender {
    fn play(self, lab: &Lab, options: &Options, (farwire, key): (&str, &Key)) -> anyhow::Result<Percentiles> {
        let rare = options.count / 10;
        match self {
            Contender::Raw => {
                let options = pingpong::Options::of(options.count, options.bytes);
                Ok(pingpong::measure(lab, &options)?.rtt.percentiles())
            }
            Contender::Farwire { idle, sealed } => {
                let protection = if sealed { key.flags().to_vec() } else { vec!["--insecure".to_owned()] };
                let common = [&["-i", "eth1", "--idle", idle].map(str::to_owned)[..], &protection].concat();
                ping(lab, options, farwire, &common, if idle == "spin" { options.count } else { rare })
            }
            Contender::Kernel(game) => {
                let count = if game.spin { options.count } else { rare };
                let rtt: Histogram = game.play(lab, usize::from(options.bytes), count)?;
                Ok(rtt.percentiles())
            }
        }
    }
}

fn ping(lab: &Lab, options: &Options, farwire: &str, common: &[String], count: u64) -> anyhow::Result<Percentiles> {
    let common: Vec<&str> = common.iter().map(String::as_str).collect();
    let server = [&[farwire, "perf"][..], &common, &["--cpu", "1", "server"]].concat();
    let mut server = Program::start(lab, "b", &server)?;
    server.await_words(SERVING)?;
    let (count, bytes) = (count.to_string(), options.bytes.to_string());
    let own = ["--cpu", "0", B_MAC, "-c", &count, "-s", &bytes, "--interval", "0", "--json"];
    let client = Program::start(lab, "a", &[&[farwire, "ping"][..], &common, &own].concat())?.finish()?;
    server.stop()?;
    let report: Value = serde_json::from_str(&client.stdout).with_context(|| client.stdout.clone())?;
    let rtt = report.get("rtt_us").context("no rtt_us")?;
    let ns = |key: &str| {
        let us = rtt.get(key).and_then(Value::as_f64).with_context(|| format!("no {key} in {rtt}"))?;
        anyhow::Ok((us * 1000.0) as u64)
    };
    Ok(Percentiles {
        count: rtt.get("count").and_then(Value::as_u64).context("no count")?,
        min: ns("min")?,
        p50: ns("p50")?,
        p90: ns("p90")?,
        p99: ns("p99")?,
        p999: ns("p99.9")?,
        max: ns("max")?,
        mean: rtt.get("mean").and_then(Value::as_f64).context("no mean")? * 1000.0,
    })
}
