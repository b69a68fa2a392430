//! The header of every packet, and the stream header of a data packet.

use crate::base::{ConnId, StreamId};

/// What a packet is: the lower four bits of its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PacketType {
    /// Initiator: let us talk.
    Open = 1,
    /// Responder: prove that you receive at that address.
    Cookie = 2,
    /// Responder: agreed.
    Accept = 3,
    /// Initiator: heard you (a data packet says so as well).
    Confirm = 4,
    /// One segment of one stream.
    Data = 5,
    /// Items only: ACKs, credit, stream and connection control.
    Control = 6,
    /// Echo this.
    Ping = 7,
    /// The echo.
    Pong = 8,
    /// I know no such connection.
    Reset = 9,
    /// Who is on this link?
    Query = 10,
    /// I am.
    Announce = 11,
    /// I don't speak your version (understood in every version).
    Version = 15,
}

/// The header of every packet: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the packet is.
    pub kind: PacketType,
    /// Data: the stream ends with this segment.
    pub fin: bool,
    /// Items follow the payload; the packet's last two bytes before the tag or CRC say how many bytes they take.
    pub trailer: bool,
    /// Bytes between this header and the tag or CRC.
    pub length: u16,
    /// The receiver's id of the connection; 0 before it is known.
    pub conn: ConnId,
    /// Rises with every packet of a connection and direction, never reused.
    pub number: u64,
}

/// Which bytes of which stream a data packet carries: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamHeader {
    /// The stream.
    pub stream: StreamId,
    /// Packet number minus the lowest one that the sender still waits for: the receiver may forget all before.
    /// Saturates at `u32::MAX`.
    pub lowest_distance: u32,
    /// Where in the stream the payload begins, in bytes.
    pub offset: u64,
}
