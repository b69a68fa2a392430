//! The hex examples of `docs/WIRE.md`: each is parsed, shown and emitted again, byte for byte.

use std::path::Path;
use std::process::Command;

#[path = "../fuzz/src/packet/mod.rs"]
pub mod packet;
#[path = "../fuzz/src/seeds.rs"]
pub mod seeds;

use farwire::wire::version::parse_version;
use farwire::wire::{ETHERTYPE, Ethernet, Header, Item, Items, PacketType, ParseError, pretty};
use proptest::prelude::*;

use packet::{again::emit_again, canonical};
use seeds::Example;

#[test]
fn every_example_is_parsed_shown_and_emitted_again() {
    for Example { title, line, bytes } in examples() {
        assert_eq!(pretty::frame(&bytes, ETHERTYPE).to_string(), line, "{title}");
        match emit_again(&bytes) {
            Ok(again) => assert_eq!(hex(&again), hex(&bytes), "{title}"),
            Err(error) => panic!("{title}: {error}"),
        }
    }
}

#[test]
fn the_examples_leave_nothing_out() {
    let (mut kinds, mut sealed, mut items, mut tagged) = (Vec::new(), Vec::new(), Vec::new(), false);
    for Example { bytes, .. } in examples() {
        let (ethernet, at) = Ethernet::parse(&bytes).unwrap();
        tagged |= ethernet.vlan.is_some();
        let packet = &bytes[at..];
        let header = Header::parse(packet).unwrap();
        kinds.push(header.kind as u8);
        sealed.extend(header.seal.map(|_| header.kind as u8));
        if header.kind == PacketType::Control && !header.has_tag() {
            items.extend(Items::new(header.body(packet).unwrap()).map(|item| kind_of(&item.unwrap())));
        }
    }
    let known: Vec<u8> = (0..16).filter(|nibble| PacketType::from_nibble(*nibble).is_some()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, known, "packet types");
    sealed.sort_unstable();
    sealed.dedup();
    assert_eq!(sealed, [1, 2, 3, 5, 6, 9], "sealed OPEN, COOKIE, ACCEPT, DATA, CONTROL, RESET");
    items.sort_unstable();
    items.dedup();
    assert_eq!(items, (0..10).collect::<Vec<_>>(), "items");
    assert!(tagged, "no example with an 802.1Q tag");
}

/// Where a packet ends, its tag or checksum included.
fn whole(packet: &[u8]) -> usize {
    let header = Header::parse(packet).unwrap();
    header.end() + header.tail_len()
}

#[test]
fn a_cut_example_is_refused_and_never_read_beyond() {
    for Example { title, bytes, .. } in examples() {
        let (_, at) = Ethernet::parse(&bytes).unwrap();
        let end = at + whole(&bytes[at..]);
        for len in 0..end {
            let cut = bytes[..len].to_vec().into_boxed_slice(); // its own allocation, so that a reader beyond is caught
            assert!(emit_again(&cut).is_err(), "{title} cut to {len} bytes");
            assert!(!pretty::frame(&cut, ETHERTYPE).to_string().is_empty());
        }
    }
}

/// Of what ends with a tag only its key can tell; `tests/sealed_vectors.rs` asks it.
fn is_for_its_key(packet: &[u8]) -> bool {
    Header::parse(packet).is_ok_and(|header| header.has_tag())
}

#[test]
fn one_flipped_bit_never_passes() {
    for Example { title, bytes, .. } in examples() {
        let (_, at) = Ethernet::parse(&bytes).unwrap();
        let end = at + whole(&bytes[at..]);
        for bit in at * 8..end * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if is_for_its_key(&bytes[at..]) {
                continue;
            }
            assert!(emit_again(&bytes).is_err(), "{title}: bit {bit} flipped");
        }
    }
}

#[test]
fn what_parses_is_emitted_as_it_came_however_it_was_mutated() {
    let examples = examples();
    let mutation = (0..examples.len(), prop::collection::vec((0usize..180, any::<u8>()), 1..6));
    proptest!(ProptestConfig::with_cases(4000), |((index, changes) in mutation)| {
        let mut bytes = examples[index].bytes.clone();
        let (_, start) = Ethernet::parse(&bytes).unwrap();
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(start + at) { *byte = value; }
        }
        let bytes = canonical(&bytes);
        _ = pretty::frame(&bytes, ETHERTYPE).to_string();
        match emit_again(&bytes) {
            Ok(again) => prop_assert_eq!(hex(&again), hex(&bytes)),
            Err(error) => prop_assert_ne!(error, "checksum"),
        }
    });
}

#[test]
fn a_peer_of_another_version_is_understood() {
    let version = examples().into_iter().find(|example| example.title == "VERSION").unwrap();
    let mut packet = version.bytes[14..].to_vec();
    packet[0] = 0x7F;
    let header = Header::parse(&packet).unwrap();
    assert_eq!(header.kind, PacketType::Version);
    assert_eq!(parse_version(header.body(&packet).unwrap()), Ok(&[1, 2][..]));
    packet[0] = 0x71;
    assert_eq!(Header::parse(&packet), Err(ParseError::Version(7)));
    assert_eq!(Header::peek(&packet).map(|(version, kind, _)| (version, kind)), Some((7, PacketType::Open as u8)));
}

#[test]
fn wireshark_shows_the_examples_and_says_what_is_wrong_with_broken_ones() {
    let examples = examples();
    let good: Vec<Vec<u8>> = examples.iter().map(|example| example.bytes.clone()).collect();
    let Some(shown) = tshark(&good) else {
        return eprintln!("tshark is not installed: the dissector was not tested");
    };
    for (Example { title, bytes, .. }, shown) in examples.iter().zip(&shown) {
        let packet = &bytes[Ethernet::parse(bytes).unwrap().1..];
        let header = Header::parse(packet).unwrap();
        let (body, tail) = packet[16..header.end() + header.tail_len()].split_at(usize::from(header.length));
        let (crc, body, tag) =
            if header.has_tag() { ("", hex(body), hex(tail)) } else { ("1", String::new(), String::new()) };
        let right = format!("{}|{}|{crc}|{body}|{tag}|", header.kind as u8, header.number);
        assert_eq!(*shown, right, "{title}");
    }
    let mut broken = Vec::new();
    for bytes in &good {
        let (_, at) = Ethernet::parse(bytes).unwrap();
        let end = at + whole(&bytes[at..]);
        broken.extend((at..end).map(|len| bytes[..len].to_vec()));
        let changed = (at..end).map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xFF;
            bytes
        });
        broken.extend(changed.filter(|bytes| !is_for_its_key(&bytes[at..])));
    }
    let shown = tshark(&broken).unwrap();
    assert_eq!(shown.len(), broken.len());
    for (bytes, shown) in broken.iter().zip(shown) {
        let complaint = shown.rsplit('|').next().unwrap_or_default().to_owned();
        let ours = ["malformed", "CRC32C is wrong", "another version"];
        assert!(ours.iter().any(|text| complaint.contains(text)), "{shown:?} for {}", hex(bytes));
    }
}

/// Type, number, checksum, encrypted body, tag and complaints as the dissector has them, one line per frame; `None`
/// without tshark.
fn tshark(frames: &[Vec<u8>]) -> Option<Vec<String>> {
    // a pcap file: magic, version 2.4, no time zone, snap length, Ethernet
    let mut pcap: Vec<u8> = [0xA1B2_C3D4_u32, 0x0002_0004, 0, 0, 65_535, 1].map(u32::to_be_bytes).concat();
    for frame in frames {
        let len = frame.len() as u32;
        pcap.extend([0, 0, len, len].map(u32::to_be_bytes).concat());
        pcap.extend(frame);
    }
    let trace = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trace.path(), pcap).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/dissector/farwire.lua");
    let fields = ["type", "number", "crc.ok", "encrypted", "tag"].map(|field| format!("farwire.{field}"));
    let fields = fields.iter().map(String::as_str).chain(["_ws.expert.message"]);
    let run = Command::new("tshark")
        .arg("-r")
        .arg(trace.path())
        .args(["-X", &format!("lua_script:{}", script.display()), "-T", "fields", "-E", "separator=|"])
        .args(fields.flat_map(|field| ["-e", field]))
        .output();
    let run = match run {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        run => run.unwrap(),
    };
    let complaints = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && !complaints.contains("lua"), "tshark: {complaints}");
    Some(String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn kind_of(item: &Item<'_>) -> u8 {
    match item {
        Item::Ack(_) => 0,
        Item::ConnCredit { .. } => 1,
        Item::StreamCredit { .. } => 2,
        Item::StreamReset { .. } => 3,
        Item::StreamStop { .. } => 4,
        Item::StreamsLimit { .. } => 5,
        Item::Lowest { .. } => 6,
        Item::Finish => 7,
        Item::Close { .. } => 8,
        Item::Probe => 9,
    }
}

fn examples() -> Vec<Example> {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/WIRE.md")).unwrap();
    seeds::examples(&document)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
