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
    /// Cores that others used, on average; the kernel's network work outside of processes is not theirs but ours.
    pub foreign_cores: f64,
    /// CPU time of threads that do such work (ksoftirqd), which is charged to no process.
    pub ksoftirqd_cpu_seconds: f64,
    /// The same in interrupts, where they met no process of ours: whatever was not idle and is nobody's.
    pub outside_cpu_seconds: f64,
    /// Load average of the last minute, ours included.
    pub load: f64,
}

/// A point in time, and what CPU everybody and we ourselves (with our children that have ended) had used by then.
#[derive(Clone, Copy)]
pub struct Clock {
    at: Instant,
    all: f64,
    /// Of that, interrupts, be they charged to a process or not.
    interrupts: f64,
    ours: f64,
    ksoftirqd: f64,
    /// Processes that are there, their ended children included.
    others: f64,
}

impl Clock {
    pub fn now() -> anyhow::Result<Clock> {
        let [own, children] = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(cpu_seconds);
        let ((all, interrupts), (ksoftirqd, others)) = (everybody()?, processes()?);
        Ok(Clock { at: Instant::now(), all, interrupts, ours: own + children, ksoftirqd, others })
    }

    /// What others have used since, if all of our children of that time have ended.
    pub fn since(&self) -> anyhow::Result<Disturbance> {
        Ok(self.until(&Clock::now()?, load()?))
    }

    fn until(&self, now: &Clock, load: f64) -> Disturbance {
        let seconds = now.at.duration_since(self.at).as_secs_f64();
        let ksoftirqd = now.ksoftirqd - self.ksoftirqd;
        let rest = (now.all - self.all) - (now.ours - self.ours) - ksoftirqd;
        // Others are seen as processes; those in another container are not, but then more is left than interrupts take.
        let unseen = rest - (now.interrupts - self.interrupts);
        let foreign = (now.others - self.others).max(unseen).clamp(0.0, rest.max(0.0));
        Disturbance {
            foreign_cores: foreign / seconds,
            ksoftirqd_cpu_seconds: ksoftirqd,
            outside_cpu_seconds: (rest - foreign).max(0.0),
            load,
        }
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

/// CPU seconds of the kernel's threads that do network work when a core has too much of it; and of everybody else's
/// processes, with their children that have ended.
fn processes() -> anyhow::Result<(f64, f64)> {
    let own = std::process::id().to_string();
    let (mut ksoftirqd, mut others) = (0.0, 0.0);
    for entry in std::fs::read_dir("/proc").context("/proc")? {
        let entry = entry?;
        // A process that has ended meanwhile is none of them.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((name, fields)) = stat.rsplit_once(") ") else { continue };
        let times: Vec<f64> = fields.split(' ').skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
        let [user, system, children_user, children_system] = times[..] else { continue };
        if name.contains("(ksoftirqd/") {
            ksoftirqd += user + system;
        } else if entry.file_name() != own.as_str() {
            others += user + system + children_user + children_system;
        }
    }
    let second = ticks_per_second()?;
    Ok((ksoftirqd / second, others / second))
}

/// CPU seconds of everybody since the start of the machine: user, nice, system, irq, softirq; and the last two alone.
fn everybody() -> anyhow::Result<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let fields: Vec<f64> = stat.split_whitespace().skip(1).take(7).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, irq, softirq] = fields[..] else { anyhow::bail!("/proc/stat: {stat:?}") };
    let second = ticks_per_second()?;
    Ok(((user + nice + system + irq + softirq) / second, (irq + softirq) / second))
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
    fn a_process_that_we_have_not_waited_for_is_foreign() {
        let mut loop_for_a_while = std::process::Command::new("timeout");
        loop_for_a_while.args(["0.5", "sh", "-c", "while :; do :; done"]);
        let clock = Clock::now().unwrap();
        let mut other = loop_for_a_while.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let seen = clock.since().unwrap();
        other.wait().unwrap();
        assert!(seen.foreign_cores > 0.1, "{seen:?}");
    }

    #[test]
    fn what_is_ours_and_what_is_nobodys_is_not_foreign() {
        let at = Instant::now();
        let before = Clock { at, all: 100.0, interrupts: 10.0, ours: 5.0, ksoftirqd: 1.0, others: 50.0 };
        let later = Clock { at: at + Duration::from_secs(10), ..before };
        // Twelve seconds: eight ours, one ksoftirqd's, two of interrupts outside of processes, one of others.
        let now = Clock { all: 112.0, interrupts: 14.0, ours: 13.0, ksoftirqd: 2.0, others: 51.0, ..later };
        let seen = before.until(&now, 0.0);
        assert_eq!((seen.foreign_cores, seen.ksoftirqd_cpu_seconds, seen.outside_cpu_seconds), (0.1, 1.0, 2.0));
        // The same with work that is neither ours, nor a process's here, nor an interrupt's.
        let now = Clock { all: 120.0, ..now };
        assert_eq!(before.until(&now, 0.0).foreign_cores, 0.7);
        let now = Clock { all: 105.0, ..now };
        let seen = before.until(&now, 0.0);
        assert_eq!((seen.foreign_cores, seen.outside_cpu_seconds), (0.0, 0.0), "ticks are coarse");
    }
}
