//! CPU time that a run takes from the machine, whoever it is charged to: measured by what is left over.
//!
//! The kernel charges a tick to whoever runs when it comes. Work in an interrupt that comes while a core is idle is
//! charged to nobody (the tick sleeps then), and most of a TCP sender's work is of that kind: timers and ACKs that
//! send. So threads that run only when nothing else wants the core count how far they get, on the idle machine and
//! during the run. What they do not get has been taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use core_affinity::CoreId;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// How long the idle machine is looked at, before a run and after it. Shorter and a moment's disturbance counts as the
/// machine's speed; longer and long plans grow by it.
const LOOK: Duration = Duration::from_secs(1);
/// Turns of a loop between two looks at the end: a microsecond, less than any piece of work that is to be noticed.
const TURNS: u64 = 1000;

/// One thread on each core that takes what is left of it.
pub struct Soak {
    threads: Vec<Thread>,
    over: Arc<AtomicBool>,
    /// What each core gave when nothing else ran, in rounds a second.
    idle: Vec<f64>,
    begin: Look,
}

struct Thread {
    rounds: Arc<AtomicU64>,
    handle: JoinHandle<anyhow::Result<()>>,
}

/// How far the threads were at a time.
struct Look {
    at: Instant,
    rounds: Vec<u64>,
}

impl Soak {
    /// Starts the threads and looks what the idle machine gives them; what is taken counts from the end of this call.
    ///
    /// # Errors
    /// When a core can't be had or the kernel refuses the idle policy.
    pub fn start() -> anyhow::Result<Soak> {
        let cores = core_affinity::get_core_ids().context("the cores of this machine are not known")?;
        let over = Arc::new(AtomicBool::new(false));
        let threads = cores.into_iter().map(|core| Thread::start(core, over.clone())).collect();
        let mut soak = Soak { threads, over, idle: Vec::new(), begin: Look { at: Instant::now(), rounds: Vec::new() } };
        soak.idle = soak.speeds();
        soak.begin = soak.look();
        Ok(soak)
    }

    /// CPU seconds that were taken since the start, over all cores. Looks at the idle machine once more: what disturbs
    /// a look makes it slower, so the faster one counts.
    ///
    /// # Errors
    /// When a thread had to give up.
    pub fn finish(mut self) -> anyhow::Result<f64> {
        let end = self.look();
        let again = self.speeds();
        let idle: Vec<f64> = self.idle.iter().zip(again).map(|(before, after)| before.max(after)).collect();
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.handle.join().map_err(|_| anyhow!("a thread that measures idle time panicked"))??;
        }
        Ok(taken(&self.begin, &end, &idle))
    }

    fn look(&self) -> Look {
        let rounds = self.threads.iter().map(|thread| thread.rounds.load(Ordering::Relaxed)).collect();
        Look { at: Instant::now(), rounds }
    }

    fn speeds(&self) -> Vec<f64> {
        let before = self.look();
        std::thread::sleep(LOOK);
        let after = self.look();
        let seconds = (after.at - before.at).as_secs_f64();
        after.rounds.iter().zip(before.rounds).map(|(after, before)| (after - before) as f64 / seconds).collect()
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Thread {
    fn start(core: CoreId, over: Arc<AtomicBool>) -> Thread {
        let rounds = Arc::new(AtomicU64::new(0));
        let count = rounds.clone();
        let handle = std::thread::spawn(move || {
            ensure!(core_affinity::set_for_current(core), "core {} is not ours to run on", core.id);
            let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
            set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)
                .map_err(|error| anyhow!("core {}: the kernel refuses the idle policy: {error:?}", core.id))?;
            while !over.load(Ordering::Relaxed) {
                for turn in 0..TURNS {
                    std::hint::black_box(turn);
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Thread { rounds, handle }
    }
}

/// Of each core's time between two looks, what its thread did not get.
fn taken(begin: &Look, end: &Look, idle: &[f64]) -> f64 {
    let seconds = (end.at - begin.at).as_secs_f64();
    let rounds = end.rounds.iter().zip(&begin.rounds).map(|(end, begin)| (end - begin) as f64);
    rounds.zip(idle).map(|(rounds, idle)| (seconds - rounds / idle).max(0.0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_did_not_get_was_taken() {
        let at = Instant::now();
        let begin = Look { at, rounds: vec![100, 200] };
        let end = Look { at: at + Duration::from_secs(10), rounds: vec![1100, 1700] };
        // The first core gave all of its 100 a second, the second 150 of 200.
        assert!((taken(&begin, &end, &[100.0, 200.0]) - 2.5).abs() < 1e-9);
        assert_eq!(taken(&begin, &end, &[50.0, 150.0]), 0.0, "faster than idle is idle");
    }

    #[test]
    fn it_runs_on_every_core_and_ends() {
        // What else runs beside a test is not known, so neither is how much is taken.
        let seconds = Soak::start().unwrap().finish().unwrap();
        assert!((0.0..100.0).contains(&seconds), "{seconds}");
    }
}
