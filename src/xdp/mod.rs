//! AF_XDP as a [`Link`]: a UMEM, its four rings, and the XDP program that steers our EtherType to them. And as a pair
//! of interfaces over one UMEM, for a program that stands in for the cable.
//!
//! Decides: who owns which chunk, the mode, when the kernel is told. Does not: read what frames carry, read clocks.
//! Called by: `worker` (through `engine`), `bench`, `tools`, doctor. Invariant: every chunk has exactly one owner:
//! ```text
//!         alloc               tx_burst                       reap
//!  free ────────► token ─────────────────► tx ring ═ kernel ═══════════► token   (token: engine, application,
//!   ▲ │            │ ▲                                                              or retained until acknowledged)
//!   │ └────────────│─│───────────────────► fill ring ═ kernel ═ rx ring
//!   └── free ──────┘ └──────────────────────────────────────────┘ rx_burst (which restocks the fill ring)
//! ```
//! A token ends where the kernel's ownership begins and is minted anew where that ends (`umem.rs`, all of it checked).

// The only room where `unsafe` is allowed: system calls that no crate wraps, xsk-rs' rings, the tokens of `umem.rs`.
#![allow(unsafe_code)]

mod carrier;
pub mod config;
pub mod error;
mod guard;
pub mod nic;
mod note;
mod open;
pub mod pair;
mod patience;
pub mod policy;
pub mod privilege;
pub mod program;
mod rx;
mod shared;
mod socket;
mod stats;
mod tx;
mod umem;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub use config::{Mode, XdpConfig, default_umem_bytes};
pub use error::XdpError;
pub use note::Note;
pub use open::copied_chunk;
pub use pair::XdpPair;
pub use program::Program;
pub use umem::leaked_pools;

use crate::link::{BURST, Caps, Frame, Link, LinkError};
use umem::Side;

/// One queue of one interface through AF_XDP.
pub struct XdpLink {
    caps: Caps,
    notes: note::Notes,
    facts: tx::LinkFacts,
    queue: u32,
    skb_budget: bool,
    // Dropped in this order: the rings (and with them the socket), the memory they point into, the program, the name.
    rx: rx::Rx,
    tx: tx::Tx,
    pool: umem::Pool,
    program: Arc<Program>,
    _guard: guard::QueueGuard,
}

impl XdpLink {
    /// Opens the queue: attaches the XDP program, makes the frame pool, binds the socket.
    ///
    /// The calling thread's network namespace is the one that counts. The link may move to another thread afterwards.
    ///
    /// # Errors
    /// Whatever is in the way, with the next step.
    pub fn open(config: &XdpConfig) -> Result<XdpLink, XdpError> {
        open::open(config)
    }

    /// What was tried and given up on the way to the mode in force, for a doctor to print.
    pub fn notes(&self) -> &[Note] {
        &self.notes.0
    }

    /// The XDP program that steers frames here.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as `tx`, which this borrows, lives.
        unsafe { BorrowedFd::borrow_raw(self.tx.fd()) }
    }
}

impl Link for XdpLink {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn alloc(&mut self) -> Option<Frame> {
        self.pool.alloc()
    }

    fn free(&mut self, frame: Frame) {
        self.pool.free(frame);
    }

    fn free_frames(&self) -> usize {
        self.pool.available()
    }

    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        self.rx.burst(&mut self.pool, out, max)
    }

    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        self.tx.burst(&mut self.pool, frames)
    }

    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        self.tx.reap(&mut self.pool, done)
    }

    fn kick(&mut self) -> Result<(), LinkError> {
        self.tx.kick(&self.pool, &self.facts)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket())
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        stats::collect(&self.rx, &self.tx, &self.pool, self.skb_budget, &self.program)
    }
}

impl Drop for XdpLink {
    fn drop(&mut self) {
        // What arrives from now on passes to the kernel, instead of being lost in a ring that nobody reads.
        self.program.steer_to_nobody(self.queue);
        let mut unread = Vec::new();
        while self.rx_burst(&mut unread, BURST) > 0 {
            unread.drain(..).for_each(|frame| self.pool.free(frame));
        }
        self.tx.drain(&mut self.pool, &self.facts);
        let (received, sent) = (self.rx.counts.received, self.tx.counts.sent);
        let (unsent, held, all) = (self.pool.sending(Side::First), self.pool.held(), self.pool.frames());
        tracing::info!(
            "{}: closed; received {received} frames, sent {sent}; of {all} frames {unsent} are still with the kernel \
             to be sent, {held} are held elsewhere",
            self.caps.name
        );
    }
}
