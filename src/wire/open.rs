//! The three-way open, with its cookie round, in plain mode; a sealed one is in `sealed`.

use super::cursor::{Reader, Writer};
use super::{ParseError, version};
use crate::base::ConnId;

/// Bytes of a cookie: 8 of time, 16 of keyed hash.
pub const COOKIE_LEN: usize = 24;
/// Bytes of [`Params`].
pub const PARAMS_LEN: usize = 28;
/// Bytes of an open's body, the same with a cookie and without.
pub const OPEN_LEN: usize = 4 + 8 + 4 + PARAMS_LEN + COOKIE_LEN;
/// Bytes of a cookie reply's body.
pub const COOKIE_REPLY_LEN: usize = 8 + COOKIE_LEN;
/// Bytes of an accept's body.
pub const ACCEPT_LEN: usize = 4 + 8 + PARAMS_LEN;
/// Bytes of a confirm's body.
pub const CONFIRM_LEN: usize = 8;

// No answer to an open may be longer than the open: its source address may be forged.
const _: () = assert!(OPEN_LEN >= ACCEPT_LEN && OPEN_LEN >= COOKIE_REPLY_LEN);
const _: () = assert!(OPEN_LEN >= version::MAX_VERSION_LEN);

const FLAG_COOKIE: u8 = 0x01;

/// What each side tells the other about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Params {
    /// Longest Ethernet payload that the side can receive, in bytes.
    pub mtu: u16,
    /// Largest number of streams that the peer may open before it is granted more.
    pub streams: u32,
    /// Segments that the peer may send before it is granted more.
    pub conn_credit: u64,
    /// Bytes that the peer may send on each new stream before it is granted more.
    pub stream_credit: u64,
    /// Silence after which the side gives the connection up, in milliseconds; 0 for never.
    pub idle_timeout_ms: u32,
}

/// Initiator to responder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// The initiator's id of the connection.
    pub conn: ConnId,
    /// Drawn at random for this attempt; the answers echo it.
    pub nonce: u64,
    /// What the initiator offers.
    pub params: Params,
    /// The responder's cookie, when it has asked for one.
    pub cookie: Option<[u8; COOKIE_LEN]>,
}

/// Responder to initiator: come again with this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CookieReply {
    /// From the open.
    pub nonce: u64,
    /// To be returned.
    pub cookie: [u8; COOKIE_LEN],
}

/// Responder to initiator: agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accept {
    /// The responder's id of the connection.
    pub conn: ConnId,
    /// From the open.
    pub nonce: u64,
    /// What the responder offers.
    pub params: Params,
}

/// Initiator to responder: heard you.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirm {
    /// From the open.
    pub nonce: u64,
}

impl Params {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Params, ParseError> {
        let mtu = reader.u16()?;
        reader.zeros::<2>("reserved bytes in params")?;
        Ok(Params {
            mtu,
            streams: reader.u32()?,
            idle_timeout_ms: reader.u32()?,
            conn_credit: reader.u64()?,
            stream_credit: reader.u64()?,
        })
    }

    pub(super) fn emit<'a>(&self, writer: Writer<'a>) -> Writer<'a> {
        let writer = writer.u16(self.mtu).u16(0).u32(self.streams).u32(self.idle_timeout_ms);
        writer.u64(self.conn_credit).u64(self.stream_credit)
    }
}

impl Open {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`OPEN_LEN`] long, or anything reserved is not zero (an absent cookie included).
    pub fn parse(body: &[u8]) -> Result<Open, ParseError> {
        let mut reader = Reader::new(body);
        let (conn, nonce, flags) = (ConnId(reader.u32()?), reader.u64()?, reader.u8()?);
        reader.zeros::<3>("reserved bytes in open")?;
        let params = Params::parse(&mut reader)?;
        let cookie = reader.array::<COOKIE_LEN>()?;
        reader.end("bytes behind an open")?;
        let cookie = parse_cookie(flags, cookie)?;
        Ok(Open { conn, nonce, params, cookie })
    }

    /// Conn and nonce of an open of any version: they stand first in each. What a version packet must echo.
    pub fn peek(body: &[u8]) -> Option<(ConnId, u64)> {
        let mut reader = Reader::new(body);
        Some((ConnId(reader.u32().ok()?), reader.u64().ok()?))
    }

    /// Writes the body to the front of `out` and returns its length, always [`OPEN_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let flags = cookie_flag(self.cookie);
        let writer = Writer::fixed(out, OPEN_LEN).u32(self.conn.0).u64(self.nonce).u8(flags).bytes(&[0; 3]);
        self.params.emit(writer).bytes(&self.cookie.unwrap_or_default());
        OPEN_LEN
    }
}

impl CookieReply {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`COOKIE_REPLY_LEN`] long.
    pub fn parse(body: &[u8]) -> Result<CookieReply, ParseError> {
        let mut reader = Reader::new(body);
        let reply = CookieReply { nonce: reader.u64()?, cookie: reader.array()? };
        reader.end("bytes behind a cookie reply")?;
        Ok(reply)
    }

    /// Writes the body to the front of `out` and returns its length, always [`COOKIE_REPLY_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Writer::fixed(out, COOKIE_REPLY_LEN).u64(self.nonce).bytes(&self.cookie);
        COOKIE_REPLY_LEN
    }
}

impl Accept {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`ACCEPT_LEN`] long, or anything reserved is not zero.
    pub fn parse(body: &[u8]) -> Result<Accept, ParseError> {
        let mut reader = Reader::new(body);
        let (conn, nonce) = (ConnId(reader.u32()?), reader.u64()?);
        let params = Params::parse(&mut reader)?;
        reader.end("bytes behind an accept")?;
        Ok(Accept { conn, nonce, params })
    }

    /// Writes the body to the front of `out` and returns its length, always [`ACCEPT_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        self.params.emit(Writer::fixed(out, ACCEPT_LEN).u32(self.conn.0).u64(self.nonce));
        ACCEPT_LEN
    }
}

impl Confirm {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`CONFIRM_LEN`] long.
    pub fn parse(body: &[u8]) -> Result<Confirm, ParseError> {
        let mut reader = Reader::new(body);
        let nonce = reader.u64()?;
        reader.end("bytes behind a confirm")?;
        Ok(Confirm { nonce })
    }

    /// Writes the body to the front of `out` and returns its length, always [`CONFIRM_LEN`].
    ///
    /// # Panics
    /// If `out` is shorter: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Writer::fixed(out, CONFIRM_LEN).u64(self.nonce);
        CONFIRM_LEN
    }
}

/// The cookie of an open, sealed or not, if its flags say that it has one.
pub(super) fn parse_cookie(flags: u8, cookie: [u8; COOKIE_LEN]) -> Result<Option<[u8; COOKIE_LEN]>, ParseError> {
    match flags {
        0 if cookie == [0; COOKIE_LEN] => Ok(None),
        0 => Err(ParseError::Malformed("cookie without its flag")),
        FLAG_COOKIE => Ok(Some(cookie)),
        _ => Err(ParseError::Malformed("flags of open")),
    }
}

/// The flags of an open with this cookie.
pub(super) fn cookie_flag(cookie: Option<[u8; COOKIE_LEN]>) -> u8 {
    cookie.map_or(0, |_| FLAG_COOKIE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: Params =
        Params { mtu: 1500, streams: 100, conn_credit: 4096, stream_credit: 1 << 20, idle_timeout_ms: 30_000 };

    #[test]
    fn what_is_reserved_must_be_zero() {
        let open = Open { conn: ConnId(5), nonce: 6, params: PARAMS, cookie: None };
        let mut body = [0; OPEN_LEN];
        open.emit(&mut body);
        assert_eq!(Open::parse(&body), Ok(open));
        assert_eq!(Open::peek(&body), Some((ConnId(5), 6)));
        // flags, reserved bytes, the params' reserved bytes, the absent cookie
        for at in [12, 13, 15, 18, 19, 44, 67] {
            let mut body = body;
            body[at] |= 0x80;
            assert!(matches!(Open::parse(&body), Err(ParseError::Malformed(_))), "byte {at}");
        }
    }

    #[test]
    fn lengths_are_exact() {
        let mut body = [0; OPEN_LEN + 1];
        Open { conn: ConnId(5), nonce: 6, params: PARAMS, cookie: Some([7; COOKIE_LEN]) }.emit(&mut body);
        assert_eq!(Open::parse(&body), Err(ParseError::Malformed("bytes behind an open")));
        assert_eq!(Open::parse(&body[..OPEN_LEN - 1]), Err(ParseError::Truncated));
    }
}
