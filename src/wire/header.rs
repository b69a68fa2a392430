//! The header of every packet, and the stream header of a data packet.

use std::ops::Range;

use super::{CRC_LEN, HEADER_LEN, ParseError, STREAM_HEADER_LEN, TAG_LEN, VERSION};
use crate::base::{ConnId, StreamId};

/// Where the payload of a data packet begins, counted from the outer header.
pub const PAYLOAD_OFFSET: usize = HEADER_LEN + STREAM_HEADER_LEN;

const FLAG_FIN: u8 = 0x01;
const FLAG_TRAILER: u8 = 0x02;
const FLAG_SEALED: u8 = 0x04;
/// Where the key phase stands in the flags: the upper two bits.
const PHASE_SHIFT: u32 = 6;
const PHASE_BITS: u8 = 0b11 << PHASE_SHIFT;
/// Bytes of the number that ends a data packet's body when items follow the payload.
pub const TRAILER_LEN: usize = 2;

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
    /// Do you still know this connection? Made by who holds the key.
    Ask = 12,
    /// I don't speak your version (understood in every version).
    Version = 15,
}

impl PacketType {
    /// The type with this number, if this version knows it.
    pub fn from_nibble(nibble: u8) -> Option<PacketType> {
        use PacketType::*;
        Some(match nibble {
            1 => Open,
            2 => Cookie,
            3 => Accept,
            4 => Confirm,
            5 => Data,
            6 => Control,
            7 => Ping,
            8 => Pong,
            9 => Reset,
            10 => Query,
            11 => Announce,
            12 => Ask,
            15 => Version,
            _ => return None,
        })
    }

    /// Belongs to a connection whose keys are agreed: sealed, unless the connection is in plain mode.
    #[inline]
    pub fn is_of_connection(self) -> bool {
        use PacketType::*;
        matches!(self, Confirm | Data | Control | Ping | Pong)
    }

    /// The flags that a packet of this type may have.
    #[inline]
    fn allowed_flags(self) -> u8 {
        use PacketType::*;
        match self {
            Data => FLAG_FIN | FLAG_TRAILER | FLAG_SEALED | PHASE_BITS,
            Confirm | Control | Ping | Pong => FLAG_SEALED | PHASE_BITS,
            Open | Cookie | Accept | Reset => FLAG_SEALED,
            Query | Announce | Ask | Version => 0,
        }
    }
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
    /// The connection is sealed, under the key of this phase (0 to 3; 0 while it is being opened); `None` in plain
    /// mode.
    pub seal: Option<u8>,
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

impl Header {
    /// Parses the outer header at the front of `packet` (which begins behind the Ethernet header).
    ///
    /// A [`PacketType::Version`] packet is parsed whatever version its sender speaks, and its flags are ignored.
    ///
    /// # Errors
    /// `Truncated` below 16 bytes; `Version` for another version; `Malformed` for an unknown type or flag, a flag that
    /// the type does not have, or a key phase without a seal.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Header, ParseError> {
        let Some(&[first, flags, l0, l1, c0, c1, c2, c3, n0, n1, n2, n3, n4, n5, n6, n7]) =
            packet.first_chunk::<HEADER_LEN>()
        else {
            return Err(ParseError::Truncated);
        };
        let kind = PacketType::from_nibble(first & 0x0F);
        let any_version = kind == Some(PacketType::Version);
        if first >> 4 != VERSION && !any_version {
            return Err(ParseError::Version(first >> 4));
        }
        let Some(kind) = kind else { return Err(ParseError::Malformed("packet type")) };
        let allowed = kind.allowed_flags();
        let sealed = flags & allowed & FLAG_SEALED != 0;
        let foreign = flags & !allowed != 0 || (!sealed && flags & PHASE_BITS != 0);
        if foreign && !any_version {
            return Err(ParseError::Malformed("flags"));
        }
        Ok(Header {
            kind,
            fin: flags & allowed & FLAG_FIN != 0,
            trailer: flags & allowed & FLAG_TRAILER != 0,
            seal: sealed.then_some(flags >> PHASE_SHIFT),
            length: u16::from_be_bytes([l0, l1]),
            conn: ConnId(u32::from_be_bytes([c0, c1, c2, c3])),
            number: u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
        })
    }

    /// Version nibble, type nibble and connection id, which stand in the same place in every version; for packets of
    /// versions that are not ours.
    pub fn peek(packet: &[u8]) -> Option<(u8, u8, ConnId)> {
        let &[first, _, _, _, c0, c1, c2, c3, ..] = packet.first_chunk::<HEADER_LEN>()?;
        Some((first >> 4, first & 0x0F, ConnId(u32::from_be_bytes([c0, c1, c2, c3]))))
    }

    /// Writes the header to the front of `out` and returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than [`HEADER_LEN`]: the frame is ours.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        out[..HEADER_LEN].copy_from_slice(&self.to_bytes());
        HEADER_LEN
    }

    /// The header's bytes.
    #[inline]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let flags = if self.fin { FLAG_FIN } else { 0 }
            | if self.trailer { FLAG_TRAILER } else { 0 }
            | self.seal.map_or(0, |phase| FLAG_SEALED | phase << PHASE_SHIFT);
        let [l0, l1] = self.length.to_be_bytes();
        let [c0, c1, c2, c3] = self.conn.0.to_be_bytes();
        let [n0, n1, n2, n3, n4, n5, n6, n7] = self.number.to_be_bytes();
        let first = VERSION << 4 | self.kind as u8;
        [first, flags, l0, l1, c0, c1, c2, c3, n0, n1, n2, n3, n4, n5, n6, n7]
    }

    /// Where the body ends and the tag or CRC begins, counted from the outer header.
    #[inline]
    pub fn end(&self) -> usize {
        HEADER_LEN + usize::from(self.length)
    }

    /// Whether an AEAD tag ends the packet; else a CRC32C does.
    #[inline]
    pub fn has_tag(&self) -> bool {
        self.seal.is_some() && self.kind.is_of_connection()
    }

    /// Bytes of the tag or CRC.
    #[inline]
    pub fn tail_len(&self) -> usize {
        if self.has_tag() { TAG_LEN } else { CRC_LEN }
    }

    /// What stands between this header and the tag or CRC. Whatever the frame holds beyond is not looked at.
    ///
    /// # Errors
    /// `Truncated` if `packet` is shorter than the header's length says.
    #[inline]
    pub fn body<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], ParseError> {
        packet.get(HEADER_LEN..self.end()).ok_or(ParseError::Truncated)
    }
}

impl StreamHeader {
    /// Parses the 16 bytes at the front of a data packet's body.
    ///
    /// # Errors
    /// `Truncated` below 16 bytes.
    #[inline]
    pub fn parse(body: &[u8]) -> Result<StreamHeader, ParseError> {
        let Some(&[s0, s1, s2, s3, d0, d1, d2, d3, o0, o1, o2, o3, o4, o5, o6, o7]) =
            body.first_chunk::<STREAM_HEADER_LEN>()
        else {
            return Err(ParseError::Truncated);
        };
        Ok(StreamHeader {
            stream: StreamId(u32::from_be_bytes([s0, s1, s2, s3])),
            lowest_distance: u32::from_be_bytes([d0, d1, d2, d3]),
            offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        })
    }

    /// The header's bytes.
    #[inline]
    pub fn to_bytes(&self) -> [u8; STREAM_HEADER_LEN] {
        let [s0, s1, s2, s3] = self.stream.0.to_be_bytes();
        let [d0, d1, d2, d3] = self.lowest_distance.to_be_bytes();
        let [o0, o1, o2, o3, o4, o5, o6, o7] = self.offset.to_be_bytes();
        [s0, s1, s2, s3, d0, d1, d2, d3, o0, o1, o2, o3, o4, o5, o6, o7]
    }
}

/// Writes both headers of a data packet, [`PAYLOAD_OFFSET`] bytes, to the front of `out`. The sender's hot path.
///
/// # Panics
/// If `out` is shorter: the frame is ours.
#[inline]
pub fn emit_data(out: &mut [u8], header: &Header, stream: &StreamHeader) {
    let out = &mut out[..PAYLOAD_OFFSET];
    out[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    out[HEADER_LEN..].copy_from_slice(&stream.to_bytes());
}

/// Takes a data packet's body apart: stream header, where in `body` the payload lies, and the bytes of the items behind
/// it (none without `trailer`).
///
/// # Errors
/// `Truncated` if the parts do not fit the body; `Malformed` if the payload would end beyond offset 2^64 - 1.
#[inline]
pub fn split_data(body: &[u8], trailer: bool) -> Result<(StreamHeader, Range<usize>, &[u8]), ParseError> {
    let stream = StreamHeader::parse(body)?;
    let (end, items): (usize, &[u8]) = if trailer { split_trailer(body)? } else { (body.len(), &[]) };
    let payload = STREAM_HEADER_LEN..end;
    if stream.offset.checked_add(payload.len() as u64).is_none() {
        return Err(ParseError::Malformed("stream offset"));
    }
    Ok((stream, payload, items))
}

/// Where the payload ends, and the items between it and the number that counts their bytes.
fn split_trailer(body: &[u8]) -> Result<(usize, &[u8]), ParseError> {
    let (before, count) = body.split_last_chunk::<TRAILER_LEN>().ok_or(ParseError::Truncated)?;
    let count = usize::from(u16::from_be_bytes(*count));
    let end = before.len().checked_sub(count).ok_or(ParseError::Truncated)?;
    if end < STREAM_HEADER_LEN {
        return Err(ParseError::Truncated);
    }
    Ok((end, &before[end..]))
}

/// Writes the number that follows `items_len` bytes of items at the end of a data packet's body; returns its length.
///
/// # Panics
/// If `out` is shorter than [`TRAILER_LEN`]: the frame is ours.
pub fn emit_trailer(out: &mut [u8], items_len: u16) -> usize {
    out[..TRAILER_LEN].copy_from_slice(&items_len.to_be_bytes());
    TRAILER_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Header = Header {
        kind: PacketType::Data,
        fin: true,
        trailer: false,
        seal: None,
        length: 20,
        conn: ConnId(7),
        number: 9,
    };

    #[test]
    fn refuses_what_it_does_not_know() {
        let good = DATA.to_bytes();
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            Header::parse(&bytes)
        };
        assert_eq!(Header::parse(&good), Ok(DATA));
        assert_eq!(Header::parse(&good[..15]), Err(ParseError::Truncated));
        assert_eq!(with(0, 0x25), Err(ParseError::Version(2)));
        assert_eq!(with(0, 0x1D), Err(ParseError::Malformed("packet type")));
        assert_eq!(with(1, 0x08), Err(ParseError::Malformed("flags")));
        assert_eq!(with(1, 0x40), Err(ParseError::Malformed("flags")), "a phase without a seal");
        assert_eq!(with(0, 0x16), Err(ParseError::Malformed("flags")), "FIN is for data");
    }

    #[test]
    fn a_version_packet_parses_in_every_version() {
        for version in 0..16 {
            let mut bytes = Header { kind: PacketType::Version, fin: false, ..DATA }.to_bytes();
            bytes[0] = version << 4 | 15;
            bytes[1] = 0xFF;
            assert_eq!(Header::parse(&bytes).map(|header| header.kind), Ok(PacketType::Version));
            assert_eq!(Header::peek(&bytes), Some((version, 15, ConnId(7))));
        }
    }

    #[test]
    fn a_trailer_can_not_reach_into_the_stream_header() {
        let mut body = [0u8; 24];
        body[23] = 6;
        let (_, payload, items) = split_data(&body, true).unwrap();
        assert_eq!((payload, items.len()), (16..16, 6));
        body[23] = 7;
        assert_eq!(split_data(&body, true), Err(ParseError::Truncated));
        assert_eq!(split_data(&body, false).unwrap().1, 16..24);
        assert_eq!(split_data(&body[..17], true), Err(ParseError::Truncated));
    }

    #[test]
    fn a_stream_can_not_end_beyond_its_last_offset() {
        let stream = StreamHeader { stream: StreamId(4), lowest_distance: 0, offset: u64::MAX - 3 };
        let mut body = [0; 20];
        body[..16].copy_from_slice(&stream.to_bytes());
        assert_eq!(split_data(&body, false), Err(ParseError::Malformed("stream offset")));
        assert!(split_data(&body[..19], false).is_ok());
    }
}
