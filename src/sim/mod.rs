//! A world in a box: production engines in virtual time, on links with trouble, from a seed.
//!
//! Decides: what happens when, from the seed alone. Does not: use real time, threads or hash order: two runs of a seed
//! are the same to the byte of their traces. Called by: tests, and the program that sweeps seeds.
//! Invariant: whatever goes wrong is found by an oracle and told with the seed that shows it again.

pub mod flow;
mod host;
mod net;
mod nic;
mod oracle;
mod program;
pub mod scenario;
mod session;
mod strike;
#[cfg(test)]
mod tests;
pub mod trace;
mod world;

pub use scenario::Scenario;
pub use trace::Trace;
pub use world::{Outcome, run};
