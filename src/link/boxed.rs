//! A link chosen at run time is a link too, so that a tee or an impairment fits around any of them.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use super::{Caps, Frame, Link, LinkError};

impl<L: Link + ?Sized> Link for Box<L> {
    fn caps(&self) -> &Caps {
        (**self).caps()
    }

    fn alloc(&mut self) -> Option<Frame> {
        (**self).alloc()
    }

    fn free(&mut self, frame: Frame) {
        (**self).free(frame);
    }

    fn free_frames(&self) -> usize {
        (**self).free_frames()
    }

    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        (**self).rx_burst(out, max)
    }

    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        (**self).tx_burst(frames)
    }

    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        (**self).reap(done)
    }

    fn kick(&mut self) -> Result<(), LinkError> {
        (**self).kick()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).poll_fd()
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        (**self).stats()
    }
}
