//! One try of a higher rate, and how large the next one is.
//!
//! A trial is as long as its step lets a full link's queue grow by a fixed time: small steps are tried for long, large
//! ones shortly. So a failed one costs the same little queue, and where there is no queue the same few packets.

use super::auto::MARGIN;
use super::evidence::{Evidence, Sum};
use super::spans::Span;
use crate::base::Nanos;
use crate::base::time::MILLISECOND;

/// The first step. Lower: its trial takes too long to fit between others. Higher: the link's last percents stay unused.
const STEP_MIN: f64 = 0.02;
/// The next one after a step that was carried, so many times larger …
const STEP_GROWTH: f64 = 4.0;
/// … up to this: twice the rate.
const STEP_MAX: f64 = 1.0;
/// The queue that a trial makes where the link was full before it. Lower: the jitter of workers hides it. Higher: it is
/// felt.
const QUEUE_NS: f64 = 5.0 * MILLISECOND as f64;
/// Where round trips wander, the queue must stand out by twice as much as they do; but no trial is longer than this,
/// and the step is made larger for that. Lower: jitter decides what comes of it. Higher: a link that gets narrower
/// meanwhile is overrun for so long.
const LONGEST_NS: f64 = 1e9;
/// A trial that makes so many times the queue that it should, or loses so much more than usual, is ended at once.
const REFUTED_QUEUES: f64 = 2.0;
const REFUTED_LOSS: f64 = 0.05;
/// And at least so many packets: a slow link's queue grows by whole ones.
const QUEUE_PACKETS: f64 = 4.0;
/// A trial is looked at in so many parts; the last one shows its queue.
const PARTS: u32 = 4;
/// A step counts as carried if this share of it was.
const CARRIED: f64 = 0.9;
/// Where less was, the rate that was carried is known the more roughly the larger the step: by a millisecond of jitter
/// in the queue's 5.
const ROUGHNESS: f64 = 0.1;
/// The sender must have used this share of the step.
const USED: f64 = 0.5;

/// What a trial has shown. Rates in bits per second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    /// The link carried it.
    Carried(f64),
    /// Not all of it, but more than before: this may be kept.
    Partly(f64),
    /// The link was full before.
    Refused,
}

/// How steps grow.
#[derive(Clone, Copy, Debug)]
pub struct Climb {
    step: f64,
    mss: u64,
}

/// One trial.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    epoch: u32,
    step: f64,
    began_ns: Nanos,
    part_ns: Nanos,
    parts_sent: u32,
    seen: Sum,
    sent: u64,
    sent_ns: Nanos,
    /// The queue when the first part began, and the last one.
    first_queue_ns: Nanos,
    last_queue_ns: Nanos,
}

impl Climb {
    /// Begins with small steps.
    pub fn new(mss: u64) -> Climb {
        Climb { step: STEP_MIN, mss }
    }

    /// The next step, as a share of the rate, where round trips wander by `slack_ns`.
    pub fn step(&self, slack_ns: Nanos) -> f64 {
        self.step.max(queue_for(slack_ns) / LONGEST_NS)
    }

    /// A trial of `step` above `from_bps` that begins now and is sent in spans of `epoch`. Its queue must stand out
    /// from `slack_ns` of round trips that wander.
    pub fn trial(&self, now: Nanos, epoch: u32, (step, from_bps): (f64, f64), slack_ns: Nanos) -> Trial {
        let packets_ns = QUEUE_PACKETS * self.mss as f64 * 8e9 / from_bps;
        let trial_ns = (queue_for(slack_ns).max(packets_ns) / step).min(LONGEST_NS.max(packets_ns / step));
        let part_ns = (trial_ns / f64::from(PARTS)) as Nanos;
        Trial {
            epoch,
            step,
            began_ns: now,
            part_ns,
            parts_sent: 0,
            seen: Sum::default(),
            sent: 0,
            sent_ns: 0,
            first_queue_ns: 0,
            last_queue_ns: 0,
        }
    }

    /// The rate fell by what `step` above it was: that is tried first.
    pub fn on_stepped_down(&mut self, step: f64) {
        self.step = step.clamp(STEP_MIN, STEP_MAX);
    }

    /// The link carried it.
    pub fn on_kept(&mut self) {
        self.step = (self.step * STEP_GROWTH).min(STEP_MAX);
    }

    /// It carried some of it.
    pub fn on_partly(&mut self) {
        self.step = STEP_MIN;
    }

    /// It carried no more than before. True if a smaller step is next.
    pub fn on_refused(&mut self) -> bool {
        let was = self.step;
        self.step = (was / STEP_GROWTH).max(STEP_MIN);
        self.step < was
    }
}

/// The queue that a trial is to make where round trips wander by `slack_ns`.
fn queue_for(slack_ns: Nanos) -> f64 {
    QUEUE_NS + 2.0 * slack_ns as f64
}

impl Trial {
    /// Its spans' epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether it is still being sent.
    pub fn is_sending(&self) -> bool {
        self.parts_sent < PARTS
    }

    /// When the part that is being sent ends.
    pub fn part_ends_ns(&self) -> Nanos {
        self.began_ns + Nanos::from(self.parts_sent + 1) * self.part_ns
    }

    /// It has ended.
    pub fn next_part(&mut self) {
        self.parts_sent += 1;
    }

    /// It is over before its time.
    pub fn end(&mut self) {
        self.parts_sent = PARTS;
    }

    /// Whether a part shows that there is no point in going on.
    pub fn is_refuted(&self, span: &Span, beyond_ns: Nanos, slack_ns: Nanos, own_loss: f64) -> bool {
        let queue_ns = beyond_ns.saturating_sub(self.first_queue_ns) as f64;
        queue_ns > REFUTED_QUEUES * queue_for(slack_ns) || span.loss() > own_loss + REFUTED_LOSS
    }

    /// A part is told, with what its round trips are longer than the shortest one.
    pub fn on_span(&mut self, span: &Span, queue_ns: Nanos) {
        self.seen.add(span);
        self.sent += span.sent;
        self.sent_ns += span.ended_ns - span.began_ns;
        if self.seen.spans == 1 {
            self.first_queue_ns = queue_ns;
        }
        self.last_queue_ns = queue_ns;
    }

    /// What came of it. `None` if the trial says nothing, as too little was sent.
    pub fn outcome(&self, from_bps: f64, evidence: &Evidence) -> Option<Outcome> {
        let sent_bps = self.sent as f64 * 8e9 / self.sent_ns.max(1) as f64;
        if sent_bps < from_bps * (1.0 + USED * self.step) || self.seen.told() * 2 < self.sent {
            return None;
        }
        let lost = evidence.excess(self.seen.acked, self.seen.lost);
        // A part's shortest round trip is that of its beginning, if the queue grows.
        let parts = f64::from(self.seen.spans.max(2));
        let span_ns = self.sent_ns as f64 * (parts - 1.0) / parts;
        let grown = self.last_queue_ns.saturating_sub(self.first_queue_ns) as f64 / span_ns.max(1.0);
        let carried = sent_bps * (1.0 - lost) / (1.0 + grown);
        let tried = sent_bps.min(from_bps * (1.0 + self.step));
        let safe = carried * (1.0 - MARGIN - ROUGHNESS * self.step);
        Some(if carried >= from_bps + CARRIED * (tried - from_bps) {
            Outcome::Carried(tried)
        } else if safe > from_bps * (1.0 + STEP_MIN / 4.0) {
            Outcome::Partly(safe)
        } else {
            Outcome::Refused
        })
    }
}
