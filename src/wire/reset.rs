//! "Not here": the answer to a packet that nobody takes.
//!
//! Connection id and packet number of its header are those of the packet that it answers; of an open: the initiator's
//! id and the nonce. So only who saw that packet can make one.

use super::ParseError;
use super::cursor::{Reader, Writer};

/// Bytes of a reset's body.
pub const RESET_LEN: usize = 1;

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
}

impl Reset {
    /// Parses a body. Bytes behind the code are ignored: a sealed mode will need a token there.
    ///
    /// # Errors
    /// If the body is empty or the code unknown.
    pub fn parse(body: &[u8]) -> Result<Reset, ParseError> {
        Ok(match Reader::new(body).u8()? {
            0 => Reset::UnknownConnection,
            1 => Reset::NotListening,
            2 => Reset::Full,
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
