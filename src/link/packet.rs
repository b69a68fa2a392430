//! AF_PACKET as a link, through pnet's datalink: system calls and copies per frame, where AF_XDP can't run.
//!
//! pnet finds the interface, binds the socket (to our EtherType, so that the kernel filters) and sends. We receive by
//! ourselves: straight into the frame, and with what pnet leaves out (what kind of packet it is, and how many the
//! socket has dropped).
//!
//! 802.1Q: the kernel takes the tag off before a socket bound to an EtherType sees the frame, and does not tell such a
//! socket which tag it was. So this link receives untagged frames only (and priority tags, as untagged): frames of a
//! VLAN are dropped as `rx_foreign`. To speak within VLAN 5, open a VLAN interface, which does the tagging:
//! `ip link add link eth1 name eth1.5 type vlan id 5`.

mod error;
mod socket;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use nix::net::if_::if_nameindex;
use pnet::datalink::{self, NetworkInterface};

pub use error::OpenError;
use socket::{PacketSocket, Received, Sent};

use super::pool::{HEADER_ROOM, Pool};
use super::{Caps, Frame, Link, LinkError};

/// How to open an interface.
#[derive(Clone, Debug)]
pub struct PacketConfig {
    /// The interface's name.
    pub interface: String,
    /// Which frames are ours.
    pub ethertype: u16,
    /// Longest Ethernet payload in bytes, at most the interface's MTU (the kernel refuses longer frames one by one).
    pub mtu: usize,
    /// Frames in the pool.
    pub frames: usize,
    /// Frames of the pool that are kept for receiving.
    pub rx_reserve: usize,
}

/// An interface whose frames AF_PACKET moves.
pub struct PacketLink {
    caps: Caps,
    index: u32,
    socket: PacketSocket,
    pool: Pool,
    /// Given to the kernel, which has made its copy: the next `reap` returns them.
    sent: Vec<Frame>,
    /// Takes what must come off the socket though no frame is free, and chains to be joined.
    spill: Vec<u8>,
    /// The interface was down when it was last used.
    down: bool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    rx_frames: u64,
    rx_bytes: u64,
    rx_foreign: u64,
    rx_no_frame: u64,
    rx_too_long: u64,
    rx_errors: u64,
    tx_frames: u64,
    tx_bytes: u64,
    tx_busy: u64,
    tx_down: u64,
    tx_too_long: u64,
    tx_errors: u64,
}

impl PacketLink {
    /// Opens an interface. It may be down: then frames wait until it is up.
    ///
    /// # Errors
    /// When there is no such interface, it is no Ethernet, or the process may not use AF_PACKET.
    pub fn open(config: &PacketConfig) -> Result<PacketLink, OpenError> {
        let PacketConfig { frames, rx_reserve, mtu, .. } = *config;
        if rx_reserve == 0 || frames <= rx_reserve {
            return Err(OpenError::Pool { interface: config.interface.clone(), frames, rx_reserve });
        }
        let interface = find(&config.interface)?;
        let mac = interface
            .mac
            .filter(|_| !interface.is_loopback())
            .ok_or_else(|| OpenError::NoEthernet { interface: config.interface.clone() })?;
        let name = config.interface.clone();
        Ok(PacketLink {
            caps: Caps { mac, name, mode: "packet", mtu, frames, rx_reserve, speed_bps: None },
            index: interface.index,
            socket: PacketSocket::bind(&interface, config.ethertype)?,
            pool: Pool::new(frames, mtu),
            sent: Vec::with_capacity(super::BURST),
            spill: vec![0; mtu + HEADER_ROOM],
            down: false,
            counts: Counts::default(),
        })
    }

    /// Gives one frame to the kernel; `false` if it must wait.
    fn send(&mut self, frame: &Frame) -> bool {
        let outcome = match frame.more() {
            None => self.socket.send(frame.bytes()),
            Some(_) => {
                self.spill.clear();
                frame.chain().for_each(|chunk| self.spill.extend(chunk.bytes()));
                let outcome = self.socket.send(&self.spill);
                self.spill.resize(self.caps.mtu + HEADER_ROOM, 0);
                outcome
            }
        };
        let counts = &mut self.counts;
        match outcome {
            Sent::Yes => {
                self.down = false;
                counts.tx_frames += 1;
                counts.tx_bytes += frame.chain().map(|chunk| chunk.len() as u64).sum::<u64>();
            }
            Sent::Busy => counts.tx_busy += 1,
            Sent::Down => {
                self.down = true;
                counts.tx_down += 1;
            }
            Sent::TooLong => counts.tx_too_long += 1,
            Sent::Refused => counts.tx_errors += 1,
        }
        !matches!(outcome, Sent::Busy | Sent::Down)
    }
}

/// Looks an interface up by name.
fn find(name: &str) -> Result<NetworkInterface, OpenError> {
    let all = datalink::interfaces();
    let known = all.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = all.into_iter().find(|interface| interface.name == name);
    found.ok_or_else(|| OpenError::NoInterface { interface: name.to_owned(), known })
}

/// Whether no interface has that number any more. By number: another one may have taken the name.
fn is_gone(index: u32) -> bool {
    let Ok(all) = if_nameindex() else { return false };
    !all.iter().any(|interface| interface.index() == index)
}

impl Link for PacketLink {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn alloc(&mut self) -> Option<Frame> {
        self.pool.alloc(self.caps.rx_reserve)
    }

    fn free(&mut self, frame: Frame) {
        self.pool.free(frame);
    }

    fn free_frames(&self) -> usize {
        self.pool.available(self.caps.rx_reserve)
    }

    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        let before = out.len();
        // One attempt for each frame wanted, so that a flood of foreign frames does not hold the turn up.
        for _ in 0..max {
            let mut frame = self.pool.alloc(0);
            let buffer = match &mut frame {
                Some(frame) => frame.room_mut(),
                // Left on the socket it would keep the descriptor readable, and the worker from sleeping.
                None => &mut self.spill[..],
            };
            let received = self.socket.receive(buffer);
            let counts = &mut self.counts;
            match (&received, frame.take()) {
                (Received::Frame(len), Some(mut filled)) => {
                    self.down = false;
                    counts.rx_frames += 1;
                    counts.rx_bytes += *len as u64;
                    filled.set_len(*len);
                    out.push(filled);
                }
                (Received::Frame(_), None) => counts.rx_no_frame += 1,
                (_, Some(unused)) => self.pool.free(unused),
                (_, None) => {}
            }
            match received {
                Received::Frame(_) => {}
                Received::Foreign => counts.rx_foreign += 1,
                Received::TooLong => counts.rx_too_long += 1,
                Received::Down => self.down = true,
                Received::Failed => counts.rx_errors += 1,
                Received::Empty => break,
            }
        }
        out.len() - before
    }

    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        let mut count = 0;
        while let Some(frame) = frames.pop_front() {
            if !self.send(&frame) {
                frames.push_front(frame);
                break;
            }
            self.sent.push(frame);
            count += 1;
        }
        count
    }

    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        let count = self.sent.len();
        done.append(&mut self.sent);
        count
    }

    fn kick(&mut self) -> Result<(), LinkError> {
        // A deleted interface looks like one that is down, until asked for.
        if self.down && is_gone(self.index) {
            let detail = format!("no interface has its number {} any more", self.index);
            return Err(LinkError::Gone { link: self.caps.name.clone(), detail });
        }
        Ok(())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.fd())
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.counts;
        vec![
            ("rx_frames", counts.rx_frames),
            ("rx_bytes", counts.rx_bytes),
            ("rx_foreign", counts.rx_foreign),
            ("rx_no_frame", counts.rx_no_frame),
            ("rx_too_long", counts.rx_too_long),
            ("rx_socket_dropped", self.socket.dropped),
            ("rx_errors", counts.rx_errors),
            ("tx_frames", counts.tx_frames),
            ("tx_bytes", counts.tx_bytes),
            ("tx_busy", counts.tx_busy),
            ("tx_down", counts.tx_down),
            ("tx_too_long", counts.tx_too_long),
            ("tx_errors", counts.tx_errors),
        ]
    }
}

#[cfg(test)]
mod tests;
