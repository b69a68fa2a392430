//! What queues and losses mean outside of probes: slow down a little, believe a lower rate, or look first.
//!
//! The draft lowers its bounds in each round trip with more than 2% of loss. At 5% of random loss nothing would be left
//! of a link of one's own, and nobody would be helped.

use super::super::AckSample;
use super::Bbr;
use super::epoch::{EPOCH_MIN_NS, Seen};
use super::probe_bw::Due;
use crate::base::Nanos;
use crate::base::time::MILLISECOND;

/// Least pacing while cruising with a queue. Lower: what was no queue costs more. Higher: a long one stays for longer.
const CRUISE_GAIN_MIN: f64 = 0.9;
/// A queue above the noise is to be gone in so many round trips. Lower: over-correction, as the answer takes one.
/// Higher: the queue grows meanwhile.
const DRAIN_ROUND_TRIPS: f64 = 2.0;
/// Epochs of draining without success after which the queue is not ours. Lower: an unlucky second looks like a
/// competitor. Higher: we yield to one for longer.
const CROWDED_EPOCHS: u32 = 8;
/// What of the bound found by loss is used while cruising (the draft's headroom of 15%) …
const HEADROOM: f64 = 0.85;
/// … but never less than this many bandwidth-delay products: on a link of one's own the headroom is for nobody.
const HEADROOM_BDP_MIN: f64 = 1.05;
/// Time with loss above the link's own in every epoch, the first one not counted, after which we go slower to see. The
/// draft answers to each round trip. Lower: bursts of losses on a dirty link count. Higher: a link that became slower
/// loses more.
const LOSSY_NS: Nanos = 80 * MILLISECOND;
/// Epochs in a row after which what arrives from a standing queue is the bandwidth. Lower: a host that paused for some
/// milliseconds lowers it. Higher: a link that became slower loses more.
const SQUEEZED_EPOCHS: u32 = 2;
/// Less arrives than was sent if it is below this share of it. Lower: a link that lost a tenth is not noticed.
/// Higher: noise lowers the bandwidth.
pub const SQUEEZED_SHARE: f64 = 0.95;
/// Loss above the link's own that counts without a queue. Lower: bursts of losses count. Higher: a policer is hammered.
const POLICED_LOSS: f64 = 0.1;

impl Bbr {
    /// Packets waited for the whole epoch and arrived more slowly than they were sent: then the bottleneck was busy all
    /// the time, and what arrived is what it carries for us. The draft believes a bandwidth for two cycles, whatever
    /// arrives; a link that became slower would have a full queue for up to six seconds.
    pub(super) fn believe_the_queue(&mut self, now: Nanos, seen: &Seen, rate_bps: u64) {
        let queue_ns = seen.rtt_min_ns.map_or(0, |rtt_ns| self.min_rtt.queue_ns(rtt_ns));
        let squeezed = queue_ns > self.min_rtt.noise_ns() && seen.is_squeezed() && !seen.app_limited;
        self.squeezed = if squeezed { self.squeezed + 1 } else { 0 };
        self.crowded = if queue_ns > self.min_rtt.crowded_ns() { self.crowded + 1 } else { 0 };
        if self.is_shared() {
            self.min_rtt.doubt(now);
        }
        let sent_bps = self.pacing_bps.unwrap_or(u64::MAX).min(self.bw_bps());
        if self.squeezed >= SQUEEZED_EPOCHS && (rate_bps as f64) < sent_bps as f64 * SQUEEZED_SHARE {
            self.squeezed = 0;
            self.believe(now, rate_bps);
        }
    }

    /// The bandwidth is this, whatever was measured before; a probe soon looks whether there is not a little more.
    pub(super) fn believe(&mut self, now: Nanos, rate_bps: u64) {
        self.remember_for_undo();
        // What is in the queue and what is lost of it was sent before.
        self.probe_ended_ns = now;
        self.crowded = 0;
        self.bandwidth.replace(rate_bps);
        self.due = Due::Soon;
    }

    /// Loss above the link's own, with a queue or without one (a policer). Where others fill the queue, it is answered
    /// as the draft does. Else going slower shows whether it lessens: that is what draining does in each cycle, so it
    /// is done once now.
    pub(super) fn answer_loss(&mut self, ack: &AckSample<'_>, seen: &Seen, rate_bps: u64) {
        if ack.now < self.probe_ended_ns + 2 * ack.rtt.smoothed_ns() {
            return;
        }
        let policed = seen.loss() > self.own_loss.share() + POLICED_LOSS;
        self.lossy = if policed || self.is_congestion(seen) { self.lossy + 1 } else { 0 };
        if self.is_shared() && self.lossy > 0 {
            self.remember_for_undo();
            let floor = self.bdp_of(rate_bps) + self.inflight(0.0);
            self.bounds.lower(self.bandwidth.bps(), rate_bps, self.cwnd, floor);
        } else if self.lossy <= 1 {
            self.lossy_since = (ack.now, ack.totals.delivered);
        } else if ack.now >= self.lossy_since.0 + LOSSY_NS && !self.suspicious {
            self.suspicious = true;
            self.probe_ended_ns = ack.now;
            let (since_ns, delivered) = self.lossy_since;
            let arrived = (ack.totals.delivered - delivered) as f64 * 8e9 / (ack.now - since_ns) as f64;
            self.arrived_bps = [arrived as u64; 2];
            self.enter_down(ack);
        }
    }

    /// A queue stands that does not go when we slow down: others are there.
    pub(super) fn is_shared(&self) -> bool {
        self.crowded > CROWDED_EPOCHS
    }

    /// Slower, as long as a queue stands: it is ours, since the bandwidth is the best that was measured. If it does not
    /// go, it is not: either others fill it, or the path has become longer. Little in flight shows which.
    pub(super) fn cruise_gain(&self, seen: &Seen) -> f64 {
        let queue_ns = seen.rtt_min_ns.map_or(0, |rtt_ns| self.min_rtt.queue_ns(rtt_ns));
        let above_ns = queue_ns.saturating_sub(self.min_rtt.noise_ns());
        if self.is_shared() {
            return 1.0;
        }
        let span_ns = self.min_rtt.ns().max(EPOCH_MIN_NS) as f64 * DRAIN_ROUND_TRIPS;
        (1.0 - above_ns as f64 / span_ns).max(CRUISE_GAIN_MIN)
    }

    /// The window while cruising below a bound that a probe found by loss.
    pub(super) fn with_headroom(&self, hi: u64) -> u64 {
        if hi == u64::MAX {
            return hi;
        }
        ((hi as f64 * HEADROOM) as u64).max(self.inflight(HEADROOM_BDP_MIN))
    }
}
