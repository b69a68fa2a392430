//! Items: what a control packet consists of and what may follow a data packet's payload.

use super::ack::Ack;
use crate::base::StreamId;

/// Longest reason text of a close, in bytes.
pub const MAX_REASON_LEN: usize = 256;

/// One item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// What we received.
    Ack(Ack<'a>),
    /// The peer may send this many data segments in all (first transmissions, cumulative over the connection).
    ConnCredit {
        /// Cumulative limit in segments.
        segments: u64,
    },
    /// The peer may send this stream up to this offset.
    StreamCredit {
        /// The stream.
        stream: StreamId,
        /// Limit as an offset in bytes.
        limit: u64,
    },
    /// The sender gives this stream up.
    StreamReset {
        /// The stream.
        stream: StreamId,
        /// Why, in the application's words.
        code: u32,
        /// Bytes that were sent in all.
        final_offset: u64,
    },
    /// The receiver wants no more of this stream.
    StreamStop {
        /// The stream.
        stream: StreamId,
        /// Why, in the application's words.
        code: u32,
    },
    /// The peer may have opened this many streams in all.
    StreamsLimit {
        /// Cumulative limit.
        streams: u64,
    },
    /// The lowest packet number that the sender still waits for.
    Lowest {
        /// Packet number.
        number: u64,
    },
    /// I shall open no more streams and all of mine are finished: my direction of the connection is done.
    Finish,
    /// The connection ends now.
    Close {
        /// Why: a number of `proto::error`, or the application's from 0x1_0000 on.
        code: u32,
        /// Why, in words; at most [`MAX_REASON_LEN`] bytes.
        reason: &'a str,
    },
    /// Nothing to say but "acknowledge me" (tail probe, keep-alive).
    Probe,
}
