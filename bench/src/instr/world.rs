//! Two engines over the link in memory, in virtual time, one bulk stream between them.

use std::sync::atomic::Ordering;
use std::task::Waker;

use anyhow::{Context, bail};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use farwire::base::Nanos;
use farwire::base::time::{MICROSECOND, SECOND};
use farwire::crypto::{Cipher, Key, Keyring, NamedKey};
use farwire::engine::port::{
    Command, Commit, ConnPort, ConnectOptions, Doorbell, RecvPort, SendPort, Snapshot, StreamPort,
};
use farwire::engine::{Engine, EngineConfig};
use farwire::link::Link;
use farwire::link::memory::{MemoryConfig, MemoryLink, pair};
use farwire::proto::config::{Config, Security};
use farwire::proto::recovery::Algorithm;
use serde::{Deserialize, Serialize};

use super::Scene;
use super::opaque::Opaque;

/// Turns after which it is given up: a second of work under valgrind.
const TURNS_MOST: u64 = 10_000_000;
/// Frames that the application asks for at a time, as the blocking API does.
const WANTED: u32 = 64;

/// What was moved, counted by the engines.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Counts {
    pub data_packets: u64,
    pub acks: u64,
    pub turns: u64,
    pub lost: u64,
    pub retransmitted: u64,
}

pub struct World {
    now: Nanos,
    step_ns: Nanos,
    turns: u64,
    sender: Host,
    receiver: Host,
}

struct Host {
    engine: Engine<Opaque>,
    commands: Sender<Command>,
    incoming: Receiver<ConnPort>,
}

impl Host {
    fn new(link: MemoryLink, proto: Config, seed: u8) -> anyhow::Result<Host> {
        let (commands, receiver) = unbounded();
        let (incoming, accepted) = unbounded();
        commands.send(Command::Listen { incoming })?;
        let config = EngineConfig { proto, vlan: None, incoming: None, seed: [seed; 32] };
        let engine = Engine::new(Opaque(link), config, receiver, Doorbell::new(Waker::noop().clone()));
        Ok(Host { engine, commands, incoming: accepted })
    }
}

impl World {
    pub fn new(scene: &Scene) -> anyhow::Result<World> {
        let algorithm = match scene.cc.as_str() {
            "bbr" => Algorithm::Bbr,
            "cubic" => Algorithm::Cubic,
            "reno" => Algorithm::Reno,
            _ => Algorithm::Fixed(scene.rate),
        };
        let memory =
            MemoryConfig { mtu: usize::from(scene.mtu), frames: 8192, rx_reserve: 2048, ..MemoryConfig::default() };
        let (ours, theirs) = pair(memory);
        let proto = sealed(Config { algorithm, ..Config::default() }, &scene.seal);
        Ok(World {
            now: SECOND,
            step_ns: scene.step_us * MICROSECOND,
            turns: 0,
            sender: Host::new(ours, proto.clone(), 1)?,
            receiver: Host::new(theirs, proto, 2)?,
        })
    }

    /// Sends `segments` full segments and waits until the reader has them all.
    pub fn transfer(mut self, segments: u64) -> anyhow::Result<Counts> {
        let (ours, theirs) = self.connect()?;
        let (reply, answer) = bounded(1);
        self.sender.commands.send(Command::OpenStream { conn: ours.key, reply })?;
        let mut ours = self.until("a stream", |_| answer.try_recv().ok())?;
        let payload = vec![0x5A; ours.send.max_payload];
        let (mut written, mut read, mut ended) = (0, 0, false);
        let mut peer: Option<StreamPort> = None;
        self.until("the last segment", |_| {
            written += application_writes(&mut ours.send, &payload, segments - written);
            if written == segments && !ended {
                ended = ours.send.commits.push(Commit { frame: None, len: 0, fin: true, at_ns: 0 }).is_ok();
            }
            peer = peer.take().or_else(|| theirs.streams.try_recv().ok());
            let (count, fin) = application_reads(&mut peer.as_mut()?.recv);
            read += count;
            fin.then_some(())
        })?;
        if read < segments {
            bail!("{read} of {segments} segments arrived");
        }
        self.counts()
    }

    fn connect(&mut self) -> anyhow::Result<(ConnPort, ConnPort)> {
        let (reply, answer) = bounded(1);
        self.step();
        let peer = self.receiver.engine.link().caps().mac;
        let options = ConnectOptions { peer, timeout_ns: SECOND };
        self.sender.commands.send(Command::Connect { options, reply })?;
        let ours = self.until("an answer", |_| answer.try_recv().ok())??;
        let theirs = self.until("a connection", |world| world.receiver.incoming.try_recv().ok())?;
        Ok((ours, theirs))
    }

    fn until<T>(&mut self, what: &str, mut poll: impl FnMut(&mut World) -> Option<T>) -> anyhow::Result<T> {
        for _ in 0..TURNS_MOST {
            if let Some(value) = poll(self) {
                return Ok(value);
            }
            self.step();
        }
        bail!("{what} did not come in {TURNS_MOST} turns")
    }

    fn step(&mut self) {
        self.now += self.step_ns;
        self.turns += 1;
        sender_turn(&mut self.sender.engine, self.now);
        receiver_turn(&mut self.receiver.engine, self.now);
    }

    fn counts(&mut self) -> anyhow::Result<Counts> {
        let turns = self.turns;
        let sender = self.snapshot(true)?.counters;
        let receiver = self.snapshot(false)?.counters;
        Ok(Counts {
            data_packets: receiver.rx_data_packets,
            acks: receiver.tx_acks,
            turns,
            lost: sender.lost_packets,
            retransmitted: sender.retransmitted_packets,
        })
    }

    fn snapshot(&mut self, sender: bool) -> anyhow::Result<Snapshot> {
        let (reply, answer) = bounded(1);
        let host = if sender { &self.sender } else { &self.receiver };
        host.commands.send(Command::Snapshot { conn: None, reply })?;
        self.step();
        answer.try_recv().context("no snapshot")
    }
}

/// The same settings, with a key that both sides have.
fn sealed(proto: Config, seal: &str) -> Config {
    let cipher = match seal {
        "aes" => Cipher::Aes256Gcm,
        "chacha" => Cipher::ChaCha20Poly1305,
        _ => return proto,
    };
    let keys = Keyring::new(NamedKey::new("bench", Key::from_bytes(*b"a key no secret is kept with ...")));
    Config { security: Security::Keys(keys), cipher, ..proto }
}

/// Callgrind counts while this runs. The names keep the compiler from making one function of the two.
#[inline(never)]
fn sender_turn(engine: &mut Engine<Opaque>, now: Nanos) {
    std::hint::black_box((engine.turn(now), "sender"));
}

/// Callgrind counts while this runs.
#[inline(never)]
fn receiver_turn(engine: &mut Engine<Opaque>, now: Nanos) {
    std::hint::black_box((engine.turn(now), "receiver"));
}

/// Fills the frames at hand, at most `most`; how many it were.
#[inline(never)]
fn application_writes(port: &mut SendPort, payload: &[u8], most: u64) -> u64 {
    let mut count = 0;
    while count < most {
        let Ok(mut frame) = port.grants.pop() else {
            port.shared.wanted.store(WANTED, Ordering::Release);
            break;
        };
        frame.room_mut()[port.payload_offset..port.payload_offset + payload.len()].copy_from_slice(payload);
        let commit = Commit { frame: Some(frame), len: payload.len(), fin: false, at_ns: 0 };
        if port.commits.push(commit).is_err() {
            break;
        }
        count += 1;
    }
    port.notify();
    count
}

/// Gives back what has arrived, unread; how many segments, and whether the stream has ended.
#[inline(never)]
fn application_reads(port: &mut RecvPort) -> (u64, bool) {
    let (mut count, mut end) = (0, false);
    while let Ok(message) = port.messages.pop() {
        end |= message.fin;
        count += u64::from(!message.payload.is_empty());
        if let Some(frame) = message.frame {
            port.returns.give(frame);
        }
    }
    port.notify();
    (count, end)
}
