//! Two engines over a link in memory, in virtual time.

mod answers;
mod attacks;
mod forged;
mod hostile;
mod lives;
mod rough;
mod strangers;
mod streams;
mod transfers;

use std::task::Waker;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::port::{Command, Commit, ConnPort, ConnectOptions, RecvPort, SendPort, StreamPort};
use super::*;
use crate::base::time::{MICROSECOND, SECOND};
use crate::base::{Dice, MacAddr};
use crate::link::impair::Profile;
use crate::link::memory::{MemoryConfig, pair};
use crate::proto::config::Config;
use rough::Rough;
use std::sync::atomic::Ordering;

struct Host {
    engine: Engine<Rough>,
    commands: Sender<Command>,
    incoming: Receiver<ConnPort>,
    mac: MacAddr,
}

struct World {
    now: Nanos,
    a: Host,
    b: Host,
}

fn host(link: Rough, seed: u8, proto: Config, waker: Waker) -> Host {
    let mac = link.caps().mac;
    let (commands, receiver) = unbounded();
    let doorbell = Doorbell::new(waker);
    let config = EngineConfig { proto, vlan: None, incoming: None, seed: [seed; 32] };
    let (incoming, accepted) = unbounded();
    commands.send(Command::Listen { incoming }).unwrap();
    Host { engine: Engine::new(link, config, receiver, doorbell), commands, incoming: accepted, mac }
}

impl Host {
    /// What an application does to ask: command, then doorbell.
    fn order(&self, command: Command) {
        self.commands.send(command).unwrap();
        self.engine.doorbell.ring();
    }

    fn turn(&mut self, now: Nanos) -> Turn {
        self.engine.link.now = now;
        self.engine.turn(now)
    }
}

impl World {
    fn new(memory: MemoryConfig, proto: Config) -> World {
        World::rough(memory, proto, &Profile::default())
    }

    fn rough(memory: MemoryConfig, proto: Config, trouble: &Profile) -> World {
        let (a, b) = pair(memory);
        let host = |link, seed: u8| {
            let link = Rough::new(link, u64::from(seed), trouble);
            host(link, seed, proto.clone(), Waker::noop().clone())
        };
        let mut world = World { now: SECOND, a: host(a, 1), b: host(b, 2) };
        world.step();
        world
    }

    fn step(&mut self) {
        self.now += 5 * MICROSECOND;
        self.a.turn(self.now);
        self.b.turn(self.now);
    }

    fn until<T>(&mut self, what: &str, mut poll: impl FnMut(&mut World) -> Option<T>) -> T {
        for _ in 0..400_000 {
            if let Some(value) = poll(self) {
                return value;
            }
            self.step();
        }
        panic!(
            "{what} did not happen; a {:?} b {:?}",
            self.a.engine.endpoint.counters(),
            self.b.engine.endpoint.counters()
        );
    }

    fn connect(&mut self) -> (ConnPort, ConnPort) {
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer: self.b.mac, timeout_ns: SECOND };
        self.a.commands.send(Command::Connect { options, reply }).unwrap();
        let ours = self.until("connect", |_| answer.try_recv().ok()).expect("connected");
        let theirs = self.until("accept", |world| world.b.incoming.try_recv().ok());
        (ours, theirs)
    }

    /// A connection and one stream on it, as both hosts have them, after "x" has crossed.
    fn connect_stream(&mut self) -> ([ConnPort; 2], StreamPort, StreamPort) {
        let (ours, theirs) = self.connect();
        let mut stream = self.open_stream(&ours);
        self.until("x written", |_| write(&mut stream.send, &mut &b"x"[..], &mut false).then_some(()));
        let mut peer = self.until("x arrived", |_| theirs.streams.try_recv().ok());
        let mut got = Vec::new();
        self.until("x read", |_| {
            read(&mut peer.recv, &mut got);
            (got == b"x").then_some(())
        });
        ([ours, theirs], stream, peer)
    }

    fn steps(&mut self, span_ns: Nanos) {
        let end = self.now + span_ns;
        while self.now < end {
            self.step();
        }
    }

    fn open_stream(&mut self, conn: &ConnPort) -> StreamPort {
        let (reply, answer) = bounded(1);
        self.a.commands.send(Command::OpenStream { conn: conn.key, reply }).unwrap();
        self.until("stream", |_| answer.try_recv().ok())
    }
}

/// Commits as much of `data` as there are grants for; true when all is gone, the end included.
fn write(port: &mut SendPort, data: &mut &[u8], fin: &mut bool) -> bool {
    while !data.is_empty() {
        let Ok(mut frame) = port.grants.pop() else {
            port.shared.wanted.store(64, Ordering::Release);
            port.notify();
            return false;
        };
        let len = data.len().min(port.max_payload);
        let (now, later) = data.split_at(len);
        frame.room_mut()[port.payload_offset..port.payload_offset + len].copy_from_slice(now);
        *data = later;
        let commit = Commit { frame: Some(frame), len, fin: false, at_ns: 0 };
        port.commits.push(commit).expect("as many commits as grants fit");
    }
    if *fin {
        *fin = port.commits.push(Commit { frame: None, len: 0, fin: true, at_ns: 0 }).is_err();
    }
    port.notify();
    !*fin
}

fn read(port: &mut RecvPort, data: &mut Vec<u8>) -> bool {
    let mut end = false;
    while let Ok(message) = port.messages.pop() {
        if let Some(frame) = message.frame {
            data.extend_from_slice(&frame.bytes()[message.payload.clone()]);
            port.returns.give(frame);
        }
        end |= message.fin;
    }
    port.notify();
    end
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn all_frames(host: &Host) -> usize {
    host.engine.link.free_frames() + host.engine.spare.len() + host.engine.link.late.len()
}
