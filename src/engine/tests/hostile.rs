//! A peer that means harm: any packets at all, well-formed down to the CRC, for a live connection. The engine neither
//! panics nor grows nor loses a frame, and serves others afterwards.

use proptest::prelude::*;

use super::forged::forge_to;
use super::*;
use crate::base::{ConnId, StreamId};
use crate::wire::header::emit_trailer;
use crate::wire::{Ack, AckWords, Header, Item, Open, PacketType, Params, StreamHeader};

/// Streams that a peer may open here.
const MAX_STREAMS: u32 = 8;

/// What one forged packet is like; numbers become fields where they fit.
#[derive(Clone, Debug)]
struct Forged {
    kind: u8,
    /// Whose connection: the live one, nobody's, the next generation's, any.
    conn: u8,
    /// From the peer, or from someone else.
    stranger: bool,
    /// What the packet number is counted from.
    number: (u8, u64),
    items: Vec<(u8, u32, u64, u64)>,
    stream: u32,
    offset: u64,
    payload: u16,
    fin: bool,
    raw: Option<Vec<u8>>,
}

fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..70u64,
        1 => 0..5000u64,
        1 => (0..70u64).prop_map(|less| (1 << 22) - less),
        1 => (0..70u64).prop_map(|less| u64::from(u32::MAX) - less),
        1 => (0..70u64).prop_map(|less| (1 << 58) - less),
        1 => (0..70u64).prop_map(|less| u64::MAX - less),
        1 => any::<u64>(),
    ]
}

fn narrow() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..20u32, 1 => (0..4u32).prop_map(|less| u32::MAX - less), 1 => any::<u32>()]
}

fn forged() -> impl Strategy<Value = Forged> {
    let head = (
        prop_oneof![4 => Just(5u8), 4 => Just(6u8), 3 => 0..16u8],
        prop_oneof![8 => Just(0u8), 1 => 1..4u8],
        prop::bool::weighted(0.05),
        (0..4u8, edge()),
    );
    let items = prop::collection::vec((0..11u8, narrow(), edge(), edge()), 0..6);
    let data = (narrow(), edge(), prop_oneof![0..40u16, 1300..1464u16], prop::bool::weighted(0.2));
    let raw = prop::option::weighted(0.1, prop::collection::vec(any::<u8>(), 0..100));
    (head, items, data, raw).prop_map(|((kind, conn, stranger, number), items, (stream, offset, payload, fin), raw)| {
        Forged { kind, conn, stranger, number, items, stream, offset, payload, fin, raw }
    })
}

fn put_item(item: &(u8, u32, u64, u64), out: &mut Vec<u8>) {
    let &(kind, small, a, b) = item;
    let (stream, words) = (StreamId(small), [a, b, u64::MAX]);
    let ack = |largest, floor, first_word| {
        let words = AckWords::Native(&words[..small as usize % 4]);
        Item::Ack(Ack { largest, delay_ns: small, floor, first_word, words })
    };
    let item = match kind {
        0 => ack(a, b, a / 64),
        1 => ack(b, a, 0),
        2 => Item::ConnCredit { segments: a },
        3 => Item::StreamCredit { stream, limit: a },
        4 => Item::StreamReset { stream, code: small, segments: b },
        5 => Item::StreamStop { stream, code: small },
        6 => Item::StreamsLimit { streams: a },
        7 => Item::Lowest { number: a },
        8 => Item::Finish,
        9 if a % 8 == 0 => Item::Close { code: small, reason: "harm" },
        _ => Item::Probe,
    };
    let mut room = [0; 128];
    if let Some(len) = item.emit(&mut room) {
        out.extend(&room[..len]);
    }
}

impl Forged {
    fn body(&self, kind: PacketType) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut items = Vec::new();
        self.items.iter().for_each(|item| put_item(item, &mut items));
        match kind {
            PacketType::Data => {
                let (stream, lowest_distance) = (StreamId(self.stream), self.items.first().map_or(0, |item| item.1));
                let mut body = StreamHeader { stream, lowest_distance, offset: self.offset }.to_bytes().to_vec();
                let payload = usize::from(self.payload).min(1460 - items.len());
                body.resize(body.len() + payload, 7);
                if !items.is_empty() {
                    body.extend(&items);
                    body.extend([0; 2]);
                    let end = body.len();
                    emit_trailer(&mut body[end - 2..], items.len() as u16);
                }
                body
            }
            PacketType::Open => {
                let mut body = vec![0; crate::wire::open::OPEN_LEN];
                let params = Params {
                    mtu: self.payload,
                    streams: self.stream,
                    idle_timeout_ms: self.stream,
                    conn_credit: self.offset,
                    stream_credit: self.offset,
                };
                Open { conn: ConnId(self.stream), nonce: self.number.1, params, cookie: None }.emit(&mut body);
                body
            }
            _ => items,
        }
    }

    fn frame(&self, world: &World, host: usize, key: ConnId, last: &mut u64) -> Vec<u8> {
        let kind = PacketType::from_nibble(self.kind).unwrap_or(PacketType::Control);
        let body = self.body(kind);
        let conn = [key, ConnId(0), ConnId(key.0 ^ 1), ConnId(self.stream)][usize::from(self.conn)];
        let number = match self.number {
            (0, edge) => edge,
            (1, edge) => last.wrapping_add(edge),
            _ => last.wrapping_add(1),
        };
        if self.number.0 > 1 {
            *last = number;
        }
        let (trailer, fin) = (kind == PacketType::Data && !self.items.is_empty(), kind == PacketType::Data && self.fin);
        let header = Header { kind, fin, trailer: trailer && self.raw.is_none(), seal: None, length: 0, conn, number };
        let macs = [world.a.mac, world.b.mac];
        let src = if self.stranger { MacAddr::new(2, 9, 9, 9, 9, 9) } else { macs[1 - host] };
        forge_to(macs[host], src, header, &body)
    }
}

/// An application that takes what comes: reads some, keeps some, drops some.
#[derive(Default)]
struct Victim {
    ports: Vec<StreamPort>,
}

impl Victim {
    fn act(&mut self, conn: &ConnPort, dice: &mut Dice) {
        while let Ok(port) = conn.streams.try_recv() {
            self.ports.push(port);
        }
        self.ports.retain_mut(|port| {
            if dice.hits(300) {
                read(&mut port.recv, &mut Vec::new());
            }
            if dice.hits(100) {
                write(&mut port.send, &mut &b"answer"[..], &mut false);
            }
            !dice.hits(20)
        });
    }
}

fn attack(packets: &[Forged], host: usize, seed: u64) {
    let proto = Config { max_streams: MAX_STREAMS, ..Config::default() };
    let mut world = World::new(MemoryConfig { frames: 1024, rx_reserve: 256, ..Default::default() }, proto);
    let before = [&world.a, &world.b].map(|host| (all_frames(host), host.engine.endpoint.inventory()));
    let (conns, stream, peer) = world.connect_stream();
    let (mut victims, mut dice) = ([Victim::default(), Victim::default()], Dice::new(seed));
    victims[0].ports.push(stream);
    victims[1].ports.push(peer);
    let mut last = 50;
    for packet in packets {
        let frame = packet.frame(&world, host, conns[host].key, &mut last);
        [&mut world.a, &mut world.b][host].engine.link.forged.push_back(frame);
        world.step();
        for (victim, conn) in victims.iter_mut().zip(&conns) {
            victim.act(conn, &mut dice);
        }
        for host in [&world.a, &world.b] {
            assert!(host.engine.streams.len() <= 40 && host.engine.by_slot.len() <= 40, "streams without limit");
            assert!(host.engine.tx.len() <= 4 * BURST && host.engine.endpoint.connections() < 200);
        }
    }
    drop(victims);
    for (host, conn) in [(&world.a, &conns[0]), (&world.b, &conns[1])] {
        // A forged OPEN and a lucky id make a connection as well, whose streams are the application's until it lets go.
        let others = host.incoming.try_iter().map(|port| port.key);
        for conn in others.chain([conn.key]) {
            host.order(Command::Close { conn, code: 0, reason: "enough".into() });
        }
    }
    for _ in 0..4_000 {
        world.now += MILLISECOND;
        world.step();
    }
    for (host, before) in [&world.a, &world.b].into_iter().zip(before) {
        assert_eq!((all_frames(host), host.engine.endpoint.inventory()), before);
        assert!(host.engine.streams.is_empty() && host.engine.conns.is_empty());
    }
    // Others are served as ever.
    world.connect_stream();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]
    #[test]
    fn harm_ends_with_who_does_it(
        packets in prop::collection::vec(forged(), 1..150),
        host in 0..2usize,
        seed in any::<u64>(),
    ) {
        attack(&packets, host, seed);
    }
}

/// `HARM_CASES` runs more than the suite does.
fn cases() -> u32 {
    std::env::var("HARM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}
