//! The receiving half of a stream.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::message::{Home, Message};
use super::wait;
use crate::base::StreamId;
use crate::engine::port::{ConnShared, RecvPort};
use crate::proto::error::{CloseReason, StreamError};

/// Most messages that a wait asks for at a time: 64 full packets are 50 µs at 15 Gbit/s. More would keep the first one
/// waiting without saving much; fewer wakes this thread more often than it can read.
const MOST_WANTED: u32 = 64;

/// The receiving half of a stream. Dropping it before the end tells the peer to stop (code 0).
pub struct RecvStream {
    id: StreamId,
    port: RecvPort,
    conn: Arc<ConnShared>,
    home: Arc<Home>,
    /// The end has been received.
    finished: bool,
    /// Messages since the last wait.
    popped: u32,
    /// What `Read` has begun to read, and how far.
    reading: Option<(Message, usize)>,
}

impl RecvStream {
    pub(super) fn new(id: StreamId, port: RecvPort, conn: Arc<ConnShared>) -> RecvStream {
        let home = Home::new(&port);
        RecvStream { id, port, conn, home, finished: false, popped: 0, reading: None }
    }

    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The next bytes, in the frame that they arrived in; `None` at the stream's end.
    ///
    /// # Errors
    /// When the sender gave the stream up, or the connection ended.
    pub fn recv(&mut self) -> Result<Option<Message>, StreamError> {
        if let Some(next) = self.poll() {
            return next;
        }
        // As many as came since the last wait: one for who asks and answers, a batch for who receives in bulk.
        let wanted = std::mem::take(&mut self.popped);
        if wanted > 0 {
            // The frames read so far are back: the sender may wait for just that, or more may wait for our queue.
            self.port.notify();
        }
        let shared = self.port.shared.clone();
        shared.recv_wanted.store(wanted.min(MOST_WANTED), Ordering::Release);
        wait::wait(&shared.recv_waker, || self.poll())
    }

    /// Appends up to `max` messages to `out`, waiting for the first one only. 0 at the stream's end.
    ///
    /// # Errors
    /// As for [`RecvStream::recv`]. What arrived before the error is delivered first.
    pub fn recv_burst(&mut self, out: &mut Vec<Message>, max: usize) -> Result<usize, StreamError> {
        if max == 0 {
            return Ok(0);
        }
        let Some(first) = self.recv()? else { return Ok(0) };
        out.push(first);
        let mut count = 1;
        while count < max
            && let Some(message) = self.pop()
        {
            out.push(message);
            count += 1;
        }
        Ok(count)
    }

    /// Wants no more: the peer is told to stop, with the application's `code`.
    pub fn stop(self, code: u32) {
        self.port.shared.drop_code.store(code, Ordering::Release);
    }

    /// What can be said now: a message, the end, an error; `None`: nothing yet.
    fn poll(&mut self) -> Option<Result<Option<Message>, StreamError>> {
        if let Some(message) = self.pop() {
            return Some(Ok(Some(message)));
        }
        if self.finished {
            return Some(Ok(None));
        }
        let error = self.error()?;
        // The engine may have delivered more just before.
        match self.pop() {
            Some(message) => Some(Ok(Some(message))),
            None if self.finished => Some(Ok(None)),
            None => Some(Err(error)),
        }
    }

    /// The next message that has arrived.
    fn pop(&mut self) -> Option<Message> {
        if let Some((message, at)) = self.reading.take() {
            // Someone read a part of it with `Read` and goes on with messages.
            return Some(message.after(at));
        }
        while !self.finished {
            let message = self.port.messages.pop().ok()?;
            self.finished = message.fin;
            self.popped += 1;
            let Some(frame) = message.frame else { continue };
            if message.payload.is_empty() {
                self.home.give(frame);
                continue;
            }
            return Some(Message::new(frame, message.payload, self.home.clone()));
        }
        None
    }

    fn error(&self) -> Option<StreamError> {
        let gone = self.port.messages.is_abandoned();
        if let Some(error) = self.port.shared.recv_error.get() {
            return Some(error.clone());
        }
        gone.then(|| StreamError::Closed(self.conn.closed.get().cloned().unwrap_or(CloseReason::Shutdown)))
    }
}

impl Read for RecvStream {
    /// Reads what has arrived, waiting for the first byte only. One copy more than messages take.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buf.len() {
            let next = match self.reading.take() {
                Some(reading) => Some(reading),
                None if count == 0 => self.recv()?.map(|message| (message, 0)),
                None => self.pop().map(|message| (message, 0)),
            };
            let Some((message, at)) = next else { break };
            let len = (message.len() - at).min(buf.len() - count);
            buf[count..count + len].copy_from_slice(&message[at..at + len]);
            count += len;
            if at + len < message.len() {
                self.reading = Some((message, at + len));
            }
        }
        Ok(count)
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvStream({})", self.id.0)
    }
}
