//! `bench compare`: bulk goodput and CPU per byte on one veth pair: raw AF_XDP, farwire, and the kernel's TCP.
//!
//! All contenders run in every round, so that a slow minute of the machine hits all of them; figures are medians, and
//! ratios are medians of the rounds' ratios.

mod contender;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use crate::lab::Lab;
use crate::machine::{Clock, Disturbance, FOREIGN_MOST, await_quiet};
use crate::program::{Key, farwire, set_offloads};
use contender::Contender;

/// Runs of one round and contender that may be disturbed before one is taken as it is.
const TRIES: usize = 3;

#[derive(clap::Args)]
pub struct Options {
    /// How often each contender runs.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each run.
    #[arg(short = 't', long, default_value_t = 4)]
    seconds: u64,
    /// MTU of the pair.
    #[arg(long, default_value_t = 1500)]
    mtu: usize,
    /// Only these contenders (the first letters of the names are enough).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The farwire to measure [default: the one beside this program].
    #[arg(long)]
    farwire: Option<PathBuf>,
    /// More flags for `farwire perf` on both ends, for example --flag=--cc=reno.
    #[arg(long = "flag", allow_hyphen_values = true)]
    flags: Vec<String>,
    /// Leave farwire's workers to the scheduler, instead of the sender's on core 0 and the receiver's on core 1 like
    /// the pump's threads.
    #[arg(long)]
    unpinned: bool,
    /// Seconds to wait before each run for a quiet machine.
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// JSON lines, one for each run, instead of a table.
    #[arg(long)]
    json: bool,
}

/// One run of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub benchmark: &'static str,
    pub contender: &'static str,
    pub round: usize,
    pub mtu: usize,
    #[serde(flatten)]
    pub moved: Moved,
    #[serde(flatten)]
    pub disturbance: Disturbance,
}

/// What was moved, and what it cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moved {
    pub goodput_bps: f64,
    pub sender_cpu_seconds_per_gb: f64,
    pub receiver_cpu_seconds_per_gb: f64,
    pub gigabytes: f64,
}

impl Run {
    /// Nobody disturbed it.
    pub fn is_fair(&self) -> bool {
        self.disturbance.foreign_cores < FOREIGN_MOST && self.moved.goodput_bps > 0.0
    }

    /// Both processes, and the kernel's threads that worked for them.
    pub fn cpu_seconds_per_gb(&self) -> f64 {
        let Moved { sender_cpu_seconds_per_gb: sender, receiver_cpu_seconds_per_gb: receiver, gigabytes, .. } =
            self.moved;
        sender + receiver + self.disturbance.ksoftirqd_cpu_seconds / gigabytes
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let farwire = farwire(options.farwire.as_deref())?;
    let key = Key::make(&farwire)?;
    let chosen = |contender: &Contender| {
        options.only.is_empty() || options.only.iter().any(|only| contender.name().starts_with(only))
    };
    let contenders: Vec<Contender> = Contender::all().into_iter().filter(chosen).collect();
    ensure!(!contenders.is_empty(), "--only {:?} names no contender", options.only);
    let lab = Lab::up(&["--mtu", &options.mtu.to_string()]);
    let mut runs = Vec::new();
    for round in 1..=options.rounds {
        for contender in &contenders {
            let run = measure(&lab, options, (&farwire.display().to_string(), &key), *contender, round)?;
            if options.json {
                println!("{}", serde_json::to_string(&run)?);
            } else {
                eprintln!("{}", report::line(&run));
            }
            runs.push(run);
        }
    }
    if !options.json {
        report::table(&contenders, &runs);
    }
    Ok(())
}

/// One run; repeated while others disturb it, and then taken as it is.
fn measure(
    lab: &Lab,
    options: &Options,
    farwire: (&str, &Key),
    contender: Contender,
    round: usize,
) -> anyhow::Result<Run> {
    set_offloads(lab, contender.offloads());
    let mut tries = 0;
    loop {
        tries += 1;
        await_quiet(Duration::from_secs(options.patience))?;
        let clock = Clock::now()?;
        let moved = contender.run(lab, options, farwire)?;
        let disturbance = clock.since()?;
        let (name, mtu) = (contender.name(), options.mtu);
        let run = Run { benchmark: "compare", contender: name, round, mtu, moved, disturbance };
        if run.is_fair() || tries == TRIES {
            return Ok(run);
        }
    }
}
