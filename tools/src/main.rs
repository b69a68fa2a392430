//! Lab tools: what the kernel's own TCP and UDP do on the link that farwire is measured on.

mod ping;
mod pong;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

/// What the kernel's TCP and UDP do on the same link.
#[derive(Parser)]
#[command(name = "farwire-tools", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Send messages to a `pong` and measure until each has come back.
    Ping {
        /// Where the `pong` listens.
        peer: SocketAddr,
        /// How many round trips to measure, after a tenth as many to warm up.
        #[arg(short, long, default_value_t = 20_000)]
        count: u64,
        /// Bytes of a message.
        #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=65_000))]
        size: u16,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        how: How,
    },
    /// Send back what a `ping` sends. Serves one after another; ends with the first if `--once`.
    Pong {
        /// Where to listen.
        listen: SocketAddr,
        /// Bytes of a message: the `--size` of the `ping`.
        #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=65_000))]
        size: u16,
        /// End when the first ping has gone (TCP).
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        how: How,
    },
}

/// Which transport, and how to wait for it.
#[derive(Args, Clone, Copy)]
struct How {
    /// UDP instead of TCP.
    #[arg(long)]
    udp: bool,
    /// Ask the socket again and again instead of sleeping until something comes.
    #[arg(long)]
    spin: bool,
    /// Stay on this CPU.
    #[arg(long)]
    cpu: Option<usize>,
}

impl How {
    fn pin(self) -> anyhow::Result<()> {
        let Some(cpu) = self.cpu else { return Ok(()) };
        let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
        anyhow::ensure!(pinned, "cannot run on CPU {cpu}: take one that `nproc` counts");
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Ping { peer, count, size, json, how } => {
            how.pin()?;
            ping::run(peer, &ping::Plan { count, size: size.into(), json }, how)
        }
        Verb::Pong { listen, size, once, how } => {
            how.pin()?;
            pong::run(listen, size.into(), once, how)
        }
    }
}
