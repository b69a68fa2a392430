//! Crashes on the real thing: the built command over AF_XDP in namespaces, either side killed at random moments of a
//! transfer, interfaces taken down and up. What bears its own name is always whole, the next transfer works, and the
//! kernel is left as it was. Needs root.
//!
//! `FARWIRE_CRASH_SEED` and `FARWIRE_CRASH_ROUNDS` say which rounds and how many; `FARWIRE_CRASH_ROUND` plays one.

mod lab;

#[path = "faults/command.rs"]
mod command;
#[path = "crash/plan.rs"]
mod plan;
#[path = "crash/round.rs"]
mod round;
#[path = "crash/tree.rs"]
mod tree;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use plan::Plan;

/// Rounds without a word about it.
const ROUNDS: u64 = 20;
/// Rounds that are played at once: each waits most of its time.
const LANES: usize = 4;

#[test]
fn whoever_is_killed_and_whenever() {
    if !lab::privileged() {
        return;
    }
    let began = Instant::now();
    let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("FARWIRE_CRASH_SEED").unwrap_or(clock % 1_000_000_007);
    let rounds = match number("FARWIRE_CRASH_ROUND") {
        Some(only) => only..only + 1,
        None => 0..number("FARWIRE_CRASH_ROUNDS").unwrap_or(ROUNDS),
    };
    println!("FARWIRE_CRASH_SEED={seed}, rounds {rounds:?}");
    let plans: Vec<(u64, Plan)> = rounds.map(|round| (round, Plan::draw(seed, round))).collect();
    let hits = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some((round, plan)) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Where one fails, no more are begun.
                    let told = OnFailure { seed, round: *round, plan, next: &next };
                    let (began, hit) = (Instant::now(), round::play(plan));
                    println!("round {round}: {:?}, {hit} hit, {:.1?}", plan.load, began.elapsed());
                    hits.fetch_add(hit, Ordering::Relaxed);
                    drop(told);
                }
            });
        }
    });
    let meant = plans.iter().flat_map(|(_, plan)| &plan.blows).filter(|blow| blow.is_midway()).count();
    let hits = hits.into_inner();
    println!("{} rounds: {hits} of {meant} blows hit a transfer midway; {:?}", plans.len(), began.elapsed());
    // A transfer may be over before the blow falls, but not as a rule.
    assert!(hits * 2 >= meant, "only {hits} of {meant} blows hit a transfer between its first and its last byte");
    let few = plans.len() < ROUNDS as usize;
    assert!(few || hits * 3 >= plans.len(), "only {hits} transfers were hit midway in {} rounds", plans.len());
}

#[test]
fn a_sender_whose_receiver_never_comes_back_gives_up() {
    if !lab::privileged() {
        return;
    }
    let scene = command::Scene::new(&[]);
    let recv = scene.recv(&[]);
    scene.file("large", 60_000_000);
    let sender = scene.start_send(&["large", "--rate", "100mbit"], "b");
    scene.wait_for_part();
    recv.kill();
    let killed = Instant::now();
    sender.wait().says(1, &["nothing heard from the peer for 30"]);
    assert!(killed.elapsed() < round::GIVES_UP_WITHIN, "it took {:?}", killed.elapsed());
    assert_eq!(scene.lab.in_use("a"), lab::InUse::default());
}

/// Says how a round that fails can be played again, and keeps others from beginning.
struct OnFailure<'a> {
    seed: u64,
    round: u64,
    plan: &'a Plan,
    next: &'a AtomicUsize,
}

impl Drop for OnFailure<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let OnFailure { seed, round, plan, next } = self;
            next.store(usize::MAX / 2, Ordering::Relaxed);
            println!("round {round} failed: {plan:#?}");
            println!("FARWIRE_CRASH_SEED={seed} FARWIRE_CRASH_ROUND={round} cargo test --test crash_veth");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
