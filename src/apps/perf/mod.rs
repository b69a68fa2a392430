//! How fast the link is, memory to memory: N streams, either way or both, counted where the bytes arrive.
//!
//! Decides: what a measurement is and what both sides tell each other. Does not: print.
//! Called by: `cli`. Invariant: goodput is what the receiving application has got, over the time from its first byte
//! to its last.

pub mod client;
mod meter;
pub mod pattern;
mod pump;
pub mod server;
pub mod talk;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::{ConnectionError, StreamError};
use crate::obs::hist::{Histogram, Percentiles};

/// Most streams each way. More measure the scheduler of threads, not the link.
pub const MAX_STREAMS: u16 = 128;
/// Most bins of one flow: their list must fit a message between the two sides.
pub const MAX_BINS: u64 = 4096;
/// Longest measurement.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Which way the bytes go, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
    /// Both at once.
    Both,
}

impl Direction {
    fn has_up(self) -> bool {
        self != Direction::Down
    }

    fn has_down(self) -> bool {
        self != Direction::Up
    }
}

/// What is to be measured.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which way.
    pub direction: Direction,
    /// Streams each way.
    pub streams: u16,
    /// How long each sender sends, in milliseconds.
    pub duration_ms: u64,
    /// From one interval line to the next, in milliseconds.
    pub interval_ms: u64,
    /// Fill every byte with a pattern and check every byte that arrives.
    pub verify: bool,
    /// Width of the bins in which the receiver counts from its first byte on, in milliseconds; 0 for no bins.
    #[serde(default)]
    pub bin_ms: u64,
}

impl Plan {
    /// Whether it can be carried out.
    ///
    /// # Errors
    /// A sentence, if not.
    pub fn check(&self) -> Result<(), String> {
        if self.streams == 0 || self.streams > MAX_STREAMS {
            return Err(format!("{} streams: 1 to {MAX_STREAMS} can be measured", self.streams));
        }
        if self.duration_ms == 0 || self.duration_ms > MAX_DURATION.as_millis() as u64 {
            return Err(format!("a measurement of {} ms: 1 ms to 24 h can be measured", self.duration_ms));
        }
        if self.interval_ms < 10 {
            return Err(format!("intervals of {} ms: 10 ms is the least", self.interval_ms));
        }
        if self.bins() > MAX_BINS {
            let (bins, width) = (self.bins(), self.bin_ms);
            return Err(format!("{bins} bins of {width} ms: {MAX_BINS} is the most; take wider ones"));
        }
        Ok(())
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// How many bins cover the time for which each sender sends.
    fn bins(&self) -> u64 {
        if self.bin_ms == 0 { 0 } else { self.duration_ms.div_ceil(self.bin_ms) }
    }
}

/// One interval of one direction, as its receiver counted it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Interval {
    /// Up or down.
    pub direction: Direction,
    /// Its start, from the receiver's start on, in seconds.
    pub start_s: f64,
    /// Its end.
    pub end_s: f64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// The same as a rate.
    pub goodput_bps: f64,
}

/// What one direction came to, as its receiver counted it.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Bytes that arrived.
    pub bytes: u64,
    /// From the first byte to the last, in seconds.
    pub seconds: f64,
    /// The one over the other.
    pub goodput_bps: f64,
    /// Bytes that were not what had been sent (only with `verify`).
    pub corrupt_bytes: u64,
}

/// Bytes that the receiving application got, over time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bins {
    /// Width of each, in milliseconds. The first begins with the first byte.
    pub bin_ms: u64,
    /// Bytes in each, for as long as the sender was to send; what came later is in none.
    pub bytes: Vec<u64>,
}

/// What one side has to tell about itself.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Side {
    /// What it received.
    pub received: Flow,
    /// The same over time, if the plan asks for it.
    #[serde(default)]
    pub bins: Option<Bins>,
    /// Packets that it sent again.
    pub retransmitted_packets: u64,
    /// CPU seconds of its whole process, user and system, while it lasted.
    pub cpu_seconds: f64,
    /// Round trips that it saw, in nanoseconds.
    pub rtt_ns: Option<RoundTrips>,
    /// Its congestion controller.
    pub controller: Option<String>,
    /// What that makes of the path.
    #[serde(default)]
    pub path: Option<PathModel>,
}

/// What a congestion controller knew about the path at the end.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PathModel {
    /// What it was doing; empty where it does only one thing.
    pub state: String,
    /// The path's bandwidth in wire bits per second, where it is modelled.
    pub bandwidth_bps: Option<u64>,
    /// What it was measured to be at the start, where it was.
    #[serde(default)]
    pub measured_bps: Option<u64>,
    /// Pacing in wire bits per second.
    pub pacing_bps: Option<u64>,
    /// Smallest round trip of the last seconds.
    pub min_rtt_ns: u64,
}

/// Percentiles of round trips in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RoundTrips {
    /// How many were seen.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// Half were no longer.
    pub p50: u64,
    /// 90% were no longer.
    pub p90: u64,
    /// 99% were no longer.
    pub p99: u64,
    /// 99.9% were no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Their mean.
    pub mean: f64,
}

/// Why there is no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PerfError {
    /// The connection.
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    /// A stream of it.
    #[error("{0}")]
    Stream(#[from] StreamError),
    /// The other side speaks otherwise than we do.
    #[error("the peer's measurement protocol is another: {0}; update the older of the two")]
    Talk(String),
    /// What is asked for can't be measured.
    #[error("{0}")]
    Plan(String),
    /// Something on this side.
    #[error("{0}")]
    Local(String),
}

impl RoundTrips {
    /// The percentiles of a histogram of nanoseconds, if there is anything in it.
    pub fn of(histogram: &Histogram) -> Option<RoundTrips> {
        let Percentiles { count, min, p50, p90, p99, p999, max, mean } = histogram.percentiles();
        (count > 0).then_some(RoundTrips { count, min, p50, p90, p99, p999, max, mean })
    }
}
