//! How the application tells a perhaps sleeping engine that a queue has something for it.
//!
//! The sleeper says "I sleep" and then looks at the queues once more; the caller fills a queue and then looks for a
//! sleeper. Both put a sequentially consistent fence between their two steps, so at least one sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;

use crossbeam_queue::SegQueue;

use super::stream::StreamKey;

/// The application's end is cloned freely; the engine keeps one.
#[derive(Clone)]
pub struct Doorbell {
    inner: Arc<Inner>,
}

struct Inner {
    /// Streams with something to look at. Bounded by the number of streams: each is in it at most once.
    streams: SegQueue<StreamKey>,
    sleeping: AtomicBool,
    waker: Waker,
}

impl Doorbell {
    /// A doorbell whose sound is `waker`.
    pub fn new(waker: Waker) -> Doorbell {
        let inner = Inner { streams: SegQueue::new(), sleeping: AtomicBool::new(false), waker };
        Doorbell { inner: Arc::new(inner) }
    }

    /// Application: stream `key` has something new, after it was put in its queue.
    pub fn ring_for(&self, key: StreamKey, listed: &AtomicBool) {
        if !listed.swap(true, Ordering::AcqRel) {
            self.inner.streams.push(key);
        }
        self.ring();
    }

    /// Application: something new is in a queue of the engine.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.inner.sleeping.load(Ordering::Relaxed) && self.inner.sleeping.swap(false, Ordering::AcqRel) {
            self.inner.waker.wake_by_ref();
        }
    }

    /// Engine: the next stream to look at. The caller clears the stream's `listed` flag before it looks.
    pub fn poll_stream(&self) -> Option<StreamKey> {
        self.inner.streams.pop()
    }

    /// Engine: about to sleep. False if something arrived meanwhile; then it must not sleep.
    pub fn prepare_sleep(&self) -> bool {
        self.inner.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.inner.streams.is_empty() {
            return true;
        }
        self.awake();
        false
    }

    /// Engine: awake again.
    pub fn awake(&self) {
        self.inner.sleeping.store(false, Ordering::Relaxed);
    }
}
