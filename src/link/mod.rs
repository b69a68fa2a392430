//! The seam: whatever moves Ethernet frames, seen as six verbs.
//!
//! Decides: how frames are lent, sent and given back. Does not: know our protocol, or decide when to sleep.
//! Called by: `engine` (every verb), `worker` (`poll_fd`). Implemented by: `xdp`, and here by `memory`, `packet` and
//! the `pcap` tee around any of them.
//! Invariant: every frame of the pool is in exactly one place: the link (free, fill or tx ring) or its token's holder.

mod boxed;
pub mod frame;
pub mod impair;
pub mod memory;
pub mod packet;
pub mod pcap;
pub mod pool;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

pub use frame::Frame;

use crate::base::MacAddr;

/// Most frames that one call moves: the NIC batch, long enough to amortise a call and short enough to stay in L1.
pub const BURST: usize = 64;

/// Something that moves Ethernet frames: one queue of one interface, or a stand-in for it.
pub trait Link: Send {
    /// What this link is and can do. Fixed while it lives.
    fn caps(&self) -> &Caps;

    /// A free frame to write into (start 0, length 0), or `None` while all are in use. Frames that the link needs for
    /// receiving are not given out.
    fn alloc(&mut self) -> Option<Frame>;

    /// Takes a frame back into the pool.
    fn free(&mut self, frame: Frame);

    /// How many frames `alloc` would give out now.
    fn free_frames(&self) -> usize;

    /// Appends up to `max` received frames to `out`, says how many, and restocks the fill ring.
    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize;

    /// Takes frames from the front of `frames` for transmission and says how many. What did not fit stays.
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize;

    /// Appends frames whose transmission has ended (sent, or dropped by the driver) to `done` and says how many.
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize;

    /// Makes the kernel send what `tx_burst` queued, if it needs telling. Called once per turn, and cheap when nothing
    /// waits.
    ///
    /// # Errors
    /// When the interface can't be used any more; while it is merely down, frames wait and this is `Ok`.
    fn kick(&mut self) -> Result<(), LinkError>;

    /// What to poll for readability before sleeping; `None` if the link can't be waited on (then it must be spun on).
    /// Ask again before every sleep: asking may be what arms the wake-up.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Counters since the link was opened, as `(name, value)`, every kind of drop among them.
    fn stats(&self) -> Vec<(&'static str, u64)>;
}

/// What a link is and can do.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Our own address.
    pub mac: MacAddr,
    /// What to call the link in messages, for example `eth1 queue 0`.
    pub name: String,
    /// The mode really in force: `zerocopy`, `copy`, `skb`, `packet`, `memory`.
    pub mode: &'static str,
    /// Longest Ethernet payload in bytes (the MTU, or less if a frame could not hold it).
    pub mtu: usize,
    /// Frames in the pool.
    pub frames: usize,
    /// Frames that `alloc` never gives out, kept for the fill ring.
    pub rx_reserve: usize,
    /// Nominal speed in bits per second, if the driver tells one that means something.
    pub speed_bps: Option<u64>,
}

/// Why a link stopped working.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// The interface is gone.
    #[error("{link}: the interface is gone ({detail}); create it again and restart")]
    Gone {
        /// The link's name.
        link: String,
        /// What the system said.
        detail: String,
    },
    /// The system refused an operation for good.
    #[error("{link}: {operation} failed: {detail}")]
    Failed {
        /// The link's name.
        link: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said, and the next step.
        detail: String,
    },
}
