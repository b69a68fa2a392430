//! The rivals: programs that move bytes with other transports' libraries, all under one contract (`contract`).
//!
//! `bench rival NAME serve` counts what its application receives, `bench rival NAME send` writes as fast as the library
//! takes it. Each prints one JSON object at its end, with everything that was tuned. `bench rival list` tells which
//! rivals this machine has.

mod certificate;
mod contract;
mod ends;
mod quinn;
mod versions;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use contract::{Send, Serve};
use quinn::Control;

#[derive(Args)]
pub struct Options {
    /// Which rival; needed by `serve` and `send`
    #[arg(value_enum)]
    name: Option<Rival>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Receive and count: says `ready` on standard error, and prints a JSON object when the time is over.
    Serve(Serve),
    /// Connect and send until the receiver is gone.
    Send(Send),
    /// Which rivals there are on this machine.
    List {
        /// One array of objects.
        #[arg(long)]
        json: bool,
    },
}

/// Those who move bytes.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rival {
    QuinnCubic,
    QuinnBbr,
}

/// An entry of `bench rival list`.
#[derive(Serialize, Debug)]
pub struct Entry {
    pub rival: &'static str,
    pub library: String,
    /// Why it cannot run here, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Rival {
    pub fn name(self) -> &'static str {
        match self {
            Rival::QuinnCubic => "quinn-cubic",
            Rival::QuinnBbr => "quinn-bbr",
        }
    }

    fn library(self) -> String {
        match self {
            Rival::QuinnCubic | Rival::QuinnBbr => versions::of("quinn"),
        }
    }

    fn serve(self, options: &Serve) -> anyhow::Result<contract::Served> {
        match self {
            Rival::QuinnCubic => ends::runtime()?.block_on(quinn::serve(self, Control::Cubic, options)),
            Rival::QuinnBbr => ends::runtime()?.block_on(quinn::serve(self, Control::Bbr, options)),
        }
    }

    fn send(self, options: &Send) -> anyhow::Result<contract::Sent> {
        match self {
            Rival::QuinnCubic => ends::runtime()?.block_on(quinn::send(self, Control::Cubic, options)),
            Rival::QuinnBbr => ends::runtime()?.block_on(quinn::send(self, Control::Bbr, options)),
        }
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let name = || options.name.context("which rival? `bench rival NAME serve`; `bench rival list` names them");
    match &options.what {
        What::Serve(serve) => {
            let served = name()?.serve(serve)?;
            finish(&served, served.error.as_deref())
        }
        What::Send(send) => {
            let sent = name()?.send(send)?;
            finish(&sent, sent.error.as_deref())
        }
        What::List { json } => print_list(*json),
    }
}

/// Every rival, whether it can run here or not.
pub fn list() -> Vec<Entry> {
    let entry = |rival: &Rival| Entry { rival: rival.name(), library: rival.library(), missing: None };
    Rival::value_variants().iter().map(entry).collect()
}

fn print_list(json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(&list())?);
        return Ok(());
    }
    for entry in list() {
        println!("{:14} {:20} {}", entry.rival, entry.library, entry.missing.as_deref().unwrap_or(""));
    }
    Ok(())
}

/// Prints the report, also one of a run that failed.
fn finish(report: &impl Serialize, error: Option<&str>) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(report)?);
    match error {
        Some(error) => bail!("{error}"),
        None => Ok(()),
    }
}
