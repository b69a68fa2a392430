//! Echo request and reply, padded to any size.

use super::ParseError;
use super::cursor::{Reader, Writer};

/// Bytes of a ping without its padding.
pub const PING_LEN: usize = 12;

/// A ping or its echo; padding follows up to the packet's length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Which ping.
    pub id: u64,
    /// In an echo: from the ping's arrival to the echo's departure, in nanoseconds (saturating). 0 in a ping.
    pub hold_ns: u32,
}

impl Ping {
    /// Parses a body; the padding may hold anything.
    ///
    /// # Errors
    /// If the body is shorter than [`PING_LEN`].
    pub fn parse(body: &[u8]) -> Result<Ping, ParseError> {
        let mut reader = Reader::new(body);
        Ok(Ping { id: reader.u64()?, hold_ns: reader.u32()? })
    }

    /// Writes a body of `body_len` bytes, zeros after the fields, and returns its length. It is never shorter than
    /// [`PING_LEN`] and never longer than `out`.
    ///
    /// # Panics
    /// If `out` is shorter than [`PING_LEN`]: the frame is ours.
    pub fn emit(&self, out: &mut [u8], body_len: usize) -> usize {
        let len = body_len.min(out.len()).max(PING_LEN);
        Writer::fixed(out, len).u64(self.id).u32(self.hold_ns).zeros();
        len
    }
}
