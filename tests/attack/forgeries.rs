//! What the attacker sends: everything that can be made without the key.

use farwire::base::{ConnId, Dice, KeyId, StreamId};
use farwire::wire::open::{COOKIE_LEN, OPEN_LEN};
use farwire::wire::sealed::{ASK_LEN, NOISE_LEN, OFFER_LEN, SEALED_ACCEPT_LEN, SEALED_COOKIE_LEN, SEALED_OPEN_LEN};
use farwire::wire::version::emit_version;
use farwire::wire::{
    Accept, Ack, AckWords, CRC_LEN, CookieReply, ETHERTYPE, HEADER_LEN, Header, Item, Open, PacketType, Params, Query,
    Reset, SealedOpen, StreamHeader, TAG_LEN, crc,
};

use super::eve::{Forgery, Heard, Way};
use super::segment::{A, B, keyring};

/// Addresses that opens come from.
const ADDRESSES: u64 = 1_000_000;
const PARAMS: Params =
    Params { mtu: 1500, streams: 100, conn_credit: 4096, stream_credit: 1 << 20, idle_timeout_ms: 30_000 };

/// A frame with a right checksum, if its packet ends with one; a tag is left as random as it comes.
pub fn frame(dst: [u8; 6], src: [u8; 6], header: Header, body: &[u8]) -> Vec<u8> {
    let header = Header { length: body.len() as u16, ..header };
    let mut frame = [&dst[..], &src, &ETHERTYPE.to_be_bytes(), &header.to_bytes(), body].concat();
    if header.has_tag() {
        frame.resize(frame.len() + TAG_LEN, 0x5A);
    } else {
        frame.resize(frame.len() + CRC_LEN, 0);
        crc::emit(&mut frame[14..], header.end());
    }
    frame
}

fn header(kind: PacketType, seal: Option<u8>, conn: ConnId, number: u64) -> Header {
    Header { kind, fin: false, trailer: false, seal, length: 0, conn, number }
}

fn noise(dice: &mut Dice, len: usize) -> Vec<u8> {
    (0..len).map(|_| dice.draw() as u8).collect()
}

/// A direction of the live connection, and a number that may come next on it, or has just come.
fn aim(heard: &Heard, dice: &mut Dice) -> Option<(Way, ConnId, u64)> {
    let way = heard.ways[dice.below(2) as usize];
    let last = way.header?;
    let number =
        if dice.hits(800) { last.number + dice.below(2000) } else { last.number.saturating_sub(dice.below(50)) };
    Some((way, last.conn, number))
}

const KINDS: [PacketType; 5] =
    [PacketType::Data, PacketType::Control, PacketType::Ping, PacketType::Pong, PacketType::Confirm];

/// Data, ACKs, closes and the like, sealed by somebody without the key, in every phase.
pub fn sealed_guesses() -> Forgery {
    Box::new(|heard, dice| {
        let (way, conn, number) = aim(heard, dice)?;
        let kind = dice.pick(&KINDS);
        let len = dice.pick(&[0, 12, 32, 60, 1400]);
        let body = noise(dice, len);
        Some(frame(way.dst, way.src, header(kind, Some(dice.below(4) as u8), conn, number), &body))
    })
}

/// The same in the clear, each of them what a plain connection would believe.
pub fn plain_packets() -> Forgery {
    Box::new(|heard, dice| {
        let (way, conn, number) = aim(heard, dice)?;
        let mut items = [0; 100];
        let words = [u64::MAX; 4];
        let item = match dice.below(5) {
            0 => Item::Ack(Ack {
                largest: number,
                delay_ns: 0,
                floor: number,
                first_word: 0,
                words: AckWords::Native(&words),
            }),
            1 => Item::Close { code: 0, reason: "bye" },
            2 => Item::StreamReset { stream: StreamId(0), code: 1, segments: 1 },
            3 => Item::StreamStop { stream: StreamId(0), code: 1 },
            _ => Item::Finish,
        };
        let len = item.emit(&mut items)?;
        let stream = StreamHeader { stream: StreamId(0), lowest_distance: 0, offset: dice.below(1 << 24) };
        let (kind, body) = match dice.below(4) {
            0 => (PacketType::Data, [&stream.to_bytes()[..], b"not what was sent"].concat()),
            1 => (dice.pick(&[PacketType::Ping, PacketType::Pong]), vec![0; 12]),
            2 => (PacketType::Confirm, noise(dice, 8)),
            _ => (PacketType::Control, items[..len].to_vec()),
        };
        Some(frame(way.dst, way.src, header(kind, None, conn, number), &body))
    })
}

/// Resets, plain and sealed, for the live connection.
pub fn resets() -> Forgery {
    Box::new(|heard, dice| {
        let way = heard.ways[dice.below(2) as usize];
        // It names the connection as the receiver's peer knows it.
        let back = heard.ways.iter().find(|back| back.dst == way.src)?.header?;
        let number = back.number.saturating_sub(dice.below(100));
        let why = dice.pick(&[Reset::UnknownConnection, Reset::KeyRequired, Reset::UnknownKey, Reset::Full]);
        let mut body = vec![why as u8];
        let seal = dice.hits(500).then_some(0);
        if seal.is_some() {
            body.extend(noise(dice, 16));
        }
        Some(frame(way.dst, way.src, header(PacketType::Reset, seal, back.conn, number), &body))
    })
}

/// Cookies, accepts, asks and versions, plain and sealed, that nobody has asked for.
pub fn answers() -> Forgery {
    Box::new(|heard, dice| {
        let (way, conn, number) = aim(heard, dice)?;
        let (nonce, mut body) = (dice.draw(), [0; 100]);
        let (kind, seal, body) = match dice.below(6) {
            0 => {
                let len = CookieReply { nonce, cookie: [1; COOKIE_LEN] }.emit(&mut body);
                (PacketType::Cookie, None, body[..len].to_vec())
            }
            1 => {
                let len = Accept { conn, nonce, params: PARAMS }.emit(&mut body);
                (PacketType::Accept, None, body[..len].to_vec())
            }
            2 => (PacketType::Cookie, Some(0), noise(dice, SEALED_COOKIE_LEN)),
            3 => (PacketType::Accept, Some(0), noise(dice, SEALED_ACCEPT_LEN)),
            4 => (PacketType::Ask, None, noise(dice, ASK_LEN)),
            _ => {
                let len = emit_version(&mut body, &[2]);
                (PacketType::Version, None, body[..len].to_vec())
            }
        };
        Some(frame(way.dst, way.src, header(kind, seal, conn, number), &body))
    })
}

/// What was recorded, again and again.
pub fn replay(tape: Vec<Vec<u8>>) -> Forgery {
    let mut rest = tape.into_iter().cycle();
    Box::new(move |_, _| rest.next())
}

/// Every frame at once again.
pub fn echoes() -> Forgery {
    Box::new(|heard, _| heard.latest.pop_back())
}

/// Frames of the moment with one bit flipped, anywhere behind the addresses, and a checksum made right.
pub fn flips() -> Forgery {
    Box::new(|heard, dice| {
        let mut frame = heard.latest.pop_back()?;
        let bit = 8 * 14 + dice.below(8 * (frame.len() as u64 - 14)) as usize;
        frame[bit / 8] ^= 1 << (bit % 8);
        Some(check(frame))
    })
}

/// The header of one packet in front of the rest of another.
pub fn splices() -> Forgery {
    Box::new(|heard, dice| {
        let new = heard.latest.pop_back()?;
        let last = std::mem::replace(&mut heard.last, new.clone());
        let (one, other) = if dice.hits(500) { (&last, &new) } else { (&new, &last) };
        let cut = 14 + HEADER_LEN;
        (last.len() > cut).then(|| check([&one[..cut], &other[cut..]].concat()))
    })
}

/// Packets cut short, made longer, or that lie about their length.
pub fn resizes() -> Forgery {
    Box::new(|heard, dice| {
        let mut frame = heard.latest.pop_back()?;
        let len = frame.len();
        match dice.below(3) {
            0 => frame.truncate(14 + dice.below(len as u64 - 14) as usize),
            1 => frame[16..18].copy_from_slice(&(dice.draw() as u16 % 1500).to_be_bytes()),
            _ => {
                frame.extend(noise(dice, 40));
                let body = (frame.len() - 14 - HEADER_LEN - TAG_LEN) as u16;
                frame[16..18].copy_from_slice(&body.to_be_bytes());
            }
        }
        Some(check(frame))
    })
}

fn check(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(packet) = frame.get_mut(14..)
        && let Ok(header) = Header::parse(packet)
        && !header.has_tag()
        && header.end() + CRC_LEN <= packet.len()
    {
        crc::emit(packet, header.end());
    }
    frame
}

/// Opens from a million addresses: with an unknown key, with a known key's id, and plain.
pub fn opens() -> Forgery {
    let mut n = 0;
    Box::new(move |_, _| {
        n += 1;
        Some(match n % 3 {
            0 => plain_open(someone(n)),
            1 => sealed_open(someone(n), key_id(7), n),
            _ => sealed_open(someone(n), key_id(9), n),
        })
    })
}

pub fn key_id(n: u8) -> KeyId {
    keyring(n).own().unwrap().key.id()
}

fn someone(n: u64) -> [u8; 6] {
    // Far apart from one to the next, and each of them once in a million.
    let [.., b, c, d] = (n * 7919 % ADDRESSES).to_be_bytes();
    [2, 77, 0, b, c, d]
}

pub fn sealed_open(src: [u8; 6], key: KeyId, n: u64) -> Vec<u8> {
    let message = [n as u8; NOISE_LEN + OFFER_LEN];
    let open = SealedOpen { conn: ConnId(n as u32 | 1), nonce: n, key, message, cookie: None, mac: [n as u8; 16] };
    let mut body = [0; SEALED_OPEN_LEN];
    open.emit(&mut body);
    frame(B.octets(), src, header(PacketType::Open, Some(0), ConnId(0), 0), &body)
}

pub fn plain_open(src: [u8; 6]) -> Vec<u8> {
    let mut body = [0; OPEN_LEN];
    Open { conn: ConnId(5), nonce: 5, params: PARAMS, cookie: None }.emit(&mut body);
    frame(B.octets(), src, header(PacketType::Open, None, ConnId(0), 0), &body)
}

/// Bytes and headers of every kind, some with right checksums, some with lengths that lie, to both hosts.
pub fn garbage() -> Forgery {
    Box::new(|heard, dice| {
        let way = heard.ways[dice.below(2) as usize];
        let (kind, len) = (dice.below(3), dice.pick(&[0, 20, 46, 200, 1400]));
        if kind == 0 {
            return Some([&way.dst[..], &way.src, &ETHERTYPE.to_be_bytes(), &noise(dice, len)].concat());
        }
        let of = PacketType::from_nibble(1 + dice.below(15) as u8).unwrap_or(PacketType::Data);
        let mut made =
            frame(way.dst, way.src, header(of, None, ConnId(dice.draw() as u32), dice.draw()), &noise(dice, len));
        made[15] = if kind == 1 { dice.draw() as u8 } else { 0 };
        Some(check(made))
    })
}

/// Packets of every kind to b, each in somebody's name: strangers' opens, and the peer's for the rest.
/// `ids` are a's and b's of the live connection.
pub fn kinds(ids: [ConnId; 2]) -> Vec<(&'static str, Vec<u8>)> {
    let [of_a, conn] = ids;
    let nobody = ConnId(conn.0 ^ 1);
    let to_b = |kind, seal, conn, len: usize| {
        let body: Vec<u8> = (0..len).map(|at| at as u8).collect();
        frame(B.octets(), A.octets(), header(kind, seal, conn, 9), &body)
    };
    let mut foreign = plain_open(someone(1));
    foreign[14] = 0x21;
    let mut query = [0; 200];
    let len = Query { name: "" }.emit(&mut query).expect("room");
    vec![
        ("sealed open, unknown key", sealed_open(someone(2), key_id(9), 2)),
        ("sealed open, our key's id", sealed_open(someone(3), key_id(7), 3)),
        ("plain open", plain_open(someone(4))),
        ("open of another version", foreign),
        ("query", frame(B.octets(), someone(5), header(PacketType::Query, None, ConnId(0), 1), &query[..len])),
        ("sealed data for nobody", to_b(PacketType::Data, Some(0), nobody, 32)),
        ("sealed control for nobody", to_b(PacketType::Control, Some(0), nobody, 0)),
        ("plain ping for nobody", to_b(PacketType::Ping, None, nobody, 12)),
        ("sealed data", to_b(PacketType::Data, Some(0), conn, 32)),
        ("sealed ping", to_b(PacketType::Ping, Some(1), conn, 12)),
        ("plain ping", to_b(PacketType::Ping, None, conn, 12)),
        ("plain reset", frame(B.octets(), A.octets(), header(PacketType::Reset, None, of_a, 0), &[0])),
        ("sealed reset", to_b(PacketType::Reset, Some(0), conn, 17)),
        ("ask", to_b(PacketType::Ask, None, nobody, ASK_LEN)),
        ("sealed accept", to_b(PacketType::Accept, Some(0), conn, SEALED_ACCEPT_LEN)),
        ("sealed cookie", to_b(PacketType::Cookie, Some(0), conn, SEALED_COOKIE_LEN)),
        ("version", to_b(PacketType::Version, None, conn, 1)),
    ]
}
