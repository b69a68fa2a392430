//! One thread on one core that turns one engine, and sleeps when there is nothing to do.
//!
//! Decides: when to turn, spin or sleep, on which core; reads the real clock. Does not: make protocol decisions.
//! Called by: `api`. Invariant: when the thread has ended, for whatever reason, every queue of its engine is closed
//! and whoever waited on one has been woken.

pub mod clock;
pub mod idle;
mod run;
mod waker;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

pub use idle::Idle;

use crate::engine::port::{Command, Doorbell};
use crate::engine::{Engine, EngineConfig};
use crate::link::{Caps, Link};
use run::Driven;
use waker::EventWaker;

/// Where and how a worker runs.
#[derive(Clone, Debug, Default)]
pub struct WorkerConfig {
    /// The core that it is pinned to; `None` leaves it to the kernel.
    pub cpu: Option<usize>,
    /// What it does when there is nothing to do.
    pub idle: Idle,
}

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The process may not run there.
    #[error("--cpu {cpu}: this process may run on {allowed} only; pick one of these, or allow more with `taskset`")]
    Cpu {
        /// What was asked for.
        cpu: usize,
        /// The cores that the process may use.
        allowed: String,
    },
    /// No thread, or no eventfd to wake it with.
    #[error("{what} for the worker: {source}; raise `ulimit -u` or `ulimit -n`")]
    System {
        /// What was asked of the system.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// How a worker has spent its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerTimes {
    /// Turns, worked or not, up to the last sleep.
    pub turns: u64,
    /// Sleeps.
    pub sleeps: u64,
    /// Nanoseconds slept.
    pub slept_ns: u64,
}

/// What the worker's thread and its owner share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Set when the worker has ended by itself: the link failed, or the thread panicked.
    failure: OnceLock<String>,
    turns: AtomicU64,
    sleeps: AtomicU64,
    slept_ns: AtomicU64,
}

/// The owner's end of a worker. Dropping it stops the thread and waits for it.
pub struct Worker {
    caps: Caps,
    commands: Sender<Command>,
    doorbell: Doorbell,
    shared: Arc<Shared>,
    waker: Arc<EventWaker>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Worker {
    /// Starts a thread that turns an engine over `link`.
    ///
    /// # Errors
    /// When the core is not ours to use, or the system has no thread or descriptor left.
    pub fn start<L: Link + 'static>(
        link: L,
        engine: EngineConfig,
        config: WorkerConfig,
    ) -> Result<Worker, WorkerError> {
        let caps = link.caps().clone();
        Worker::start_with(caps, config, move |commands, doorbell| Engine::new(link, engine, commands, doorbell))
    }

    /// Starts a thread that turns whatever `make` makes there.
    fn start_with<D: Driven>(
        caps: Caps,
        config: WorkerConfig,
        make: impl FnOnce(Receiver<Command>, Doorbell) -> D + Send + 'static,
    ) -> Result<Worker, WorkerError> {
        if let Some(cpu) = config.cpu {
            // Asked before, since what pins a thread takes no number beyond those that a kernel mask holds.
            let allowed = core_affinity::get_core_ids().unwrap_or_default();
            if !allowed.iter().any(|core| core.id == cpu) {
                return Err(WorkerError::Cpu { cpu, allowed: listed(&allowed) });
            }
        }
        let waker = EventWaker::new().map_err(|source| WorkerError::System { what: "no eventfd", source })?;
        let doorbell = Doorbell::new(waker.clone().into());
        let (commands, requests) = unbounded();
        let shared = Arc::new(Shared::default());
        let (pinned_tx, pinned) = bounded(1);
        let (running, ended) = bounded(0);
        let inside = (doorbell.clone(), shared.clone(), waker.clone());
        let thread = std::thread::Builder::new().name("farwire".to_owned()).spawn(move || {
            let (doorbell, shared, waker) = inside;
            let _running = running;
            let on_core = config.cpu.is_none_or(|id| core_affinity::set_for_current(CoreId { id }));
            // The receiver waits for just this; were it gone, there would be nobody to tell.
            let _ = pinned_tx.send(on_core);
            if on_core {
                run::run(&shared, &waker, config.idle, move || make(requests, doorbell));
            }
        });
        let thread = thread.map_err(|source| WorkerError::System { what: "no thread", source })?;
        if let (Ok(false), Some(cpu)) = (pinned.recv(), config.cpu) {
            let allowed = core_affinity::get_core_ids().unwrap_or_default();
            return Err(WorkerError::Cpu { cpu, allowed: listed(&allowed) });
        }
        Ok(Worker { caps, commands, doorbell, shared, waker, thread: Some(thread), ended })
    }

    /// What the link is and can do.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Sends commands to the engine. They are seen once the doorbell rings; see [`Worker::doorbell`].
    pub fn commands(&self) -> &Sender<Command> {
        &self.commands
    }

    /// Wakes the engine.
    pub fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// Why the worker ended by itself, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }

    /// Why the worker ended, for who has found one of its engine's queues closed: the thread is ending then, and this
    /// waits for it. `None`: it was told to stop.
    pub fn why_ended(&self) -> Option<&str> {
        // Nothing is ever sent. The limit is far beyond what the last turns take.
        let _ = self.ended.recv_timeout(Duration::from_secs(1));
        self.failure()
    }

    /// How it has spent its time.
    pub fn times(&self) -> WorkerTimes {
        WorkerTimes {
            turns: self.shared.turns.load(Ordering::Relaxed),
            sleeps: self.shared.sleeps.load(Ordering::Relaxed),
            slept_ns: self.shared.slept_ns.load(Ordering::Relaxed),
        }
    }

    /// Ends every connection, lets the last packets leave and waits for the thread. Harmless when repeated.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waker.write();
        if let Some(thread) = self.thread.take() {
            // `run` catches panics; what it could not catch is no reason to panic here as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listed(cores: &[CoreId]) -> String {
    let cores: Vec<String> = cores.iter().map(|core| core.id.to_string()).collect();
    format!("core {}", cores.join(", "))
}

#[cfg(test)]
mod tests;
