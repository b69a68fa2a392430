//! The one packet that every version understands: which versions a peer speaks.
//!
//! Its header is the outer header of this version with the conn and the nonce (as packet number) of the OPEN that it
//! answers; it is never sealed and always ends with a CRC32C.

use super::ParseError;
use super::cursor::{Reader, Writer};

/// Most versions that one packet can list: the version nibble has 16 values, 0 is none of them.
pub const MAX_VERSIONS: usize = 15;
/// Bytes of the longest version body.
pub const MAX_VERSION_LEN: usize = 1 + MAX_VERSIONS;

/// Writes the body of a version packet and returns its length. Versions beyond [`MAX_VERSIONS`] are left out.
///
/// # Panics
/// If `out` is shorter than the body: the frame is ours.
pub fn emit_version(out: &mut [u8], versions: &[u8]) -> usize {
    let listed = &versions[..versions.len().min(MAX_VERSIONS)];
    let len = 1 + listed.len();
    Writer::fixed(out, len).u8(listed.len() as u8).bytes(listed);
    len
}

/// The versions that the speaker of this body understands. Bytes behind the list are ignored, so that a later version
/// may say more.
///
/// # Errors
/// If the body ends before the list does, or lists more than [`MAX_VERSIONS`].
pub fn parse_version(body: &[u8]) -> Result<&[u8], ParseError> {
    let mut reader = Reader::new(body);
    let count = usize::from(reader.u8()?);
    if count > MAX_VERSIONS {
        return Err(ParseError::Malformed("more versions listed than there can be"));
    }
    reader.bytes(count)
}
