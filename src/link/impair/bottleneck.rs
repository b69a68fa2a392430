//! The queue and the rate: a drop-tail queue that exists only as a number, drained at a rate that may change.

use super::schedule::Steps;
use crate::base::Nanos;
use crate::base::time::{NEVER, SECOND};

/// A byte in units of work. A link of 1 bit/s does one unit in a nanosecond, so `rate × time` is exact and no fraction
/// of a nanosecond is ever rounded away.
const BYTE: u128 = 8 * SECOND as u128;

/// The bottleneck. What waits is counted in bytes on the wire, and the frame in service counts with what of it is not
/// yet sent. A frame that would bring this above the limit is dropped: nobody waits and is sent in more than limit ÷
/// rate.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    rate_bps: Steps<u64>,
    /// Up to when the rate has been worked off.
    now: Nanos,
    /// Work that waited then.
    backlog: u128,
    limit: u128,
    /// When all of it will be done.
    busy_until: Nanos,
}

impl Bottleneck {
    /// An empty queue of `limit_bytes`, or without a limit.
    pub fn new(rate_bps: Steps<u64>, limit_bytes: Option<u64>) -> Bottleneck {
        let limit = limit_bytes.map_or(u128::MAX, |bytes| u128::from(bytes) * BYTE);
        Bottleneck { rate_bps, now: 0, backlog: 0, limit, busy_until: 0 }
    }

    /// When a frame that comes now begins and ends to be on the wire, or `None` if the queue has no room for it.
    pub fn offer(&mut self, now: Nanos, wire_bytes: u64) -> Option<(Nanos, Nanos)> {
        self.serve(now);
        let backlog = self.backlog.saturating_add(u128::from(wire_bytes) * BYTE);
        if backlog > self.limit {
            return None;
        }
        let start = self.busy_until.max(now);
        self.backlog = backlog;
        self.busy_until = self.end_of_backlog();
        Some((start, self.busy_until))
    }

    /// What waits at `now`, the rest of the frame in service included.
    pub fn backlog_bytes(&mut self, now: Nanos) -> u64 {
        self.serve(now);
        self.backlog.div_ceil(BYTE) as u64
    }

    /// Takes off the backlog what the rate allows up to `now`.
    fn serve(&mut self, now: Nanos) {
        let mut done = 0;
        for (rate_bps, end) in self.rate_bps.ahead() {
            let until = end.min(now);
            done += work_in(rate_bps, until.saturating_sub(self.now));
            self.now = self.now.max(until);
            if end >= now {
                break;
            }
        }
        self.rate_bps.at(self.now);
        self.backlog = self.backlog.saturating_sub(done);
    }

    fn end_of_backlog(&self) -> Nanos {
        let (mut left, mut begin) = (self.backlog, self.now);
        for (rate_bps, end) in self.rate_bps.ahead() {
            let room = work_in(rate_bps, end - begin);
            if left <= room {
                return begin + time_for(left, rate_bps);
            }
            (left, begin) = (left - room, end);
        }
        NEVER
    }
}

fn work_in(rate_bps: u64, span: Nanos) -> u128 {
    u128::from(rate_bps) * u128::from(span)
}

/// Rounded up: a frame has left when its last bit has.
fn time_for(work: u128, rate_bps: u64) -> Nanos {
    // A division of 128 bits costs several times as much, and is needed only beyond 2.3 GB.
    match u64::try_from(work) {
        Ok(work) => work.div_ceil(rate_bps),
        Err(_) => work.div_ceil(u128::from(rate_bps)) as Nanos,
    }
}
