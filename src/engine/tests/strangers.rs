//! Who has no key: no connection ends at its word, no memory is taken, nothing is answered with more than it sent; and
//! what only who has the key can say is believed at once.

use super::attacks::*;
use super::forged::{forge_to, header};
use super::*;
use crate::base::{ConnId, KeyId};
use crate::proto::config::Security;
use crate::proto::error::ConnectError;
use crate::wire::open::OPEN_LEN;
use crate::wire::sealed::{ASK_LEN, NOISE_LEN, OFFER_LEN, SEALED_ACCEPT_LEN, SEALED_COOKIE_LEN, SEALED_OPEN_LEN};
use crate::wire::{Ask, HEADER_LEN, Header, Open, PacketType, Query, Reset, SealedOpen, SealedReset};

/// An open that nobody with a key has made; `n` makes it and its sender one of its own.
fn forged_open(to: MacAddr, n: u64, key: KeyId) -> Vec<u8> {
    let open = SealedOpen {
        conn: ConnId(n as u32 | 1),
        nonce: n,
        key,
        message: [n as u8; NOISE_LEN + OFFER_LEN],
        cookie: None,
        mac: [n as u8; 16],
    };
    let mut body = [0; SEALED_OPEN_LEN];
    open.emit(&mut body);
    let header = Header { seal: Some(0), ..header(PacketType::Open, ConnId(0), 0) };
    forge_to(to, someone(n), header, &body)
}

fn plain_open(to: MacAddr, n: u64) -> Vec<u8> {
    let mut body = [0; OPEN_LEN];
    Open { conn: ConnId(n as u32 | 1), nonce: n, params: PARAMS, cookie: None }.emit(&mut body);
    forge_to(to, someone(n), header(PacketType::Open, ConnId(0), 0), &body)
}

fn someone(n: u64) -> MacAddr {
    let [.., a, b, c, d] = n.to_be_bytes();
    MacAddr::new(2, 77, a, b, c, d)
}

fn key_id(n: u8) -> KeyId {
    keyring(n).own().unwrap().key.id()
}

#[test]
fn a_reset_without_proof_makes_one_ask_and_no_more() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let (conns, mut stream, mut peer) = world.connect_stream();
    let (a, b, theirs) = (world.a.mac, world.b.mac, conns[1].key);
    // Who hears the question answers it at once.
    let heard = record(&mut world.b);
    let (began, mut guessed) = (world.now, 0);
    carry(&mut world, [&mut stream, &mut peer], 20_000_000, |world| {
        let plain = forged_reset(world, &conns[1], 3);
        world.a.engine.link.forged.push_back(plain);
        for frame in std::mem::take(&mut *heard.lock().unwrap()) {
            if kind(&frame) != Some(PacketType::Ask) {
                continue;
            }
            let ask = Ask::parse(&frame[14 + HEADER_LEN..][..ASK_LEN]).unwrap();
            let mut body = [0; 64];
            for mac in [[0; 16], ask.mac] {
                let len = SealedReset { why: Reset::UnknownConnection, mac }.emit(&mut body);
                let header = Header { seal: Some(0), ..header(PacketType::Reset, theirs, ask.nonce) };
                world.a.engine.link.forged.push_back(forge_to(a, b, header, &body[..len]));
                guessed += 1;
            }
        }
        false
    });
    assert_open(&conns);
    let asks = (world.now - began) / (20 * MILLISECOND);
    assert!(asks > 1 && (asks..=asks + 1).contains(&count(&world.a, "tx_asks")), "{}", count(&world.a, "tx_asks"));
    assert_eq!(count(&world.a, "drop_unauthentic"), guessed);
    assert_eq!(count(&world.b, "tx_resets"), 0, "b knows the connection, and says nothing");
}

#[test]
fn a_peer_that_was_restarted_is_noticed_and_proved() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let ([ours, _theirs], mut stream, _peer) = world.connect_stream();
    let World { now, a, b } = world;
    let mut world = World { now, a, b: restart(b, 4, sealed()) };
    write(&mut stream.send, &mut &b"are you there?"[..], &mut false);
    let began = world.now;
    let why = world.until("noticed", |_| ours.shared.closed.get().cloned());
    assert_eq!(why, CloseReason::Reset);
    assert!(world.now - began < SECOND / 10);
    assert_eq!((count(&world.a, "tx_asks"), count(&world.b, "tx_resets")), (1, 2));
    let (conns, mut stream, mut peer) = world.connect_stream();
    carry(&mut world, [&mut stream, &mut peer], 100_000, |_| false);
    assert_open(&conns);
}

#[test]
fn who_lost_its_key_is_closed_and_not_let_in_again() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let (conns, ..) = world.connect_stream();
    world.b.order(Command::SetKeys { keys: keyring(1) });
    let whys = conns.map(|conn| world.until("closed", |_| conn.shared.closed.get().cloned()).to_string());
    assert!(whys[0].contains("closed by the peer: the key was removed"), "{whys:?}");
    assert!(whys[1].contains("the key key 0 was removed"), "{whys:?}");
    let connect = |world: &mut World| {
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer: world.b.mac, timeout_ns: SECOND / 10 };
        world.a.order(Command::Connect { options, reply });
        world.until("answer", |_| answer.try_recv().ok())
    };
    let refused = connect(&mut world).err().expect("refused");
    assert!(matches!(&refused, ConnectError::NoProof { hint, .. } if hint.contains("our key")), "{refused}");
    world.a.order(Command::SetKeys { keys: keyring(1) });
    connect(&mut world).expect("with the new key");
}

#[test]
fn a_flood_of_opens_takes_no_memory_and_no_place() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let (conns, mut stream, mut peer) = world.connect_stream();
    pass(&mut world, SECOND);
    let (b, right) = (world.b.mac, key_id(0));
    let before = (world.b.engine.endpoint.inventory(), all_frames(&world.b));
    let mut n = 0;
    carry(&mut world, [&mut stream, &mut peer], 1_000_000, |world| {
        for _ in 0..20 {
            n += 1;
            let flood = [forged_open(b, 3 * n, key_id(1)), forged_open(b, 3 * n + 1, right), plain_open(b, 3 * n + 2)];
            world.b.engine.link.forged.extend(flood);
        }
        assert_eq!(world.b.engine.endpoint.connections(), 1);
        false
    });
    assert_open(&conns);
    assert!(n >= 10_000);
    assert_eq!((count(&world.b, "drop_unauthentic"), count(&world.b, "drop_unsealed")), (2 * n, n));
    assert_eq!(count(&world.b, "drop_open_rate"), 0, "none of them has come as far as that");
    pass(&mut world, SECOND);
    assert_eq!((world.b.engine.endpoint.inventory(), all_frames(&world.b)), before);
    world.connect();
}

/// Every kind of packet that an attacker may send to b in somebody's name, padded as on a wire.
fn kinds(world: &World, conn: ConnId) -> Vec<(&'static str, Vec<u8>)> {
    let (b, right, stranger) = (world.b.mac, key_id(0), someone(1));
    let sealed = |kind, conn, len: usize| {
        let header = Header { seal: Some(0), ..header(kind, conn, 9) };
        forge_to(b, stranger, header, &vec![7; len])
    };
    let plain = |kind, conn, len: usize| forge_to(b, stranger, header(kind, conn, 9), &vec![7; len]);
    let mut foreign = plain_open(b, 5);
    foreign[14] = 0x21;
    let mut query = vec![0; 200];
    let len = Query { name: "" }.emit(&mut query).unwrap();
    let nobody = ConnId(conn.0 ^ 1);
    let mut kinds = vec![
        ("a sealed open with an unknown key", forged_open(b, 1, key_id(1))),
        ("a sealed open with a wrong MAC", forged_open(b, 2, right)),
        ("a plain open", plain_open(b, 3)),
        ("an open of another version", foreign),
        ("a query", forge_to(b, stranger, header(PacketType::Query, ConnId(0), 9), &query[..len])),
        ("an ask", plain(PacketType::Ask, nobody, ASK_LEN)),
        ("a sealed cookie", sealed(PacketType::Cookie, conn, SEALED_COOKIE_LEN)),
        ("a sealed accept", sealed(PacketType::Accept, conn, SEALED_ACCEPT_LEN)),
        ("a sealed reset", sealed(PacketType::Reset, conn, 17)),
    ];
    for of in [conn, nobody] {
        kinds.extend([
            ("a sealed data packet", sealed(PacketType::Data, of, 32)),
            ("a sealed control packet", sealed(PacketType::Control, of, 0)),
            ("a sealed ping", sealed(PacketType::Ping, of, 12)),
            ("a plain control packet", plain(PacketType::Control, of, 0)),
            ("a plain ping", plain(PacketType::Ping, of, 12)),
            ("a plain reset", plain(PacketType::Reset, of, 1)),
            ("a confirm", plain(PacketType::Confirm, of, 8)),
            ("a version packet", plain(PacketType::Version, of, 1)),
        ]);
    }
    kinds.into_iter().map(|(what, frame)| (what, padded(check(frame)))).collect()
}

#[test]
fn no_packet_is_answered_with_more_bytes_than_it_has() {
    let mut world = World::new(MemoryConfig::default(), sealed());
    let (name, service) = ("n".repeat(32), "s".repeat(32));
    world.b.order(Command::Announce { name, service });
    let ([_ours, theirs], ..) = world.connect_stream();
    pass(&mut world, SECOND);
    for (what, frame) in kinds(&world, theirs.key) {
        for src in [someone(1), world.a.mac] {
            let mut frame = frame.clone();
            frame[6..12].copy_from_slice(&src.octets());
            let before = count(&world.b, "tx_bytes");
            for _ in 0..50 {
                world.b.engine.link.forged.push_back(frame.clone());
                world.now += MICROSECOND;
                world.b.turn(world.now);
            }
            let (sent, got) = (50 * frame.len() as u64, count(&world.b, "tx_bytes") - before);
            assert!(got <= sent, "{what} from {src}: {got} bytes for {sent}");
        }
    }
    assert_eq!(theirs.shared.closed.get(), None);
}

/// In plain mode a packet that asks for keys is refused as cheaply.
#[test]
fn where_there_are_no_keys_a_sealed_open_is_told_so() {
    let mut world = World::new(MemoryConfig::default(), Config { security: Security::Insecure, ..sealed() });
    let frame = forged_open(world.b.mac, 1, key_id(0));
    world.b.engine.link.forged.push_back(frame.clone());
    let before = count(&world.b, "tx_bytes");
    world.step();
    assert_eq!((count(&world.b, "drop_unsealed"), count(&world.b, "tx_resets")), (1, 1));
    assert!(count(&world.b, "tx_bytes") - before <= frame.len() as u64);
    assert_eq!(world.b.engine.endpoint.connections(), 0);
}

#[test]
fn garbage_does_not_take_the_turns_of_who_sends() {
    let time = |garbage: u64| {
        let mut world = World::new(MemoryConfig::default(), sealed());
        let (conns, mut stream, mut peer) = world.connect_stream();
        let (a, began, mut n) = (world.a.mac, world.now, 0);
        let (data, mut got) = (pattern(10_000_000), Vec::new());
        let mut rest = &data[..];
        world.until("all bytes", |world| {
            for _ in 0..garbage {
                n += 1;
                let header = Header { seal: Some(0), ..header(PacketType::Data, ConnId(0xFFFF_0000 | n), 9) };
                world.a.engine.link.forged.push_back(forge_to(a, someone(u64::from(n)), header, &[7; 40]));
            }
            write(&mut stream.send, &mut rest, &mut false);
            read(&mut peer.recv, &mut got);
            (got.len() == data.len()).then_some(())
        });
        assert!(got == data);
        assert_open(&conns);
        world.now - began
    };
    // As many as a turn can take, beside what the peer says.
    let (quiet, loud) = (time(0), time(60));
    assert!(loud < quiet * 5 / 4, "{quiet} ns without, {loud} ns with a stranger's frames");
}

#[test]
fn keys_are_replaced_where_nothing_is_sent() {
    let rekey = crate::crypto::Rekey { after_ns: 20 * SECOND, ..Default::default() };
    let mut world = World::new(MemoryConfig::default(), Config { rekey, ..sealed() });
    let (conns, ..) = world.connect_stream();
    for _ in 0..100 {
        pass(&mut world, SECOND);
    }
    assert_open(&conns);
    assert!(count(&world.a, "rekeys") >= 2, "by who opened it: {}", count(&world.a, "rekeys"));
    assert!(count(&world.b, "rekeys") >= 2, "by who only answers: {}", count(&world.b, "rekeys"));
}

#[test]
fn recorded_opens_do_not_hold_the_few_places_of_a_small_host() {
    let config = Config { max_connections: 4, ..sealed() };
    let mut world = World::new(MemoryConfig::default(), config.clone());
    let heard = record(&mut world.b);
    // Four opens of a, which is restarted after each.
    for life in 0..4 {
        let (conns, ..) = world.connect_stream();
        world.a.order(Command::Close { conn: conns[0].key, code: 0, reason: "again".into() });
        pass(&mut world, 2 * SECOND);
        let World { now, a, b } = world;
        world = World { now, a: restart(a, 10 + life, config.clone()), b };
    }
    pass(&mut world, 5 * SECOND);
    let opens: Vec<_> = heard.lock().unwrap().iter().filter(|f| kind(f) == Some(PacketType::Open)).cloned().collect();
    assert!(opens.len() >= 4);
    for open in opens {
        world.b.engine.link.forged.push_back(open);
        world.step();
    }
    assert!(world.b.engine.endpoint.half_open() <= 1, "{}", world.b.engine.endpoint.half_open());
    world.connect();
}
