//! The applications behind the commands, on the public API.
//!
//! Decides: what a transfer, a measurement or a diagnosis is. Does not: parse arguments, draw progress, or touch
//! anything below `api`. Called by: `cli`, and tests. Invariant: nothing here prints; results are values, and what
//! happens on the way goes to whoever watches.

pub mod doctor;
pub mod perf;
pub mod ping;
pub mod service;
pub mod transfer;
