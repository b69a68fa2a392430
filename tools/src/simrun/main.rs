//! `simrun`: worlds of production engines in virtual time, by the thousand, or one of them step by step.
//!
//! `sweep` lives through many seeds on all cores; `replay` tells one of them; `caught` makes a panic a finding; `far`
//! prints what links come to that no machine here has.

mod caught;
mod far;
mod replay;
mod sweep;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

/// Live through simulated worlds: hosts with the production engine, links with trouble, programs that check each byte.
///
/// A seed decides everything in its world, so what goes wrong once goes wrong again with the same seed.
///
/// Exit status: 0 if all is well, 1 if something is wrong in a world, 2 for a wrong command line.
#[derive(Parser)]
#[command(name = "simrun", version)]
struct Options {
    /// How many worlds to live through, one per seed.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    from: u64,
    /// Begin no new world after so many seconds, however many are left.
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    for_s: Option<u64>,
    /// Worlds at a time; all cores unless told.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Live through this world alone: print what it is like, all that happens in it, and how it ends.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from", "for_s", "jobs"])]
    seed: Option<u64>,
    /// With --seed: only the last so many lines of what happens.
    #[arg(long, value_name = "LINES", requires = "seed", conflicts_with = "json")]
    last: Option<usize>,
    /// Print the goodput table instead: each controller over links of different lengths, losses and queues.
    #[arg(long, conflicts_with_all = ["seeds", "from", "for_s", "jobs", "seed", "last", "json"])]
    table: bool,
    /// Send over links far past this machine instead, up to 400 Gbit/s and 5 GB in flight, and print what they come to.
    /// Takes minutes, and up to 24 GB of memory.
    #[arg(long, conflicts_with_all = ["seeds", "from", "for_s", "jobs", "seed", "last", "json", "table"])]
    far: bool,
    /// One line of that table, in a process of its own, so that its memory is new.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u16).range(..far::LINES))]
    far_line: Option<u16>,
    /// Print one JSON object instead of words.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.from.checked_add(options.seeds - 1).is_none() {
        let text =
            format!("--from {} --seeds {}: the last seed is {}; take fewer", options.from, options.seeds, u64::MAX);
        Options::command().error(ErrorKind::ValueValidation, text).exit();
    }
    if options.table {
        return print_table();
    }
    if options.far {
        return far::print();
    }
    if let Some(index) = options.far_line {
        return far::print_line(index.into());
    }
    caught::listen();
    let clean = match options.seed {
        Some(seed) => replay::replay(seed, options.last, options.json),
        None => sweep::sweep(&options),
    };
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has gone, as `head` does: nothing is left to tell anybody.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simrun: the results cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_table() -> ExitCode {
    match farwire::sim::flow::table::goodput() {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simrun: {error}");
            ExitCode::FAILURE
        }
    }
}
