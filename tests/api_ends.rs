//! How streams, connections, links and workers end, seen through the public api: in order, by a code, by surprise.

#[path = "api/broken.rs"]
mod broken;
#[path = "api/common.rs"]
#[allow(dead_code)] // shared with tests that need more of it
mod common;

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use broken::{Break, Broken, Switch};
use common::{PATIENCE, check_messages, eventually, join, pair, send_written, within};
use farwire::api::{
    APPLICATION_CODES, CloseReason, ConnectionError, Endpoint, EndpointConfig, MemoryConfig, StreamError,
};

#[test]
fn a_sender_dropped_midway_is_seen_as_a_reset_and_a_code_arrives() {
    within("resets", PATIENCE, || {
        let pair = pair();
        for code in [0, 77] {
            let (mut send, _) = pair.to.open_stream().unwrap();
            send.write_all(&[7; 5000]).unwrap();
            let (_, mut receive) = pair.from.accept_stream().unwrap();
            let first = receive.recv().unwrap().unwrap();
            assert!(first.iter().all(|byte| *byte == 7) && !first.is_empty());
            if code == 0 {
                drop(send)
            } else {
                send.reset(code)
            }
            let error = loop {
                match receive.recv() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("half a stream looked whole"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error, StreamError::Reset(code));
        }
    });
}

#[test]
fn a_receiver_dropped_midway_stops_its_sender_and_a_code_arrives() {
    within("stops", PATIENCE, || {
        let pair = pair();
        for code in [0, 78] {
            let (mut send, _) = pair.to.open_stream().unwrap();
            send.write_all(&[7; 5000]).unwrap();
            let (_, receive) = pair.from.accept_stream().unwrap();
            if code == 0 {
                drop(receive)
            } else {
                receive.stop(code)
            }
            let error = loop {
                match send.reserve(10_000) {
                    Ok(room) => room.commit(1),
                    Err(error) => break error,
                }
            };
            assert_eq!(error, StreamError::Stopped(code));
            assert_eq!(send.write(b"more").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn both_sides_finish_and_the_connection_ends_well() {
    within("finish", PATIENCE, || {
        let pair = pair();
        let (mut send, mut answer) = pair.to.open_stream().unwrap();
        send.write_all(b"question").unwrap();
        send.finish().unwrap();
        assert_eq!(send.reserve(1).err(), Some(StreamError::Finished));
        pair.to.finish();
        let (mut back, mut receive) = pair.from.accept_stream().unwrap();
        let mut text = String::new();
        receive.read_to_string(&mut text).unwrap();
        back.write_all(text.to_uppercase().as_bytes()).unwrap();
        back.finish().unwrap();
        text.clear();
        answer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "QUESTION");
        assert_eq!(pair.from.accept_stream().err(), Some(ConnectionError::PeerFinished));
        pair.from.finish();
        for side in [&pair.to, &pair.from] {
            assert_eq!(side.wait_closed(PATIENCE), Ok(CloseReason::Finished));
        }
    });
}

#[test]
fn a_close_reaches_the_peer_with_code_and_reason_and_ends_every_wait() {
    within("close", PATIENCE, || {
        let pair = pair();
        let (mut send, _) = pair.to.open_stream().unwrap();
        send.write_all(b"x").unwrap();
        let (_, mut receive) = pair.from.accept_stream().unwrap();
        assert_eq!(&*receive.recv().unwrap().unwrap(), b"x");
        let reader = thread::spawn(move || receive.recv().map(|_| ()));
        let from = pair.from.clone();
        let acceptor = thread::spawn(move || from.accept_stream().err());
        thread::sleep(Duration::from_millis(20));
        pair.to.close(5, "the disk is full");
        let theirs = CloseReason::Peer { code: APPLICATION_CODES + 5, reason: "the disk is full".to_owned() };
        assert_eq!(reader.join().unwrap(), Err(StreamError::Closed(theirs.clone())));
        assert_eq!(acceptor.join().unwrap(), Some(ConnectionError::Closed(theirs.clone())));
        assert_eq!(pair.from.wait_closed(PATIENCE), Ok(theirs));
        let ours = CloseReason::Local { code: 5, reason: "the disk is full".to_owned() };
        assert_eq!(pair.to.wait_closed(PATIENCE), Ok(ours.clone()));
        assert_eq!(send.reserve(1).err(), Some(StreamError::Closed(ours.clone())));
        assert_eq!(pair.to.open_stream().err(), Some(ConnectionError::Closed(ours)));
    });
}

#[test]
fn a_shut_down_endpoint_ends_every_wait_on_both_sides() {
    within("shutdown", PATIENCE, || {
        let pair = pair();
        let (mut send, mut silent) = pair.to.open_stream().unwrap();
        send.write_all(b"x").unwrap();
        let (_back, mut receive) = pair.from.accept_stream().unwrap();
        let here = thread::spawn(move || silent.recv().map(|_| ()));
        let there = thread::spawn(move || {
            while receive.recv()?.is_some() {}
            Ok::<(), StreamError>(())
        });
        thread::sleep(Duration::from_millis(20));
        pair.here.shutdown();
        assert_eq!(here.join().unwrap(), Err(StreamError::Closed(CloseReason::Shutdown)));
        assert!(matches!(there.join().unwrap(), Err(StreamError::Closed(CloseReason::Peer { .. }))));
        assert_eq!(pair.to.closed(), Some(CloseReason::Shutdown));
        assert!(matches!(pair.to.open_stream(), Err(ConnectionError::Closed(CloseReason::Shutdown))));
    });
}

#[test]
fn what_was_written_arrives_though_everything_was_dropped() {
    within("dropped handles", PATIENCE, || {
        let common::Pair { to, from, here, there } = pair();
        let (mut send, _) = to.open_stream().unwrap();
        send_written(&mut send, 4, 200_000);
        drop((send, to));
        let (_, mut receive) = from.accept_stream().unwrap();
        check_messages(&mut receive, 4, 200_000);
        drop((receive, from));
        eventually("both have forgotten the connection", || {
            here.snapshot().unwrap().connections == 0 && there.snapshot().unwrap().connections == 0
        });
    });
}

#[test]
fn no_frame_is_lost_however_streams_end() {
    within("frames", PATIENCE, || {
        let (here, there) = Endpoint::memory_pair(EndpointConfig::insecure()).unwrap();
        let free = |endpoint: &Endpoint| endpoint.snapshot().unwrap().frames.1;
        let before = (free(&here), free(&there));
        let pair = join((here, there));
        for round in 0..20u32 {
            let (mut send, own) = pair.to.open_stream().unwrap();
            send.write_all(&[1; 30_000]).unwrap();
            let (back, mut receive) = pair.from.accept_stream().unwrap();
            let kept = receive.recv().unwrap();
            match round % 4 {
                0 => drop(send),
                1 => receive.stop(5),
                2 => drop(send.reserve(20_000).unwrap()),
                _ => send.finish().unwrap(),
            }
            drop((own, back, kept));
        }
        pair.to.close(0, "done");
        let common::Pair { here, there, .. } = pair;
        eventually("all frames are back", || {
            let now = (free(&here), free(&there));
            println!("free frames: {before:?} before, {now:?} now");
            now == before
        });
    });
}

#[test]
fn messages_outlive_their_stream_and_endpoint() {
    within("kept messages", PATIENCE, || {
        let common::Pair { to, from, here, there } = pair();
        let (mut send, _) = to.open_stream().unwrap();
        send.write_all(b"keep me").unwrap();
        send.finish().unwrap();
        let (_, mut receive) = from.accept_stream().unwrap();
        let kept = receive.recv().unwrap().unwrap();
        drop((receive, to, from));
        here.shutdown();
        there.shutdown();
        assert_eq!(&*kept, b"keep me");
    });
}

/// A pair whose second link can be broken.
fn breakable(config: EndpointConfig) -> (common::Pair, Switch) {
    let (a, b) = farwire::link::memory::pair(MemoryConfig::default());
    let switch = Switch::default();
    let here = Endpoint::over(a, config.clone()).unwrap();
    let there = Endpoint::over(Broken::new(b, switch.clone()), config).unwrap();
    (join((here, there)), switch)
}

#[test]
fn a_link_that_fails_and_a_worker_that_panics_end_every_wait_with_the_reason() {
    for (how, words) in [(Break::Failure, "told to fail"), (Break::Panic, "told to panic")] {
        within("a broken worker", PATIENCE, move || {
            let (pair, switch) = breakable(EndpointConfig::insecure());
            let (mut send, mut silent) = pair.from.open_stream().unwrap();
            let full = thread::spawn(move || {
                loop {
                    match send.reserve(100_000) {
                        Ok(room) => room.commit(1),
                        Err(error) => break error,
                    }
                }
            });
            let empty = thread::spawn(move || silent.recv().map(|_| ()).unwrap_err());
            let from = pair.from.clone();
            let streams = thread::spawn(move || from.accept_stream().err().unwrap());
            thread::scope(|scope| {
                let there = &pair.there;
                let accepting = scope.spawn(|| there.accept().err().unwrap());
                thread::sleep(Duration::from_millis(50));
                switch.turn(how);
                // Wakes the worker, which has nothing to do, so that it meets its fate.
                let _ = there.snapshot();
                for error in [
                    full.join().unwrap().to_string(),
                    empty.join().unwrap().to_string(),
                    streams.join().unwrap().to_string(),
                    accepting.join().unwrap().to_string(),
                    there.connect(pair.here.mac()).err().unwrap().to_string(),
                    there.snapshot().err().unwrap().to_string(),
                    there.resolve("backup", PATIENCE).unwrap_err().to_string(),
                    pair.from.wait_closed(PATIENCE).unwrap().to_string(),
                ] {
                    assert!(error.contains(words), "{how:?}: {error}");
                }
            });
        });
    }
}

#[test]
fn a_peer_that_falls_silent_is_given_up_after_the_idle_timeout() {
    within("idle timeout", PATIENCE, || {
        let config = EndpointConfig::insecure().idle_timeout(Duration::from_millis(300));
        let (pair, switch) = breakable(config);
        thread::sleep(Duration::from_millis(600));
        assert_eq!(pair.to.closed(), None, "an idle connection is kept alive");
        switch.turn(Break::Silence);
        let reason = pair.to.wait_closed(PATIENCE).unwrap();
        assert!(matches!(reason, CloseReason::IdleTimeout { .. }), "{reason}");
    });
}

#[test]
fn no_stream_is_opened_on_a_connection_that_we_have_finished() {
    within("open after finish", PATIENCE, || {
        let pair = pair();
        pair.to.finish();
        assert!(matches!(pair.to.open_stream(), Err(ConnectionError::Finished)));
        assert!(pair.to.closed().is_none(), "the peer goes on");
    });
}
