//! Benchmarks of farwire beside its peers, and of the machine that they run on.

mod compare;
mod handshake;
mod instr;
#[path = "../../tests/lab/mod.rs"]
mod lab;
mod latency;
mod link;
mod machine;
mod memory;
mod pingpong;
mod program;
mod pump;
mod raw;
mod rivals;
mod soak;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Frames through raw AF_XDP from one host to another, without protocol: the most that this machine can move.
    Pump(pump::Options),
    /// One small frame back and forth through raw AF_XDP, without protocol: the least latency of this machine.
    Pingpong(pingpong::Options),
    /// Instructions per data packet of the protocol path, by callgrind over the link in memory.
    Instr(instr::Options),
    /// The same over long paths of the simulator, with more and more packets in flight: whether the cost stays flat.
    InFlight(instr::flat::Options),
    /// Connections opened and closed a second with a key, both ends on one core.
    Handshake(handshake::Options),
    /// Bulk goodput and CPU time: raw AF_XDP, farwire, the kernel's TCP, interleaved on one veth pair.
    Compare(compare::Options),
    /// Round trips of 64 bytes: farwire, raw AF_XDP, the kernel's UDP and TCP, in turn on one veth pair.
    Latency(latency::Options),
    /// Peak memory of both ends of a short and a long transfer.
    Memory(memory::Options),
    /// farwire and its rivals over an emulated link: rate, round trip, loss and queue, and a report of it.
    Link(Box<link::Options>),
    /// Move bytes with another transport's library, as `bench link` does to compare.
    Rival(rivals::Options),
    /// What `instr` runs under valgrind.
    #[command(hide = true)]
    InstrRun(instr::Run),
    /// What `in-flight` runs under valgrind.
    #[command(hide = true)]
    InFlightRun(instr::flat::Run),
}

fn main() -> ExitCode {
    match Cli::parse().what.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(usage) = error.downcast_ref::<clap::Error>() {
                usage.exit();
            }
            // Not as `Debug` shows it: where in this program the user's mistake was noticed tells nobody anything.
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl What {
    fn run(&self) -> anyhow::Result<()> {
        match self {
            What::Pump(options) => pump::run(options),
            What::Pingpong(options) => pingpong::run(options),
            What::Instr(options) => instr::run(options),
            What::Handshake(options) => handshake::run(options),
            What::Compare(options) => compare::run(options),
            What::Latency(options) => latency::run(options),
            What::Memory(options) => memory::run(options),
            What::Link(options) => link::run(options),
            What::Rival(options) => rivals::run(options),
            What::InstrRun(run) => instr::run_inside(run),
            What::InFlight(options) => instr::flat::run(options),
            What::InFlightRun(run) => instr::flat::run_inside(run),
        }
    }
}
