//! Ctrl-C: the run under way is broken off, everything that was started is ended, and the report is still written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a waiting thread looks: what Ctrl-C may seem to take, and what a run may seem to take longer than it did.
const LOOK: Duration = Duration::from_millis(20);

/// Whether the user wants an end.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on. A second one ends the program at once.
    pub fn listen() -> anyhow::Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_by_itself_by_patience_or_by_the_user() {
        let stop = Stop::default();
        assert!(stop.wait(Duration::ZERO, || Ok(true)).unwrap());
        assert!(!stop.wait(Duration::from_millis(1), || Ok(false)).unwrap());
        stop.0.store(true, Ordering::Relaxed);
        assert!(stop.wait(Duration::from_secs(60), || Ok(false)).is_err());
    }
}
