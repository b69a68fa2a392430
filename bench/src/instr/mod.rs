//! `bench instr`: instructions per data packet of the protocol path, counted by callgrind over the link in memory.
//!
//! Two engines in virtual time on one thread; the program runs itself under valgrind, once for each side and length.
//! The difference between a long and a short run leaves out the start. Code is told apart by the source file that the
//! debug lines name, so inlined code counts where it was written.

mod callgrind;
pub mod flat;
mod opaque;
mod report;
mod rooms;
mod valgrind;
mod world;

use anyhow::ensure;
use clap::error::ErrorKind;

use callgrind::Profile;
use report::{Report, Side};
use world::World;

#[derive(clap::Args)]
pub struct Options {
    /// Segments of the long run.
    #[arg(long, default_value_t = 60_000)]
    long: u64,
    /// Segments of the short run, which is subtracted.
    #[arg(long, default_value_t = 20_000)]
    short: u64,
    /// Functions and source lines to list.
    #[arg(long, default_value_t = 15)]
    top: usize,
    /// List the costliest source lines as well.
    #[arg(long)]
    lines: bool,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scene: Scene,
}

/// What is sent, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct Scene {
    /// Congestion controller of the sender.
    #[arg(long, default_value = "cubic", value_parser = ["bbr", "cubic", "reno", "fixed"])]
    cc: String,
    /// Rate of `fixed`.
    #[arg(long, default_value = "10gbit")]
    rate: farwire::base::Rate,
    /// Virtual time between two turns of an engine: with the rate it says how many packets a turn handles.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    step_us: u64,
    /// MTU of the link.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(576..=9000))]
    mtu: u16,
    /// What packets are sealed with: none, aes (AES-256-GCM) or chacha (ChaCha20-Poly1305).
    #[arg(long, default_value = "none", value_parser = ["none", "aes", "chacha"])]
    seal: String,
}

/// One run under valgrind (hidden).
#[derive(clap::Args)]
pub struct Run {
    #[arg(long)]
    segments: u64,
    #[command(flatten)]
    scene: Scene,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let Options { long, short, .. } = options;
    ensure!(long > short, usage(format!("--long {long}: more than --short {short}, please, which is subtracted")));
    valgrind::find()?;
    let sides = [("sender", "*sender_turn"), ("receiver", "*receiver_turn"), ("application", "*application_*")];
    let (mut measured, mut counts) = (Vec::new(), world::Counts::default());
    for (name, toggle) in sides {
        let (long, packets_long) = profile(options, name, toggle, options.long)?;
        let (short, packets_short) = profile(options, name, toggle, options.short)?;
        let packets = packets_long.data_packets - packets_short.data_packets;
        measured.push(Side::new(name, &long.minus(&short), packets));
        counts = packets_long;
    }
    let report = Report::new(measured, &counts, options);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    Ok(())
}

/// What is wrong with options that can't go together: ends the program as a wrong option does.
fn usage(text: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, text + "\n")
}

/// The work itself, which valgrind watches.
pub fn run_inside(run: &Run) -> anyhow::Result<()> {
    let counts = World::new(&run.scene)?.transfer(run.segments)?;
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

fn profile(options: &Options, side: &str, toggle: &str, segments: u64) -> anyhow::Result<(Profile, world::Counts)> {
    let Scene { cc, rate, step_us, mtu, seal } = &options.scene;
    let (segments, rate, step_us, mtu) =
        (segments.to_string(), rate.bps().to_string(), step_us.to_string(), mtu.to_string());
    let run = valgrind::Run { name: side, toggles: &[toggle], zero_before: None, callers: 0 };
    run.profile(&[
        "instr-run",
        "--segments",
        &segments,
        "--cc",
        cc,
        "--rate",
        &rate,
        "--step-us",
        &step_us,
        "--mtu",
        &mtu,
        "--seal",
        seal,
    ])
}
