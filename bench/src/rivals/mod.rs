//! The rivals: programs that move bytes with other transports' libraries, all under one contract (`contract`).
//!
//! `bench rival NAME serve` counts what its application receives, `bench rival NAME send` writes as fast as the library
//! takes it. Each prints one JSON object at its end, with everything that was tuned. `bench rival list` tells which
//! rivals this machine has.

mod certificate;
mod contract;
mod ends;
mod kcp;
mod native;
mod quinn;
mod s2n;
mod versions;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use contract::{Send, Serve};
use native::Native;
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
    /// Compile those that are written in C++, which otherwise happens when they first run.
    Build,
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
    S2nQuicCubic,
    S2nQuicBbr,
    Udt,
    Srt,
    SrtMaxbw,
    Enet,
    Kcp,
}

/// What moves them.
enum Library {
    Quinn(Control),
    S2n(Control),
    Native(&'static Native),
    Kcp,
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
            Rival::S2nQuicCubic => "s2n-quic-cubic",
            Rival::S2nQuicBbr => "s2n-quic-bbr",
            Rival::Udt => "udt",
            Rival::Srt => "srt",
            Rival::SrtMaxbw => "srt-maxbw",
            Rival::Enet => "enet",
            Rival::Kcp => "kcp",
        }
    }

    fn library(self) -> Library {
        match self {
            Rival::QuinnCubic => Library::Quinn(Control::Cubic),
            Rival::QuinnBbr => Library::Quinn(Control::Bbr),
            Rival::S2nQuicCubic => Library::S2n(Control::Cubic),
            Rival::S2nQuicBbr => Library::S2n(Control::Bbr),
            Rival::Udt => Library::Native(&native::UDT),
            Rival::Srt | Rival::SrtMaxbw => Library::Native(&native::SRT),
            Rival::Enet => Library::Native(&native::ENET),
            Rival::Kcp => Library::Kcp,
        }
    }

    fn entry(self) -> Entry {
        let (library, missing) = match self.library() {
            Library::Quinn(_) => (versions::of("quinn"), None),
            Library::S2n(_) => (versions::of("s2n-quic"), None),
            Library::Native(native) => (native.library(), native.missing()),
            Library::Kcp => (versions::of("kcp"), None),
        };
        Entry { rival: self.name(), library, missing }
    }

    fn serve(self, options: &Serve) -> anyhow::Result<()> {
        let served = match self.library() {
            Library::Quinn(control) => ends::runtime()?.block_on(quinn::serve(self, control, options))?,
            Library::S2n(control) => ends::runtime()?.block_on(s2n::serve(self, control, options))?,
            Library::Native(native) => return native.serve(self.name(), options),
            Library::Kcp => ends::runtime()?.block_on(kcp::serve(self, options))?,
        };
        finish(&served, served.error.as_deref())
    }

    fn send(self, options: &Send) -> anyhow::Result<()> {
        let sent = match self.library() {
            Library::Quinn(control) => ends::runtime()?.block_on(quinn::send(self, control, options))?,
            Library::S2n(control) => ends::runtime()?.block_on(s2n::send(self, control, options))?,
            Library::Native(native) => return native.send(self.name(), options),
            Library::Kcp => ends::runtime()?.block_on(kcp::send(self, options))?,
        };
        finish(&sent, sent.error.as_deref())
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        What::Serve(serve) => present(options)?.serve(serve),
        What::Send(send) => present(options)?.send(send),
        What::Build => build(options.name),
        What::List { json } => print_list(*json),
    }
}

/// The rival that was named, if it can run here.
fn present(options: &Options) -> anyhow::Result<Rival> {
    let rival = options.name.context("which rival? `bench rival NAME serve`; `bench rival list` names them")?;
    match rival.entry().missing {
        Some(missing) => bail!("the rival {} is missing: {missing}", rival.name()),
        None => Ok(rival),
    }
}

/// Compiles what has to be: the rival that was named, or all that can be.
fn build(name: Option<Rival>) -> anyhow::Result<()> {
    let all = || Rival::value_variants().to_vec();
    let mut failed = Vec::new();
    for rival in name.map_or_else(all, |name| vec![name]) {
        let Library::Native(native) = rival.library() else { continue };
        match native.missing().map_or_else(|| native.build(), |missing| Err(anyhow::anyhow!(missing))) {
            Ok(program) => println!("{}: {}", rival.name(), program.display()),
            Err(error) => failed.push(format!("{}: {error:#}", rival.name())),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Every rival, whether it can run here or not.
pub fn list() -> Vec<Entry> {
    Rival::value_variants().iter().map(|rival| rival.entry()).collect()
}

fn print_list(json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(&list())?);
        return Ok(());
    }
    for entry in list() {
        println!("{:14} {:34} {}", entry.rival, entry.library, entry.missing.as_deref().unwrap_or(""));
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
