//! `farwire`: a reliable, multiplexed transport in raw Ethernet frames over AF_XDP.
//!
//! The rooms, in the order in which a packet passes through them (`ls src/*/{tx,rx}.rs` follows it):
//!
//! | room | what it is |
//! | --- | --- |
//! | [`api`] | what a program sees: endpoints, connections, streams |
//! | [`worker`] | one thread on one core that turns one engine |
//! | [`engine`] | a link and the transport joined on one thread |
//! | [`proto`] | the transport itself, without clocks, threads, I/O or payload bytes |
//! | [`crypto`] | keys, the handshake, sealing |
//! | [`wire`] | bytes to types and back |
//! | [`link`] | the seam: whatever moves Ethernet frames |
//! | [`xdp`] | AF_XDP as a link |
//! | [`sim`] | production engines in virtual time, for tests |
//! | [`obs`] | counters, histograms, events |
//! | [`base`] | time, rates, ids, bitmaps, timers |
//!
//! The arrows between them are held by `tests/tidy.rs`.

pub mod api;
#[cfg(feature = "cli")]
pub mod apps;
pub mod base;
#[cfg(feature = "cli")]
pub mod cli;
pub mod crypto;
pub mod engine;
pub mod link;
pub mod obs;
pub mod proto;
pub mod sim;
pub mod wire;
pub mod worker;
pub mod xdp;
