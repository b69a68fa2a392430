//! A link that can be cut: from then on it swallows what it is given and receives nothing.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use farwire::link::{Caps, Frame, Link, LinkError};

/// Cuts the link.
#[derive(Clone, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    pub fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }
}

pub struct Silent<L> {
    inner: L,
    switch: Switch,
    swallowed: Vec<Frame>,
}

impl<L: Link> Silent<L> {
    pub fn new(inner: L, switch: Switch) -> Silent<L> {
        Silent { inner, switch, swallowed: Vec::new() }
    }

    fn is_cut(&self) -> bool {
        self.switch.0.load(Ordering::Acquire)
    }
}

impl<L: Link> Link for Silent<L> {
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
        let start = out.len();
        let count = self.inner.rx_burst(out, max);
        if !self.is_cut() {
            return count;
        }
        while out.len() > start {
            let frame = out.pop().unwrap();
            self.inner.free(frame);
        }
        0
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        if !self.is_cut() {
            return self.inner.tx_burst(frames);
        }
        let count = frames.len();
        self.swallowed.extend(frames.drain(..));
        count
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        let count = self.swallowed.len();
        done.append(&mut self.swallowed);
        count + self.inner.reap(done)
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
