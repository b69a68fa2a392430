//! What has arrived so far, counted by all receiving threads of one side.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::{Direction, Flow, Interval};

/// The count, and when it began and last changed.
pub struct Meter {
    start: Instant,
    bytes: AtomicU64,
    corrupt: AtomicU64,
    /// Nanoseconds from `start` to the first and to the last bytes.
    first_ns: AtomicU64,
    last_ns: AtomicU64,
}

impl Meter {
    pub fn new() -> Meter {
        Meter {
            start: Instant::now(),
            bytes: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            first_ns: AtomicU64::new(u64::MAX),
            last_ns: AtomicU64::new(0),
        }
    }

    /// Bytes have arrived, some of them perhaps wrong.
    pub fn on_bytes(&self, bytes: u64, corrupt: u64) {
        let now_ns = self.start.elapsed().as_nanos() as u64;
        self.first_ns.fetch_min(now_ns, Ordering::Relaxed);
        self.last_ns.fetch_max(now_ns, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if corrupt > 0 {
            self.corrupt.fetch_add(corrupt, Ordering::Relaxed);
        }
    }

    /// What it came to.
    pub fn flow(&self) -> Flow {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let first_ns = self.first_ns.load(Ordering::Relaxed);
        let seconds = self.last_ns.load(Ordering::Relaxed).saturating_sub(first_ns) as f64 / 1e9;
        let goodput_bps = if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 };
        Flow { bytes, seconds, goodput_bps, corrupt_bytes: self.corrupt.load(Ordering::Relaxed) }
    }
}

/// Cuts a meter's count into intervals.
pub struct Intervals {
    direction: Direction,
    length: Duration,
    next: Instant,
    start_s: f64,
    bytes: u64,
}

impl Intervals {
    pub fn new(meter: &Meter, direction: Direction, length: Duration) -> Intervals {
        Intervals { direction, length, next: meter.start + length, start_s: 0.0, bytes: 0 }
    }

    /// When the present one ends.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// The interval that ends now.
    pub fn cut(&mut self, meter: &Meter) -> Interval {
        let (bytes, end_s) = (meter.bytes.load(Ordering::Relaxed), meter.start.elapsed().as_secs_f64());
        let (moved, seconds) = (bytes - self.bytes, (end_s - self.start_s).max(1e-9));
        let interval = Interval {
            direction: self.direction,
            start_s: self.start_s,
            end_s,
            bytes: moved,
            goodput_bps: moved as f64 * 8.0 / seconds,
        };
        (self.start_s, self.bytes) = (end_s, bytes);
        self.next += self.length;
        interval
    }
}

/// CPU seconds of this process so far, user and system.
pub fn cpu_seconds() -> f64 {
    // RUSAGE_SELF of one's own process can't fail.
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_is_what_arrived_from_first_to_last() {
        let meter = Meter::new();
        assert_eq!(meter.flow(), Flow::default());
        let mut intervals = Intervals::new(&meter, Direction::Up, Duration::from_millis(5));
        meter.on_bytes(1000, 0);
        std::thread::sleep(Duration::from_millis(10));
        meter.on_bytes(500, 3);
        let flow = meter.flow();
        assert_eq!((flow.bytes, flow.corrupt_bytes), (1500, 3));
        assert!(flow.seconds >= 0.01, "{flow:?}");
        assert!((flow.goodput_bps * flow.seconds - 12_000.0).abs() < 1.0, "{flow:?}");
        assert_eq!(intervals.cut(&meter).bytes, 1500);
        assert_eq!(intervals.cut(&meter).bytes, 0);
    }
}
