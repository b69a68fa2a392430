//! The two ends of a stream's queues.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use rtrb::{Consumer, Producer, RingBuffer};

use super::doorbell::Doorbell;
use crate::base::{Nanos, StreamId};
use crate::link::Frame;
use crate::proto::error::StreamError;

/// A stream as its engine finds it again: slot and generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamKey {
    /// Index of the engine's table.
    pub slot: u32,
    /// How often the slot had been used before.
    pub generation: u32,
}

/// A frame that the application has written its payload into.
#[derive(Debug)]
pub struct Commit {
    /// The frame, or `None` for an end without bytes.
    pub frame: Option<Frame>,
    /// Payload bytes, from the port's `payload_offset` on.
    pub len: usize,
    /// The stream ends here.
    pub fin: bool,
    /// When it was committed, by the worker's clock: where the queueing histogram starts.
    pub at_ns: Nanos,
}

/// One segment of received payload, in the frame that it arrived in.
#[derive(Debug)]
pub struct Message {
    /// The frame, or `None` for an end without bytes.
    pub frame: Option<Frame>,
    /// Where in the frame's bytes the payload is.
    pub payload: Range<usize>,
    /// The stream ends here.
    pub fin: bool,
}

/// What both ends of a stream see.
#[derive(Debug, Default)]
pub struct StreamShared {
    /// Woken when grants arrive, room appears in the commit queue, or sending has ended.
    pub send_waker: AtomicWaker,
    /// Woken when messages arrive or receiving has ended.
    pub recv_waker: AtomicWaker,
    /// Whether the stream is in the doorbell's list.
    pub listed: AtomicBool,
    /// Frames that the application waits for (it found too few grants). The engine takes the number out.
    pub wanted: AtomicU32,
    /// Messages that a waiting reader would like to find when it is woken; fewer come after a short while, or at the
    /// stream's end. 0 or 1: woken at once.
    pub recv_wanted: AtomicU32,
    /// The application dropped its receiving end.
    pub recv_dropped: AtomicBool,
    /// The application dropped its sending end without finishing.
    pub send_dropped: AtomicBool,
    /// Application error code to go with a dropped end.
    pub drop_code: AtomicU32,
    /// Nagle: hold small segments while others are unacknowledged.
    pub nagle: AtomicBool,
    /// All that was sent, FIN included, has been acknowledged.
    pub all_acked: AtomicBool,
    /// Why sending ended early.
    pub send_error: OnceLock<StreamError>,
    /// Why receiving ended early. Messages already in the queue are still good.
    pub recv_error: OnceLock<StreamError>,
    /// The grants that a dropped sending end leaves behind. The engine empties them: it may have pushed one more while
    /// the end was being dropped, and a frame in a queue with no ends is lost.
    pub left_grants: Mutex<Option<Consumer<Frame>>>,
    /// The messages that a dropped receiving end leaves behind, likewise.
    pub left_messages: Mutex<Option<Consumer<Message>>>,
}

/// Frames on their way back from the application, from whatever thread dropped them.
#[derive(Debug)]
pub struct Returns {
    /// As large as the pool, so that a push never fails.
    pub queue: ArrayQueue<Frame>,
}

/// A stream as the application gets it.
pub struct StreamPort {
    /// Its number.
    pub id: StreamId,
    /// The sending half.
    pub send: SendPort,
    /// The receiving half.
    pub recv: RecvPort,
}

/// The application's end of a stream's sending half.
pub struct SendPort {
    /// The stream, for the doorbell.
    pub key: StreamKey,
    /// Flags and wakers.
    pub shared: Arc<StreamShared>,
    /// Empty frames to write into.
    pub grants: Consumer<Frame>,
    /// Written frames.
    pub commits: Producer<Commit>,
    /// Frames that were granted and not used go back here.
    pub returns: Arc<Returns>,
    /// Wakes the engine.
    pub doorbell: Doorbell,
    /// Where in a frame's room the payload begins.
    pub payload_offset: usize,
    /// Most payload bytes in one frame.
    pub max_payload: usize,
}

/// The application's end of a stream's receiving half.
pub struct RecvPort {
    /// The stream, for the doorbell.
    pub key: StreamKey,
    /// Flags and wakers.
    pub shared: Arc<StreamShared>,
    /// Received segments, in order.
    pub messages: Consumer<Message>,
    /// Where frames go when the application has read them.
    pub returns: Arc<Returns>,
    /// Wakes the engine.
    pub doorbell: Doorbell,
}

impl SendPort {
    /// Tells the engine that commits are waiting, or that grants are wanted (after setting `wanted`).
    pub fn notify(&self) {
        self.doorbell.ring_for(self.key, &self.shared.listed);
    }
}

impl RecvPort {
    /// Tells the engine to look at this stream (frames returned, receiving end dropped).
    pub fn notify(&self) {
        self.doorbell.ring_for(self.key, &self.shared.listed);
    }
}

impl Returns {
    /// A queue for a pool of `frames`.
    pub fn new(frames: usize) -> Arc<Returns> {
        Arc::new(Returns { queue: ArrayQueue::new(frames.max(1)) })
    }

    /// Gives one frame back.
    pub fn give(&self, frame: Frame) {
        // The queue holds the whole pool, so it can't be full; were it, the token would be lost, not the memory safety.
        let refused = self.queue.push(frame).is_err();
        debug_assert!(!refused, "a pool returned more frames than it has");
    }
}

impl Drop for SendPort {
    fn drop(&mut self) {
        leave(&self.shared.left_grants, &mut self.grants);
        self.shared.send_dropped.store(true, Ordering::Release);
        self.notify();
    }
}

impl Drop for RecvPort {
    fn drop(&mut self) {
        leave(&self.shared.left_messages, &mut self.messages);
        self.shared.recv_dropped.store(true, Ordering::Release);
        self.notify();
    }
}

/// Leaves a queue's reading end to the engine.
fn leave<T>(place: &Mutex<Option<Consumer<T>>>, queue: &mut Consumer<T>) {
    let queue = std::mem::replace(queue, RingBuffer::new(0).1);
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue);
}

impl StreamShared {
    /// What a dropped sending end has left behind, once.
    pub fn take_left_grants(&self) -> Option<Consumer<Frame>> {
        self.left_grants.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What a dropped receiving end has left behind, once.
    pub fn take_left_messages(&self) -> Option<Consumer<Message>> {
        self.left_messages.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
