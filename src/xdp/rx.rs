//! Receiving: rx ring to tokens, and free chunks to the fill ring.

use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv};
use xsk_rs::{FillQueue, FrameDesc, RxQueue};

use super::umem::{Pool, Side};
use crate::link::{BURST, Frame};

/// The receiving half of a queue.
pub(super) struct Rx {
    side: Side,
    queue: RxQueue,
    fill: FillQueue,
    descs: [FrameDesc; BURST],
    pub(super) counts: RxCounts,
}

/// What happened while receiving.
#[derive(Clone, Copy, Default)]
pub(super) struct RxCounts {
    /// Frames received.
    pub(super) received: u64,
    /// Descriptors that told of no frame of ours, or of one that does not fit its chunk.
    pub(super) invalid: u64,
    /// Times the driver wanted to be told that the fill ring has frames again.
    pub(super) fill_wakeups: u64,
    /// Restocks that left the fill ring short, because frames were held elsewhere.
    pub(super) fill_short: u64,
}

impl Rx {
    pub(super) fn new(side: Side, queue: RxQueue, fill: FillQueue) -> Rx {
        Rx { side, queue, fill, descs: [FrameDesc::default(); BURST], counts: RxCounts::default() }
    }

    /// Appends up to `max` received frames to `out`, then restocks the fill ring, also when nothing was received: a
    /// queue that only sends must be able to receive the first acknowledgement.
    pub(super) fn burst(&mut self, pool: &mut Pool, out: &mut Vec<Frame>, max: usize) -> usize {
        let before = out.len();
        let mut left = max;
        while left > 0 {
            let want = left.min(BURST);
            // SAFETY: whatever address and length the kernel wrote is checked in `Pool::take_received` first.
            let got = unsafe { self.queue.consume(&mut self.descs[..want]) };
            for desc in &self.descs[..got] {
                match pool.take_received(self.side, desc) {
                    Some(frame) => out.push(frame),
                    None => self.counts.invalid += 1,
                }
            }
            left -= got;
            if got < want {
                break;
            }
        }
        self.stock(pool);
        let received = out.len() - before;
        self.counts.received += received as u64;
        received
    }

    /// Brings the fill ring up to the reserve.
    pub(super) fn stock(&mut self, pool: &mut Pool) {
        loop {
            let want = pool.fill_deficit(self.side).min(BURST);
            // Never more than fits, since `produce` takes all or nothing. The ring is as long as the reserve, but the
            // kernel may publish a frame on the rx ring just before it says that it took it from the fill ring.
            let room = self.fill.nb_free(want as u32) as usize;
            let count = want.min(room);
            if count == 0 {
                break;
            }
            for desc in &mut self.descs[..count] {
                *desc = pool.give_to_fill(self.side).expect("the deficit counts no more than the free frames");
            }
            // SAFETY: the descriptors are of this UMEM, and their chunks are owned by the fill ring from here on.
            let taken = unsafe { self.fill.produce(&self.descs[..count]) };
            debug_assert_eq!(taken, count);
        }
        self.counts.fill_short += u64::from(pool.fill_short(self.side));
        if self.fill.needs_wakeup() {
            self.counts.fill_wakeups += 1;
            // Zero-copy only: the driver ran out of frames and has switched its interrupt off. Whatever error this
            // gives (down, gone) `kick` finds as well, and tells.
            let _ = recv(self.queue.fd().as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT);
        }
    }
}
