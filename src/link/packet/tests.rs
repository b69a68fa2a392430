//! The packet link over a veth pair, in a network namespace that lives as long as the test's thread.

use std::collections::VecDeque;
use std::process::Command;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

use super::*;

const ETHERTYPE: u16 = 0x88B5;

/// Runs a test as root in a network namespace of its own, with the veth pair `fwa`/`fwb`. The namespace needs no name
/// and no cleaning up: it ends with the thread.
fn in_netns(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        let allowed = std::env::var_os("FARWIRE_UNPRIVILEGED").is_some_and(|value| value == "1");
        assert!(allowed, "this test needs root; FARWIRE_UNPRIVILEGED=1 says that it may be left out");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        ip("link add fwa type veth peer name fwb");
        ip("link set fwa up");
        ip("link set fwb up");
        await_carrier();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until a frame arrives: for up to a second after a pair was set up its ends may have no carrier yet, and the
/// kernel drops what is sent meanwhile.
fn await_carrier() {
    let (mut a, mut b) = (open("fwa"), open("fwb"));
    let to_b = b.caps().mac.octets();
    for _ in 0..200 {
        let probe = frame(&mut a, to_b, 0, 60);
        send(&mut a, probe);
        std::thread::sleep(std::time::Duration::from_millis(10));
        if !receive_now(&mut b).is_empty() {
            return;
        }
    }
    panic!("no carrier after two seconds");
}

fn ip(arguments: &str) {
    assert!(try_ip(arguments), "ip {arguments}");
}

fn try_ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is installed").success()
}

fn open(interface: &str) -> PacketLink {
    let config =
        PacketConfig { interface: interface.to_owned(), ethertype: ETHERTYPE, mtu: 1500, frames: 64, rx_reserve: 32 };
    PacketLink::open(&config).unwrap()
}

/// An Ethernet frame from one link to another, its payload all `byte`.
fn frame(from: &mut PacketLink, to: [u8; 6], byte: u8, len: usize) -> Frame {
    let source = from.caps().mac.octets();
    let mut frame = from.alloc().expect("a free frame");
    frame.set_len(len);
    let bytes = frame.bytes_mut();
    bytes.fill(byte);
    bytes[..6].copy_from_slice(&to);
    bytes[6..12].copy_from_slice(&source);
    bytes[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    frame
}

fn send(from: &mut PacketLink, frame: Frame) -> usize {
    let sent = from.tx_burst(&mut VecDeque::from([frame]));
    let mut done = Vec::new();
    assert_eq!(from.reap(&mut done), sent);
    done.into_iter().for_each(|frame| from.free(frame));
    sent
}

/// The last bytes and lengths of what arrives; waits up to 2 s for the first, never for more.
fn receive(link: &mut PacketLink) -> Vec<(u8, usize)> {
    let mut fds = [PollFd::new(link.poll_fd().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(2000u16)).unwrap();
    receive_now(link)
}

fn receive_now(link: &mut PacketLink) -> Vec<(u8, usize)> {
    let mut out = Vec::new();
    link.rx_burst(&mut out, 64);
    out.into_iter()
        .map(|frame| {
            let seen = (*frame.bytes().last().unwrap(), frame.len());
            link.free(frame);
            seen
        })
        .collect()
}

fn stat(link: &PacketLink, name: &str) -> u64 {
    link.stats().into_iter().find(|(known, _)| *known == name).expect("a known counter").1
}

#[test]
fn frames_go_both_ways_and_only_those_for_us_arrive() {
    in_netns(|| {
        let (mut a, mut b) = (open("fwa"), open("fwb"));
        let (to_a, to_b) = (a.caps().mac.octets(), b.caps().mac.octets());
        for (byte, len) in [(1, 60), (2, 1514)] {
            let sent = frame(&mut a, to_b, byte, len);
            assert_eq!(send(&mut a, sent), 1);
            assert_eq!(receive(&mut b), [(byte, len)]);
            let sent = frame(&mut b, to_a, byte, len);
            assert_eq!(send(&mut b, sent), 1);
            assert_eq!(receive(&mut a), [(byte, len)], "and our own frame did not come back");
        }
        let mut other = frame(&mut a, to_b, 3, 60);
        other.bytes_mut()[12..14].copy_from_slice(&0x88B6u16.to_be_bytes());
        send(&mut a, other);
        let elsewhere = frame(&mut a, [2, 0, 0, 0, 0, 99], 4, 60);
        send(&mut a, elsewhere);
        let to_all = frame(&mut a, [0xFF; 6], 5, 60);
        send(&mut a, to_all);
        assert_eq!((receive(&mut b), stat(&b, "rx_foreign")), (vec![(5, 60)], 1));
        assert_eq!((a.free_frames(), b.free_frames(), a.caps().mode), (32, 32, "packet"));
    });
}

#[test]
fn a_vlans_frames_are_not_taken_for_untagged_ones() {
    in_netns(|| {
        let (mut a, mut b) = (open("fwa"), open("fwb"));
        let to_b = b.caps().mac.octets();
        for (tag, byte) in [(5u16, 1), (0, 2)] {
            let mut tagged = frame(&mut a, to_b, byte, 64);
            tagged.bytes_mut()[12..14].copy_from_slice(&0x8100u16.to_be_bytes());
            tagged.bytes_mut()[14..16].copy_from_slice(&tag.to_be_bytes());
            tagged.bytes_mut()[16..18].copy_from_slice(&ETHERTYPE.to_be_bytes());
            send(&mut a, tagged);
        }
        assert_eq!((receive(&mut b), stat(&b, "rx_foreign")), (vec![(2, 60)], 1), "a priority tag is none");
    });
}

#[test]
fn a_vlan_interface_does_the_tagging() {
    in_netns(|| {
        if !try_ip("link add link fwa name fwa5 type vlan id 5") {
            eprintln!("skipped: this kernel has no 8021q module");
            return;
        }
        ip("link add link fwb name fwb5 type vlan id 5");
        ip("link set fwa5 up");
        ip("link set fwb5 up");
        let mut b = open("fwb");
        let to_b = b.caps().mac.octets();
        let (mut a5, mut b5) = (open("fwa5"), open("fwb5"));
        let within = frame(&mut a5, to_b, 7, 60);
        send(&mut a5, within);
        assert_eq!((receive(&mut b5), receive_now(&mut b)), (vec![(7, 60)], vec![]));
    });
}

#[test]
fn down_waits_up_recovers_and_gone_is_told() {
    in_netns(|| {
        let (mut a, mut b) = (open("fwa"), open("fwb"));
        let to_b = b.caps().mac.octets();
        ip("link set fwa down");
        let mut waiting: VecDeque<Frame> = (1..=3).map(|byte| frame(&mut a, to_b, byte, 60)).collect();
        for _ in 0..3 {
            assert_eq!((a.tx_burst(&mut waiting), waiting.len()), (0, 3));
            assert!(a.kick().is_ok() && receive_now(&mut a).is_empty());
        }
        assert_eq!(stat(&a, "tx_down"), 3);
        ip("link set fwa up");
        let mut sent = 0;
        for _ in 0..200 {
            sent += a.tx_burst(&mut waiting);
            if waiting.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!((sent, receive(&mut b)), (3, vec![(1, 60), (2, 60), (3, 60)]));
        ip("link del fwa");
        let refused = frame(&mut b, [2, 0, 0, 0, 0, 9], 1, 60);
        assert_eq!(send(&mut b, refused), 0);
        let error = b.kick().unwrap_err().to_string();
        assert!(error.starts_with("fwb: the interface is gone"), "{error}");
    });
}

#[test]
fn an_idle_receiver_learns_that_its_interface_is_gone() {
    in_netns(|| {
        let mut a = open("fwa");
        ip("link del fwb");
        let mut fds = [PollFd::new(a.poll_fd().unwrap(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(2000u16)), Ok(1), "the descriptor wakes us");
        assert!(receive_now(&mut a).is_empty());
        assert!(matches!(a.kick(), Err(LinkError::Gone { .. })));
    });
}

#[test]
fn without_a_free_frame_arrivals_are_dropped_and_counted() {
    in_netns(|| {
        let (mut a, mut b) = (open("fwa"), open("fwb"));
        let to_b = b.caps().mac.octets();
        let held: Vec<Frame> = std::iter::from_fn(|| b.alloc()).collect();
        let mut kept = Vec::new();
        for byte in 0..40 {
            let next = frame(&mut a, to_b, byte, 60);
            send(&mut a, next);
        }
        let mut fds = [PollFd::new(b.poll_fd().unwrap(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(2000u16)).unwrap();
        while b.rx_burst(&mut kept, 64) > 0 {}
        assert_eq!((held.len(), kept.len(), stat(&b, "rx_no_frame")), (32, 32, 8));
        kept.into_iter().for_each(|frame| b.free(frame));
        let next = frame(&mut a, to_b, 77, 60);
        send(&mut a, next);
        assert_eq!((receive(&mut b), b.free_frames()), (vec![(77, 60)], 0));
    });
}

#[test]
fn frames_beyond_the_mtu_are_dropped_where_they_are_met() {
    in_netns(|| {
        ip("link set fwa mtu 1400");
        let (mut a, mut b) = (open("fwa"), open("fwb"));
        let to_b = b.caps().mac.octets();
        let long = frame(&mut a, to_b, 1, 1514);
        assert_eq!((send(&mut a, long), stat(&a, "tx_too_long")), (1, 1));
        ip("link set fwa mtu 3000");
        ip("link set fwb mtu 3000");
        let mut chain = frame(&mut a, to_b, 2, 1000);
        let mut rest = a.alloc().unwrap();
        rest.set_len(1000);
        chain.append(rest);
        assert_eq!(send(&mut a, chain), 1);
        let fits = frame(&mut a, to_b, 3, 1514);
        send(&mut a, fits);
        assert_eq!((receive(&mut b), stat(&b, "rx_too_long"), a.free_frames()), (vec![(3, 1514)], 1, 32));
    });
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let config = |interface: &str, frames| PacketConfig {
        interface: interface.to_owned(),
        ethertype: ETHERTYPE,
        mtu: 1500,
        frames,
        rx_reserve: 32,
    };
    let told = |config: &PacketConfig| PacketLink::open(config).err().expect("refused").to_string();
    let missing = told(&config("fwnone", 64));
    assert!(missing.starts_with("interface fwnone: there is none") && missing.contains("lo"), "{missing}");
    assert!(told(&config("lo", 64)).contains("lo is no Ethernet"));
    assert!(told(&config("lo", 32)).contains("a pool of 32 frames, 32 of them kept"));
}

#[test]
fn without_the_capability_the_error_names_it() {
    let error = socket::refused("eth1", "socket", Errno::EPERM.into()).to_string();
    assert!(error.contains("eth1") && error.contains("tools/setup --caps, or setcap cap_net_raw+ep"), "{error}");
}
