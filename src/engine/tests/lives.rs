//! Connections that come and go: their slots, their windows, their ends.

use super::*;
use crate::engine::port::PingRun;

fn connections(world: &World) -> usize {
    world.a.engine.endpoint.connections() + world.b.engine.endpoint.connections()
}

fn close(host: &Host, conn: &ConnPort) {
    host.order(Command::Close { conn: conn.key, code: 0, reason: "enough".into() });
}

#[test]
fn a_stream_in_the_slot_of_one_just_gone_is_a_stream_of_its_own() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([first, _theirs], old, _old_peer) = world.connect_stream();
    let (second, _their_second) = world.connect();
    let (reply, answer) = bounded(1);
    close(&world.a, &first);
    world.a.order(Command::OpenStream { conn: second.key, reply });
    world.step();
    let new = answer.try_recv().unwrap();
    drop(old);
    world.step();
    assert_eq!(world.a.engine.streams.len(), 1);
    assert!(world.a.engine.streams.iter().all(|(_, end)| end.slot.is_some()));
    drop(new);
}

#[test]
fn a_connect_in_the_turn_of_anothers_failure_is_a_connect_of_its_own() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (reply, nobody) = bounded(1);
    let options = ConnectOptions { peer: MacAddr::new(2, 9, 9, 9, 9, 9), timeout_ns: SECOND / 2 };
    world.a.order(Command::Connect { options, reply });
    world.steps(SECOND / 2);
    assert!(nobody.try_recv().is_err(), "too early for this test");
    let (reply, answer) = bounded(1);
    world.a.order(Command::Connect { options: ConnectOptions { peer: world.b.mac, timeout_ns: SECOND }, reply });
    let failed = world.until("failure", |_| nobody.try_recv().ok());
    assert!(failed.is_err());
    assert!(world.until("answer", |_| answer.try_recv().ok()).is_ok());
}

#[test]
fn a_connection_that_nobody_wants_any_more_is_closed() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let options = ConnectOptions { peer: world.b.mac, timeout_ns: SECOND };
    world.a.order(Command::Connect { options, reply: bounded(1).0 });
    world.steps(MILLISECOND);
    world.steps(2 * SECOND);
    assert_eq!(connections(&world), 0);
}

#[test]
fn a_hundred_short_connections_in_a_row_find_room() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    for _ in 0..100 {
        let (ours, theirs) = world.connect();
        close(&world.a, &ours);
        world.until("closed", |_| theirs.shared.closed.get().map(|_| ()));
    }
}

#[test]
fn open_connections_are_not_half_open() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let _ports = [world.connect(), world.connect()];
    let inventory = world.b.engine.endpoint.inventory();
    assert!(inventory.contains(" 0 half open"), "{inventory}");
}

#[test]
fn who_closes_at_the_same_time_does_not_talk_about_it_for_ever() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (ours, theirs) = world.connect();
    world.steps(MILLISECOND);
    close(&world.a, &ours);
    close(&world.b, &theirs);
    world.steps(MILLISECOND);
    let before = world.a.engine.endpoint.counters().tx_frames;
    world.steps(100 * MILLISECOND);
    let sent = world.a.engine.endpoint.counters().tx_frames - before;
    assert!(sent < 3, "{sent} packets after both have closed");
}

#[test]
fn silence_is_noticed_over_a_link_that_takes_nothing() {
    let proto = Config { idle_timeout_ns: SECOND / 10, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    let ([ours, _theirs], mut stream, _peer) = world.connect_stream();
    world.a.engine.link.jammed = true;
    let data = pattern(1_000_000);
    let (mut rest, mut turns) = (&data[..], 0);
    while world.now < 2 * SECOND && ours.shared.closed.get().is_none() {
        write(&mut stream.send, &mut rest, &mut false);
        let turn = world.a.turn(world.now);
        turns += 1;
        world.now = turn.next_ns.unwrap_or(world.now + SECOND).max(world.now + MICROSECOND);
    }
    let reason = ours.shared.closed.get().expect("closed").to_string();
    assert!(reason.contains("nothing heard"), "{reason}");
    assert!(turns < 2000, "{turns} turns");
}

#[test]
fn the_last_echo_ends_a_series_of_pings() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (ours, _theirs) = world.connect();
    let (reply, answer) = bounded(1);
    let run = PingRun { count: 3, size: 64, interval_ns: 0, timeout_ns: SECOND };
    world.a.order(Command::Ping { conn: ours.key, run, reply });
    world.steps(MILLISECOND);
    assert_eq!(answer.try_recv().expect("at once").received, 3);
}

#[test]
fn hosts_that_were_away_give_each_other_time_to_answer() {
    let proto = Config { idle_timeout_ns: 10 * SECOND, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    let (ours, theirs) = world.connect();
    world.steps(MILLISECOND);
    world.now += 11 * SECOND;
    world.steps(100 * MILLISECOND);
    assert_eq!((ours.shared.closed.get(), theirs.shared.closed.get()), (None, None));
    world.now += 11 * SECOND;
    while world.a.turn(world.now).worked {}
    world.now += 3 * SECOND;
    while world.a.turn(world.now).worked {}
    assert_eq!(ours.shared.closed.get(), None);
    world.now += SECOND;
    world.a.turn(world.now);
    let reason = ours.shared.closed.get().expect("time enough to answer").to_string();
    assert!(reason.contains("nothing heard"), "{reason}");
}

#[test]
fn who_is_late_again_and_again_does_not_keep_the_dead_alive() {
    let proto = Config { idle_timeout_ns: 10 * SECOND, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    let (ours, _theirs) = world.connect();
    world.steps(MILLISECOND);
    for _ in 0..4 {
        // Late by half of the timeout, then there for a moment in which the dead could answer.
        world.now += 5 * SECOND;
        while world.a.turn(world.now).worked {}
        world.now += 10 * MILLISECOND;
        while world.a.turn(world.now).worked {}
    }
    assert!(ours.shared.closed.get().is_some());
}

/// Found by fuzzing: who waited for the peer to allow another stream, or asked for one after the finish, waited on for
/// as long as the peer did not finish as well.
#[test]
fn who_waits_for_a_stream_hears_of_the_finish() {
    let proto = Config { max_streams: 1, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    let ([ours, theirs], _stream, _peer) = world.connect_stream();
    let ask = |world: &World| {
        let (reply, answer) = bounded(1);
        world.a.order(Command::OpenStream { conn: ours.key, reply });
        answer
    };
    let waiting = ask(&world);
    world.steps(MILLISECOND);
    assert!(waiting.try_recv().is_err_and(|error| error.is_empty()), "nobody allows it, nobody refuses it");
    world.a.order(Command::Finish { conn: ours.key });
    let late = ask(&world);
    world.steps(MILLISECOND);
    assert!([waiting, late].iter().all(|answer| answer.try_recv().is_err_and(|error| error.is_disconnected())));
    assert!(ours.shared.closed.get().is_none() && theirs.shared.closed.get().is_none());
}
