//! Workers around something that behaves like an engine.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;

use super::*;
use crate::base::Nanos;
use crate::base::time::{MILLISECOND, SECOND};
use crate::engine::Turn;
use crate::link::LinkError;
use crate::proto::error::CloseReason;

/// What happened to a fake engine, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Turned(Nanos),
    Closed(CloseReason),
    GaveBack,
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// Turns as it is told; sleeps whenever its doorbell lets it.
struct Fake<F> {
    turn: F,
    log: Log,
    doorbell: Doorbell,
    commands: Receiver<Command>,
    link: EventFd,
}

impl<F: FnMut(Nanos) -> Turn> Driven for Fake<F> {
    fn turn(&mut self, now: Nanos) -> Turn {
        self.log.lock().unwrap().push(Seen::Turned(now));
        (self.turn)(now)
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.link.as_fd())
    }
    fn may_sleep(&self) -> bool {
        self.doorbell.prepare_sleep() && self.commands.is_empty()
    }
    fn awake(&self) {
        self.doorbell.awake();
    }
    fn close_all(&mut self, _now: Nanos, why: &CloseReason) {
        self.log.lock().unwrap().push(Seen::Closed(why.clone()));
    }
    fn record_turn(&mut self, _span_ns: Nanos) {}
    fn give_back(&mut self) {
        self.log.lock().unwrap().push(Seen::GaveBack);
    }
}

const NOTHING: Turn = Turn { worked: false, moved: 0, next_ns: None, patience_ns: 0, failed: None };

fn caps() -> Caps {
    crate::link::memory::pair(Default::default()).0.caps().clone()
}

fn start(idle: Idle, turn: impl FnMut(Nanos) -> Turn + Send + 'static) -> (Worker, Log) {
    let log = Log::default();
    let inside = log.clone();
    let worker = Worker::start_with(caps(), WorkerConfig { cpu: None, idle }, move |commands, doorbell| {
        let link = EventFd::new().unwrap();
        Fake { turn, log: inside, doorbell, commands, link }
    });
    (worker.unwrap(), log)
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn turns(log: &Log) -> usize {
    log.lock().unwrap().iter().filter(|seen| matches!(seen, Seen::Turned(_))).count()
}

#[test]
fn a_panic_becomes_a_failure_that_closes_everything() {
    let (worker, log) = start(Idle::Adaptive, |_| panic!("slot 7 is empty"));
    eventually("the failure is told", || worker.failure().is_some());
    assert_eq!(worker.failure(), Some("the worker panicked: slot 7 is empty"));
    drop(worker);
    let last = log.lock().unwrap().last().cloned();
    assert_eq!(last, Some(Seen::Closed(CloseReason::Link("the worker panicked: slot 7 is empty".to_owned()))));
}

#[test]
fn a_failed_link_ends_the_worker_and_its_commands() {
    let gone = || LinkError::Gone { link: "eth9 queue 0".to_owned(), detail: "ENXIO".to_owned() };
    let (worker, _) = start(Idle::Sleep, move |_| Turn { failed: Some(gone()), ..NOTHING });
    eventually("the failure is told", || worker.failure().is_some_and(|text| text.contains("eth9 queue 0")));
    let (reply, answer) = bounded(1);
    // Refused, or dropped with the queue: either way the asker hears of it.
    let _ = worker.commands().send(Command::Snapshot { conn: None, reply });
    assert!(answer.recv_timeout(Duration::from_secs(10)).is_err_and(|error| error.is_disconnected()));
}

#[test]
fn a_sleeping_worker_sleeps_until_the_doorbell_rings_or_it_is_stopped() {
    let (mut worker, log) = start(Idle::Adaptive, |_| NOTHING);
    eventually("it sleeps", || {
        let before = turns(&log);
        std::thread::sleep(Duration::from_millis(20));
        turns(&log) == before
    });
    let before = turns(&log);
    let (reply, _answer) = bounded(1);
    worker.commands().send(Command::Snapshot { conn: None, reply }).unwrap();
    worker.doorbell().ring();
    eventually("it turned", || turns(&log) > before);
    assert!(worker.times().sleeps >= 1 && worker.times().slept_ns >= 10 * MILLISECOND);
    worker.stop();
    assert!(log.lock().unwrap().contains(&Seen::Closed(CloseReason::Shutdown)));
    assert_eq!(worker.failure(), None);
}

#[test]
fn the_last_packets_leave_after_a_stop() {
    let left = Arc::new(AtomicU64::new(u64::MAX));
    let inside = left.clone();
    let (mut worker, log) = start(Idle::Sleep, move |_| {
        let more = inside.load(Ordering::Relaxed);
        if more != u64::MAX {
            inside.store(more.saturating_sub(1), Ordering::Relaxed);
        }
        Turn { worked: more != u64::MAX && more > 0, ..NOTHING }
    });
    eventually("it sleeps", || worker.times().turns > 0 || turns(&log) > 0);
    left.store(5, Ordering::Relaxed);
    worker.stop();
    assert_eq!(left.load(Ordering::Relaxed), 0);
    assert_eq!(log.lock().unwrap().last(), Some(&Seen::GaveBack), "its frames, after the last turn");
}

#[test]
fn a_timer_is_met_neither_early_nor_at_leisure() {
    for idle in [Idle::Spin, Idle::Adaptive, Idle::Sleep] {
        let due = Arc::new(AtomicU64::new(0));
        let late = Arc::new(AtomicU64::new(u64::MAX));
        let (inside_due, inside_late) = (due.clone(), late.clone());
        let (_worker, _) = start(idle, move |now| {
            let at = inside_due.load(Ordering::Relaxed);
            if at == 0 {
                inside_due.store(now + 3 * MILLISECOND, Ordering::Relaxed);
            } else if now >= at {
                inside_late.fetch_min(now - at, Ordering::Relaxed);
                return NOTHING;
            }
            Turn { next_ns: Some(inside_due.load(Ordering::Relaxed)), ..NOTHING }
        });
        eventually("the timer is met", || late.load(Ordering::Relaxed) != u64::MAX);
        assert!(late.load(Ordering::Relaxed) < SECOND, "{idle}: {late:?} ns late");
    }
}

#[test]
fn a_core_that_is_not_there_is_named_with_those_that_are() {
    let make = |commands, doorbell| Fake {
        turn: |_| NOTHING,
        log: Log::default(),
        doorbell,
        commands,
        link: EventFd::new().unwrap(),
    };
    let config = WorkerConfig { cpu: Some(5000), idle: Idle::Sleep };
    let error = Worker::start_with(caps(), config, make).err().unwrap().to_string();
    assert!(error.contains("--cpu 5000") && error.contains("core 0"), "{error}");
}
