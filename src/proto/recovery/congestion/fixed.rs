//! `fixed`: this link is mine at R bit/s. Sends at R and does not answer to loss; the `Keeper` looks whether R arrives.

use super::keeper::Keeper;
use super::{AckSample, Controller, LossSample, Notice, owned_window};
use crate::base::{Nanos, Rate};
use crate::proto::recovery::rtt::Rtt;

/// The controller.
#[derive(Debug)]
pub struct Fixed {
    keeper: Keeper,
    mss: u64,
    max_ack_delay_ns: Nanos,
    cwnd: u64,
}

impl Fixed {
    /// Sends at `rate` from the first packet on.
    pub fn new(rate: Rate, mss: u64, max_ack_delay_ns: Nanos, rtt: &Rtt) -> Fixed {
        let cwnd = owned_window(rate, rtt, max_ack_delay_ns, mss);
        Fixed { keeper: Keeper::configured(rate, mss), mss, max_ack_delay_ns, cwnd }
    }

    fn resize(&mut self, rtt: &Rtt) {
        self.cwnd = owned_window(self.keeper.rate(), rtt, self.max_ack_delay_ns, self.mss);
    }
}

impl Controller for Fixed {
    fn on_rtt(&mut self, rtt: &Rtt) {
        self.resize(rtt);
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        self.keeper.on_ack(ack);
        self.resize(ack.rtt);
    }

    fn on_loss(&mut self, loss: &LossSample) {
        self.keeper.on_loss(loss);
    }

    fn on_spurious(&mut self) {}

    fn on_persistent_congestion(&mut self) {
        // What was lost in an outage is no evidence about the rate.
        self.keeper.on_outage();
    }

    fn cwnd_bytes(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh_bytes(&self) -> Option<u64> {
        None
    }

    fn pacing_bps(&self, _rtt: &Rtt) -> Option<u64> {
        Some(self.keeper.rate().bps())
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        self.keeper.poll_notice()
    }

    fn state_name(&self) -> &'static str {
        self.keeper.state_name()
    }

    fn name(&self) -> &'static str {
        "fixed"
    }
}
