//! How the system is seen: counters, latency histograms, events.
//!
//! Decides: names. Does not: decide anything else. Called by: every room above.
//! Invariant: every drop has a counter of its own; names are stable.

pub mod counters;
pub mod event;
pub mod export;
pub mod hgrm;
pub mod hist;
pub mod latency;
pub mod picture;

pub use counters::Counters;
pub use event::{Event, EventSink};
pub use hist::{Histogram, Percentiles};
pub use latency::Latencies;
