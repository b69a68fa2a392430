//! Sending: tokens to the tx ring, the kernel told of them, completions back to tokens.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use xsk_rs::{CompQueue, FrameDesc, TxQueue};

use super::umem::{Pool, Side};
use crate::link::{BURST, Frame, LinkError};

/// Most system calls in one kick. A kernel without XDP_MAX_TX_SKB_BUDGET takes 32 frames a call, so a burst needs two;
/// and each frame that the driver drops ends the call, so that a burst of dropped ones needs as many as it has. Lower:
/// the ring backs up behind drops. Higher: a turn with nothing but drops takes longer than a burst is worth.
const CALLS_MOST: usize = BURST;

/// Kicks with nothing to send between two that ask all the same, whether the interface is still there: without, a queue
/// that only receives would never learn. Lower: system calls for nothing. Higher: it learns later.
const IDLE_KICKS: u32 = 4096;

/// How often a link that is closed looks whether its last frames are sent, and how long it waits between two looks.
/// Drivers tell of a frame within an interrupt's time. Lower: the last words of a connection are lost, and the peer
/// waits for its timers. Higher: closing takes longer on an interface that is down.
const DRAIN_TRIES: u32 = 20;
const DRAIN_PAUSE_MS: u8 = 1;

/// The sending half of a queue.
pub(super) struct Tx {
    side: Side,
    queue: TxQueue,
    completions: CompQueue,
    ring: u32,
    descs: [FrameDesc; BURST],
    idle_kicks: u32,
    pub(super) counts: TxCounts,
}

/// What happened while sending.
#[derive(Clone, Copy, Default)]
pub(super) struct TxCounts {
    /// Frames given to the kernel.
    pub(super) sent: u64,
    /// Frames that came back from it, sent or dropped.
    pub(super) completed: u64,
    /// System calls made to have frames sent.
    pub(super) kicks: u64,
    /// Kicks that the kernel answered with EAGAIN without taking a frame: its queue, or the socket's, is full.
    pub(super) again: u64,
    /// Frames that the driver dropped (EBUSY). They come back as completed.
    pub(super) dropped: u64,
    /// Kicks while the interface was down.
    pub(super) down: u64,
    /// Kicks that the kernel had no memory for.
    pub(super) no_memory: u64,
    /// Kicks that a zero-copy driver refused, as it does while it resets.
    pub(super) refused: u64,
    /// Bursts of which the tx ring could not take all.
    pub(super) ring_full: u64,
    /// Completions that told of no frame under transmission.
    pub(super) invalid: u64,
}

/// What a kick that is not simply done means.
enum Kicked {
    /// The kernel has taken what there was.
    Done,
    /// More may be taken at once.
    More,
    /// Try again next turn.
    Later,
}

impl Tx {
    pub(super) fn new(side: Side, queue: TxQueue, completions: CompQueue, ring: u32) -> Tx {
        let descs = [FrameDesc::default(); BURST];
        Tx { side, queue, completions, ring, descs, idle_kicks: 0, counts: TxCounts::default() }
    }

    /// The socket's descriptor.
    pub(super) fn fd(&self) -> RawFd {
        self.queue.fd().as_raw_fd()
    }

    /// What the kernel counted for the socket.
    pub(super) fn kernel_counts(&self) -> std::io::Result<xsk_rs::socket::XdpStatistics> {
        self.queue.fd().xdp_statistics()
    }

    /// Takes as many frames from the front of `frames` as the tx ring has room for.
    pub(super) fn burst(&mut self, pool: &mut Pool, frames: &mut VecDeque<Frame>) -> usize {
        let mut sent = 0;
        while !frames.is_empty() {
            let want = frames.len().min(BURST);
            let room = self.queue.nb_free(want as u32) as usize;
            let count = want.min(room);
            for (desc, frame) in self.descs.iter_mut().zip(frames.drain(..count)) {
                *desc = pool.give_to_tx(self.side, frame);
            }
            // SAFETY: the descriptors are of this UMEM, and no token exists for their chunks until they are completed.
            let taken = unsafe { self.queue.produce(&self.descs[..count]) };
            debug_assert_eq!(taken, count);
            sent += count;
            if count < want {
                self.counts.ring_full += 1;
                break;
            }
        }
        self.counts.sent += sent as u64;
        sent
    }

    /// Appends the frames whose transmission has ended to `done`.
    pub(super) fn reap(&mut self, pool: &mut Pool, done: &mut Vec<Frame>) -> usize {
        let before = done.len();
        while pool.sending(self.side) > 0 {
            // SAFETY: whatever address the kernel wrote is checked in `Pool::take_completed` first.
            let got = unsafe { self.completions.consume(&mut self.descs) };
            for desc in &self.descs[..got] {
                match pool.take_completed(self.side, desc) {
                    Some(frame) => done.push(frame),
                    None => self.counts.invalid += 1,
                }
            }
            if got < BURST {
                break;
            }
        }
        let completed = done.len() - before;
        self.counts.completed += completed as u64;
        completed
    }

    /// Waits a while for the frames that the kernel still has to send, and takes them back. Where nothing is copied,
    /// what it has not sent when the socket closes is lost: the last words of a connection.
    pub(super) fn drain(&mut self, pool: &mut Pool, link: &LinkFacts) {
        let mut done = Vec::new();
        for _ in 0..DRAIN_TRIES {
            self.reap(pool, &mut done);
            done.drain(..).for_each(|frame| pool.free(frame));
            if pool.sending(self.side) == 0 || self.kick(pool, link).is_err() {
                break;
            }
            // Polling nothing is sleeping.
            let _ = poll(&mut [], PollTimeout::from(DRAIN_PAUSE_MS));
        }
    }

    /// Has the kernel send what waits on the tx ring.
    pub(super) fn kick(&mut self, pool: &Pool, link: &LinkFacts) -> Result<(), LinkError> {
        if pool.sending(self.side) == 0 || self.waiting() == 0 {
            self.idle_kicks += 1;
            if self.idle_kicks < IDLE_KICKS {
                return Ok(());
            }
        } else if !self.queue.needs_wakeup() {
            // Zero-copy only: the driver is at work and looks again. Should it stop between our frames and this look
            // (no fence stands between the two), the next turn's kick sees it; and a worker that sleeps instead does
            // so in `poll`, which wakes the driver by itself.
            return Ok(());
        }
        self.idle_kicks = 0;
        for _ in 0..CALLS_MOST {
            match self.call(link)? {
                Kicked::More => {}
                Kicked::Done | Kicked::Later => break,
            }
        }
        Ok(())
    }

    /// One system call, and what its answer means.
    fn call(&mut self, link: &LinkFacts) -> Result<Kicked, LinkError> {
        let before = self.waiting();
        self.counts.kicks += 1;
        // Not xsk-rs' wakeup, which takes EAGAIN, EBUSY and ENETDOWN all for success.
        let Err(error) = send(self.fd(), &[], MsgFlags::MSG_DONTWAIT) else { return Ok(Kicked::Done) };
        let after = self.waiting();
        match error {
            // Beyond its budget for one call, or the driver's queue, the completion ring or the socket's send buffer is
            // full. Nothing is lost.
            Errno::EAGAIN if after < before && after > 0 => Ok(Kicked::More),
            Errno::EAGAIN => {
                self.counts.again += u64::from(after > 0);
                Ok(Kicked::Later)
            }
            // The driver dropped the frame that it was given last; those behind it still wait.
            Errno::EBUSY => {
                self.counts.dropped += 1;
                Ok(if after > 0 { Kicked::More } else { Kicked::Done })
            }
            Errno::ENETDOWN => {
                self.counts.down += 1;
                Ok(Kicked::Later)
            }
            Errno::ENOBUFS | Errno::ENOMEM => {
                self.counts.no_memory += 1;
                Ok(Kicked::Later)
            }
            Errno::EINTR => Ok(Kicked::More),
            Errno::ENXIO | Errno::ENODEV | Errno::EINVAL => self.refused(error, link),
            error => Err(link.failed("telling the kernel to send", error)),
        }
    }

    fn refused(&mut self, error: Errno, link: &LinkFacts) -> Result<Kicked, LinkError> {
        if !link.exists() || (error == Errno::ENXIO && !link.zerocopy) {
            return Err(LinkError::Gone { link: link.name.clone(), detail: error.to_string() });
        }
        if !link.zerocopy {
            return Err(link.failed("telling the kernel to send", error));
        }
        self.counts.refused += 1;
        Ok(Kicked::Later)
    }

    /// Descriptors on the tx ring that the kernel has not taken.
    pub(super) fn waiting(&mut self) -> u32 {
        self.ring.saturating_sub(self.queue.nb_free_exact())
    }
}

/// What an error of a kick is told about.
pub(super) struct LinkFacts {
    pub(super) name: String,
    pub(super) interface: String,
    pub(super) index: u32,
    pub(super) zerocopy: bool,
}

impl LinkFacts {
    /// Whether the interface still is the one that was opened.
    fn exists(&self) -> bool {
        nix::net::if_::if_nametoindex(self.interface.as_str()) == Ok(self.index)
    }

    fn failed(&self, operation: &'static str, error: Errno) -> LinkError {
        let detail = format!("{error}; close the link and open it again");
        LinkError::Failed { link: self.name.clone(), operation, detail }
    }
}
