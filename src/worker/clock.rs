//! The real clock: nanoseconds since the process first asked, the same for workers and application threads.

use std::sync::OnceLock;
use std::time::Instant;

use crate::base::Nanos;

/// Now. Monotonic, and never 0.
pub fn now() -> Nanos {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    // 584 years fit.
    start.elapsed().as_nanos() as Nanos + 1
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
