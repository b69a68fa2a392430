//! What is refused, ended or dropped: under its own name, with words for whoever waits, and without a frame lost.

use super::forged::{forge, forge_to, header};
use super::*;
use crate::base::ConnId;
use crate::proto::error::{ConnectError, StreamError};
use crate::wire::{HEADER_LEN, PacketType};

/// What a changed packet to host b counts as.
fn counts_as(world: &mut World, name: &str, frame: Vec<u8>) {
    let drops = |world: &World| -> Vec<(&str, u64)> {
        let counters = world.b.engine.endpoint.counters_now().iter();
        counters.filter(|(name, _)| name.starts_with("drop_")).collect()
    };
    let before = drops(world);
    world.b.engine.link.forged.push_back(frame);
    world.step();
    let risen: Vec<_> = drops(world).into_iter().zip(before).filter(|(now, before)| now.1 != before.1).collect();
    assert!(matches!(risen[..], [(now, before)] if now.0 == name && now.1 == before.1 + 1), "{name}: {risen:?}");
}

#[test]
fn every_frame_that_is_not_looked_at_counts_under_its_name() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([_ours, theirs], _stream, _peer) = world.connect_stream();
    let control = header(PacketType::Control, theirs.key, 100);
    let (us, peer) = (world.b.mac, world.a.mac);
    let good = forge(&world, peer, control, &[]);
    let at = good.len() - HEADER_LEN - crate::wire::CRC_LEN;
    let with = |index: usize, byte: u8| {
        let mut frame = good.clone();
        frame[index] = byte;
        frame
    };
    let cut = |len: usize| good[..len].to_vec();
    counts_as(&mut world, "drop_truncated", cut(at - 1));
    counts_as(&mut world, "drop_truncated", cut(at + HEADER_LEN - 1));
    counts_as(&mut world, "drop_truncated", cut(good.len() - 1));
    counts_as(&mut world, "drop_truncated", with(at + 3, 5));
    counts_as(&mut world, "drop_malformed", with(at, 0x1D));
    counts_as(&mut world, "drop_malformed", with(at + 1, 1));
    counts_as(&mut world, "drop_checksum", with(at + 8, 1));
    counts_as(&mut world, "drop_version", with(at, 0x26));
    counts_as(&mut world, "drop_version", with(at, 0x21));
    counts_as(&mut world, "drop_not_ours", with(at - 1, 0));
    counts_as(&mut world, "drop_not_ours", with(5, 99));
    counts_as(&mut world, "drop_not_ours", forge_to(us, us, control, &[]));
    counts_as(&mut world, "drop_not_ours", forge_to(MacAddr::broadcast(), peer, control, &[]));
    assert_eq!(theirs.shared.closed.get(), None);
    world.forge_items(&theirs, 101, &[]);
    assert_eq!(world.b.engine.endpoint.counters().drop_replayed, 0, "none of them has used the number up");
}

#[test]
fn an_open_of_another_version_is_answered_over_the_link() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let mut frame = forge(&world, world.a.mac, header(PacketType::Open, ConnId(0), 0), &[9; 40]);
    frame[14] = 0x21;
    world.b.engine.link.forged.push_back(frame);
    world.step();
    world.step();
    assert_eq!(world.b.engine.endpoint.counters().drop_version, 1);
    assert_eq!(world.a.engine.endpoint.counters().drop_unasked, 1, "the answer came, to nobody's question");
}

#[test]
fn a_link_that_fails_ends_everything_and_says_why_once() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let free = all_frames(&world.a);
    let ([ours, theirs], stream, _peer) = world.connect_stream();
    let (reply, answer) = bounded(1);
    let options = ConnectOptions { peer: MacAddr::new(2, 9, 9, 9, 9, 9), timeout_ns: SECOND };
    world.a.order(Command::Connect { options, reply });
    world.steps(MILLISECOND);
    world.a.engine.link.broken = true;
    let failed = world.a.turn(world.now).failed.expect("told to the worker").to_string();
    assert!(failed.contains("unplugged"), "{failed}");
    assert_eq!(ours.shared.closed.get(), Some(&CloseReason::Link(failed.clone())));
    let error = stream.send.shared.send_error.get().cloned();
    assert_eq!(error, Some(StreamError::Closed(CloseReason::Link(failed.clone()))));
    let refused = answer.try_recv().expect("who waits for a connection is told").err();
    assert_eq!(refused, Some(ConnectError::Link(failed)));
    assert!(world.a.turn(world.now).failed.is_none(), "once is enough");
    world.until("close arrived", |_| theirs.shared.closed.get().map(|_| ()));
    drop((stream, ours));
    world.steps(2 * SECOND);
    assert_eq!((world.a.engine.endpoint.connections(), all_frames(&world.a)), (0, free));
}

#[test]
fn where_nobody_accepts_any_more_the_first_is_closed_and_the_next_refused() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    world.b.incoming = unbounded().1;
    let connect = |world: &mut World| {
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer: world.b.mac, timeout_ns: SECOND };
        world.a.order(Command::Connect { options, reply });
        world.until("answer", |_| answer.try_recv().ok())
    };
    let first = connect(&mut world).expect("nobody knew yet");
    let reason = world.until("closed", |_| first.shared.closed.get().cloned()).to_string();
    assert!(reason.contains("nobody accepts connections here any more"), "{reason}");
    let refused = connect(&mut world).err().expect("refused").to_string();
    assert!(refused.contains("nothing there accepts connections"), "{refused}");
}

#[test]
fn connections_that_nobody_fetches_wait_in_a_bounded_queue() {
    let mut world = World::new(MemoryConfig::default(), Config { max_connections: 3, ..Config::default() });
    let mut reasons = Vec::new();
    for _ in 0..5 {
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer: world.b.mac, timeout_ns: SECOND };
        world.a.order(Command::Connect { options, reply });
        let ours = world.until("connect", |_| answer.try_recv().ok()).expect("room for one at a time");
        world.steps(MILLISECOND);
        reasons.push(ours.shared.closed.get().map(CloseReason::to_string).unwrap_or_default());
        world.a.order(Command::Close { conn: ours.key, code: 0, reason: "enough".into() });
        world.steps(2 * SECOND);
    }
    assert_eq!(reasons[..3], ["", "", ""]);
    assert!(reasons[3..].iter().all(|reason| reason.contains("too many connections wait")), "{reasons:?}");
    assert_eq!(world.b.incoming.len(), 3);
}

#[test]
fn who_asks_for_hosts_hears_of_them_until_it_looks_away() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    world.b.order(Command::Announce { name: "backup".into(), service: "recv".into() });
    let (reply, hosts) = unbounded();
    world.a.order(Command::Query { name: String::new(), reply });
    let found = world.until("answer", |_| hosts.try_recv().ok());
    assert_eq!((found.mac, &*found.name, &*found.service), (world.b.mac, "backup", "recv"));
    world.steps(SECOND);
    assert!((3..=5).contains(&hosts.len()), "{} answers in a second", hosts.len());
    drop(hosts);
    world.steps(SECOND);
    let before = world.a.engine.endpoint.counters().tx_frames;
    world.steps(2 * SECOND);
    assert_eq!(world.a.engine.endpoint.counters().tx_frames, before, "still asking");
}

#[test]
fn a_snapshot_tells_of_the_connection_that_it_is_asked_for() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (ours, _theirs) = world.connect();
    let ask = |world: &mut World, conn| {
        let (reply, answer) = bounded(1);
        world.a.order(Command::Snapshot { conn, reply });
        world.step();
        answer.try_recv().expect("at once")
    };
    let of_it = ask(&mut world, Some(ours.key));
    assert_eq!((of_it.connections, of_it.controller), (1, Some("bbr")));
    assert!(of_it.recovery.is_some() && of_it.counters.tx_frames > 0);
    let (frames, free) = of_it.frames;
    assert!(free <= frames && free > frames / 2, "{free} of {frames}");
    for stranger in [None, Some(ConnId(ours.key.0 ^ 1))] {
        let other = ask(&mut world, stranger);
        assert!(other.recovery.is_none() && other.controller.is_none() && other.connections == 1);
    }
}

/// An engine that slept on work would do it with the next packet, or never.
#[test]
fn nobody_sleeps_on_what_the_application_asked() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([ours, _theirs], stream, _peer) = world.connect_stream();
    world.steps(MILLISECOND);
    assert!(world.a.engine.may_sleep());
    world.a.engine.awake();
    world.a.commands.send(Command::Finish { conn: ours.key }).unwrap();
    assert!(!world.a.engine.may_sleep(), "a command waits");
    world.a.turn(world.now);
    assert!(world.a.engine.may_sleep());
    world.a.engine.awake();
    stream.send.notify();
    assert!(!world.a.engine.may_sleep(), "a stream has rung");
    world.a.turn(world.now);
    assert!(world.a.engine.may_sleep());
}
