//! A network card of the world: rings of a size, a pool of frames, completions that come late and out of order.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::net::{Net, Packet, mac_of};
use crate::base::{Dice, Nanos};
use crate::link::pool::{HEADER_ROOM, Pool};
use crate::link::{Caps, Frame, Link, LinkError};

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
    pool: Pool,
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
        Nic {
            caps,
            host,
            net: net.clone(),
            pool: Pool::new(plan.frames, plan.mtu),
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
        self.pool.available(0) + self.sending.len()
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
            let posted = self.caps.rx_reserve.min(self.pool.available(0));
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
        self.pool.alloc(self.caps.rx_reserve)
    }
    fn free(&mut self, frame: Frame) {
        self.pool.free(frame);
    }
    fn free_frames(&self) -> usize {
        self.pool.available(self.caps.rx_reserve)
    }
    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        card_receives(self, out, max)
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        card_sends(self, frames)
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        card_returns(self, done)
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

// What follows is kept out of the engine's machine code, so that a profiler can tell what is done for the card and the
// wires from what the engine does: `bench in-flight` counts nothing that `card_` functions have called.

#[inline(never)]
fn card_receives(nic: &mut Nic, out: &mut Vec<Frame>, max: usize) -> usize {
    nic.land();
    let before = out.len();
    while out.len() - before < max && nic.pool.available(0) > 0 {
        let Some(packet) = nic.arrived.pop_front() else { break };
        let Some(mut frame) = nic.pool.alloc(0) else { break };
        frame.set_range(0, packet.len());
        packet.write(frame.bytes_mut());
        out.push(frame);
    }
    out.len() - before
}

#[inline(never)]
fn card_sends(nic: &mut Nic, frames: &mut VecDeque<Frame>) -> usize {
    let net = nic.net.clone();
    let mut net = lock(&net);
    if net.is_jammed(nic.host) {
        return 0;
    }
    let count = frames.len().min(nic.tx_ring.saturating_sub(nic.sending.len()));
    for frame in frames.drain(..count) {
        net.send(nic.host, frame.bytes());
        let (least, most) = nic.completes_ns;
        let due = net.now + least + nic.dice.below(most - least + 1);
        let beginning = beginning(&frame);
        nic.sending.push((due, frame, beginning));
    }
    count
}

#[inline(never)]
fn card_returns(nic: &mut Nic, done: &mut Vec<Frame>) -> usize {
    let mut net = lock(&nic.net);
    let (now, before) = (net.now, done.len());
    for (_, frame, was) in nic.sending.extract_if(.., |(due, _, _)| *due <= now) {
        if beginning(&frame) != was {
            net.blame(format!("host {}: frame {} was written while the card had it", nic.host, frame.id().0));
        }
        done.push(frame);
    }
    done.len() - before
}
