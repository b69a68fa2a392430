//! The real clock: nanoseconds since the process first asked, the same for workers and application threads.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::Nanos;

/// Now. Monotonic, and never 0.
pub fn now() -> Nanos {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    // 584 years fit.
    start.elapsed().as_nanos() as Nanos + 1
}

/// Nanoseconds since 1970, for what people read beside other clocks (captures). May jump.
pub fn wall() -> Nanos {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as Nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_rises_and_agrees_between_threads() {
        let before = now();
        let there = std::thread::spawn(now).join().unwrap();
        assert!(0 < before && before <= there && there <= now());
    }
}
