//! The tree of small files: `farwire send` of a directory to a `farwire recv`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::cell::Cell;
use super::contender::{Contender, Kind};
use super::limit;
use super::record::{Flow, Job};
use super::stage::{B, Stage};
use super::stop::Stop;
use crate::program::RECEIVING;

/// Files of the tree, and bytes of each.
const FILES: usize = 10_000;
const FILE_BYTES: usize = 10_000;
/// Files in one directory.
const IN_DIRECTORY: usize = 100;
/// How long it may take: a hundred times what a gigabit needs.
const PATIENCE: Duration = Duration::from_secs(100);

/// What a perfect sender would reach of the goodput limit: a round trip to connect, the bytes of the files and nothing
/// else at the limit, and a round trip from the last of them to its answer.
pub fn most_of_limit(cell: &Cell) -> f64 {
    let seconds = (FILES * FILE_BYTES * 8) as f64 / limit::goodput_bps(cell);
    seconds / (seconds + 2.0 * cell.rtt_ms / 1000.0)
}

/// A directory in memory, so that no disk is measured; gone when dropped.
struct Scratch(PathBuf);

pub fn send(stage: &Stage, contender: &Contender, job: &Job, stop: &Stop) -> anyhow::Result<Flow> {
    let Kind::Farwire(flags) = &contender.kind else { anyhow::bail!("{} sends no files", contender.name) };
    let scratch = Scratch::new()?;
    scratch.fill()?;
    let path = |name: &str| scratch.0.join(name).display().to_string();
    let farwire = stage.tools.farwire.display().to_string();
    let words = |verb: &str, flags: &[String], own: &[&str]| {
        let common = [farwire.as_str(), verb, "-i", "eth1", "--json"];
        let protection = stage.tools.protection.iter().map(String::as_str);
        let words =
            common.iter().copied().chain(protection).chain(flags.iter().map(String::as_str)).chain(own.iter().copied());
        words.map(str::to_owned).collect::<Vec<String>>()
    };
    let (from, to) = (path("tree"), path("to"));
    let mut receiver = stage.start("b", &words("recv", &stage.tools.flags, &["--once", &to]))?;
    receiver.await_words(RECEIVING)?;
    let flags = [stage.tools.flags.clone(), flags.clone()].concat();
    let sender = stage.start("a", &words("send", &flags, &[&from, B.1]))?;
    ensure!(stop.wait(PATIENCE, || Ok(!sender.is_running()?))?, "the tree is not there after {PATIENCE:?}");
    let sender = sender.finish()?;
    ensure!(stop.wait(PATIENCE, || Ok(!receiver.is_running()?))?, "the receiver does not end");
    let receiver = receiver.finish()?;
    let report: Value = serde_json::from_str(&sender.stdout).with_context(|| sender.stdout.clone())?;
    let number = |name: &str| report.get(name).and_then(Value::as_f64).with_context(|| format!("no {name}: {report}"));
    let (files, bytes, seconds) = (number("files")?, number("bytes")?, number("seconds")?);
    ensure!(files == FILES as f64 && bytes == (FILES * FILE_BYTES) as f64, "not the whole tree: {report}");
    Ok(Flow {
        contender: contender.name.clone(),
        goodput_bps: bytes * 8.0 / seconds,
        seconds,
        whole_bytes: bytes,
        sender_cpu_seconds: sender.cpu_seconds,
        receiver_cpu_seconds: receiver.cpu_seconds,
        config: [("files".to_owned(), format!("{FILES} of {FILE_BYTES} bytes, round {}", job.round).into())].into(),
        ..Flow::default()
    })
}

impl Scratch {
    fn new() -> anyhow::Result<Scratch> {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let scratch = Scratch(parent.join(format!("farwire-link-{}", std::process::id())));
        std::fs::create_dir(&scratch.0).with_context(|| scratch.0.display().to_string())?;
        std::fs::create_dir(scratch.0.join("to"))?;
        Ok(scratch)
    }

    fn fill(&self) -> anyhow::Result<()> {
        let mut content: Vec<u8> = (0..FILE_BYTES).map(|at| (at * 31 % 251) as u8).collect();
        for index in 0..FILES {
            let directory = self.0.join("tree").join((index / IN_DIRECTORY).to_string());
            if index % IN_DIRECTORY == 0 {
                std::fs::create_dir_all(&directory)?;
            }
            // No two alike.
            content[..8].copy_from_slice(&(index as u64).to_be_bytes());
            std::fs::write(directory.join(index.to_string()), &content)?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}; remove it", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_sender_loses_two_round_trips() {
        let cell =
            Cell { rate_bps: 1_000_000_000, mtu: 1500, rtt_ms: 100.0, loss: "0".parse().unwrap(), queue_bdp: 1.0 };
        // 800 Mbit at 951.9 Mbit/s are 840 ms, and 200 ms are added.
        assert_eq!(format!("{:.3}", most_of_limit(&cell)), "0.808");
    }
}
