//! Two links joined in memory: the same verbs as a NIC, with nothing in between.
//!
//! Shaped like AF_XDP: each end keeps a fill ring of its own empty frames; the sender copies into one of them and puts
//! it on the arrival ring. So tokens never leave the link that they belong to, and what a real link does when it runs
//! out of frames (drop, count) or of ring (leave the frames with the caller) happens here too.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crossbeam_queue::ArrayQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::pool::{HEADER_ROOM, Pool};
use super::{Caps, Frame, Link, LinkError};
use crate::base::MacAddr;

/// What both ends of a pair are made of.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// Frames in each end's pool.
    pub frames: usize,
    /// Longest Ethernet payload in bytes.
    pub mtu: usize,
    /// Frames of the pool that are kept for receiving.
    pub rx_reserve: usize,
    /// Frames that fit in each direction's queue; a full queue leaves frames with the sender.
    pub queue_frames: usize,
    /// A sent frame stays "with the kernel" while no more than this many were sent behind it. 0: completes at once.
    pub hold_completions: usize,
    /// … but no longer than this many kicks, so that the last frames of a burst come back as well.
    pub hold_kicks: u64,
}

impl Default for MemoryConfig {
    fn default() -> MemoryConfig {
        MemoryConfig {
            frames: 4096,
            mtu: 1500,
            rx_reserve: 1024,
            queue_frames: 512,
            hold_completions: 0,
            hold_kicks: 1,
        }
    }
}

/// Two links, each of which receives what the other sends. They may live on different threads.
///
/// The first one's address is `02:00:00:00:00:01`, the second one's `02:00:00:00:00:02`.
///
/// # Panics
/// If the configuration holds no frame or no queue, or the process is out of file descriptors.
pub fn pair(config: MemoryConfig) -> (MemoryLink, MemoryLink) {
    assert!(config.frames > config.rx_reserve, "{config:?}: rx_reserve must leave frames to send");
    assert!(config.rx_reserve > 0 && config.queue_frames > 0, "{config:?}: nothing could ever arrive");
    let (to_a, to_b) = (Arc::new(Direction::new(&config)), Arc::new(Direction::new(&config)));
    let a = MemoryLink::new(&config, "memory a", 1, to_a.clone(), to_b.clone());
    let b = MemoryLink::new(&config, "memory b", 2, to_b, to_a);
    (a, b)
}

/// One end of a pair.
pub struct MemoryLink {
    caps: Caps,
    pool: Pool,
    /// What the peer sends to us.
    rx: Arc<Direction>,
    /// What we send to the peer.
    tx: Arc<Direction>,
    /// Frames on the fill ring and the arrival ring together.
    posted: usize,
    /// Sent and not yet completed, each with the number of kicks before it was sent.
    in_ring: VecDeque<(Frame, u64)>,
    kicks: u64,
    hold_completions: usize,
    hold_kicks: u64,
    /// `poll_fd` was asked for since the last receive, so the eventfd may have been written.
    armed: Cell<bool>,
    counts: Counts,
}

/// What an end counts by itself.
#[derive(Default)]
struct Counts {
    rx_frames: u64,
    rx_bytes: u64,
    tx_frames: u64,
    tx_bytes: u64,
    tx_queue_full: u64,
    tx_too_long: u64,
    tx_peer_gone: u64,
}

/// One direction, shared by its sender and its receiver.
struct Direction {
    /// The receiver's empty frames.
    fill: ArrayQueue<Frame>,
    /// The same frames once something has arrived in them.
    arrived: ArrayQueue<Frame>,
    /// The receiver's eventfd.
    wake: EventFd,
    /// The receiver is about to sleep.
    asleep: AtomicBool,
    /// The sender met a full queue and waits for room.
    blocked: AtomicBool,
    /// The receiver has been dropped.
    gone: AtomicBool,
    /// Frames dropped because the fill ring was empty.
    no_frame: AtomicU64,
}

impl Direction {
    fn new(config: &MemoryConfig) -> Direction {
        Direction {
            fill: ArrayQueue::new(config.rx_reserve),
            arrived: ArrayQueue::new(config.queue_frames),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
                .expect("eventfd: out of file descriptors; raise `ulimit -n`"),
            asleep: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            no_frame: AtomicU64::new(0),
        }
    }

    /// Wakes the receiver if it has said that it may sleep. Costs no system call otherwise.
    fn wake_receiver(&self) {
        // Pairs with the fence in `poll_fd`: either we see `asleep`, or the receiver sees what we queued.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.write_wake();
        }
    }

    fn write_wake(&self) {
        // It fails only when the count is at its maximum; then the fd is readable anyway.
        let _ = self.wake.write(1);
    }
}

impl MemoryLink {
    fn new(config: &MemoryConfig, name: &str, host: u8, rx: Arc<Direction>, tx: Arc<Direction>) -> MemoryLink {
        let mut link = MemoryLink {
            caps: Caps {
                mac: MacAddr::new(2, 0, 0, 0, 0, host),
                name: name.to_owned(),
                mode: "memory",
                mtu: config.mtu,
                frames: config.frames,
                rx_reserve: config.rx_reserve,
                speed_bps: None,
            },
            pool: Pool::new(config.frames, config.mtu),
            rx,
            tx,
            posted: 0,
            in_ring: VecDeque::with_capacity(config.hold_completions + 2 * super::BURST),
            kicks: 0,
            hold_completions: config.hold_completions,
            hold_kicks: config.hold_kicks,
            armed: Cell::new(false),
            counts: Counts::default(),
        };
        link.restock();
        link
    }

    /// Fills the fill ring from the free frames.
    fn restock(&mut self) {
        while self.posted < self.caps.rx_reserve {
            let Some(frame) = self.pool.alloc(0) else { return };
            if let Err(frame) = self.rx.fill.push(frame) {
                self.pool.free(frame);
                return;
            }
            self.posted += 1;
        }
    }

    /// Frames of the reserve that are neither on the fill ring nor on the arrival ring.
    fn unposted(&self) -> usize {
        self.caps.rx_reserve - self.posted
    }

    /// Copies one frame to the peer; `false` if it must wait.
    fn deliver(&mut self, frame: &Frame) -> bool {
        let len = frame.chain().map(Frame::len).sum::<usize>();
        if self.tx.gone.load(Ordering::Relaxed) {
            self.counts.tx_peer_gone += 1;
            return true;
        }
        if len > self.caps.mtu + HEADER_ROOM {
            self.counts.tx_too_long += 1;
            return true;
        }
        if self.tx.arrived.is_full() {
            return false;
        }
        let Some(mut copy) = self.tx.fill.pop() else {
            self.tx.no_frame.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        copy.set_range(0, len);
        let mut at = 0;
        for chunk in frame.chain() {
            copy.bytes_mut()[at..at + chunk.len()].copy_from_slice(chunk.bytes());
            at += chunk.len();
        }
        self.counts.tx_frames += 1;
        self.counts.tx_bytes += len as u64;
        // We are the only one who pushes, and it was not full.
        self.tx.arrived.push(copy).is_ok()
    }
}

impl Link for MemoryLink {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn alloc(&mut self) -> Option<Frame> {
        self.pool.alloc(self.unposted())
    }

    fn free(&mut self, frame: Frame) {
        self.pool.free(frame);
    }

    fn free_frames(&self) -> usize {
        self.pool.available(self.unposted())
    }

    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        if self.armed.replace(false) {
            self.rx.asleep.store(false, Ordering::Relaxed);
            // EAGAIN only says that nobody woke us.
            let _ = self.rx.wake.read();
        }
        let mut count = 0;
        while count < max {
            let Some(frame) = self.rx.arrived.pop() else { break };
            self.counts.rx_bytes += frame.len() as u64;
            out.push(frame);
            count += 1;
        }
        self.posted -= count;
        self.counts.rx_frames += count as u64;
        self.restock();
        if count > 0 {
            // Pairs with the fence in the sender's `poll_fd`: either we see `blocked`, or it sees the room.
            fence(Ordering::SeqCst);
            if self.rx.blocked.load(Ordering::Relaxed) && self.rx.blocked.swap(false, Ordering::Relaxed) {
                self.tx.wake_receiver();
            }
        }
        count
    }

    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        let mut count = 0;
        while let Some(frame) = frames.pop_front() {
            if !self.deliver(&frame) {
                frames.push_front(frame);
                self.counts.tx_queue_full += 1;
                self.tx.blocked.store(true, Ordering::Relaxed);
                break;
            }
            self.in_ring.push_back((frame, self.kicks));
            count += 1;
        }
        if count > 0 {
            self.tx.wake_receiver();
        }
        count
    }

    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        let mut count = 0;
        while let Some((_, sent_at)) = self.in_ring.front() {
            if self.in_ring.len() <= self.hold_completions && self.kicks - sent_at < self.hold_kicks {
                break;
            }
            done.extend(self.in_ring.pop_front().map(|(frame, _)| frame));
            count += 1;
        }
        count
    }

    fn kick(&mut self) -> Result<(), LinkError> {
        self.kicks += 1;
        Ok(())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.armed.set(true);
        self.rx.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake_receiver`.
        fence(Ordering::SeqCst);
        let room = !self.tx.arrived.is_full() || self.tx.gone.load(Ordering::Relaxed);
        let room_again = self.tx.blocked.load(Ordering::Relaxed) && room;
        if !self.rx.arrived.is_empty() || room_again {
            self.tx.blocked.store(false, Ordering::Relaxed);
            self.rx.write_wake();
        }
        Some(self.rx.wake.as_fd())
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.counts;
        vec![
            ("rx_frames", counts.rx_frames),
            ("rx_bytes", counts.rx_bytes),
            ("rx_no_frame", self.rx.no_frame.load(Ordering::Relaxed)),
            ("tx_frames", counts.tx_frames),
            ("tx_bytes", counts.tx_bytes),
            ("tx_queue_full", counts.tx_queue_full),
            ("tx_too_long", counts.tx_too_long),
            ("tx_peer_gone", counts.tx_peer_gone),
        ]
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.rx.gone.store(true, Ordering::Relaxed);
        self.tx.wake_receiver();
    }
}

#[cfg(test)]
mod tests;
