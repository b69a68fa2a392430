//! Whole transfers, pings, opens and silences.

use super::*;
use crate::engine::port::PingRun;

/// Moves `len` bytes from a to b, closes, and checks that the bytes are right and every frame is home.
fn transfer(mut world: World, len: usize) -> World {
    let free_at_start = [all_frames(&world.a), all_frames(&world.b)];
    let (ours, theirs) = world.connect();
    let mut stream = world.open_stream(&ours);
    let data = pattern(len);
    let (mut rest, mut fin, mut got) = (&data[..], true, Vec::new());
    let mut peer: Option<StreamPort> = None;
    world.until("all bytes", |_| {
        write(&mut stream.send, &mut rest, &mut fin);
        peer = peer.take().or_else(|| theirs.streams.try_recv().ok());
        read(&mut peer.as_mut()?.recv, &mut got).then_some(())
    });
    assert!(got == data, "{} of {} bytes, or wrong ones", got.len(), data.len());
    let acked = stream.send.shared.clone();
    world.until("all acked", |_| acked.all_acked.load(Ordering::Acquire).then_some(()));
    drop((stream, peer));
    world.a.commands.send(Command::Finish { conn: ours.key }).unwrap();
    world.b.commands.send(Command::Finish { conn: theirs.key }).unwrap();
    world.until("finished", |_| ours.shared.closed.get().and(theirs.shared.closed.get()).cloned());
    let open = |world: &World| world.a.engine.endpoint.connections() + world.b.engine.endpoint.connections();
    world.until("drained", |world| (open(world) == 0).then_some(()));
    for (host, free) in [(&world.a, free_at_start[0]), (&world.b, free_at_start[1])] {
        assert_eq!(all_frames(host), free, "frames lost; {:?}", host.engine.link.stats());
        assert_eq!(host.engine.frames.sending(), 0);
        assert!(host.engine.streams.is_empty() && host.engine.by_slot.iter().all(Option::is_none));
    }
    world
}

#[test]
fn bytes_cross_in_order_and_every_frame_comes_home() {
    let memory = MemoryConfig { hold_completions: 16, hold_kicks: 8, ..Default::default() };
    let mut world = transfer(World::new(memory, Config::default()), 3_000_000);
    assert_eq!(world.a.engine.endpoint.counters().lost_packets, 0);
}

#[test]
fn bytes_survive_loss_reordering_duplication_and_corruption() {
    for trouble in [
        "loss=5%",
        "burst=5%/10",
        "reorder=10%/1ns",
        "duplicate=10%",
        "corrupt=5%",
        "loss=2%,burst=2%/5,reorder=2%/1us-50us,duplicate=2%,corrupt=2%",
    ] {
        let memory = MemoryConfig { hold_completions: 16, hold_kicks: 8, ..Default::default() };
        let trouble: Profile = trouble.parse().expect("a profile");
        let mut world = transfer(World::rough(memory, Config::default(), &trouble), 1_000_000);
        let sent = world.a.engine.endpoint.counters().clone();
        if trouble.loss + trouble.corrupt > 0.0 || trouble.burst.is_some() {
            assert!(sent.retransmitted_packets > 0, "{sent:?}");
        }
    }
}

#[test]
fn pings_come_back() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (ours, _theirs) = world.connect();
    let (reply, answer) = bounded(1);
    let run = PingRun { count: 100, size: 64, interval_ns: 0, timeout_ns: SECOND };
    world.a.commands.send(Command::Ping { conn: ours.key, run, reply }).unwrap();
    let report = world.until("pings", |_| answer.try_recv().ok());
    assert_eq!((report.sent, report.received), (100, 100));
}

#[test]
fn a_cookie_round_keeps_no_state_and_then_opens() {
    let proto = Config { require_cookie: true, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    world.connect();
    assert_eq!(world.b.engine.endpoint.counters().drop_bad_cookie, 0);
}

#[test]
fn nobody_listening_is_a_refusal_with_words() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    world.b.turn(1);
    let (other, _) = unbounded();
    world.b.incoming = unbounded().1;
    world.b.commands.send(Command::Listen { incoming: other }).unwrap();
    world.b.engine.endpoint.set_listening(false);
    world.b.engine.commands = unbounded().1;
    let (reply, answer) = bounded(1);
    let options = ConnectOptions { peer: world.b.mac, timeout_ns: SECOND };
    world.a.commands.send(Command::Connect { options, reply }).unwrap();
    let error = world.until("refusal", |_| answer.try_recv().ok()).err().expect("refused");
    assert!(error.to_string().contains("accepts connections"), "{error}");
}

#[test]
fn silence_ends_a_connection_and_its_streams() {
    let proto = Config { idle_timeout_ns: SECOND / 10, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    let (ours, _theirs) = world.connect();
    let stream = world.open_stream(&ours);
    for _ in 0..50_000 {
        world.now += 5 * MICROSECOND;
        world.a.turn(world.now);
    }
    let reason = ours.shared.closed.get().expect("closed").to_string();
    assert!(reason.contains("nothing heard"), "{reason}");
    assert!(stream.recv.shared.recv_error.get().is_some());
}
