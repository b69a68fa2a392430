//! Who else uses this machine: a number measured beside other work is marked, or measured again.

use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

/// From this many cores of other work on, a run is disturbed.
pub const FOREIGN_MOST: f64 = 0.3;
/// How long the machine must be quiet before a run begins.
const LOOK: Duration = Duration::from_millis(500);

/// How the machine was during a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Disturbance {
    /// Cores that others used, on average; the kernel's network work on threads of its own is not theirs but ours.
    pub foreign_cores: f64,
    /// CPU time of those threads (ksoftirqd), which is charged to no process.
    pub ksoftirqd_cpu_seconds: f64,
    /// Load average of the last minute, ours included.
    pub load: f64,
}

/// A point in time, and what CPU everybody and we ourselves (with our children that have ended) had used by then.
pub struct Clock {
    at: Instant,
    all: f64,
    ours: f64,
    ksoftirqd: f64,
}

impl Clock {
    pub fn now() -> anyhow::Result<Clock> {
        let [own, children] = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(cpu_seconds);
        Ok(Clock { at: Instant::now(), all: everybody()?, ours: own + children, ksoftirqd: ksoftirqd()? })
    }

    /// What others have used since, if all of our children of that time have ended.
    pub fn since(&self) -> anyhow::Result<Disturbance> {
        let now = Clock::now()?;
        let seconds = now.at.duration_since(self.at).as_secs_f64();
        let ksoftirqd = now.ksoftirqd - self.ksoftirqd;
        let foreign = (now.all - self.all) - (now.ours - self.ours) - ksoftirqd;
        Ok(Disturbance { foreign_cores: foreign.max(0.0) / seconds, ksoftirqd_cpu_seconds: ksoftirqd, load: load()? })
    }
}

/// Waits until nobody else works, at most so long; tells what others used at last.
pub fn await_quiet(patience: Duration) -> anyhow::Result<f64> {
    let start = Instant::now();
    loop {
        let clock = Clock::now()?;
        std::thread::sleep(LOOK);
        let foreign = clock.since()?.foreign_cores;
        if foreign < FOREIGN_MOST || start.elapsed() > patience {
            return Ok(foreign);
        }
    }
}

/// CPU seconds of our children that have ended.
pub fn children_cpu_seconds() -> f64 {
    cpu_seconds(UsageWho::RUSAGE_CHILDREN)
}

fn cpu_seconds(who: UsageWho) -> f64 {
    let Ok(usage) = getrusage(who) else { return f64::NAN };
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// CPU seconds of the kernel's threads that do network work when a core has too much of it.
fn ksoftirqd() -> anyhow::Result<f64> {
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc").context("/proc")? {
        // A process that has ended meanwhile is none of them.
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        if let Some((_, fields)) = stat.split_once(") ").filter(|(name, _)| name.contains("(ksoftirqd/")) {
            let times = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
            ticks += times.sum::<f64>();
        }
    }
    Ok(ticks / ticks_per_second()?)
}

/// CPU seconds of everybody since the start of the machine: user, nice, system, irq, softirq.
fn everybody() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let fields: Vec<f64> = stat.split_whitespace().skip(1).take(7).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, irq, softirq] = fields[..] else { anyhow::bail!("/proc/stat: {stat:?}") };
    Ok((user + nice + system + irq + softirq) / ticks_per_second()?)
}

fn ticks_per_second() -> anyhow::Result<f64> {
    Ok(sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")? as f64)
}

fn load() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    text.split(' ').next().and_then(|first| first.parse().ok()).context("/proc/loadavg")
}

/// The middle of some values; of an even number the lower one of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::NAN } else { values[(values.len() - 1) / 2] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn our_own_work_is_not_foreign() {
        let clock = Clock::now().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        let others = clock.since().unwrap().foreign_cores;
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        assert!(others < cores - 0.5, "{others} of {cores} cores");
    }
}
