//! Keeps the rate of a link that is ours true to what it carries: steps down where a queue or a trial proves it too
//! high, empties the queue, and tries its way up.
//!
//! Every step is checked. A step down for losses that does not lessen them is taken back; so is one for a queue that
//! does not go, which is a longer way and no queue, or that went by itself; a step up is kept if the link carried it.

mod climbing;
#[cfg(test)]
mod tests;
mod words;

use super::auto::MARGIN;
use super::evidence::{Evidence, Finding, QUEUE_LIMIT_NS, Sum};
use super::spans::{Span, Spans};
use super::trial::{Climb, Trial};
use super::wander::Wander;
use super::{AckSample, LossSample, Notice};
use crate::base::time::{MILLISECOND, SECOND};
use crate::base::{Nanos, Rate};
use crate::proto::received::ACK_DELAY_NS;
use words::{Reason, Words};

/// Length of a span. Lower: a preempted receiver fills several. Higher: a narrower link is noticed later.
const SPAN_NS: Nanos = 20 * MILLISECOND;
/// A full packet leaves at least this often, whatever was lost: who sends less learns nothing, and stays there.
/// Shorter: links below 1 Mbit/s are overrun by packets of 9,000 bytes. Longer: the way back up takes minutes.
const LONGEST_GAP_NS: Nanos = 100 * MILLISECOND;
/// While a queue is emptied, this share of the link's rate is sent; of a longer one than [`LONG_QUEUE_NS`], the other.
/// The link is busy meanwhile, so this costs nothing. Lower: the link runs dry if its rate was taken too low.
/// Higher: the queue stands for longer.
const DRAIN: f64 = 0.75;
const DRAIN_LONG: f64 = 0.5;
const LONG_QUEUE_NS: Nanos = 50 * MILLISECOND;
/// Of a queue that should be gone this much is still there: it is no queue, but a longer way. Lower: what a wrong guess
/// of the rate has left passes for it.
const NOT_GONE: f64 = 0.8;
/// A step down for losses has helped when they fell below this share of what they were.
const HELPED: f64 = 0.6;
/// … which is known when so many packets would have been lost as before: fewer than ten bursts of 20 tell nothing.
const TRIED_LOSSES: f64 = 200.0;
/// And so many spans.
const TRIED_SPANS: u32 = 3;
/// After a step down that did not help, no further one for this long, doubled each time …
const IMMUNE_NS: Nanos = 10 * SECOND;
/// … so often at most (10 s to 640 s).
const IMMUNE_DOUBLINGS: u32 = 6;
/// After a step down the rate before is tried so much sooner: a host that got no core for a while looks like a link
/// that was narrow for a while.
const SOONER: Nanos = 4;
/// Losses that differ by less than this are the same.
const SAME_LOSS: f64 = 0.01;
/// Who sends less than this share of the rate, and has no more to send, makes no queue and fills no link: what arrives
/// tells what there was to send. Lower: ACKs and control packets beside a flow the other way are taken for a narrow
/// link. Higher: an application that keeps a narrower link full is not noticed.
const LITTLE: f64 = 0.1;
/// A measured rate is short of the link's by about this: so much is tried first. Lower: more trials until the link is
/// full. Higher: the first one fails, and the next ones begin small.
const MEASURED_SHORT: f64 = 0.05;
/// The own losses of a link are said to be so from this share on.
const LOSSES_WORTH_A_WORD: f64 = 0.1;

/// The keeper of one connection's rate.
#[derive(Debug)]
pub struct Keeper {
    /// What the user vouched for; infinite for `auto`.
    ceiling_bps: f64,
    /// The rate in force.
    bps: f64,
    mss: u64,
    /// The shortest round trip, without any queue.
    base_ns: Option<Nanos>,
    /// What it wanders by without our doing.
    wander: Wander,
    spans: Spans,
    epoch: u32,
    /// Spans of earlier epochs say nothing about the rate in force.
    since_epoch: u32,
    evidence: Evidence,
    mode: Mode,
    climb: Climb,
    next_climb_ns: Nanos,
    immune_until_ns: Nanos,
    immune_times: u32,
    outage: bool,
    /// Why the rate fell last.
    reason: Reason,
    words: Words,
}

/// What it does.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Hold,
    /// Empties a queue until no more than this is in flight; `from` was the rate, `then` will be.
    Drain {
        in_flight: u64,
        until_ns: Nanos,
        from: f64,
        then: f64,
    },
    /// The queue should be gone: is it?
    Verify {
        from: f64,
    },
    /// Stepped down for losses: did they lessen?
    Down {
        from: f64,
        loss: f64,
        seen: Sum,
    },
    /// Tries a higher rate.
    Up {
        from: f64,
        trial: Trial,
    },
}

impl Keeper {
    /// A rate that the user vouches for.
    pub fn configured(rate: Rate, mss: u64) -> Keeper {
        let bps = rate.bps() as f64;
        Keeper::new(bps, bps, mss, Spans::new(0, 0, 0))
    }

    /// A rate that was measured just now.
    pub fn measured(rate: Rate, mss: u64, ack: &AckSample<'_>) -> Keeper {
        let bps = rate.bps() as f64 * (1.0 - MARGIN);
        let mut keeper = Keeper::new(f64::INFINITY, bps, mss, Spans::new(ack.now, ack.next_number, ack.totals.sent));
        keeper.base_ns = Some(ack.rtt.min_ns());
        // First what the link loses by itself has to be known, or a trial's losses are taken for its doing.
        keeper.next_climb_ns = ack.now + ack.rtt.smoothed_ns() + 3 * SPAN_NS;
        keeper.climb.on_stepped_down(MEASURED_SHORT);
        keeper
    }

    fn new(ceiling_bps: f64, bps: f64, mss: u64, spans: Spans) -> Keeper {
        Keeper {
            ceiling_bps,
            bps,
            mss,
            base_ns: None,
            wander: Wander::default(),
            spans,
            epoch: 0,
            since_epoch: 0,
            evidence: Evidence::new(mss),
            mode: Mode::Hold,
            climb: Climb::new(mss),
            next_climb_ns: 0,
            immune_until_ns: 0,
            immune_times: 0,
            outage: false,
            reason: Reason::default(),
            words: Words::new(bps),
        }
    }

    /// The rate to send at.
    pub fn rate(&self) -> Rate {
        Rate::nearest(self.bps)
    }

    /// What it is doing.
    pub fn state_name(&self) -> &'static str {
        match self.mode {
            Mode::Hold => "holding",
            Mode::Drain { .. } | Mode::Verify { .. } => "draining",
            Mode::Down { .. } => "stepping down",
            Mode::Up { .. } => "probing",
        }
    }

    /// The last change that people should hear of.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.words.poll()
    }

    /// Nothing got through for a while: what was under way says nothing about the rate.
    pub fn on_outage(&mut self) {
        self.outage = true;
    }

    /// Packets were lost.
    pub fn on_loss(&mut self, loss: &LossSample) {
        self.spans.on_loss(loss.largest_lost, loss.lost_bytes);
    }

    /// Packets were acknowledged.
    pub fn on_ack(&mut self, ack: &AckSample<'_>) {
        if std::mem::take(&mut self.outage) {
            self.resume(ack);
            return;
        }
        if let Some(sample_ns) = ack.rtt_sample_ns {
            self.base_ns = Some(self.base_ns.map_or(sample_ns, |base| base.min(sample_ns)));
        }
        self.spans.on_ack(ack);
        while let Some(span) = self.spans.poll() {
            self.on_span(ack, &span);
        }
        self.advance(ack);
    }

    /// What time brings: the end of a span, of a trial's part, of emptying a queue.
    fn advance(&mut self, ack: &AckSample<'_>) {
        let now = ack.now;
        match &mut self.mode {
            Mode::Drain { in_flight, until_ns, from, then }
                if ack.bytes_in_flight <= *in_flight || now >= *until_ns =>
            {
                let (from, then) = (*from, *then);
                self.set_rate(ack, then);
                self.forget();
                self.mode = Mode::Verify { from };
            }
            Mode::Up { from, trial } if trial.is_sending() => {
                if now >= trial.part_ends_ns() {
                    trial.next_part();
                    if trial.is_sending() {
                        self.spans.cut(now, ack.next_number, ack.totals.sent, self.epoch);
                    } else {
                        let from = *from;
                        self.set_rate(ack, from);
                    }
                }
                return;
            }
            Mode::Hold => self.try_climb(ack),
            _ => {}
        }
        if now.saturating_sub(self.spans.began_ns()) >= SPAN_NS {
            self.spans.cut(now, ack.next_number, ack.totals.sent, self.epoch);
        }
    }

    fn on_span(&mut self, ack: &AckSample<'_>, span: &Span) {
        let (now, beyond_ns) = (ack.now, self.beyond(span));
        if self.wanders(now, span, beyond_ns) && self.was_no_queue(ack, span) {
            return;
        }
        let queue_ns = self.queue_of(span, beyond_ns);
        let draining = matches!(self.mode, Mode::Drain { .. });
        if draining || span.epoch < self.since_epoch {
            if draining || matches!(self.mode, Mode::Verify { .. }) {
                // The longest that it was: it still grew when the rate fell.
                self.reason.beyond_ns = self.reason.beyond_ns.max(beyond_ns);
            }
            return;
        }
        if let Mode::Up { from, trial } = self.mode {
            if span.epoch < trial.epoch() {
                // What was sent before it is what it is compared with.
            } else if span.epoch == trial.epoch() {
                self.on_trial_span(ack, span, beyond_ns, (from, trial));
                return;
            } else {
                let outcome = trial.outcome(from, &self.evidence);
                self.on_climbed(ack, outcome);
                if span.epoch < self.since_epoch {
                    return;
                }
            }
        }
        if let Mode::Down { from, loss, mut seen } = self.mode {
            if span.is_known() {
                seen.add(span);
            }
            self.mode = Mode::Down { from, loss, seen };
            self.judge_down(ack, from, loss, &seen);
            return;
        }
        if let Mode::Verify { from } = self.mode {
            self.verify(ack, span, beyond_ns, from);
        }
        if self.is_little(span) {
            self.evidence.forget();
            return;
        }
        match self.evidence.on_span(now, span, queue_ns, ack.totals.delivered) {
            Some(Finding::Full { delivered_bps, loss, queue_ns }) => {
                self.on_full(ack, Reason { delivered_bps, loss, beyond_ns }, queue_ns);
            }
            Some(Finding::Lossy { loss }) => self.on_lossy(ack, loss),
            None => {}
        }
    }

    /// Whether a span shows that the round trip wanders by more than was known. Who pauses lets his own queue go.
    fn wanders(&mut self, now: Nanos, span: &Span, beyond_ns: Nanos) -> bool {
        if span.app_limited || span.rtt_min_ns == Nanos::MAX {
            self.wander.on_pause();
            return false;
        }
        self.wander.on_span(now, span.epoch, beyond_ns)
    }

    /// What of a longer round trip is taken for a queue. One that drops packets is one, whatever makes the way longer.
    fn queue_of(&self, span: &Span, beyond_ns: Nanos) -> Nanos {
        let drops = self.evidence.excess(span.acked, span.lost) > 0.0;
        beyond_ns.saturating_sub(if drops { 0 } else { self.wander.slack_ns() })
    }

    fn is_little(&self, span: &Span) -> bool {
        let span_ns = (span.ended_ns - span.began_ns).max(1);
        span.app_limited && span.sent as f64 * 8e9 < LITTLE * self.bps * span_ns as f64
    }

    /// By how much the round trips of a span are longer than the shortest.
    fn beyond(&self, span: &Span) -> Nanos {
        match self.base_ns {
            Some(base) if span.rtt_min_ns < Nanos::MAX => span.rtt_min_ns - base.min(span.rtt_min_ns),
            _ => 0,
        }
    }

    /// A queue stands: down to a little less than arrives, and first the queue is emptied.
    fn on_full(&mut self, ack: &AckSample<'_>, reason: Reason, queue_ns: Nanos) {
        let link_bps = reason.delivered_bps / (1.0 - self.evidence.own_loss());
        let from = match self.mode {
            Mode::Up { from, .. } => from,
            _ => self.bps,
        };
        let then = (link_bps * (1.0 - MARGIN)).min(from);
        let link_bps = link_bps.min(from);
        let drain = if queue_ns > LONG_QUEUE_NS { DRAIN_LONG } else { DRAIN };
        let base_ns = self.base_ns.unwrap_or(ack.rtt.min_ns());
        // What the link and held-back ACKs need, and a burst.
        let span_ns = base_ns + 2 * ack.rtt.patience_ns() + ACK_DELAY_NS;
        let in_flight = Rate::nearest(link_bps).bytes_in(span_ns) + 8 * self.mss;
        // Twice what it takes, if the queue is not ours.
        let excess = ack.bytes_in_flight.saturating_sub(in_flight);
        let drained = Rate::nearest(link_bps * (1.0 - drain));
        let until_ns = ack.now + base_ns + 2 * drained.duration_of(excess);
        self.reason = reason;
        self.set_rate(ack, link_bps * drain);
        self.mode = Mode::Drain { in_flight, until_ns, from, then };
    }

    /// What was sent before a queue was to be emptied has seen it go by itself: the rate that it was blamed on is back.
    fn was_no_queue(&mut self, ack: &AckSample<'_>, span: &Span) -> bool {
        let Mode::Drain { from, .. } = self.mode else { return false };
        let Reason { loss, beyond_ns, .. } = self.reason;
        let of_drain = span.epoch >= self.epoch;
        let explained = beyond_ns <= QUEUE_LIMIT_NS + self.wander.slack_ns();
        if of_drain || !explained || loss > self.evidence.own_loss() + SAME_LOSS {
            return false;
        }
        self.mode = Mode::Hold;
        self.set_rate(ack, from);
        self.forget();
        true
    }

    /// The first span after the queue was emptied. If it shows the same queue, without loss and at the rate that was
    /// sent, the way is longer than it was.
    fn verify(&mut self, ack: &AckSample<'_>, span: &Span, beyond_ns: Nanos, from: f64) {
        self.mode = Mode::Hold;
        if !span.is_known() {
            return;
        }
        let still_there = beyond_ns as f64 >= NOT_GONE * self.reason.beyond_ns as f64;
        if still_there && span.loss() <= self.evidence.own_loss() + SAME_LOSS {
            self.base_ns = Some(span.rtt_min_ns);
            self.set_rate(ack, from);
            self.forget();
            return;
        }
        self.stepped_down(ack, from);
    }

    /// A lower rate has proved right: people hear of it, and the way back is tried soon.
    fn stepped_down(&mut self, ack: &AckSample<'_>, from: f64) {
        self.words.on_lower(self.bps, &self.reason, self.wander.slack_ns());
        self.climb.on_stepped_down(from / self.bps - 1.0);
        self.next_climb_ns = ack.now + self.climb_every(ack) / SOONER;
    }

    /// Losses without a queue: are they fewer at a lower rate?
    fn on_lossy(&mut self, ack: &AckSample<'_>, loss: f64) {
        if ack.now < self.immune_until_ns || !matches!(self.mode, Mode::Hold) {
            return;
        }
        let from = self.bps;
        self.reason = Reason { delivered_bps: from * (1.0 - loss), loss, beyond_ns: 0 };
        self.set_rate(ack, from * (1.0 - loss) * (1.0 - MARGIN));
        self.mode = Mode::Down { from, loss, seen: Sum::default() };
        self.forget();
    }

    fn judge_down(&mut self, ack: &AckSample<'_>, from: f64, loss: f64, seen: &Sum) {
        let expected = seen.told() as f64 / self.mss as f64 * loss;
        if seen.spans < TRIED_SPANS || expected < TRIED_LOSSES {
            return;
        }
        self.mode = Mode::Hold;
        self.evidence.set_own_loss(seen);
        if seen.loss() < HELPED * loss {
            self.immune_times = 0;
            self.stepped_down(ack, from);
            return;
        }
        if loss >= LOSSES_WORTH_A_WORD && self.immune_times == 0 {
            self.words.on_own_loss(self.bps, from, seen.loss());
        }
        self.immune_until_ns = ack.now + (IMMUNE_NS << self.immune_times);
        self.immune_times = (self.immune_times + 1).min(IMMUNE_DOUBLINGS);
        self.set_rate(ack, from);
        self.forget();
    }

    fn set_rate(&mut self, ack: &AckSample<'_>, bps: f64) {
        let least_bps = (self.mss * 8) as f64 * 1e9 / LONGEST_GAP_NS as f64;
        self.bps = bps.max(least_bps.min(self.ceiling_bps));
        self.epoch += 1;
        self.spans.cut(ack.now, ack.next_number, ack.totals.sent, self.epoch);
    }

    /// What is told from now on about packets that are under way is about another rate.
    fn forget(&mut self) {
        self.since_epoch = self.epoch;
        self.evidence.forget();
    }

    /// The first ACK after an outage: the rate that was held before it.
    fn resume(&mut self, ack: &AckSample<'_>) {
        let bps = match self.mode {
            Mode::Up { from, .. } | Mode::Down { from, .. } => from,
            Mode::Drain { then, .. } => then,
            Mode::Hold | Mode::Verify { .. } => self.bps,
        };
        self.mode = Mode::Hold;
        self.set_rate(ack, bps);
        self.spans.forget(ack.now, ack.next_number, ack.totals.sent, self.epoch);
        self.forget();
    }
}
