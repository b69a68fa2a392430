//! What a flow came to.

use super::lane::BIN_NS;
use super::{BEGIN_NS, Flow};
use crate::base::Nanos;
use crate::base::time::MILLISECOND;
use crate::obs::counters::Counters;

/// A flow in numbers.
#[derive(Debug)]
pub struct Seen {
    /// Of what the link could have carried to the application, from its first byte on.
    pub share: f64,
    /// From the first byte until 90% of the limit are reached, in round trips.
    pub rise_rtts: f64,
    /// Packets sent beyond those lost and those delivered, as a share of all sent.
    pub twice: f64,
    /// How long frames waited for the wire, which 1 of 100 exceeded.
    pub queue_p99_ms: f64,
    /// The longest of that.
    pub queue_max_ms: f64,
    /// Frames that the path dropped, of all that were offered to it.
    pub lost: f64,
    /// Bytes of ACK-only frames on the way back, for each byte on the way there.
    pub ack_bytes: f64,
    /// What the controller had to tell, and when.
    pub notices: Vec<String>,
}

impl Flow {
    /// What the application got in this part of the flow, from its first byte on, of what the link could carry.
    pub fn share(&self, from: Nanos, to: Nanos) -> f64 {
        self.share_of(0, from, to)
    }

    /// The same of one of several flows.
    pub fn share_of(&self, lane: usize, from: Nanos, to: Nanos) -> f64 {
        self.lanes[lane].bytes_between(from, to) as f64 * 8e9 / (to - from) as f64 / self.plan.limit_bps()
    }

    /// Packets that wait for their acknowledgement on the first flow.
    pub fn packets_in_flight(&mut self) -> u64 {
        let key = self.lanes[0].key();
        self.hosts[0].engine.recovery(key).map_or(0, |(stats, _, _)| stats.packets_in_flight)
    }

    /// What the sender keeps of each packet in flight, in bytes, the packet itself not counted.
    pub fn state_bytes_per_packet(&mut self) -> f64 {
        self.hosts[0].engine.memory_bytes() as f64 / self.packets_in_flight() as f64
    }

    /// What the engine of host 0, which sends, or of host 1 has counted.
    pub fn counters(&self, host: usize) -> &Counters {
        self.hosts[host].engine.counters()
    }

    /// The whole flow of `span_ns` in numbers.
    pub fn seen(&mut self, span_ns: Nanos) -> Seen {
        let sent = self.hosts[0].engine.counters().clone();
        let received = self.hosts[1].engine.counters().clone();
        let net = self.net();
        let (path, queued) = (net.path(0, 1), net.queued());
        let ms = |ns: u64| ns as f64 / 1e6;
        // Reached when the next two round trips (at least 20 ms) have it on average.
        let look = (2 * self.plan.rtt_ns()).max(20 * MILLISECOND);
        let mut rise = 0;
        while rise + look < span_ns && self.share(rise, rise + look) < 0.9 {
            rise += BIN_NS;
        }
        let told = |(at, text): &(Nanos, String)| format!("{:.2} s: {text}", (*at - BEGIN_NS) as f64 / 1e9);
        Seen {
            share: self.share(0, span_ns),
            rise_rtts: rise as f64 / self.plan.rtt_ns() as f64,
            twice: received.drop_duplicate_data as f64 / sent.tx_data_packets as f64,
            queue_p99_ms: ms(queued.map_or(0, |queued| queued.value_at(0.99))),
            queue_max_ms: ms(queued.map_or(0, crate::obs::hist::Histogram::max)),
            lost: path.map_or(0.0, |path| 1.0 - path.passed.frames as f64 / path.offered.frames as f64),
            ack_bytes: received.tx_bytes as f64 / sent.tx_bytes as f64,
            notices: self.notices.iter().map(told).collect(),
        }
    }
}
