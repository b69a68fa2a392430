//! The command line: flags to calls of `apps`, results to text or JSON, errors to exit codes.
//!
//! Decides: what is shown and with which exit code a command ends. Does not: transfer, measure or diagnose.
//! Called by: `main.rs`. Invariant: standard output has results only; with `--json` it is one JSON object.

mod config;
mod discover;
mod doctor;
mod exit;
mod flags;
mod key_files;
mod keygen;
mod keys;
mod notices;
mod open;
mod perf;
mod ping;
mod privilege;
mod recv;
mod send;
mod show;
mod small_file;
mod stop;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use crate::api::{Connection, Endpoint};
use exit::Failure;
use flags::{Cli, Command};
use stop::{Hangup, Stop};

/// How long a name is asked for. Long enough for a link of a second's round trip, asked several times.
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if let Err(failure) = privilege::harden() {
        return end(failure);
    }
    let stop = match Stop::listen(hangup(&cli.command)) {
        Ok(stop) => stop,
        Err(error) => return end(Failure::local(format!("signals can't be listened for: {error}"))),
    };
    let (name, json, verbosity) = about(&cli.command);
    trace(verbosity);
    // Where received bytes go to standard output, nothing else may.
    let json = json && !matches!(&cli.command, Command::Recv(flags) if flags.dir.as_os_str() == "-");
    let result = match cli.command {
        Command::Send(flags) => send::run(&flags, &stop),
        Command::Recv(flags) => recv::run(&flags, &stop),
        Command::Perf(flags) => perf::run(&flags, &stop),
        Command::Ping(flags) => ping::run(&flags, &stop),
        Command::Doctor(flags) => doctor::run(&flags, &stop),
        Command::Discover(flags) => discover::run(&flags, &stop),
        Command::Keygen(flags) => keygen::run(&flags),
    };
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            let failure = interrupted(failure, &stop);
            if json && !show::json_said() {
                let Failure { code, message } = &failure;
                show::json(&json!({ "command": name, "error": message, "exit_code": code }));
            }
            end(failure)
        }
    }
}

/// What fails because the user stopped it was stopped.
fn interrupted(failure: Failure, stop: &Stop) -> Failure {
    if stop.requested() { Failure::new(exit::INTERRUPTED, "stopped") } else { failure }
}

fn end(failure: Failure) -> ExitCode {
    if !failure.message.is_empty() {
        show::complain(&failure.message);
    }
    ExitCode::from(failure.code)
}

/// A connection to whom the user named, by address or by name.
fn connect(endpoint: &Endpoint, peer: &str) -> Result<Connection, Failure> {
    let mac = endpoint.resolve(peer, RESOLVE_WITHIN)?;
    let connection = endpoint.connect(mac)?;
    tracing::info!("connected to {mac}");
    Ok(connection)
}

/// The name to answer to: what the user says, or the host's.
fn own_name(named: Option<&String>) -> Result<String, Failure> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    let host = nix::unistd::gethostname().map_err(|errno| Failure::local(format!("no host name: {}", errno.desc())))?;
    let host = host.to_string_lossy().into_owned();
    let end = (0..=host.len().min(LONGEST_NAME)).rev().find(|at| host.is_char_boundary(*at)).unwrap_or(0);
    Ok(host[..end].to_owned())
}

/// Bytes of a name on the link.
const LONGEST_NAME: usize = 32;

/// A command's name, whether it is to answer in JSON, and how much it is to say.
fn about(command: &Command) -> (&'static str, bool, u8) {
    let (name, common) = match command {
        Command::Send(flags) => ("send", &flags.common),
        Command::Recv(flags) => ("recv", &flags.common),
        Command::Perf(flags) => ("perf", &flags.common),
        Command::Ping(flags) => ("ping", &flags.common),
        Command::Doctor(flags) => ("doctor", &flags.common),
        Command::Discover(flags) => ("discover", &flags.common),
        Command::Keygen(flags) => return ("keygen", flags.json, 0),
    };
    (name, common.json, common.verbose)
}

/// What SIGHUP means to a command, from its first moment on: what is sent while it reads its keys is not lost.
fn hangup(command: &Command) -> Hangup {
    let renews = match command {
        Command::Recv(flags) => !flags.common.insecure,
        Command::Perf(flags) => flags.peer == "server" && !flags.common.insecure,
        _ => false,
    };
    if renews { Hangup::RenewsKeys } else { Hangup::Ends }
}

fn trace(verbosity: u8) {
    let level = match verbosity {
        0 => "farwire=warn",
        1 => "farwire=info",
        2 => "farwire=debug",
        _ => "farwire=trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("FARWIRE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    // Only a second subscriber could be refused, and there is none.
    let _ = lines.with_ansi(std::io::stderr().is_terminal()).try_init();
}
