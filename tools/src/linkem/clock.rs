//! The emulator's clock, what CPU time has passed beside it, and how it waits.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use farwire::base::Nanos;
use farwire::base::time::MILLISECOND;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeSpec, TimeVal};

/// Longest sleep. A signal that comes between a look at its flag and the sleep is noticed this much later.
const LONGEST_SLEEP: Nanos = 50 * MILLISECOND;

/// Nanoseconds since the start.
pub struct Clock {
    start: Instant,
    /// CPU time of this process until then: to lock the memory may take longer than a short run.
    start_cpu: Duration,
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// By the clock.
    pub ns: Nanos,
    /// User and system time of this process. What the kernel does for others in our system calls is among it.
    pub cpu: Duration,
}

/// What ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A frame has arrived.
    Arrival,
    /// The time is over, or a signal came.
    Time,
}

impl Clock {
    /// A clock that is at 0 now.
    pub fn start() -> Clock {
        Clock { start: Instant::now(), start_cpu: cpu_time() }
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
    }

    /// What has been taken since the start.
    pub fn taken(&self) -> Taken {
        Taken { ns: self.now(), cpu: cpu_time().saturating_sub(self.start_cpu) }
    }

    /// Sleeps until `until`, whatever arrives.
    pub fn nap(&self, until: Nanos) {
        std::thread::sleep(Duration::from_nanos(until.saturating_sub(self.now())));
    }

    /// Sleeps until a frame arrives on one of the sockets, or it is `until`.
    pub fn wait(&self, sockets: [BorrowedFd<'_>; 2], until: Nanos) -> Woken {
        let span = until.saturating_sub(self.now()).min(LONGEST_SLEEP);
        let mut sockets = sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN));
        match ppoll(&mut sockets, Some(TimeSpec::from_duration(Duration::from_nanos(span))), None) {
            Ok(ready) if ready > 0 => Woken::Arrival,
            Ok(_) | Err(Errno::EINTR) => Woken::Time,
            // Nothing to wait for, then: the next turn finds out what is wrong with the interface.
            Err(_) => {
                self.nap(self.now() + MILLISECOND);
                Woken::Time
            }
        }
    }
}

impl Taken {
    /// Seconds by the clock.
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.ns.max(1)).as_secs_f64()
    }

    /// How much of one CPU it took on the average: 1 is all of it.
    pub fn cpu_share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.seconds()
    }
}

fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let span = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    span(usage.user_time()) + span(usage.system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_the_start_is_not_the_runs() {
        // Much more than the tests beside this one can take until the clock is read.
        while cpu_time() < Duration::from_millis(500) {
            std::hint::black_box(0);
        }
        let taken = Clock::start().taken();
        assert!(taken.cpu < Duration::from_millis(250), "{taken:?}");
        assert_eq!(Taken { ns: 2_000_000_000, cpu: Duration::from_millis(500) }.cpu_share(), 0.25);
    }
}
