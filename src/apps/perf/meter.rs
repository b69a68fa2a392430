//! What has arrived so far, counted by all receiving threads of one side.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::{Bins, Direction, Flow, Interval, Plan};

/// The count, and when it began and last changed.
pub struct Meter {
    start: Instant,
    bytes: AtomicU64,
    corrupt: AtomicU64,
    /// Nanoseconds from `start` to the first and to the last bytes.
    first_ns: AtomicU64,
    last_ns: AtomicU64,
    bin_ms: u64,
    bins: Box<[AtomicU64]>,
}

impl Meter {
    pub fn new(plan: Plan) -> Meter {
        Meter {
            start: Instant::now(),
            bytes: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            first_ns: AtomicU64::new(u64::MAX),
            last_ns: AtomicU64::new(0),
            bin_ms: plan.bin_ms,
            bins: (0..plan.bins()).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Bytes have arrived, some of them perhaps wrong.
    pub fn on_bytes(&self, bytes: u64, corrupt: u64) {
        let now_ns = self.start.elapsed().as_nanos() as u64;
        let first_ns = self.first_ns.fetch_min(now_ns, Ordering::Relaxed).min(now_ns);
        self.last_ns.fetch_max(now_ns, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if corrupt > 0 {
            self.corrupt.fetch_add(corrupt, Ordering::Relaxed);
        }
        // Without bins there is no first one either.
        if let Some(bin) = ((now_ns - first_ns) / 1_000_000).checked_div(self.bin_ms)
            && let Some(bin) = self.bins.get(bin as usize)
        {
            bin.fetch_add(bytes, Ordering::Relaxed);
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

    /// The same over time, if that was asked for.
    pub fn bins(&self) -> Option<Bins> {
        let bytes = || self.bins.iter().map(|bin| bin.load(Ordering::Relaxed)).collect();
        (self.bin_ms > 0).then(|| Bins { bin_ms: self.bin_ms, bytes: bytes() })
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

    fn plan(bin_ms: u64) -> Plan {
        Plan { direction: Direction::Up, streams: 1, duration_ms: 35, interval_ms: 10, verify: false, bin_ms }
    }

    #[test]
    fn bins_begin_with_the_first_byte_and_end_with_the_plan() {
        let meter = Meter::new(plan(10));
        std::thread::sleep(Duration::from_millis(25));
        meter.on_bytes(7, 0);
        std::thread::sleep(Duration::from_millis(12));
        meter.on_bytes(5, 0);
        std::thread::sleep(Duration::from_millis(40));
        meter.on_bytes(3, 0);
        let Bins { bin_ms, bytes } = meter.bins().unwrap();
        assert_eq!((bin_ms, bytes.len(), bytes[0]), (10, 4, 7));
        assert_eq!((bytes.iter().sum::<u64>(), meter.flow().bytes), (12, 15), "the last came too late for a bin");
    }

    #[test]
    fn the_flow_is_what_arrived_from_first_to_last() {
        let meter = Meter::new(plan(0));
        assert_eq!((meter.flow(), meter.bins()), (Flow::default(), None));
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
