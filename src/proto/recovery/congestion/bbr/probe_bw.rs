//! Probing for bandwidth: down, cruise, refill, up, and around again.

use super::super::{AckSample, LossSample};
use super::answers::SQUEEZED_SHARE;
use super::bounds::LOSS_THRESHOLD;
use super::epoch::{EPOCH_MIN_NS, Seen};
use super::{Bbr, Phase, bytes_in};
use crate::base::Nanos;
use crate::base::time::{MILLISECOND, SECOND};

/// Pacing while the queue drains (the draft's). Lower: rate is lost where there is no queue. Higher: a policer's losses
/// pass for the link's own, see `bounds`.
pub const DOWN_GAIN: f64 = 0.9;
/// Epochs after which the draining ends in any case. Lower: the queue of a probe that overshot is taken along.
/// Higher: beside someone who fills the queue we stay slow.
const DOWN_EPOCHS_MAX: u32 = 5;
/// How long to cruise: this, and up to as much more as [`CRUISE_SPREAD_NS`], so that flows do not probe in step. The
/// draft has 2–3 s, and 63 round trips at most, for the sake of Reno flows. Lower: probes cost more than they find.
/// Higher: a link that is faster again stays unused.
const CRUISE_NS: Nanos = 2 * SECOND;
const CRUISE_SPREAD_NS: Nanos = SECOND;
/// How long after a probe without an answer: so many round trips, and at least so long. Lower: a sender with little to
/// send probes all the time. Higher: one whose host was late once stays slow.
const SOON_ROUND_TRIPS: u64 = 8;
const SOON_NS: Nanos = 100 * MILLISECOND;
/// Growth that shows that there is more: at least this factor. Lower: noise. Higher: a few percent stay unused …
const GROWN: f64 = 1.025;
/// … and growth of this share of the step means that the step itself was the limit: the next is bolder.
const GROWN_FULLY: f64 = 0.75;
/// A probe's steps, in bandwidth-delay products in flight: the first, and what follows after so many full growths in a
/// row. The draft sends 1.25 times as fast until loss or three flat round trips, which loses packets in every cycle
/// where a queue holds less than half a BDP. The first step fits into a tenth of one; a link that became twice as fast
/// is found within eight round trips. Lower: growth is lost in the noise. Higher: loses packets where switches have
/// little memory.
const PROBE_STEPS: [f64; 5] = [1.06, 1.25, 1.25, 1.5, 2.0];
/// Pacing of a step (the draft's).
const UP_GAIN: f64 = 1.25;
/// Lost packets below which a probe's loss says nothing. Lower: random losses on short paths end it. Higher: so many
/// are lost each time.
const PROBE_LOST_PACKETS: u64 = 6;

/// When the next probe is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// The bandwidth is not known yet.
    AtOnce,
    /// The last probe had no answer, as there was too little to send.
    Soon,
    /// The path was probed.
    Usual,
}

/// A probe under way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Probe {
    /// Bytes in flight that it goes up to.
    pub cap: u64,
    /// Bandwidth that it must exceed to go on.
    base_bps: u64,
    /// The cap was reached, and the epoch that shows the answer has begun.
    reached: bool,
    /// Steps that grew fully, in a row.
    grown: usize,
    began_ns: Nanos,
}

impl Probe {
    /// Pacing gain.
    pub fn gain(&self) -> f64 {
        UP_GAIN.max(self.step())
    }

    fn step(&self) -> f64 {
        PROBE_STEPS[self.grown.min(PROBE_STEPS.len() - 1)]
    }
}

impl Bbr {
    pub(super) fn enter_down(&mut self, ack: &AckSample<'_>) {
        self.phase = Phase::Down { epochs: 0, began_ns: ack.now };
        self.own_loss.begin(ack.next_number, self.arrived_bps[0].max(self.arrived_bps[1]));
    }

    fn enter_cruise(&mut self, ack: &AckSample<'_>) {
        self.own_loss.end(ack.next_number);
        // Any number that differs between flows and does not come from a clock will do.
        let spread = (ack.totals.sent ^ ack.now).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let wait_ns = match self.due {
            Due::AtOnce => 0,
            Due::Soon => (SOON_ROUND_TRIPS * ack.rtt.smoothed_ns()).max(SOON_NS),
            Due::Usual => CRUISE_NS + ((spread * CRUISE_SPREAD_NS) >> 32),
        };
        self.phase = Phase::Cruise { until_ns: ack.now + wait_ns, gain: 1.0 };
    }

    fn enter_refill(&mut self, ack: &AckSample<'_>) {
        self.bounds.reset_lower();
        self.suspicious = false;
        self.phase = Phase::Refill { until: ack.next_number };
    }

    fn enter_up(&mut self, ack: &AckSample<'_>) {
        let base_bps = self.bandwidth.bps();
        // What a train showed errs by more than a usual step.
        let grown = usize::from(self.provisional);
        let cap = self.inflight(PROBE_STEPS[grown]);
        self.phase = Phase::Up(Probe { cap, base_bps, reached: false, grown, began_ns: ack.now });
    }

    /// The probe is over; the next one is due `due`.
    fn leave_up(&mut self, ack: &AckSample<'_>, due: Due) {
        self.probe_ended_ns = ack.now;
        self.due = due;
        if due == Due::Usual {
            self.bandwidth.advance();
        }
        self.provisional = false;
        self.enter_down(ack);
    }

    /// Down and cruise: whether it is time for the next phase.
    pub(super) fn on_level_ack(&mut self, ack: &AckSample<'_>) {
        match self.phase {
            Phase::Cruise { until_ns, .. } if ack.now >= until_ns => self.enter_refill(ack),
            // Short paths: what a full queue dropped while it emptied is not the link's own loss.
            Phase::Down { began_ns, .. } if ack.now < began_ns + EPOCH_MIN_NS / 2 => {
                self.own_loss.begin(ack.next_number, self.arrived_bps[0].max(self.arrived_bps[1]));
            }
            Phase::Down { began_ns, .. } if ack.now >= began_ns + EPOCH_MIN_NS && self.is_drained(ack) => {
                self.enter_cruise(ack);
            }
            _ => {}
        }
    }

    pub(super) fn on_refill_ack(&mut self, ack: &AckSample<'_>, until: u64) {
        if ack.largest_newly_acked >= until {
            self.epoch.restart();
            self.enter_up(ack);
        }
    }

    /// An epoch of down, cruise or refill.
    pub(super) fn on_level_epoch(&mut self, ack: &AckSample<'_>, seen: &Seen, rate_bps: u64) {
        if self.provisional {
            return;
        }
        self.believe_the_queue(ack.now, seen, rate_bps);
        match self.phase {
            Phase::Down { epochs, began_ns } => self.on_down_epoch(ack, epochs + 1, began_ns),
            Phase::Cruise { until_ns, .. } => {
                self.phase = Phase::Cruise { until_ns, gain: self.cruise_gain(seen) };
                self.answer_loss(ack, seen, rate_bps);
            }
            _ => {}
        }
    }

    fn on_down_epoch(&mut self, ack: &AckSample<'_>, epochs: u32, began_ns: Nanos) {
        self.phase = Phase::Down { epochs, began_ns };
        if !self.min_rtt.is_queueing() || epochs >= DOWN_EPOCHS_MAX {
            self.enter_cruise(ack);
        }
    }

    fn is_drained(&self, ack: &AckSample<'_>) -> bool {
        ack.bytes_in_flight <= self.inflight(1.0)
    }

    pub(super) fn on_probe_ack(&mut self, ack: &AckSample<'_>, probe: Probe) {
        if self.provisional && self.is_overrun(ack) {
            return;
        }
        let quantum = bytes_in(self.bw_bps(), super::QUANTUM_NS).max(2 * self.mss);
        let waited = ack.now.saturating_sub(probe.began_ns) > ack.rtt.smoothed_ns();
        if !probe.reached && (ack.bytes_in_flight + quantum >= probe.cap || waited) {
            self.epoch.restart();
            self.phase = Phase::Up(Probe { reached: true, ..probe });
        }
    }

    /// What a train showed was too much: packets wait, and arrive more slowly. Then their rate is the bandwidth.
    fn is_overrun(&mut self, ack: &AckSample<'_>) -> bool {
        let Some(seen) = self.epoch.so_far(ack) else { return false };
        let least_ns = (self.min_rtt.ns() / 8).max(MILLISECOND);
        let rate_bps = seen.rate_bps(0.0);
        let waits = self.min_rtt.recent_queue_ns() > least_ns;
        if !waits || seen.acked_ns < least_ns || rate_bps as f64 > self.bandwidth.bps() as f64 * SQUEEZED_SHARE {
            return false;
        }
        self.bandwidth.replace(rate_bps);
        self.provisional = false;
        self.phase = Phase::Drain;
        true
    }

    /// An epoch of up. Only one that began when the cap was reached shows the answer.
    pub(super) fn on_probe_epoch(&mut self, ack: &AckSample<'_>, seen: &Seen, rate_bps: u64, probe: Probe) {
        if !probe.reached {
            return;
        }
        let growth = rate_bps as f64 / probe.base_bps.max(1) as f64;
        if seen.app_limited && growth < GROWN {
            return self.leave_up(ack, Due::Soon);
        }
        if growth >= GROWN && self.min_rtt.is_crowded() {
            // More, and a queue: this is the end of it, but what was seen of it was still growing. Look again soon.
            return self.leave_up(ack, Due::AtOnce);
        }
        if growth < GROWN {
            let answered = self.min_rtt.is_queueing() || seen.loss() > self.own_loss.share() + LOSS_THRESHOLD;
            if !answered && probe.grown == 0 {
                // Neither more nor a queue: the step was lost in the noise.
                let cap = self.inflight(PROBE_STEPS[1]);
                self.phase = Phase::Up(Probe { cap, reached: false, grown: 1, began_ns: ack.now, ..probe });
                return;
            }
            if self.provisional {
                // What the train showed gives way to what was delivered.
                self.bandwidth.replace(rate_bps);
            }
            // More in flight, and neither more delivered nor a queue: the hosts were late.
            return self.leave_up(ack, if answered { Due::Usual } else { Due::Soon });
        }
        self.provisional = false;
        let fully = growth - 1.0 >= GROWN_FULLY * (probe.step() - 1.0);
        let probe = Probe { grown: if fully { probe.grown + 1 } else { 0 }, ..probe };
        let cap = self.inflight(probe.step()).max(probe.cap);
        if self.bounds.inflight_hi.is_some_and(|hi| hi < probe.cap) {
            self.bounds.inflight_hi = Some(probe.cap);
        }
        self.phase = Phase::Up(Probe { cap, base_bps: rate_bps, reached: false, began_ns: ack.now, ..probe });
    }

    /// Packets were lost while probing with a queue: if they are many, this is too much.
    pub(super) fn on_probe_loss(&mut self, loss: &LossSample, probe: Probe) {
        let most = (self.own_loss.share() + LOSS_THRESHOLD) * loss.tx_in_flight_bytes as f64;
        let lost = loss.lost_since_sent_bytes;
        if (lost as f64) <= most || lost < PROBE_LOST_PACKETS * self.mss || loss.tx_in_flight_bytes == 0 {
            return;
        }
        self.remember_for_undo();
        let kept = loss.tx_in_flight_bytes.saturating_sub(lost);
        self.bounds.inflight_hi = Some(kept.max(self.inflight(1.0)));
        if !self.provisional {
            // The epoch that ends the probe is under way; nothing more is put into the queue meanwhile.
            let cap = probe.cap.min(self.inflight(1.0));
            self.phase = Phase::Up(Probe { cap, ..probe });
        }
    }
}
