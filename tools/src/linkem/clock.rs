//! The emulator's clock, and how it waits.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use farwire::base::Nanos;
use farwire::base::time::MILLISECOND;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// Longest sleep. A signal that comes between a look at its flag and the sleep is noticed this much later.
const LONGEST_SLEEP: Nanos = 50 * MILLISECOND;

/// Nanoseconds since the start.
pub struct Clock {
    start: Instant,
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
        Clock { start: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
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
