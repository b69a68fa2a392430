//! The one in the middle: a link that shows what arrives to somebody who decides what becomes of it.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farwire::link::memory::MemoryLink;
use farwire::link::{Caps, Frame, Link, LinkError};

/// Frames that may be kept from a host at a time, and those of old that are remembered; more are forgotten.
const MOST: usize = 256;

/// What the middle has in its hands, on the way to one host.
#[derive(Default)]
pub struct Hands {
    /// Keeps what arrives instead of passing it on.
    pub keeps: bool,
    /// Kept.
    pub kept: VecDeque<Vec<u8>>,
    /// What has passed here before.
    pub former: VecDeque<Vec<u8>>,
    /// What is to arrive now, whoever made it.
    pub inject: VecDeque<Vec<u8>>,
    /// The host's link takes no frames.
    pub jammed: bool,
}

/// The link of one host.
pub struct Middle {
    inner: MemoryLink,
    hands: Arc<Mutex<Hands>>,
}

impl Middle {
    /// Around a link, with a way to its hands.
    pub fn new(inner: MemoryLink) -> (Middle, Arc<Mutex<Hands>>) {
        let hands = Arc::<Mutex<Hands>>::default();
        (Middle { inner, hands: hands.clone() }, hands)
    }
}

/// The hands, whatever happened to who held them last.
pub fn hold(hands: &Mutex<Hands>) -> MutexGuard<'_, Hands> {
    hands.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(list: &mut VecDeque<Vec<u8>>, bytes: Vec<u8>) {
    list.push_back(bytes);
    if list.len() > MOST {
        list.pop_front();
    }
}

impl Link for Middle {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn alloc(&mut self) -> Option<Frame> {
        self.inner.alloc()
    }

    fn free(&mut self, frame: Frame) {
        self.inner.free(frame);
    }

    fn free_frames(&self) -> usize {
        self.inner.free_frames()
    }

    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        let mut hands = hold(&self.hands);
        let before = out.len();
        while out.len() - before < max
            && let Some(bytes) = hands.inject.pop_front()
        {
            let Some(mut frame) = self.inner.alloc() else { break };
            let len = bytes.len().min(frame.capacity());
            frame.room_mut()[..len].copy_from_slice(&bytes[..len]);
            frame.set_len(len);
            out.push(frame);
        }
        let mut arrived = Vec::new();
        self.inner.rx_burst(&mut arrived, max - (out.len() - before));
        for frame in arrived {
            remember(&mut hands.former, frame.bytes().to_vec());
            if hands.keeps {
                remember(&mut hands.kept, frame.bytes().to_vec());
                self.inner.free(frame);
            } else {
                out.push(frame);
            }
        }
        out.len() - before
    }

    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        if hold(&self.hands).jammed { 0 } else { self.inner.tx_burst(frames) }
    }

    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        self.inner.reap(done)
    }

    fn kick(&mut self) -> Result<(), LinkError> {
        self.inner.kick()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.inner.stats()
    }
}
