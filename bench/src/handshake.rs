//! `bench handshake`: how many connections a core can open with a key, both ends of each on it.
//!
//! Two engines over the link in memory, on one thread: open, confirm, close, and the next one. The thread's CPU time
//! counts, so that what else the machine does is left out.

use std::task::Waker;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use farwire::base::Nanos;
use farwire::base::time::{MICROSECOND, SECOND};
use farwire::crypto::{Key, Keyring, NamedKey};
use farwire::engine::port::{Command, ConnPort, ConnectOptions, Doorbell};
use farwire::engine::{Engine, EngineConfig};
use farwire::link::Link;
use farwire::link::memory::{MemoryConfig, MemoryLink, pair};
use farwire::proto::config::{Config, Security};
use serde::Serialize;

/// Turns that an opening may take: four cross the link, so more is a mistake.
const TURNS_MOST: u64 = 100;
/// A closed connection keeps its slot for a second of the engines' time: one passes after so many.
const SLOTS: u64 = 1000;

#[derive(clap::Args)]
pub struct Options {
    /// Connections to open, in each of the rounds.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(100..))]
    connections: u64,
    /// Rounds, the median of which counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Ask each for a cookie first: one more round trip, one more hash.
    #[arg(long)]
    cookie: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    sealed_per_s: f64,
    insecure_per_s: f64,
    rounds: u64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let (mut sealed, mut insecure) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        sealed.push(round(options, true)?);
        insecure.push(round(options, false)?);
    }
    let report =
        Report { sealed_per_s: median(&mut sealed), insecure_per_s: median(&mut insecure), rounds: options.rounds };
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        let Report { sealed_per_s, insecure_per_s, rounds } = report;
        println!("connections opened and closed a second, both ends on one core, median of {rounds} rounds:");
        println!("  with a key  {sealed_per_s:9.0}   ({:.0} µs each)", 1e6 / sealed_per_s);
        println!("  --insecure  {insecure_per_s:9.0}   ({:.0} µs each)", 1e6 / insecure_per_s);
    }
    Ok(())
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

struct Host {
    engine: Engine<MemoryLink>,
    commands: Sender<Command>,
    incoming: Receiver<ConnPort>,
}

impl Host {
    fn new(link: MemoryLink, proto: Config, seed: u8) -> anyhow::Result<Host> {
        let (commands, orders) = unbounded();
        let (opened, incoming) = unbounded();
        commands.send(Command::Listen { incoming: opened })?;
        let config = EngineConfig { proto, vlan: None, incoming: None, seed: [seed; 32] };
        let engine = Engine::new(link, config, orders, Doorbell::new(Waker::noop().clone()));
        Ok(Host { engine, commands, incoming })
    }
}

/// Opens and closes connections one after another; how many a second.
fn round(options: &Options, sealed: bool) -> anyhow::Result<f64> {
    let (a, b) = pair(MemoryConfig { frames: 16_384, rx_reserve: 1024, ..MemoryConfig::default() });
    let keys = Keyring::new(NamedKey::new("bench", Key::from_bytes(*b"a key no secret is kept with ...")));
    let proto = Config {
        security: if sealed { Security::Keys(keys) } else { Security::Insecure },
        require_cookie: options.cookie,
        max_connections: 4096,
        open_every_ns: 0,
        open_every_from_one_ns: 0,
        ..Config::default()
    };
    let (mut ours, mut theirs) = (Host::new(a, proto.clone(), 1)?, Host::new(b, proto, 2)?);
    let peer = theirs.engine.link().caps().mac;
    let (mut now, began) = (SECOND, cpu_time()?);
    theirs.engine.turn(now);
    for index in 0..options.connections {
        open_one(&mut now, &mut ours, &mut theirs, peer)?;
        if index % SLOTS == SLOTS - 1 {
            now += 2 * SECOND;
        }
    }
    Ok(options.connections as f64 / (cpu_time()? - began).as_secs_f64())
}

/// What this thread has had of its core so far.
fn cpu_time() -> anyhow::Result<Duration> {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    Ok(nix::time::clock_gettime(clock).context("this thread's CPU time")?.into())
}

fn open_one(now: &mut Nanos, ours: &mut Host, theirs: &mut Host, peer: farwire::base::MacAddr) -> anyhow::Result<()> {
    let (reply, answer) = bounded(1);
    ours.commands.send(Command::Connect { options: ConnectOptions { peer, timeout_ns: SECOND }, reply })?;
    for _ in 0..TURNS_MOST {
        *now += 5 * MICROSECOND;
        ours.engine.turn(*now);
        theirs.engine.turn(*now);
        let Ok(conn) = theirs.incoming.try_recv() else { continue };
        let opened = answer.try_recv()??;
        ensure!(opened.seal.is_some() == conn.seal.is_some(), "one end is sealed, the other is not");
        ours.commands.send(Command::Close { conn: opened.key, code: 0, reason: "next".into() })?;
        return Ok(());
    }
    bail!("a connection was not open after {TURNS_MOST} turns")
}
