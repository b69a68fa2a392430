//! Probe-RTT: little in flight for a moment, so that the round trip shows itself without a queue.

use super::super::{AckSample, MIN_WINDOW_PACKETS};
use super::probe_bw::Due;
use super::{Bbr, Phase};
use crate::base::Nanos;
use crate::base::time::MILLISECOND;

/// Bandwidth-delay products in flight meanwhile (the draft's).
const PROBE_RTT_GAIN: f64 = 0.5;
/// For so long, and one round trip (the draft's). All flows that share a queue must be at it together to see it empty.
const PROBE_RTT_NS: Nanos = 200 * MILLISECOND;

impl Bbr {
    pub(super) fn check_probe_rtt(&mut self, ack: &AckSample<'_>) {
        match self.phase {
            Phase::ProbeRtt { until_ns, lowest_ns } => self.on_probe_rtt_ack(ack, until_ns, lowest_ns),
            Phase::Startup | Phase::Sounding => {}
            _ if self.min_rtt.is_expired(ack.now) => {
                self.phase = Phase::ProbeRtt { until_ns: None, lowest_ns: Nanos::MAX };
                self.epoch.restart();
            }
            _ => {}
        }
    }

    fn on_probe_rtt_ack(&mut self, ack: &AckSample<'_>, until_ns: Option<Nanos>, lowest_ns: Nanos) {
        let lowest_ns = ack.rtt_sample_ns.map_or(lowest_ns, |rtt_ns| lowest_ns.min(rtt_ns));
        let until_ns = match until_ns {
            None if ack.bytes_in_flight <= self.probe_rtt_cwnd() => {
                Some(ack.now + PROBE_RTT_NS.max(ack.rtt.smoothed_ns()))
            }
            other => other,
        };
        if until_ns.is_some_and(|until_ns| ack.now >= until_ns) && lowest_ns < Nanos::MAX {
            if lowest_ns > self.min_rtt.ns() + self.min_rtt.noise_ns() {
                // A longer path: what was delivered in a window for the shorter one says nothing.
                self.due = Due::AtOnce;
            }
            self.min_rtt.replace(ack.now, lowest_ns);
            self.bounds.reset_lower();
            self.epoch.restart();
            self.enter_down(ack);
        } else {
            self.phase = Phase::ProbeRtt { until_ns, lowest_ns };
        }
    }

    pub(super) fn probe_rtt_cwnd(&self) -> u64 {
        let half = self.bdp_of(self.bw_bps()) as f64 * PROBE_RTT_GAIN;
        (half as u64).max(MIN_WINDOW_PACKETS * self.mss)
    }
}
