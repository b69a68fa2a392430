//! What an attack costs: goodput, CPU, and what the hosts count.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Instant;

use farwire::api::Endpoint;
use nix::sys::resource::UsageWho;

use super::eve::{Sent, cpu_seconds};

/// Below this share of idle CPU time, it is the machine that goodput was lost to.
const IDLE_LEAST: f64 = 0.05;
/// What a line of [`Outcome`] holds.
pub const HEADING: &str =
    " frames/s  of rx  attacker  hosts   idle  Mbit/s before  under attack  share   (CPU in cores, idle of all)";

/// One attack on a live transfer.
pub struct Outcome {
    pub sent: Sent,
    pub quiet_bps: f64,
    pub attacked_bps: f64,
    pub meters: Meters,
}

impl Outcome {
    /// Of the goodput without an attacker.
    pub fn share(&self) -> f64 {
        self.attacked_bps / self.quiet_bps
    }

    /// All CPUs were busy, with this or with other things.
    pub fn had_no_cpu_left(&self) -> bool {
        self.meters.idle < IDLE_LEAST
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { sent, quiet_bps, attacked_bps, meters } = self;
        // Each frame of the attacker's reaches both hosts: its addressee drops it, to the other it is not its own.
        let dropped: u64 = meters.drops().map(|(_, count)| count).sum();
        let of_rx = dropped as f64 / meters.risen("rx_frames").max(1) as f64;
        write!(
            f,
            "{:9.0} {:5.0}% {:9.2} {:6.2} {:5.0}% {:14.1} {:13.1} {:6.2}  ",
            sent.frames as f64 / sent.seconds,
            100.0 * of_rx.min(1.0),
            sent.cpu_share,
            meters.cores - sent.cpu_share,
            100.0 * meters.idle,
            quiet_bps / 1e6,
            attacked_bps / 1e6,
            self.share(),
        )?;
        let named: Vec<_> = meters.drops().map(|(name, count)| format!("{} {count}", &name[5..])).collect();
        write!(f, " {}", named.join(", "))
    }
}

/// What endpoints have counted and the machine has used; or between two moments.
pub struct Meters {
    counters: BTreeMap<&'static str, u64>,
    at: Instant,
    cpu_seconds: f64,
    /// Ticks of all CPUs: idle, and all.
    ticks: [u64; 2],
    /// CPUs that this process used, attacker and hosts.
    cores: f64,
    idle: f64,
}

impl Meters {
    pub fn read(endpoints: &[&Endpoint]) -> Meters {
        let mut counters = BTreeMap::new();
        for endpoint in endpoints {
            for (name, count) in endpoint.snapshot().unwrap().counters.iter() {
                *counters.entry(name).or_default() += count;
            }
        }
        let cpu_seconds = cpu_seconds(UsageWho::RUSAGE_SELF);
        Meters { counters, at: Instant::now(), cpu_seconds, ticks: ticks(), cores: 0.0, idle: 0.0 }
    }

    pub fn since(mut self, before: &Meters) -> Meters {
        for (name, count) in &mut self.counters {
            *count -= before.counters[name];
        }
        self.cores = (self.cpu_seconds - before.cpu_seconds) / (self.at - before.at).as_secs_f64();
        let [idle, all] = [0, 1].map(|at| self.ticks[at].saturating_sub(before.ticks[at]));
        self.idle = idle as f64 / all.max(1) as f64;
        self
    }

    pub fn risen(&self, name: &str) -> u64 {
        *self.counters.get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let drops = self.counters.iter().filter(|(name, count)| name.starts_with("drop_") && **count > 0);
        drops.map(|(name, count)| (*name, *count))
    }
}

fn ticks() -> [u64; 2] {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let of = stat.lines().next().unwrap().split_whitespace().skip(1).map(|ticks| ticks.parse::<u64>().unwrap());
    // User, nice, system, idle, waiting for disks, interrupts, and what a hypervisor took; then guests, counted before.
    let of: Vec<u64> = of.take(8).collect();
    [of[3] + of[4], of.iter().sum()]
}

/// Memory of this process.
pub fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
