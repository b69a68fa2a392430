//! `linkem`: a link between two interfaces, as slow, long and lossy as asked for, in real time.
//!
//! `options` is the command line, `profiles` what it says of the link; `memory`, `priority` and `clock`: the machine;
//! `run` is the loop over the two `direction`s, each an impairment model (`farwire::link::impair`) and what is in
//! `flight`; `own` and `report` tell how it went.

mod clock;
mod direction;
mod flight;
mod interval;
mod memory;
mod options;
mod own;
mod priority;
mod profiles;
mod report;
mod run;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use farwire::base::size::show;
use farwire::link::impair::{Impairment, Profile};
use farwire::xdp::nic::Nic;
use farwire::xdp::pair::Side;
use farwire::xdp::{XdpConfig, XdpPair};

use direction::Direction;
use options::Options;
use own::Baseline;
use report::{Report, Way};
use run::Emulator;

/// Exit status of a command line that nothing can be made of; clap's own is the same.
const WRONG_USAGE: u8 = 2;
/// Exit status of a run that went through, and says nothing about the link.
const INVALID: u8 = 3;

/// Ethernet header and one 802.1Q tag.
const LINK_HEADER: usize = 18;

fn main() -> ExitCode {
    let options = Options::parse();
    let fail = |error: String, status: ExitCode| {
        eprintln!("linkem: {error}");
        status
    };
    match options.profiles().map(|profiles| emulate(&options, &profiles)) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::from(INVALID),
        Ok(Err(error)) => fail(format!("{error:#}"), ExitCode::FAILURE),
        Err(error) => fail(error, ExitCode::from(WRONG_USAGE)),
    }
}

/// The whole run; whether it is valid.
fn emulate(options: &Options, profiles: &[Profile; 2]) -> anyhow::Result<bool> {
    let mtu = Nic::query(&options.left)?.map_or(1500, |nic| nic.mtu);
    let under_way = memory::frames_under_way(profiles, options.frame.map_or(mtu + LINK_HEADER, usize::from));
    let under_way = under_way.unwrap_or([u64::MAX; 2]);
    let umem_bytes = options.umem.unwrap_or_else(|| memory::bytes_for(under_way));
    memory::check(umem_bytes, options.umem)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching SIGINT and SIGTERM")?;
    }
    let config = |interface: &str| XdpConfig { umem_bytes, mode: options.mode, ..XdpConfig::new(interface) };
    priority::stay_on(options.cpu)?;
    let pair = XdpPair::open(&config(&options.left), &config(&options.right))?;
    let real_time = prepare(options)?;
    let (mode, frames) = (pair.caps(Side::First).mode, pair.caps(Side::First).frames);
    let directions = directions(options, profiles, under_way, frames)?;
    let baseline = Baseline::of(&pair);
    let mut emulator = Emulator::new(pair, directions, options);
    let (left, right, size) = (&options.left, &options.right, show(umem_bytes));
    eprintln!("linkem: ready: {left} <-> {right}, {mode} mode, {size} of frames");
    let cut = emulator.run(&stop);
    let (pair, directions, under_way, taken) = emulator.finish();
    let way = |at: usize| Way {
        profile: &profiles[at],
        counters: directions[at].counters(),
        seen: directions[at].seen(),
        under_way: under_way[at],
        losses: baseline.losses(&pair, directions[at].from, directions[at].to),
    };
    let report = Report { options, mode, mtu, frames, real_time, taken, ways: [way(0), way(1)] };
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    cut?;
    Ok(report.reasons().is_empty())
}

/// Makes the thread punctual; whether it has real-time priority.
fn prepare(options: &Options) -> anyhow::Result<bool> {
    priority::punctual_timers()?;
    if options.priority == 0 || options.spin {
        return Ok(false);
    }
    match priority::real_time(options.priority) {
        Ok(()) => Ok(true),
        Err(error) => {
            eprintln!(
                "linkem: no real-time priority ({error}); a busy machine may hold frames up, the report will tell"
            );
            Ok(false)
        }
    }
}

/// The directions, with room for `frames` under way, but not more than the pool has (`most`).
fn directions(
    options: &Options,
    profiles: &[Profile; 2],
    frames: [u64; 2],
    most: usize,
) -> anyhow::Result<[Direction; 2]> {
    let one = |at: usize, from: Side, to: Side| {
        // Each direction throws its own dice.
        let seed = options.seed.wrapping_mul(2).wrapping_add(at as u64);
        let impairment = Impairment::new(&profiles[at], seed)?;
        anyhow::Ok(Direction::new(from, to, impairment, most.min(frames[at] as usize), options.bins))
    };
    Ok([one(0, Side::First, Side::Second)?, one(1, Side::Second, Side::First)?])
}
