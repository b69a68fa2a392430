//! Frames that no honest host sends, right down to the checksum.

use std::collections::VecDeque;

use farwire::base::{ConnId, MacAddr, StreamId};
use farwire::wire::header::emit_trailer;
use farwire::wire::open::{COOKIE_LEN, OPEN_LEN};
use farwire::wire::sealed::{ANSWER_LEN, NOISE_LEN};
use farwire::wire::version::emit_version;
use farwire::wire::{
    Accept, Ack, AckWords, CookieReply, ETHERNET_LEN, ETHERTYPE, Ethernet, HEADER_LEN, Header, Item, Open, PacketType,
    Params, Reset, SealedAccept, SealedCookie, SealedReset, StreamHeader, crc,
};

use super::super::script::Script;

/// Where a forged frame goes, and what it may pretend.
pub struct Mark {
    pub dst: MacAddr,
    /// The peer's address.
    pub src: MacAddr,
    /// The host's connections.
    pub conns: Vec<ConnId>,
    /// The highest packet number that has been seen on the way to it.
    pub number: u64,
    /// Its connections have keys.
    pub sealed: bool,
    /// Connection id and nonce of the last open that it sent.
    pub open: Option<(ConnId, u64)>,
}

/// A frame as the script says.
pub fn frame(script: &mut Script<'_>, mark: &Mark) -> Vec<u8> {
    let choice = script.byte();
    let kind = match choice % 8 {
        0..3 => PacketType::Data,
        3..6 => PacketType::Control,
        _ => PacketType::from_nibble(choice >> 4).unwrap_or(PacketType::Ping),
    };
    let live = script.pick(&mark.conns).unwrap_or(ConnId(0));
    let conn = match script.byte() {
        0..224 => live,
        224..240 => ConnId(live.0 ^ 1),
        _ => ConnId(script.number() as u32),
    };
    let number = match script.byte() {
        0..200 => mark.number.wrapping_add(script.number()),
        200..228 => mark.number.wrapping_sub(script.number()),
        _ => script.number(),
    };
    let flags = script.byte();
    let data = kind == PacketType::Data;
    let (fin, trailer) = (data && flags & 1 != 0, data && flags & 2 != 0);
    let body = body(script, kind, trailer);
    let (of_connection, opens) = (kind.is_of_connection(), (kind as u8) < 4 || kind == PacketType::Reset);
    let phase = if of_connection { flags >> 6 } else { 0 };
    let seal = (mark.sealed && flags & 4 != 0 && (of_connection || opens)).then_some(phase);
    let header = Header { kind, fin, trailer, seal, length: body.len() as u16, conn, number };
    let stranger = flags >> 2 == 0x3F;
    let src = if stranger { MacAddr::new(2, 9, 9, 9, 9, script.byte()) } else { mark.src };
    framed(&Ethernet { dst: mark.dst, src, vlan: None, ethertype: ETHERTYPE }, &header, &body)
}

/// An answer to the host's last open by somebody who saw it and has no key: plain, or with a MAC that is a guess.
pub fn answer(script: &mut Script<'_>, mark: &Mark) -> Option<Vec<u8>> {
    let ((conn, nonce), choice) = (mark.open?, script.byte());
    let (sealed, mut body, mac) = (choice & 1 != 0, [0; 200], [script.byte(); 16]);
    let cookie = [script.byte(); COOKIE_LEN];
    let (kind, length) = match choice >> 1 & 3 {
        0 if sealed => {
            (PacketType::Accept, SealedAccept { nonce, message: [choice; NOISE_LEN + ANSWER_LEN], mac }.emit(&mut body))
        }
        0 => {
            let conn = ConnId(script.number() as u32);
            (PacketType::Accept, Accept { conn, nonce, params: params(script) }.emit(&mut body))
        }
        1 if sealed => (PacketType::Cookie, SealedCookie { nonce, cookie, mac }.emit(&mut body)),
        1 => (PacketType::Cookie, CookieReply { nonce, cookie }.emit(&mut body)),
        2 => (PacketType::Version, emit_version(&mut body, &[choice >> 4])),
        _ => {
            let why = Reset::parse(&[choice >> 3 & 7]).ok()?;
            let length = if sealed { SealedReset { why, mac }.emit(&mut body) } else { why.emit(&mut body) };
            (PacketType::Reset, length)
        }
    };
    let seal = (sealed && kind != PacketType::Version).then_some(0);
    let header = Header { kind, fin: false, trailer: false, seal, length: length as u16, conn, number: nonce };
    let ethernet = Ethernet { dst: mark.dst, src: mark.src, vlan: None, ethertype: ETHERTYPE };
    Some(framed(&ethernet, &header, &body[..length]))
}

/// A true frame of old with another one's header or body, or a byte changed, and the checksum mended.
pub fn spliced(script: &mut Script<'_>, former: &VecDeque<Vec<u8>>) -> Option<Vec<u8>> {
    let mut pick = || former.iter().rev().nth(script.below(256) % former.len().max(1)).cloned();
    let (mut frame, other) = (pick()?, pick()?);
    let at = ETHERNET_LEN;
    let choice = script.byte();
    if choice & 1 != 0 {
        frame.truncate(at + HEADER_LEN);
        frame.extend_from_slice(other.get(at + HEADER_LEN..)?);
    }
    if choice & 2 != 0 {
        let index = at + script.number() as usize % (frame.len() - at);
        frame[index] = script.byte();
    }
    if choice & 4 != 0 {
        // A field of the header from the other one: flags, length, connection id, packet number.
        let field = [1..2, 2..4, 4..8, 8..16][usize::from(choice >> 6)].clone();
        frame[at..][field.clone()].copy_from_slice(&other[at..][field]);
    }
    let header = Header::parse(&frame[at..]).ok()?;
    frame.resize(frame.len().max(at + header.end() + header.tail_len()), 0);
    if !header.has_tag() {
        crc::emit(&mut frame[at..], header.end());
    }
    Some(frame)
}

/// A frame with its checksum, or with nothing in the tag's place.
fn framed(ethernet: &Ethernet, header: &Header, body: &[u8]) -> Vec<u8> {
    let at = ethernet.len();
    let mut frame = vec![0; at + HEADER_LEN + body.len() + header.tail_len()];
    ethernet.emit(&mut frame);
    header.emit(&mut frame[at..]);
    frame[at + HEADER_LEN..][..body.len()].copy_from_slice(body);
    if !header.has_tag() {
        crc::emit(&mut frame[at..], header.end());
    }
    frame
}

fn body(script: &mut Script<'_>, kind: PacketType, trailer: bool) -> Vec<u8> {
    if script.byte() >= 240 {
        return (0..script.below(64)).map(|_| script.byte()).collect();
    }
    match kind {
        PacketType::Data => {
            let stream = StreamHeader {
                stream: StreamId(script.number() as u32),
                lowest_distance: script.number() as u32,
                offset: script.number(),
            };
            let mut body = stream.to_bytes().to_vec();
            body.resize(body.len() + script.number() as usize % 1000, 7);
            if trailer {
                let items = items(script, 400);
                body.extend(&items);
                let mut count = [0; 2];
                emit_trailer(&mut count, items.len() as u16);
                body.extend(count);
            }
            body
        }
        PacketType::Open => {
            let mut body = vec![0; OPEN_LEN];
            let (conn, nonce) = (ConnId(script.number() as u32), script.number());
            Open { conn, nonce, params: params(script), cookie: None }.emit(&mut body);
            body
        }
        PacketType::Accept => {
            let mut body = vec![0; OPEN_LEN];
            let (conn, nonce) = (ConnId(script.number() as u32), script.number());
            let len = Accept { conn, nonce, params: params(script) }.emit(&mut body);
            body.truncate(len);
            body
        }
        PacketType::Ping | PacketType::Pong => vec![script.byte(); script.number() as usize % 1400],
        _ => items(script, 1400),
    }
}

fn params(script: &mut Script<'_>) -> Params {
    Params {
        mtu: script.number() as u16,
        streams: script.number() as u32,
        idle_timeout_ms: script.number() as u32,
        conn_credit: script.number(),
        stream_credit: script.number(),
    }
}

fn items(script: &mut Script<'_>, room: usize) -> Vec<u8> {
    let mut bytes = vec![0; room];
    let mut len = 0;
    for _ in 0..script.below(8) {
        let words: Vec<u64> = (0..script.below(6)).map(|_| script.number()).collect();
        len += item(script, &words).emit(&mut bytes[len..]).unwrap_or(0);
    }
    bytes.truncate(len);
    bytes
}

fn item<'a>(script: &mut Script<'_>, words: &'a [u64]) -> Item<'a> {
    let kind = script.below(12);
    let (small, number) = (script.number() as u32, script.number());
    let stream = StreamId(small);
    match kind {
        0 | 1 => {
            let (floor, first_word) = (script.number(), if kind == 0 { number / 64 } else { script.number() });
            Item::Ack(Ack { largest: number, delay_ns: small, floor, first_word, words: AckWords::Native(words) })
        }
        2 => Item::ConnCredit { segments: number },
        3 => Item::StreamCredit { stream, limit: number },
        4 => Item::StreamReset { stream, code: small, segments: number },
        5 => Item::StreamStop { stream, code: small },
        6 => Item::StreamsLimit { streams: number },
        7 => Item::Lowest { number },
        8 => Item::Finish,
        9 if number == 0 => Item::Close { code: small, reason: "harm" },
        _ => Item::Probe,
    }
}
