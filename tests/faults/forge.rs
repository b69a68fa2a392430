//! Frames that no farwire of this version would send, through AF_PACKET.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use farwire::wire::eth::Ethernet;
use farwire::wire::version::emit_version;
use farwire::wire::{HEADER_LEN, Header, Open, PacketType, SealedOpen, crc};
use nix::sched::{CloneFlags, setns};
use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};
use serde_json::Value;

use super::lab::Lab;

const ETHERTYPE: u16 = 0x88B5;
/// Where the garbage goes: host b.
const B: [u8; 6] = [0x02, 0x00, 0x0a, 0x4d, 0x00, 0x02];
const A: [u8; 6] = [0x02, 0x00, 0x0a, 0x4d, 0x00, 0x01];

/// A thread in a host, until it is dropped or stopped.
pub struct Forger {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Forger {
    fn start(lab: &Lab, host: &str, work: impl FnOnce(&AtomicBool) -> u64 + Send + 'static) -> Forger {
        let (namespace, over) = (lab.namespace(host), Arc::new(AtomicBool::new(false)));
        let seen = over.clone();
        let thread = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work(&seen)
        });
        Forger { over, thread: Some(thread) }
    }

    /// Ends it and says how many frames it sent.
    pub fn stop(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there shows as a test that got no answer.
            let _ = thread.join();
        }
    }
}

fn channel() -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>) {
    let interface = datalink::interfaces().into_iter().find(|nic| nic.name == "eth1").unwrap();
    let config = datalink::Config { read_timeout: Some(Duration::from_millis(50)), ..Default::default() };
    match datalink::channel(&interface, config).unwrap() {
        Channel::Ethernet(tx, rx) => (tx, rx),
        _ => panic!("eth1 is no Ethernet"),
    }
}

/// A host that speaks version 2 only: answers every OPEN with a VERSION packet.
pub fn version_responder(lab: &Lab, host: &str) -> Forger {
    let forger = Forger::start(lab, host, |over| {
        let (mut tx, mut rx) = channel();
        let mut answers = 0;
        while !over.load(Ordering::Relaxed) {
            let Ok(frame) = rx.next() else { continue };
            let Some(answer) = version_answer(frame) else { continue };
            tx.send_to(&answer, None).unwrap().unwrap();
            answers += 1;
        }
        answers
    });
    // Its socket has to be there before somebody asks.
    thread::sleep(Duration::from_millis(200));
    forger
}

fn version_answer(frame: &[u8]) -> Option<Vec<u8>> {
    let (ethernet, at) = Ethernet::parse(frame)?;
    let packet = &frame[at..];
    let header = Header::parse(packet).ok().filter(|_| ethernet.ethertype == ETHERTYPE)?;
    let body = packet.get(HEADER_LEN..header.end()).filter(|_| header.kind == PacketType::Open)?;
    let (conn, nonce) = match header.seal {
        None => Open::parse(body).map(|open| (open.conn, open.nonce)).ok()?,
        Some(_) => SealedOpen::parse(body).map(|open| (open.conn, open.nonce)).ok()?,
    };
    let mut answer = vec![0; 60];
    answer[..6].copy_from_slice(&frame[6..12]);
    answer[6..12].copy_from_slice(&frame[..6]);
    answer[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    let out = &mut answer[14..];
    let length = emit_version(&mut out[HEADER_LEN..], &[2]) as u16;
    let said =
        Header { kind: PacketType::Version, fin: false, trailer: false, seal: None, length, conn, number: nonce };
    said.emit(out);
    // Version 2 in its own words.
    out[0] = 0x2f;
    crc::emit(out, HEADER_LEN + usize::from(length));
    Some(answer)
}

/// Sends garbage to host b as fast as it goes: random bytes, headers of every kind over random bodies with right and
/// wrong checksums, lengths that lie, other versions, runts.
pub fn flood(lab: &Lab, host: &str) -> Forger {
    Forger::start(lab, host, |over| {
        let (mut tx, _rx) = channel();
        let (mut frames, mut random) = (0, Random(0x1234_5678_9abc_def1));
        while !over.load(Ordering::Relaxed) {
            let frame = garbage(&mut random);
            // A full queue is no reason to stop.
            if matches!(tx.send_to(&frame, None), Some(Ok(()))) {
                frames += 1;
            }
        }
        frames
    })
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn garbage(random: &mut Random) -> Vec<u8> {
    let len = match random.next() % 4 {
        0 => random.next() % 46,
        1 => 1400 + random.next() % 100,
        _ => random.next() % 400,
    } as usize;
    let mut frame = [&B[..], &A, &ETHERTYPE.to_be_bytes()].concat();
    frame.extend((0..len).map(|_| random.next() as u8));
    let kind = random.next() % 4;
    if kind > 0 && len >= HEADER_LEN + 4 {
        let packet = &mut frame[14..];
        // Our version, any type; a length that is right, or lies.
        packet[0] = 0x10 | (random.next() % 16) as u8;
        packet[1] &= 3;
        let body = (len - HEADER_LEN - 4) as u16;
        let claimed = if kind == 1 { random.next() as u16 } else { body };
        packet[2..4].copy_from_slice(&claimed.to_be_bytes());
        if random.next().is_multiple_of(2) {
            // A small connection id, which may exist.
            packet[4..8].copy_from_slice(&((random.next() % 3) as u32 + 1).to_be_bytes());
        }
        if kind == 3 {
            crc::emit(packet, HEADER_LEN + usize::from(body));
        }
    }
    frame
}

/// Frames that an engine, its link or the XDP program has counted as dropped.
pub fn dropped(engine: &Value) -> u64 {
    let sum = |object: &Value, wanted: &dyn Fn(&str) -> bool| -> u64 {
        let counters = object.as_object().unwrap();
        counters.iter().filter(|(name, _)| wanted(name)).filter_map(|(_, value)| value.as_u64()).sum()
    };
    let ours = sum(&engine["counters"], &|name| name.starts_with("drop_"));
    let program = ["steer_runt", "steer_wrong_version", "steer_bad_length"];
    ours + sum(&engine["link"], &|name| program.contains(&name))
}
