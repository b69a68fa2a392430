//! Programs inside the hosts of a lab: started, stopped, their CPU time and what they said.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::machine::children_cpu_seconds;

/// How long a server may take to be ready, and a program to end once told.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK: Duration = Duration::from_millis(20);

/// A program that runs.
pub struct Program {
    child: Child,
    what: String,
    /// What it has written to standard error so far.
    said: Arc<Mutex<String>>,
}

/// A program that has ended.
pub struct Ended {
    pub stdout: String,
    /// User and system time of the process, as the kernel tells whoever waits for it.
    pub cpu_seconds: f64,
}

impl Program {
    /// Starts `command` in a host; its standard output is kept.
    pub fn start(lab: &Lab, host: &str, command: &[&str]) -> anyhow::Result<Program> {
        Program::start_with(lab, host, command, Stdio::null(), Stdio::piped())
    }

    /// The same, with the given standard input and output.
    pub fn start_with(lab: &Lab, host: &str, command: &[&str], stdin: Stdio, stdout: Stdio) -> anyhow::Result<Program> {
        let what = command.join(" ");
        // `ip netns exec` becomes the program: same process.
        let mut child = Command::new("ip")
            .args(["netns", "exec", &lab.namespace_name(host)])
            .args(command)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| what.clone())?;
        let said = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            std::thread::spawn(move || listen(stderr, &said));
        }
        Ok(Program { child, what, said })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Still there?
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until it has said `words` on standard error.
    pub fn await_words(&mut self, words: &str) -> anyhow::Result<()> {
        let said = Arc::clone(&self.said);
        self.await_ready(|| said.lock().is_ok_and(|said| said.contains(words)))
    }

    /// Waits until `ready` says so.
    pub fn await_ready(&mut self, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !ready() {
            ensure!(start.elapsed() < PATIENCE, "{}: not ready after {PATIENCE:?}", self.what);
            if let Some(status) = self.child.try_wait()? {
                bail!("{}: ended at once, {status}: {}", self.what, self.said());
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// Waits for its end, which must be a good one.
    pub fn finish(mut self) -> anyhow::Result<Ended> {
        let stdout = read(self.child.stdout.take());
        let before = children_cpu_seconds();
        let status = self.child.wait()?;
        let cpu_seconds = children_cpu_seconds() - before;
        ensure!(status.success(), "{}: {status}: {}", self.what, self.said());
        Ok(Ended { stdout, cpu_seconds })
    }

    fn said(&self) -> String {
        self.said.lock().map(|said| said.trim().to_owned()).unwrap_or_default()
    }

    /// Ends it; an error if it does not want to.
    pub fn stop(mut self) -> anyhow::Result<Ended> {
        let pid = Pid::from_raw(self.child.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        let start = Instant::now();
        let before = children_cpu_seconds();
        while self.child.try_wait()?.is_none() {
            ensure!(start.elapsed() < PATIENCE, "{} does not end on SIGTERM", self.what);
            sleep(LOOK);
        }
        let cpu_seconds = children_cpu_seconds() - before;
        Ok(Ended { stdout: read(self.child.stdout.take()), cpu_seconds })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Does nothing to one that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps what a program says, until it ends.
fn listen(from: impl Read, said: &Mutex<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if let Ok(mut said) = said.lock() {
            said.push_str(&line);
            said.push('\n');
        }
    }
}

fn read(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// The `farwire` to measure: as told, or the one beside this program.
pub fn farwire(told: Option<&Path>) -> anyhow::Result<PathBuf> {
    let beside = || std::env::current_exe().ok().map(|path| path.with_file_name("farwire"));
    let path = told.map(Path::to_path_buf).or_else(beside).context("where is farwire? say --farwire PATH")?;
    ensure!(path.is_file(), "{}: no such program; `cargo build --release`", path.display());
    Ok(path)
}

/// What a `farwire perf server` says once it can be connected to, and a `farwire recv`.
pub const SERVING: &str = "serving as";
pub const RECEIVING: &str = "receiving";

/// Segmentation offloads of both ends: off makes frames really MTU sized. GRO is off on a veth unless asked for.
pub fn set_offloads(lab: &Lab, on: bool) {
    let state = if on { "on" } else { "off" };
    for host in ["a", "b"] {
        let settings = ["tso", state, "gso", state, "gro", "off", "tx-udp-segmentation", state];
        lab.run(host, &[&["ethtool", "-K", "eth1"][..], &settings].concat());
    }
}
