//! Small types without a protocol word in them: time, rates, sizes, ids, bitmaps over a sequence,
//! a timer wheel, seeded dice.
//!
//! Decides: nothing. Called by: every other room. Invariant: pure, but for `resident`, which locks memory; no clock is
//! read here.

pub mod bitmap;
pub mod dice;
pub mod ids;
pub mod kernel;
pub mod rate;
pub mod resident;
pub mod size;
pub mod time;
pub mod wheel;

pub use dice::Dice;
pub use ids::{ConnId, FrameId, KeyId, StreamId};
pub use pnet::util::MacAddr;
pub use rate::Rate;
pub use time::Nanos;
pub use wheel::TimerWheel;
