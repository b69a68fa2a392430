//! What losses have taught: bounds below the model, and the share that the link loses by itself.

use super::super::{AckSample, Totals};
use crate::base::Nanos;

/// What is left of a bound after a round trip with congestion (the draft's Beta).
pub const BETA: f64 = 0.7;
/// Loss above the link's own that means congestion (the draft's LossThresh, there of all loss). Lower: an unlucky round
/// trip on a link that loses 1% counts. Higher: others on a shared link suffer.
pub const LOSS_THRESHOLD: f64 = 0.02;
/// Most of the link's own loss that is made good for by sending more. While it is measured we send 10% less than the
/// bandwidth, so a policer that drops what exceeds the rate shows no loss then; with more than this it would, and the
/// loss that we cause would pass for the link's.
const OWN_LOSS_MAX: f64 = 0.08;
/// We send 0.9 of the bandwidth and this share of what arrived before still arrives: no less.
const NO_LESS: f64 = 0.96;
/// A step down has helped when the loss fell below this share of what it was.
const HELPED: f64 = 0.6;
/// Bytes' worth of packets below which a measurement of the own loss says nothing.
const OWN_LOSS_PACKETS: u64 = 64;
/// What is left of older measurements in the mean with each new one. Lower: a burst in one of them shows for long in
/// the rate. Higher: an amplifier that fails is noticed later.
const OWN_LOSS_MEMORY: f64 = 0.75;

/// Bounds on rate and bytes in flight, below what the model allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Rate until the next probe, in bits per second.
    pub bw_lo: Option<u64>,
    /// Bytes in flight until the next probe.
    pub inflight_lo: Option<u64>,
    /// Bytes in flight above which a probe lost packets.
    pub inflight_hi: Option<u64>,
}

impl Bounds {
    /// Congestion outside of a probe: this rate still arrived, with so much in flight.
    pub fn lower(&mut self, bw_bps: u64, rate_bps: u64, cwnd: u64, inflight: u64) {
        let bw = self.bw_lo.unwrap_or(bw_bps);
        self.bw_lo = Some(rate_bps.max((bw as f64 * BETA) as u64).min(bw));
        let window = self.inflight_lo.unwrap_or(cwnd);
        self.inflight_lo = Some(inflight.max((window as f64 * BETA) as u64).min(window));
    }

    /// Forgets the short-term bounds: the path is to be probed.
    pub fn reset_lower(&mut self) {
        self.bw_lo = None;
        self.inflight_lo = None;
    }

    /// Without the losses it would have been this: the weaker of both.
    pub fn undo(&mut self, before: Bounds) {
        let weaker = |now: Option<u64>, then: Option<u64>| Some(now?.max(then?));
        self.bw_lo = weaker(self.bw_lo, before.bw_lo);
        self.inflight_lo = weaker(self.inflight_lo, before.inflight_lo);
        self.inflight_hi = weaker(self.inflight_hi, before.inflight_hi);
    }
}

/// The share of packets that the link loses whatever we send: what is lost while we send less than it carries.
///
/// A loss that does not lessen when we go slower is not ours to answer. BBR slows down to 0.9 of the bandwidth in each
/// cycle anyway: those packets are the measurement. If no less arrives although less was sent, the bottleneck was full
/// all the same, and what arrived is all that it has for us.
#[derive(Clone, Copy, Debug)]
pub struct OwnLoss {
    mss: u64,
    lost: f64,
    told: f64,
    /// Number from which on, and below which, packets were sent slowly.
    from: Option<u64>,
    until: Option<u64>,
    /// What arrived while they were not, in bits per second.
    before_bps: u64,
    /// The host was late or had nothing to send meanwhile.
    app_limited: bool,
    start: Option<Start>,
    /// Share lost when the bottleneck was last found full; believed until the next measurement confirms it.
    full_loss: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    totals: Totals,
    acked_ns: Nanos,
    sent_ns: Nanos,
}

/// What going slower has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Less arrived: the link has room, and loses by itself what it loses.
    Room,
    /// No less arrived, this rate in bits per second, and packets were lost: the bottleneck is full.
    Full(u64),
    /// That was wrong: at the lower rate as much is lost.
    NotFull,
}

impl OwnLoss {
    /// Nothing measured yet.
    pub fn new(mss: u64) -> OwnLoss {
        OwnLoss {
            mss,
            lost: 0.0,
            told: 0.0,
            from: None,
            until: None,
            before_bps: 0,
            app_limited: false,
            start: None,
            full_loss: None,
        }
    }

    /// The share as measured.
    pub fn share(&self) -> f64 {
        if self.told < (OWN_LOSS_PACKETS * self.mss) as f64 { 0.0 } else { self.lost / self.told }
    }

    /// As much of it as may be made good for.
    pub fn compensated(&self) -> f64 {
        self.share().min(OWN_LOSS_MAX)
    }

    /// From this packet number on we send slowly; so far, so much arrived.
    pub fn begin(&mut self, next_number: u64, arrived_bps: u64) {
        let OwnLoss { mss, lost, told, full_loss, .. } = *self;
        let fresh = OwnLoss { lost, told, full_loss, ..OwnLoss::new(mss) };
        *self = OwnLoss { from: Some(next_number), before_bps: arrived_bps, ..fresh };
    }

    /// From this packet number on no longer.
    pub fn end(&mut self, next_number: u64) {
        self.until = self.from.map(|_| next_number);
    }

    /// Takes an ACK; tells what a measurement has shown that ends with it.
    pub fn on_ack(&mut self, ack: &AckSample<'_>) -> Option<Verdict> {
        let from = self.from.filter(|from| ack.largest_newly_acked >= *from)?;
        self.app_limited |= ack.rate.is_app_limited;
        let here = Start { totals: ack.totals, acked_ns: ack.now, sent_ns: ack.rate.sent_ns };
        let Some(start) = self.start else {
            self.start = Some(here);
            return None;
        };
        let until = self.until.filter(|until| ack.largest_newly_acked >= *until)?;
        self.from = None;
        if until - from < OWN_LOSS_PACKETS {
            return None;
        }
        let lost = ack.totals.lost.saturating_sub(start.totals.lost);
        let delivered = ack.totals.delivered - start.totals.delivered;
        let span_ns = (here.acked_ns - start.acked_ns).max(here.sent_ns.saturating_sub(start.sent_ns));
        let arrived_bps = (delivered as f64 * 8e9 / span_ns.max(1) as f64) as u64;
        let told = delivered + lost;
        let loss = lost as f64 / told.max(1) as f64;
        let helped = self.full_loss.take().is_none_or(|before| loss < HELPED * before);
        // Who sends less than the path carries does not overfill it.
        let no_less = arrived_bps as f64 > NO_LESS * self.before_bps as f64 && !self.app_limited;
        if helped && no_less && loss > self.share() + LOSS_THRESHOLD {
            self.full_loss = Some(loss);
            return Some(Verdict::Full(arrived_bps));
        }
        self.lost = OWN_LOSS_MEMORY * self.lost + lost as f64;
        self.told = OWN_LOSS_MEMORY * self.told + told as f64;
        Some(if helped { Verdict::Room } else { Verdict::NotFull })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::ack_at;
    use super::*;
    use crate::base::time::{MILLISECOND, SECOND};
    use crate::proto::recovery::RateSample;

    const MSS: u64 = 1000;

    #[test]
    fn bounds_fall_to_what_arrived_but_not_faster_than_beta() {
        let mut bounds = Bounds::default();
        bounds.lower(1000, 900, 100, 50);
        assert_eq!((bounds.bw_lo, bounds.inflight_lo), (Some(900), Some(70)));
        bounds.lower(1000, 100, 100, 50);
        assert_eq!((bounds.bw_lo, bounds.inflight_lo), (Some(630), Some(50)));
        bounds.lower(1000, 800, 100, 200);
        assert_eq!((bounds.bw_lo, bounds.inflight_lo), (Some(630), Some(50)), "it does not rise by a loss");
        bounds.reset_lower();
        assert_eq!(bounds, Bounds::default());
    }

    #[test]
    fn an_undo_takes_the_weaker_bounds() {
        let before = Bounds { bw_lo: Some(900), inflight_lo: None, inflight_hi: Some(70) };
        let mut bounds = Bounds { bw_lo: Some(600), inflight_lo: Some(10), inflight_hi: Some(90) };
        bounds.undo(before);
        assert_eq!(bounds, Bounds { bw_lo: Some(900), inflight_lo: None, inflight_hi: Some(90) });
    }

    /// A measurement over 100 ms: packets sent and lost, and what had arrived before, in packets per 100 ms.
    fn measure(own: &mut OwnLoss, sent: u64, lost: u64, before: u64) -> Option<Verdict> {
        own.begin(0, before * MSS * 80);
        let ack = |at_ms: u64, delivered: u64, lost: u64| {
            let now = SECOND + at_ms * MILLISECOND;
            let totals = Totals { sent: 0, delivered: delivered * MSS, lost: lost * MSS };
            let rate = RateSample { sent_ns: now - 20 * MILLISECOND, ..RateSample::default() };
            AckSample { totals, rate, ..ack_at(now, 0, delivered + lost, sent, 20 * MILLISECOND) }
        };
        assert_eq!(own.on_ack(&ack(0, 0, 0)), None);
        own.end(sent);
        own.on_ack(&ack(100, sent - lost, lost))
    }

    #[test]
    fn what_is_lost_while_less_arrives_is_the_links_own() {
        let mut own = OwnLoss::new(MSS);
        assert_eq!(measure(&mut own, 900, 45, 950), Some(Verdict::Room));
        assert!((own.share() - 0.05).abs() < 0.001);
        assert_eq!(own.compensated(), own.share());
        for _ in 0..20 {
            measure(&mut own, 900, 180, 800);
        }
        assert!(own.share() > 0.15 && own.compensated() == OWN_LOSS_MAX, "{own:?}");
    }

    #[test]
    fn what_arrives_all_the_same_fills_the_bottleneck() {
        let mut own = OwnLoss::new(MSS);
        assert_eq!(measure(&mut own, 900, 400, 500), Some(Verdict::Full(500 * MSS * 80)));
        assert_eq!(own.share(), 0.0);
        assert_eq!(measure(&mut own, 450, 0, 500), Some(Verdict::Room), "and slower helped");
    }

    #[test]
    fn a_step_down_that_did_not_help_was_wrong() {
        let mut own = OwnLoss::new(MSS);
        // Bursts before made it look as if no less arrived.
        assert!(matches!(measure(&mut own, 900, 45, 860), Some(Verdict::Full(_))));
        assert_eq!(measure(&mut own, 770, 39, 820), Some(Verdict::NotFull));
        assert!((own.share() - 0.05).abs() < 0.001);
    }

    #[test]
    fn a_few_packets_measure_nothing() {
        let mut own = OwnLoss::new(MSS);
        assert_eq!(measure(&mut own, OWN_LOSS_PACKETS - 1, 10, 60), None);
        assert_eq!(own.share(), 0.0);
    }
}
