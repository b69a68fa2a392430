//! Where every frame of the pool is, as far as the engine is concerned, indexed by frame id.
//!
//! A frame can be retained for retransmission and in the link's hands at the same time: then the link has the token,
//! and the entry says `retained`, so that it stays when the link gives it back.

use crate::base::{ConnId, FrameId, Nanos, StreamId};
use crate::link::Frame;

/// The table.
pub(super) struct FrameTable {
    entries: Vec<Entry>,
    /// Frames that were granted for sending and are not free again.
    sending: usize,
}

#[derive(Default)]
struct Entry {
    token: Option<Frame>,
    in_link: bool,
    retained: bool,
    granted: bool,
    committed_ns: Nanos,
    lent: Option<Lent>,
}

/// A received segment in the application's hands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    pub to: Borrower,
    pub len: u16,
}

/// A stream, by the transport's slot and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Borrower {
    pub conn: ConnId,
    pub stream: u32,
    pub id: StreamId,
}

impl FrameTable {
    /// What it takes, frames not counted.
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// A table for a pool of `frames`.
    pub fn new(frames: usize) -> FrameTable {
        FrameTable { entries: (0..frames).map(|_| Entry::default()).collect(), sending: 0 }
    }

    /// Frames granted for sending and not free again.
    pub fn sending(&self) -> usize {
        self.sending
    }

    /// The frame is given to the application to write into.
    pub fn on_granted(&mut self, frame: &Frame) {
        let entry = self.entry(frame.id());
        entry.granted = true;
        self.sending += 1;
    }

    /// The transport keeps this frame: a committed segment, or a received one that waits.
    pub fn retain(&mut self, frame: Frame, committed_ns: Nanos) {
        let entry = self.entry(frame.id());
        entry.retained = true;
        entry.committed_ns = committed_ns;
        entry.token = Some(frame);
    }

    /// When the segment in the frame was committed.
    pub fn committed_ns(&mut self, id: FrameId) -> Nanos {
        self.entry(id).committed_ns
    }

    /// The retained frame itself, to be written; `None` while the link has it.
    pub fn token_mut(&mut self, id: FrameId) -> Option<&mut Frame> {
        self.entry(id).token.as_mut()
    }

    /// A retained frame's token, on its way to the link.
    pub fn take_for_link(&mut self, id: FrameId) -> Option<Frame> {
        let entry = self.entry(id);
        let frame = entry.token.take()?;
        entry.in_link = true;
        Some(frame)
    }

    /// Whether the link has the frame.
    pub fn is_in_link(&self, id: FrameId) -> bool {
        self.entries[id.0 as usize].in_link
    }

    /// The link gave a frame back: kept if it is retained, else handed out to be freed.
    pub fn on_reaped(&mut self, frame: Frame) -> Option<Frame> {
        let entry = self.entry(frame.id());
        entry.in_link = false;
        if !entry.retained {
            return Some(frame);
        }
        entry.token = Some(frame);
        None
    }

    /// The transport needs the frame no longer: handed out to be freed, unless the link still has it.
    pub fn release(&mut self, id: FrameId) -> Option<Frame> {
        let entry = self.entry(id);
        entry.retained = false;
        entry.token.take()
    }

    /// A received segment goes to the application.
    pub fn lend(&mut self, id: FrameId, lent: Lent) -> Option<Frame> {
        let entry = self.entry(id);
        entry.retained = false;
        entry.lent = Some(lent);
        entry.token.take()
    }

    /// The frame came back from the application, or is about to be freed: what it was lent as.
    pub fn take_lent(&mut self, id: FrameId) -> Option<Lent> {
        self.entry(id).lent.take()
    }

    /// The frame goes back to the link's pool.
    pub fn on_freed(&mut self, id: FrameId) {
        let entry = self.entry(id);
        if std::mem::take(&mut entry.granted) {
            self.sending -= 1;
        }
    }

    /// All the frames that the transport keeps and the link does not have, at the end.
    pub fn take_all(&mut self) -> Vec<Frame> {
        self.entries.iter_mut().filter_map(|entry| entry.token.take()).collect()
    }

    fn entry(&mut self, id: FrameId) -> &mut Entry {
        &mut self.entries[id.0 as usize]
    }
}
