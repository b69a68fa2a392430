//! The open of a sealed connection: the same three packets, with Noise messages in the place of the params.
//!
//! Each ends with a MAC under a key that both sides derive from their shared key: whoever does not hold it is told
//! apart by one hash, before anything costs more. The MAC of an open covers its cookie as well: nobody else can put a
//! new cookie to an open that was recorded.

use super::cursor::{Reader, Writer};
use super::open::{COOKIE_LEN, PARAMS_LEN, Params, cookie_flag, parse_cookie};
use super::{ParseError, reset};
use crate::base::{ConnId, KeyId};

/// Bytes of a MAC.
pub const MAC_LEN: usize = 16;
/// Bytes that the Noise message adds to a payload: an X25519 public key and a tag.
pub const NOISE_LEN: usize = 32 + 16;
/// Bytes of the payload of an open's Noise message: params, then what the initiator can seal with.
pub const OFFER_LEN: usize = PARAMS_LEN + 4;
/// Bytes of the payload of an accept's Noise message: params, the responder's connection id, the cipher.
pub const ANSWER_LEN: usize = PARAMS_LEN + 8;
/// Bytes of an open's body.
pub const SEALED_OPEN_LEN: usize = OPEN_FIXED_LEN + COOKIE_LEN + MAC_LEN;
/// Bytes of a cookie reply's body.
pub const SEALED_COOKIE_LEN: usize = 8 + COOKIE_LEN + MAC_LEN;
/// Bytes of an accept's body.
pub const SEALED_ACCEPT_LEN: usize = ACCEPT_FIXED_LEN + MAC_LEN;
/// Bytes of an ask's body.
pub const ASK_LEN: usize = 8 + 8 + MAC_LEN;

/// What stands in front of an open's Noise message.
const OPEN_HEAD_LEN: usize = 4 + 8 + 4 + 8;
const OPEN_FIXED_LEN: usize = OPEN_HEAD_LEN + NOISE_LEN + OFFER_LEN;
const ACCEPT_FIXED_LEN: usize = 8 + NOISE_LEN + ANSWER_LEN;

// No answer may be longer than what caused it: its source address may be forged.
const _: () = assert!(SEALED_OPEN_LEN >= SEALED_ACCEPT_LEN && SEALED_OPEN_LEN >= SEALED_COOKIE_LEN);
const _: () = assert!(ASK_LEN >= reset::SEALED_RESET_LEN);

/// A MAC over a packet's fields.
pub type Mac = [u8; MAC_LEN];

/// Initiator to responder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedOpen {
    /// The initiator's id of the connection.
    pub conn: ConnId,
    /// Drawn at random for this attempt; the answers echo it.
    pub nonce: u64,
    /// Which key.
    pub key: KeyId,
    /// The first Noise message, with an [`Offer`] in it.
    pub message: [u8; NOISE_LEN + OFFER_LEN],
    /// The responder's cookie, when it has asked for one.
    pub cookie: Option<[u8; COOKIE_LEN]>,
    /// Over everything.
    pub mac: Mac,
}

/// Responder to initiator: agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedAccept {
    /// From the open.
    pub nonce: u64,
    /// The second Noise message, with an [`Answer`] in it.
    pub message: [u8; NOISE_LEN + ANSWER_LEN],
    /// Over everything.
    pub mac: Mac,
}

/// Responder to initiator: come again with this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedCookie {
    /// From the open.
    pub nonce: u64,
    /// To be returned.
    pub cookie: [u8; COOKIE_LEN],
    /// Over everything.
    pub mac: Mac,
}

/// Do you still know this connection?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The connection's key.
    pub key: KeyId,
    /// Drawn at random; the answer echoes it.
    pub nonce: u64,
    /// Over everything.
    pub mac: Mac,
}

/// What an initiator says under the Noise handshake's first key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Its terms.
    pub params: Params,
    /// Ciphers that it can use, as bits: 1 AES-256-GCM, 2 ChaCha20-Poly1305.
    pub ciphers: u8,
    /// The one of them that it is faster at, as such a bit.
    pub prefers: u8,
}

/// What a responder says under the handshake's second key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its terms.
    pub params: Params,
    /// Its id of the connection.
    pub conn: ConnId,
    /// The cipher that both use from now on, as a bit.
    pub cipher: u8,
}

impl SealedOpen {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`SEALED_OPEN_LEN`] long, or anything reserved is not zero (an absent cookie included).
    pub fn parse(body: &[u8]) -> Result<SealedOpen, ParseError> {
        let mut reader = Reader::new(body);
        let (conn, nonce, flags) = (ConnId(reader.u32()?), reader.u64()?, reader.u8()?);
        reader.zeros::<3>("reserved bytes in open")?;
        let (key, message) = (KeyId(reader.array()?), reader.array()?);
        let cookie = reader.array::<COOKIE_LEN>()?;
        let mac = reader.array()?;
        reader.end("bytes behind an open")?;
        let cookie = parse_cookie(flags, cookie)?;
        Ok(SealedOpen { conn, nonce, key, message, cookie, mac })
    }

    /// Writes the body to the front of `out` and returns its length, always [`SEALED_OPEN_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let flags = cookie_flag(self.cookie);
        let writer = Writer::fixed(out, SEALED_OPEN_LEN).u32(self.conn.0).u64(self.nonce).u8(flags).bytes(&[0; 3]);
        writer.bytes(&self.key.0).bytes(&self.message).bytes(&self.cookie.unwrap_or_default()).bytes(&self.mac);
        SEALED_OPEN_LEN
    }

    /// What the MAC covers: all that stands in front of it.
    pub fn covered(&self) -> [u8; OPEN_FIXED_LEN + COOKIE_LEN] {
        let mut out = [0; SEALED_OPEN_LEN];
        self.emit(&mut out);
        front(&out)
    }

    /// What the Noise handshake binds as its prologue: what stands in front of its message, as it is without a cookie.
    pub fn head(&self) -> [u8; OPEN_HEAD_LEN] {
        front(&SealedOpen { cookie: None, ..*self }.covered())
    }
}

impl SealedAccept {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`SEALED_ACCEPT_LEN`] long.
    pub fn parse(body: &[u8]) -> Result<SealedAccept, ParseError> {
        let mut reader = Reader::new(body);
        let accept = SealedAccept { nonce: reader.u64()?, message: reader.array()?, mac: reader.array()? };
        reader.end("bytes behind an accept")?;
        Ok(accept)
    }

    /// Writes the body to the front of `out` and returns its length, always [`SEALED_ACCEPT_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Writer::fixed(out, SEALED_ACCEPT_LEN).u64(self.nonce).bytes(&self.message).bytes(&self.mac);
        SEALED_ACCEPT_LEN
    }

    /// What the MAC covers.
    pub fn covered(&self) -> [u8; ACCEPT_FIXED_LEN] {
        let mut out = [0; SEALED_ACCEPT_LEN];
        self.emit(&mut out);
        front(&out)
    }
}

impl SealedCookie {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`SEALED_COOKIE_LEN`] long.
    pub fn parse(body: &[u8]) -> Result<SealedCookie, ParseError> {
        let mut reader = Reader::new(body);
        let reply = SealedCookie { nonce: reader.u64()?, cookie: reader.array()?, mac: reader.array()? };
        reader.end("bytes behind a cookie reply")?;
        Ok(reply)
    }

    /// Writes the body to the front of `out` and returns its length, always [`SEALED_COOKIE_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Writer::fixed(out, SEALED_COOKIE_LEN).u64(self.nonce).bytes(&self.cookie).bytes(&self.mac);
        SEALED_COOKIE_LEN
    }

    /// What the MAC covers.
    pub fn covered(&self) -> [u8; 8 + COOKIE_LEN] {
        let mut out = [0; SEALED_COOKIE_LEN];
        self.emit(&mut out);
        front(&out)
    }
}

impl Ask {
    /// What its MAC covers, for a question about `conn`; and, with the reason in front, what the answer's covers.
    pub fn covered(conn: ConnId, nonce: u64) -> [u8; 12] {
        let mut out = [0; 12];
        Writer::fixed(&mut out, 12).u32(conn.0).u64(nonce);
        out
    }

    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`ASK_LEN`] long.
    pub fn parse(body: &[u8]) -> Result<Ask, ParseError> {
        let mut reader = Reader::new(body);
        let ask = Ask { key: KeyId(reader.array()?), nonce: reader.u64()?, mac: reader.array()? };
        reader.end("bytes behind an ask")?;
        Ok(ask)
    }

    /// Writes the body to the front of `out` and returns its length, always [`ASK_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Writer::fixed(out, ASK_LEN).bytes(&self.key.0).u64(self.nonce).bytes(&self.mac);
        ASK_LEN
    }
}

impl Offer {
    /// Parses a Noise payload.
    ///
    /// # Errors
    /// If it is not exactly [`OFFER_LEN`] long, or anything reserved is not zero.
    pub fn parse(payload: &[u8]) -> Result<Offer, ParseError> {
        let mut reader = Reader::new(payload);
        let params = Params::parse(&mut reader)?;
        let (ciphers, prefers) = (reader.u8()?, reader.u8()?);
        reader.zeros::<2>("reserved bytes in an offer")?;
        reader.end("bytes behind an offer")?;
        Ok(Offer { params, ciphers, prefers })
    }

    /// The payload's bytes.
    pub fn to_bytes(&self) -> [u8; OFFER_LEN] {
        let mut out = [0; OFFER_LEN];
        let writer = Writer::fixed(&mut out, OFFER_LEN);
        self.params.emit(writer).u8(self.ciphers).u8(self.prefers).u16(0);
        out
    }
}

impl Answer {
    /// Parses a Noise payload.
    ///
    /// # Errors
    /// If it is not exactly [`ANSWER_LEN`] long, or anything reserved is not zero.
    pub fn parse(payload: &[u8]) -> Result<Answer, ParseError> {
        let mut reader = Reader::new(payload);
        let params = Params::parse(&mut reader)?;
        let (conn, cipher) = (ConnId(reader.u32()?), reader.u8()?);
        reader.zeros::<3>("reserved bytes in an answer")?;
        reader.end("bytes behind an answer")?;
        Ok(Answer { params, conn, cipher })
    }

    /// The payload's bytes.
    pub fn to_bytes(&self) -> [u8; ANSWER_LEN] {
        let mut out = [0; ANSWER_LEN];
        let writer = Writer::fixed(&mut out, ANSWER_LEN);
        self.params.emit(writer).u32(self.conn.0).u8(self.cipher).bytes(&[0; 3]);
        out
    }
}

/// The first bytes of a longer array.
fn front<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: Params =
        Params { mtu: 1500, streams: 100, conn_credit: 4096, stream_credit: 1 << 20, idle_timeout_ms: 30_000 };

    #[test]
    fn an_open_comes_back_and_its_mac_covers_the_cookie() {
        let open = SealedOpen {
            conn: ConnId(5),
            nonce: 6,
            key: KeyId([7; 8]),
            message: [8; NOISE_LEN + OFFER_LEN],
            cookie: None,
            mac: [9; MAC_LEN],
        };
        let with = SealedOpen { cookie: Some([1; COOKIE_LEN]), ..open };
        for open in [open, with] {
            let mut body = [0; SEALED_OPEN_LEN];
            open.emit(&mut body);
            assert_eq!(SealedOpen::parse(&body), Ok(open));
            assert_eq!(SealedOpen::parse(&body[..SEALED_OPEN_LEN - 1]), Err(ParseError::Truncated));
            for at in [12, 13, 15] {
                let mut body = body;
                body[at] |= 0x80;
                assert!(matches!(SealedOpen::parse(&body), Err(ParseError::Malformed(_))), "byte {at}");
            }
        }
        assert_ne!(open.covered(), with.covered());
        assert_eq!(open.head(), with.head());
        assert_ne!(open.head(), SealedOpen { nonce: 7, ..open }.head());
    }

    #[test]
    fn offers_and_answers_come_back() {
        let offer = Offer { params: PARAMS, ciphers: 3, prefers: 1 };
        assert_eq!(Offer::parse(&offer.to_bytes()), Ok(offer));
        let answer = Answer { params: PARAMS, conn: ConnId(77), cipher: 2 };
        assert_eq!(Answer::parse(&answer.to_bytes()), Ok(answer));
        let mut bytes = answer.to_bytes();
        bytes[ANSWER_LEN - 1] = 1;
        assert!(Answer::parse(&bytes).is_err() && Offer::parse(&offer.to_bytes()[1..]).is_err());
    }

    #[test]
    fn the_other_bodies_come_back() {
        let (accept, cookie, ask) = (
            SealedAccept { nonce: 1, message: [2; NOISE_LEN + ANSWER_LEN], mac: [3; MAC_LEN] },
            SealedCookie { nonce: 1, cookie: [2; COOKIE_LEN], mac: [3; MAC_LEN] },
            Ask { key: KeyId([1; 8]), nonce: 2, mac: [3; MAC_LEN] },
        );
        let mut body = [0; SEALED_OPEN_LEN];
        let len = accept.emit(&mut body);
        assert_eq!(SealedAccept::parse(&body[..len]), Ok(accept));
        let len = cookie.emit(&mut body);
        assert_eq!(SealedCookie::parse(&body[..len]), Ok(cookie));
        let len = ask.emit(&mut body);
        assert_eq!(Ask::parse(&body[..len]), Ok(ask));
        assert!(Ask::parse(&body[..len + 1]).is_err());
    }
}
