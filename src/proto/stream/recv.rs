//! The receiving half: segments that wait for earlier bytes stay in the frames that they arrived in.
//!
//! They are kept as runs without gaps, each a chain of frames: after a loss every packet extends the last run, which
//! costs the same however many wait, and a retransmission joins two runs.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::base::FrameId;
use crate::proto::flow::Granted;
use crate::proto::segment::{NO_FRAME, RxSegment, SegmentTable};

/// The receiving half of a stream.
#[derive(Debug)]
pub struct RecvHalf {
    /// Offset of the next byte to be delivered.
    next: u64,
    held: BTreeMap<u64, Run>,
    /// Where the stream ends, once known.
    end: Option<u64>,
    /// Where the segment that told it begins.
    end_told_at: u64,
    /// Segments that arrived, cumulative.
    segments: u64,
    state: RecvState,
    /// First frame of a run whose turn has come, or [`NO_FRAME`].
    ready: u32,
    /// What the peer may send, in bytes.
    pub credit: Granted,
}

/// Held segments without a gap between them.
#[derive(Clone, Copy, Debug)]
struct Run {
    end: u64,
    first: u32,
    last: u32,
}

/// Where a receiving half is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RecvState {
    /// Bytes may arrive.
    Open,
    /// Everything was delivered, the end included.
    Done,
    /// We asked the peer to stop. What still arrives is taken as before, so that duplicates are told and credit is
    /// exact, and delivered to nobody; the sender's reset or the end is not far.
    Stopped,
    /// The peer gave it up.
    Reset,
}

/// What becomes of a segment that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It is next: deliver it, then whatever [`RecvHalf::poll_held`] gives.
    Next,
    /// It waits for earlier bytes.
    Held,
    /// Its bytes are here already, or no longer wanted; the frame is free again.
    Unwanted,
    /// The peer used more credit than it had.
    BeyondCredit,
    /// The peer breaks the rules.
    Violation(&'static str),
}

/// A segment as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The frame that it is in.
    pub frame: FrameId,
    /// Its place in the stream.
    pub offset: u64,
    /// Payload bytes.
    pub len: u16,
    /// The stream ends with it.
    pub fin: bool,
}

impl RecvHalf {
    /// A half whose peer may send `window` bytes at first.
    pub fn new(window: u64) -> RecvHalf {
        RecvHalf {
            next: 0,
            held: BTreeMap::new(),
            end: None,
            end_told_at: 0,
            segments: 0,
            state: RecvState::Open,
            ready: NO_FRAME,
            credit: Granted::new(window),
        }
    }

    /// A segment arrived in a packet that had not been seen before.
    pub fn on_segment(&mut self, table: &mut SegmentTable, segment: Segment) -> Arrival {
        let Segment { offset, len, fin, .. } = segment;
        let Some(end) = offset.checked_add(u64::from(len)) else { return Arrival::Violation("offset overflow") };
        if let Some(known) = self.end
            && (end > known || (fin && end != known))
        {
            return Arrival::Violation("bytes beyond the end of the stream");
        }
        // A segment is never cut anew, so one of them only has the end. With two, the reader would be told twice.
        if fin && self.end.is_some() && offset != self.end_told_at {
            return Arrival::Violation("two ends of one stream");
        }
        if fin && end < self.credit.used() {
            return Arrival::Violation("an end before bytes that have arrived");
        }
        if len == 0 && !fin {
            return Arrival::Violation("empty segment");
        }
        if self.is_over() {
            return Arrival::Unwanted;
        }
        let fin_again = fin && self.end.is_some();
        if end < self.next || (end == self.next && (len > 0 || fin_again)) {
            return Arrival::Unwanted;
        }
        if offset < self.next {
            return Arrival::Violation("segment cut anew");
        }
        let arrival = if offset == self.next {
            self.on_next(segment, end)
        } else {
            self.on_early(table, segment, end, fin_again)
        };
        if matches!(arrival, Arrival::Next | Arrival::Held) {
            if fin {
                (self.end, self.end_told_at) = (Some(end), offset);
            }
            self.segments += 1;
        }
        arrival
    }

    /// Whether it is known where the stream ends.
    pub fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Everything before it was delivered.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The next held segment that has become deliverable. To be called until `None` before the next arrival.
    pub fn poll_held(&mut self, table: &mut SegmentTable) -> Option<(FrameId, u16, bool)> {
        if self.ready == NO_FRAME {
            let first = self.held.first_entry()?;
            if *first.key() != self.next {
                return None;
            }
            self.ready = first.remove().first;
        }
        let frame = FrameId(self.ready);
        let entry = *table.rx(frame);
        self.ready = entry.next;
        self.next += u64::from(entry.len);
        self.note_delivered(entry.fin);
        Some((frame, entry.len, entry.fin))
    }

    /// The peer gave the stream up after `total` segments: held frames are free again. Tells how many segments of the
    /// connection's credit will never arrive, or `None` if the half was over already.
    pub fn on_reset(&mut self, table: &mut SegmentTable, total: u64, released: &mut Vec<FrameId>) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        self.state = RecvState::Reset;
        self.release_held(table, released);
        Some(total.saturating_sub(self.segments))
    }

    /// The application wants no more. False if there was no more to come, or it had said so.
    pub fn on_stop(&mut self) -> bool {
        if self.state != RecvState::Open {
            return false;
        }
        self.state = RecvState::Stopped;
        true
    }

    /// Nothing more will come, since the connection is over: held frames are free again.
    pub fn abandon(&mut self, table: &mut SegmentTable, released: &mut Vec<FrameId>) {
        self.state = RecvState::Reset;
        self.release_held(table, released);
    }

    /// Nothing more will arrive that matters.
    pub fn is_over(&self) -> bool {
        matches!(self.state, RecvState::Done | RecvState::Reset)
    }

    /// Bytes may arrive and be delivered.
    pub fn is_open(&self) -> bool {
        self.state == RecvState::Open
    }

    fn on_next(&mut self, segment: Segment, end: u64) -> Arrival {
        if let Some((&start, _)) = self.held.first_key_value()
            && start < end
        {
            return Arrival::Violation("segment cut anew");
        }
        if !self.credit.on_used(end) {
            return Arrival::BeyondCredit;
        }
        self.next = end;
        self.note_delivered(segment.fin);
        Arrival::Next
    }

    fn on_early(&mut self, table: &mut SegmentTable, segment: Segment, end: u64, fin_again: bool) -> Arrival {
        let Segment { frame, offset, len, fin } = segment;
        // After a loss that is every packet: found without a search among the runs, of which a long path has thousands.
        if len > 0
            && let Some(mut last) = self.held.last_entry()
            && last.get().end == offset
        {
            if !self.credit.on_used(end) {
                return Arrival::BeyondCredit;
            }
            *table.rx(frame) = RxSegment { next: NO_FRAME, len, fin };
            let run = last.get_mut();
            table.rx(FrameId(run.last)).next = frame.0;
            (run.last, run.end) = (frame.0, end);
            return Arrival::Held;
        }
        let before = self.held.range(..=offset).next_back().map(|(&start, &run)| (start, run));
        if let Some((_, run)) = before
            && (run.end > offset || (run.end == offset && len == 0 && fin_again))
        {
            return if end <= run.end { Arrival::Unwanted } else { Arrival::Violation("segment cut anew") };
        }
        let after = self.held.range((Excluded(offset), Unbounded)).next().map(|(&start, &run)| (start, run));
        if let Some((start, _)) = after
            && start < end
        {
            return Arrival::Violation("segment cut anew");
        }
        if !self.credit.on_used(end) {
            return Arrival::BeyondCredit;
        }
        let entry = table.rx(frame);
        entry.next = NO_FRAME;
        entry.len = len;
        entry.fin = fin;
        let mut start = offset;
        let mut run = Run { end, first: frame.0, last: frame.0 };
        if let Some((earlier, mut joined)) = before
            && joined.end == offset
        {
            table.rx(FrameId(joined.last)).next = frame.0;
            joined.last = frame.0;
            joined.end = end;
            (start, run) = (earlier, joined);
        }
        if let Some((later, next)) = after
            && later == end
        {
            table.rx(FrameId(run.last)).next = next.first;
            run.last = next.last;
            run.end = next.end;
            self.held.remove(&later);
        }
        self.held.insert(start, run);
        Arrival::Held
    }

    fn note_delivered(&mut self, fin: bool) {
        if fin {
            self.state = RecvState::Done;
        }
    }

    fn release_held(&mut self, table: &mut SegmentTable, released: &mut Vec<FrameId>) {
        for run in std::mem::take(&mut self.held).into_values() {
            let mut frame = run.first;
            while frame != NO_FRAME {
                released.push(FrameId(frame));
                frame = table.rx(FrameId(frame)).next;
            }
        }
    }
}

#[cfg(test)]
mod tests;
