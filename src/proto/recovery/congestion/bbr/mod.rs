//! BBR version 3 (draft-ietf-ccwg-bbr), for links that are mostly one's own.
//!
//! It models the path by its bandwidth and its round trip without a queue, sends at that rate, and now and then probes
//! for more. Where this differs from the draft it says so at the constant or function:
//! - the first window shows roughly what the bottleneck carries (`train`), the second measures it (`sounding`), and the
//!   third fills it;
//! - rates are measured over epochs, not over single ACKs (`epoch`);
//! - loss means congestion only with a queue, or when going slower lessens it; what the link loses by itself is made
//!   good for (`bounds`);
//! - a probe puts a tenth of a window more into the path and waits for an answer before it goes on (`probe_bw`);
//! - a queue that stands while cruising is drained at once, and what arrives from it is the bandwidth (`answers`);
//! - any round trip near the smallest confirms it, so probe-RTT is rare (`filters`).

mod answers;
mod arrivals;
mod bounds;
mod epoch;
mod filters;
mod probe_bw;
mod probe_rtt;
mod sounding;
mod startup;
#[cfg(test)]
mod tests;
mod train;

use super::{AckSample, Controller, INITIAL_WINDOW_PACKETS, LossSample, MIN_WINDOW_PACKETS};
use crate::base::Nanos;
use crate::proto::recovery::rtt::Rtt;
use bounds::{Bounds, LOSS_THRESHOLD, OwnLoss, Verdict};
use epoch::{Epoch, Seen};
use filters::{ExtraAcked, MaxBandwidth, MinRtt};
use probe_bw::{Due, Probe};
use sounding::Sounding;
use startup::FullPipe;
pub use startup::JUMP_SHARE;
use train::Train;

/// Window in bandwidth-delay products wherever nothing bounds it (the draft's). Lower: lost packets that are not yet
/// known to be lost stop the sender. Higher: a bandwidth believed too high fills a longer queue.
const CWND_GAIN: f64 = 2.0;
/// Bursts that are under way in the two hosts besides what is in the path (the draft counts three).
const QUANTA: u64 = 3;
/// What one burst takes at the rate, as the pacer has it.
const QUANTUM_NS: Nanos = 40_000;

/// From this round trip on the second window shows the bandwidth to some percent: its data takes 5 ms. Lower: the turns
/// of workers make it a third too high (seen at 20 ms). Higher: probing's queue stands before it is known.
const TELLING_RTT_NS: Nanos = 40_000_000;

/// What the controller is doing.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// Looking for the bandwidth, twice as much each round trip.
    Startup,
    /// Measuring the bandwidth with the first part of a window.
    Sounding,
    /// Letting the queue go that startup made.
    Drain,
    /// Sending less than the bandwidth, so that the queue goes.
    Down { epochs: u32, began_ns: Nanos },
    /// Sending at the bandwidth until this time.
    Cruise { until_ns: Nanos, gain: f64 },
    /// Filling the path before a probe; up to the acknowledgement of this packet number.
    Refill { until: u64 },
    /// Probing for more.
    Up(Probe),
    /// Sending little, to see the round trip without a queue: until when, once little is in flight, and the smallest.
    ProbeRtt { until_ns: Option<Nanos>, lowest_ns: Nanos },
}

/// The controller.
#[derive(Debug)]
pub struct Bbr {
    mss: u64,
    max_ack_delay_ns: Nanos,
    phase: Phase,
    bandwidth: MaxBandwidth,
    min_rtt: MinRtt,
    extra_acked: ExtraAcked,
    epoch: Epoch,
    bounds: Bounds,
    own_loss: OwnLoss,
    full_pipe: FullPipe,
    train: Train,
    sounding: Option<Box<Sounding>>,
    /// The bandwidth is what a train showed, not yet what was delivered.
    provisional: bool,
    /// Bandwidth before an outage, in bits per second.
    before_outage_bps: u64,
    /// What arrived in the last two epochs at the bandwidth or above it, in bits per second.
    arrived_bps: [u64; 2],
    /// When to probe next.
    due: Due,
    /// Epochs in a row in which a queue stood and packets arrived more slowly than they were sent.
    squeezed: u32,
    /// When the last probe ended; what is lost in the next two round trips may be its doing.
    probe_ended_ns: Nanos,
    /// Epochs in a row with more loss than the link's own.
    lossy: u32,
    /// The end of the first of them, and the bytes delivered until then.
    lossy_since: (Nanos, u64),
    /// We went slower to see whether that loss lessens.
    suspicious: bool,
    /// Epochs in a row in which a queue stood although we sent less than the bandwidth: others fill it.
    crowded: u32,
    /// Bounds and bandwidth before the last answer to a loss.
    undo: Option<(Bounds, MaxBandwidth)>,
    in_flight: u64,
    cwnd: u64,
    pacing_bps: Option<u64>,
}

impl Bbr {
    /// A fresh connection whose packets take up to `mss` bytes on the wire.
    pub fn new(mss: u64, max_ack_delay_ns: Nanos, rtt: &Rtt) -> Bbr {
        let mut bbr = Bbr {
            mss,
            max_ack_delay_ns,
            phase: Phase::Startup,
            bandwidth: MaxBandwidth::default(),
            min_rtt: MinRtt::default(),
            extra_acked: ExtraAcked::default(),
            epoch: Epoch::default(),
            bounds: Bounds::default(),
            own_loss: OwnLoss::new(mss),
            full_pipe: FullPipe::default(),
            train: Train::new(0, INITIAL_WINDOW_PACKETS),
            sounding: None,
            provisional: false,
            before_outage_bps: 0,
            arrived_bps: [0; 2],
            due: Due::AtOnce,
            squeezed: 0,
            probe_ended_ns: 0,
            lossy: 0,
            lossy_since: (0, 0),
            suspicious: false,
            crowded: 0,
            undo: None,
            in_flight: 0,
            cwnd: INITIAL_WINDOW_PACKETS * mss,
            pacing_bps: None,
        };
        bbr.on_rtt(rtt);
        bbr
    }

    /// The bandwidth that it sends by, in bits per second: the model's, within the bounds, and at least the smallest
    /// window in each round trip.
    fn bw_bps(&self) -> u64 {
        let bps = self.bounds.bw_lo.unwrap_or(u64::MAX).min(self.bandwidth.bps());
        bps.max(MIN_WINDOW_PACKETS * self.mss * 8_000_000_000 / self.min_rtt.ns().max(1))
    }

    /// What the path carries, once the start is over: what the first windows have shown, or where the rate stopped
    /// growing.
    pub fn found_bps(&self) -> Option<u64> {
        let starting = match self.phase {
            Phase::Startup | Phase::Sounding | Phase::Drain => true,
            // On short paths the windows are too short to show it well, and probing takes no time.
            _ => self.provisional && self.min_rtt.ns() < TELLING_RTT_NS,
        };
        // A jump believes less than was shown.
        let shown = self.bandwidth.bps() as f64 / if self.provisional { JUMP_SHARE } else { 1.0 };
        (!starting && shown > 0.0).then_some(shown as u64)
    }

    /// What the path holds at this rate without a queue.
    fn bdp_of(&self, bps: u64) -> u64 {
        bytes_in(bps, self.min_rtt.ns())
    }

    /// Bytes in flight for `gain` times the path's own, and what lies in the hosts: bursts, ACKs held back, lumps.
    fn inflight(&self, gain: f64) -> u64 {
        let bps = self.bw_bps();
        let quantum = bytes_in(bps, QUANTUM_NS).max(2 * self.mss);
        let held = bytes_in(bps, self.max_ack_delay_ns) + self.extra_acked.bytes() + QUANTA * quantum;
        (self.bdp_of(bps) as f64 * gain) as u64 + held
    }

    /// An epoch is over that passed in `phase`, which this ACK may have ended.
    fn on_epoch(&mut self, ack: &AckSample<'_>, seen: &Seen, phase: Phase) {
        self.extra_acked.on_epoch();
        let rate = seen.rate_bps(self.own_loss.compensated());
        if !matches!(phase, Phase::Startup | Phase::Sounding) && (!seen.app_limited || rate > self.bandwidth.bps()) {
            self.bandwidth.offer(rate);
        }
        if !matches!(phase, Phase::Down { .. } | Phase::ProbeRtt { .. }) && !seen.app_limited {
            self.arrived_bps = [seen.rate_bps(0.0), self.arrived_bps[0]];
        }
        if phase != self.phase {
            return;
        }
        match phase {
            Phase::Startup => self.on_startup_epoch(ack, seen),
            Phase::Down { .. } | Phase::Cruise { .. } | Phase::Refill { .. } => self.on_level_epoch(ack, seen, rate),
            Phase::Up(probe) => self.on_probe_epoch(ack, seen, rate, probe),
            Phase::Sounding | Phase::Drain | Phase::ProbeRtt { .. } => {}
        }
    }

    /// Whether loss of this share, and as much of it with a queue, is an answer to what we send.
    fn is_congestion(&self, seen: &Seen) -> bool {
        seen.crowded_loss() > self.own_loss.share() + LOSS_THRESHOLD
    }

    fn remember_for_undo(&mut self) {
        self.undo = Some((self.bounds, self.bandwidth));
    }

    fn set_pacing(&mut self) {
        let gain = match self.phase {
            Phase::Startup => {
                self.pacing_bps = self.startup_pacing();
                return;
            }
            Phase::Sounding => self.sounding.as_ref().map_or(1.0, |sounding| sounding.gain()),
            Phase::Drain => startup::DRAIN_GAIN,
            Phase::Down { .. } => probe_bw::DOWN_GAIN,
            Phase::Cruise { gain, .. } => gain,
            Phase::Refill { .. } | Phase::ProbeRtt { .. } => 1.0,
            Phase::Up(probe) => probe.gain(),
        };
        self.pacing_bps = Some((self.bw_bps() as f64 * gain) as u64);
    }

    fn set_cwnd(&mut self, ack: &AckSample<'_>) {
        let roomy = self.inflight(CWND_GAIN);
        let hi = self.bounds.inflight_hi.unwrap_or(u64::MAX);
        let lo = self.bounds.inflight_lo.unwrap_or(u64::MAX);
        let target = match self.phase {
            Phase::Startup => self.startup_cwnd(ack, roomy),
            Phase::Sounding => roomy + self.sounding.as_ref().map_or(0, |sounding| sounding.bytes()),
            Phase::Drain => roomy,
            Phase::Refill { .. } => roomy.min(hi.max(self.inflight(1.0))),
            Phase::Down { .. } | Phase::Cruise { .. } => roomy.min(self.with_headroom(hi)).min(lo),
            Phase::Up(probe) => probe.cap,
            Phase::ProbeRtt { .. } => self.probe_rtt_cwnd(),
        };
        self.cwnd = target.max(MIN_WINDOW_PACKETS * self.mss);
    }
}

/// How many bytes pass in `span` at `bps`.
fn bytes_in(bps: u64, span: Nanos) -> u64 {
    (u128::from(bps) * u128::from(span) / 8_000_000_000) as u64
}

impl Controller for Bbr {
    fn on_rtt(&mut self, rtt: &Rtt) {
        if rtt.samples() > 0 {
            self.min_rtt.lower(rtt.min_ns());
        }
    }

    fn on_restart(&mut self, now: Nanos) {
        // The draft's restart from idle: at the bandwidth, without a probe; and silence is no reason for probe-RTT.
        self.extra_acked.restart(now);
        self.epoch.restart();
        self.min_rtt.renew(now);
        if matches!(self.phase, Phase::Up(_) | Phase::Refill { .. }) && !self.provisional {
            self.phase = Phase::Cruise { until_ns: now, gain: 1.0 };
        }
        self.set_pacing();
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        self.in_flight = ack.bytes_in_flight;
        if let Some(rtt_ns) = ack.rtt_sample_ns {
            self.min_rtt.on_sample(ack.now, rtt_ns);
        }
        match self.own_loss.on_ack(ack) {
            Some(Verdict::Full(bps)) => self.believe(ack.now, bps),
            Some(Verdict::NotFull) => self.on_spurious(),
            Some(Verdict::Room) | None => {}
        }
        let (bw, most) = (self.bw_bps(), self.cwnd);
        self.extra_acked.on_ack(ack.now, ack.acked_bytes, bw, most);
        let seen = self.epoch.on_ack(ack);
        let before = self.phase;
        match self.phase {
            Phase::Startup => self.on_startup_ack(ack),
            Phase::Sounding => self.on_sounding_ack(ack),
            Phase::Drain => self.on_drain_ack(ack),
            Phase::Refill { until } => self.on_refill_ack(ack, until),
            Phase::Up(probe) => self.on_probe_ack(ack, probe),
            Phase::Down { .. } | Phase::Cruise { .. } => self.on_level_ack(ack),
            Phase::ProbeRtt { .. } => {}
        }
        if let Some(seen) = seen {
            self.on_epoch(ack, &seen, before);
        }
        self.check_probe_rtt(ack);
        self.set_pacing();
        self.set_cwnd(ack);
    }

    fn on_loss(&mut self, loss: &LossSample) {
        let crowded = self.min_rtt.is_crowded();
        self.epoch.on_loss(loss.lost_bytes, crowded);
        if let Phase::Up(probe) = self.phase
            && crowded
        {
            self.on_probe_loss(loss, probe);
        }
    }

    fn on_spurious(&mut self) {
        if let Some((bounds, bandwidth)) = self.undo.take() {
            self.bounds.undo(bounds);
            self.bandwidth.offer(bandwidth.bps());
        }
    }

    fn on_persistent_congestion(&mut self) {
        // Something got through again just now. What the path carries after an outage is found as at the start, and if
        // a train shows what was there before, that is it.
        self.before_outage_bps = self.before_outage_bps.max(self.bandwidth.bps());
        self.restart_startup();
    }

    fn is_measuring(&self) -> bool {
        self.sounding.as_ref().is_some_and(|sounding| sounding.is_sending())
    }

    fn on_counted_sent(&mut self, now: Nanos, number: u64) {
        if let Some(sounding) = &mut self.sounding {
            sounding.on_sent(now, number);
            self.set_pacing();
        }
    }

    fn cwnd_bytes(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh_bytes(&self) -> Option<u64> {
        self.bounds.inflight_hi
    }

    fn pacing_bps(&self, _rtt: &Rtt) -> Option<u64> {
        self.pacing_bps
    }

    fn bandwidth_bps(&self) -> Option<u64> {
        Some(self.bw_bps()).filter(|bps| *bps > 0)
    }

    fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Startup => "startup",
            Phase::Sounding => "sounding",
            Phase::Drain => "drain",
            Phase::Down { .. } => "down",
            Phase::Cruise { .. } => "cruise",
            Phase::Refill { .. } => "refill",
            Phase::Up(_) => "up",
            Phase::ProbeRtt { .. } => "probe-rtt",
        }
    }

    fn name(&self) -> &'static str {
        "bbr"
    }
}
