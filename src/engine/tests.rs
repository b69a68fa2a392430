//! Two engines over a link in memory, in virtual time.

use std::task::Waker;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::port::{Command, Commit, ConnPort, ConnectOptions, PingRun, RecvPort, SendPort, StreamPort};
use super::*;
use crate::base::MacAddr;
use crate::base::time::{MICROSECOND, SECOND};
use crate::link::memory::{MemoryConfig, MemoryLink, pair};
use crate::proto::config::Config;
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

/// What happens to received frames, each with this many in a thousand.
#[derive(Clone, Copy, Default)]
struct Trouble {
    lost: u64,
    late: u64,
    twice: u64,
    bent: u64,
}

/// A link whose received frames meet trouble, drawn from a seed.
struct Rough {
    inner: MemoryLink,
    state: u64,
    held: Option<Frame>,
    trouble: Trouble,
}

impl Rough {
    fn hits(&mut self, in_thousand: u64) -> bool {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % 1000 < in_thousand
    }

    fn copy(&mut self, frame: &Frame) -> Option<Frame> {
        let mut copy = self.inner.alloc()?;
        copy.room_mut()[..frame.len()].copy_from_slice(frame.bytes());
        copy.set_len(frame.len());
        Some(copy)
    }
}

impl Link for Rough {
    fn caps(&self) -> &crate::link::Caps {
        self.inner.caps()
    }
    fn alloc(&mut self) -> Option<Frame> {
        self.inner.alloc()
    }
    fn free(&mut self, frame: Frame) {
        self.inner.free(frame);
    }
    fn free_frames(&self) -> usize {
        self.inner.free_frames()
    }
    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        let mut frames = Vec::new();
        self.inner.rx_burst(&mut frames, max);
        let before = out.len();
        for mut frame in frames {
            let Trouble { lost, late, twice, bent } = self.trouble;
            if self.hits(lost) {
                self.inner.free(frame);
                continue;
            }
            if self.hits(bent) {
                let at = self.state as usize % frame.len();
                frame.bytes_mut()[at] ^= 0x10;
            }
            let copy = if self.hits(twice) { self.copy(&frame) } else { None };
            out.extend(copy);
            if self.held.is_none() && self.hits(late) {
                self.held = Some(frame);
                continue;
            }
            out.push(frame);
            out.extend(self.held.take());
        }
        out.len() - before
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        self.inner.tx_burst(frames)
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        self.inner.reap(done)
    }
    fn kick(&mut self) -> Result<(), LinkError> {
        self.inner.kick()
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }
    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.inner.stats()
    }
}

fn host(link: MemoryLink, seed: u8, proto: Config, trouble: Trouble) -> Host {
    let link = Rough { inner: link, state: u64::from(seed), held: None, trouble };
    let mac = link.caps().mac;
    let (commands, receiver) = unbounded();
    let doorbell = Doorbell::new(Waker::noop().clone());
    let config = EngineConfig { proto, ethertype: crate::wire::ETHERTYPE, vlan: None, seed: [seed; 32] };
    let (incoming, accepted) = unbounded();
    commands.send(Command::Listen { incoming }).unwrap();
    Host { engine: Engine::new(link, config, receiver, doorbell), commands, incoming: accepted, mac }
}

impl World {
    fn new(memory: MemoryConfig, proto: Config) -> World {
        World::rough(memory, proto, Trouble::default())
    }

    fn rough(memory: MemoryConfig, proto: Config, trouble: Trouble) -> World {
        let (a, b) = pair(memory);
        let mut world = World { now: SECOND, a: host(a, 1, proto.clone(), trouble), b: host(b, 2, proto, trouble) };
        world.step();
        world
    }

    fn step(&mut self) {
        self.now += 5 * MICROSECOND;
        self.a.engine.turn(self.now);
        self.b.engine.turn(self.now);
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
    host.engine.link.free_frames() + host.engine.spare.len() + usize::from(host.engine.link.held.is_some())
}

/// Moves `len` bytes from a to b, closes, and checks that the bytes are right and every frame is home.
fn transfer(mut world: World, len: usize) -> World {
    let free_at_start = [all_frames(&world.a), all_frames(&world.b)];
    let (ours, theirs) = world.connect();
    let mut stream = world.open_stream(&ours);
    let data = pattern(len);
    let (mut rest, mut fin, mut got) = (&data[..], true, Vec::new());
    let mut peer: Option<StreamPort> = None;
    world.until("all bytes", |_| {
        write(&mut stream.send, &mut rest, &mut fin);
        peer = peer.take().or_else(|| theirs.streams.try_recv().ok());
        read(&mut peer.as_mut()?.recv, &mut got).then_some(())
    });
    assert!(got == data, "{} of {} bytes, or wrong ones", got.len(), data.len());
    let acked = stream.send.shared.clone();
    world.until("all acked", |_| acked.all_acked.load(Ordering::Acquire).then_some(()));
    drop((stream, peer));
    world.a.commands.send(Command::Finish { conn: ours.key }).unwrap();
    world.b.commands.send(Command::Finish { conn: theirs.key }).unwrap();
    world.until("finished", |_| ours.shared.closed.get().and(theirs.shared.closed.get()).cloned());
    let open = |world: &World| world.a.engine.endpoint.connections() + world.b.engine.endpoint.connections();
    world.until("drained", |world| (open(world) == 0).then_some(()));
    for (host, free) in [(&world.a, free_at_start[0]), (&world.b, free_at_start[1])] {
        assert_eq!(all_frames(host), free, "frames lost; {:?}", host.engine.link.stats());
        assert_eq!(host.engine.frames.sending(), 0);
        assert!(host.engine.streams.is_empty() && host.engine.by_slot.iter().all(Option::is_none));
    }
    world
}

#[test]
fn bytes_cross_in_order_and_every_frame_comes_home() {
    let memory = MemoryConfig { hold_completions: 16, hold_kicks: 8, ..Default::default() };
    let mut world = transfer(World::new(memory, Config::default()), 3_000_000);
    assert_eq!(world.a.engine.endpoint.counters().lost_packets, 0);
}

#[test]
fn bytes_survive_loss_reordering_duplication_and_corruption() {
    for trouble in [
        Trouble { lost: 50, ..Default::default() },
        Trouble { late: 100, ..Default::default() },
        Trouble { twice: 100, ..Default::default() },
        Trouble { bent: 50, ..Default::default() },
        Trouble { lost: 20, late: 20, twice: 20, bent: 20 },
    ] {
        let memory = MemoryConfig { hold_completions: 16, hold_kicks: 8, ..Default::default() };
        let mut world = transfer(World::rough(memory, Config::default(), trouble), 1_000_000);
        let sent = world.a.engine.endpoint.counters().clone();
        if trouble.lost + trouble.bent > 0 {
            assert!(sent.retransmitted_packets > 0, "{sent:?}");
        }
    }
}

#[test]
fn pings_come_back() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let (ours, _theirs) = world.connect();
    let (reply, answer) = bounded(1);
    let run = PingRun { count: 100, size: 64, interval_ns: 0, timeout_ns: SECOND };
    world.a.commands.send(Command::Ping { conn: ours.key, run, reply }).unwrap();
    let report = world.until("pings", |_| answer.try_recv().ok());
    assert_eq!((report.sent, report.received), (100, 100));
}

#[test]
fn a_cookie_round_keeps_no_state_and_then_opens() {
    let proto = Config { require_cookie: true, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    world.connect();
    assert_eq!(world.b.engine.endpoint.counters().drop_bad_cookie, 0);
}

#[test]
fn nobody_listening_is_a_refusal_with_words() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    world.b.engine.turn(1);
    let (other, _) = unbounded();
    world.b.incoming = unbounded().1;
    world.b.commands.send(Command::Listen { incoming: other }).unwrap();
    world.b.engine.endpoint.set_listening(false);
    world.b.engine.commands = unbounded().1;
    let (reply, answer) = bounded(1);
    let options = ConnectOptions { peer: world.b.mac, timeout_ns: SECOND };
    world.a.commands.send(Command::Connect { options, reply }).unwrap();
    let error = world.until("refusal", |_| answer.try_recv().ok()).err().expect("refused");
    assert!(error.to_string().contains("accepts connections"), "{error}");
}

#[test]
fn silence_ends_a_connection_and_its_streams() {
    let proto = Config { idle_timeout_ns: SECOND / 10, ..Config::default() };
    let mut world = World::new(MemoryConfig::default(), proto);
    let (ours, _theirs) = world.connect();
    let stream = world.open_stream(&ours);
    for _ in 0..50_000 {
        world.now += 5 * MICROSECOND;
        world.a.engine.turn(world.now);
    }
    let reason = ours.shared.closed.get().expect("closed").to_string();
    assert!(reason.contains("nothing heard"), "{reason}");
    assert!(stream.recv.shared.recv_error.get().is_some());
}
