//! A link that breaks on command: it falls silent, it fails, or it panics.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use farwire::link::{Caps, Frame, Link, LinkError};

/// How a link breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// It swallows what it is given and receives nothing.
    Silence = 1,
    /// The interface is gone.
    Failure,
    /// A bug.
    Panic,
}

/// Breaks the link.
#[derive(Clone, Default)]
pub struct Switch(Arc<AtomicU8>);

impl Switch {
    pub fn turn(&self, how: Break) {
        self.0.store(how as u8, Ordering::Release);
    }

    fn is(&self, how: Break) -> bool {
        self.0.load(Ordering::Acquire) == how as u8
    }
}

pub struct Broken<L> {
    inner: L,
    switch: Switch,
    swallowed: Vec<Frame>,
}

impl<L: Link> Broken<L> {
    pub fn new(inner: L, switch: Switch) -> Broken<L> {
        Broken { inner, switch, swallowed: Vec::new() }
    }
}

impl<L: Link> Link for Broken<L> {
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
        if !self.switch.is(Break::Silence) {
            return count;
        }
        while out.len() > start {
            let frame = out.pop().unwrap();
            self.inner.free(frame);
        }
        0
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        if !self.switch.is(Break::Silence) {
            return self.inner.tx_burst(frames);
        }
        let count = frames.len();
        self.swallowed.extend(frames.drain(..));
        count
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        assert!(!self.switch.is(Break::Panic), "the link was told to panic");
        let count = self.swallowed.len();
        done.append(&mut self.swallowed);
        count + self.inner.reap(done)
    }
    fn kick(&mut self) -> Result<(), LinkError> {
        if self.switch.is(Break::Failure) {
            let (link, detail) = (self.caps().name.clone(), "told to fail".to_owned());
            return Err(LinkError::Gone { link, detail });
        }
        self.inner.kick()
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }
    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.inner.stats()
    }
}
