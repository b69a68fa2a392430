//! The capture is read back block by block, as the format's text says it, and by tshark where that is installed.

use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::link::memory::{MemoryConfig, MemoryLink, pair};

/// A writer that the test can look into, and that refuses what goes beyond `room` bytes.
#[derive(Clone)]
struct Shared {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.bytes.lock().unwrap();
        if all.len() + bytes.len() > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        all.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tee with a clock that goes on by a second and a nanosecond each time, its peer, and what was captured.
fn tee(snaplen: u32, room: usize) -> (PcapTee<MemoryLink>, MemoryLink, Arc<Mutex<Vec<u8>>>) {
    let config = MemoryConfig { frames: 32, rx_reserve: 8, queue_frames: 4, ..MemoryConfig::default() };
    let (a, b) = pair(config);
    let out = Shared { bytes: Arc::default(), room };
    let now = AtomicU64::new(1_700_000_000_000_000_000);
    let clock = Box::new(move || now.fetch_add(1_000_000_001, Ordering::Relaxed));
    (PcapTee::new(a, Box::new(out.clone()), clock, snaplen), b, out.bytes)
}

fn filled(link: &mut impl Link, byte: u8, len: usize) -> Frame {
    let mut frame = link.alloc().unwrap();
    frame.set_len(len);
    frame.bytes_mut().fill(byte);
    frame
}

#[derive(Debug, PartialEq)]
struct Packet {
    time: Nanos,
    original: u32,
    bytes: Vec<u8>,
    direction: u8,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Splits a capture into its blocks, checking both lengths.
fn blocks(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (kind, length) = (u32_at(bytes, 0), u32_at(bytes, 4) as usize);
        assert_eq!((length % 4, u32_at(bytes, length - 4) as usize), (0, length));
        all.push((kind, &bytes[8..length - 4]));
        bytes = &bytes[length..];
    }
    all
}

/// The options of a block, up to the end mark.
fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    loop {
        let code = u16::from_le_bytes([bytes[0], bytes[1]]);
        let length = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
        if code == 0 {
            assert_eq!(bytes.len(), 4, "nothing behind the end mark");
            return all;
        }
        all.push((code, &bytes[4..4 + length]));
        bytes = &bytes[4 + length.next_multiple_of(4)..];
    }
}

fn packets(capture: &[u8]) -> Vec<Packet> {
    blocks(capture)
        .into_iter()
        .filter(|(kind, _)| *kind == 6)
        .map(|(_, body)| {
            let captured = u32_at(body, 12) as usize;
            let flags = options(&body[20 + captured.next_multiple_of(4)..]);
            assert_eq!((u32_at(body, 0), flags.len(), flags[0].0), (0, 1, 2));
            Packet {
                time: u64::from(u32_at(body, 4)) << 32 | u64::from(u32_at(body, 8)),
                original: u32_at(body, 16),
                bytes: body[20..20 + captured].to_vec(),
                direction: flags[0].1[0],
            }
        })
        .collect()
}

#[test]
fn the_header_tells_link_type_name_address_and_resolution() {
    let (_tee, _peer, capture) = tee(0, usize::MAX);
    let capture = capture.lock().unwrap();
    let blocks = blocks(&capture);
    assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [0x0A0D_0D0A, 1]);
    assert_eq!(blocks[0].1[..8], [0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0]);
    assert_eq!(blocks[1].1[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    let described = options(&blocks[1].1[8..]);
    assert_eq!(described, [(2, b"memory a".as_slice()), (6, &[2, 0, 0, 0, 0, 1]), (9, &[9])]);
}

#[test]
fn both_directions_are_recorded_with_their_times() {
    let (mut tee, mut peer, capture) = tee(0, usize::MAX);
    let mut frames = VecDeque::from([filled(&mut tee, 1, 61), filled(&mut tee, 2, 60)]);
    assert_eq!(tee.tx_burst(&mut frames), 2);
    let frame = filled(&mut peer, 3, 1500);
    peer.tx_burst(&mut VecDeque::from([frame]));
    let mut out = Vec::new();
    assert_eq!(tee.rx_burst(&mut out, 64), 1);
    assert_eq!(tee.rx_burst(&mut out, 64), 0);
    let start = 1_700_000_000_000_000_000;
    let packet = |byte: u8, len: usize, time, direction| Packet {
        time,
        original: len as u32,
        bytes: vec![byte; len],
        direction,
    };
    assert_eq!(
        packets(&capture.lock().unwrap()),
        [packet(1, 61, start, 2), packet(2, 60, start, 2), packet(3, 1500, start + 1_000_000_001, 1)]
    );
}

#[test]
fn what_the_link_did_not_take_is_not_recorded_and_keeps_its_order() {
    let (mut tee, mut peer, capture) = tee(0, usize::MAX);
    let mut frames: VecDeque<Frame> = (0..6).map(|byte| filled(&mut tee, byte, 60)).collect();
    assert_eq!((tee.tx_burst(&mut frames), frames.len()), (4, 2));
    assert_eq!(packets(&capture.lock().unwrap()).len(), 4);
    peer.rx_burst(&mut Vec::new(), 64);
    assert_eq!(tee.tx_burst(&mut frames), 2);
    let order: Vec<u8> = packets(&capture.lock().unwrap()).iter().map(|packet| packet.bytes[0]).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_long_frame_is_cut_and_its_length_told() {
    let (mut tee, _peer, capture) = tee(70, usize::MAX);
    let mut frame = filled(&mut tee, 1, 60);
    frame.append(filled(&mut tee, 2, 60));
    tee.tx_burst(&mut VecDeque::from([frame]));
    let packet = &packets(&capture.lock().unwrap())[0];
    assert_eq!((packet.bytes.len(), packet.original), (70, 120));
    assert_eq!((packet.bytes[59], packet.bytes[60]), (1, 2));
}

#[test]
fn a_full_disk_is_counted_and_the_link_goes_on() {
    let (mut tee, mut peer, capture) = tee(0, 300);
    let mut frames: VecDeque<Frame> = (0..2).map(|byte| filled(&mut tee, byte, 100)).collect();
    assert_eq!(tee.tx_burst(&mut frames), 2);
    let kept = capture.lock().unwrap().len();
    let frame = filled(&mut tee, 7, 14);
    tee.tx_burst(&mut VecDeque::from([frame]));
    let mut out = Vec::new();
    assert_eq!((peer.rx_burst(&mut out, 64), capture.lock().unwrap().len()), (3, kept));
    assert!(tee.kick().is_ok());
    let stats = tee.stats();
    assert!(stats.contains(&("pcap_lost", 3)) && stats.contains(&("pcap_captured", 0)), "{stats:?}");
}

/// Skipped where tshark is missing: the test above reads the same bytes by hand.
#[test]
fn tshark_reads_it() {
    if Command::new("tshark").arg("-v").output().is_err() {
        eprintln!("skipped: no tshark here");
        return;
    }
    let (mut tee, _peer, capture) = tee(0, usize::MAX);
    let mut frame = filled(&mut tee, 0, 61);
    frame.bytes_mut()[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xB5]);
    tee.tx_burst(&mut VecDeque::from([frame]));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &*capture.lock().unwrap()).unwrap();
    let fields = ["frame.time_epoch", "frame.len", "frame.packet_flags_direction", "eth.src", "eth.type"];
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-r"]).arg(file.path());
    fields.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let seen = command.output().unwrap();
    let (line, errors) = (String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    let columns: Vec<&str> = line.split_whitespace().collect();
    assert!(seen.status.success() && columns.len() == 5, "{line:?} {errors}");
    assert!(columns[0].starts_with("1700000000"), "{line}");
    assert_eq!((columns[1], columns[3], columns[4]), ("61", "02:00:00:00:00:01", "0x88b5"), "{line}");
    assert!(columns[2] == "2" || columns[2] == "0x00000002", "{line}");
}
