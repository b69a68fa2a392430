//! Startup and drain: from nothing to the bandwidth.

use super::super::AckSample;
use super::epoch::Seen;
use super::probe_bw::Due;
use super::sounding::{Sounded, Sounding};
use super::train::Train;
use super::{Bbr, Phase};
use super::{INITIAL_WINDOW_PACKETS, LOSS_THRESHOLD};

/// Pacing while the rate doubles each round trip: 4 ln 2 (the draft's).
const STARTUP_GAIN: f64 = 2.77;
/// Pacing while startup's queue drains (the draft's).
pub const DRAIN_GAIN: f64 = 0.5;
/// A rate that grew by less than this in a round trip has come to an end …
const FULL_GROWTH: f64 = 1.25;
/// … after so many of them (the draft's) …
const FULL_EPOCHS: u32 = 3;
/// … or after one, if it also left a queue of this share of the round trip. Packets were sent 2.77 times as fast as
/// they arrived and waited: there is no second explanation on a link of one's own. Waiting for three round trips fills
/// the whole queue.
const FULL_QUEUE_SHARE: f64 = 0.25;
/// Lost packets in a round trip that end startup, if there is a queue as well (the draft's count is of gaps).
const FULL_LOST_PACKETS: u64 = 6;
/// Loss that ends startup without one, if the rate did not grow: the queue is too short to be seen.
const FULL_LOSS: f64 = 0.2;
/// Share of what the train showed at which the path is filled. Trains err by up to 10%, mostly downwards, as the lowest
/// of three is taken; the probe that follows finds the rest. Lower: a round trip more until the limit.
/// Higher: queues of 0.1 BDP overflow.
pub const JUMP_SHARE: f64 = 0.95;
/// A train within this factor of the bandwidth before an outage shows that it is the same path.
const SAME_PATH: f64 = 1.25;

/// Whether the pipe is full: the rate has stopped growing.
#[derive(Clone, Copy, Debug, Default)]
pub struct FullPipe {
    best_bps: u64,
    flat_epochs: u32,
}

impl FullPipe {
    /// Takes an epoch's rate; true when it has not grown.
    fn on_epoch(&mut self, rate_bps: u64) -> bool {
        if rate_bps as f64 >= self.best_bps as f64 * FULL_GROWTH {
            self.best_bps = rate_bps;
            self.flat_epochs = 0;
            return false;
        }
        self.flat_epochs += 1;
        true
    }
}

impl Bbr {
    pub(super) fn on_startup_ack(&mut self, ack: &AckSample<'_>) {
        let rate = &ack.rate;
        if !rate.is_app_limited || rate.rate_bps > self.bandwidth.bps() {
            self.bandwidth.offer(rate.rate_bps);
        }
        if let Some(shown_bps) = self.train.on_ack(ack, self.max_ack_delay_ns) {
            let sounding = Sounding::new(ack, shown_bps, self.mss);
            self.sound(sounding, shown_bps);
        }
    }

    /// The bottleneck carries about this: the next window measures it.
    fn sound(&mut self, sounding: Sounding, shown_bps: u64) {
        self.bandwidth.replace(shown_bps);
        self.provisional = true;
        self.extra_acked = Default::default();
        self.sounding = Some(Box::new(sounding));
        self.phase = Phase::Sounding;
    }

    pub(super) fn on_sounding_ack(&mut self, ack: &AckSample<'_>) {
        let Some(mut sounding) = self.sounding.take() else { return };
        match sounding.on_ack(ack, self.max_ack_delay_ns) {
            Some(Sounded::Rate(bps)) => self.jump(ack, bps),
            Some(Sounded::AtLeast(bps)) => self.sound(sounding.again(ack, bps), bps),
            None => self.sounding = Some(sounding),
        }
    }

    /// The bottleneck is known: fill the path at this rate, then probe.
    fn jump(&mut self, ack: &AckSample<'_>, shown_bps: u64) {
        let before = std::mem::take(&mut self.before_outage_bps) as f64;
        let shown = shown_bps as f64;
        let same = before > 0.0 && shown < before * SAME_PATH && shown * SAME_PATH > before;
        self.bandwidth.replace(if same { before } else { shown * JUMP_SHARE } as u64);
        self.provisional = true;
        self.extra_acked = Default::default();
        self.phase = Phase::Refill { until: ack.next_number };
    }

    pub(super) fn on_startup_epoch(&mut self, ack: &AckSample<'_>, seen: &Seen) {
        if self.train.is_on() {
            return;
        }
        let lost = seen.crowded_lost >= FULL_LOST_PACKETS * self.mss;
        let crowded = lost && seen.crowded_loss() > LOSS_THRESHOLD;
        if seen.app_limited && !crowded {
            return;
        }
        let rate = seen.rate_bps(0.0);
        let flat = self.full_pipe.on_epoch(rate);
        let queue_ns = seen.rtt_min_ns.map_or(0, |rtt_ns| self.min_rtt.queue_ns(rtt_ns));
        let queue = queue_ns as f64 >= self.min_rtt.ns() as f64 * FULL_QUEUE_SHARE;
        let lossy = crowded || seen.loss() > FULL_LOSS;
        let full = self.full_pipe.flat_epochs >= FULL_EPOCHS || flat && (queue || lossy);
        if !full && !crowded {
            return;
        }
        if flat {
            // Not the luckiest sample of startup, but what an epoch delivered.
            self.bandwidth.replace(self.full_pipe.best_bps.max(rate));
        }
        if lossy {
            self.bounds.inflight_hi = Some(self.inflight(1.0).max(seen.delivered));
        }
        // In startup every ACK was more than the bandwidth explained.
        self.extra_acked = Default::default();
        self.phase = Phase::Drain;
        self.on_drain_ack(ack);
    }

    pub(super) fn on_drain_ack(&mut self, ack: &AckSample<'_>) {
        if ack.bytes_in_flight <= self.inflight(1.0) {
            self.enter_down(ack);
        }
    }

    /// Begins anew with one window.
    pub(super) fn restart_startup(&mut self) {
        self.phase = Phase::Startup;
        self.bandwidth = Default::default();
        self.bounds = Default::default();
        self.undo = None;
        self.full_pipe = FullPipe::default();
        self.provisional = false;
        self.sounding = None;
        self.due = Due::AtOnce;
        self.epoch.restart();
        self.cwnd = INITIAL_WINDOW_PACKETS * self.mss;
        self.train = Train::after_outage(INITIAL_WINDOW_PACKETS);
        self.pacing_bps = None;
    }

    /// Trains leave in bursts, the rest of startup is paced.
    pub(super) fn startup_pacing(&self) -> Option<u64> {
        let bps = self.bandwidth.bps();
        (bps > 0 && !self.train.is_on()).then_some((bps as f64 * STARTUP_GAIN) as u64)
    }

    pub(super) fn startup_cwnd(&self, ack: &AckSample<'_>, roomy: u64) -> u64 {
        let first = INITIAL_WINDOW_PACKETS * self.mss;
        let grows = ack.window_was_used(self.cwnd) && (self.cwnd < roomy || ack.totals.delivered < first);
        if grows { self.cwnd + ack.acked_bytes } else { self.cwnd }
    }
}
