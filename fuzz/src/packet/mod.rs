//! Any bytes as a frame: no parser panics, and what is understood is written again byte for byte.

pub mod again;
pub mod everything;

use farwire::wire::{CRC_LEN, ETHERTYPE, Ethernet, HEADER_LEN, Header, crc, pretty};

/// Takes the bytes as a frame, as they are, with its checksum mended, and with its length and checksum mended: no
/// mutation gets past a checksum by itself.
pub fn run(bytes: &[u8]) {
    look(bytes);
    let mended = canonical(bytes);
    if mended != bytes {
        look(&mended);
    }
    if let Some(mended) = with_length(bytes) {
        look(&mended);
    }
}

fn look(bytes: &[u8]) {
    let bytes = Box::<[u8]>::from(bytes); // no spare room behind the end
    everything::parse(&bytes);
    for line in [pretty::frame(&bytes, ETHERTYPE).to_string(), pretty::packet(&bytes).to_string()] {
        assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
    }
    if let Ok(again) = again::emit_again(&bytes) {
        assert_eq!(again, canonical(&bytes), "{}", pretty::frame(&bytes, ETHERTYPE));
    }
}

/// What would be emitted instead, as far as a frame may differ from that and be understood: no drop-eligible bit, a
/// version packet in our version, and the checksum that is right for this.
pub fn canonical(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let Some((ethernet, at)) = Ethernet::parse(&frame) else { return frame };
    if ethernet.vlan.is_some() {
        ethernet.emit(&mut frame);
    }
    let Ok(header) = Header::parse(&frame[at..]) else { return frame };
    if !header.has_tag() && at + header.end() + CRC_LEN <= frame.len() {
        header.emit(&mut frame[at..]);
        crc::emit(&mut frame[at..], header.end());
    }
    frame
}

/// The frame with a length that takes all of it, and the checksum for that.
fn with_length(frame: &[u8]) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    let (_, at) = Ethernet::parse(&frame)?;
    let header = Header::parse(&frame[at..]).ok()?;
    let length = u16::try_from(frame.len().checked_sub(at + HEADER_LEN + header.tail_len())?).ok()?;
    let header = Header { length, ..header };
    header.emit(&mut frame[at..]);
    if !header.has_tag() {
        crc::emit(&mut frame[at..], header.end());
    }
    Some(frame)
}
