//! How streams end, and what is left of them.

use super::*;
use crate::proto::error::StreamError;

fn streams_of(host: &Host) -> usize {
    host.engine.streams.len()
}

#[test]
fn a_stop_that_crosses_the_end_leaves_no_stream_behind() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (_conns, mut stream, peer) = world.connect_stream();
    let StreamPort { send, recv, .. } = peer;
    world.a.engine.link.meet(&Profile { loss: 1.0, ..Profile::default() });
    drop(recv);
    world.steps(20 * MICROSECOND);
    world.a.engine.link.meet(&Profile::default());
    world.until("rest written", |_| write(&mut stream.send, &mut &b"rest"[..], &mut true).then_some(()));
    let shared = stream.send.shared.clone();
    world.until("an end", |_| {
        (shared.all_acked.load(Ordering::Acquire) || shared.send_error.get().is_some()).then_some(())
    });
    drop((stream, send));
    world.steps(SECOND);
    assert_eq!([streams_of(&world.a), streams_of(&world.b)], [0, 0]);
}

#[test]
fn a_stop_that_comes_before_the_first_byte_holds() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (ours, theirs) = world.connect();
    let StreamPort { mut send, recv, .. } = world.open_stream(&ours);
    drop(recv);
    world.steps(MICROSECOND * 100);
    assert!(world.until("written", |_| write(&mut send, &mut &b"x"[..], &mut true).then_some(true)));
    let peer = world.until("accepted", |_| theirs.streams.try_recv().ok());
    world.steps(SECOND);
    assert_eq!(peer.send.shared.send_error.get(), Some(&StreamError::Stopped(0)));
}

#[test]
fn a_finish_does_not_wait_for_what_the_peer_sends() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([ours, theirs], stream, _peer) = world.connect_stream();
    let StreamPort { send, recv: _recv, .. } = stream;
    world.a.order(Command::Finish { conn: ours.key });
    world.steps(MILLISECOND);
    drop(send);
    world.steps(SECOND);
    assert!(matches!(theirs.streams.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected)));
}

#[test]
fn the_last_stream_of_the_limit_is_given_again() {
    let mut world = World::new(MemoryConfig::default(), Config { max_streams: 8, ..Config::default() });
    let (ours, theirs) = world.connect();
    let mut lasting: Vec<_> = (0..7).map(|_| world.open_stream(&ours)).collect();
    for _ in 0..5 {
        drop(world.open_stream(&ours));
        world.until("accepted", |_| {
            let port = theirs.streams.try_recv().ok()?;
            let short = port.id.0 >= 14;
            if !short {
                lasting.push(port);
            }
            short.then_some(())
        });
    }
}

#[test]
fn a_slow_reader_leaves_the_rest_of_the_credit_to_others() {
    let memory = MemoryConfig { frames: 64 + 128 + 100, rx_reserve: 64, ..Default::default() };
    let mut world = World::new(memory, Config::default());
    let (ours, theirs) = world.connect();
    let (mut slow, mut quick) = (world.open_stream(&ours), world.open_stream(&ours));
    let one = |world: &mut World, port: &mut StreamPort| {
        world.until("written", |_| write(&mut port.send, &mut &b"x"[..], &mut false).then_some(()));
    };
    // The window is 22 segments.
    for _ in 0..21 {
        one(&mut world, &mut slow);
    }
    let _slow_reader = world.until("slow accepted", |_| theirs.streams.try_recv().ok());
    one(&mut world, &mut quick);
    let mut reader = world.until("quick accepted", |_| theirs.streams.try_recv().ok());
    for _ in 0..10 {
        let mut got = Vec::new();
        world.until("a byte", |_| {
            read(&mut reader.recv, &mut got);
            (!got.is_empty()).then_some(())
        });
        one(&mut world, &mut quick);
    }
}

#[test]
fn ends_of_many_streams_leave_frames_for_the_rest() {
    let memory = MemoryConfig { frames: 64 + 128 + 100, rx_reserve: 64, ..Default::default() };
    let mut world = World::new(memory, Config::default());
    let (ours, theirs) = world.connect();
    let mut streams: Vec<_> = (0..300).map(|_| world.open_stream(&ours)).collect();
    for stream in &mut streams {
        assert!(write(&mut stream.send, &mut &b""[..], &mut true));
    }
    world.a.engine.link.jammed = true;
    world.steps(MILLISECOND);
    let free = world.a.engine.link.free_frames();
    assert!(free >= CONTROL_FRAMES / 4, "{free} frames free for ACKs");
    world.a.engine.link.jammed = false;
    let mut left = 300;
    world.until("all ended", |_| {
        while let Ok(mut peer) = theirs.streams.try_recv() {
            let mut got = Vec::new();
            left -= usize::from(read(&mut peer.recv, &mut got));
        }
        (left == 0).then_some(())
    });
}

#[test]
fn what_nagle_holds_goes_when_it_is_switched_off() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (_conns, mut stream, mut peer) = world.connect_stream();
    stream.send.shared.nagle.store(true, Ordering::Release);
    // Nothing is acknowledged, so the second write waits.
    world.a.engine.link.meet(&Profile { loss: 1.0, ..Profile::default() });
    for text in ["first", "second"] {
        world.until("written", |_| write(&mut stream.send, &mut text.as_bytes(), &mut false).then_some(()));
        world.steps(20 * MICROSECOND);
    }
    stream.send.shared.nagle.store(false, Ordering::Release);
    stream.send.notify();
    world.steps(20 * MICROSECOND);
    let mut got = Vec::new();
    read(&mut peer.recv, &mut got);
    assert_eq!(got, b"firstsecond");
}

/// Streams that their peer gave up count no longer against its limit; those that nobody accepts are bounded as well.
#[test]
fn streams_that_nobody_accepts_are_refused_beyond_what_a_peer_may_have_open() {
    let mut world = World::new(MemoryConfig::default(), Config { max_streams: 8, ..Config::default() });
    let (ours, theirs) = world.connect();
    for _ in 0..100 {
        let mut stream = world.open_stream(&ours);
        write(&mut stream.send, &mut &b"x"[..], &mut false);
        drop(stream);
        world.steps(SECOND / 1000);
        assert!(world.b.engine.streams.len() <= 2 * 8, "{}", world.b.engine.streams.len());
    }
    assert_eq!(theirs.streams.len(), 8);
    assert!(world.b.engine.endpoint.counters().refused_streams > 80);
}

/// The application uses a grant as soon as it sees it, and wants another one while the engine still grants.
#[test]
fn a_wish_in_the_middle_of_a_grant_is_heard() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (_conns, mut stream, _peer) = world.connect_stream();
    world.steps(MICROSECOND * 100);
    while stream.send.grants.pop().is_ok() {}
    stream.send.shared.wanted.store(1, Ordering::Release);
    stream.send.notify();
    let shared = stream.send.shared.clone();
    world.a.engine.link.meanwhile = Some(Box::new(move || shared.wanted.store(1, Ordering::Release)));
    world.step();
    world.a.engine.link.meanwhile = None;
    assert!(stream.send.grants.pop().is_ok(), "what was wanted first");
    stream.send.notify();
    world.steps(MICROSECOND * 100);
    assert!(stream.send.grants.pop().is_ok(), "what was wanted meanwhile");
}
