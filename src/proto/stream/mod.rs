//! One bidirectional stream: a sending and a receiving half that live and end by themselves.
//!
//! Decides: what of this stream may be sent, what can be delivered. Does not: choose between streams (`sched`).
//! Called by: the connection. Invariant: bytes are delivered once and in order; a stream is forgotten when both of
//! its halves are over.

pub mod budget;
pub mod recv;
pub mod send;

pub use budget::StreamBudget;
pub use recv::{Arrival, RecvHalf};
pub use send::SendHalf;

use crate::base::StreamId;

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// Its number in the connection.
    pub id: StreamId,
    /// Slot of its connection in the endpoint.
    pub conn: u32,
    /// What we send.
    pub send: SendHalf,
    /// What we receive.
    pub recv: RecvHalf,
    /// Control items that wait to be sent.
    pub pending: PendingItems,
}

/// Control items of one stream that wait to be sent, or to be sent again.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PendingItems {
    /// A new limit for the peer.
    pub credit: bool,
    /// Our reset.
    pub reset: Option<u32>,
    /// Our reset has been sent and not been acknowledged.
    pub reset_in_flight: bool,
    /// Our stop.
    pub stop: Option<u32>,
    /// The stream is in its connection's control queue.
    pub listed: bool,
}

impl Stream {
    /// Nothing more can happen on it, and no frame of it is left.
    pub fn is_over(&self) -> bool {
        self.is_send_over() && self.recv.is_over()
    }

    /// Nothing of our half is under way any more, and the peer knows how it ended.
    pub fn is_send_over(&self) -> bool {
        let reset_told = self.pending.reset.is_none() && !self.pending.reset_in_flight;
        self.send.is_quiet() && reset_told
    }
}
