//! Worlds by the hundred, and the bugs that they found, each as small as it could be made.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::host::HostPlan;
use super::nic::NicPlan;
use super::scenario::{Fault, PathPlan, SessionPlan};
use super::*;
use crate::base::Nanos;
use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};
use crate::link::impair::Profile;
use crate::proto::config::Config;
use crate::proto::recovery::Algorithm;

fn live(seed: u64) -> Outcome {
    run(&Scenario::draw(seed), Trace::default())
}

/// Lives through these worlds, and says of each that went wrong how to see it again. Most connections must come about,
/// so that something has been tried.
fn live_well(seeds: std::ops::Range<u64>) {
    let (mut opened, mut refused, mut bytes) = (0, 0, 0);
    let wrong: Vec<String> = seeds
        .filter_map(|seed| {
            let violation = match catch_unwind(AssertUnwindSafe(|| live(seed))) {
                Ok(outcome) => {
                    opened += outcome.opened;
                    refused += outcome.refused;
                    bytes += outcome.bytes;
                    outcome.violation?
                }
                Err(_) => "a panic".to_owned(),
            };
            Some(format!("tools/simrun --seed {seed}   # {violation}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} worlds went wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(opened > refused && bytes > 10_000_000, "{opened} opened, {refused} refused, {bytes} bytes checked");
}

#[test]
fn worlds_end_well() {
    live_well(0..150);
}

#[test]
fn more_worlds_end_well() {
    live_well(150..300);
}

#[test]
fn the_same_seed_is_the_same_world() {
    let told = |seed| {
        let lines = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let listener = lines.clone();
        let write = move |line: &str| listener.lock().unwrap().extend([line, "\n"]);
        let outcome = run(&Scenario::draw(seed), Trace::told_to(Box::new(write)));
        let text = std::mem::take(&mut *lines.lock().unwrap());
        (outcome.fingerprint, text)
    };
    for seed in 0..8 {
        let (first, second) = (told(seed), told(seed));
        assert!(first.1.len() > 1000 && first == second, "seed {seed}");
        assert_eq!(live(seed).fingerprint, first.0, "seed {seed}: whoever listens changes nothing");
    }
    assert_ne!(told(1).0, told(2).0);
}

#[test]
fn worlds_hold_all_that_they_promise() {
    let scenarios: Vec<Scenario> = (0..300).map(Scenario::draw).collect();
    let kinds: [fn(&Fault) -> bool; 9] = [
        |fault| matches!(fault, Fault::Jam { .. }),
        |fault| matches!(fault, Fault::Stop { .. }),
        |fault| matches!(fault, Fault::Die { .. }),
        |fault| matches!(fault, Fault::Crash { .. }),
        |fault| matches!(fault, Fault::Jump { .. }),
        |fault| matches!(fault, Fault::Replay { .. }),
        |fault| matches!(fault, Fault::Forge { .. }),
        |fault| matches!(fault, Fault::Tamper { .. }),
        |fault| matches!(fault, Fault::Flood { .. }),
    ];
    for (index, kind) in kinds.into_iter().enumerate() {
        let worlds = scenarios.iter().filter(|scenario| scenario.has(kind)).count();
        assert!(worlds >= 5, "fault {index} is in {worlds} of 300 worlds");
    }
}

/// Two hosts, a link as [`Profile::with`] reads it, and one stream of so many bytes over it.
fn bulk(algorithm: Algorithm, link: &str, bytes: u64) -> Scenario {
    let nic = NicPlan { frames: 4000, rx_ring: 64, tx_ring: 64, mtu: 1500, completes_ns: (0, 20 * MICROSECOND) };
    let proto = Config { algorithm, ..Config::default() };
    let host = HostPlan { nic, proto, turn_ns: 5 * MICROSECOND };
    let profile = Profile::default().with(link).expect("a profile");
    let path = |from, to| PathPlan { from, to, trouble: profile.clone(), calm: profile.clone() };
    let session = SessionPlan {
        hosts: [0, 1],
        at_ns: 0,
        opens: [vec![0], vec![]],
        rude: None,
        early: [false, false],
        stays_ns: 0,
        bulk: Some(bytes),
    };
    Scenario {
        seed: 0,
        hosts: vec![host.clone(), host],
        paths: vec![path(0, 1), path(1, 0)],
        trouble_ns: MILLISECOND,
        sessions: vec![session],
        faults: vec![],
        sealed: false,
        patience_ns: 100 * SECOND,
    }
}

/// Found by seed 413: a second copy that was due, and might not leave yet, asked for a turn at once, for as long as the
/// window or the pacer held it back: a worker in a busy loop.
#[test]
fn a_copy_that_waits_for_the_window_does_not_spin() {
    for algorithm in [Algorithm::Reno, Algorithm::Cubic] {
        let outcome = run(&bulk(algorithm, "rate=100mbit,delay=10ms,loss=10%", 1_000_000), Trace::default());
        assert_eq!(outcome.violation, None, "{algorithm:?}");
    }
}

/// Found by seed 1029: a host whose clock had jumped by most of the idle timeout held its peer for dead at once.
#[test]
fn a_jump_of_the_clock_is_no_silence_of_the_peer() {
    let mut scenario = bulk(Algorithm::Bbr, "rate=10mbit,delay=30ms", 1_000_000);
    for host in [0, 1] {
        let by_ns: Nanos = 29_999 * MILLISECOND;
        scenario.faults = vec![(300 * MILLISECOND, Fault::Jump { host, by_ns })];
        scenario.trouble_ns = SECOND;
        assert_eq!(run(&scenario, Trace::default()).violation, None, "host {host}");
    }
}
