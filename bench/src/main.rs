//! Benchmarks of farwire beside its peers, and of the machine that they run on.

#[path = "../../tests/lab/mod.rs"]
mod lab;
mod pingpong;
mod pump;
mod raw;

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
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Pump(options) => pump::run(&options),
        What::Pingpong(options) => pingpong::run(&options),
    }
}
