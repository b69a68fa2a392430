//! Second copies: a segment that was lost twice is sent twice, the second time a little later.
//!
//! On a path that loses 5% one segment in 400 is lost twice and one in 8,000 three times; each time its receiver holds
//! everything behind it for another round trip. A copy of what was lost twice costs 0.25% there, and the next in line
//! after two losses are then four: what a receiver must hold falls from five round trips' worth to three.

use super::connection::{Connection, Cx};
use super::segment::TxState;
use super::tx::InLink;
use crate::base::time::{MILLISECOND, NEVER};
use crate::base::{FrameId, Nanos};

/// The copy follows after this part of the round trip, so that one burst of losses does not take both: …
const AFTER_RTTS: Nanos = 16;
/// … but no later than this. 100 packets at 1 Gbit/s take 1.2 ms. Lower: bursts of losses take both. Higher: what it
/// could have saved.
const AFTER_MAX_NS: Nanos = 10 * MILLISECOND;

/// A copy to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    frame: FrameId,
    /// The packet that it copies: no copy if that was acknowledged or is held for lost.
    number: u64,
    pub due_ns: Nanos,
}

impl Connection {
    /// The segment in `frame` left as packet `number` for a third time or more: a copy is to follow.
    pub(super) fn promise_copy(&mut self, now: Nanos, frame: FrameId, number: u64) {
        let after = (self.recovery.rtt().smoothed_ns() / AFTER_RTTS).min(AFTER_MAX_NS);
        self.copies.push_back(Copy { frame, number, due_ns: now + after });
    }

    /// The segment of which a copy is due.
    pub(super) fn next_copy(&mut self, cx: &mut Cx<'_>, busy: InLink<'_>) -> Option<FrameId> {
        while let Some(Copy { frame, number, due_ns }) = self.copies.front().copied() {
            let segment = *cx.segments.tx(frame);
            let ours = cx.streams.get(segment.stream as usize).is_some_and(|stream| stream.conn == self.slot);
            if !ours || segment.state != TxState::InFlight || segment.number != number {
                self.copies.pop_front();
                continue;
            }
            return (due_ns <= cx.now && !busy(frame)).then_some(frame);
        }
        None
    }

    /// When the next copy is due. One that is due already waits for the window, the pacer or the link, which have
    /// timers and wake-ups of their own.
    pub(super) fn next_copy_ns(&self, now: Nanos) -> Nanos {
        self.copies.front().map(|copy| copy.due_ns).filter(|due_ns| *due_ns > now).unwrap_or(NEVER)
    }

    /// Whether the copy that is next is of the segment in `frame`.
    pub(super) fn is_to_copy(&self, frame: FrameId) -> bool {
        self.copies.front().is_some_and(|copy| copy.frame == frame)
    }
}
