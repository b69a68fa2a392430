//! What speaks for a rate being higher than the link's: a queue that stands, or losses that are new.
//!
//! Loss alone proves nothing (a dirty fibre loses at any rate), and neither does one late burst. Single spans are never
//! believed, and what only losses say is tried out before it is.

use std::collections::VecDeque;

use super::spans::Span;
use crate::base::Nanos;
use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};

/// A queue of this length has formed: more than turns of busy workers make of the shortest round trip in 20 ms.
/// Lower: those turns. Higher: a queue is seen later.
pub const QUEUE_NS: Nanos = 1500 * MICROSECOND;
/// A queue of this length must go. With what is added until the sender hears of it the aim of 10 ms is held.
/// Lower: a receiver that was late for some spans is taken for a narrow link. Higher: that aim.
pub const QUEUE_LIMIT_NS: Nanos = 5 * MILLISECOND;
/// A shorter queue must go when it stands for this long: the round trip may have changed instead, and only emptying the
/// queue tells.
const QUEUE_STANDS_NS: Nanos = 5 * SECOND;
/// Spans in a row that must say the same. Fewer: a receiver that was preempted does. More: a narrower link is hammered
/// for longer; three spans are 60 ms.
const SPANS: u32 = 3;
/// And the ACKs that say so must have come over this time. A worker that got no core for long hears them all at once,
/// about packets that waited for nobody but itself.
const SPANS_NS: Nanos = 40 * MILLISECOND;
/// With a queue of any length, losses above the usual by this share say that it is full.
const NEW_LOSS: f64 = 0.03;
/// Without a queue, a span is bad when more than this share was lost. A rate 1.25 times what the link carries loses
/// exactly this. Lower: bursts of losses of a few spans. Higher: worse rates are left to the slower rule below.
const BAD_LOSS: f64 = 0.2;
/// Bad spans count from this many packets on, together (the first of them not, which they began in): 20% of them are
/// 25 and no accident.
const BAD_PACKETS: u64 = 128;
/// Less than that is suspicious when it lasts …
const MILD_LOSS: f64 = 0.02;
/// … for this long and this many packets: in bursts of 20, as of failing optics, 1% of 8192 are four bursts, and twice
/// as many an accident, after which no more than a trial follows. Lower: trials for nothing. Higher: such a rate stays
/// for longer.
const MILD_NS: Nanos = SECOND;
const MILD_PACKETS: u64 = 8192;
/// Packets of which the link's own share of losses is the mean. Lower: bursts of losses change it. Higher: a link that
/// got better or worse is known for what it was.
const OWN_PACKETS: f64 = 32_768.0;
/// Losses beyond the usual count if they are this many standard deviations beyond it.
const SIGMAS: f64 = 3.0;
/// Spans over which a full link's rate is taken …
const RATE_SPANS: usize = 16;
/// … if it is no more unlike than this to what it must have been.
const UNLIKE: f64 = 0.15;

/// What the last spans say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Finding {
    /// A queue stands: the link is full, and delivers this many wire bits per second.
    Full {
        /// What arrives.
        delivered_bps: f64,
        /// Share lost.
        loss: f64,
        /// The queue.
        queue_ns: Nanos,
    },
    /// No queue, but this share was lost.
    Lossy {
        /// Share lost.
        loss: f64,
    },
}

/// The evidence against the rate in force.
#[derive(Debug)]
pub struct Evidence {
    mss: u64,
    /// The share that is lost where no queue is, and of how many packets that is known.
    own_loss: f64,
    own_packets: f64,
    /// A span without a queue, of which the link's losses are learnt if no queue follows.
    quiet: Option<Span>,
    /// Since when there was a queue: when each span was told, and bytes delivered until then.
    busy: VecDeque<Told>,
    busy_since_ns: Nanos,
    standing: Run,
    bad: Sum,
    bad_since_ns: Nanos,
    long: Sum,
    long_since_ns: Nanos,
}

/// When a span was told, and the wire bytes delivered until then.
type Told = (Nanos, u64);

/// Spans with a queue that must go.
#[derive(Clone, Copy, Default, Debug)]
struct Run {
    spans: u32,
    /// When the first was told.
    first: Told,
    /// When it began to be sent, and the queue then: a growing one is shortest at the beginning.
    began_ns: Nanos,
    queue_ns: Nanos,
    /// What was sent since, but for the last span.
    sent: u64,
    sum: Sum,
    last: Option<Span>,
}

/// Packets of some spans.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum {
    /// How many spans.
    pub spans: u32,
    /// Wire bytes that arrived.
    pub acked: u64,
    /// Wire bytes that were lost.
    pub lost: u64,
}

impl Evidence {
    /// None yet. Full-sized packets take `mss` bytes on the wire.
    pub fn new(mss: u64) -> Evidence {
        Evidence {
            mss,
            own_loss: 0.0,
            own_packets: 0.0,
            quiet: None,
            busy: VecDeque::new(),
            busy_since_ns: 0,
            standing: Run::default(),
            bad: Sum::default(),
            bad_since_ns: 0,
            long: Sum::default(),
            long_since_ns: 0,
        }
    }

    /// The share that is lost at rates that the link carries.
    pub fn own_loss(&self) -> f64 {
        self.own_loss
    }

    /// What was lost of so many wire bytes beyond the usual, as a share of them; 0 where it may be chance.
    pub fn excess(&self, acked: u64, lost: u64) -> f64 {
        let packets = |bytes: u64| bytes as f64 / self.mss as f64;
        let (lost, told) = (packets(lost), packets(acked + lost));
        let excess = lost - told * self.own_loss;
        // The expectation is as uncertain as what is compared with it.
        let variance = told * self.own_loss * (1.0 + told / self.own_packets.max(1.0));
        if excess > SIGMAS * (variance.sqrt() + 1.0) { excess / told } else { 0.0 }
    }

    /// It was found out.
    pub fn set_own_loss(&mut self, seen: &Sum) {
        self.own_loss = seen.loss();
        self.own_packets = seen.told() as f64 / self.mss as f64;
    }

    /// There is no queue, and nothing suspicious.
    pub fn is_quiet(&self) -> bool {
        self.standing.spans == 0 && self.bad.spans == 0 && self.busy.len() <= 1
    }

    /// What was seen so far was about another rate.
    pub fn forget(&mut self) {
        self.busy.clear();
        self.standing = Run::default();
        self.bad = Sum::default();
        self.long = Sum::default();
        self.quiet = None;
    }

    /// A span is left out, as it was sent at another rate.
    pub fn on_gap(&mut self) {
        self.standing = Run::default();
        self.bad = Sum::default();
    }

    /// A span is told at `now`, with its queue, and the wire bytes `delivered` so far.
    pub fn on_span(&mut self, now: Nanos, span: &Span, queue_ns: Nanos, delivered: u64) -> Option<Finding> {
        if !span.is_known() {
            // An outage, or nothing was sent.
            self.forget();
            return None;
        }
        if queue_ns >= QUEUE_NS {
            self.quiet = None;
            self.on_queue((now, delivered), span, queue_ns);
        } else {
            self.busy.clear();
            self.busy_since_ns = now;
            self.standing = Run::default();
            self.learn_quiet();
            self.quiet = Some(*span);
        }
        self.busy.push_back((now, delivered));
        if self.busy.len() > RATE_SPANS {
            self.busy.pop_front();
        }
        self.full(now, span, queue_ns).or_else(|| self.lossy(now, span, queue_ns))
    }

    /// The mean of what was seen so far, and then of the last [`OWN_PACKETS`].
    fn learn_quiet(&mut self) {
        let Some(span) = self.quiet.take().filter(|span| span.loss() <= BAD_LOSS) else { return };
        let packets = (span.acked + span.lost) as f64 / self.mss as f64;
        self.own_packets = (self.own_packets + packets).min(OWN_PACKETS.max(packets));
        self.own_loss += (span.loss() - self.own_loss) * packets / self.own_packets;
    }

    fn on_queue(&mut self, told: Told, span: &Span, queue_ns: Nanos) {
        let must_go = queue_ns >= QUEUE_LIMIT_NS || span.loss() > self.own_loss + NEW_LOSS;
        let run = &mut self.standing;
        if !must_go {
            *run = Run::default();
            return;
        }
        match run.last {
            None => *run = Run { first: told, began_ns: span.began_ns, queue_ns, ..Run::default() },
            Some(before) => {
                run.sent += before.sent;
                run.sum.add(&before);
            }
        }
        run.spans += 1;
        run.last = Some(*span);
    }

    fn full(&self, now: Nanos, span: &Span, queue_ns: Nanos) -> Option<Finding> {
        let run = &self.standing;
        let must_go = run.spans >= SPANS && now >= run.first.0 + SPANS_NS;
        let stands = queue_ns >= QUEUE_NS && now >= self.busy_since_ns + QUEUE_STANDS_NS;
        if !must_go && !stands {
            return None;
        }
        let last = *self.busy.back()?;
        let all = rate(*self.busy.front()?, last);
        let delivered_bps = if must_go {
            // What was sent is delivered, lost, or makes the queue longer: this knows nothing of when ACKs were heard,
            // but it is rough. The deliveries are exact where they agree: those since the first sign of a queue, or
            // the last ones if the link has just become slower.
            let balance = self.balance(span, queue_ns);
            let agrees = |bps: &f64| (bps / balance - 1.0).abs() < UNLIKE;
            all.filter(agrees).or(rate(run.first, last).filter(agrees)).unwrap_or(balance)
        } else {
            all?
        };
        Some(Finding::Full { delivered_bps, loss: span.loss(), queue_ns })
    }

    /// What must have been delivered from the beginning of the run's first span to that of this one, in wire bits per
    /// second.
    fn balance(&self, span: &Span, queue_ns: Nanos) -> f64 {
        let run = &self.standing;
        let span_ns = span.began_ns.saturating_sub(run.began_ns).max(1) as f64;
        let grown = (queue_ns as f64 - run.queue_ns as f64) / span_ns;
        run.sent as f64 * 8e9 / span_ns * (1.0 - run.sum.loss()) / (1.0 + grown.max(-0.5))
    }

    /// Losses without a queue; with one, the queue will tell more exactly.
    fn lossy(&mut self, now: Nanos, span: &Span, queue_ns: Nanos) -> Option<Finding> {
        if span.loss() <= BAD_LOSS {
            self.bad = Sum::default();
        } else if self.bad.spans == 0 {
            // They began in its middle.
            self.bad.spans = 1;
            self.bad_since_ns = now;
        } else {
            self.bad.add(span);
        }
        let lasts = self.bad.spans > SPANS && now >= self.bad_since_ns + SPANS_NS;
        if queue_ns < QUEUE_NS && lasts && self.bad.told() >= BAD_PACKETS * self.mss {
            return Some(Finding::Lossy { loss: self.bad.loss() });
        }
        if queue_ns >= QUEUE_NS {
            self.long = Sum::default();
            return None;
        }
        if self.long.spans == 0 {
            self.long_since_ns = now;
        }
        self.long.add(span);
        if now.saturating_sub(self.long_since_ns) < MILD_NS || self.long.told() < MILD_PACKETS * self.mss {
            return None;
        }
        let long = std::mem::take(&mut self.long);
        (long.loss() > MILD_LOSS).then_some(Finding::Lossy { loss: long.loss() })
    }
}

/// Wire bits per second delivered from one time to another.
fn rate((began, before): Told, (end, after): Told) -> Option<f64> {
    (end > began).then(|| (after - before) as f64 * 8e9 / (end - began) as f64)
}

impl Sum {
    /// Adds one.
    pub fn add(&mut self, span: &Span) {
        self.spans += 1;
        self.acked += span.acked;
        self.lost += span.lost;
    }

    /// Wire bytes of which it is known what became of them.
    pub fn told(&self) -> u64 {
        self.acked + self.lost
    }

    /// Share of them that was lost.
    pub fn loss(&self) -> f64 {
        self.lost as f64 / self.told().max(1) as f64
    }
}
