//! The table of links far past this machine.

use std::process::{Command, ExitCode};

use farwire::sim::flow::far::{Far, HEADING};

/// Rate, round trip in milliseconds, MTU.
const LINKS: [(&str, u64, usize); 5] = [
    ("1gbit", 20, 1500),
    ("10gbit", 100, 1500),
    ("100gbit", 200, 9000),
    ("400gbit", 100, 9000),
    ("100gbit", 200, 1500),
];

/// Lines of the table: each link with a rate that is given, and with `bbr`.
pub const LINES: i64 = 2 * LINKS.len() as i64;

/// Prints the table, each line by a process of its own: memory that another line had used would be filled with zeros
/// first, and all of it would really be needed.
pub fn print() -> ExitCode {
    println!("{HEADING}");
    let Ok(program) = std::env::current_exe() else {
        eprintln!("simrun: where is this program? Run it by its path");
        return ExitCode::FAILURE;
    };
    for index in 0..LINES {
        let ended = match Command::new(&program).args(["--far-line", &index.to_string()]).status() {
            Ok(status) if status.success() => continue,
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        eprintln!("simrun: line {index} of the table came to no end ({ended}): are 24 GB of memory free?");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints one line.
pub fn print_line(index: usize) -> ExitCode {
    let Some((rate, rtt_ms, mtu)) = LINKS.get(index / 2).copied() else { return ExitCode::FAILURE };
    let far = Far { rate, rtt_ns: rtt_ms * 1_000_000, mtu, bbr: index % 2 == 1 };
    match far.reach() {
        Ok(reached) => {
            println!("{far} | {reached}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simrun: {far}: {error}");
            ExitCode::FAILURE
        }
    }
}
