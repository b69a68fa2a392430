//! A line about each interval, while the run goes on.

use farwire::base::size::show;
use farwire::base::time::{MILLISECOND, SECOND};
use farwire::base::{Nanos, Rate};

use crate::direction::Direction;
use crate::options::DIRECTIONS;

/// When the next line is due, and what had been counted at the last one.
pub struct Interval {
    every_ns: Nanos,
    next_ns: Nanos,
    last_ns: Nanos,
    last: [Counted; 2],
}

#[derive(Clone, Copy, Default)]
struct Counted {
    bytes_in: u64,
    bytes_out: u64,
    dropped: u64,
}

impl Interval {
    /// A line every so often.
    pub fn new(every_ns: Nanos) -> Interval {
        Interval { every_ns, next_ns: every_ns, last_ns: 0, last: [Counted::default(); 2] }
    }

    /// When the next line is due.
    pub fn next_ns(&self) -> Nanos {
        self.next_ns
    }

    /// Prints the line if it is due.
    pub fn tell(&mut self, now: Nanos, directions: &mut [Direction; 2]) {
        if now < self.next_ns {
            return;
        }
        let span = now - self.last_ns;
        let mut line = format!("{:8.2} s", now as f64 / SECOND as f64);
        for (at, direction) in directions.iter_mut().enumerate() {
            let counted = Counted::of(direction);
            let last = std::mem::replace(&mut self.last[at], counted);
            line += &format!(
                "   {}: in {}, out {}, queue {}, under way {}, dropped {}",
                DIRECTIONS[at],
                rate(counted.bytes_in - last.bytes_in, span),
                rate(counted.bytes_out - last.bytes_out, span),
                show(direction.queue_bytes(now)),
                direction.in_flight(),
                counted.dropped - last.dropped,
            );
        }
        eprintln!("{line}");
        self.last_ns = now;
        self.next_ns = now - now % self.every_ns + self.every_ns;
    }
}

impl Counted {
    fn of(direction: &Direction) -> Counted {
        let counters = direction.counters();
        let dropped = counters.offered.frames - counters.passed.frames;
        Counted { bytes_in: counters.offered.bytes, bytes_out: direction.seen().sent.bytes, dropped }
    }
}

fn rate(bytes: u64, span: Nanos) -> String {
    let bps = (bytes as f64 * 8.0 * SECOND as f64 / span.max(MILLISECOND) as f64) as u64;
    Rate::from_bps(bps).map_or("0 bit/s".into(), |rate| rate.to_string())
}
