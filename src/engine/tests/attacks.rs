//! A host on the same segment that hears everything, reaches everybody, and knows everything but the key: the others'
//! sealed connection goes on, nothing of it is believed, and none of its packets is answered with more than it sent.

use std::sync::{Arc, Mutex};

use super::forged::{forge_to, header};
use super::*;
use crate::base::size::MIN_FRAME_LEN;
use crate::base::{ConnId, StreamId};
use crate::crypto::{Key, Keyring, NamedKey};
use crate::engine::port::PingRun;
use crate::proto::config::Security;
use crate::wire::open::COOKIE_LEN;
use crate::wire::sealed::SEALED_OPEN_LEN;
use crate::wire::{
    Accept, Ack, AckWords, CRC_LEN, CookieReply, HEADER_LEN, Header, Item, PacketType, Params, Reset, SealedOpen,
    StreamHeader, crc,
};

pub(super) const PARAMS: Params =
    Params { mtu: 1500, streams: 100, conn_credit: 4096, stream_credit: 1 << 20, idle_timeout_ms: 30_000 };

pub(super) fn keyring(n: u8) -> Keyring {
    let key = Key::from_bytes(std::array::from_fn(|at| at as u8 ^ n));
    Keyring::new(NamedKey::new(format!("key {n}"), key))
}

pub(super) fn sealed() -> Config {
    Config { security: Security::Keys(keyring(0)), ..Config::default() }
}

/// The same with an endpoint that has no connection yet, and other secrets but the key.
pub(super) fn restart(old: Host, seed: u8, proto: Config) -> Host {
    host(old.engine.link, seed, proto, Waker::noop().clone())
}

/// What a host has received, in this order.
pub(super) type Tape = Arc<Mutex<Vec<Vec<u8>>>>;

pub(super) fn record(host: &mut Host) -> Tape {
    let tape = Tape::default();
    let heard = tape.clone();
    host.engine.link.listener = Some(Box::new(move |frame| {
        heard.lock().unwrap().push(frame.to_vec());
        Vec::new()
    }));
    tape
}

pub(super) fn kind(frame: &[u8]) -> Option<PacketType> {
    PacketType::from_nibble(frame[14] & 15)
}

/// With a right checksum, where there is one.
pub(super) fn check(mut frame: Vec<u8>) -> Vec<u8> {
    let packet = &mut frame[14..];
    if let Ok(header) = Header::parse(packet)
        && !header.has_tag()
        && header.end() + CRC_LEN <= packet.len()
    {
        crc::emit(packet, header.end());
    }
    frame
}

/// Padded as every frame on a wire is.
pub(super) fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(MIN_FRAME_LEN), 0);
    frame
}

pub(super) fn count(host: &Host, name: &str) -> u64 {
    host.engine.endpoint.counters_now().iter().find(|(of, _)| *of == name).expect("a counter").1
}

fn dropped(host: &Host) -> u64 {
    let counters = host.engine.endpoint.counters_now().iter();
    counters.filter(|(name, _)| name.starts_with("drop_")).map(|(_, count)| count).sum()
}

/// Moves `len` bytes from a to b over an open stream, some at every step, before which `harm` does its worst until it
/// says that there is no more. They arrive, and nothing else does.
pub(super) fn carry(
    world: &mut World,
    [stream, peer]: [&mut StreamPort; 2],
    len: usize,
    mut harm: impl FnMut(&mut World) -> bool,
) {
    let data = pattern(len);
    let (mut written, mut got) = (0, Vec::new());
    world.until("all bytes", |world| {
        let more = harm(world);
        let mut rest = &data[written..data.len().min(written + 2000)];
        let room = rest.len();
        write(&mut stream.send, &mut rest, &mut false);
        written += room - rest.len();
        assert!(!read(&mut peer.recv, &mut got), "it ended");
        (got.len() >= len && !more).then_some(())
    });
    world.step();
    assert!(got == data, "other bytes than were sent");
}

pub(super) fn assert_open(conns: &[ConnPort]) {
    conns.iter().for_each(|conn| assert_eq!(conn.shared.closed.get(), None));
}

fn ping(world: &mut World, conn: &ConnPort) {
    let (reply, answer) = bounded(1);
    let run = PingRun { count: 3, size: 64, interval_ns: 0, timeout_ns: SECOND };
    world.a.order(Command::Ping { conn: conn.key, run, reply });
    let report = world.until("echoes", |_| answer.try_recv().ok());
    assert_eq!(report.received, 3);
}

/// Time passes, a millisecond at a time.
pub(super) fn pass(world: &mut World, span_ns: Nanos) {
    for _ in 0..span_ns / MILLISECOND {
        world.now += MILLISECOND;
        world.step();
    }
}

/// A plain reset to a, in b's name, for the id that a knows b's end under.
pub(super) fn forged_reset(world: &World, theirs: &ConnPort, number: u64) -> Vec<u8> {
    let body = [Reset::UnknownConnection as u8];
    forge_to(world.a.mac, world.b.mac, header(PacketType::Reset, theirs.key, number), &body)
}

/// Replays into both hosts, one frame each a step.
fn again(heard: &[Vec<Vec<u8>>; 2]) -> impl FnMut(&mut World) -> bool + use<> {
    let mut rest = heard.clone().map(VecDeque::from);
    move |world| {
        for (host, rest) in [&mut world.a, &mut world.b].into_iter().zip(&mut rest) {
            host.engine.link.forged.extend(rest.pop_front());
        }
        rest.iter().any(|rest| !rest.is_empty())
    }
}

#[test]
fn a_plain_answer_to_a_sealed_open_is_not_believed() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let (a, b) = (world.a.mac, world.b.mac);
    // The open is heard, and answered before b gets it.
    let answers = Tape::default();
    let made = answers.clone();
    world.b.engine.link.listener = Some(Box::new(move |frame| {
        if kind(frame) == Some(PacketType::Open) {
            let open = SealedOpen::parse(&frame[14 + HEADER_LEN..][..SEALED_OPEN_LEN]).unwrap();
            let mut body = [0; 100];
            let answer = |kind, body: &[u8]| forge_to(a, b, header(kind, open.conn, 0), body);
            let len = Accept { conn: ConnId(7), nonce: open.nonce, params: PARAMS }.emit(&mut body);
            let accept = answer(PacketType::Accept, &body[..len]);
            let len = CookieReply { nonce: open.nonce, cookie: [9; COOKIE_LEN] }.emit(&mut body);
            made.lock().unwrap().extend([accept, answer(PacketType::Cookie, &body[..len])]);
        }
        Vec::new()
    }));
    let (reply, answer) = bounded(1);
    let options = ConnectOptions { peer: b, timeout_ns: SECOND };
    world.a.order(Command::Connect { options, reply });
    world.a.turn(world.now);
    // Up to where b has heard the open.
    world.b.engine.receive(world.now);
    world.a.engine.link.forged.extend(answers.lock().unwrap().drain(..));
    let tape = record(&mut world.b);
    world.a.turn(world.now);
    assert!(answer.try_recv().is_err(), "connected with who has no key");
    assert_eq!(count(&world.a, "drop_unsealed"), 2);
    let ours = world.until("connected", |_| answer.try_recv().ok()).expect("with the real one");
    let theirs = world.until("accepted", |world| world.b.incoming.try_recv().ok());
    let _stream = world.open_stream(&ours);
    world.steps(MILLISECOND);
    let heard = tape.lock().unwrap();
    assert!(heard.iter().all(|frame| frame[15] & 4 != 0), "something left in the clear");
    assert_open(&[ours, theirs]);
}

#[test]
fn what_was_said_is_not_heard_again() {
    let proto = Config { require_cookie: true, ..sealed() };
    let mut world = World::new(MemoryConfig::default(), proto.clone());
    let tapes = [record(&mut world.a), record(&mut world.b)];
    let (conns, mut stream, mut peer) = world.connect_stream();
    ping(&mut world, &conns[0]);
    let reset = forged_reset(&world, &conns[1], 0);
    world.a.engine.link.forged.push_back(reset);
    carry(&mut world, [&mut stream, &mut peer], 100_000, |_| false);
    let heard = tapes.map(|tape| std::mem::take(&mut *tape.lock().unwrap()));
    let kinds: Vec<_> = heard.iter().flatten().filter_map(|frame| kind(frame)).collect();
    use PacketType::*;
    for of in [Open, Cookie, Accept, Confirm, Data, Control, Ping, Pong, Ask] {
        assert!(kinds.contains(&of), "no {of:?} was heard");
    }
    [&mut world.a, &mut world.b].into_iter().for_each(|host| host.engine.link.listener = None);
    // To the same connection, at once and long after.
    for _ in 0..2 {
        let before = [&world.a, &world.b].map(dropped);
        carry(&mut world, [&mut stream, &mut peer], 300_000, again(&heard));
        assert_open(&conns);
        let accepts = kinds.iter().filter(|kind| **kind == Accept).count();
        for (at, host) in [&world.a, &world.b].into_iter().enumerate() {
            // An accept may have come again because its confirm was lost: a says it again.
            let least = heard[at].len() - if at == 0 { accepts } else { 0 };
            assert!(dropped(host) - before[at] >= least as u64, "{:?}", host.engine.endpoint.counters_now());
        }
        pass(&mut world, 20 * SECOND);
    }
    // To the next connection.
    world.a.order(Command::Close { conn: conns[0].key, code: 0, reason: "enough".into() });
    pass(&mut world, 3 * SECOND);
    drop((conns, stream, peer));
    let (conns, mut stream, mut peer) = world.connect_stream();
    carry(&mut world, [&mut stream, &mut peer], 300_000, again(&heard));
    assert_open(&conns);
    // To hosts that were restarted since.
    let World { now, a, b } = world;
    let mut world = World { now, a: restart(a, 3, proto.clone()), b: restart(b, 4, proto) };
    world.step();
    let (conns, mut stream, mut peer) = world.connect_stream();
    carry(&mut world, [&mut stream, &mut peer], 300_000, again(&heard));
    assert_open(&conns);
    pass(&mut world, 3 * SECOND);
    assert_eq!([&world.a, &world.b].map(|host| host.engine.endpoint.connections()), [1, 1], "opens of old stayed");
    assert!(world.b.incoming.is_empty(), "an open of old was taken for another");
}

/// Opens of old say nothing new, but that they are of old can't be seen: for a moment they hold a place, up to as many
/// as may be held before a cookie is asked for, which they do not have.
#[test]
fn opens_of_old_hold_few_places_and_not_for_long() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let tape = record(&mut world.b);
    for _ in 0..50 {
        let conns = world.connect();
        world.a.order(Command::Close { conn: conns.0.key, code: 0, reason: "enough".into() });
        world.until("closed", |_| conns.1.shared.closed.get().map(|_| ()));
    }
    let heard = std::mem::take(&mut *tape.lock().unwrap());
    let opens: Vec<_> = heard.into_iter().filter(|frame| kind(frame) == Some(PacketType::Open)).collect();
    assert!(opens.len() >= 50);
    let World { now, a, b } = world;
    let mut world = World { now, a, b: restart(b, 4, sealed()) };
    world.step();
    for _ in 0..20 {
        world.b.engine.link.forged.extend(opens.iter().cloned());
        world.step();
        assert!(world.b.engine.endpoint.connections() <= Config::default().max_half_open);
    }
    let (_conns, ..) = world.connect_stream();
    pass(&mut world, 3 * SECOND);
    assert_eq!(world.b.engine.endpoint.connections(), 1);
    assert!(world.b.incoming.is_empty());
}

/// What an attacker makes of two packets that it has heard, one after the other.
type Forgery = fn(&mut Dice, last: &[u8], heard: &[u8]) -> Vec<u8>;

/// A transfer, of whose every packet, and of the handshake's, forgeries arrive first.
fn with_forgeries(forgery: Forgery) -> World {
    let proto = Config { require_cookie: true, ..sealed() };
    let mut world = World::new(MemoryConfig::default(), proto);
    for (seed, host) in [(1, &mut world.a), (2, &mut world.b)] {
        let (mut dice, mut last) = (Dice::new(seed), vec![0; 80]);
        host.engine.link.listener = Some(Box::new(move |frame| {
            let forged = (0..3).map(|_| check(forgery(&mut dice, &last, frame))).collect();
            last = frame.to_vec();
            forged
        }));
    }
    let (conns, mut stream, mut peer) = world.connect_stream();
    ping(&mut world, &conns[0]);
    carry(&mut world, [&mut stream, &mut peer], 500_000, |_| false);
    assert_open(&conns);
    for host in [&world.a, &world.b] {
        assert_eq!(host.engine.endpoint.connections(), 1);
        assert!(count(host, "drop_unauthentic") > 20, "{:?}", host.engine.endpoint.counters_now());
    }
    world
}

fn where_the_body_ends(frame: &[u8]) -> usize {
    Header::parse(&frame[14..]).map_or(frame.len(), |header| (14 + header.end()).min(frame.len()))
}

#[test]
fn a_flipped_bit_anywhere_spoils_a_packet() {
    with_forgeries(|dice, _, heard| {
        let mut frame = heard.to_vec();
        let bit = dice.below(8 * (heard.len() as u64 - 14)) as usize + 8 * 14;
        frame[bit / 8] ^= 1 << (bit % 8);
        frame
    });
}

#[test]
fn the_header_of_one_packet_does_not_fit_the_body_of_another() {
    with_forgeries(|dice, last, heard| {
        let [one, other] = if dice.hits(500) { [last, heard] } else { [heard, last] };
        let cut = if dice.hits(700) { 14 + HEADER_LEN } else { 14 + dice.below(60 - 14) as usize };
        [&one[..cut], &other[cut..]].concat()
    });
}

#[test]
fn a_longer_or_shorter_packet_is_another() {
    with_forgeries(|dice, _, heard| {
        let end = where_the_body_ends(heard);
        let mut frame = heard.to_vec();
        let by = 1 + dice.below(40) as usize;
        let len = match dice.below(4) {
            0 => return frame[..frame.len() - by.min(frame.len() - 14)].to_vec(),
            1 => (end - 14 - HEADER_LEN).saturating_sub(by),
            2 => {
                let by = by.min(1514 - frame.len());
                frame.splice(end..end, vec![0; by]);
                end - 14 - HEADER_LEN + by
            }
            _ => 0,
        };
        frame[16..18].copy_from_slice(&(len as u16).to_be_bytes());
        frame
    });
}

#[test]
fn a_packet_sent_back_to_its_sender_is_nobodys() {
    // What a hears, b has sent: it goes to b.
    let mut world = World::new(MemoryConfig::default(), sealed());
    let (conns, mut stream, mut peer) = world.connect_stream();
    let tapes = [record(&mut world.a), record(&mut world.b)];
    let ids = [conns[0].key, conns[1].key];
    let before = [&world.a, &world.b].map(|host| count(host, "drop_unauthentic"));
    carry(&mut world, [&mut stream, &mut peer], 300_000, |world| {
        for (from, host) in [(1, &mut world.a), (0, &mut world.b)] {
            let heard = std::mem::take(&mut *tapes[from].lock().unwrap());
            host.engine.link.forged.extend(heard.into_iter().map(|mut frame| {
                let (to, of) = frame[..12].split_at_mut(6);
                to.swap_with_slice(of);
                frame[18..22].copy_from_slice(&ids[1 - from].0.to_be_bytes());
                frame
            }));
        }
        false
    });
    assert_open(&conns);
    let risen = [&world.a, &world.b].map(|host| count(host, "drop_unauthentic"));
    assert!((0..2).all(|at| risen[at] > before[at] + 2), "{before:?} {risen:?}");
}

/// Packets of every kind that end, steer or feed a connection, each with the next numbers.
fn plain_forgeries(from: MacAddr, to: MacAddr, conn: ConnId, number: u64) -> Vec<Vec<u8>> {
    let stream = StreamHeader { stream: StreamId(0), lowest_distance: 0, offset: 1 };
    let data = [&stream.to_bytes()[..], b"not what was sent"].concat();
    let words = [u64::MAX; 4];
    let ack = Ack { largest: number, delay_ns: 0, floor: number, first_word: 0, words: AckWords::Native(&words) };
    let items = |item: Item<'_>| {
        let mut body = [0; 200];
        let len = item.emit(&mut body).expect("room");
        (PacketType::Control, body[..len].to_vec())
    };
    let packets = [
        (PacketType::Data, data),
        items(Item::Ack(ack)),
        items(Item::Close { code: 0, reason: "bye" }),
        items(Item::Finish),
        items(Item::StreamReset { stream: StreamId(0), code: 1, segments: 1 }),
        items(Item::ConnCredit { segments: 1 << 40 }),
        (PacketType::Ping, vec![0; 12]),
        (PacketType::Pong, vec![0; 12]),
        (PacketType::Confirm, vec![0; 8]),
    ];
    packets.map(|(kind, body)| padded(forge_to(to, from, header(kind, conn, number), &body))).to_vec()
}

#[test]
fn plain_packets_and_sealed_guesses_are_not_of_a_sealed_connection() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let (conns, mut stream, mut peer) = world.connect_stream();
    let (a, b, mut number) = (world.a.mac, world.b.mac, 0);
    let before = [&world.a, &world.b].map(|host| count(host, "drop_unsealed"));
    carry(&mut world, [&mut stream, &mut peer], 300_000, |world| {
        number += 1;
        for (host, from, to, conn) in [(&mut world.a, b, a, conns[0].key), (&mut world.b, a, b, conns[1].key)] {
            let plain = plain_forgeries(from, to, conn, number);
            for phase in 0..4 {
                host.engine.link.forged.extend(plain.iter().cloned().map(|mut frame| {
                    // Behind the body stands whatever stood there: a tag that nobody made.
                    frame[15] |= 4 | phase << 6;
                    frame.resize(frame.len() + 16, 0x5A);
                    frame
                }));
            }
            host.engine.link.forged.extend(plain);
        }
        false
    });
    assert_open(&conns);
    for (before, host) in before.into_iter().zip([&world.a, &world.b]) {
        assert_eq!(count(host, "drop_unsealed") - before, 9 * number);
        assert_eq!(count(host, "drop_unauthentic"), 4 * 9 * number);
    }
}
