//! How far the round trip wanders by itself: jitter, other people's traffic, a busy way back.
//!
//! A queue of our own making never shrinks while we go on sending at the same rate. So what the round trip falls by
//! within one epoch, after it had risen there, was none; and what it rises by no more than that proves nothing.

use super::evidence::QUEUE_NS;
use crate::base::Nanos;
use crate::base::time::{MILLISECOND, SECOND};

/// Rises and falls below this are the turns of busy workers, which are no queue anyway.
const NOISE_NS: Nanos = QUEUE_NS;
/// What was seen is halved when nothing like it comes for so long. Lower: a link with rare jitter is misjudged each
/// time. Higher: after one stall of a host a queue may stand for longer.
const HALF_LIFE_NS: Nanos = 10 * SECOND;
/// The most that is believed. Lower: the jitter of a bad way is taken for a queue. Higher: so is a stalled host, and
/// queues may grow that long without being seen (their losses are).
const MOST_NS: Nanos = 50 * MILLISECOND;

/// What one flow has seen of it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Wander {
    most_ns: Nanos,
    /// When it was last seen, or halved.
    seen_ns: Nanos,
    epoch: Option<u32>,
    /// The least of the epoch so far. What falls to it from the epoch's beginning may be left of a queue.
    low_ns: Nanos,
    /// The swing under way: where it rose from, its top, the least since, and what of it has been counted.
    from_ns: Nanos,
    peak_ns: Nanos,
    trough_ns: Nanos,
    counted_ns: Nanos,
}

impl Wander {
    /// A span of `epoch` is told at `now`: its round trip beyond the shortest one. True if it showed a new most.
    pub fn on_span(&mut self, now: Nanos, epoch: u32, beyond_ns: Nanos) -> bool {
        if now >= self.seen_ns + HALF_LIFE_NS {
            self.most_ns /= 2;
            self.seen_ns = now;
        }
        if self.epoch != Some(epoch) {
            (self.epoch, self.low_ns) = (Some(epoch), beyond_ns);
            self.swing_to(beyond_ns);
        }
        self.trough_ns = self.trough_ns.min(beyond_ns);
        if beyond_ns > self.peak_ns || beyond_ns > self.trough_ns + NOISE_NS {
            self.swing_to(beyond_ns);
        }
        self.low_ns = self.low_ns.min(beyond_ns);
        let wander_ns = (self.peak_ns - self.trough_ns).min(self.peak_ns - self.from_ns).min(MOST_NS);
        if wander_ns < NOISE_NS.max(self.most_ns / 2) || wander_ns <= self.counted_ns {
            return false;
        }
        (self.counted_ns, self.seen_ns) = (wander_ns, now);
        let more = wander_ns > self.most_ns;
        self.most_ns = self.most_ns.max(wander_ns);
        more
    }

    /// The sender paused, or nothing was heard: a queue of our own may have gone meanwhile.
    pub fn on_pause(&mut self) {
        self.epoch = None;
    }

    /// The top of a swing, as far as is known.
    fn swing_to(&mut self, beyond_ns: Nanos) {
        (self.from_ns, self.peak_ns, self.trough_ns, self.counted_ns) = (self.low_ns, beyond_ns, beyond_ns, 0);
    }

    /// So much of what the round trip is longer may be no queue: what was seen, and a quarter more, as the most of it
    /// was hardly seen yet.
    pub fn slack_ns(&self) -> Nanos {
        self.most_ns + self.most_ns / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::MICROSECOND;

    /// Spans of 20 ms with so many tenths of a millisecond beyond the shortest round trip.
    fn tell(wander: &mut Wander, epoch: u32, begin_ns: Nanos, tenths: &[u64]) -> Nanos {
        for (index, tenths) in tenths.iter().enumerate() {
            let now = begin_ns + index as Nanos * 20 * MILLISECOND;
            wander.on_span(now, epoch, tenths * 100 * MICROSECOND);
        }
        wander.slack_ns()
    }

    #[test]
    fn what_rises_and_falls_at_one_rate_was_no_queue() {
        let mut wander = Wander::default();
        assert_eq!(tell(&mut wander, 1, SECOND, &[0, 20, 60, 80, 82, 80]), 0, "it may be a queue");
        assert_eq!(tell(&mut wander, 1, 2 * SECOND, &[50, 20]), 6200 * MICROSECOND * 5 / 4);
        assert_eq!(tell(&mut wander, 1, 3 * SECOND, &[90, 120, 5]), 11_500 * MICROSECOND * 5 / 4);
    }

    #[test]
    fn what_was_left_of_a_queue_is_none_of_it() {
        let mut wander = Wander::default();
        assert_eq!(tell(&mut wander, 0, SECOND, &[90, 30, 0]), 0, "of what was before");
        assert_eq!(tell(&mut wander, 1, SECOND, &[0, 20, 60, 80, 120]), 0);
        assert_eq!(tell(&mut wander, 2, SECOND, &[118, 80, 40, 10, 0, 10, 0]), 0, "another rate empties it");
    }

    #[test]
    fn a_queue_that_goes_while_nobody_sends_is_none_of_it() {
        let mut wander = Wander::default();
        assert_eq!(tell(&mut wander, 1, SECOND, &[0, 100, 250]), 0);
        wander.on_pause();
        assert_eq!(tell(&mut wander, 1, 2 * SECOND, &[0, 100, 250]), 0);
    }

    #[test]
    fn the_turns_of_workers_are_none_of_it() {
        let mut wander = Wander::default();
        assert_eq!(tell(&mut wander, 1, SECOND, &[0, 10, 0, 14, 2, 9, 0]), 0);
    }

    #[test]
    fn it_is_forgotten_and_no_stall_is_believed_whole() {
        let mut wander = Wander::default();
        assert_eq!(tell(&mut wander, 1, SECOND, &[0, 9000, 0]), MOST_NS * 5 / 4);
        tell(&mut wander, 1, 12 * SECOND, &[0]);
        assert_eq!(tell(&mut wander, 1, 23 * SECOND, &[0]), MOST_NS / 4 * 5 / 4);
    }
}
