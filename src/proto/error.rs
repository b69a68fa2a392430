//! Why things end.

use crate::base::MacAddr;

/// Close codes from here on are the application's own.
pub const APPLICATION_CODES: u32 = 0x1_0000;

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseReason {
    /// Both directions were finished.
    #[error("finished by both sides")]
    Finished,
    /// We closed it.
    #[error("closed by us: {reason} (code {code})")]
    Local {
        /// Application code.
        code: u32,
        /// In words.
        reason: String,
    },
    /// The peer closed it.
    #[error("closed by the peer: {reason} (code {code})")]
    Peer {
        /// Application or protocol code.
        code: u32,
        /// In words.
        reason: String,
    },
    /// Nothing was heard from the peer.
    #[error("nothing heard from the peer for {}", seconds(*silence_ms))]
    IdleTimeout {
        /// For how long, in milliseconds.
        silence_ms: u64,
    },
    /// The peer says that it knows no such connection.
    #[error("the peer has forgotten this connection (it was restarted)")]
    Reset,
    /// The peer broke the protocol.
    #[error("protocol violation by the peer: {0}")]
    Violation(&'static str),
    /// The key that it was opened with was removed.
    #[error("the key {name} was removed")]
    Revoked {
        /// The key's name.
        name: String,
    },
    /// Its packet key has served for as long as it may, and the peer follows to no other.
    #[error("its packet key has sealed or refused as many packets as it may, and the peer did not follow to the next")]
    KeySpent,
    /// A frame that was to be sent again is not as it was sealed.
    #[error("a frame was changed in memory after it had been sealed: it can't be sent again")]
    Spoiled,
    /// The link failed under us.
    #[error("{0}")]
    Link(String),
    /// Our own endpoint was shut down.
    #[error("the endpoint was shut down")]
    Shutdown,
}

/// Why a connection could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered.
    #[error(
        "no answer from {peer} within {}; is `farwire recv` (or `perf server`) running there, \
         on the same EtherType and VLAN?",
        seconds(*waited_ms)
    )]
    NoAnswer {
        /// Whom we asked.
        peer: MacAddr,
        /// For how long, in milliseconds.
        waited_ms: u64,
    },
    /// Nobody who holds our key answered, but somebody did.
    #[error(
        "no answer from {peer} with our key within {}; a packet that anybody on the link could have sent says: {hint}",
        seconds(*waited_ms)
    )]
    NoProof {
        /// Whom we asked.
        peer: MacAddr,
        /// For how long, in milliseconds.
        waited_ms: u64,
        /// What it says, in words.
        hint: String,
    },
    /// It does not take connections.
    #[error("{peer} refused: {reason}")]
    Refused {
        /// Whom we asked.
        peer: MacAddr,
        /// Its words.
        reason: String,
    },
    /// It speaks another version.
    #[error("{peer} speaks protocol version {theirs}, we speak {ours}: update the older of the two")]
    Version {
        /// Whom we asked.
        peer: MacAddr,
        /// Its version.
        theirs: u8,
        /// Ours.
        ours: u8,
    },
    /// The address can't be a peer.
    #[error("{peer} is no address of another host ({why})")]
    BadPeer {
        /// Whom we were to ask.
        peer: MacAddr,
        /// Why not.
        why: &'static str,
    },
    /// We have no room for another connection.
    #[error("{limit} connections are open, the most that this endpoint takes")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// All of our keys were taken back.
    #[error("there is no key left to open a connection with: all were removed")]
    NoKey,
    /// The frame pool is shared out.
    #[error(
        "{connections} connections share a pool of {frames} frames, too few for another one; say a larger --umem, or \
         close one"
    )]
    NoFrames {
        /// The pool.
        frames: usize,
        /// Who shares it.
        connections: usize,
    },
    /// The link failed.
    #[error("{0}")]
    Link(String),
    /// The endpoint is gone.
    #[error("the endpoint was shut down")]
    Shutdown,
}

/// Why a half of a stream ended early.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// The sender gave up.
    #[error("the peer reset the stream (code {0})")]
    Reset(u32),
    /// The receiver wants no more.
    #[error("the peer stopped reading the stream (code {0})")]
    Stopped(u32),
    /// The sender finished it before.
    #[error("the stream was finished before: nothing more can be sent on it")]
    Finished,
    /// The connection ended.
    #[error("{0}")]
    Closed(CloseReason),
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1e3)
}
