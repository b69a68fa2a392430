//! Echo request and reply, padded to any size.

/// A ping or its echo; padding follows up to the packet's length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Which ping.
    pub id: u64,
    /// In an echo: from the ping's arrival to the echo's departure, in nanoseconds (saturating). 0 in a ping.
    pub hold_ns: u32,
}
