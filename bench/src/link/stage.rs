//! Where it all happens: three hosts on this machine, with the emulated link in the middle one.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use nix::unistd::geteuid;

use super::cell::Cell;
use super::emulator::{Emulator, Faults};
use crate::lab::Lab;
use crate::program::{Ended, Program};

/// Addresses of the hosts that move bytes, as `tools/netlab` gives them: IPv4, MAC.
pub const A: (&str, &str) = ("10.77.0.1", "02:00:0a:4d:00:01");
pub const B: (&str, &str) = ("10.77.0.2", "02:00:0a:4d:00:02");

/// What a host that moves data over a wide area sets, by common advice (ESnet's for data transfer nodes): windows as
/// large as the longest path, found by autotuning; MTU probing, so that a black hole for large packets does not end a
/// flow. And nothing is remembered of the run before: a path's ssthresh and RTT would be carried into the next cell.
const SETTINGS: [(&str, &str); 5] = [
    ("net.ipv4.tcp_rmem", "4096 131072 536870912"),
    ("net.ipv4.tcp_wmem", "4096 131072 536870912"),
    ("net.ipv4.tcp_mtu_probing", "1"),
    ("net.ipv4.tcp_no_metrics_save", "1"),
    ("net.ipv4.tcp_slow_start_after_idle", "0"),
];
/// The same for sockets that set their buffers themselves, and for what may wait for the receiving host's kernel; these
/// exist in a network namespace of some kernels only, and the whole machine's are left alone.
const CORE_SETTINGS: [(&str, &str); 3] =
    [("net.core.rmem_max", "536870912"), ("net.core.wmem_max", "536870912"), ("net.core.netdev_max_backlog", "250000")];

/// The programs that take part.
#[derive(Clone, Default, Debug)]
pub struct Tools {
    pub farwire: PathBuf,
    pub linkem: PathBuf,
    /// This program, which has the rivals.
    pub bench: PathBuf,
    /// What every farwire is told about its key.
    pub protection: Vec<String>,
    /// More flags for every farwire.
    pub flags: Vec<String>,
    /// More flags for the emulator.
    pub link_flags: Vec<String>,
}

/// The lab.
pub struct Stage {
    lab: Lab,
    pub tools: Tools,
    /// Settings in force on both hosts.
    pub settings: Vec<String>,
}

impl Stage {
    pub fn up(tools: Tools, mtu: u16) -> anyhow::Result<Stage> {
        ensure!(geteuid().is_root(), "not root: a lab of network namespaces needs it; run it with sudo");
        for name in Lab::sweep() {
            eprintln!("lab {name} of a program that was killed: removed");
        }
        let options = ["--hosts", "3", "--offloads", "off", "--mtu", &mtu.to_string()];
        let lab = Lab::try_up(&options).map_err(|error| anyhow::anyhow!("{}", error.trim()))?;
        let mut stage = Stage { lab, tools, settings: Vec::new() };
        stage.tune()?;
        // Both know each other: the first run of a cell asks no more than the others.
        for (host, (ip, mac)) in [("a", B), ("b", A)] {
            stage.run(host, &["ip", "neigh", "replace", ip, "lladdr", mac, "dev", "eth1", "nud", "permanent"])?;
        }
        Ok(stage)
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Starts a program in a host.
    pub fn start(&self, host: &str, command: &[String]) -> anyhow::Result<Program> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        Program::start_apart(&self.lab, host, &words)
    }

    /// Runs a command that ends by itself at once.
    pub fn run(&self, host: &str, command: &[&str]) -> anyhow::Result<Ended> {
        Program::start_apart(&self.lab, host, command)?.finish()
    }

    /// Lays the link between the hosts; what is sent with the same `seed` meets the same losses.
    pub fn link(&self, cell: &Cell, faults: Faults, seed: u64) -> anyhow::Result<Emulator> {
        Emulator::start(self, cell, faults, seed)
    }

    fn tune(&mut self) -> anyhow::Result<()> {
        for (name, value) in SETTINGS.iter().chain(&CORE_SETTINGS) {
            let mut in_force = Vec::new();
            for host in ["a", "b"] {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                let write = format!("[ -w {path} ] || exit 42; echo '{value}' >{path} && cat {path}");
                let output = self.lab.try_run(host, &["sh", "-c", &write]);
                match output.status.code() {
                    Some(0) => in_force.push(String::from_utf8_lossy(&output.stdout).trim().replace('\t', " ")),
                    Some(42) if CORE_SETTINGS.iter().any(|(of, _)| of == name) => in_force.push("global".to_owned()),
                    _ => bail!("{name} = {value} in host {host}: {}", String::from_utf8_lossy(&output.stderr).trim()),
                }
            }
            let same = in_force.first().filter(|first| in_force.iter().all(|one| one == *first));
            let value = same.with_context(|| format!("{name} differs between the hosts: {in_force:?}"))?;
            let told = match value.as_str() {
                "global" => format!("{name}: the machine's own, {}", global(name)),
                value => format!("{name} = {value}"),
            };
            self.settings.push(told);
        }
        Ok(())
    }
}

fn global(name: &str) -> String {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::read_to_string(path).map_or("unknown".to_owned(), |value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use crate::lab::orphan;

    #[test]
    fn only_labs_of_the_dead_are_swept_up() {
        // Beyond what a process may be numbered.
        assert_eq!(orphan("fw-t4999999n0-m").as_deref(), Some("t4999999n0"));
        assert_eq!(orphan(&format!("fw-t{}n0-a", std::process::id())), None);
        for other in [
            "fw-lab-a",
            "fw-test-4999999-a",
            "fw-t4999999-a",
            "fw-t4999999n-a",
            "fw-tn0-a",
            "fw-t4999999n0-c",
            "t4999999n0-a",
            "fw-t4999999n0",
            "fw-x-t4999999n0-a",
            "fw-t+4999999n0-a",
        ] {
            assert_eq!(orphan(other), None, "{other}");
        }
    }
}
