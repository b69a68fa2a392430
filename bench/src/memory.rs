//! `bench memory`: peak memory of both ends of a transfer, for a short and a ten times longer one. It must not grow.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use farwire::base::size;
use serde::Serialize;

use crate::lab::Lab;
use crate::program::{Key, Program, RECEIVING, farwire};

/// The address of host b.
const B_MAC: &str = "02:00:0a:4d:00:02";
/// How often the peak is read: the kernel keeps it, so only what a process adds in its last moments is missed.
const LOOK: Duration = Duration::from_millis(20);
/// The frame pool: said, as its default depends on the machine.
const POOL: &str = "64MiB";
/// Longest transfer that makes sense to wait for.
const PATIENCE: Duration = Duration::from_secs(600);
/// What the longer transfer may take more than the shorter one. Above the noise of the allocator, far below its size.
const GROWTH_MOST: u64 = 8 << 20;

#[derive(clap::Args)]
pub struct Options {
    /// Sizes to transfer, the smaller one first.
    #[arg(long, value_delimiter = ',', default_value = "1GB,10GB", value_parser = size::parse)]
    sizes: Vec<u64>,
    /// Also from a file with data in it to a file: a directory with room for twice the largest size.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The farwire to measure [default: the one beside this program].
    #[arg(long)]
    farwire: Option<PathBuf>,
    /// JSON lines instead of a table.
    #[arg(long)]
    json: bool,
}

/// One transfer.
#[derive(Serialize)]
struct Transfer {
    benchmark: &'static str,
    /// `stream` from standard input to standard output, or `file`.
    kind: &'static str,
    bytes: u64,
    seconds: f64,
    sender_peak_bytes: u64,
    receiver_peak_bytes: u64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let farwire = farwire(options.farwire.as_deref())?;
    let key = Key::make(&farwire)?;
    let [flag, file] = key.flags();
    let farwire = [farwire.display().to_string(), flag, file];
    let lab = Lab::up(&[]);
    let mut grown = Vec::new();
    if !options.json {
        println!("| transfer | size | seconds | sender's peak | receiver's peak |");
        println!("| --- | ---: | ---: | ---: | ---: |");
    }
    for dir in [None].into_iter().chain(options.dir.as_deref().map(Some)) {
        let mut first: Option<Transfer> = None;
        for bytes in &options.sizes {
            let transfer = transfer(&lab, &farwire, dir, *bytes)?;
            transfer.show(options.json)?;
            if let Some(first) = &first
                && (transfer.sender_peak_bytes > first.sender_peak_bytes + GROWTH_MOST
                    || transfer.receiver_peak_bytes > first.receiver_peak_bytes + GROWTH_MOST)
            {
                grown.push(format!("{} of {}", transfer.kind, size::show(*bytes)));
            }
            first.get_or_insert(transfer);
        }
    }
    ensure!(grown.is_empty(), "memory grew with the size: {}", grown.join(", "));
    Ok(())
}

fn transfer(lab: &Lab, farwire: &[String; 3], dir: Option<&Path>, bytes: u64) -> anyhow::Result<Transfer> {
    let name = format!("farwire-memory-{}", std::process::id());
    let scratch = dir.map_or_else(std::env::temp_dir, Path::to_path_buf).join(name);
    std::fs::create_dir(&scratch).with_context(|| scratch.display().to_string())?;
    let result = transfer_in(lab, farwire, &scratch, dir.is_some(), bytes);
    std::fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    result
}

fn transfer_in(
    lab: &Lab,
    [farwire, key, file_of_key]: &[String; 3],
    scratch: &Path,
    file: bool,
    bytes: u64,
) -> anyhow::Result<Transfer> {
    let (source, target) = (scratch.join("source"), scratch.join("target"));
    std::fs::create_dir(&target)?;
    // Standard input is one long hole: it is read like any other bytes and takes no room. A file has data in it, since
    // holes in files are not sent.
    if file {
        fill(&source, bytes)?
    } else {
        File::create(&source)?.set_len(bytes)?
    }
    let target = target.display().to_string();
    let to = if file { &target } else { "-" };
    let receive = [farwire, "recv", "-i", "eth1", key, file_of_key, "--umem", POOL, "--once", to];
    let mut receiver = Program::start_with(lab, "b", &receive, Stdio::null(), Stdio::null())?;
    receiver.await_words(RECEIVING)?;
    let start = Instant::now();
    let named = source.display().to_string();
    let from = if file { &named } else { "-" };
    let send = [farwire, "send", "-i", "eth1", key, file_of_key, "--umem", POOL, from, B_MAC];
    let sender = Program::start_with(lab, "a", &send, Stdio::from(File::open(&source)?), Stdio::null())?;
    let (mut sender_peak_bytes, mut receiver_peak_bytes) = (0, 0);
    while sender.is_running()? | receiver.is_running()? {
        sender_peak_bytes = peak(sender.id()).unwrap_or(sender_peak_bytes);
        receiver_peak_bytes = peak(receiver.id()).unwrap_or(receiver_peak_bytes);
        ensure!(start.elapsed() < PATIENCE, "{} are not through after {PATIENCE:?}", size::show(bytes));
        sleep(LOOK);
    }
    let seconds = start.elapsed().as_secs_f64();
    sender.finish()?;
    receiver.finish()?;
    let kind = if file { "file" } else { "stream" };
    Ok(Transfer { benchmark: "memory", kind, bytes, seconds, sender_peak_bytes, receiver_peak_bytes })
}

/// A file of data that is not all the same.
fn fill(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let block: Vec<u8> = (0..1 << 20).map(|index: u32| (index.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len() as u64);
        file.write_all(&block[..now as usize])?;
        left -= now;
    }
    file.flush()?;
    Ok(())
}

/// Most memory that a process has had at a time; `None` once it has ended.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

impl Transfer {
    fn show(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        println!(
            "| {} | {} | {:.1} | {} | {} |",
            self.kind,
            size::show(self.bytes),
            self.seconds,
            mib(self.sender_peak_bytes),
            mib(self.receiver_peak_bytes)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_peak_is_known_and_nobodys_is_not() {
        assert!(super::peak(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(super::peak(u32::MAX), None);
    }
}
