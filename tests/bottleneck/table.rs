//! The matrix of links, all of it printed on demand.

use farwire::proto::recovery::Algorithm;

use super::world::{World, seconds};

const LOSSES: [(&str, &str); 6] = [
    ("0", ""),
    ("0.01%", ",loss=0.01%"),
    ("0.1%", ",loss=0.1%"),
    ("1%", ",loss=1%"),
    ("5%", ",loss=5%"),
    ("1% bursts", ",burst=1%/20"),
];

fn named(name: &str) -> Algorithm {
    match name {
        "bbr" => Algorithm::Bbr,
        "cubic" => Algorithm::Cubic,
        "reno" => Algorithm::Reno,
        rate => Algorithm::Fixed(rate.parse().expect("bbr, cubic, reno, or a rate")),
    }
}

/// The controller of `BOTTLENECK_CC`.
fn algorithm() -> Algorithm {
    named(&std::env::var("BOTTLENECK_CC").unwrap_or_else(|_| "bbr".into()))
}

/// Ten seconds of one flow over a gigabit.
fn row(algorithm: Algorithm, rtt_ms: u64, queue_bdp: &str, loss: (&str, &str)) {
    let half = rtt_ms as f64 / 2.0;
    let mut world = World::new(algorithm, &format!("rate=1gbit,delay={half}ms,queue={queue_bdp}bdp{}", loss.1));
    world.run(seconds(10.0));
    let share = world.share(0, 0, seconds(10.0));
    let late = world.share(0, seconds(5.0), seconds(10.0));
    let (own, queue, _) = world.losses();
    let stats = world.flows[0].stats();
    println!(
        "{rtt_ms:>4} ms {queue_bdp:>4} bdp {:>10}: {share:.3} of the limit ({late:.3} late), 90% in {:>5.1} RTT, \
         twice {:.4} (own {own:.4}, queue {queue:.4}), wait p50 {:.2} p99 {:.2} ms, spurious {}",
        loss.0,
        world.rounds_to_90(0),
        world.flows[0].twice(),
        world.wait_ms(0.5),
        world.wait_ms(0.99),
        stats.spurious_losses,
    );
}

#[test]
#[ignore = "a table for people: minutes"]
fn table() {
    let algorithm = algorithm();
    println!("{algorithm:?}, 10 s at 1 Gbit/s:");
    for rtt_ms in [2, 20, 100, 200] {
        for queue in ["1", "0.1"] {
            for loss in LOSSES {
                row(algorithm, rtt_ms, queue, loss);
            }
        }
    }
}

/// One flow over the link of `BOTTLENECK_LINK`, a line for each step of `BOTTLENECK_STEP_MS`.
#[test]
#[ignore = "a trace for people"]
fn trace() {
    let asked = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let link = asked("BOTTLENECK_LINK", "rate=1gbit,delay=10ms,queue=0.1bdp");
    let step_ms: f64 = asked("BOTTLENECK_STEP_MS", "100").parse().expect("milliseconds");
    let span: f64 = asked("BOTTLENECK_SECONDS", "10").parse().expect("seconds");
    let mut world = World::new(algorithm(), &link);
    let span_ms = |name: &str| asked(name, "0").parse::<u64>().expect("milliseconds") * 1_000_000;
    world.flows[0].ack_lumps_ns = span_ms("BOTTLENECK_ACK_LUMPS_MS");
    world.stalls =
        Some((span_ms("BOTTLENECK_STALL_EVERY_MS"), span_ms("BOTTLENECK_STALL_MS"))).filter(|stall| stall.0 > 0);
    while world.now < seconds(span) {
        let from = world.now;
        let before = world.losses();
        world.forget_waits();
        world.run(seconds(step_ms / 1e3));
        let stats = world.flows[0].stats();
        let after = world.losses();
        println!(
            "{:>7.3} s {:.3} {:>9} bw {:>7.1} pacing {:>7.1} Mbit/s, cwnd {:>6} in flight {:>6}, srtt {:>7.2} \
             min {:>7.2} ms, wait p50 {:.2} ms, dropped {}",
            world.now as f64 / 1e9,
            world.share(0, from, world.now),
            stats.state,
            stats.bandwidth_bps.unwrap_or(0) as f64 / 1e6,
            stats.pacing_bps.unwrap_or(0) as f64 / 1e6,
            stats.cwnd_bytes / 1538,
            stats.packets_in_flight,
            stats.srtt_ns as f64 / 1e6,
            stats.min_rtt_ns as f64 / 1e6,
            world.wait_ms(0.5),
            after.2 - before.2,
        );
    }
}

/// Who gets what of a shared link, each 10 s of a minute; the second flow comes two seconds later.
#[test]
#[ignore = "a table for people"]
fn sharing() {
    let pairs = [("bbr", "bbr"), ("bbr", "cubic"), ("cubic", "bbr"), ("bbr", "reno"), ("cubic", "cubic")];
    for (first, second) in pairs {
        for rtt_ms in [4, 20, 80] {
            for queue in ["0.1", "1", "3"] {
                let link = format!("rate=200mbit,delay={}ms,queue={queue}bdp", rtt_ms / 2);
                let mut world = World::new(named(first), &link);
                world.add(named(second), seconds(2.0));
                print!("{first:>5} {second:>5} {rtt_ms:>3} ms {queue:>3} bdp:");
                for _ in 0..6 {
                    let from = world.now;
                    world.run(seconds(10.0));
                    print!("  {:.2} {:.2}", world.share(0, from, world.now), world.share(1, from, world.now));
                }
                println!();
            }
        }
    }
}
