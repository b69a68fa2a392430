//! The link emulator between two hosts with the kernel's own TCP, UDP, ICMP and ARP. Needs root.

#[path = "../../tests/lab/mod.rs"]
mod lab;
#[path = "linkem/scene.rs"]
mod scene;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use farwire::xdp::nic::Nic;
use farwire::xdp::program::{Hook, Program, Steers};
use nix::sys::signal::Signal;
use scene::{PATIENCE, Scene};

/// Where a test can't run without root, this ends it: loudly, unless that is known.
macro_rules! needs_root {
    () => {
        if !lab::privileged() {
            return;
        }
    };
}

/// Sends numbered datagrams of `length` bytes, no faster than one per `gap`.
fn send(socket: &UdpSocket, count: u32, length: usize, gap: Duration) {
    let (start, mut datagram) = (Instant::now(), vec![0; length]);
    for number in 0..count {
        std::thread::sleep((gap * number).saturating_sub(start.elapsed()));
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        socket.send(&datagram).unwrap();
    }
}

/// The numbers of what arrives, until nothing has for a second.
fn receive(socket: &UdpSocket) -> Vec<u32> {
    let (mut numbers, mut datagram) = (Vec::new(), [0; 2000]);
    while socket.recv(&mut datagram).is_ok() {
        numbers.push(u32::from_be_bytes(datagram[..4].try_into().unwrap()));
    }
    numbers
}

/// What a frame of that length takes on the wire: FCS, preamble, gap.
fn wire_bytes(frame_len: usize) -> f64 {
    (frame_len.max(60) + 24) as f64
}

#[test]
fn arp_icmp_and_tcp_pass_and_a_round_trip_takes_the_delay_twice() {
    needs_root!();
    let scene = Scene::new();
    let linkem = scene.linkem("--delay 30ms");
    // The first one asks for the address first, which takes a round trip as well.
    let trips = scene.ping(21);
    assert!(trips[0] >= Duration::from_millis(120), "{trips:?}");
    let mut trips = trips[1..].to_vec();
    trips.sort();
    assert!(trips[0] >= Duration::from_millis(60), "{trips:?}");
    // The best of them: a busy machine holds up the others, and not on the link.
    assert!(trips[2] < Duration::from_millis(61), "{trips:?}");

    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let listener = scene.lab.inside("b", || TcpListener::bind("10.77.0.2:7001").unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, mut received) = (listener.accept().unwrap().0, Vec::new());
        stream.read_to_end(&mut received).unwrap();
        received
    });
    let mut client = scene.lab.inside("a", || TcpStream::connect("10.77.0.2:7001").unwrap());
    client.write_all(&bytes).unwrap();
    drop(client);
    assert!(server.join().unwrap() == bytes, "what arrived is not what was sent");
    let ended = linkem.stop();
    assert_eq!(ended.own_losses(), 0, "{}", ended.report);
    assert!(ended.number("to_right/sent/bytes") > 3e6);
    scene.nothing_left();
}

#[test]
fn the_rate_is_kept_and_the_queue_is_as_long_as_was_said() {
    needs_root!();
    let scene = Scene::new();
    scene.introduce();
    // 500 ms of 20 Mbit/s: 812 frames of 1538 bytes on the wire, so that a sender that is held up does not empty it.
    let linkem = scene.linkem("--rate 20mbit --delay 1ms --queue 500ms --bins 100ms");
    let (a, b) = scene.sockets();
    let receiver = std::thread::spawn(move || receive(&b));
    // 41 Mbit/s on the wire, for 2.4 s.
    send(&a, 8000, 1500 - 28, Duration::from_micros(300));
    let received = receiver.join().unwrap();
    assert!(received.is_sorted(), "the order is kept");
    let ended = linkem.stop();
    let frames = |what: &str| ended.number(&format!("to_right/{what}/frames"));
    assert_eq!(frames("offered"), 8000.0);
    assert_eq!(frames("passed") + frames("dropped_queue"), 8000.0);
    assert_eq!(frames("sent") as usize, received.len());
    assert!(frames("dropped_queue") > 500.0, "{}", ended.report);
    // Seconds from all over the run: a pause of this machine may have cut one or two of them short.
    let bins = ended.report["to_right"]["bins_bytes"].as_array().unwrap();
    let bins: Vec<f64> = bins.iter().map(|bytes| bytes.as_f64().unwrap()).collect();
    let mut seconds: Vec<f64> = bins[5..25].windows(10).map(|second| second.iter().sum()).collect();
    seconds.sort_by(f64::total_cmp);
    let rate = seconds[seconds.len() / 2] / 1514.0 * wire_bytes(1514) * 8.0;
    assert!((rate / 20e6 - 1.0).abs() < 0.01, "{rate} bit/s: {bins:?}");
    let most = ended.number("to_right/queued_ns/max");
    assert!(most <= 500e6 && most > 498e6, "{most} ns waited at most");
}

#[test]
fn frames_are_lost_doubled_delayed_and_damaged_as_often_as_was_said() {
    needs_root!();
    let scene = Scene::new();
    scene.introduce();
    let count = 20_000;
    let run = |arguments: &str| {
        let linkem = scene.linkem(arguments);
        let (a, b) = scene.sockets();
        let receiver = std::thread::spawn(move || receive(&b));
        send(&a, count, 100, Duration::from_micros(50));
        (receiver.join().unwrap(), linkem.stop())
    };
    let share = |frames: usize| frames as f64 / f64::from(count);

    let (received, ended) = run("--loss 10% --seed 7");
    assert!((share(received.len()) - 0.9).abs() < 0.01, "{} arrived", received.len());
    assert_eq!(ended.number("to_right/sent/frames") as usize, received.len());
    let (again, ended_again) = run("--loss 10% --seed 7");
    // A busy machine may lose frames behind the link, in the receiver's socket: those are not the link's.
    let same = |number: &u32| received.binary_search(number).is_ok();
    assert_eq!(ended_again.number("to_right/sent/frames"), ended.number("to_right/sent/frames"));
    assert!(again.iter().all(same) && share(again.len()) > 0.88, "the same seed loses the same frames");

    let (received, ended) = run("--duplicate 20% --reorder 10%/2ms");
    let (mut distinct, mut overtaken) = (received.clone(), 0);
    distinct.sort();
    distinct.dedup();
    let sent = ended.number("to_right/sent/frames") as usize;
    assert!((share(sent) - 1.2).abs() < 0.015, "{sent} sent on");
    assert!(received.len() <= sent && share(sent - received.len()) < 0.03, "{} of {sent} arrived", received.len());
    assert!(share(distinct.len()) > 0.97, "nothing is lost on the link");
    let mut highest = 0;
    for number in &received {
        overtaken += usize::from(*number < highest);
        highest = highest.max(*number);
    }
    // Of those held back by 2 ms some 40 frames overtake each; a doubled one comes late twice.
    assert!((share(overtaken) - 0.12).abs() < 0.015, "{overtaken} were overtaken");

    // A flipped bit is found by a checksum, or by an address that is nobody's.
    let (received, ended) = run("--corrupt 30%");
    assert!((ended.number("to_right/corrupted/frames") / f64::from(count) - 0.3).abs() < 0.015, "{}", ended.report);
    assert!((share(received.len()) - 0.7).abs() < 0.02, "{} arrived", received.len());
}

#[test]
fn an_outage_cuts_what_comes_meanwhile_and_a_change_is_on_time() {
    needs_root!();
    let scene = Scene::new();
    scene.introduce();
    let linkem = scene.linkem("--outage 1s+500ms --loss-at 2s=100% --bins 100ms --duration 3s");
    let (a, b) = scene.sockets();
    let receiver = std::thread::spawn(move || receive(&b));
    send(&a, 290, 100, Duration::from_millis(10));
    receiver.join().unwrap();
    let ended = linkem.wait();
    let mut bins: Vec<u64> =
        ended.report["to_right"]["bins_bytes"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    bins.resize(30, 0);
    let silent: Vec<usize> = (1..29).filter(|at| bins[*at] == 0).collect();
    let expected: Vec<usize> = (10..15).chain(20..29).collect();
    assert_eq!(silent, expected, "{bins:?}");
    assert!((ended.number("to_right/dropped_outage/frames") - 50.0).abs() <= 2.0, "{}", ended.report);
    assert!((ended.number("seconds") - 3.0).abs() < 0.1, "it ends by itself");
}

#[test]
fn the_directions_can_differ() {
    needs_root!();
    let scene = Scene::new();
    scene.introduce();
    let linkem = scene.linkem("--delay 5ms --right delay=40ms --left rate=1mbit,loss@60s=100%");
    let mut trips = scene.ping(21);
    trips.sort();
    // 45 ms, and 84 bytes on the wire at 1 Mbit/s take 0.7 ms.
    let (least, most) = (Duration::from_micros(45_672), Duration::from_micros(46_672));
    assert!(trips[0] >= least && trips[2] < most, "{trips:?}");
    let ended = linkem.stop();
    assert_eq!(ended.report["to_right"]["profile"], "rate=unlimited,delay=40ms");
    let left = ended.report["to_left"]["profile"].as_str().unwrap();
    assert!(left.contains("rate=1mbit") && left.contains("loss@60s=100%"), "{left}");
}

#[test]
fn however_it_ends_nothing_is_left_behind() {
    needs_root!();
    let scene = Scene::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let linkem = scene.linkem("--delay 100ms --interval 100ms");
        scene.ping(1);
        linkem.signal(signal);
        let ended = linkem.wait();
        assert!(ended.status == 0 || ended.status == 3, "{signal}: {} {}", ended.status, ended.said);
        assert!(ended.said.contains("right: in "), "{}", ended.said);
        assert!(ended.number("to_right/sent/frames") > 0.0);
        scene.nothing_left();
    }
    let linkem = scene.linkem("--delay 100ms");
    scene.ping(1);
    linkem.signal(Signal::SIGKILL);
    linkem.wait();
    let start = Instant::now();
    while scene.lab.run("m", &["ip", "link"]).contains("xdp") && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.nothing_left();
    // To lock 256 MiB takes longer than this run, and is none of it.
    let ended = scene.linkem("--duration 50ms --umem 256MiB").wait();
    assert!(ended.number("cpu_share") < 1.1, "{}", ended.report);
}

#[test]
fn a_run_that_the_emulator_itself_spoilt_is_invalid() {
    needs_root!();
    let scene = Scene::new();
    scene.introduce();
    // 200 ms of what is sent here are some 2,000 frames; there is room for 1,024.
    let linkem = scene.linkem("--delay 200ms --umem 4MiB");
    let (a, b) = scene.sockets();
    let receiver = std::thread::spawn(move || receive(&b));
    send(&a, 10_000, 100, Duration::from_micros(100));
    let received = receiver.join().unwrap();
    let ended = linkem.stop();
    assert_eq!((ended.status, &ended.report["invalid"]), (3, &serde_json::Value::Bool(true)), "{}", ended.report);
    let lost = ended.number("to_right/own_losses/kernel_rx_dropped");
    assert_eq!(lost as usize + received.len(), 10_000, "every frame is accounted for: {}", ended.report);
    let reasons = ended.report["reasons"].to_string();
    assert!(reasons.contains("right: ") && reasons.contains("frames lost by the emulator"), "{reasons}");

    // No machine is as punctual as this asks for.
    let linkem = scene.linkem("--delay 2ms --late 1us --granularity 200us");
    scene.ping(20);
    let ended = linkem.stop();
    assert_eq!(ended.status, 3, "{}", ended.report);
    assert!(ended.report["reasons"].to_string().contains("frames left more than 1.00 µs late"), "{}", ended.report);
}

#[test]
fn what_can_not_be_is_refused_before_anything_starts() {
    needs_root!();
    let scene = Scene::new();
    for (arguments, status, text) in [
        ("eth1 eth9", 1, "interface eth9 does not exist here"),
        ("eth9 eth1", 1, "interface eth9 does not exist here"),
        ("eth1 eth1", 2, "eth1 is named twice"),
        ("eth1 lo", 1, "interface lo has no Ethernet address"),
        ("--rate 0", 2, "--rate 0: "),
        ("--rate -5mbit", 2, "--rate -5mbit: "),
        ("--rate 1gbit --queue 100", 2, "--queue 100: "),
        ("--loss 200%", 2, "--loss 200%: "),
        ("--delay 3h", 2, "--delay 3h: "),
        ("--rate 1gbit --queue unlimited", 2, "say --queue, or how much with --umem"),
        ("--rate 10gbit --delay 100s", 1, "are free on this machine"),
        ("--umem 60TB", 1, "say --umem with"),
        ("--umem 4KiB", 2, "--umem"),
        ("--cpu 4000", 1, "cannot run on CPU 4000"),
    ] {
        let said = scene.refusal(arguments, status);
        assert!(said.contains(text), "{arguments}: {said}");
    }
    for (host, arguments, text) in [
        ("m", ["ip", "link", "set", "eth2", "mtu", "1400"], "eth2 one of 1400; make them alike"),
        ("m", ["ip", "link", "set", "eth1", "mtu", "9000"], "ip link set eth1 mtu 3400"),
        ("m", ["ip", "link", "set", "eth1", "mtu", "1400"], ""),
        ("m", ["ip", "link", "set", "dev", "eth2", "down"], "interface eth2 is down; say `ip link set eth2 up`"),
    ] {
        scene.lab.run(host, &arguments);
        if !text.is_empty() {
            let said = scene.refusal("", 1);
            assert!(said.contains(text), "{arguments:?}: {said}");
        }
    }
    scene.lab.run("m", &["ip", "link", "set", "eth2", "up"]);
    let first = scene.linkem("");
    let second = scene.command("").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("eth1 queue 0 is in use by process") && said.contains("(linkem)"), "{said}");
    first.stop();
    scene.lab.inside("m", || {
        let mut other = Program::load(Steers::EtherType(0x88b7), 1).unwrap();
        other.attach(Nic::query("eth2").unwrap().unwrap().index, Hook::Native).unwrap();
        let refused = scene.command("").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("interface eth2 already has an XDP program (`steer`, id "), "{said}");
    });
    scene.nothing_left();
    let mut bare = std::process::Command::new("ip");
    bare.args(["netns", "exec", &scene.lab.namespace_name("m"), "setpriv", "--bounding-set=-all,+net_raw"]);
    let bare = bare.args([env!("CARGO_BIN_EXE_linkem"), "eth1", "eth2"]).output().unwrap();
    let said = String::from_utf8_lossy(&bare.stderr);
    assert!(said.contains("CAP_NET_ADMIN") || said.contains("CAP_IPC_LOCK"), "{said}");
}
