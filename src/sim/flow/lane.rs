//! One connection of a flow, with one stream, and what has arrived on it.

use std::sync::atomic::Ordering;

use crate::base::Nanos;
use crate::base::time::MILLISECOND;
use crate::engine::port::{Commit, ConnKey, ConnPort, StreamPort};

/// Received bytes are counted in bins of this length.
pub const BIN_NS: Nanos = MILLISECOND;
/// Frames that the writer asks for.
const WANTED: u32 = 64;

/// The connection, as both its programs have it.
pub struct Lane {
    ours: ConnPort,
    theirs: ConnPort,
    out: StreamPort,
    arrivals: Option<StreamPort>,
    /// Bytes that the writer may still write.
    pub to_write: u64,
    first_ns: Option<Nanos>,
    bins: Vec<u64>,
}

impl Lane {
    /// A stream on which nothing was written yet, and of whose other end nothing was seen.
    pub fn new(ours: ConnPort, theirs: ConnPort, out: StreamPort) -> Lane {
        Lane { ours, theirs, out, arrivals: None, to_write: u64::MAX, first_ns: None, bins: Vec::new() }
    }

    /// The sender's name of the connection.
    pub fn key(&self) -> ConnKey {
        self.ours.key
    }

    /// When the first byte arrived.
    pub fn first_ns(&self) -> Option<Nanos> {
        self.first_ns
    }

    /// Commits all grants.
    pub fn write(&mut self) {
        let send = &mut self.out.send;
        let mut count = 0;
        while self.to_write > 0 {
            let Ok(frame) = send.grants.pop() else { break };
            let len = (send.max_payload as u64).min(self.to_write) as usize;
            self.to_write -= len as u64;
            let commit = Commit { frame: Some(frame), len, fin: false, at_ns: 0 };
            debug_assert!(!send.commits.is_full(), "as many commits as grants fit");
            // It would be lost, which the counts of whoever looks at this flow show.
            let _ = send.commits.push(commit);
            count += 1;
        }
        let asks = self.to_write > 0 && send.shared.wanted.swap(WANTED, Ordering::AcqRel) == 0;
        if count > 0 || asks {
            send.notify();
        }
    }

    /// Reads what there is.
    pub fn read(&mut self, now: Nanos) {
        if self.arrivals.is_none() {
            self.arrivals = self.theirs.streams.try_recv().ok();
        }
        let Some(StreamPort { recv, .. }) = &mut self.arrivals else { return };
        let mut bytes = 0;
        while let Ok(message) = recv.messages.pop() {
            if let Some(frame) = message.frame {
                bytes += message.payload.len() as u64;
                recv.returns.give(frame);
            }
        }
        if bytes == 0 {
            return;
        }
        recv.notify();
        let first = *self.first_ns.get_or_insert(now);
        let bin = ((now - first) / BIN_NS) as usize;
        if self.bins.len() <= bin {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += bytes;
    }

    /// Bytes that have arrived between two times from the first byte on.
    pub fn bytes_between(&self, from: Nanos, to: Nanos) -> u64 {
        let bin = |at: Nanos| ((at / BIN_NS) as usize).min(self.bins.len());
        self.bins[bin(from)..bin(to)].iter().sum()
    }
}
