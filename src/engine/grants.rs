//! Frames for the application: committed ones in, empty ones out, read ones back.

use std::sync::atomic::Ordering;

use super::ends::{QUEUE_FRAMES, QUEUED_SEGMENTS};
use super::frames::{Borrower, Lent};
use super::port::Commit;
use super::{CONTROL_FRAMES, Engine};
use crate::base::time::NEVER;
use crate::base::{FrameId, Nanos};
use crate::link::{BURST, Frame, Link};
use crate::proto::stream::send::Written;
use crate::wire::{HEADER_LEN, STREAM_HEADER_LEN};

/// Segments of one stream that the application has read, told to the transport together: it looks at its credit once
/// for all of them.
struct Consumed {
    by: Borrower,
    segments: u64,
    bytes: u64,
}

impl Consumed {
    fn new(lent: &Lent) -> Consumed {
        Consumed { by: lent.to, segments: 1, bytes: u64::from(lent.len) }
    }

    fn add(&mut self, lent: &Lent) {
        self.segments += 1;
        self.bytes += u64::from(lent.len);
    }
}

impl<L: Link> Engine<L> {
    /// Frames that the application gave back: read messages, unused grants.
    pub(super) fn take_returns(&mut self, now: Nanos) -> usize {
        let mut count = 0;
        let mut run: Option<Consumed> = None;
        while let Some(frame) = self.returns.queue.pop() {
            count += 1;
            if let Some(lent) = self.frames.take_lent(frame.id()) {
                match &mut run {
                    Some(run) if run.by == lent.to => run.add(&lent),
                    _ => self.on_consumed(now, run.replace(Consumed::new(&lent))),
                }
            }
            self.free(frame);
        }
        self.on_consumed(now, run);
        count
    }

    /// One frame is back from the application, or would have gone to one that is no more.
    pub(super) fn on_returned(&mut self, now: Nanos, frame: Frame) {
        let consumed = self.frames.take_lent(frame.id()).map(|lent| Consumed::new(&lent));
        self.on_consumed(now, consumed);
        self.free(frame);
    }

    fn on_consumed(&mut self, now: Nanos, consumed: Option<Consumed>) {
        if let Some(Consumed { by, segments, bytes }) = consumed {
            self.endpoint.on_consumed(now, by.conn, (by.stream, by.id), segments, bytes);
        }
    }

    /// Looks at a stream whose application rang.
    pub(super) fn on_rung(&mut self, now: Nanos, index: usize) {
        self.take_commits(index);
        let Some(end) = self.streams.get_mut(index) else { return };
        if end.flush() && !end.waking {
            end.waking = true;
            self.waking.push(index);
        }
        let shared = end.shared.clone();
        if !end.hungry && shared.wanted.load(Ordering::Acquire) > 0 {
            end.hungry = true;
            self.hungry.push_back(index);
        }
        let code = shared.drop_code.load(Ordering::Acquire);
        let waits = self.pending_ends.contains(&end.key);
        if !waits && !end.send_gone && shared.send_dropped.load(Ordering::Acquire) {
            // What was committed before the drop is in the queue now, since the flag was set after it.
            self.take_commits(index);
            self.on_send_dropped(now, index, code);
        }
        self.on_recv_dropped(now, index, code);
        if self.streams.get(index).is_some_and(|end| end.is_over()) {
            self.streams.remove(index);
        }
    }

    fn on_send_dropped(&mut self, now: Nanos, index: usize, code: u32) {
        let end = &mut self.streams[index];
        end.send_gone = true;
        let (slot, left) = (end.slot, end.shared.take_left_grants());
        if let Some(mut left) = left {
            while let Ok(frame) = left.pop() {
                self.free(frame);
            }
        }
        if let Some(slot) = slot {
            // Does nothing to a half that was finished.
            self.endpoint.reset_stream_if_open(now, slot, code);
        }
    }

    fn on_recv_dropped(&mut self, now: Nanos, index: usize, code: u32) {
        let end = &mut self.streams[index];
        if !end.shared.recv_dropped.load(Ordering::Acquire) {
            return;
        }
        let first = !std::mem::replace(&mut end.recv_gone, true);
        let slot = end.slot;
        let backlog = std::mem::take(&mut end.backlog);
        let mut left = end.shared.take_left_messages();
        let left = std::iter::from_fn(|| left.as_mut()?.pop().ok());
        for frame in left.chain(backlog).filter_map(|message| message.frame) {
            self.on_returned(now, frame);
        }
        if first && let Some(slot) = slot {
            self.endpoint.stop_stream(now, slot, code);
        }
    }

    fn take_commits(&mut self, index: usize) {
        let Some(end) = self.streams.get(index) else { return };
        let slot = end.slot;
        if let Some(slot) = slot {
            self.endpoint.set_nagle(slot, end.shared.nagle.load(Ordering::Relaxed));
        }
        while let Some(commit) = self.streams.get_mut(index).and_then(|end| end.commits.pop().ok()) {
            match slot {
                Some(slot) => {
                    if !self.on_commit(index, slot, commit) {
                        return;
                    }
                }
                // The stream is over; what was still committed to it is given back.
                None => commit.frame.into_iter().for_each(|frame| self.free(frame)),
            }
        }
    }

    /// A written segment. False if it has to wait: an end without bytes that finds no frame to travel in.
    fn on_commit(&mut self, index: usize, slot: u32, commit: Commit) -> bool {
        let Commit { frame, len, fin, at_ns } = commit;
        let Some(frame) = frame.or_else(|| self.frame_for_end()) else {
            self.pending_ends.push(self.streams[index].key);
            return false;
        };
        let id = frame.id();
        match self.endpoint.on_write(slot, (id, len, fin)) {
            Written::Queued => self.frames.retain(frame, at_ns),
            Written::Refused => self.free(frame),
            Written::Coalesce { into, at } => self.coalesce(into, at, frame, len),
        }
        true
    }

    /// Streams whose end waited for a frame to travel in.
    pub(super) fn retry_ends(&mut self, now: Nanos) {
        for key in std::mem::take(&mut self.pending_ends) {
            let index = key.slot as usize;
            let Some(end) = self.streams.get(index).filter(|end| end.key == key) else { continue };
            if let Some(slot) = end.slot {
                self.on_commit(index, slot, Commit { frame: None, len: 0, fin: true, at_ns: now });
            }
            // Whether the application has dropped the stream meanwhile was left for later.
            self.on_rung(now, index);
        }
    }

    /// A frame for an end without bytes: beyond what may be granted, but not the last ones, without which no ACK and
    /// so nothing at all would leave.
    fn frame_for_end(&mut self) -> Option<Frame> {
        if self.link.free_frames() <= CONTROL_FRAMES / 2 {
            return None;
        }
        let frame = self.link.alloc()?;
        self.frames.on_granted(&frame);
        Some(frame)
    }

    /// Appends a small segment's bytes to the one before it.
    fn coalesce(&mut self, into: FrameId, at: usize, mut frame: Frame, len: usize) {
        let payload = self.ethernet.len() + HEADER_LEN + STREAM_HEADER_LEN;
        if let Some(target) = self.frames.token_mut(into) {
            let bytes = &frame.room_mut()[payload..payload + len];
            target.room_mut()[payload + at..payload + at + len].copy_from_slice(bytes);
        }
        self.free(frame);
    }

    /// Grants frames to the streams that wait for some, in turn, as far as there are any.
    pub(super) fn feed_hungry(&mut self) {
        for _ in 0..self.hungry.len() {
            let Some(index) = self.hungry.pop_front() else { return };
            if !self.feed(index) {
                self.hungry.push_back(index);
            }
        }
    }

    /// Grants one stream what it wants; false if it still waits for more.
    fn feed(&mut self, index: usize) -> bool {
        let Some(end) = self.streams.get_mut(index) else { return true };
        let queued = end.slot.map_or(0, |slot| self.endpoint.queued(slot));
        // Taken out before anything is granted: an application that uses a grant at once may want the next one before
        // we are done here, and that wish must not be wiped out with this one.
        let wanted = end.shared.wanted.swap(0, Ordering::AcqRel) as usize;
        if wanted == 0 || end.slot.is_none() || end.send_gone {
            end.hungry = false;
            return true;
        }
        let have = QUEUE_FRAMES - end.grants.slots();
        let used = self.endpoint.frames_kept() + self.frames.sending();
        let lendable = self.lendable.saturating_sub(used);
        // Half of what is free: however many streams are stalled with all that they may hold, some is left for others.
        let may_have = QUEUED_SEGMENTS.min(lendable.div_ceil(2)).saturating_sub(queued + have);
        let mut given = 0;
        while given < may_have && have + given < wanted.min(QUEUE_FRAMES) {
            let Some(frame) = self.link.alloc() else { break };
            self.frames.on_granted(&frame);
            if let Err(rtrb::PushError::Full(frame)) = end.grants.push(frame) {
                self.frames.on_freed(frame.id());
                self.link.free(frame);
                break;
            }
            given += 1;
        }
        let end = &mut self.streams[index];
        // A full batch, or what there is before the stream runs dry: a burst takes as long as a wake-up.
        let enough = have + given >= wanted.min(QUEUE_FRAMES) || (have + given > 0 && queued <= BURST);
        if enough {
            end.hungry = false;
            end.shared.send_waker.wake();
        } else {
            // Unless there is a newer wish. One that was taken back meanwhile costs a few grants that nobody needs yet.
            let _ = end.shared.wanted.compare_exchange(0, wanted as u32, Ordering::AcqRel, Ordering::Relaxed);
        }
        enough
    }

    /// Wakes the readers whose batch is complete or has waited long enough.
    pub(super) fn wake_readers(&mut self, now: Nanos) {
        self.wake_at_ns = NEVER;
        let patience_ns = self.patience(now);
        let mut index = 0;
        while index < self.waking.len() {
            let due = self.streams.get_mut(self.waking[index]).and_then(|end| end.poll_wake(now, patience_ns));
            match due {
                Some(at) => {
                    self.wake_at_ns = self.wake_at_ns.min(at);
                    index += 1;
                }
                None => {
                    if let Some(end) = self.streams.get_mut(self.waking.swap_remove(index)) {
                        end.waking = false;
                    }
                }
            }
        }
    }
}
