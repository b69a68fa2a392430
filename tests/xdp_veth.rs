//! Real AF_XDP over a veth pair between two namespaces: frames both ways, none lost from the pools, and every way of
//! not getting the queue.

mod lab;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use farwire::link::{Frame, Link};
use farwire::xdp::program::Steers;
use farwire::xdp::{Mode, XdpConfig, XdpError, XdpLink, leaked_pools};
use lab::{Lab, privileged};

/// Long enough for a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(20);

fn config() -> XdpConfig {
    XdpConfig { umem_bytes: 4 << 20, ..XdpConfig::new("eth1") }
}

fn open(lab: &Lab, host: &str, config: &XdpConfig) -> XdpLink {
    lab.inside(host, || XdpLink::open(config)).unwrap_or_else(|error| panic!("{host}: {error}"))
}

fn refusal(lab: &Lab, host: &str, config: &XdpConfig) -> XdpError {
    let Err(error) = lab.inside(host, || XdpLink::open(config)) else { panic!("{config:?} should be refused") };
    error
}

fn stat(link: &XdpLink, name: &str) -> u64 {
    link.stats().into_iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
}

/// Writes a control packet of ours into `frame`: `length` bytes of content, the number in the packet number's place.
fn write(frame: &mut Frame, from: &XdpLink, to: &XdpLink, number: u64, length: usize) {
    frame.set_len(14 + 16 + length + 4);
    let bytes = frame.bytes_mut();
    let (to, from) = (to.caps().mac.octets(), from.caps().mac.octets());
    bytes[..6].copy_from_slice(&to);
    bytes[6..12].copy_from_slice(&from);
    bytes[12..14].copy_from_slice(&0x88b5u16.to_be_bytes());
    bytes[14..16].copy_from_slice(&[0x16, 0]);
    bytes[16..18].copy_from_slice(&(length as u16).to_be_bytes());
    bytes[18..22].fill(0);
    bytes[22..30].copy_from_slice(&number.to_be_bytes());
    for (at, byte) in bytes[30..].iter_mut().enumerate() {
        *byte = (number as usize + at) as u8;
    }
}

/// The number in a frame that `write` made, after a look at every byte of it.
fn read(frame: &Frame, length: usize) -> u64 {
    let bytes = frame.bytes();
    assert!(bytes.len() >= 14 + 16 + length + 4, "{frame:?}");
    let number = u64::from_be_bytes(bytes[22..30].try_into().unwrap());
    for (at, byte) in bytes[30..30 + length + 4].iter().enumerate() {
        assert_eq!(*byte, (number as usize + at) as u8, "byte {at} of frame {number}");
    }
    number
}

/// One side of an exchange: what it still has to send, and what it has received.
struct Side {
    link: XdpLink,
    waiting: VecDeque<Frame>,
    sent: u64,
    received: u64,
    done: Vec<Frame>,
    arrived: Vec<Frame>,
}

impl Side {
    fn new(link: XdpLink) -> Side {
        Side { link, waiting: VecDeque::new(), sent: 0, received: 0, done: Vec::new(), arrived: Vec::new() }
    }

    /// A turn that sends up to 64 more frames to `peer`, while fewer than `total` have been sent.
    fn turn(&mut self, peer: &Side, total: u64, length: usize) {
        self.link.reap(&mut self.done);
        self.done.drain(..).for_each(|frame| self.link.free(frame));
        self.link.rx_burst(&mut self.arrived, 64);
        for frame in self.arrived.drain(..) {
            assert_eq!(read(&frame, length), self.received, "in order, nothing missing");
            self.received += 1;
            self.link.free(frame);
        }
        // No further ahead than the peer's rings are long: nothing may be lost here.
        while self.waiting.len() < 64 && self.sent < total.min(peer.received + 500) {
            let Some(mut frame) = self.link.alloc() else { break };
            write(&mut frame, &self.link, &peer.link, self.sent, length);
            self.waiting.push_back(frame);
            self.sent += 1;
        }
        self.link.tx_burst(&mut self.waiting);
        self.link.kick().expect("the interface is there");
    }
}

/// Turns both until each has received `total` frames of the other.
fn exchange(a: &mut Side, b: &mut Side, total: u64, length: usize) {
    let start = Instant::now();
    while a.received < total || b.received < total {
        a.turn(b, total, length);
        b.turn(a, total, length);
        let progress = format!("{}/{} of {total}: {:?}", a.received, b.received, a.link.stats());
        assert!(start.elapsed() < PATIENCE, "{progress}");
    }
}

/// Every frame that could be given out at the start can be given out again.
fn assert_whole(side: &mut Side) {
    let start = Instant::now();
    let caps = side.link.caps().clone();
    while side.link.free_frames() < caps.frames - caps.rx_reserve {
        side.link.kick().unwrap();
        side.link.reap(&mut side.done);
        side.done.drain(..).for_each(|frame| side.link.free(frame));
        side.link.rx_burst(&mut side.arrived, 64);
        side.arrived.drain(..).for_each(|frame| side.link.free(frame));
        assert!(start.elapsed() < PATIENCE, "{} of {caps:?}: {:?}", side.link.free_frames(), side.link.stats());
    }
    assert_eq!(side.link.free_frames(), caps.frames - caps.rx_reserve);
    let mut all = Vec::new();
    while let Some(frame) = side.link.alloc() {
        all.push(frame);
    }
    assert_eq!(all.len(), caps.frames - caps.rx_reserve);
    let mut ids: Vec<_> = all.iter().map(Frame::id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "each frame once");
    all.into_iter().for_each(|frame| side.link.free(frame));
}

#[test]
fn a_hundred_thousand_frames_each_way_and_every_frame_comes_back() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let (mut a, mut b) = (Side::new(open(&lab, "a", &config())), Side::new(open(&lab, "b", &config())));
    assert_eq!(a.link.caps().mode, "copy", "veth has no zero-copy");
    assert_eq!((a.link.caps().mtu, a.link.caps().name.as_str()), (1500, "eth1 queue 0"));
    assert!(
        !a.link.notes().iter().any(|note| note.text.contains("zero-copy")),
        "nor is it asked for: {:?}",
        a.link.notes()
    );
    exchange(&mut a, &mut b, 100_000, 1466);
    assert_whole(&mut a);
    assert_whole(&mut b);
    for side in [&a, &b] {
        assert_eq!(stat(&side.link, "steer_steered"), 100_000);
        assert_eq!(stat(&side.link, "kernel_rx_dropped"), 0);
        assert_eq!(stat(&side.link, "xdp_invalid_received") + stat(&side.link, "xdp_invalid_completions"), 0);
    }
}

#[test]
fn the_largest_mtu_of_one_chunk_and_the_generic_hook() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--mtu", "3400"]);
    let skb = XdpConfig { mode: Mode::Skb, ..config() };
    let (mut a, mut b) = (Side::new(open(&lab, "a", &skb)), Side::new(open(&lab, "b", &skb)));
    assert_eq!((a.link.caps().mode, a.link.caps().mtu), ("skb", 3400));
    exchange(&mut a, &mut b, 2_000, 3380);
    assert_whole(&mut a);
    assert_whole(&mut b);
    drop((a, b));
    let (mut a, mut b) = (Side::new(open(&lab, "a", &config())), Side::new(open(&lab, "b", &config())));
    exchange(&mut a, &mut b, 2_000, 3380);
}

#[test]
fn a_received_frame_can_be_sent_on() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let (mut a, mut b) = (open(&lab, "a", &config()), open(&lab, "b", &config()));
    let mut frame = a.alloc().unwrap();
    write(&mut frame, &a, &b, 77, 100);
    let mut waiting = VecDeque::from([frame]);
    let mut arrived = Vec::new();
    let start = Instant::now();
    a.tx_burst(&mut waiting);
    while arrived.is_empty() && start.elapsed() < PATIENCE {
        a.kick().unwrap();
        b.rx_burst(&mut arrived, 1);
    }
    assert_eq!(read(&arrived[0], 100), 77);
    waiting.extend(arrived.drain(..));
    b.tx_burst(&mut waiting);
    while arrived.is_empty() && start.elapsed() < PATIENCE {
        b.kick().unwrap();
        a.rx_burst(&mut arrived, 1);
    }
    assert_eq!(read(&arrived[0], 100), 77);
    a.free(arrived.remove(0));
}

#[test]
fn a_link_that_goes_down_and_up_again_recovers_by_itself() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let (mut a, mut b) = (Side::new(open(&lab, "a", &config())), Side::new(open(&lab, "b", &config())));
    exchange(&mut a, &mut b, 1_000, 1000);
    lab.run("a", &["ip", "link", "set", "eth1", "down"]);
    for number in 0..200 {
        let Some(mut frame) = a.link.alloc() else { break };
        write(&mut frame, &a.link, &b.link, 1_000 + number, 1000);
        a.waiting.push_back(frame);
        a.link.tx_burst(&mut a.waiting);
        a.link.kick().expect("down is not gone");
    }
    assert!(stat(&a.link, "xdp_kick_down") > 0, "{:?}", a.link.stats());
    lab.run("a", &["ip", "link", "set", "eth1", "up"]);
    // The frames that waited go out now; frames sent while the peer was down are lost, and come back as dropped.
    a.sent = 1_200;
    let start = Instant::now();
    while b.received < 1_200 {
        a.turn(&b, 1_200, 1000);
        b.turn(&a, 1_000, 1000);
        assert!(start.elapsed() < PATIENCE, "{} arrived: {:?}", b.received, a.link.stats());
    }
    exchange_more(&mut a, &mut b);
    assert_whole(&mut a);
    assert_whole(&mut b);
}

/// Another 1000 frames each way, whatever was exchanged before.
fn exchange_more(a: &mut Side, b: &mut Side) {
    for side in [&mut *a, &mut *b] {
        (side.sent, side.received) = (0, 0);
    }
    exchange(a, b, 1_000, 1000);
}

#[test]
fn frames_that_the_driver_drops_come_back() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let (mut a, b) = (Side::new(open(&lab, "a", &config())), open(&lab, "b", &config()));
    lab.run("b", &["ip", "link", "set", "eth1", "down"]);
    let start = Instant::now();
    for number in 0..1_000 {
        let Some(mut frame) = a.link.alloc() else { break };
        write(&mut frame, &a.link, &b, number, 100);
        a.waiting.push_back(frame);
        a.link.tx_burst(&mut a.waiting);
        a.link.kick().unwrap();
        a.link.reap(&mut a.done);
        a.done.drain(..).for_each(|frame| a.link.free(frame));
        assert!(start.elapsed() < PATIENCE);
    }
    assert_whole(&mut a);
    assert!(stat(&a.link, "xdp_tx_dropped_by_driver") >= 1_000, "{:?}", a.link.stats());
}

#[test]
fn arp_and_tcp_pass_beside_us_and_dropping_the_link_detaches() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let (a, b) = (open(&lab, "a", &config()), open(&lab, "b", &config()));
    tcp_echo(&lab);
    assert!(lab.run("a", &["ip", "neigh"]).contains("02:00:0a:4d:00:02"));
    assert!(stat(&b, "steer_not_ours") >= 4, "at least an ARP request, a SYN, an ACK and data");
    assert_eq!(stat(&b, "steer_steered"), 0);
    assert!(lab.run("a", &["ip", "link", "show", "eth1"]).contains("prog/xdp"));
    drop((a, b));
    assert!(!lab.run("a", &["ip", "link", "show", "eth1"]).contains("prog/xdp"));
    tcp_echo(&lab);
}

/// A few bytes from a to b and back through the kernel's own stack.
fn tcp_echo(lab: &Lab) {
    let listener = lab.inside("b", || TcpListener::bind("10.77.0.2:7000")).unwrap();
    let address = "10.77.0.2:7000".parse().unwrap();
    let mut client = lab.inside("a", || TcpStream::connect_timeout(&address, PATIENCE)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut bytes = [0; 5];
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut bytes).unwrap();
    server.write_all(&bytes).unwrap();
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
}

#[test]
fn an_interface_that_goes_away_is_gone() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let mut a = open(&lab, "a", &config());
    lab.run("a", &["ip", "link", "delete", "eth1"]);
    let error = lab.inside("a", move || {
        let start = Instant::now();
        loop {
            if let Err(error) = a.kick() {
                return error.to_string();
            }
            assert!(start.elapsed() < PATIENCE, "an idle link must notice as well");
        }
    });
    assert!(error.contains("eth1 queue 0: the interface is gone"), "{error}");
}

#[test]
fn one_process_per_queue_and_it_is_named() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--queues", "2"]);
    let first = open(&lab, "a", &config());
    let error = refusal(&lab, "a", &config()).to_string();
    let expected = format!("eth1 queue 0 is in use by process {} (", std::process::id());
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.ends_with("stop it or pick another queue"), "{error}");

    let second = open(&lab, "a", &XdpConfig { queue: 1, ..config() });
    assert!(second.notes()[0].text.contains("shares the XDP program"), "{:?}", second.notes());
    let other = XdpConfig { queue: 1, ethertype: 0x88b6, ..config() };
    drop(second);
    assert!(matches!(refusal(&lab, "a", &other), XdpError::OtherEtherType { claimed: 0x88b5, asked: 0x88b6, .. }));

    drop(first);
    drop(open(&lab, "a", &config()));
}

#[test]
fn another_xdp_program_is_named() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--queues", "2"]);
    lab.inside("a", || {
        let mut other = farwire::xdp::Program::load(Steers::EtherType(0x88b7), 2).unwrap();
        let index = farwire::xdp::nic::Nic::query("eth1").unwrap().unwrap().index;
        other.attach(index, farwire::xdp::program::Hook::Native).unwrap();
        let Err(error) = XdpLink::open(&config()) else { panic!("the interface has a program already") };
        let error = error.to_string();
        assert!(error.starts_with("interface eth1 already has an XDP program (`steer`, id "), "{error}");
        drop(other);
        assert!(XdpLink::open(&config()).is_ok());
    });
}

#[test]
fn what_can_not_be_opened_is_named_with_the_next_step() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--mtu", "9000"]);
    let says = |change: &dyn Fn(&mut XdpConfig), expected: &str| {
        let mut config = XdpConfig { mtu: Some(1500), ..config() };
        change(&mut config);
        let error = refusal(&lab, "a", &config).to_string();
        assert!(error.contains(expected), "{error}\n  should say {expected}");
    };
    says(
        &|config| config.mtu = None,
        "an MTU of 9000 does not fit one frame of the pool (3400 at most); say `--mtu 3400`",
    );
    says(&|config| config.mtu = Some(9001), "--mtu 9001 is beyond the interface's MTU of 9000");
    says(&|config| config.mtu = Some(3401), "(3400 at most)");
    says(&|config| config.interface = "eth7".into(), "interface eth7 does not exist here; `ip link`");
    says(&|config| config.interface = "lo".into(), "lo has no Ethernet address");
    says(&|config| config.queue = 1, "queue 1 of eth1: the interface has 1 queue(s), counted from 0");
    says(&|config| config.umem_bytes = 5, "a frame pool of 5 bytes is out of range");
    says(&|config| config.mode = Mode::Zerocopy, "zero-copy bind refused by driver veth (Operation not supported");
    let huge = &|config: &mut XdpConfig| (config.huge_pages, config.umem_bytes) = (true, 1 << 36);
    says(huge, "or leave huge pages out");
    let link = open(&lab, "a", &XdpConfig { mtu: Some(3400), ..config() });
    assert_eq!(link.caps().mtu, 3400);
    drop(link);
    lab.run("a", &["ip", "link", "set", "eth1", "down"]);
    says(&|_| {}, "interface eth1 is down; say `ip link set eth1 up`");
}

#[test]
fn a_pool_whose_frames_are_held_stays_mapped_and_frees_its_queue() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let mut link = open(&lab, "a", &config());
    let mut held = link.alloc().unwrap();
    let before = leaked_pools();
    drop(link);
    assert_eq!(leaked_pools(), before + 1);
    held.set_len(100);
    held.bytes_mut().fill(7);
    assert_eq!(held.bytes()[99], 7);
    drop(open(&lab, "a", &config()));
}

#[test]
#[should_panic(expected = "is not of this pool")]
fn a_frame_of_another_pool_is_refused() {
    if !privileged() {
        panic!("not run for lack of root: is not of this pool");
    }
    let lab = Lab::up(&[]);
    let (mut a, mut b) = (open(&lab, "a", &config()), open(&lab, "b", &config()));
    let frame = a.alloc().unwrap();
    let twin = b.alloc().unwrap();
    assert_eq!(frame.id(), twin.id());
    b.free(frame);
}
