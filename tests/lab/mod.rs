//! Two hosts of a test's own: network namespaces that `tools/netlab` makes and deletes, entered by threads.

#![allow(dead_code, reason = "each test binary, and the benchmarks, use a part of it")]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// Two namespaces, `a` and `b`, joined by a veth pair whose ends are both called `eth1`; gone when dropped.
pub struct Lab {
    name: String,
}

impl Lab {
    /// A pair with the given options of `tools/netlab up`, for example `["--mtu", "3400"]`.
    pub fn up(options: &[&str]) -> Lab {
        Lab::try_up(options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same; an error is what `tools/netlab` said.
    pub fn try_up(options: &[&str]) -> Result<Lab, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}n{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        netlab(&name, "up", options)?;
        Ok(Lab { name })
    }

    /// Takes down the labs of programs that were killed before they could; says what they were called.
    pub fn sweep() -> Vec<String> {
        let namespaces = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let mut names: Vec<String> =
            namespaces.filter_map(|namespace| orphan(namespace.file_name().to_str()?)).collect();
        names.sort();
        names.dedup();
        // Another program may be sweeping as well, and be faster.
        names.retain(|name| netlab(name, "down", &[]).is_ok());
        names
    }

    /// Runs `work` on a thread of its own inside a host.
    pub fn inside<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace(host);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("entering the namespace needs root");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The namespace of a host, for a thread that enters it by itself.
    pub fn namespace(&self, host: &str) -> File {
        let path = format!("/run/netns/{}", self.namespace_name(host));
        File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The namespace's name, for `ip netns`.
    pub fn namespace_name(&self, host: &str) -> String {
        format!("fw-{}-{host}", self.name)
    }

    /// What is in use in a host.
    pub fn in_use(&self, host: &str) -> InUse {
        let processes =
            Command::new("ip").args(["netns", "pids", &self.namespace_name(host)]).output().expect("ip runs");
        let protocols = self.run(host, &["cat", "/proc/net/protocols"]);
        // Protocol, size of a socket, how many there are.
        let sockets =
            protocols.lines().find(|line| line.starts_with("XDP ")).and_then(|line| line.split_whitespace().nth(2));
        InUse {
            programs: self.run(host, &["ip", "link", "show"]).matches("prog/xdp").count(),
            sockets: sockets.map_or(0, |count| count.parse().expect("a number of sockets")),
            processes: String::from_utf8_lossy(&processes.stdout).lines().count(),
        }
    }

    /// Runs a command inside a host; panics if it fails.
    pub fn run(&self, host: &str, command: &[&str]) -> String {
        let output = self.try_run(host, command);
        assert!(output.status.success(), "{command:?} in {host}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command inside a host.
    pub fn try_run(&self, host: &str, command: &[&str]) -> Output {
        Command::new("ip").args(["netns", "exec", &self.namespace_name(host)]).args(command).output().expect("ip runs")
    }
}

/// What of AF_XDP and of processes there is in a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InUse {
    /// XDP programs on its interfaces.
    pub programs: usize,
    /// AF_XDP sockets.
    pub sockets: usize,
    /// Processes.
    pub processes: usize,
}

/// The lab that a namespace belongs to, if it is named as those of this file are, by a process that is gone.
pub fn orphan(namespace: &str) -> Option<String> {
    let (lab, host) = namespace.strip_prefix("fw-")?.rsplit_once('-')?;
    let (pid, number) = lab.strip_prefix('t')?.split_once('n')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let ours = ["a", "b", "m"].contains(&host) && is_number(pid) && is_number(number);
    (ours && !Path::new("/proc").join(pid).exists()).then(|| lab.to_owned())
}

fn netlab(name: &str, verb: &str, options: &[&str]) -> Result<(), String> {
    // Beside the tests, or beside the member that borrows this file.
    let root = env!("CARGO_MANIFEST_DIR");
    let root = ["/bench", "/tools"].iter().find_map(|member| root.strip_suffix(member)).unwrap_or(root);
    let mut command = Command::new(format!("{root}/tools/netlab"));
    // Out of reach of the terminal's Ctrl-C: a lab that is half gone would stay so.
    let output = command.args([verb, "--name", name]).args(options).process_group(0).output();
    let output = output.map_err(|error| format!("tools/netlab: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("tools/netlab {verb}: {said}")) }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = netlab(&self.name, "down", &[]) {
            eprintln!("{error}");
        }
    }
}

/// Whether the tests that need root can run. Without root they fail, unless `FARWIRE_UNPRIVILEGED=1` says that their
/// absence is known: a test that is skipped in silence is taken for one that passed.
pub fn privileged() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let allowed = std::env::var_os("FARWIRE_UNPRIVILEGED").is_some_and(|value| value == "1");
    assert!(allowed, "this test needs root; FARWIRE_UNPRIVILEGED=1 says that it may be left out");
    eprintln!("NOT RUN for lack of root (FARWIRE_UNPRIVILEGED=1)");
    false
}
