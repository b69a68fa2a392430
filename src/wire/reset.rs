//! "Not here": the answer to a packet that nobody takes.
//!
//! Connection id and packet number of its header are those of the packet that it answers; of an open: the initiator's
//! id and the nonce. So only who saw that packet can make one; on a segment where others listen that is anybody, so a
//! sealed connection believes no reset without a MAC, and asks back.

use super::ParseError;
use super::cursor::{Reader, Writer};
use super::sealed::{MAC_LEN, Mac};

/// Bytes of a reset's body in plain mode.
pub const RESET_LEN: usize = 1;
/// Bytes of a reset's body in sealed mode.
pub const SEALED_RESET_LEN: usize = 1 + MAC_LEN;

/// Why a packet is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Reset {
    /// There is no such connection (any more).
    UnknownConnection = 0,
    /// To an open: nothing here accepts connections.
    NotListening = 1,
    /// To an open: no room for another connection.
    Full = 2,
    /// To a plain open: only sealed connections are accepted here.
    KeyRequired = 3,
    /// To a sealed open: there are no keys here.
    PlainOnly = 4,
    /// To a sealed open: its key is not one of ours.
    UnknownKey = 5,
}

/// A reset by who holds the connection's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedReset {
    /// Why.
    pub why: Reset,
    /// Over the reason and what it answers.
    pub mac: Mac,
}

impl Reset {
    /// Parses a body. Bytes behind the code are ignored, so that a later version may say more.
    ///
    /// # Errors
    /// If the body is empty or the code unknown.
    pub fn parse(body: &[u8]) -> Result<Reset, ParseError> {
        Reset::read(&mut Reader::new(body))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Reset, ParseError> {
        Ok(match reader.u8()? {
            0 => Reset::UnknownConnection,
            1 => Reset::NotListening,
            2 => Reset::Full,
            3 => Reset::KeyRequired,
            4 => Reset::PlainOnly,
            5 => Reset::UnknownKey,
            _ => return Err(ParseError::Malformed("code of a reset")),
        })
    }

    /// Writes the body to the front of `out` and returns its length, always [`RESET_LEN`].
    ///
    /// # Panics
    /// If `out` is empty: the frame is ours.
    pub fn emit(self, out: &mut [u8]) -> usize {
        Writer::fixed(out, RESET_LEN).u8(self as u8);
        RESET_LEN
    }
}

impl SealedReset {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`SEALED_RESET_LEN`] long, or the code is unknown.
    pub fn parse(body: &[u8]) -> Result<SealedReset, ParseError> {
        let mut reader = Reader::new(body);
        let reset = SealedReset { why: Reset::read(&mut reader)?, mac: reader.array()? };
        reader.end("bytes behind a reset")?;
        Ok(reset)
    }

    /// Writes the body to the front of `out` and returns its length, always [`SEALED_RESET_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(self, out: &mut [u8]) -> usize {
        Writer::fixed(out, SEALED_RESET_LEN).u8(self.why as u8).bytes(&self.mac);
        SEALED_RESET_LEN
    }
}
