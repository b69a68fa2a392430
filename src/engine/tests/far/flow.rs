//! What flows come to.

use super::*;

fn fixed(mbit: u64) -> Algorithm {
    Algorithm::Fixed(Rate::from_bps(mbit * 1_000_000).expect("not 0"))
}

#[test]
fn fixed_holds_its_rate_whatever_is_lost() {
    // What is missing at 200 ms are the round trips for which the last holes wait.
    for (rtt, trouble, least) in
        [(2, "queue=0.1bdp,loss=1%", 0.99), (200, "loss=1%", 0.96), (200, "loss=5%", 0.94), (100, "burst=1%/20", 0.97)]
    {
        let link = format!("rate=200mbit,delay={}ms,{trouble}", rtt / 2);
        let mut flow = Flow::new(Plan { frames: 1 << 16, ..Plan::new(fixed(200), &link) });
        flow.run_from_first_byte(10 * SECOND);
        let seen = flow.seen(10 * SECOND);
        assert!(seen.share > least, "{link}: {seen:?}");
        assert!(seen.rise_rtts <= 2.0 && seen.twice < 0.004 && seen.queue_p99_ms < 2.0, "{link}: {seen:?}");
        assert!(seen.notices.is_empty(), "{link}: {seen:?}");
    }
}

#[test]
fn a_window_of_two_round_trips_grows_before_holes_stop_the_sender() {
    let link = "rate=200mbit,delay=100ms,loss=1%";
    // The first window is 2.2 round trips of the link; a hole in 100 takes two, one in 10,000 three.
    let mut flow = Flow::new(Plan { frames: 1 << 15, ..Plan::new(fixed(200), link) });
    flow.run_from_first_byte(6 * SECOND);
    let share = flow.share(SECOND, 6 * SECOND);
    assert!(share > 0.98, "{share:.3} once the first holes are behind");
}

#[test]
fn a_reader_that_stops_is_waited_for_and_no_notice_is_given() {
    let mut flow = Flow::new(Plan { frames: 1 << 13, ..Plan::new(fixed(200), "rate=200mbit,delay=5ms,loss=1%") });
    flow.run_from_first_byte(SECOND);
    flow.set_reading(false);
    flow.run(2 * SECOND);
    flow.set_reading(true);
    flow.run(SECOND);
    let seen = flow.seen(4 * SECOND);
    assert!(flow.share(3100 * MILLISECOND, 4 * SECOND) > 0.97, "{seen:?}");
    assert!(seen.notices.is_empty(), "{seen:?}");
}

/// All of the matrix; print it with `--ignored --nocapture`.
#[test]
#[ignore = "minutes: cargo test --release far::flow::matrix -- --ignored --nocapture"]
fn matrix() {
    let pick = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let list = |name: &str, default: &str| -> Vec<f64> {
        pick(name, default).split(',').map(|text| text.parse().expect("a number")).collect()
    };
    let seconds = list("FAR_SECONDS", "10")[0];
    println!("  rtt  loss%  queue | share  rise  twice%  lost%  p99 ms  max ms");
    for rtt in list("FAR_RTT", "2,20,100,200") {
        for loss in list("FAR_LOSS", "0,0.01,0.1,1,5,-1") {
            for queue in list("FAR_QUEUE", "1,0.1") {
                let trouble = match loss {
                    loss if loss < 0.0 => format!("burst={}%/20", -loss),
                    loss => format!("loss={loss}%"),
                };
                let link = pick("FAR_LINK", "1gbit");
                let forward = format!("rate={link},delay={}ms,queue={queue}bdp,{trouble}", rtt / 2.0);
                let algorithm = fixed(list("FAR_RATE", "1000")[0] as u64);
                let mut plan = Plan::new(algorithm, &forward);
                plan.frames = list("FAR_FRAMES", "262144")[0] as usize;
                let span = (seconds * 1e9) as Nanos;
                let mut flow = Flow::new(plan);
                flow.run_from_first_byte(span);
                let seen = flow.seen(span);
                println!(
                    "{rtt:5} {loss:6} {queue:6} | {:.4} {:5.1} {:7.3} {:6.2} {:7.2} {:7.2} {:?}",
                    seen.share,
                    seen.rise_rtts,
                    seen.twice * 100.0,
                    seen.lost * 100.0,
                    seen.queue_p99_ms,
                    seen.queue_max_ms,
                    seen.notices
                );
            }
        }
    }
}
