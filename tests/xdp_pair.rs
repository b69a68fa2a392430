//! Two interfaces over one frame pool: whatever arrives on the one leaves by the other, from where it lies, and every
//! frame comes home; and every way of not getting both.

mod lab;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use farwire::link::BURST;
use farwire::xdp::pair::{SIDES, Side};
use farwire::xdp::{XdpConfig, XdpError, XdpPair};
use lab::{Lab, privileged};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(interface: &str) -> XdpConfig {
    XdpConfig { umem_bytes: 32 << 20, ..XdpConfig::new(interface) }
}

fn open(lab: &Lab) -> Result<XdpPair, XdpError> {
    lab.inside("m", || XdpPair::open(&config("eth1"), &config("eth2")))
}

fn refusal(lab: &Lab, first: &str, second: &str) -> String {
    let result = lab.inside("m", || XdpPair::open(&config(first), &config(second)));
    let Err(error) = result else { panic!("{first} and {second} should be refused") };
    error.to_string()
}

fn stat(pair: &XdpPair, side: Side, name: &str) -> u64 {
    pair.stats(side).into_iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
}

/// A cable: what arrives on the one side leaves by the other. Says how many frames went each way.
fn forward(pair: &mut XdpPair, until: &AtomicBool) -> [u64; 2] {
    let (mut waiting, mut carried) = ([VecDeque::new(), VecDeque::new()], [0; 2]);
    let (mut arrived, mut done) = (Vec::new(), Vec::new());
    // TCP says goodbye after its programs have ended: on until nothing has come for a while.
    let mut heard = Instant::now();
    while !until.load(Ordering::Relaxed) || heard.elapsed() < Duration::from_millis(300) {
        for (from, to) in [(Side::First, Side::Second), (Side::Second, Side::First)] {
            let received = pair.rx_burst(from, &mut arrived, BURST);
            carried[from as usize] += received as u64;
            if received > 0 {
                heard = Instant::now();
            }
            waiting[from as usize].extend(arrived.drain(..));
            pair.tx_burst(to, &mut waiting[from as usize]);
            pair.kick(to).expect("the interface is there");
            pair.reap(to, &mut done);
            done.drain(..).for_each(|frame| pair.free(frame));
        }
    }
    waiting.into_iter().flatten().for_each(|frame| pair.free(frame));
    carried
}

/// Sends `bytes` from b to a over the kernel's TCP, and a word back.
fn tcp(lab: &Lab, bytes: usize) {
    let listener = lab.inside("a", || TcpListener::bind("10.77.0.1:7000").unwrap());
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(b"done").unwrap();
            received
        });
        let sent: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let mut client = lab.inside("b", || TcpStream::connect("10.77.0.1:7000").unwrap());
        client.write_all(&sent).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "done");
        assert!(server.join().unwrap() == sent, "what arrived is not what was sent");
    });
}

/// Waits until the kernel has given back everything, then counts.
fn assert_whole(pair: &mut XdpPair) {
    let (start, caps) = (Instant::now(), pair.caps(Side::First).clone());
    let (mut arrived, mut done) = (Vec::new(), Vec::new());
    while pair.free_frames() < caps.frames - caps.rx_reserve {
        for side in SIDES {
            pair.kick(side).unwrap();
            pair.reap(side, &mut done);
            pair.rx_burst(side, &mut arrived, BURST);
        }
        done.drain(..).chain(arrived.drain(..)).for_each(|frame| pair.free(frame));
        assert!(start.elapsed() < PATIENCE, "{} free of {caps:?}", pair.free_frames());
    }
    let all: Vec<_> = std::iter::from_fn(|| pair.alloc()).collect();
    assert_eq!(all.len(), caps.frames - caps.rx_reserve);
    all.into_iter().for_each(|frame| pair.free(frame));
}

#[test]
fn everything_is_carried_from_where_it_lies_and_every_frame_comes_home() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--hosts", "3", "--offloads", "off"]);
    let mut pair = open(&lab).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((pair.caps(Side::First).mode, pair.caps(Side::Second).mode), ("copy", "copy"));
    let (stop, bytes) = (AtomicBool::new(false), 20_000_000);
    let carried = std::thread::scope(|scope| {
        let cable = scope.spawn(|| forward(&mut pair, &stop));
        tcp(&lab, bytes);
        stop.store(true, Ordering::Relaxed);
        cable.join().unwrap()
    });
    assert!(carried[1] as usize > bytes / 1448 && carried[0] > 100, "{carried:?} frames");
    assert_whole(&mut pair);
    for side in SIDES {
        let reached = carried[side as usize] + stat(&pair, side, "kernel_rx_dropped");
        assert_eq!(stat(&pair, side, "steer_steered"), reached, "{side:?}: {:?}", pair.stats(side));
        assert_eq!(stat(&pair, side, "xdp_invalid_received") + stat(&pair, side, "xdp_invalid_completions"), 0);
        assert_eq!(stat(&pair, side, "xdp_tx_moved"), 0, "no frame was copied");
    }
    // With the pair gone the interfaces are the kernel's again, and can be taken once more.
    drop(pair);
    assert!(!lab.run("m", &["ip", "link"]).contains("xdp"), "a program is still attached");
    drop(open(&lab).unwrap_or_else(|error| panic!("{error}")));
}

#[test]
fn frames_still_held_when_the_pair_is_closed_keep_their_memory_and_free_the_queues() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--hosts", "3"]);
    let mut pair = open(&lab).unwrap_or_else(|error| panic!("{error}"));
    let mut held = pair.alloc().unwrap();
    drop(pair);
    held.room_mut().fill(7);
    drop(open(&lab).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(held.room_mut()[0], 7);
}

#[test]
fn what_can_not_be_a_pair_is_named_with_the_next_step() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--hosts", "3", "--queues", "2"]);
    let text = refusal(&lab, "eth1", "eth1");
    assert!(text.starts_with("eth1 is named twice"), "{text}");
    let text = refusal(&lab, "eth9", "eth1");
    assert!(text.starts_with("interface eth9 does not exist here"), "{text}");
    let text = refusal(&lab, "eth1", "eth2");
    assert!(text.contains("eth1 has 2 receive queues") && text.contains("ethtool -L eth1"), "{text}");
    lab.run("m", &["ethtool", "-L", "eth1", "rx", "1"]);
    lab.run("m", &["ethtool", "-L", "eth2", "rx", "1"]);
    lab.run("m", &["ip", "link", "set", "eth2", "mtu", "1400"]);
    let text = refusal(&lab, "eth1", "eth2");
    assert!(text.contains("eth1 has an MTU of 1500 and eth2 one of 1400"), "{text}");
    lab.run("m", &["ip", "link", "set", "eth1", "mtu", "9000"]);
    let text = refusal(&lab, "eth1", "eth2");
    assert!(text.contains("ip link set eth1 mtu 3400"), "{text}");
    lab.run("m", &["ip", "link", "set", "eth1", "down"]);
    let text = refusal(&lab, "eth1", "eth2");
    assert!(text.contains("interface eth1 is down"), "{text}");
}

#[test]
fn an_interface_in_use_is_told_by_whom_and_the_other_one_is_left_alone() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--hosts", "3"]);
    let taken =
        lab.inside("m", || farwire::xdp::XdpLink::open(&config("eth2"))).unwrap_or_else(|error| panic!("{error}"));
    let text = refusal(&lab, "eth1", "eth2");
    assert!(text.contains("eth2 queue 0 is in use by process"), "{text}");
    assert!(!lab.run("m", &["ip", "link", "show", "eth1"]).contains("xdp"));
    drop(taken);
    drop(open(&lab).unwrap_or_else(|error| panic!("{error}")));
}
