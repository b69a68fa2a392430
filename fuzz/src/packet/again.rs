//! A frame emitted again from nothing but what was parsed.

use farwire::wire::header::{emit_data, emit_trailer, split_data};
use farwire::wire::version::{emit_version, parse_version};
use farwire::wire::{
    Accept, Announce, Ask, Confirm, CookieReply, ETHERTYPE, Ethernet, Header, Items, Open, PacketType, ParseError,
    Ping, Query, Reset, SealedAccept, SealedCookie, SealedOpen, SealedReset, crc,
};

/// Parses a frame and writes it anew from the types alone. What Ethernet padded is kept.
///
/// # Errors
/// Why it is refused.
pub fn emit_again(frame: &[u8]) -> Result<Vec<u8>, String> {
    let (ethernet, at) = Ethernet::parse(frame).ok_or("no Ethernet header")?;
    if ethernet.ethertype != ETHERTYPE {
        return Err("not ours".into());
    }
    let packet = &frame[at..];
    let header = Header::parse(packet).map_err(|error| error.to_string())?;
    let body = header.body(packet).map_err(|error| error.to_string())?;
    if packet.len() < header.end() + header.tail_len() {
        return Err("cut before the tag or checksum".into());
    }
    if header.has_tag() {
        // What it says is its receiver's to know.
        let mut out = frame.to_vec();
        ethernet.emit(&mut out);
        header.emit(&mut out[at..]);
        return Ok(out);
    }
    if !crc::check(packet, header.end()) {
        return Err("checksum".into());
    }
    let mut out = vec![0; frame.len()];
    ethernet.emit(&mut out);
    let fresh = &mut out[at..];
    header.emit(fresh);
    let len = emit_body(&header, body, fresh).map_err(|error| error.to_string())?;
    assert_eq!(len, body.len(), "length of the body");
    let end = crc::emit(fresh, header.end());
    fresh[end..].copy_from_slice(&packet[end..]);
    Ok(out)
}

fn emit_body(header: &Header, body: &[u8], fresh: &mut [u8]) -> Result<usize, ParseError> {
    let out = &mut fresh[16..];
    let sealed = header.seal.is_some();
    Ok(match header.kind {
        PacketType::Open if sealed => SealedOpen::parse(body)?.emit(out),
        PacketType::Cookie if sealed => SealedCookie::parse(body)?.emit(out),
        PacketType::Accept if sealed => SealedAccept::parse(body)?.emit(out),
        PacketType::Reset if sealed => SealedReset::parse(body)?.emit(out),
        PacketType::Ask => Ask::parse(body)?.emit(out),
        PacketType::Open => Open::parse(body)?.emit(out),
        PacketType::Cookie => CookieReply::parse(body)?.emit(out),
        PacketType::Accept => Accept::parse(body)?.emit(out),
        PacketType::Confirm => Confirm::parse(body)?.emit(out),
        PacketType::Data => return emit_data_body(header, body, fresh),
        PacketType::Control => emit_items(body, out)?,
        PacketType::Ping | PacketType::Pong => {
            let len = Ping::parse(body)?.emit(out, body.len());
            out[12..len].copy_from_slice(&body[12..]); // padding may hold anything
            len
        }
        PacketType::Reset => {
            let len = Reset::parse(body)?.emit(out);
            out[len..body.len()].copy_from_slice(&body[len..]); // ignored in this version
            body.len()
        }
        PacketType::Query => Query::parse(body)?.emit(out).unwrap(),
        PacketType::Announce => Announce::parse(body)?.emit(out).unwrap(),
        PacketType::Version => {
            let len = emit_version(out, parse_version(body)?);
            out[len..body.len()].copy_from_slice(&body[len..]); // later versions may say more
            body.len()
        }
    })
}

fn emit_data_body(header: &Header, body: &[u8], fresh: &mut [u8]) -> Result<usize, ParseError> {
    let (stream, payload, items) = split_data(body, header.trailer)?;
    emit_data(fresh, header, &stream);
    let out = &mut fresh[16..];
    out[payload.clone()].copy_from_slice(&body[payload.clone()]);
    if !header.trailer {
        return Ok(payload.end);
    }
    let len = emit_items(items, &mut out[payload.end..])?;
    Ok(payload.end + len + emit_trailer(&mut out[payload.end + len..], len as u16))
}

fn emit_items(items: &[u8], out: &mut [u8]) -> Result<usize, ParseError> {
    Items::new(items).try_fold(0, |at, item| Ok(at + item?.emit(&mut out[at..]).unwrap()))
}
