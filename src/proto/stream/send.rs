//! The sending half: segments in the order in which they were written.

use std::collections::VecDeque;

use crate::base::FrameId;
use crate::proto::segment::{SegmentTable, TxState};

/// The sending half of a stream.
#[derive(Debug)]
pub struct SendHalf {
    queue: VecDeque<FrameId>,
    /// Offset of the next byte to be written by the application.
    written: u64,
    /// Offset up to which the peer lets us send.
    limit: u64,
    /// Segments sent and not acknowledged.
    unacked: u32,
    /// Segments sent for the first time, cumulative: what they cost of the connection's credit.
    first_sent: u64,
    state: SendState,
    /// Hold a small segment while others are unacknowledged.
    pub nagle: bool,
    /// Bytes that the scheduler still allows in this round.
    pub deficit: i64,
    /// In the scheduler's ring.
    pub scheduled: bool,
}

/// Where a sending half is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SendState {
    /// The application may write.
    Open,
    /// The last segment is written; not all is acknowledged.
    Finishing,
    /// All is acknowledged.
    Done,
    /// Given up, by us or at the peer's wish.
    Reset,
}

/// What becomes of a written segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// It was queued.
    Queued,
    /// Its bytes are to be appended to this frame's payload at this place, and its own frame is free again.
    Coalesce {
        /// The frame that takes them.
        into: FrameId,
        /// Where in that frame's payload.
        at: usize,
    },
    /// The half is over; the frame is free again.
    Refused,
}

impl SendHalf {
    /// A half whose peer lets us send up to `limit`.
    pub fn new(limit: u64) -> SendHalf {
        SendHalf {
            queue: VecDeque::new(),
            written: 0,
            limit,
            unacked: 0,
            first_sent: 0,
            state: SendState::Open,
            nagle: false,
            deficit: 0,
            scheduled: false,
        }
    }

    /// The application wrote a segment into `frame`. `stream` is our slot, `room` the most payload of a frame.
    pub fn on_write(
        &mut self,
        table: &mut SegmentTable,
        stream: u32,
        segment: (FrameId, usize, bool),
        room: usize,
    ) -> Written {
        let (frame, len, fin) = segment;
        if self.state != SendState::Open {
            return Written::Refused;
        }
        if fin {
            self.state = SendState::Finishing;
        }
        let offset = self.written;
        self.written += len as u64;
        if self.nagle
            && let Some(&last) = self.queue.back()
        {
            let tail = table.tx(last);
            let at = usize::from(tail.len);
            if at + len <= room {
                tail.len += len as u16;
                tail.fin = fin;
                return Written::Coalesce { into: last, at };
            }
        }
        let entry = table.tx(frame);
        entry.offset = offset;
        entry.stream = stream;
        entry.len = len as u16;
        entry.fin = fin;
        entry.state = TxState::Queued;
        self.queue.push_back(frame);
        Written::Queued
    }

    /// Whether segments are sent and not acknowledged.
    pub fn has_unacked(&self) -> bool {
        self.unacked > 0
    }

    /// The segment that may be sent next, if credit and Nagle allow it.
    pub fn poll_segment(&self, table: &mut SegmentTable, room: usize) -> Option<FrameId> {
        let &frame = self.queue.front()?;
        let segment = table.tx(frame);
        if segment.offset + u64::from(segment.len) > self.limit {
            return None;
        }
        let small = usize::from(segment.len) < room && !segment.fin;
        if self.nagle && small && self.queue.len() == 1 && self.unacked > 0 {
            return None;
        }
        Some(frame)
    }

    /// The segment that `poll_segment` told has left.
    pub fn on_first_sent(&mut self) {
        self.queue.pop_front();
        self.unacked += 1;
        self.first_sent += 1;
    }

    /// A segment of ours was acknowledged. True if it was the last of all.
    pub fn on_acked(&mut self) -> bool {
        self.unacked -= 1;
        if self.state == SendState::Finishing && self.unacked == 0 && self.queue.is_empty() {
            self.state = SendState::Done;
            return true;
        }
        false
    }

    /// A segment of ours is no longer awaited, since the stream was reset.
    pub fn on_abandoned(&mut self) {
        self.unacked -= 1;
    }

    /// The peer lets us send up to `limit`.
    pub fn on_credit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// The half is given up: the frames that were never sent are free again. False if it was over already.
    pub fn on_reset(&mut self, table: &mut SegmentTable, released: &mut Vec<FrameId>) -> bool {
        if self.is_over() {
            return false;
        }
        self.state = SendState::Reset;
        for frame in self.queue.drain(..) {
            table.tx(frame).state = TxState::Free;
            released.push(frame);
        }
        true
    }

    /// Segments that wait for their first transmission.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Segments sent for the first time so far.
    pub fn first_sent(&self) -> u64 {
        self.first_sent
    }

    /// The application may still write.
    pub fn is_open(&self) -> bool {
        self.state == SendState::Open
    }

    /// It was given up.
    pub fn is_reset(&self) -> bool {
        self.state == SendState::Reset
    }

    /// Everything was acknowledged, or the half was given up.
    pub fn is_over(&self) -> bool {
        matches!(self.state, SendState::Done | SendState::Reset)
    }

    /// Over, and no segment of it is in flight any more.
    pub fn is_quiet(&self) -> bool {
        self.is_over() && self.unacked == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SegmentTable {
        SegmentTable::new(16)
    }

    #[test]
    fn credit_holds_a_segment_back() {
        let (mut table, mut half) = (table(), SendHalf::new(100));
        half.on_write(&mut table, 0, (FrameId(0), 100, false), 1000);
        half.on_write(&mut table, 0, (FrameId(1), 1, false), 1000);
        assert_eq!(half.poll_segment(&mut table, 1000), Some(FrameId(0)));
        half.on_first_sent();
        assert_eq!(half.poll_segment(&mut table, 1000), None);
        half.on_credit(101);
        assert_eq!(half.poll_segment(&mut table, 1000), Some(FrameId(1)));
    }

    #[test]
    fn nagle_holds_and_coalesces_small_segments() {
        let (mut table, mut half) = (table(), SendHalf::new(10_000));
        half.nagle = true;
        half.on_write(&mut table, 0, (FrameId(0), 10, false), 100);
        assert_eq!(half.poll_segment(&mut table, 100), Some(FrameId(0)), "nothing in flight: go");
        half.on_first_sent();
        half.on_write(&mut table, 0, (FrameId(1), 10, false), 100);
        assert_eq!(half.poll_segment(&mut table, 100), None, "held while the first is in flight");
        let more = half.on_write(&mut table, 0, (FrameId(2), 20, false), 100);
        assert_eq!(more, Written::Coalesce { into: FrameId(1), at: 10 });
        assert_eq!(table.tx(FrameId(1)).len, 30);
        assert!(!half.on_acked());
        assert_eq!(half.poll_segment(&mut table, 100), Some(FrameId(1)));
    }

    #[test]
    fn done_when_the_fin_and_all_before_it_are_acknowledged() {
        let (mut table, mut half) = (table(), SendHalf::new(1000));
        half.on_write(&mut table, 0, (FrameId(0), 10, false), 100);
        half.on_write(&mut table, 0, (FrameId(1), 0, true), 100);
        assert_eq!(half.on_write(&mut table, 0, (FrameId(2), 1, false), 100), Written::Refused);
        half.on_first_sent();
        assert!(!half.on_acked());
        half.on_first_sent();
        assert!(half.on_acked());
        assert!(half.is_quiet());
    }

    #[test]
    fn a_reset_gives_the_unsent_frames_back() {
        let (mut table, mut half) = (table(), SendHalf::new(1000));
        half.on_write(&mut table, 0, (FrameId(0), 10, false), 100);
        half.on_write(&mut table, 0, (FrameId(1), 10, false), 100);
        half.on_first_sent();
        let mut released = Vec::new();
        assert!(half.on_reset(&mut table, &mut released));
        assert_eq!(released, [FrameId(1)]);
        assert!(half.is_over() && !half.is_quiet());
        half.on_abandoned();
        assert!(half.is_quiet());
    }
}
