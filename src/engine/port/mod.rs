//! Bounded queues between the engine's thread and the application's: commands and committed frames in, messages,
//! grants and results out.
//!
//! Decides: nothing about the protocol. Does not: block, spin or read a clock. Called by: `engine` on one side,
//! `api` on the other. Invariant: every queue is bounded by the frames of the pool or by a named limit, and a frame
//! that does not fit is handed back, never dropped.

pub mod command;
pub mod doorbell;
pub mod stream;

pub use command::{Command, ConnKey, ConnPort, ConnShared, ConnectOptions, Found, PingReport, PingRun, Snapshot};
pub use doorbell::Doorbell;
pub use stream::{Commit, Message, RecvPort, Returns, SendPort, StreamKey, StreamPort, StreamShared};
