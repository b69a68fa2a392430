//! What two connected endpoints with nothing to do cost. Alone in its process, since it counts the process's time.

#[path = "api/common.rs"]
#[allow(dead_code)] // shared with tests that need more of it
mod common;

use std::thread;
use std::time::Duration;

use farwire::api::Idle;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// CPU time of the process so far.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    Duration::from_micros((usage.user_time() + usage.system_time()).num_microseconds() as u64)
}

#[test]
fn two_idle_hosts_use_less_than_two_percent_of_a_core() {
    for idle in [Idle::Adaptive, Idle::Sleep] {
        let pair = common::pair_of(farwire::api::EndpointConfig::insecure().idle(idle));
        let (mut send, _) = pair.to.open_stream().unwrap();
        common::send_written(&mut send, 1, 100_000);
        let (_, mut receive) = pair.from.accept_stream().unwrap();
        common::check_messages(&mut receive, 1, 100_000);
        thread::sleep(Duration::from_millis(500));
        let before = cpu_time();
        thread::sleep(Duration::from_secs(2));
        let used = cpu_time() - before;
        assert!(used < Duration::from_millis(40), "{idle}: {used:?} of CPU time in 2 s of nothing");
        assert_eq!((pair.to.closed(), pair.from.closed()), (None, None));
    }
}
