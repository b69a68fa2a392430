//! The engine's ends of what the application holds: streams and connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;
use rtrb::{Consumer, Producer, RingBuffer};
use slab::Slab;

use super::port::{
    Commit, ConnPort, ConnShared, Doorbell, Message, PingReport, RecvPort, Returns, SendPort, StreamKey, StreamPort,
    StreamShared,
};
use crate::base::time::MICROSECOND;
use crate::base::{ConnId, Nanos, StreamId};
use crate::link::Frame;
use crate::proto::error::{CloseReason, ConnectError, StreamError};

/// Frames in each queue of a stream. An application thread that wakes up handles this many at once: half a millisecond
/// at half a million packets a second, some fifty times what a wake-up costs. Lower: more wake-ups. Higher: more memory
/// per stream (a queue slot is some 64 bytes), and frames that fall out of the cache before they are sent: with 512 and
/// 1024 unsent segments `farwire perf` over veth was 8 % slower than with 256 and 256, with 128 no faster.
pub(super) const QUEUE_FRAMES: usize = 256;
/// Segments that may wait unsent in a stream before its application gets no more frames: enough to bridge a late
/// application thread. Higher: see above.
pub(super) const QUEUED_SEGMENTS: usize = 256;
/// How long messages may wait for more to arrive before an application that asked for a batch is woken, on short paths;
/// on longer ones, the path's patience. Below the round trip of anything but a direct cable, and ten times a wake-up's
/// cost.
const BATCH_WAIT_NS: Nanos = 50 * MICROSECOND;

/// The engine's end of one stream.
pub(super) struct StreamEnd {
    pub key: StreamKey,
    /// The stream's slot in the transport, while it is there.
    pub slot: Option<u32>,
    pub conn: ConnId,
    pub id: StreamId,
    pub shared: Arc<StreamShared>,
    pub grants: Producer<Frame>,
    pub commits: Consumer<Commit>,
    pub messages: Producer<Message>,
    /// Messages that the queue had no room for; bounded by the credit granted.
    pub backlog: VecDeque<Message>,
    /// In the list of those that wait for frames.
    pub hungry: bool,
    /// In the list of those whose reader is to be woken.
    pub waking: bool,
    /// When the oldest message arrived of which the reader knows nothing.
    pub unread_since_ns: Nanos,
    /// Its end, or its failure, is among what the reader does not know.
    pub urgent: bool,
    pub send_gone: bool,
    pub recv_gone: bool,
}

/// The engine's end of one connection.
pub(super) struct ConnEnd {
    pub key: ConnId,
    /// Where streams go that the peer opens; `None` once it has finished.
    pub streams: Option<Sender<StreamPort>>,
    pub shared: Arc<ConnShared>,
    /// Those who wait for the peer to allow another stream.
    pub waiting: VecDeque<Sender<StreamPort>>,
    /// The application has finished it: no more streams are opened.
    pub finished: bool,
    pub ping: Option<Sender<PingReport>>,
}

/// A connect that has no answer so far.
pub(super) type ConnectReply = Sender<Result<ConnPort, ConnectError>>;

impl StreamEnd {
    /// Takes a message to the application, or keeps it until there is room.
    pub fn push(&mut self, now: Nanos, message: Message) {
        self.urgent |= message.fin;
        if self.unread_since_ns == 0 {
            self.unread_since_ns = now.max(1);
        }
        if !self.backlog.is_empty() {
            self.backlog.push_back(message);
        } else if let Err(rtrb::PushError::Full(message)) = self.messages.push(message) {
            self.backlog.push_back(message);
        }
    }

    /// Moves what waited for room. True if anything moved.
    pub fn flush(&mut self) -> bool {
        let before = self.backlog.len();
        while let Some(message) = self.backlog.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.messages.push(message) {
                self.backlog.push_front(message);
                break;
            }
        }
        self.backlog.len() < before
    }

    /// Messages in the queue and behind it.
    pub fn unread(&self) -> usize {
        QUEUE_FRAMES - self.messages.slots() + self.backlog.len()
    }

    /// Wakes the reader if enough has come, or has waited long enough; else tells when that will be.
    pub fn poll_wake(&mut self, now: Nanos, patience_ns: Nanos) -> Option<Nanos> {
        let wanted = self.shared.recv_wanted.load(Ordering::Relaxed) as usize;
        let due = self.unread_since_ns + BATCH_WAIT_NS.max(patience_ns);
        if self.urgent || self.unread() >= wanted.min(QUEUE_FRAMES / 2) || now >= due {
            self.urgent = false;
            self.unread_since_ns = 0;
            self.shared.recv_waker.wake();
            return None;
        }
        Some(due)
    }

    /// The transport has forgotten the stream, the application has dropped both halves, and nothing is under way.
    pub fn is_over(&self) -> bool {
        self.slot.is_none() && self.send_gone && self.recv_gone
    }
}

/// An engine that ends in the middle (a panic) takes its ends along: whoever waits must not wait for ever.
impl Drop for StreamEnd {
    fn drop(&mut self) {
        let error = StreamError::Closed(CloseReason::Shutdown);
        let _ = self.shared.send_error.set(error.clone());
        let _ = self.shared.recv_error.set(error);
        self.shared.send_waker.wake();
        self.shared.recv_waker.wake();
    }
}

impl Drop for ConnEnd {
    fn drop(&mut self) {
        let _ = self.shared.closed.set(CloseReason::Shutdown);
        self.shared.closed_waker.wake();
    }
}

/// Makes both ends of a stream.
pub(super) fn stream_ends(
    ends: &mut Slab<StreamEnd>,
    generation: u32,
    conn: ConnId,
    stream: (u32, StreamId),
    shape: &PortShape,
) -> (usize, StreamPort) {
    let (grants, granted) = RingBuffer::new(QUEUE_FRAMES);
    let (committing, commits) = RingBuffer::new(QUEUE_FRAMES);
    let (messages, reading) = RingBuffer::new(QUEUE_FRAMES);
    let shared = Arc::new(StreamShared::default());
    let entry = ends.vacant_entry();
    let (index, key) = (entry.key(), StreamKey { slot: entry.key() as u32, generation });
    entry.insert(StreamEnd {
        key,
        slot: Some(stream.0),
        conn,
        id: stream.1,
        shared: shared.clone(),
        grants,
        commits,
        messages,
        backlog: VecDeque::new(),
        hungry: false,
        waking: false,
        unread_since_ns: 0,
        urgent: false,
        send_gone: false,
        recv_gone: false,
    });
    let PortShape { returns, doorbell, payload_offset, max_payload } = shape.clone();
    let send = SendPort {
        key,
        shared: shared.clone(),
        grants: granted,
        commits: committing,
        returns: returns.clone(),
        doorbell: doorbell.clone(),
        payload_offset,
        max_payload,
    };
    let recv = RecvPort { key, shared, messages: reading, returns, doorbell };
    (index, StreamPort { id: stream.1, send, recv })
}

/// What every stream port of a connection has in common.
#[derive(Clone)]
pub(super) struct PortShape {
    pub returns: Arc<Returns>,
    pub doorbell: Doorbell,
    pub payload_offset: usize,
    pub max_payload: usize,
}
