//! What the records of packets in flight take, of all connections together.
//!
//! What is in flight occupies frames, of which there are only so many; but a peer that acknowledges all but the lowest
//! packets makes the numbers between them many more, and each of its connections could hold records for 2^22, 128 MiB.

use super::sent::MAX_SPAN;

/// Packet numbers that each connection may span without asking: 256 KiB of records. 1 Gbit/s × 100 ms have as many in
/// flight. Lower: shorter paths ask as well, which costs nothing but the sum. Higher: memory of each connection.
pub const FIRST_SPAN: u64 = 1 << 13;
/// For each frame of the pool so many numbers are lent: one connection that has all frames in flight spans three times
/// as many where packets get lost, and gets them by doubling. 260 bytes for each frame. Lower: a sender that uses the
/// whole pool over a path that loses packets waits for its lowest one. Higher: memory.
const SPAN_PER_FRAME: u64 = 8;

/// What is left to be lent.
#[derive(Debug)]
pub struct SpanBudget {
    free: u64,
}

impl SpanBudget {
    /// For a pool of `frames`.
    pub fn new(frames: usize) -> SpanBudget {
        SpanBudget { free: SPAN_PER_FRAME * frames as u64 }
    }

    /// Twice its span for a connection that has all of it, or nothing.
    pub fn lend(&mut self, span: u64) -> u64 {
        let more = if span < MAX_SPAN && span <= self.free { span } else { 0 };
        self.free -= more;
        more
    }

    /// A connection is gone.
    pub fn give_back(&mut self, span: u64) {
        self.free += span;
    }

    /// Numbers that are not lent.
    pub fn free(&self) -> u64 {
        self.free
    }
}
