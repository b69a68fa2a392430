//! A long link in memory: each direction with a rate, a delay, a queue and losses, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use crate::base::time::{NEVER, SECOND};
use crate::base::{FrameId, MacAddr, Nanos};
use crate::link::impair::{Counters, Fate, Impairment, Profile};
use crate::link::{Caps, Frame, Link, LinkError};
use crate::obs::hist::Histogram;

/// Bytes that a frame must hold: a full one of MTU 1500 with its Ethernet header.
const CAPACITY: usize = 1514;
const MTU: usize = 1500;
/// When the world begins.
pub const BEGIN_NS: Nanos = SECOND;

/// One direction.
pub struct Path {
    model: Impairment,
    /// By arrival; frames that are late on purpose are overtaken.
    under_way: BTreeMap<(Nanos, u64), Vec<u8>>,
    spare: Vec<Vec<u8>>,
    count: u64,
    /// How long frames waited for the wire.
    pub queued: Histogram,
}

impl Path {
    pub fn new(profile: &Profile, seed: u64) -> Path {
        let model = Impairment::new(profile, seed).expect("a profile that can be");
        Path { model, under_way: BTreeMap::new(), spare: Vec::new(), count: 0, queued: Histogram::new() }
    }

    /// When the next frame arrives.
    pub fn next(&self) -> Nanos {
        self.under_way.first_key_value().map_or(NEVER, |((at, _), _)| *at)
    }

    pub fn counters(&self) -> &Counters {
        self.model.counters()
    }

    fn carry(&mut self, now: Nanos, bytes: &[u8]) {
        // The model's clock begins with the world.
        let Fate::Passed(delivery) = self.model.on_frame(now - BEGIN_NS, bytes.len()) else { return };
        self.queued.record(delivery.queued_ns);
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        self.count += 1;
        self.under_way.insert((BEGIN_NS + delivery.at_ns, self.count), copy);
    }
}

/// Both directions, and the time.
pub struct Wire {
    pub now: Nanos,
    pub paths: [Path; 2],
}

/// One end: sends into `paths[side]`, receives from the other.
pub struct Far {
    caps: Caps,
    wire: Arc<Mutex<Wire>>,
    side: usize,
    free: Vec<Frame>,
    done: Vec<Frame>,
}

impl Far {
    pub fn new(wire: &Arc<Mutex<Wire>>, side: usize, frames: usize) -> Far {
        let caps = Caps {
            mac: MacAddr::new(2, 0, 0, 0, 0, side as u8 + 1),
            name: format!("far {side}"),
            mode: "memory",
            mtu: MTU,
            frames,
            rx_reserve: 512,
            speed_bps: None,
        };
        let free = (0..frames as u32).rev().map(|id| Frame::owned(FrameId(id), CAPACITY)).collect();
        Far { caps, wire: wire.clone(), side, free, done: Vec::new() }
    }
}

impl Link for Far {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn alloc(&mut self) -> Option<Frame> {
        if self.free.len() <= self.caps.rx_reserve {
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
        let mut wire = self.wire.lock().expect("no panic");
        let now = wire.now;
        let path = &mut wire.paths[1 - self.side];
        let before = out.len();
        while out.len() - before < max && path.next() <= now {
            let Some(mut frame) = self.free.pop() else { panic!("{}: more was granted than there is", self.caps.name) };
            let Some((_, bytes)) = path.under_way.pop_first() else { break };
            frame.set_range(0, bytes.len());
            frame.bytes_mut().copy_from_slice(&bytes);
            path.spare.push(bytes);
            out.push(frame);
        }
        out.len() - before
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        let mut wire = self.wire.lock().expect("no panic");
        let now = wire.now;
        for frame in frames.iter() {
            wire.paths[self.side].carry(now, frame.bytes());
        }
        let count = frames.len();
        self.done.extend(frames.drain(..));
        count
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        done.append(&mut self.done);
        done.len()
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
