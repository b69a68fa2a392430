//! Prints what flows come to: the matrix, and one link over time. For people who tune.
//!
//! ```sh
//! FAR_RATE=auto FAR_RTT=2,200 FAR_LOSS=0,1 cargo test --release far::print::matrix -- --ignored --nocapture
//! FAR_LINK='rate=1gbit,delay=10ms,rate@5s=500mbit' cargo test --release far::print::flow -- --ignored --nocapture
//! ```

use super::*;

fn pick(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn list(name: &str, default: &str) -> Vec<f64> {
    pick(name, default).split(',').map(|text| text.parse().expect("a number")).collect()
}

fn plan(link: &str) -> Plan {
    let algorithm = match pick("FAR_RATE", "auto").as_str() {
        "auto" => Algorithm::Auto,
        "cubic" => Algorithm::Cubic,
        rate => Algorithm::Fixed(rate.parse().expect("a rate")),
    };
    let frames = list("FAR_FRAMES", "262144")[0] as usize;
    Plan { frames, seed: list("FAR_SEED", "1")[0] as u64, ..Plan::new(algorithm, link) }
}

/// 1 Gbit/s over round trips, losses (negative: in bursts of 20) and queues.
#[test]
#[ignore = "prints the matrix, which takes minutes"]
fn matrix() {
    let span = (list("FAR_SECONDS", "10")[0] * 1e9) as Nanos;
    println!("  rtt  loss%  queue | share  rise  twice%  lost%  p99 ms  max ms");
    for rtt in list("FAR_RTT", "2,20,100,200") {
        for loss in list("FAR_LOSS", "0,0.01,0.1,1,5,-1") {
            for queue in list("FAR_QUEUE", "1,0.1") {
                let trouble = if loss < 0.0 { format!("burst={}%/20", -loss) } else { format!("loss={loss}%") };
                let link = format!("rate=1gbit,delay={}ms,queue={queue}bdp,{trouble}", rtt / 2.0);
                let mut flow = Flow::new(plan(&link));
                flow.run_from_first_byte(span);
                let Seen { share, rise_rtts, twice, lost, queue_p99_ms, queue_max_ms, notices } = flow.seen(span);
                let (twice, lost) = (twice * 100.0, lost * 100.0);
                print!("{rtt:5} {loss:6} {queue:6} | {share:.4} {rise_rtts:5.1} {twice:7.3} {lost:6.2} ");
                println!("{queue_p99_ms:7.2} {queue_max_ms:7.2} {notices:?}");
            }
        }
    }
}

/// One link: its share for each half second, and the notices.
#[test]
#[ignore = "prints one flow"]
fn flow() {
    let seconds = list("FAR_SECONDS", "10")[0] as u64;
    let mut flow = Flow::new(plan(&pick("FAR_LINK", "rate=1gbit,delay=10ms")));
    flow.run_from_first_byte(seconds * SECOND);
    let half = |at: u64| flow.share(at * SECOND / 2, (at + 1) * SECOND / 2);
    println!("{}", (0..2 * seconds).map(|at| format!("{:.3} ", half(at))).collect::<String>());
    println!("{:#?}", flow.seen(seconds * SECOND));
}
