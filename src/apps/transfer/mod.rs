//! Files from here to there: read straight into frames, written straight from frames, verified, and only then named.
//!
//! Decides: the records of a transfer, where a name from the peer may lead, when a file counts as received.
//! Does not: know packets, or draw anything. Called by: `cli`. Invariant: a file under its own name in the target
//! directory is whole, synced and has the digest that its sender computed; names never lead out of that directory.

pub mod cursor;
pub mod decode;
pub mod digest;
pub mod name;
pub mod place;
pub mod record;
pub mod settle;
pub mod source;
pub mod tree;
