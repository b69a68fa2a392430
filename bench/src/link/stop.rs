//! Ctrl-C: the run under way is broken off, everything that was started is ended, and the report is still written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How often a waiting thread looks: what Ctrl-C may seem to take, and what a run may seem to take longer than it did.
const LOOK: Duration = Duration::from_millis(20);

/// Signals so close together are one wish: `timeout` sends its own to the program and to the program's group.
const ONE_WISH: Duration = Duration::from_secs(1);

/// Whether the user wants an end.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on. A second one, a while later, ends the program at once.
    pub fn listen() -> anyhow::Result<Stop> {
        let stop = Stop::default();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let requested = Arc::clone(&stop.0);
        std::thread::spawn(move || {
            let mut first = None;
            for _ in signals.forever() {
                if first.get_or_insert_with(Instant::now).elapsed() > ONE_WISH {
                    give_up();
                }
                requested.store(true, Ordering::Relaxed);
            }
        });
        Ok(stop)
    }

    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until `over`, but no longer than `patience`; whether it is. An error once the user wants an end.
    pub fn wait(&self, patience: Duration, mut over: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
        let start = Instant::now();
        while !over()? {
            if self.requested() {
                bail!("stopped");
            }
            if start.elapsed() > patience {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
        Ok(true)
    }
}

#[allow(clippy::disallowed_methods, reason = "the user insists, and cleaning up hangs")]
fn give_up() -> ! {
    std::process::exit(130);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_twice_at_once_is_one_wish() {
        let stop = Stop::listen().unwrap();
        for _ in 0..2 {
            nix::sys::signal::raise(nix::sys::signal::SIGHUP).unwrap();
            let asked = Instant::now();
            while !stop.requested() && asked.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(LOOK);
            }
            assert!(stop.requested());
            // The second one has to be handled as well: were it the end, this test would not see its own.
            std::thread::sleep(5 * LOOK);
        }
    }

    #[test]
    fn waiting_ends_by_itself_by_patience_or_by_the_user() {
        let stop = Stop::default();
        assert!(stop.wait(Duration::ZERO, || Ok(true)).unwrap());
        assert!(!stop.wait(Duration::from_millis(1), || Ok(false)).unwrap());
        stop.0.store(true, Ordering::Relaxed);
        assert!(stop.wait(Duration::from_secs(60), || Ok(false)).is_err());
    }
}
