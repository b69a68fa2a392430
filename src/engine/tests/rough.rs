//! A link whose frames meet trouble, and the dice that decide which.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use crate::base::Nanos;
use crate::link::memory::MemoryLink;
use crate::link::{Frame, Link, LinkError};

/// Numbers that look random and come again with their seed (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    pub fn hits(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Frames that are late at a time: each of them is one of the pool.
const MOST_LATE: usize = 8;

/// What happens to received frames, each with this many in a thousand.
#[derive(Clone, Copy, Default)]
pub(super) struct Trouble {
    pub lost: u64,
    pub late: u64,
    pub twice: u64,
    pub bent: u64,
    /// How late the late ones are at most; 0: the next turn.
    pub delay_ns: Nanos,
}

/// A link whose received frames meet trouble, drawn from a seed.
pub(super) struct Rough {
    inner: MemoryLink,
    dice: Dice,
    /// Frames that others overtake, and when each of them arrives.
    pub(super) late: Vec<(Nanos, Frame)>,
    /// The time, as far as the world has told it.
    pub(super) now: Nanos,
    pub(super) trouble: Trouble,
    /// Frames that arrive beside those of the peer.
    pub(super) forged: VecDeque<Vec<u8>>,
    /// Takes no frames: an interface that is down.
    pub(super) jammed: bool,
}

impl Rough {
    pub(super) fn new(inner: MemoryLink, seed: u64, trouble: Trouble) -> Rough {
        Rough {
            inner,
            dice: Dice::new(seed),
            late: Vec::new(),
            now: 0,
            trouble,
            forged: VecDeque::new(),
            jammed: false,
        }
    }

    fn copy(&mut self, frame: &Frame) -> Option<Frame> {
        let mut copy = self.inner.alloc()?;
        copy.room_mut()[..frame.len()].copy_from_slice(frame.bytes());
        copy.set_len(frame.len());
        Some(copy)
    }
}

impl Link for Rough {
    fn caps(&self) -> &crate::link::Caps {
        self.inner.caps()
    }
    fn alloc(&mut self) -> Option<Frame> {
        self.inner.alloc()
    }
    fn free(&mut self, frame: Frame) {
        self.inner.free(frame);
    }
    fn free_frames(&self) -> usize {
        self.inner.free_frames()
    }
    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        let mut frames = Vec::new();
        self.inner.rx_burst(&mut frames, max);
        let before = out.len();
        while let Some(bytes) = self.forged.pop_front() {
            let Some(mut frame) = self.inner.alloc() else { break };
            frame.room_mut()[..bytes.len()].copy_from_slice(&bytes);
            frame.set_len(bytes.len());
            out.push(frame);
        }
        let now = self.now;
        out.extend(self.late.extract_if(.., |(due, _)| *due <= now).map(|(_, frame)| frame));
        for mut frame in frames {
            let Trouble { lost, late, twice, bent, delay_ns } = self.trouble;
            if self.dice.hits(lost) {
                self.inner.free(frame);
                continue;
            }
            if self.dice.hits(bent) {
                let at = self.dice.below(frame.len() as u64) as usize;
                frame.bytes_mut()[at] ^= 0x10;
            }
            let copy = if self.dice.hits(twice) { self.copy(&frame) } else { None };
            out.extend(copy);
            if self.late.len() < MOST_LATE && self.dice.hits(late) {
                let due = self.now + self.dice.below(delay_ns + 1);
                self.late.push((due, frame));
                continue;
            }
            out.push(frame);
        }
        out.len() - before
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        if self.jammed { 0 } else { self.inner.tx_burst(frames) }
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        self.inner.reap(done)
    }
    fn kick(&mut self) -> Result<(), LinkError> {
        self.inner.kick()
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }
    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.inner.stats()
    }
}
