//! AF_XDP as a [`Link`]: UMEM, rings, and the XDP program that steers our EtherType to them.
//!
//! Decides: who owns which chunk of the UMEM, when the kernel is told to send. Does not: read what frames carry.

pub mod config;
pub mod error;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

pub use config::{Mode, XdpConfig};
pub use error::XdpError;

use crate::link::{Caps, Frame, Link, LinkError};

/// One queue of one interface through AF_XDP.
pub struct XdpLink {
    caps: Caps,
    notes: Vec<String>,
}

impl XdpLink {
    /// Opens the queue: loads and attaches the XDP program, makes the frame pool, binds the socket.
    ///
    /// The calling thread's network namespace is the one that counts.
    ///
    /// # Errors
    /// Whatever is in the way, with the next step.
    pub fn open(config: &XdpConfig) -> Result<XdpLink, XdpError> {
        Err(XdpError::System {
            link: config.name(),
            interface: config.interface.clone(),
            operation: "opening an AF_XDP queue",
            source: std::io::ErrorKind::Unsupported.into(),
        })
    }

    /// What was tried and given up on the way to the mode in force, for a doctor to print.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl Link for XdpLink {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn alloc(&mut self) -> Option<Frame> {
        None
    }
    fn free(&mut self, _frame: Frame) {}
    fn free_frames(&self) -> usize {
        0
    }
    fn rx_burst(&mut self, _out: &mut Vec<Frame>, _max: usize) -> usize {
        0
    }
    fn tx_burst(&mut self, _frames: &mut VecDeque<Frame>) -> usize {
        0
    }
    fn reap(&mut self, _done: &mut Vec<Frame>) -> usize {
        0
    }
    fn kick(&mut self) -> Result<(), LinkError> {
        Ok(())
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn stats(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
