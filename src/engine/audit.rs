//! What an engine holds at a time, for whoever checks that nothing is lost and nothing grows.

use super::Engine;
use super::port::ConnKey;
use crate::link::Link;
use crate::obs::Counters;
use crate::proto::recovery::RecoveryStats;

/// Everything that an engine holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// Frames in the engine's own hands: ready to be written, or waiting for the link.
    pub frames: usize,
    /// Frames that wait for the link.
    pub waiting: usize,
    /// Frames that were granted for sending and are not free again.
    pub sending: usize,
    /// Streams that the application has an end of, connections, and connections being opened.
    pub streams: usize,
    /// Connections that the application knows.
    pub conns: usize,
    /// Connections being opened.
    pub connecting: usize,
    /// Ends of streams that found no frame to travel in.
    pub pending_ends: usize,
    /// Connections that the transport keeps, half-open ones included.
    pub connections: usize,
    /// Of these, so many wait for the last packet of their opening.
    pub half_open: usize,
    /// The transport's own list.
    pub endpoint: String,
}

impl<L: Link> Engine<L> {
    /// What it holds now.
    pub fn audit(&self) -> Audit {
        Audit {
            frames: self.spare.len() + self.tx.len(),
            waiting: self.tx.len(),
            sending: self.frames.sending(),
            streams: self.streams.len() + self.by_slot.iter().flatten().count(),
            conns: self.conns.len(),
            connecting: self.connecting.len(),
            pending_ends: self.pending_ends.len(),
            connections: self.endpoint.connections(),
            half_open: self.endpoint.half_open(),
            endpoint: self.endpoint.inventory(),
        }
    }

    /// How a connection's recovery is, its controller's name, and what that has to tell since it was last asked.
    pub fn recovery(&mut self, conn: ConnKey) -> Option<(RecoveryStats, &'static str, Vec<String>)> {
        self.slot(conn).and_then(|slot| self.endpoint.recovery(slot))
    }

    /// Windows, credit and what is in flight are where they may be.
    ///
    /// # Errors
    /// What is beyond its limit.
    pub fn check(&self) -> Result<(), String> {
        self.endpoint.check()
    }

    /// What is kept of frames and of packets in flight, in bytes; the frames themselves are the link's.
    pub fn memory_bytes(&self) -> usize {
        self.frames.memory_bytes() + self.endpoint.memory_bytes()
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        self.endpoint.counters_now()
    }
}
