//! Links far past any machine that this is tested on: gigabytes in flight, whose zeros nobody stores.

use std::fmt;

use super::{Flow, Plan, Seen};
use crate::base::Nanos;
use crate::base::size::wire_bytes;
use crate::base::time::MICROSECOND;
use crate::proto::recovery::Algorithm;
use crate::wire::ETHERNET_LEN;

/// From one turn to the next: at 400 Gbit/s 23 frames of 9,000 bytes pass, at 100 Gbit/s 33 of 1,500.
const TURN_NS: Nanos = 4 * MICROSECOND;
/// Round trips of a flow, from its first byte on: enough to double from one packet to a million.
const RTTS: Nanos = 24;
/// Frames of a pool for each that a round trip holds: three quarters of them are the receiver's window, three quarters
/// of that one stream's, and credit comes back a little late.
const FRAMES: f64 = 2.3;

/// A far link, and how to use it.
#[derive(Clone, Debug)]
pub struct Far {
    /// Bits per second, in words that `--rate` knows.
    pub rate: &'static str,
    /// Its round trip.
    pub rtt_ns: Nanos,
    /// Longest Ethernet payload in bytes.
    pub mtu: usize,
    /// `fixed` at the link's rate, or `bbr`, which has to find it.
    pub bbr: bool,
}

/// What a flow over it came to.
#[derive(Debug)]
pub struct Reached {
    /// The flow.
    pub seen: Seen,
    /// Of what the link could carry, in its last quarter.
    pub settled: f64,
    /// At the end.
    pub packets_in_flight: u64,
    /// What the sender keeps of each of these.
    pub state_bytes: f64,
    /// What both pools are, in bytes.
    pub pool_bytes: u64,
}

impl Far {
    /// Sends over it for 24 round trips.
    ///
    /// # Errors
    /// What is wrong with the link.
    pub fn reach(&self) -> Result<Reached, String> {
        let rate = self.rate.parse::<crate::base::Rate>()?;
        let per_rtt = rate.bps() as f64 / 8e9 * self.rtt_ns as f64 / wire_bytes(self.mtu + ETHERNET_LEN) as f64;
        let frames = (FRAMES * per_rtt) as usize + 4096;
        let algorithm = if self.bbr { Algorithm::Bbr } else { Algorithm::Fixed(rate) };
        let link = format!("rate={},delay={}ns", self.rate, self.rtt_ns / 2);
        let plan = Plan { frames, mtu: self.mtu, turn_ns: TURN_NS, ..Plan::new(algorithm, &link)? };
        let mut flow = Flow::new(plan);
        let span_ns = RTTS * self.rtt_ns;
        flow.run_from_first_byte(span_ns);
        Ok(Reached {
            seen: flow.seen(span_ns),
            settled: flow.share(span_ns / 4 * 3, span_ns),
            packets_in_flight: flow.packets_in_flight(),
            state_bytes: flow.state_bytes_per_packet(),
            pool_bytes: 2 * frames as u64 * self.mtu as u64,
        })
    }
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let controller = if self.bbr { "bbr" } else { "fixed" };
        write!(f, "{:>7} {:>4} ms mtu {:>4} {controller:>5}", self.rate, self.rtt_ns / 1_000_000, self.mtu)
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reached { seen, settled, packets_in_flight, state_bytes, .. } = self;
        write!(f, "{:.3} {settled:.3} {:5.1} {:9.3} ", seen.share, seen.rise_rtts, seen.ack_bytes * 100.0)?;
        write!(f, "{packets_in_flight:>10} {state_bytes:9.0} {:8.3}", seen.lost * 100.0)
    }
}

/// The heading of a table of far links.
pub const HEADING: &str =
    "   rate      rtt      mtu  controller | share settled rise(rtt) ack% in flight bytes each lost%";
