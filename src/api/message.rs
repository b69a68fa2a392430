//! Received bytes, in the frame that they arrived in.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine::port::{Doorbell, RecvPort, Returns, StreamKey, StreamShared};
use crate::link::Frame;

/// Frames that may come back without a sleeping engine being woken; awake, it collects them by itself. More would let a
/// small receive window run dry for a while, fewer would wake a sleeping worker for every message.
const WAKE_AFTER: u32 = 8;

/// Frames after which the engine is asked to look whether more messages wait for room in the queue: an eighth of it, so
/// that the queue never runs dry while they do.
const LOOK_AFTER: u32 = 64;

/// Bytes of a stream as one packet brought them. Dropping it gives the frame back: whoever keeps many keeps the sender
/// waiting.
pub struct Message {
    /// `None` only while it is being dropped.
    frame: Option<Frame>,
    payload: Range<usize>,
    home: Arc<Home>,
}

/// Where the frames of one stream's messages go.
pub(super) struct Home {
    returns: Arc<Returns>,
    doorbell: Doorbell,
    key: StreamKey,
    stream: Arc<StreamShared>,
    given: AtomicU32,
}

impl Home {
    pub fn new(port: &RecvPort) -> Arc<Home> {
        Arc::new(Home {
            returns: port.returns.clone(),
            doorbell: port.doorbell.clone(),
            key: port.key,
            stream: port.shared.clone(),
            given: AtomicU32::new(0),
        })
    }

    /// Gives a frame back.
    pub fn give(&self, frame: Frame) {
        self.returns.give(frame);
        let given = self.given.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if given.is_multiple_of(LOOK_AFTER) {
            self.doorbell.ring_for(self.key, &self.stream.listed);
        } else if given.is_multiple_of(WAKE_AFTER) {
            self.doorbell.ring();
        }
    }
}

impl Message {
    pub(super) fn new(frame: Frame, payload: Range<usize>, home: Arc<Home>) -> Message {
        Message { frame: Some(frame), payload, home }
    }

    /// The same without its first `count` bytes.
    pub(super) fn after(mut self, count: usize) -> Message {
        self.payload.start += count;
        self
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.frame.as_ref().map_or(&[], |frame| &frame.bytes()[self.payload.clone()])
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes)", self.len())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take() {
            self.home.give(frame);
        }
    }
}
