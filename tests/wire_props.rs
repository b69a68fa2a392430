//! Properties of the wire types: what is emitted is parsed as it was, and no bytes whatever do harm.

#[path = "../fuzz/src/packet/everything.rs"]
mod everything;

use farwire::base::{ConnId, KeyId, MacAddr, StreamId};
use farwire::wire::ack::MAX_ACK_WORDS;
use farwire::wire::discover::{MAX_NAME_LEN, MAX_SERVICE_LEN, QUERY_LEN};
use farwire::wire::header::{PAYLOAD_OFFSET, emit_data, emit_trailer, split_data};
use farwire::wire::item::MAX_REASON_LEN;
use farwire::wire::open::{ACCEPT_LEN, COOKIE_LEN, OPEN_LEN};
use farwire::wire::sealed::{ANSWER_LEN, MAC_LEN, NOISE_LEN, OFFER_LEN, SEALED_OPEN_LEN};
use farwire::wire::version::{MAX_VERSIONS, emit_version, parse_version};
use farwire::wire::{
    Accept, Ack, AckWords, Announce, Answer, Ask, Confirm, CookieReply, ETHERTYPE, Ethernet, HEADER_LEN, Header, Item,
    Items, Offer, Open, PacketType, Params, Ping, Query, Reset, SealedAccept, SealedCookie, SealedOpen, SealedReset,
    StreamHeader, VERSION, Vlan, crc, pretty,
};
use proptest::prelude::*;

/// An item that owns what the real one borrows.
#[derive(Clone, Debug)]
enum Owned {
    Ack { largest: u64, delay_ns: u32, floor: u64, first_word: u64, words: Vec<u64> },
    Close { code: u32, reason: String },
    Other(Item<'static>),
}

impl Owned {
    fn item(&self) -> Item<'_> {
        match self {
            Owned::Ack { largest, delay_ns, floor, first_word, words } => Item::Ack(Ack {
                largest: *largest,
                delay_ns: *delay_ns,
                floor: *floor,
                first_word: *first_word,
                words: AckWords::Native(words),
            }),
            Owned::Close { code, reason } => Item::Close { code: *code, reason },
            Owned::Other(item) => *item,
        }
    }
}

/// Numbers of every size, the extremes among them.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), (0u32..64, any::<u64>()).prop_map(|(bits, value)| value >> bits)]
}

fn text(max_len: usize) -> impl Strategy<Value = String> {
    // letters of one to four bytes
    prop::collection::vec(prop::sample::select(vec!['a', 'Z', '-', 'ü', '火', '🦀']), 0..=max_len).prop_map(
        move |all| {
            let fits = |text: &String, letter: &char| text.len() + letter.len_utf8() <= max_len;
            all.into_iter().fold(
                String::new(),
                |text, letter| if fits(&text, &letter) { text + &letter.to_string() } else { text },
            )
        },
    )
}

fn ack() -> impl Strategy<Value = Owned> {
    let words = prop::collection::vec(number(), 0..=MAX_ACK_WORDS);
    (number(), any::<u32>(), number(), number(), words).prop_map(|(largest, delay_ns, floor, first_word, words)| {
        let first_word = first_word.min((1 << 58) - words.len() as u64);
        Owned::Ack { largest, delay_ns, floor, first_word, words }
    })
}

fn item() -> impl Strategy<Value = Owned> {
    let stream = any::<u32>().prop_map(StreamId);
    prop_oneof![
        ack(),
        (any::<u32>(), text(MAX_REASON_LEN)).prop_map(|(code, reason)| Owned::Close { code, reason }),
        (stream, any::<u32>(), number(), 0..8).prop_map(|(stream, code, number, which)| Owned::Other(match which {
            0 => Item::ConnCredit { segments: number },
            1 => Item::StreamCredit { stream, limit: number },
            2 => Item::StreamReset { stream, code, segments: number },
            3 => Item::StreamStop { stream, code },
            4 => Item::StreamsLimit { streams: number },
            5 => Item::Lowest { number },
            6 => Item::Finish,
            _ => Item::Probe,
        })),
    ]
}

fn params() -> impl Strategy<Value = Params> {
    (any::<u16>(), any::<u32>(), number(), number(), any::<u32>()).prop_map(
        |(mtu, streams, conn_credit, stream_credit, idle_timeout_ms)| Params {
            mtu,
            streams,
            conn_credit,
            stream_credit,
            idle_timeout_ms,
        },
    )
}

fn header() -> impl Strategy<Value = Header> {
    let kinds: Vec<PacketType> = (0..16).filter_map(PacketType::from_nibble).collect();
    let seal = prop::option::of(0u8..4);
    (prop::sample::select(kinds), any::<(bool, bool, u16, u32)>(), seal, number()).prop_map(
        |(kind, (fin, trailer, length, conn), seal, number)| {
            let (data, opens) = (kind == PacketType::Data, [1, 2, 3, 9].contains(&(kind as u8)));
            let seal = seal.map(|phase| if opens { 0 } else { phase }).filter(|_| opens || kind.is_of_connection());
            Header { kind, fin: fin && data, trailer: trailer && data, seal, length, conn: ConnId(conn), number }
        },
    )
}

/// Bytes that are not all the same.
fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    prop::collection::vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap_or([0; N]))
}

proptest! {
    #[test]
    fn ethernet(dst: [u8; 6], src: [u8; 6], tag in prop::option::of((0u16..4096, 0u8..8)), ethertype: u16) {
        prop_assume!(ethertype != 0x8100);
        let vlan = tag.map(|(id, pcp)| Vlan { id, pcp });
        let header = Ethernet { dst: MacAddr::from(dst), src: MacAddr::from(src), vlan, ethertype };
        let mut out = [0xEE; 24];
        let len = header.emit(&mut out);
        prop_assert_eq!(len, header.len());
        prop_assert_eq!(&out[len..], &[0xEE; 24][len..]);
        prop_assert_eq!(Ethernet::parse(&out), Some((header, len)));
        prop_assert_eq!(Ethernet::parse(&out[..len - 1]), None);
    }

    #[test]
    fn headers(header in header()) {
        let mut out = [0xEE; HEADER_LEN + 4];
        prop_assert_eq!(header.emit(&mut out), HEADER_LEN);
        prop_assert_eq!(&out[HEADER_LEN..], &[0xEE; 4]);
        prop_assert_eq!(Header::parse(&out), Ok(header));
        prop_assert_eq!(Header::peek(&out), Some((VERSION, header.kind as u8, header.conn)));
    }

    #[test]
    fn opening(conn: u32, nonce: u64, params in params(), cookie in prop::option::of(any::<[u8; COOKIE_LEN]>())) {
        let mut out = [0xEE; OPEN_LEN];
        let open = Open { conn: ConnId(conn), nonce, params, cookie };
        prop_assert_eq!(open.emit(&mut out), OPEN_LEN);
        prop_assert_eq!(Open::parse(&out), Ok(open));
        prop_assert_eq!(Open::peek(&out), Some((open.conn, nonce)));
        let reply = CookieReply { nonce, cookie: cookie.unwrap_or([9; COOKIE_LEN]) };
        let len = reply.emit(&mut out);
        prop_assert_eq!(CookieReply::parse(&out[..len]), Ok(reply));
        let accept = Accept { conn: ConnId(conn), nonce, params };
        prop_assert_eq!(accept.emit(&mut out), ACCEPT_LEN);
        prop_assert_eq!(Accept::parse(&out[..ACCEPT_LEN]), Ok(accept));
        let len = Confirm { nonce }.emit(&mut out);
        prop_assert_eq!(Confirm::parse(&out[..len]), Ok(Confirm { nonce }));
    }

    #[test]
    fn opening_with_a_key(
        ids: (u32, u64, [u8; 8]), params in params(), numbers: [u8; 3],
        cookie in prop::option::of(bytes::<COOKIE_LEN>()),
        first in bytes::<{ NOISE_LEN + OFFER_LEN }>(), second in bytes::<{ NOISE_LEN + ANSWER_LEN }>(),
        mac in bytes::<MAC_LEN>(), code in 0u8..6,
    ) {
        let ((conn, nonce, key), mut out) = (ids, [0xEE; SEALED_OPEN_LEN + 1]);
        let (conn, key) = (ConnId(conn), KeyId(key));
        let open = SealedOpen { conn, nonce, key, message: first, cookie, mac };
        prop_assert_eq!(open.emit(&mut out), SEALED_OPEN_LEN);
        prop_assert_eq!(SealedOpen::parse(&out[..SEALED_OPEN_LEN]), Ok(open));
        prop_assert_eq!(&open.covered()[..], &out[..SEALED_OPEN_LEN - MAC_LEN], "all in front of the MAC");
        prop_assert_eq!(Open::peek(&out), Some((conn, nonce)), "as in every version");
        prop_assert!(SealedOpen::parse(&out).is_err() && out[SEALED_OPEN_LEN] == 0xEE);
        let (accept, reply) = (
            SealedAccept { nonce, message: second, mac },
            SealedCookie { nonce, cookie: cookie.unwrap_or([9; COOKIE_LEN]), mac },
        );
        let len = accept.emit(&mut out);
        prop_assert_eq!(SealedAccept::parse(&out[..len]), Ok(accept));
        prop_assert_eq!(&accept.covered()[..], &out[..len - MAC_LEN]);
        let len = reply.emit(&mut out);
        prop_assert_eq!(SealedCookie::parse(&out[..len]), Ok(reply));
        prop_assert_eq!(&reply.covered()[..], &out[..len - MAC_LEN]);
        let ask = Ask { key, nonce, mac };
        let len = ask.emit(&mut out);
        prop_assert_eq!(Ask::parse(&out[..len]), Ok(ask));
        let reset = SealedReset { why: Reset::parse(&[code]).unwrap(), mac };
        let len = reset.emit(&mut out);
        prop_assert_eq!(SealedReset::parse(&out[..len]), Ok(reset));
        prop_assert!(SealedReset::parse(&out[..len + 1]).is_err() && SealedReset::parse(&out[..len - 1]).is_err());
        let [ciphers, prefers, cipher] = numbers;
        let (offer, answer) = (Offer { params, ciphers, prefers }, Answer { params, conn, cipher });
        prop_assert_eq!(Offer::parse(&offer.to_bytes()), Ok(offer));
        prop_assert_eq!(Answer::parse(&answer.to_bytes()), Ok(answer));
    }

    #[test]
    fn discovery(nonce: u64, mtu: u16, name in text(MAX_NAME_LEN), service in text(MAX_SERVICE_LEN)) {
        let mut out = [0xEE; QUERY_LEN];
        let announce = Announce { nonce, name: &name, service: &service, mtu };
        let len = announce.emit(&mut out).unwrap();
        prop_assert_eq!(Announce::parse(&out[..len]), Ok(announce));
        prop_assert_eq!(Query { name: &name }.emit(&mut out), Some(QUERY_LEN));
        prop_assert_eq!(Query::parse(&out), Ok(Query { name: &name }));
    }

    #[test]
    fn pings_and_versions(
        id: u64, hold_ns: u32, body_len in 0usize..300, list in prop::collection::vec(0u8..16, 0..=MAX_VERSIONS),
    ) {
        let mut out = [0xEE; 200];
        let len = Ping { id, hold_ns }.emit(&mut out, body_len);
        prop_assert_eq!(len, body_len.clamp(12, 200));
        prop_assert_eq!(Ping::parse(&out[..len]), Ok(Ping { id, hold_ns }));
        let len = emit_version(&mut out, &list);
        prop_assert_eq!(parse_version(&out[..len]), Ok(&list[..]));
        for code in 0..6 {
            let reset = Reset::parse(&[code]).unwrap();
            let len = reset.emit(&mut out);
            prop_assert_eq!((&out[..len], Reset::parse(&out[..len])), (&[code][..], Ok(reset)));
        }
        prop_assert!(Reset::parse(&[6]).is_err());
    }

    #[test]
    fn items(items in prop::collection::vec(item(), 0..12)) {
        let mut out = vec![0xEE; items.iter().map(|item| item.item().len()).sum()];
        let mut at = 0;
        for item in &items {
            let item = item.item();
            let len = item.emit(&mut out[at..]).unwrap();
            prop_assert_eq!(len, item.len());
            prop_assert_eq!(item.emit(&mut vec![0; len - 1]), None);
            at += len;
        }
        let seen: Vec<_> = Items::new(&out).map(Result::unwrap).collect();
        prop_assert_eq!(seen, items.iter().map(Owned::item).collect::<Vec<_>>());
    }

    #[test]
    fn data_packets(
        stream: u32, lowest_distance: u32, offset in number(), payload in prop::collection::vec(any::<u8>(), 0..200),
        items in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)), padding in 0usize..30,
    ) {
        let offset = offset.min(u64::MAX - payload.len() as u64);
        let stream = StreamHeader { stream: StreamId(stream), lowest_distance, offset };
        let tail = items.as_ref().map_or(0, |items| items.len() + 2);
        let length = (16 + payload.len() + tail) as u16;
        let (kind, trailer, conn) = (PacketType::Data, tail > 0, ConnId(1));
        let header = Header { kind, fin: false, trailer, seal: None, length, conn, number: 2 };
        let mut packet = vec![0xEE; header.end() + 4 + padding];
        emit_data(&mut packet, &header, &stream);
        packet[PAYLOAD_OFFSET..][..payload.len()].copy_from_slice(&payload);
        if let Some(items) = &items {
            let behind = &mut packet[PAYLOAD_OFFSET + payload.len()..];
            behind[..items.len()].copy_from_slice(items);
            emit_trailer(&mut behind[items.len()..], items.len() as u16);
        }
        prop_assert_eq!(crc::emit(&mut packet, header.end()), header.end() + 4);
        prop_assert!(crc::check(&packet, header.end()));
        prop_assert_eq!(Header::parse(&packet), Ok(header));
        let body = header.body(&packet).unwrap();
        let (seen, range, rest) = split_data(body, header.trailer).unwrap();
        prop_assert_eq!(seen, stream);
        prop_assert_eq!(&body[range], &payload[..]);
        prop_assert_eq!(rest, items.as_deref().unwrap_or_default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        let bytes = bytes.into_boxed_slice(); // no spare room behind the end
        everything::parse(&bytes);
        _ = pretty::frame(&bytes, ETHERTYPE).to_string();
        _ = pretty::packet(&bytes).to_string();
    }

    #[test]
    fn a_random_body_behind_a_right_header_does_no_harm(
        header in header(), body in prop::collection::vec(prop_oneof![3 => 0u8..12, 1 => any::<u8>()], 0..160),
        claimed in prop::option::of(any::<u16>()), cut in 0usize..40,
    ) {
        let header = Header { length: claimed.unwrap_or(body.len() as u16), ..header };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(&body);
        packet.extend([0; 16]);
        if header.end() + 4 <= packet.len() && !header.has_tag() {
            crc::emit(&mut packet, header.end());
        }
        packet.truncate(packet.len() - cut.min(packet.len()));
        let packet = packet.into_boxed_slice();
        let line = pretty::packet(&packet).to_string();
        prop_assert!(!line.is_empty() && !line.contains('\u{1b}'), "{line}");
        match header.body(&packet) {
            Ok(body) => everything::parse(body),
            Err(_) => prop_assert!(packet.len() < header.end()),
        }
    }
}
