//! The XDP program's verdicts on recorded frames, by `BPF_PROG_TEST_RUN`, with the counter that each one moves.

mod lab;

use farwire::xdp::pair::Side;
use farwire::xdp::program::{Program, REASONS, Steers, Verdict};
use farwire::xdp::{XdpConfig, XdpLink, XdpPair};
use lab::{Lab, privileged};

const ADDRESSES: &str = "02000a4d0002 02000a4d0001";
/// A data packet of 4 bytes: version 1, type 5, length 4 + 16, connection 7, number 1; stream header, payload, CRC.
const DATA: &str = "1500001400000007 0000000000000001 00000000000000000000000000000000 64617461 00000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    assert_eq!(digits.len() % 2, 0, "{hex}");
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A frame: both addresses, then `rest`.
fn frame(rest: &str) -> Vec<u8> {
    bytes(&format!("{ADDRESSES} {rest}"))
}

/// The same, padded to the 60 bytes that Ethernet has at least.
fn padded(rest: &str) -> Vec<u8> {
    let mut frame = frame(rest);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Runs `frame`; the verdict, and the one counter that moved.
fn run(program: &Program, frame: &[u8]) -> (Verdict, &'static str) {
    let before = program.counters();
    let verdict = program.test_run(frame).expect("the kernel runs the program");
    let after = program.counters();
    let moved: Vec<_> = before.iter().zip(after).filter(|(old, new)| old.1 != new.1).collect();
    let [(old, new)] = moved[..] else { panic!("one counter should move, not {moved:?}") };
    assert_eq!(new.1, old.1 + 1);
    (verdict, new.0)
}

/// Frames of ours, all of which go to the socket if there is one.
fn ours() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("data", frame(&format!("88b5 {DATA}"))),
        ("data, VLAN 100", frame(&format!("8100 0064 88b5 {DATA}"))),
        ("control without content, padded", padded("88b5 16000000 00000007 0000000000000002 aabbccdd")),
        ("open of version 2", padded("88b5 21000000 00000000 0000000000000000 aabbccdd")),
        ("open of version 2, unbelievable length", padded("88b5 2100ffff 00000000 0000000000000000 aabbccdd")),
        ("version of version 9", padded("88b5 9f000000 00000000 0000000000000000 aabbccdd")),
        ("exactly as long as it says", frame("88b5 16000002 00000007 0000000000000002 1122 aabbccdd")),
    ]
}

/// Frames that pass to the kernel, and the counter that says why.
fn passing() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let tcp = "4500002800010000400626660a4d00010a4d0002 d4311f90000000000000000050022000e5770000";
    let neighbour = "6000000000203afffe800000000000000000000000000001ff0200000000000000000001ff000002";
    vec![
        ("ARP", "steer_not_ours", padded("0806 0001080006040001 02000a4d0001 0a4d0001 000000000000 0a4d0002")),
        ("IPv4 and TCP", "steer_not_ours", padded(&format!("0800 {tcp}"))),
        ("IPv4, VLAN 100", "steer_not_ours", padded(&format!("8100 0064 0800 {tcp}"))),
        ("IPv6 and ICMPv6", "steer_not_ours", padded(&format!("86dd {neighbour}"))),
        ("ours behind two tags", "steer_not_ours", frame(&format!("8100 0064 8100 0065 88b5 {DATA}"))),
        ("ours behind a service tag", "steer_not_ours", frame(&format!("88a8 0064 88b5 {DATA}"))),
        ("a tag and nothing behind it", "steer_not_ours", frame("8100 0064")),
        ("the neighbouring EtherType", "steer_not_ours", frame(&format!("88b6 {DATA}"))),
        ("no payload", "steer_runt", frame("88b5")),
        ("half a header", "steer_runt", frame("88b5 1500001400000007")),
        ("a byte less than a header, tagged", "steer_runt", frame("8100 0064 88b5 150000140000000700000000000000")),
        ("data of version 2", "steer_wrong_version", frame(&format!("88b5 25{}", &DATA[2..]))),
        ("zeroes", "steer_wrong_version", padded("88b5")),
        (
            "a byte longer than the frame",
            "steer_bad_length",
            frame("88b5 16000003 0000000700000000 00000002 1122aabbccdd"),
        ),
        ("no room for the CRC", "steer_bad_length", frame("88b5 1600000000000007 0000000000000002 aabbcc")),
        ("unbelievable length", "steer_bad_length", padded("88b5 1500ffff00000007 0000000000000002")),
        ("open of our version, too long", "steer_bad_length", padded("88b5 1100ffff00000000 0000000000000000")),
    ]
}

#[test]
fn without_a_socket_everything_passes() {
    if !privileged() {
        return;
    }
    let program = Program::load(Steers::EtherType(0x88b5), 1).expect("the kernel takes the program");
    for (what, frame) in ours() {
        assert_eq!(run(&program, &frame), (Verdict::Pass, "steer_no_socket"), "{what}");
    }
    for (what, reason, frame) in passing() {
        assert_eq!(run(&program, &frame), (Verdict::Pass, reason), "{what}");
    }
}

#[test]
fn ours_goes_to_the_socket_and_the_rest_still_passes() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    lab.inside("a", || {
        let link = XdpLink::open(&XdpConfig::new("eth1")).unwrap_or_else(|error| panic!("{error}"));
        for (what, frame) in ours() {
            assert_eq!(run(link.program(), &frame), (Verdict::Redirect, "steer_steered"), "{what}");
        }
        for (what, reason, frame) in passing() {
            assert_eq!(run(link.program(), &frame), (Verdict::Pass, reason), "{what}");
        }
    });
}

#[test]
fn the_ethertype_is_the_one_that_was_asked_for() {
    if !privileged() {
        return;
    }
    let program = Program::load(Steers::EtherType(0x88b6), 1).expect("the kernel takes the program");
    assert_eq!(program.steers(), Steers::EtherType(0x88b6));
    assert_eq!(run(&program, &frame(&format!("88b6 {DATA}"))).1, "steer_no_socket");
    assert_eq!(run(&program, &frame(&format!("88b5 {DATA}"))).1, "steer_not_ours");
}

#[test]
fn everything_means_every_frame_that_fits() {
    if !privileged() {
        return;
    }
    let program = Program::load(Steers::Everything(100), 1).expect("the kernel takes the program");
    let frames = ours().into_iter().chain(passing().into_iter().map(|(what, _, frame)| (what, frame)));
    for (what, frame) in frames {
        let reason = if frame.len() > 100 { "steer_too_long" } else { "steer_no_socket" };
        assert_eq!(run(&program, &frame), (Verdict::Pass, reason), "{what}");
    }
    let just = padded("0800");
    assert_eq!(run(&program, &[&just[..], &[0; 40]].concat()).1, "steer_no_socket");
    assert_eq!(run(&program, &[&just[..], &[0; 41]].concat()).1, "steer_too_long");

    let lab = Lab::up(&["--hosts", "3"]);
    lab.inside("m", || {
        let open = |name: &str| XdpConfig { umem_bytes: 4 << 20, ..XdpConfig::new(name) };
        let pair = XdpPair::open(&open("eth1"), &open("eth2")).unwrap_or_else(|error| panic!("{error}"));
        let before = pair.stats(Side::First);
        lab.run("a", &["bash", "-c", "echo >/dev/udp/10.77.0.2/9"]);
        let moved: Vec<_> = pair.stats(Side::First).into_iter().zip(before).filter(|(new, old)| new != old).collect();
        // Nobody answers the ARP request: it was not for the kernel's eyes.
        assert!(moved.iter().any(|(new, _)| new.0 == "steer_steered"), "{moved:?}");
        assert!(moved.iter().all(|(new, _)| new.0 == "steer_steered"), "{moved:?}");
    });
}

/// The order of names in Rust is the order of `enum steer_reason` in C.
#[test]
fn both_languages_name_the_reasons_alike() {
    let header = include_str!("../bpf/steer.h");
    for (value, name) in REASONS.iter().enumerate() {
        let constant = name.trim_start_matches("steer_").to_uppercase();
        assert!(header.contains(&format!("\t{constant} = {value},")), "{constant} = {value} is not in bpf/steer.h");
    }
    assert!(header.contains(&format!("STEER_REASONS = {},", REASONS.len())));
}
