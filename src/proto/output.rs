//! All that leaves the transport: packets to send, segments to deliver, frames to free, events to tell.

use std::collections::VecDeque;

use super::error::{CloseReason, ConnectError, StreamError};
use super::ping::PingReport;
use crate::base::{FrameId, MacAddr, StreamId};
use crate::obs::hist::Histogram;
use crate::wire::{Header, Ping, StreamHeader};

/// A packet to be sent now. Its number is used up: it counts as sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// To whom.
    pub dst: MacAddr,
    /// Slot of the connection whose keys seal it, if the header says that it is sealed.
    pub conn: Option<u32>,
    /// The packet's header.
    pub header: Header,
    /// What follows it.
    pub content: Content,
}

/// What follows a packet's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// The first `header.length` bytes of the body buffer, to be copied into a frame of the engine's.
    Body,
    /// A segment in the frame that its payload was written into.
    Segment {
        /// The frame.
        frame: FrameId,
        /// The stream header.
        stream: StreamHeader,
        /// Payload bytes.
        payload_len: usize,
        /// Bytes of the body buffer that follow the payload as items.
        items_len: usize,
        /// It has not been sent before.
        first: bool,
    },
    /// A ping of `header.length` bytes, padding included.
    Ping(Ping),
}

/// A segment for the application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Its stream's slot.
    pub stream: u32,
    /// The frame that it arrived in.
    pub frame: FrameId,
    /// Payload bytes.
    pub len: u16,
    /// The stream ends with it.
    pub fin: bool,
}

/// Something that the application, or the engine on its behalf, must know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A segment for the application, in order within its stream; also after it said stop, to be given back unread.
    Deliver(Delivery),
    /// A connection of ours is open.
    Connected {
        /// Its slot.
        conn: u32,
    },
    /// A connection of ours could not be opened; its slot is free.
    ConnectFailed {
        /// Its slot.
        conn: u32,
        /// Why.
        error: ConnectError,
    },
    /// A peer has opened a connection.
    Incoming {
        /// Its slot.
        conn: u32,
    },
    /// The peer has opened a stream.
    StreamOpened {
        /// The connection's slot.
        conn: u32,
        /// The stream's slot.
        stream: u32,
        /// Its number: by the time this is looked at, the slot may be another stream's.
        id: StreamId,
    },
    /// The peer has finished its direction: it opens no more streams.
    PeerFinished {
        /// The connection's slot.
        conn: u32,
    },
    /// The peer allows us more streams.
    StreamsAllowed {
        /// The connection's slot.
        conn: u32,
    },
    /// All that the stream sent, its end included, has been acknowledged.
    SendDone {
        /// The stream's slot.
        stream: u32,
    },
    /// The stream's sending half ended early.
    SendFailed {
        /// The stream's slot.
        stream: u32,
        /// Why.
        error: StreamError,
    },
    /// The stream's receiving half ended early.
    RecvFailed {
        /// The stream's slot.
        stream: u32,
        /// Why.
        error: StreamError,
    },
    /// The stream is over and its slot free.
    StreamGone {
        /// The stream's slot.
        stream: u32,
    },
    /// A connection has ended. Its streams have been told; its slot is free once it has drained.
    Closed {
        /// The connection's slot.
        conn: u32,
        /// How.
        reason: CloseReason,
    },
    /// A series of pings is complete.
    PingDone {
        /// The connection's slot.
        conn: u32,
        /// What came of it.
        report: Box<PingReport>,
    },
    /// A host answered a query.
    Found(Box<Found>),
}

/// A host that answered a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its address.
    pub mac: MacAddr,
    /// Its name.
    pub name: String,
    /// What runs there.
    pub service: String,
    /// Longest Ethernet payload it takes.
    pub mtu: u16,
}

/// Where the transport puts what its callers must act on.
#[derive(Debug, Default)]
pub struct Output {
    /// Frames that are no longer the transport's: acknowledged, dropped or duplicate.
    pub released: Vec<FrameId>,
    /// Events, in order: a stream's opening comes before its deliveries, and they before its end.
    pub events: VecDeque<Event>,
    /// Round trips that ACKs have shown, since the start.
    pub rtt: Histogram,
}
