//! Round trips to a peer's engine and back, in short runs, so that an impatient user gets what there is so far.

use std::thread;
use std::time::{Duration, Instant};

use crate::api::{Connection, ConnectionError, PingRun};
use crate::base::time::SECOND;
use crate::obs::hist::Histogram;

/// How long one run lasts at most: how long an interrupt may have to wait.
const RUN: Duration = Duration::from_millis(500);
/// How late an interrupt is seen between two runs: not felt by a person, and next to no work.
const STOP_SEEN_WITHIN: Duration = Duration::from_millis(50);
/// Pings in a run without pauses. At 4 µs each, 80 ms.
const RUN_WITHOUT_PAUSES: u64 = 20_000;

/// How to ping.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PingPlan {
    /// How many.
    pub count: u64,
    /// Bytes of Ethernet payload of each.
    pub size: usize,
    /// From one to the next; zero: as soon as the echo is here.
    pub interval: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct PingResult {
    /// Pings sent.
    pub sent: u64,
    /// Echoes received in time.
    pub received: u64,
    /// Round trips in nanoseconds.
    pub rtt: Histogram,
}

/// Pings until `plan` is fulfilled, `stopped` says so, or the connection ends.
///
/// # Errors
/// If the connection ended before anything was measured.
pub fn run(connection: &Connection, plan: PingPlan, stopped: impl Fn() -> bool) -> Result<PingResult, ConnectionError> {
    let mut result = PingResult::default();
    let per_run = match plan.interval.as_nanos() {
        0 => RUN_WITHOUT_PAUSES,
        interval => (RUN.as_nanos() / interval).max(1) as u64,
    };
    let (mut began, mut pause) = (Instant::now(), Duration::ZERO);
    while result.sent < plan.count && waited(began, pause, &stopped) {
        let count = per_run.min(plan.count - result.sent);
        (began, pause) = (Instant::now(), plan.interval.saturating_mul(count as u32));
        let interval_ns = plan.interval.as_nanos() as u64;
        let run = PingRun { count, size: plan.size, interval_ns, timeout_ns: SECOND };
        match connection.ping(run) {
            Ok(report) => {
                result.sent += report.sent;
                result.received += report.received;
                result.rtt.merge(&report.rtt);
            }
            Err(_) if result.received > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(result)
}

/// Waits until `pause` after `began`: the next run's time. Whether it came before the user had enough.
fn waited(began: Instant, pause: Duration, stopped: impl Fn() -> bool) -> bool {
    while !stopped() {
        match pause.saturating_sub(began.elapsed()) {
            Duration::ZERO => return true,
            left => thread::sleep(left.min(STOP_SEEN_WITHIN)),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Endpoint, EndpointConfig};

    #[test]
    fn the_pause_is_kept_from_run_to_run_and_an_interrupt_ends_it() {
        let (to, from) = Endpoint::memory_pair(EndpointConfig::insecure().listening()).unwrap();
        let connection = to.connect(from.mac()).unwrap();
        let plan = PingPlan { count: 3, size: 60, interval: Duration::from_millis(300) };
        let began = Instant::now();
        let result = run(&connection, plan, || false).unwrap();
        assert_eq!((result.sent, result.received), (3, 3));
        assert!(began.elapsed() >= 2 * plan.interval, "{:?}", began.elapsed());
        let hurried = PingPlan { interval: Duration::from_secs(1000), ..plan };
        let began = Instant::now();
        assert_eq!(run(&connection, hurried, || began.elapsed() > plan.interval).unwrap().sent, 1);
    }
}
