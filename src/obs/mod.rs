//! How the system is seen: counters, latency histograms, events.
//!
//! Decides: names. Does not: decide anything else. Called by: every room above.
//! Invariant: every drop has a counter of its own; names are stable.

pub mod counters;

pub use counters::Counters;
