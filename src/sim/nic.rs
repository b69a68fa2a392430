//! A network card of the world: rings of a size, a pool of frames, completions that come late and out of order.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::net::{Net, Packet, mac_of};
use crate::base::{Dice, FrameId, Nanos};
use crate::link::{Caps, Frame, Link, LinkError};

/// Bytes that a frame must hold beside its payload: the Ethernet header with one 802.1Q tag.
const HEADER_ROOM: usize = 18;

/// What a card is like.
#[derive(Clone, Debug)]
pub struct NicPlan {
    /// Frames of its pool.
    pub frames: usize,
    /// Of these, kept for receiving: what arrives while all of them are full is dropped.
    pub rx_ring: usize,
    /// Frames that it takes for sending at a time.
    pub tx_ring: usize,
    /// Longest Ethernet payload in bytes.
    pub mtu: usize,
    /// How long it keeps a sent frame, at least and at most.
    pub completes_ns: (Nanos, Nanos),
}

impl NicPlan {
    /// What it sends at least, in bits per second: full frames, each given back as late as can be.
    pub fn slowest_bps(&self) -> u64 {
        let ring_bits = (self.tx_ring * self.mtu * 8) as u64;
        (ring_bits * 1_000_000_000).checked_div(self.completes_ns.1).unwrap_or(u64::MAX)
    }
}

/// The card.
pub struct Nic {
    caps: Caps,
    host: usize,
    net: Arc<Mutex<Net>>,
    free: Vec<Frame>,
    /// Arrived, and not asked for yet.
    arrived: VecDeque<Packet>,
    /// Sent, with the time when each is given back, and what its beginning was when it was sent.
    sending: Vec<(Nanos, Frame, u64)>,
    tx_ring: usize,
    completes_ns: (Nanos, Nanos),
    dice: Dice,
    /// Frames that found no place in the ring.
    overrun: u64,
}

impl Nic {
    /// A card in a host.
    pub fn new(net: &Arc<Mutex<Net>>, host: usize, plan: &NicPlan, seed: u64) -> Nic {
        let caps = Caps {
            mac: mac_of(host),
            name: format!("sim {host}"),
            mode: "simulated",
            mtu: plan.mtu,
            frames: plan.frames,
            rx_reserve: plan.rx_ring,
            speed_bps: None,
        };
        let capacity = plan.mtu + HEADER_ROOM;
        Nic {
            caps,
            host,
            net: net.clone(),
            free: (0..plan.frames as u32).rev().map(|id| Frame::owned(FrameId(id), capacity)).collect(),
            arrived: VecDeque::new(),
            sending: Vec::new(),
            tx_ring: plan.tx_ring,
            completes_ns: plan.completes_ns,
            dice: Dice::new(seed),
            overrun: 0,
        }
    }

    /// Frames of the pool that the card has, in whatever place.
    pub fn frames(&self) -> usize {
        self.free.len() + self.sending.len()
    }

    /// Whether anything has arrived that was not asked for yet.
    pub fn has_arrivals(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Moves what has arrived by now into the ring.
    pub fn land(&mut self) {
        let net = self.net.clone();
        let mut net = lock(&net);
        while let Some(packet) = net.take(self.host) {
            let (now, host) = (net.now, self.host as u64);
            let fits = packet.len() <= self.caps.mtu + HEADER_ROOM;
            let posted = self.caps.rx_reserve.min(self.free.len());
            if net.is_jammed(self.host) || !fits || self.arrived.len() >= posted {
                self.overrun += 1;
                net.trace.note(now, &[3, host], || format!("host {host} has no room for a frame"));
                continue;
            }
            self.arrived.push_back(packet);
        }
    }
}

fn lock(net: &Mutex<Net>) -> MutexGuard<'_, Net> {
    net.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What must stay as it is while the card has a frame: all headers.
fn beginning(frame: &Frame) -> u64 {
    let bytes = frame.bytes();
    bytes[..bytes.len().min(64)]
        .iter()
        .fold(bytes.len() as u64, |all, byte| (all ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3).rotate_left(7))
}

impl Link for Nic {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn alloc(&mut self) -> Option<Frame> {
        if self.free_frames() == 0 {
            return None;
        }
        let mut frame = self.free.pop()?;
        frame.set_range(0, 0);
        Some(frame)
    }
    fn free(&mut self, frame: Frame) {
        self.free.push(frame);
    }
    fn free_frames(&self) -> usize {
        self.free.len().saturating_sub(self.caps.rx_reserve)
    }
    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        self.land();
        let before = out.len();
        while out.len() - before < max && !self.free.is_empty() {
            let Some(packet) = self.arrived.pop_front() else { break };
            let Some(mut frame) = self.free.pop() else { break };
            frame.set_range(0, packet.len());
            packet.write(frame.bytes_mut());
            out.push(frame);
        }
        out.len() - before
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        let net = self.net.clone();
        let mut net = lock(&net);
        if net.is_jammed(self.host) {
            return 0;
        }
        let count = frames.len().min(self.tx_ring.saturating_sub(self.sending.len()));
        for frame in frames.drain(..count) {
            net.send(self.host, frame.bytes());
            let (least, most) = self.completes_ns;
            let due = net.now + least + self.dice.below(most - least + 1);
            let beginning = beginning(&frame);
            self.sending.push((due, frame, beginning));
        }
        count
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        let mut net = lock(&self.net);
        let (now, before) = (net.now, done.len());
        for (_, frame, was) in self.sending.extract_if(.., |(due, _, _)| *due <= now) {
            if beginning(&frame) != was {
                net.blame(format!("host {}: frame {} was written while the card had it", self.host, frame.id().0));
            }
            done.push(frame);
        }
        done.len() - before
    }
    fn kick(&mut self) -> Result<(), LinkError> {
        Ok(())
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn stats(&self) -> Vec<(&'static str, u64)> {
        vec![("rx_overrun", self.overrun)]
    }
}
