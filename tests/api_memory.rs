//! The public api over links joined in memory: bytes, shares, names, settings. How things end is in `api_ends.rs`.

#[path = "api/common.rs"]
#[allow(dead_code)] // shared with tests that need more of it
mod common;

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, check_messages, check_read, fill, join, pair, pair_of, send_reserved, send_written, within};
use farwire::api::{
    AcceptError, ConnectError, Endpoint, EndpointConfig, Idle, MacAddr, MemoryConfig, PingRun, Rate, ResolveError,
};

#[test]
fn a_big_stream_arrives_whole_without_a_copy() {
    const LEN: u64 = 24 << 20;
    within("24 MB", PATIENCE, || {
        let pair = pair();
        let (mut send, _) = pair.to.open_stream().unwrap();
        let sender = thread::spawn(move || {
            send_reserved(&mut send, 1, LEN);
            send.wait_acked().unwrap();
        });
        let (_, mut receive) = pair.from.accept_stream().unwrap();
        check_messages(&mut receive, 1, LEN);
        sender.join().unwrap();
    });
}

#[test]
fn many_streams_in_both_directions_at_once() {
    const STREAMS: u64 = 24;
    const LEN: u64 = 300_000;
    within("48 streams both ways", PATIENCE, || {
        let pair = pair();
        thread::scope(|scope| {
            for (opener, acceptor) in [(&pair.to, &pair.from), (&pair.from, &pair.to)] {
                for _ in 0..STREAMS {
                    scope.spawn(|| {
                        let (mut send, mut receive) = opener.open_stream().unwrap();
                        let seed = u64::from(send.id().0);
                        let reader = thread::spawn(move || check_messages(&mut receive, seed + 1000, LEN));
                        send_reserved(&mut send, seed, LEN);
                        reader.join().unwrap();
                    });
                    scope.spawn(|| {
                        let (mut send, mut receive) = acceptor.accept_stream().unwrap();
                        let seed = u64::from(send.id().0);
                        let writer = thread::spawn(move || send_written(&mut send, seed + 1000, LEN));
                        check_read(&mut receive, seed, LEN);
                        writer.join().unwrap();
                    });
                }
            }
        });
    });
}

#[test]
fn small_writes_arrive_in_order_with_and_without_nagle() {
    for nagle in [None, Some(false), Some(true)] {
        within("small writes", PATIENCE, move || {
            let pair = pair();
            let (mut send, _) = pair.to.open_stream().unwrap();
            if let Some(on) = nagle {
                send.set_nagle(on);
            }
            let writer = thread::spawn(move || {
                for at in 0..20_000u64 {
                    let mut bytes = [0; 3];
                    fill(9, at * 3, &mut bytes);
                    send.write_all(&bytes).unwrap();
                }
                send.finish().unwrap();
            });
            let (_, mut receive) = pair.from.accept_stream().unwrap();
            check_read(&mut receive, 9, 60_000);
            writer.join().unwrap();
        });
    }
}

#[test]
fn a_pool_of_few_frames_is_slow_but_whole() {
    within("a small pool", PATIENCE, || {
        let links = MemoryConfig { frames: 320, rx_reserve: 64, queue_frames: 32, ..MemoryConfig::default() };
        let pair = join(Endpoint::memory_pair_of(links, EndpointConfig::insecure()).unwrap());
        let (mut send, _) = pair.to.open_stream().unwrap();
        let writer = thread::spawn(move || send_reserved(&mut send, 3, 2_000_000));
        let (_, mut receive) = pair.from.accept_stream().unwrap();
        check_messages(&mut receive, 3, 2_000_000);
        writer.join().unwrap();
    });
}

#[test]
fn every_idle_policy_moves_data() {
    for idle in [Idle::Spin, Idle::Adaptive, Idle::Sleep] {
        within("an idle policy", PATIENCE, move || {
            let pair = pair_of(EndpointConfig::insecure().idle(idle));
            let (mut send, _) = pair.to.open_stream().unwrap();
            let writer = thread::spawn(move || send_reserved(&mut send, 5, 1_000_000));
            let (_, mut receive) = pair.from.accept_stream().unwrap();
            check_messages(&mut receive, 5, 1_000_000);
            writer.join().unwrap();
        });
    }
}

#[test]
fn a_fixed_rate_is_kept() {
    within("2 MB at 100 Mbit/s", PATIENCE, || {
        let rate = Rate::from_bps(100_000_000).unwrap();
        let pair = pair_of(EndpointConfig::insecure().rate(rate));
        let (mut send, _) = pair.to.open_stream().unwrap();
        let start = Instant::now();
        let writer = thread::spawn(move || send_reserved(&mut send, 5, 2_000_000));
        let (_, mut receive) = pair.from.accept_stream().unwrap();
        check_messages(&mut receive, 5, 2_000_000);
        writer.join().unwrap();
        // 2 MB of payload take 160 ms at least; the frames' headers come on top.
        assert!(start.elapsed() > Duration::from_millis(155), "{:?}", start.elapsed());
    });
}

#[test]
fn a_stalled_stream_does_not_stall_the_others() {
    within("no head-of-line blocking", PATIENCE, || {
        let pair = pair();
        let mut stalled: Vec<_> = (0..3)
            .map(|seed| {
                let (mut send, _) = pair.to.open_stream().unwrap();
                let writer = thread::spawn(move || send_reserved(&mut send, seed, 8 << 20));
                (seed, writer, pair.from.accept_stream().unwrap().1)
            })
            .collect();
        thread::sleep(Duration::from_millis(100));
        let (mut send, _) = pair.to.open_stream().unwrap();
        send_written(&mut send, 2, 100_000);
        let (_, mut receive) = pair.from.accept_stream().unwrap();
        check_messages(&mut receive, 2, 100_000);
        for (seed, writer, unread) in &mut stalled {
            assert!(!writer.is_finished(), "8 MB fit nowhere: the receiver has not read a byte");
            check_messages(unread, *seed, 8 << 20);
        }
        for (_, writer, _) in stalled {
            writer.join().unwrap();
        }
    });
}

#[test]
fn many_connections_are_accepted_and_kept_apart() {
    within("40 connections", PATIENCE, || {
        let links = MemoryConfig { frames: 16_384, ..MemoryConfig::default() };
        let (here, there) = Endpoint::memory_pair_of(links, EndpointConfig::insecure()).unwrap();
        there.listen().unwrap();
        thread::scope(|scope| {
            for seed in 0..40u64 {
                let (here, to) = (&here, there.mac());
                scope.spawn(move || {
                    let connection = here.connect(to).unwrap();
                    let (mut send, mut answer) = connection.open_stream().unwrap();
                    send.write_all(&seed.to_be_bytes()).unwrap();
                    send.finish().unwrap();
                    check_messages(&mut answer, seed, 20_000);
                });
                scope.spawn(|| {
                    let connection = there.accept_timeout(PATIENCE).unwrap();
                    let (mut send, mut receive) = connection.accept_stream().unwrap();
                    let mut seed = [0; 8];
                    receive.read_exact(&mut seed).unwrap();
                    send_reserved(&mut send, u64::from_be_bytes(seed), 20_000);
                    send.wait_acked().unwrap();
                });
            }
        });
    });
}

#[test]
fn a_cookie_round_changes_nothing_for_an_honest_peer() {
    within("cookie", PATIENCE, || {
        let pair = pair_of(EndpointConfig::insecure().require_cookie(true));
        let (mut send, _) = pair.to.open_stream().unwrap();
        send_written(&mut send, 4, 10_000);
        check_messages(&mut pair.from.accept_stream().unwrap().1, 4, 10_000);
    });
}

#[test]
fn who_can_not_be_reached_is_named_with_the_reason() {
    within("connect errors", PATIENCE, || {
        let config = EndpointConfig::insecure().connect_timeout(Duration::from_millis(200));
        let (here, there) = Endpoint::memory_pair(config).unwrap();
        let refused = here.connect(there.mac()).err().unwrap();
        assert!(matches!(&refused, ConnectError::Refused { peer, .. } if *peer == there.mac()), "{refused}");
        let nobody = MacAddr::new(2, 0, 0, 0, 0, 99);
        let silent = here.connect(nobody).err().unwrap();
        assert!(matches!(&silent, ConnectError::NoAnswer { peer, waited_ms } if *peer == nobody && *waited_ms >= 200));
        assert!(silent.to_string().starts_with("no answer from 02:00:00:00:00:63 within 0.2 s"), "{silent}");
        for bad in [MacAddr::broadcast(), MacAddr::zero(), here.mac()] {
            let error = here.connect(bad).err().unwrap();
            assert!(matches!(error, ConnectError::BadPeer { peer, .. } if peer == bad), "{error}");
        }
        assert_eq!(there.accept_timeout(Duration::from_millis(10)).err(), Some(AcceptError::Timeout));
    });
}

#[test]
fn who_listens_from_the_start_lets_in_whoever_asks() {
    within("a connection before anybody accepts", PATIENCE, || {
        let (here, there) = Endpoint::memory_pair(EndpointConfig::insecure().listening()).unwrap();
        let connection = here.connect(there.mac()).unwrap();
        assert_eq!(there.accept().unwrap().peer(), here.mac());
        assert_eq!(connection.peer(), there.mac());
    });
}

#[test]
fn names_are_announced_discovered_and_resolved() {
    within("discovery", PATIENCE, || {
        let (here, there) = Endpoint::memory_pair(EndpointConfig::insecure()).unwrap();
        let short = Duration::from_millis(300);
        assert!(here.discover(short).unwrap().is_empty(), "nobody has a name yet");
        let unknown = here.resolve("backup", short).unwrap_err();
        assert_eq!(unknown, ResolveError::Unknown { name: "backup".to_owned() });
        there.announce("backup", "a test").unwrap();
        let found = here.discover(short).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].mac, &*found[0].name, &*found[0].service), (there.mac(), "backup", "a test"));
        assert_eq!(here.resolve("backup", PATIENCE), Ok(there.mac()));
        assert_eq!(here.resolve("02:00:00:00:00:07", short), Ok(MacAddr::new(2, 0, 0, 0, 0, 7)));
        assert!(matches!(here.resolve("", short), Err(ResolveError::BadName { .. })));
        assert!(matches!(there.announce(&"long".repeat(9), ""), Err(ResolveError::BadName { .. })));
    });
}

#[test]
fn pings_are_answered_without_a_stream() {
    within("ping", PATIENCE, || {
        let pair = pair();
        let run = PingRun { count: 50, size: 64, interval_ns: 0, timeout_ns: 2_000_000_000 };
        let report = pair.to.ping(run).unwrap();
        assert_eq!((report.sent, report.received, report.rtt.count()), (50, 50, 50));
        let snapshot = pair.to.snapshot().unwrap();
        assert!(snapshot.recovery.is_some() && snapshot.connections == 1);
    });
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let text = |config| Endpoint::memory_pair(config).err().unwrap().to_string();
    assert!(text(EndpointConfig::insecure().vlan(4095, 0)).contains("VLAN 4095"));
    assert!(text(EndpointConfig::insecure().ethertype(0x05DC)).contains("0x05dc"));
    assert!(text(EndpointConfig::insecure().cpu(4096)).contains("--cpu 4096"));
}
