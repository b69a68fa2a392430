//! Congestion control over one bottleneck, in virtual time: the real sender and receiver, the emulator's link model.
//!
//! `cargo test --release --test bottleneck -- --ignored --nocapture` prints the table of links.

#[path = "bottleneck/scenarios.rs"]
mod scenarios;
#[path = "bottleneck/table.rs"]
mod table;
#[path = "bottleneck/world.rs"]
mod world;
