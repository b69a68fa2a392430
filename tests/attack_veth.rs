//! A hostile host on the same Ethernet segment, over AF_XDP in namespaces: it hears everything, reaches everybody and
//! knows everything but the key. Needs root.
//!
//! `--nocapture` shows what each attack was and what it cost.

mod lab;

#[path = "attack/eve.rs"]
mod eve;
#[path = "attack/forgeries.rs"]
mod forgeries;
#[path = "attack/segment.rs"]
mod segment;
#[path = "attack/toll.rs"]
mod toll;

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use eve::{Eve, Forgery};
use farwire::api::{CloseReason, Endpoint};
use segment::{A, B, Segment, Transfer};
use toll::Outcome;

/// The attacker's pace: with the transfer's a good part of a small machine, but not all of it.
const FRAMES_PER_S: u64 = 20_000;
/// Goodput under attack is at least this share of that without.
const LEAST_SHARE: f64 = 0.8;
/// How often an attack is tried where the machine had something else to do.
const TRIES: usize = 4;
/// How long an attack lasts, and how long goodput is looked at without one.
const SPAN: Duration = Duration::from_millis(400);
/// Longest that a restarted peer goes unnoticed; a loaded machine is given some of it.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);

/// Where a test can't run without root, this ends it: loudly, unless that is known.
macro_rules! needs_root {
    () => {
        if !lab::privileged() {
            return;
        }
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    };
}

struct Attack {
    name: &'static str,
    make: fn(&[Vec<u8>]) -> Forgery,
    /// Frames a second; `None` for as many as one thread can send, which takes what CPU it gets.
    rate: Option<u64>,
    span: Duration,
    /// Under which names its frames count.
    counts: &'static [&'static str],
}

const fn paced(name: &'static str, make: fn(&[Vec<u8>]) -> Forgery, counts: &'static [&'static str]) -> Attack {
    Attack { name, make, rate: Some(FRAMES_PER_S), span: SPAN, counts }
}

const fn at_line_rate(name: &'static str, make: fn(&[Vec<u8>]) -> Forgery, counts: &'static [&'static str]) -> Attack {
    Attack { name, make, rate: None, span: Duration::from_secs(2), counts }
}

const ATTACKS: &[Attack] = &[
    paced("sealed without the key", |_| forgeries::sealed_guesses(), &["drop_unauthentic"]),
    paced("plain packets", |_| forgeries::plain_packets(), &["drop_unsealed"]),
    paced("resets", |_| forgeries::resets(), &["drop_unasked"]),
    paced("unasked answers", |_| forgeries::answers(), &["drop_unsealed", "drop_unasked", "drop_unauthentic"]),
    paced("replays at once", |_| forgeries::echoes(), &["drop_replayed"]),
    paced(
        "replays of all before",
        |tape| forgeries::replay(tape.to_vec()),
        &["drop_replayed", "drop_unknown_connection"],
    ),
    paced("flipped bits", |_| forgeries::flips(), &["drop_unauthentic"]),
    paced("spliced packets", |_| forgeries::splices(), &["drop_unauthentic"]),
    paced("cut or lengthened", |_| forgeries::resizes(), &["drop_unauthentic", "drop_truncated"]),
    paced("opens, 10^6 addresses", |_| forgeries::opens(), &["drop_unauthentic", "drop_unsealed"]),
    at_line_rate("opens at line rate", |_| forgeries::opens(), &["drop_unauthentic", "drop_unsealed"]),
    at_line_rate("garbage at line rate", |_| forgeries::garbage(), &["drop_malformed"]),
];

/// One test at a time: they measure memory, CPU and goodput.
static ALONE: Mutex<()> = Mutex::new(());

struct Scene {
    segment: Segment,
    eve: Eve,
    a: Endpoint,
    b: Endpoint,
}

impl Scene {
    fn new() -> Scene {
        let segment = Segment::new();
        let eve = Eve::listen(&segment);
        let (a, b) = (segment.endpoint("a"), segment.endpoint("b"));
        assert_eq!((a.mac(), b.mac()), (A, B));
        Scene { segment, eve, a, b }
    }

    fn attack(&self, transfer: &Transfer, attack: &Attack, tape: &[Vec<u8>]) -> Outcome {
        let quiet_bps = transfer.goodput_bps(SPAN);
        let before = toll::Meters::read(&[&self.a, &self.b]);
        let forgery = (attack.make)(tape);
        let (attacked_bps, sent) =
            self.eve.during(&self.segment, forgery, attack.rate, || transfer.goodput_bps(attack.span));
        let meters = toll::Meters::read(&[&self.a, &self.b]).since(&before);
        transfer.assert_open(attack.name);
        let outcome = Outcome { sent, quiet_bps, attacked_bps, meters };
        println!("{:24}{outcome}", attack.name);
        outcome
    }

    /// Nobody has got in, and what was half open is gone after a while.
    fn assert_nobody_else(&self, connections: usize) {
        assert!(self.b.accept_timeout(Duration::ZERO).is_err() && self.a.accept_timeout(Duration::ZERO).is_err());
        let began = Instant::now();
        while self.b.snapshot().unwrap().connections > connections {
            assert!(began.elapsed() < Duration::from_secs(10), "connections stay that nobody has opened");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_transfer_goes_on_under_every_attack() {
    needs_root!();
    let scene = Scene::new();
    // A connection of before, recorded from its first packet to its last.
    let transfer = Transfer::start(&scene.a, &scene.b);
    transfer.goodput_bps(SPAN / 2);
    transfer.finish();
    let transfer = Transfer::start(&scene.a, &scene.b);
    transfer.goodput_bps(SPAN);
    let tape = scene.eve.take_tape();
    assert!(tape.len() > 100, "only {} frames were heard", tape.len());
    let memory_kb = toll::resident_kb();
    println!("{:24}{}", "attack", toll::HEADING);
    for attack in ATTACKS {
        let mut outcomes = vec![scene.attack(&transfer, attack, &tape)];
        let good = |outcome: &Outcome| attack.rate.is_none() || outcome.share() >= LEAST_SHARE;
        while !good(&outcomes[outcomes.len() - 1]) && outcomes.len() < TRIES {
            outcomes.push(scene.attack(&transfer, attack, &tape));
        }
        let last = &outcomes[outcomes.len() - 1];
        assert!(last.sent.frames > 100, "{}: only {} frames were sent", attack.name, last.sent.frames);
        for name in attack.counts {
            assert!(last.meters.risen(name) > 0, "{}: {name} has not risen", attack.name);
        }
        // Where others use the machine to the full, it is not the attack that takes the goodput.
        let excused = outcomes.iter().any(Outcome::had_no_cpu_left);
        assert!(good(last) || excused, "{}: {:.2} of the goodput without it", attack.name, last.share());
    }
    let grown = toll::resident_kb().saturating_sub(memory_kb);
    assert!(grown < 32_000, "{grown} kB more than before the attacks");
    scene.assert_nobody_else(1);
    let bytes = transfer.finish();
    println!("{} MB arrived as they were sent; {grown} kB more in memory", bytes / 1_000_000);
}

#[test]
fn who_has_the_key_gets_in_during_a_flood() {
    needs_root!();
    let scene = Scene::new();
    let (took, sent) = scene.eve.during(&scene.segment, forgeries::opens(), Some(FRAMES_PER_S), || {
        let began = Instant::now();
        for _ in 0..10 {
            let transfer = Transfer::start(&scene.a, &scene.b);
            transfer.goodput_bps(SPAN / 20);
            transfer.finish();
        }
        began.elapsed()
    });
    println!("10 connections in {took:?} under {:.0} opens a second", sent.frames as f64 / sent.seconds);
    scene.assert_nobody_else(0);
}

#[test]
fn a_restart_is_noticed_and_what_was_recorded_before_it_is_worth_nothing() {
    needs_root!();
    let Scene { segment, eve, a, b } = Scene::new();
    let to = a.connect(B).unwrap();
    let from = b.accept_timeout(Duration::from_secs(10)).unwrap();
    let (mut send, _) = to.open_stream().unwrap();
    send.write_all(b"before").unwrap();
    let (_, mut receive) = from.accept_stream_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(&*receive.recv().unwrap().expect("bytes"), b"before");
    let transfer = Transfer::start(&a, &b);
    transfer.goodput_bps(SPAN);
    transfer.finish();
    let tape = eve.take_tape();
    // b is cut off and gone, without a word that anybody hears.
    segment.cut_off("b", true);
    drop((receive, from, b));
    segment.cut_off("b", false);
    let b = segment.endpoint("b");
    let scene = Scene { segment, eve, a, b };
    let (noticed, sent) = scene.eve.during(&scene.segment, forgeries::replay(tape), Some(FRAMES_PER_S / 4), || {
        let began = Instant::now();
        send.write_all(b"are you there?").unwrap();
        let why = to.wait_closed(Duration::from_secs(20)).expect("noticed");
        assert_eq!(why, CloseReason::Reset);
        let noticed = began.elapsed();
        let transfer = Transfer::start(&scene.a, &scene.b);
        assert!(transfer.goodput_bps(SPAN) > 0.0);
        transfer.finish();
        noticed
    });
    println!("the restart was noticed after {noticed:?}; {} frames of before were sent again", sent.frames);
    assert!(noticed < NOTICED_WITHIN, "{noticed:?}");
    scene.assert_nobody_else(0);
}

#[test]
fn nothing_is_answered_with_more_than_was_sent() {
    needs_root!();
    let scene = Scene::new();
    let to = scene.a.connect(B).unwrap();
    let from = scene.b.accept_timeout(Duration::from_secs(10)).unwrap();
    to.ping(segment::one_ping()).unwrap();
    scene.b.announce(&"n".repeat(32), &"s".repeat(32)).unwrap();
    let ids = scene.eve.heard_both_ways().ways.map(|way| way.header.expect("both were heard").conn);
    for (name, frame) in forgeries::kinds(ids) {
        let before = toll::Meters::read(&[&scene.b]);
        let span = Duration::from_millis(100);
        let ((), sent) = scene.eve.during(&scene.segment, forgeries::replay(vec![frame]), Some(FRAMES_PER_S), || {
            std::thread::sleep(span);
        });
        std::thread::sleep(span / 2);
        let meters = toll::Meters::read(&[&scene.b]).since(&before);
        let (heard, answered) = (meters.risen("rx_bytes"), meters.risen("tx_bytes"));
        println!("{name:36}{heard:8} bytes in {answered:8} out  {:.2}", answered as f64 / heard as f64);
        assert!(sent.frames > 50 && heard > 0, "{name}: {} frames were sent", sent.frames);
        assert!(answered <= sent.bytes && answered <= heard, "{name}: {answered} bytes for {heard}");
    }
    assert!(to.closed().is_none() && from.closed().is_none());
}
