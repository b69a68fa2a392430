//! Programs inside the hosts of a lab: started, stopped, their CPU time and what they said.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
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
    listening: Option<JoinHandle<()>>,
    /// Reads its standard output, so that a full pipe never holds it up.
    stdout: Option<JoinHandle<String>>,
}

/// A program that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    /// What it wrote to standard error.
    pub said: String,
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
        Program::spawn(inside(lab, host, command).stdin(stdin).stdout(stdout), command)
    }

    /// Starts `command` in a host, out of reach of the terminal's Ctrl-C: whoever does so ends it himself.
    pub fn start_apart(lab: &Lab, host: &str, command: &[&str]) -> anyhow::Result<Program> {
        let (stdin, stdout) = (Stdio::null(), Stdio::piped());
        Program::spawn(inside(lab, host, command).stdin(stdin).stdout(stdout).process_group(0), command)
    }

    fn spawn(how: &mut Command, command: &[&str]) -> anyhow::Result<Program> {
        let what = command.join(" ");
        let mut child = how.stderr(Stdio::piped()).spawn().with_context(|| what.clone())?;
        let stdout = child.stdout.take().map(|stdout| std::thread::spawn(|| read(stdout)));
        let said = Arc::default();
        let listening = child.stderr.take().map(|stderr| {
            let said = Arc::clone(&said);
            std::thread::spawn(move || listen(stderr, &said))
        });
        Ok(Program { child, what, said, listening, stdout })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Still there? It is not waited for: its CPU time is told to whoever takes its end.
    pub fn is_running(&self) -> anyhow::Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let status = waitid(Id::Pid(Pid::from_raw(self.child.id() as i32)), flags)?;
        Ok(status == WaitStatus::StillAlive)
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
            if !self.is_running()? {
                bail!("{}: ended at once, {}: {}", self.what, self.child.wait()?, self.said());
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// Waits for its end, which must be a good one.
    pub fn finish(self) -> anyhow::Result<Ended> {
        let what = self.what.clone();
        let ended = self.end()?;
        ensure!(ended.status.success(), "{what}: {}: {}", ended.status, ended.said);
        Ok(ended)
    }

    /// Waits for its end, whatever it is.
    fn end(mut self) -> anyhow::Result<Ended> {
        // Its output ends with it, or earlier.
        let stdout = self.stdout.take().and_then(|reading| reading.join().ok()).unwrap_or_default();
        let _ = self.listening.take().map(JoinHandle::join);
        let before = children_cpu_seconds();
        let status = self.child.wait()?;
        let cpu_seconds = children_cpu_seconds() - before;
        Ok(Ended { status, stdout, said: self.said(), cpu_seconds })
    }

    fn said(&self) -> String {
        self.said.lock().map(|said| said.trim().to_owned()).unwrap_or_default()
    }

    /// Ends it; an error if it does not want to.
    pub fn stop(self) -> anyhow::Result<Ended> {
        let pid = Pid::from_raw(self.child.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        let start = Instant::now();
        while self.is_running()? {
            ensure!(start.elapsed() < PATIENCE, "{} does not end on SIGTERM", self.what);
            sleep(LOOK);
        }
        self.end()
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

fn read(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// `command` in a host. `ip netns exec` becomes the program: same process.
fn inside(lab: &Lab, host: &str, command: &[&str]) -> Command {
    let mut how = Command::new("ip");
    how.args(["netns", "exec", &lab.namespace_name(host)]).args(command);
    how
}

/// The `farwire` to measure: as told, or the one beside this program.
pub fn farwire(told: Option<&Path>) -> anyhow::Result<PathBuf> {
    sibling("farwire", told)
}

/// A program of this project: as told by an option of its name, or the one beside this program.
pub fn sibling(name: &str, told: Option<&Path>) -> anyhow::Result<PathBuf> {
    let beside = || std::env::current_exe().ok().map(|path| path.with_file_name(name));
    let path = told.map(Path::to_path_buf).or_else(beside);
    let path = path.with_context(|| format!("where is {name}? say --{name} PATH"))?;
    ensure!(path.is_file(), "{}: no such program; `cargo build --release --workspace`", path.display());
    Ok(path)
}

/// A key for both ends, made as users make it; gone when dropped.
pub struct Key(PathBuf);

impl Key {
    /// Makes one.
    ///
    /// # Errors
    /// When `farwire keygen` does not.
    pub fn make(farwire: &Path) -> anyhow::Result<Key> {
        let path = std::env::temp_dir().join(format!("farwire-bench-{}.key", std::process::id()));
        let made =
            Command::new(farwire).arg("keygen").arg(&path).output().with_context(|| farwire.display().to_string())?;
        ensure!(made.status.success(), "farwire keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
        Ok(Key(path))
    }

    /// The flags that name it to farwire.
    pub fn flags(&self) -> [String; 2] {
        ["--key".to_owned(), self.0.display().to_string()]
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            eprintln!("{}: {error}; remove it", self.0.display());
        }
    }
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
