//! `bench instr`: instructions per data packet of the protocol path, counted by callgrind over the link in memory.
//!
//! Two engines in virtual time on one thread; the program runs itself under valgrind, once for each side and length.
//! The difference between a long and a short run leaves out the start. Code is told apart by the source file that the
//! debug lines name, so inlined code counts where it was written.

mod callgrind;
mod opaque;
mod report;
mod rooms;
mod world;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use callgrind::Profile;
use report::{Report, Side};
use world::World;

#[derive(clap::Args)]
pub struct Options {
    /// Segments of the long run.
    #[arg(long, default_value_t = 60_000)]
    long: u64,
    /// Segments of the short run, which is subtracted.
    #[arg(long, default_value_t = 20_000)]
    short: u64,
    /// Functions and source lines to list.
    #[arg(long, default_value_t = 15)]
    top: usize,
    /// List the costliest source lines as well.
    #[arg(long)]
    lines: bool,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scene: Scene,
}

/// What is sent, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct Scene {
    /// Congestion controller of the sender.
    #[arg(long, default_value = "cubic", value_parser = ["bbr", "cubic", "reno", "fixed"])]
    cc: String,
    /// Rate of `fixed`.
    #[arg(long, default_value = "10gbit")]
    rate: farwire::base::Rate,
    /// Virtual time between two turns of an engine: with the rate it says how many packets a turn handles.
    #[arg(long, default_value_t = 20)]
    step_us: u64,
    /// MTU of the link.
    #[arg(long, default_value_t = 1500)]
    mtu: usize,
}

/// One run under valgrind (hidden).
#[derive(clap::Args)]
pub struct Run {
    #[arg(long)]
    segments: u64,
    #[command(flatten)]
    scene: Scene,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.long > options.short, "--long {} must exceed --short {}", options.long, options.short);
    let found = Command::new("valgrind").arg("--version").output();
    ensure!(found.is_ok_and(|output| output.status.success()), "no valgrind; `apt-get install valgrind`");
    let sides = [("sender", "*sender_turn"), ("receiver", "*receiver_turn"), ("application", "*application_*")];
    let mut measured = Vec::new();
    for (name, toggle) in sides {
        let (long, packets_long) = profile(options, name, toggle, options.long)?;
        let (short, packets_short) = profile(options, name, toggle, options.short)?;
        let packets = packets_long.data_packets - packets_short.data_packets;
        measured.push(Side::new(name, long.minus(&short), packets, &packets_long));
    }
    let report = Report::new(measured, options);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    Ok(())
}

/// The work itself, which valgrind watches.
pub fn run_inside(run: &Run) -> anyhow::Result<()> {
    let counts = World::new(&run.scene)?.transfer(run.segments)?;
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

fn profile(options: &Options, side: &str, toggle: &str, segments: u64) -> anyhow::Result<(Profile, world::Counts)> {
    let out = scratch(&format!("{side}-{segments}"));
    let scene = &options.scene;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .args([format!("--toggle-collect={toggle}"), format!("--callgrind-out-file={}", out.display())])
        .arg(std::env::current_exe().context("where is this program?")?)
        .args(["instr-run", "--segments", &segments.to_string(), "--cc", &scene.cc])
        .args(["--rate", &scene.rate.bps().to_string(), "--step-us", &scene.step_us.to_string()])
        .args(["--mtu", &scene.mtu.to_string()])
        .output()
        .context("valgrind does not start")?;
    if !output.status.success() {
        bail!("the run under valgrind failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read_to_string(&out).with_context(|| format!("{}: no profile", out.display()))?;
    std::fs::remove_file(&out).with_context(|| format!("{}", out.display()))?;
    let profile = Profile::parse(&text).with_context(|| format!("{}", out.display()))?;
    ensure!(profile.total() > 0, "callgrind counted nothing for {toggle}: was the function inlined?");
    Ok((profile, serde_json::from_slice(&output.stdout)?))
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("farwire-instr-{}-{name}", std::process::id()))
}
