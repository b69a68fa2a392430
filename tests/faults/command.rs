//! The command in a host of a lab: started, told to stop, killed, and what it said.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::{self, Debug, Formatter};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::lab::Lab;

/// The command under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_farwire");
/// Address of host b, as `tools/netlab` gives it.
pub const B_MAC: &str = "02:00:0a:4d:00:02";
/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Two hosts, and what is to go from `a` to `b`.
pub struct Scene {
    pub lab: Lab,
    dirs: tempfile::TempDir,
    to: String,
    /// What both hosts share, unless flags say otherwise.
    key: PathBuf,
}

/// How a command ended.
pub struct Told {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub raw: Vec<u8>,
}

/// A command that runs.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Scene {
    pub fn new(options: &[&str]) -> Scene {
        let dirs = tempfile::tempdir().unwrap();
        for name in ["from", "to"] {
            fs::create_dir(dirs.path().join(name)).unwrap();
        }
        let to = dirs.path().join("to").to_str().unwrap().to_owned();
        let key = dirs.path().join("lab.key");
        keygen(&key);
        Scene { lab: Lab::up(options), dirs, to, key }
    }

    /// A path beside what is sent and received.
    pub fn beside(&self, name: &str) -> String {
        self.dirs.path().join(name).to_str().unwrap().to_owned()
    }

    /// Where things arrive.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// A path on the sending side.
    pub fn from(&self, name: &str) -> PathBuf {
        self.dirs.path().join("from").join(name)
    }

    /// Makes a file there and gives its content.
    pub fn file(&self, name: &str, len: usize) -> Vec<u8> {
        let bytes = content(len as u64 ^ name.len() as u64, len);
        fs::write(self.from(name), &bytes).unwrap();
        bytes
    }

    /// The words of a farwire command.
    pub fn command(&self, arguments: &[&str]) -> Vec<String> {
        std::iter::once(BINARY).chain(arguments.iter().copied()).map(str::to_owned).collect()
    }

    /// Starts words in a host.
    pub fn start(&self, host: &str, words: &[String]) -> Running {
        self.start_reading(host, words, Stdio::null())
    }

    /// The same with something to read on standard input.
    pub fn start_reading(&self, host: &str, words: &[String], stdin: Stdio) -> Running {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.lab.namespace_name(host)]).args(words);
        command.env("FARWIRE_KEY_FILE", &self.key);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::of(command)
    }

    pub fn run(&self, host: &str, words: &[String]) -> Told {
        self.start(host, words).wait()
    }

    pub fn farwire(&self, host: &str, arguments: &[&str]) -> Told {
        self.run(host, &self.command(arguments))
    }

    /// `farwire send` from a: names of files first, then flags.
    pub fn send(&self, names_and_flags: &[&str], peer: &str) -> Told {
        self.start_send(names_and_flags, peer).wait()
    }

    pub fn start_send(&self, names_and_flags: &[&str], peer: &str) -> Running {
        self.start("a", &self.send_words(names_and_flags, peer))
    }

    pub fn send_words(&self, names_and_flags: &[&str], peer: &str) -> Vec<String> {
        let names = names_and_flags.iter().take_while(|word| !word.starts_with('-')).count();
        let (names, flags) = names_and_flags.split_at(names);
        let mut words = self.command(&["send", "-i", "eth1"]);
        words.extend(flags.iter().map(|flag| (*flag).to_owned()));
        words.extend(names.iter().map(|name| self.from(name).to_str().unwrap().to_owned()));
        words.push(peer.to_owned());
        words
    }

    /// `farwire send -` with these bytes.
    pub fn send_stdin(&self, bytes: &[u8], peer: &str) -> Told {
        let mut running = self.start_reading("a", &self.command(&["send", "-i", "eth1", "-", peer]), Stdio::piped());
        let mut stdin = running.child.stdin.take().unwrap();
        stdin.write_all(bytes).unwrap();
        drop(stdin);
        running.wait()
    }

    /// `farwire recv --name b` in b, once it is ready.
    pub fn recv(&self, flags: &[&str]) -> Running {
        self.recv_into(&self.to, flags)
    }

    pub fn recv_into(&self, dir: &str, flags: &[&str]) -> Running {
        self.ready(self.start("b", &self.recv_words(dir, flags)))
    }

    pub fn recv_words(&self, dir: &str, flags: &[&str]) -> Vec<String> {
        self.command(&[&["recv", "-i", "eth1", "--name", "b"], flags, &[dir]].concat())
    }

    /// The same into a file system of its own, which only that process sees.
    pub fn recv_on_tmpfs(&self, size: &str, flags: &[&str]) -> Running {
        let (to, flags) = (&self.to, flags.join(" "));
        let script =
            format!("mount -t tmpfs -o size={size} tmpfs {to} && exec {BINARY} recv -i eth1 --name b {flags} {to}");
        self.ready(self.start("b", &["sh", "-c", &script].map(str::to_owned)))
    }

    /// The same with flags that `discover` would need as well.
    pub fn recv_at(&self, flags: &[&str]) -> Running {
        self.ready_at(self.start("b", &self.recv_words(&self.to, flags)), flags)
    }

    /// `farwire perf server` in b, once it is ready.
    pub fn perf_server(&self) -> Running {
        self.ready(self.start("b", &self.command(&["perf", "-i", "eth1", "--name", "b", "server"])))
    }

    /// Waits until b answers to its name.
    fn ready(&self, running: Running) -> Running {
        self.ready_at(running, &[])
    }

    fn ready_at(&self, mut running: Running, flags: &[&str]) -> Running {
        assert!(self.answers(&mut running, flags), "it ended at once: {:?}", running.wait());
        running
    }

    /// Waits until b answers to its name; false if the process that is to do so ends before.
    pub fn answers(&self, running: &mut Running, flags: &[&str]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !running.is_over() {
            let found = self.farwire("a", &[&["discover", "-i", "eth1", "--wait", "300ms"], flags].concat());
            if found.stdout.contains(B_MAC) {
                return true;
            }
            assert!(Instant::now() < deadline, "nobody answers: {found:?}");
        }
        false
    }

    /// It is there, whole, and no part is left behind.
    pub fn assert_arrived(&self, name: &str, bytes: &[u8]) {
        self.assert_same(name, bytes);
        assert_eq!(self.parts(), 0, "parts are left behind");
    }

    /// It is there, whole.
    pub fn assert_same(&self, name: &str, bytes: &[u8]) {
        let arrived = fs::read(Path::new(&self.to).join(name)).unwrap();
        assert!(arrived == bytes, "{name} is not what was sent: {} bytes of {}", arrived.len(), bytes.len());
    }

    /// Files under their temporary names.
    pub fn parts(&self) -> usize {
        let parts = fs::read_dir(&self.to)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
        parts.count()
    }

    /// Waits until a transfer is well under way.
    pub fn wait_for_part(&self) {
        let deadline = Instant::now() + PATIENCE;
        let under_way = || {
            fs::read_dir(&self.to).unwrap().any(|entry| {
                let entry = entry.unwrap();
                let part = entry.file_name().to_string_lossy().ends_with(".part");
                part && entry.metadata().is_ok_and(|stat| stat.len() > 1_000_000)
            })
        };
        while !under_way() {
            assert!(Instant::now() < deadline, "no transfer begins");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until nothing is left where things arrive.
    pub fn wait_until_empty(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::read_dir(&self.to).unwrap().count() > 0 {
            assert!(Instant::now() < deadline, "something stays behind in {}", self.to);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Running {
    fn of(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let all = |stream: &mut dyn Read| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let stdout = Some(thread::spawn(move || all(&mut out)));
        let stderr = Some(thread::spawn(move || all(&mut err)));
        Running { child, stdout, stderr }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Told {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("it did not end within {PATIENCE:?}: {:?}", self.told(None));
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.told(status.code())
    }

    /// Ctrl-C.
    pub fn interrupt(self) -> Told {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// SIGKILL: what it had said by then. There is no exit code, unless it was over by itself.
    pub fn kill(self) -> Told {
        self.signal(Signal::SIGKILL);
        self.wait()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Bytes that it has written so far, to files and pipes; 0 once it is gone.
    pub fn written(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap_or_default();
        io.lines().find_map(|line| line.strip_prefix("wchar: ")).map_or(0, |count| count.parse().unwrap())
    }

    /// Resident memory.
    pub fn memory_kb(&self) -> u64 {
        self.status_kb("VmRSS:")
    }

    /// The most of it so far.
    pub fn peak_memory_kb(&self) -> u64 {
        self.status_kb("VmHWM:")
    }

    fn status_kb(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    // `ip netns exec` becomes the command, so its process is the one. If it is over by itself, its exit code tells.
    fn signal(&self, signal: Signal) {
        match kill(Pid::from_raw(self.child.id() as i32), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{signal} to {}: {error}", self.child.id()),
        }
    }

    fn told(&mut self, code: Option<i32>) -> Told {
        let raw = self.stdout.take().unwrap().join().unwrap();
        let stderr = String::from_utf8_lossy(&self.stderr.take().unwrap().join().unwrap()).into_owned();
        Told { code, stdout: String::from_utf8_lossy(&raw).into_owned(), stderr, raw }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Debug for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Standard output may be a file of many megabytes.
        let stdout: String = self.stdout.chars().take(2000).collect();
        f.debug_struct("Told").field("code", &self.code).field("stdout", &stdout).field("stderr", &self.stderr).finish()
    }
}

impl Told {
    pub fn succeeds(&self) {
        self.fails_with(0);
    }

    pub fn fails_with(&self, code: i32) {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    /// Ended with this code, and had these words on standard error.
    pub fn says(&self, code: i32, words: &[&str]) {
        self.fails_with(code);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
    }

    /// Its one JSON object.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Its JSON objects, one a line.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Makes a key as users do.
pub fn keygen(path: &Path) {
    let made = Command::new(BINARY).arg("keygen").arg(path).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// Bytes without a pattern that frames share.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
