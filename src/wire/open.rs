//! The three-way open, with its cookie round.

use crate::base::ConnId;

/// Bytes of a cookie: 8 of time, 16 of keyed hash.
pub const COOKIE_LEN: usize = 24;

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
