//! `fixed`: this link is mine at R bit/s. Sends at R, does not answer to loss; the `Breaker` looks whether R arrives.

use super::breaker::Breaker;
use super::{AckSample, Controller, LossSample, MIN_WINDOW_PACKETS, Notice};
use crate::base::{Nanos, Rate};
use crate::proto::recovery::pacing::BURST_PACKETS;
use crate::proto::recovery::rtt::Rtt;

/// Window in round trips at the rate. 1 would do on paper; the second carries lost packets until they are found lost
/// (up to two round trips where reordering was seen) and a round trip that suddenly grows. Lower: the rate is missed
/// there. Higher: only memory, as the rate is what paces.
const WINDOW_ROUND_TRIPS: u64 = 2;
/// And some bursts, so that a round trip of nothing does not stop the sender between two turns. Lower: veth stalls.
const WINDOW_BURSTS: u64 = 4;

/// The controller.
#[derive(Debug)]
pub struct Fixed {
    breaker: Breaker,
    mss: u64,
    max_ack_delay_ns: Nanos,
    cwnd: u64,
}

impl Fixed {
    /// Sends at `rate` from the first packet on.
    pub fn new(rate: Rate, mss: u64, max_ack_delay_ns: Nanos, rtt: &Rtt) -> Fixed {
        let mut fixed = Fixed { breaker: Breaker::new(rate), mss, max_ack_delay_ns, cwnd: 0 };
        fixed.resize(rtt);
        fixed
    }

    fn resize(&mut self, rtt: &Rtt) {
        let span = WINDOW_ROUND_TRIPS * (rtt.smoothed_ns() + rtt.variance_ns() + self.max_ack_delay_ns);
        let bursts = WINDOW_BURSTS * BURST_PACKETS * self.mss;
        self.cwnd = (self.breaker.rate().bytes_in(span) + bursts).max(MIN_WINDOW_PACKETS * self.mss);
    }
}

impl Controller for Fixed {
    fn on_rtt(&mut self, rtt: &Rtt) {
        self.resize(rtt);
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        self.breaker.on_totals(ack.now, ack.totals, ack.rtt.smoothed_ns(), self.mss);
        self.resize(ack.rtt);
    }

    fn on_loss(&mut self, _loss: &LossSample) {
        // The breaker counts losses in the totals of the next acknowledgement; a loss by itself changes nothing.
    }

    fn on_spurious(&mut self) {}

    fn on_persistent_congestion(&mut self) {
        // An outage: what was lost meanwhile is no evidence about the rate.
        self.breaker.forget_window();
    }

    fn cwnd_bytes(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh_bytes(&self) -> Option<u64> {
        None
    }

    fn pacing_bps(&self, _rtt: &Rtt) -> Option<u64> {
        Some(self.breaker.rate().bps())
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        self.breaker.poll_notice()
    }

    fn name(&self) -> &'static str {
        "fixed"
    }
}
