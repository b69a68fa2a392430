//! The worker's thread: turn, and when there was nothing to do, wait as the policy says.

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::idle::{Flow, Idle, Step};
use super::waker::EventWaker;
use super::{Shared, clock};
use crate::base::Nanos;
use crate::base::time::{MILLISECOND, SECOND};
use crate::engine::{Engine, Turn};
use crate::link::Link;
use crate::proto::error::CloseReason;

/// How long a stopped worker goes on turning while it still finds something to do, so that the last packets (the
/// news of the close among them) leave. Longer would let a busy peer delay a shutdown.
const LAST_TURNS_NS: Nanos = 5 * MILLISECOND;

/// What a worker turns: an engine, and in tests whatever behaves like one.
pub(super) trait Driven {
    /// Does all there is to do at `now`.
    fn turn(&mut self, now: Nanos) -> Turn;
    /// What to poll for arrivals; `None` if it can't be slept on.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;
    /// About to sleep: false if something has arrived meanwhile.
    fn may_sleep(&self) -> bool;
    /// Awake again after `may_sleep` had said yes.
    fn awake(&self);
    /// Ends every connection.
    fn close_all(&mut self, now: Nanos, why: &CloseReason);
    /// A turn that found work took this long.
    fn record_turn(&mut self, span_ns: Nanos);
    /// There will be no more turns: the link gets its frames back.
    fn give_back(&mut self);
}

impl<L: Link> Driven for Engine<L> {
    fn turn(&mut self, now: Nanos) -> Turn {
        Engine::turn(self, now)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Engine::poll_fd(self)
    }

    fn may_sleep(&self) -> bool {
        Engine::may_sleep(self)
    }

    fn awake(&self) {
        Engine::awake(self);
    }

    fn close_all(&mut self, now: Nanos, why: &CloseReason) {
        Engine::close_all(self, now, why);
    }

    fn record_turn(&mut self, span_ns: Nanos) {
        Engine::record_turn(self, span_ns);
    }

    fn give_back(&mut self) {
        Engine::give_back(self);
    }
}

/// Makes the engine and turns it until it is told to stop or fails. A panic ends it like a failed link.
pub(super) fn run<D: Driven>(shared: &Shared, waker: &EventWaker, idle: Idle, make: impl FnOnce() -> D) {
    // Timers of ordinary threads are 50 µs late by default; a pacer needs better. Refused, it is merely late.
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut engine = None;
    let turned = catch_unwind(AssertUnwindSafe(|| turn_until_stopped(shared, waker, idle, engine.insert(make()))));
    let failure = match turned {
        Ok(None) => return,
        Ok(Some(failure)) => failure,
        Err(panic) => format!("the worker panicked: {}", panic_text(&*panic)),
    };
    let reason = CloseReason::Link(failure.clone());
    // Known before anyone is woken, so that whoever wakes finds the reason.
    let _ = shared.failure.set(failure);
    if let Some(engine) = &mut engine {
        // After a panic this may panic again; dropping the engine still closes its queues.
        let _ = catch_unwind(AssertUnwindSafe(|| engine.close_all(clock::now(), &reason)));
    }
}

/// Turns until told to stop; says why if it had to stop by itself.
fn turn_until_stopped<D: Driven>(shared: &Shared, waker: &EventWaker, idle: Idle, engine: &mut D) -> Option<String> {
    let mut now = clock::now();
    let mut worked_ns = now;
    let mut turns = 0;
    let mut flow = Flow::default();
    loop {
        let turn = engine.turn(now);
        turns += 1;
        flow.on_turn(now, turn.moved);
        if let Some(error) = turn.failed {
            return Some(error.to_string());
        }
        if shared.stop.load(Ordering::Acquire) {
            last_turns(engine);
            engine.give_back();
            return None;
        }
        let started_ns = now;
        if turn.worked {
            now = clock::now();
            engine.record_turn(now - started_ns);
            worked_ns = now;
            continue;
        }
        let slept = match idle.step(now, worked_ns, &turn, &flow) {
            Step::Sleep(span) => sleep(engine, waker, span, true),
            Step::Rest(span) => sleep(engine, waker, Some(span), false),
            Step::Spin => false,
        };
        if !slept {
            wait_a_little(idle);
        }
        now = clock::now();
        if slept {
            shared.turns.store(turns, Ordering::Relaxed);
            shared.sleeps.fetch_add(1, Ordering::Relaxed);
            shared.slept_ns.fetch_add(now - started_ns, Ordering::Relaxed);
        }
    }
}

/// Between two turns of a spinning worker.
fn wait_a_little(idle: Idle) {
    match idle {
        Idle::Spin => std::hint::spin_loop(),
        // The application's threads may share this core: whoever is ready to run has better use for it. With two
        // workers and two application threads on two cores, spinning without it cost a quarter of the goodput over
        // veth. Without anyone to yield to it takes 0.7 µs here, which `spin` saves.
        Idle::Adaptive | Idle::Sleep => std::thread::yield_now(),
    }
}

/// Sleeps until the application calls, something arrives on the link (if that is to be `heard`), or `span` is over.
/// False, at once, if there is something to do after all.
fn sleep<D: Driven>(engine: &D, waker: &EventWaker, span: Option<Nanos>, heard: bool) -> bool {
    if !engine.may_sleep() {
        return false;
    }
    let slept = match engine.poll_fd() {
        None => false,
        Some(link) => {
            let mut fds = [PollFd::new(waker.fd(), PollFlags::POLLIN), PollFd::new(link, PollFlags::POLLIN)];
            let fds = if heard { &mut fds[..] } else { &mut fds[..1] };
            let span = span.map(|ns| TimeSpec::new((ns / SECOND) as i64, (ns % SECOND) as i64));
            // EINTR is one more reason to look around; nothing else can fail with two good descriptors.
            let _ = ppoll(fds, span, None);
            let woken = fds[0].revents().is_some_and(|events| !events.is_empty());
            if woken {
                waker.clear();
            }
            true
        }
    };
    engine.awake();
    slept
}

/// Closes everything and lets the last packets leave.
fn last_turns<D: Driven>(engine: &mut D) {
    let start_ns = clock::now();
    engine.close_all(start_ns, &CloseReason::Shutdown);
    let end_ns = start_ns + LAST_TURNS_NS;
    loop {
        let now = clock::now();
        let turn = engine.turn(now);
        if !turn.worked || turn.failed.is_some() || now >= end_ns {
            return;
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
