//! The free frames of a link whose frames own their memory.

use super::Frame;
use crate::base::FrameId;

/// Bytes that a frame of the pool holds beside its payload: the Ethernet header with one 802.1Q tag.
pub const HEADER_ROOM: usize = 18;

/// A stack of free frames: the one that was freed last is the next to be used, while its bytes are still in the cache.
///
/// It says nothing of frames that are elsewhere; how many it keeps for receiving its link says with each call, as some
/// of them may be posted already.
pub struct Pool {
    free: Vec<Frame>,
}

impl Pool {
    /// A pool of `frames` frames, numbered from 0 on, each for an Ethernet payload of `mtu` bytes.
    pub fn new(frames: usize, mtu: usize) -> Pool {
        Pool { free: (0..frames as u32).rev().map(|id| Frame::owned(FrameId(id), mtu + HEADER_ROOM)).collect() }
    }

    /// A free frame (start 0, length 0), or `None` if no more than `kept` are free.
    pub fn alloc(&mut self, kept: usize) -> Option<Frame> {
        if self.available(kept) == 0 {
            return None;
        }
        let mut frame = self.free.pop()?;
        frame.set_range(0, 0);
        Some(frame)
    }

    /// Takes a frame back, or each chunk of a chain.
    pub fn free(&mut self, mut frame: Frame) {
        if let Some(more) = frame.take_more() {
            self.free(*more);
        }
        self.free.push(frame);
    }

    /// How many frames [`alloc`](Self::alloc) would give out, one after the other, keeping `kept`.
    pub fn available(&self, kept: usize) -> usize {
        self.free.len().saturating_sub(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_given_out() {
        let mut pool = Pool::new(3, 100);
        assert_eq!([0, 1, 3, 4].map(|kept| pool.available(kept)), [3, 2, 0, 0]);
        let lent: Vec<Frame> = std::iter::from_fn(|| pool.alloc(1)).collect();
        assert_eq!(lent.iter().map(|frame| frame.id().0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(pool.alloc(0).map(|frame| frame.id()), Some(FrameId(2)), "what was kept is for who keeps nothing");
        assert!(pool.alloc(0).is_none());
        lent.into_iter().for_each(|frame| pool.free(frame));
        assert_eq!((pool.available(0), pool.available(2)), (2, 0));
    }

    #[test]
    fn a_frame_comes_back_empty_and_is_the_next_to_be_used() {
        let mut pool = Pool::new(4, 100);
        let (mut first, second) = (pool.alloc(0).unwrap(), pool.alloc(0).unwrap());
        assert_eq!(first.capacity(), 118);
        first.set_range(20, 60);
        pool.free(second);
        pool.free(first);
        let again = pool.alloc(0).unwrap();
        assert_eq!((again.id(), again.len(), again.capacity()), (FrameId(0), 0, 118));
    }

    #[test]
    fn each_chunk_of_a_chain_comes_back() {
        let mut pool = Pool::new(3, 100);
        let mut chain = pool.alloc(0).unwrap();
        chain.append(pool.alloc(0).unwrap());
        chain.append(pool.alloc(0).unwrap());
        assert_eq!(pool.available(0), 0);
        pool.free(chain);
        assert_eq!(pool.available(0), 3);
        let mut ids: Vec<u32> = std::iter::from_fn(|| pool.alloc(0))
            .inspect(|frame| assert_eq!(frame.chunks(), 1))
            .map(|frame| frame.id().0)
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2]);
    }
}
