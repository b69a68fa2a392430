//! Higher rates: when one is tried, and what comes of it.

use super::super::evidence::QUEUE_NS;
use super::super::spans::Span;
use super::super::trial::{Outcome, Trial};
use super::{AckSample, Keeper, Mode};
use crate::base::Nanos;
use crate::base::time::SECOND;

/// A higher rate is tried this often, and no more than once in as many round trips. Lower: the queue of the trials,
/// 2 ms, is felt. Higher: a link that got wider is noticed later.
const CLIMB_EVERY_NS: Nanos = SECOND;
const CLIMB_EVERY_RTTS: Nanos = 4;
/// What is kept of a higher rate that was carried, as a trial does not see half a percent; all of what was configured.
const KEPT: f64 = 0.995;

impl Keeper {
    /// A part of a trial is told: one that makes far more of a queue than it should, or loses much, is ended.
    pub(super) fn on_trial_span(
        &mut self,
        ack: &AckSample<'_>,
        span: &Span,
        beyond_ns: Nanos,
        (from, mut trial): (f64, Trial),
    ) {
        trial.on_span(span, beyond_ns);
        self.evidence.on_gap();
        let refuted = trial.is_refuted(span, beyond_ns, self.wander.slack_ns(), self.evidence.own_loss());
        let ends = trial.is_sending() && refuted;
        if ends {
            trial.end();
        }
        self.mode = Mode::Up { from, trial };
        if ends {
            self.set_rate(ack, from);
        }
    }

    /// Tries a higher rate, if all is quiet and the one in force is used.
    pub(super) fn try_climb(&mut self, ack: &AckSample<'_>) {
        let room = self.ceiling_bps / self.bps - 1.0;
        if ack.now < self.next_climb_ns || room < 1e-4 || !self.evidence.is_quiet() || ack.rate.is_app_limited {
            return;
        }
        let slack_ns = self.wander.slack_ns();
        if ack.rtt.latest_ns() > self.base_ns.unwrap_or(0) + QUEUE_NS + slack_ns {
            return;
        }
        let from = self.bps;
        let step = self.climb.step(slack_ns).min(room);
        let higher = from * (1.0 + step);
        self.set_rate(ack, higher);
        let trial = self.climb.trial(ack.now, self.epoch, (step, from), slack_ns);
        self.mode = Mode::Up { from, trial };
    }

    /// All of a trial's packets are told.
    pub(super) fn on_climbed(&mut self, ack: &AckSample<'_>, outcome: Option<Outcome>) {
        self.mode = Mode::Hold;
        self.next_climb_ns = ack.now + self.climb_every(ack);
        match outcome {
            Some(Outcome::Carried(bps)) => {
                self.climb.on_kept();
                let at_ceiling = bps >= self.ceiling_bps * KEPT;
                self.climb_to(ack, if at_ceiling { self.ceiling_bps } else { bps * KEPT });
            }
            Some(Outcome::Partly(bps)) => {
                self.climb.on_partly();
                self.climb_to(ack, bps);
            }
            Some(Outcome::Refused) => {
                // After a large step a small one may still find something.
                if !self.climb.on_refused() {
                    self.words.on_higher(self.bps, self.ceiling_bps);
                } else {
                    self.next_climb_ns = ack.now;
                }
            }
            None => {}
        }
    }

    fn climb_to(&mut self, ack: &AckSample<'_>, bps: f64) {
        self.set_rate(ack, bps);
        self.forget();
        self.next_climb_ns = ack.now;
        if self.bps >= self.ceiling_bps {
            self.words.on_higher(self.bps, self.ceiling_bps);
        }
    }

    pub(super) fn climb_every(&self, ack: &AckSample<'_>) -> Nanos {
        CLIMB_EVERY_NS.max(CLIMB_EVERY_RTTS * ack.rtt.smoothed_ns())
    }
}
