//! Files from here to there: read straight into frames, written straight from frames, verified, and only then named.
//!
//! Decides: the records of a transfer, where a name from the peer may lead, when a file counts as received.
//! Does not: know packets, or draw anything. Called by: `cli`. Invariant: a file under its own name in the target
//! directory is whole, synced and has the digest that its sender computed; names never lead out of that directory.

pub mod cursor;
pub mod decode;
pub mod digest;
pub mod disk;
pub mod name;
pub mod pipe;
pub mod place;
pub mod record;
pub mod rx;
pub mod settle;
pub mod source;
pub mod tree;
pub mod tx;
pub mod verdicts;

use std::time::Duration;

pub use name::Name;
pub use record::Tally;
pub use rx::{Target, receive};
pub use tree::Root;
pub use tx::send;

use crate::api::{ConnectionError, StreamError};

/// Sees what happens while a transfer runs, from several threads.
pub trait Watch: Send + Sync {
    /// An entry begins.
    fn on_entry(&self, _name: &Name) {}
    /// File bytes were read or written, holes included.
    fn on_bytes(&self, _count: u64) {}
    /// How much there is in all.
    fn on_totals(&self, _files: u64, _bytes: u64) {}
    /// A file was read to its end, or arrived with the right digest.
    fn on_file(&self, _name: &Name, _digest: &[u8; 32]) {}
    /// An entry failed, here or there.
    fn on_failed(&self, _name: &str, _reason: &str) {}
    /// Something is not sent, by its nature.
    fn on_skipped(&self, _name: &str, _what: &str) {}
    /// So much is safely on the receiver's disk.
    fn on_confirmed(&self, _tally: &Tally) {}
}

/// Watches nothing.
pub struct Unwatched;

impl Watch for Unwatched {}

/// What came of a transfer, the same on both sides.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// What is in place at the receiver, and how much failed.
    pub tally: Tally,
    /// Sockets, pipes and devices that were passed over (known to the sender only).
    pub skipped: u64,
    /// From the first record to the last confirmation.
    pub elapsed: Duration,
}

impl Report {
    /// Whether everything that was to be sent is in place.
    pub fn is_complete(&self) -> bool {
        self.tally.failed == 0
    }

    /// File bytes that went over the link per second, in bits; holes are none.
    pub fn goodput_bps(&self) -> f64 {
        self.tally.data_bytes as f64 * 8.0 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Why a transfer broke off.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransferError {
    /// The connection.
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    /// A stream of it.
    #[error("{0}")]
    Stream(#[from] StreamError),
    /// The receiver can't go on.
    #[error("the receiver refused: {0}")]
    Refused(String),
    /// The other side stopped in the middle.
    #[error("the peer ended the transfer before it was complete")]
    Cut,
    /// What the other side says makes no sense.
    #[error("the peer breaks the transfer protocol: {0}")]
    Protocol(String),
    /// Something on this side.
    #[error("{0}")]
    Local(String),
    /// The receiver's account and ours differ.
    #[error("the receiver confirmed {confirmed} of {sent} files")]
    Unconfirmed {
        /// Files sent to their end.
        sent: u64,
        /// Files confirmed.
        confirmed: u64,
    },
}

impl From<record::RecordError> for TransferError {
    fn from(error: record::RecordError) -> TransferError {
        TransferError::Protocol(error.to_string())
    }
}
