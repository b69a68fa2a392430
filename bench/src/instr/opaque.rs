//! The link in memory behind calls that the compiler can't look into, so that its cost is told apart from the engine's
//! as a driver's would be.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use farwire::link::memory::MemoryLink;
use farwire::link::{Caps, Frame, Link, LinkError};

/// A link whose methods are never inlined.
pub struct Opaque(pub MemoryLink);

impl Link for Opaque {
    #[inline(never)]
    fn caps(&self) -> &Caps {
        self.0.caps()
    }

    #[inline(never)]
    fn alloc(&mut self) -> Option<Frame> {
        self.0.alloc()
    }

    #[inline(never)]
    fn free(&mut self, frame: Frame) {
        self.0.free(frame);
    }

    #[inline(never)]
    fn free_frames(&self) -> usize {
        self.0.free_frames()
    }

    #[inline(never)]
    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        self.0.rx_burst(out, max)
    }

    #[inline(never)]
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        self.0.tx_burst(frames)
    }

    #[inline(never)]
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        self.0.reap(done)
    }

    #[inline(never)]
    fn kick(&mut self) -> Result<(), LinkError> {
        self.0.kick()
    }

    #[inline(never)]
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.poll_fd()
    }

    #[inline(never)]
    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.0.stats()
    }
}
