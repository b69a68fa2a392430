//! Packets as bytes between two endpoints, without Ethernet and checksum.

use farwire::base::{FrameId, MacAddr};
use farwire::proto::{Content, Packet, Transmit};
use farwire::wire::header::emit_trailer;
use farwire::wire::{HEADER_LEN, Header};

/// A packet on its way.
#[derive(Clone)]
pub struct Flying {
    pub src: MacAddr,
    pub bytes: Vec<u8>,
}

impl Flying {
    /// What a transport wants sent. `payload` is what the segment's frame holds.
    pub fn new(src: MacAddr, transmit: &Transmit, body: &[u8], payload: &[u8]) -> Flying {
        let mut bytes = transmit.header.to_bytes().to_vec();
        let length = usize::from(transmit.header.length);
        match transmit.content {
            Content::Body => bytes.extend(&body[..length]),
            Content::Segment { stream, payload_len, items_len, .. } => {
                bytes.extend(stream.to_bytes());
                bytes.extend(&payload[..payload_len]);
                if items_len > 0 {
                    bytes.extend(&body[..items_len]);
                    let mut trailer = [0; 2];
                    emit_trailer(&mut trailer, items_len as u16);
                    bytes.extend(trailer);
                }
            }
            Content::Ping(ping) => {
                let mut padded = vec![0; length];
                ping.emit(&mut padded, length);
                bytes.extend(padded);
            }
        }
        assert_eq!(bytes.len(), HEADER_LEN + length, "{transmit:?}");
        Flying { src, bytes }
    }

    /// As the other side's engine hands it to its transport.
    pub fn packet(&self, frame: FrameId) -> Packet<'_> {
        let header = Header::parse(&self.bytes).expect("a header of our own");
        let body = header.body(&self.bytes).expect("a body of our own");
        Packet { src: self.src, header, body, frame }
    }
}
