//! A link whose frames meet trouble, and the dice that decide which.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use crate::base::Nanos;
use crate::link::impair::{Fate, Impairment, Profile};
use crate::link::memory::MemoryLink;
use crate::link::{Frame, Link, LinkError};

/// Frames that are late at a time: each of them is one of the pool. More arrive at once, trouble or not, so a profile
/// with a delay or a rate makes no sense here.
const MOST_LATE: usize = 8;

/// Who hears every frame that arrives, and what it sends then arrives before that frame.
pub(super) type Listener = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// A link whose received frames meet the trouble of a profile, in which 1 ns late means the next turn.
pub(super) struct Rough {
    inner: MemoryLink,
    impairment: Impairment,
    seed: u64,
    /// Frames that others overtake, and when each of them arrives.
    pub(super) late: Vec<(Nanos, Frame)>,
    /// The time, as far as the world has told it.
    pub(super) now: Nanos,
    /// Frames that arrive beside those of the peer.
    pub(super) forged: VecDeque<Vec<u8>>,
    pub(super) listener: Option<Listener>,
    /// What happens at the same time as the engine takes a frame, on another core.
    pub(super) meanwhile: Option<Box<dyn FnMut() + Send>>,
    /// Takes no frames: an interface that is down.
    pub(super) jammed: bool,
    /// Says so whenever it is kicked.
    pub(super) broken: bool,
}

impl Rough {
    pub(super) fn new(inner: MemoryLink, seed: u64, trouble: &Profile) -> Rough {
        let impairment = Impairment::new(trouble, seed).expect("a profile that can be");
        Rough {
            inner,
            impairment,
            seed,
            late: Vec::new(),
            now: 0,
            forged: VecDeque::new(),
            listener: None,
            meanwhile: None,
            jammed: false,
            broken: false,
        }
    }

    /// From now on other trouble, or with the default none.
    pub(super) fn meet(&mut self, trouble: &Profile) {
        self.impairment = Impairment::new(trouble, self.seed).expect("a profile that can be");
    }

    /// Appends a frame that has come out of the other end, if it arrives, or keeps it for later.
    fn arrive(&mut self, mut frame: Frame, out: &mut Vec<Frame>) {
        let delivery = match self.impairment.on_frame(self.now, frame.len()) {
            Fate::Dropped(_) => return self.inner.free(frame),
            Fate::Passed(delivery) => delivery,
        };
        let copy = delivery.copy_at_ns.and_then(|at_ns| Some((at_ns, self.copy(&frame)?)));
        if let Some(bit) = delivery.corrupt_bit {
            frame.bytes_mut()[bit as usize / 8] ^= 1 << (bit % 8);
        }
        for (at_ns, frame) in [(delivery.at_ns, frame)].into_iter().chain(copy) {
            if at_ns > self.now && self.late.len() < MOST_LATE {
                self.late.push((at_ns, frame));
            } else {
                out.push(frame);
            }
        }
    }

    fn copy(&mut self, frame: &Frame) -> Option<Frame> {
        self.frame_of(frame.bytes())
    }

    fn frame_of(&mut self, bytes: &[u8]) -> Option<Frame> {
        let mut frame = self.inner.alloc()?;
        frame.room_mut()[..bytes.len()].copy_from_slice(bytes);
        frame.set_len(bytes.len());
        Some(frame)
    }
}

impl Link for Rough {
    fn caps(&self) -> &crate::link::Caps {
        self.inner.caps()
    }
    fn alloc(&mut self) -> Option<Frame> {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile();
        }
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
            let Some(frame) = self.frame_of(&bytes) else { break };
            out.push(frame);
        }
        let now = self.now;
        self.late.sort_by_key(|(due, _)| *due);
        out.extend(self.late.extract_if(.., |(due, _)| *due <= now).map(|(_, frame)| frame));
        for frame in frames {
            let sent = self.listener.as_mut().map_or(Vec::new(), |listener| listener(frame.bytes()));
            out.extend(sent.iter().filter_map(|bytes| self.frame_of(bytes)));
            self.arrive(frame, out);
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
        if self.broken {
            return Err(LinkError::Gone { link: self.inner.caps().name.clone(), detail: "unplugged".into() });
        }
        self.inner.kick()
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }
    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.inner.stats()
    }
}
