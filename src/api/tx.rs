//! The sending half of a stream.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::reservation::Reservation;
use super::wait;
use crate::base::StreamId;
use crate::engine::port::{Commit, ConnShared, SendPort};
use crate::link::Frame;
use crate::proto::error::{CloseReason, StreamError};
use crate::worker::clock;

/// Most frames in one reservation: as many as one `preadv` takes. The grant queue is usually shorter.
const MOST_FRAMES: usize = 1024;

/// The sending half of a stream. Dropping it before `finish` resets the stream (code 0): the receiver learns that it
/// is not whole.
pub struct SendStream {
    id: StreamId,
    port: SendPort,
    conn: Arc<ConnShared>,
    /// Granted frames that no commit has used yet.
    spare: VecDeque<Frame>,
    finished: bool,
    /// What the user has said about Nagle; unsaid, it is on for `Write` and off for reservations.
    nagle: Option<bool>,
}

impl SendStream {
    pub(super) fn new(id: StreamId, port: SendPort, conn: Arc<ConnShared>) -> SendStream {
        SendStream { id, port, conn, spare: VecDeque::new(), finished: false, nagle: None }
    }

    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Payload bytes of a full packet: what is written in pieces of this size leaves in full packets.
    pub fn max_payload(&self) -> usize {
        self.port.max_payload
    }

    /// Room for up to `len` bytes in frames of their own: waits until there is one, takes as many as there are then.
    ///
    /// # Errors
    /// When the receiver stopped the stream, it is finished, or the connection ended.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_>, StreamError> {
        self.say_nagle(false);
        self.reserve_frames(len)
    }

    /// The stream ends here. What was committed is still sent.
    ///
    /// # Errors
    /// When the stream has ended already.
    pub fn finish(&mut self) -> Result<(), StreamError> {
        let shared = self.port.shared.clone();
        wait::wait(&shared.send_waker, || match self.error() {
            Some(error) => Some(Err(error)),
            None => self.has_room().then_some(Ok(())),
        })?;
        self.commit(0, true);
        Ok(())
    }

    /// Waits until the receiver has all of the finished stream.
    ///
    /// # Errors
    /// When the stream ended otherwise.
    pub fn wait_acked(&self) -> Result<(), StreamError> {
        let shared = &self.port.shared;
        wait::wait(&shared.send_waker, || {
            let broken = self.broken();
            if shared.all_acked.load(Ordering::Acquire) {
                return Some(Ok(()));
            }
            broken.map(Err)
        })
    }

    /// Gives the stream up: what was not sent will not be, and the receiver is told the application's `code`.
    pub fn reset(self, code: u32) {
        self.port.shared.drop_code.store(code, Ordering::Release);
    }

    /// Whether small packets wait until earlier ones are acknowledged, so that many small writes share a packet. On for
    /// [`Write`], off for reservations, unless said here.
    pub fn set_nagle(&mut self, on: bool) {
        self.nagle = Some(on);
        self.port.shared.nagle.store(on, Ordering::Release);
        self.port.notify();
    }

    pub(super) fn payload_offset(&self) -> usize {
        self.port.payload_offset
    }

    pub(super) fn spare_mut(&mut self) -> &mut VecDeque<Frame> {
        &mut self.spare
    }

    /// Hands the first `written` bytes of the spare frames to the engine. There is room for them: see `reserve_frames`.
    pub(super) fn commit(&mut self, written: usize, fin: bool) {
        let at_ns = clock::now();
        let mut left = written;
        while left > 0 {
            let len = left.min(self.port.max_payload);
            left -= len;
            let frame = self.spare.pop_front();
            self.push(Commit { frame, len, fin: fin && left == 0, at_ns });
        }
        if fin && written == 0 {
            self.push(Commit { frame: None, len: 0, fin: true, at_ns });
        }
        self.finished |= fin;
        if fin {
            self.give_back();
        }
        if written > 0 || fin {
            self.port.notify();
        }
    }

    fn push(&mut self, commit: Commit) {
        if let Err(rtrb::PushError::Full(commit)) = self.port.commits.push(commit) {
            // Only the engine's queue shrinking under us could bring this about; the frame is not lost.
            debug_assert!(false, "the commit queue was full");
            self.spare.extend(commit.frame);
        }
    }

    fn reserve_frames(&mut self, len: usize) -> Result<Reservation<'_>, StreamError> {
        assert!(len > 0, "a reservation of 0 bytes");
        let wanted = len.div_ceil(self.port.max_payload).min(MOST_FRAMES);
        if let Some(error) = self.error() {
            return Err(error);
        }
        let mut frames = self.take(wanted);
        if frames == 0 {
            let shared = self.port.shared.clone();
            // Half of the queue at a time: woken for every frame, we would be awake more than the worker.
            let batch = wanted.min(self.port.grants.buffer().capacity() / 2).max(1);
            shared.wanted.store(batch as u32, Ordering::Release);
            self.port.notify();
            let got = wait::wait(&shared.send_waker, || match self.error() {
                Some(error) => Some(Err(error)),
                None => Some(self.take(wanted)).filter(|&frames| frames > 0).map(Ok),
            });
            shared.wanted.store(0, Ordering::Release);
            frames = got?;
        }
        let room = len.min(frames * self.port.max_payload);
        Ok(Reservation::new(self, room))
    }

    /// Moves grants to the spare frames until there are `wanted`, and says how many of them can be committed. One place
    /// of the commit queue stays free for the end.
    fn take(&mut self, wanted: usize) -> usize {
        let places = self.port.commits.slots().saturating_sub(1);
        let wanted = wanted.min(places);
        while self.spare.len() < wanted
            && let Ok(frame) = self.port.grants.pop()
        {
            self.spare.push_back(frame);
        }
        self.spare.len().min(wanted)
    }

    fn has_room(&self) -> bool {
        self.port.commits.slots() > 0
    }

    /// Why nothing more can be sent.
    fn error(&self) -> Option<StreamError> {
        if self.finished {
            return Some(StreamError::Finished);
        }
        self.broken()
    }

    /// Why what was sent may not arrive.
    fn broken(&self) -> Option<StreamError> {
        let gone = self.port.commits.is_abandoned();
        if let Some(error) = self.port.shared.send_error.get() {
            return Some(error.clone());
        }
        gone.then(|| StreamError::Closed(self.conn.closed.get().cloned().unwrap_or(CloseReason::Shutdown)))
    }

    fn say_nagle(&mut self, on: bool) {
        if self.nagle.is_none() && self.port.shared.nagle.load(Ordering::Relaxed) != on {
            self.port.shared.nagle.store(on, Ordering::Release);
        }
    }

    fn give_back(&mut self) {
        for frame in self.spare.drain(..) {
            self.port.returns.give(frame);
        }
    }
}

impl Write for SendStream {
    /// Copies what fits into frames and commits it: every write leaves as soon as Nagle, credit and pacing allow.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.say_nagle(true);
        let mut room = self.reserve_frames(buf.len())?;
        let written = room.copy_from(buf);
        room.commit(written);
        Ok(written)
    }

    /// Nothing is held back on this side of the engine.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendStream({})", self.id.0)
    }
}
