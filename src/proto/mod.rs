//! The transport: a sans-IO state machine that takes `now` and sees frame ids and lengths, never payload.
//!
//! Decides: what is sent when, with whom keys are agreed, what is acknowledged, lost, granted, delivered, closed. Does
//! not: read clocks, hold bytes, run threads. Called by: `engine`: `on_packet`, `on_timeout`, commands, then
//! `poll_transmit`, `poll_event`, `poll_timeout`. Invariant: a frame id given to it comes back exactly once, as
//! acknowledged, delivered or released.

pub mod config;
pub mod error;

pub mod endpoint;
pub mod flow;
pub mod lifecycle;
pub mod output;
pub mod ping;
pub mod received;
pub mod recovery;
pub mod sched;
pub mod segment;
pub mod stream;

mod connection;
mod control;
mod copies;
mod early;
mod rx;
mod sealing;
mod tx;

pub use endpoint::{Endpoint, Packet, Verdict};
pub use output::{Content, Delivery, Event, Found, Output, Transmit};
pub use rx::Fate;

use crate::wire::{HEADER_LEN, STREAM_HEADER_LEN};

/// Most payload bytes of a segment in an Ethernet payload of `mtu` bytes, where a tag or CRC of `tail_len` ends
/// packets.
pub fn max_payload(mtu: usize, tail_len: usize) -> usize {
    mtu.saturating_sub(HEADER_LEN + STREAM_HEADER_LEN + tail_len)
}
