//! Two engines with programs at their streams' ends, and a hostile middle that keeps, drops, delays, repeats, reorders
//! and breaks what they send, as the script says. Then every byte that comes out is right, and once the middle is gone
//! everything comes to an end and nothing is left. Where the script begins with an odd byte the middle also makes
//! frames of its own, with right checksums: then only what must hold even so is held, that nothing panics, grows or is
//! lost, and that others are served. But where both have a key, nothing of what the middle makes may be believed, and
//! all is held as if it were not there.

mod ends;
mod forge;
mod host;
mod middle;

use crossbeam_channel::bounded;
use farwire::base::time::{MICROSECOND, MILLISECOND, SECOND};
use farwire::base::{ConnId, Nanos};
use farwire::crypto::{Key, Keyring, NamedKey, Rekey};
use farwire::engine::port::{Command, PingRun};
use farwire::link::memory::{MemoryConfig, pair};
use farwire::proto::config::{Config, Security};
use farwire::proto::error::CloseReason;
use farwire::proto::recovery::Algorithm;
use farwire::wire::{ETHERNET_LEN, Header, Open, PacketType};

use super::script::{Script, take};
use ends::Flows;
use forge::Mark;
use host::Host;
use middle::{Hands, hold};

/// What a script may wait in all: short of any timeout after which an honest connection ends.
const MAX_WAIT_NS: Nanos = 400 * MILLISECOND;
/// Most streams and connections that a peer may have.
const MAX_STREAMS: u32 = 8;
const MAX_CONNECTIONS: usize = 8;
/// Virtual time in which everything ends once the middle is gone: a half-open connection is forgotten after 3 s.
/// Shorter than the keep-alive, which would wake what has no timer of its own.
const PATIENCE_NS: Nanos = 9 * SECOND;
/// The same where one side may know nothing of the other's end: an idle timeout, and time to drain.
const LONG_PATIENCE_NS: Nanos = 60 * SECOND;
/// Turns in which everything ends: more is no rest.
const MAX_TURNS: u32 = 400_000;
/// Bytes of one write, and of all together.
const MAX_WRITE: usize = 60_000;
const MAX_WRITTEN: u64 = 2_000_000;

/// Runs one script.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut world = World::new(&mut script);
    let before = [0, 1].map(|at| world.hosts[at].inventory());
    while let Some(step) = script.step() {
        world.apply(step, &mut script);
        world.look();
    }
    world.heal();
    for (host, before) in world.hosts.iter().zip(before) {
        assert_eq!(host.inventory(), before);
    }
    world.serve_others();
}

struct World {
    now: Nanos,
    waited: Nanos,
    hosts: [Host; 2],
    flows: Flows,
    forges: bool,
    /// Both have a key that the middle does not have.
    sealed: bool,
    /// A program has closed a connection midway.
    torn: bool,
}

impl World {
    fn new(script: &mut Script<'_>) -> World {
        let choice = script.byte();
        let algorithms = [Algorithm::Bbr, Algorithm::Cubic, Algorithm::Reno, Algorithm::Auto];
        let proto = Config {
            algorithm: algorithms[usize::from(choice >> 1 & 3)],
            require_cookie: choice & 8 != 0,
            max_streams: MAX_STREAMS,
            max_connections: MAX_CONNECTIONS,
            ..Config::default()
        };
        let sealed = choice & 16 != 0;
        let proto = if sealed { with_key(proto, choice >> 5) } else { proto };
        let memory = MemoryConfig {
            frames: [512, 320, 1024][script.below(3)],
            rx_reserve: 128,
            queue_frames: [256, 16][script.below(2)],
            hold_completions: [0, 8][script.below(2)],
            mtu: [1500, 300, 3000][script.below(3)],
            ..MemoryConfig::default()
        };
        let (a, b) = pair(memory);
        let hosts = [Host::new(a, 1, proto.clone()), Host::new(b, 2, proto)];
        let (now, flows) = (SECOND, Flows::default());
        let mut world = World { now, waited: 0, hosts, flows, forges: choice & 1 != 0, sealed, torn: false };
        // What is asked before anybody listens is refused.
        world.turn();
        world
    }

    fn apply(&mut self, step: u8, script: &mut Script<'_>) {
        let at = usize::from(step >> 7);
        match step % 32 {
            0..12 => self.apply_program(at, step % 32, script),
            12..22 => self.apply_middle(at, step % 32, script),
            22..25 => (0..script.below(64)).for_each(|_| self.turn()),
            25 => self.wait(script.number() % 2_000 * MICROSECOND),
            26 => {
                let next = self.hosts.iter().filter_map(|host| host.wakes_ns).min();
                self.wait(next.map_or(0, |at| at.saturating_sub(self.now)).min(10 * MILLISECOND));
            }
            kind @ 27.. if self.forges => {
                let mark = self.mark(at);
                let mut hands = hold(&self.hosts[at].hands);
                let frame = match kind {
                    27 if self.sealed => forge::answer(script, &mark),
                    29.. if self.sealed => forge::spliced(script, &hands.former),
                    _ => Some(forge::frame(script, &mark)),
                };
                hands.inject.extend(frame);
                drop(hands);
                self.turn();
            }
            _ => self.turn(),
        }
    }

    /// What a program does.
    fn apply_program(&mut self, at: usize, step: u8, script: &mut Script<'_>) {
        let (now, honest) = (self.now, self.is_honest());
        let (peer, flows, host) = (self.hosts[1 - at].mac, &mut self.flows, &mut self.hosts[at]);
        let keys: Vec<ConnId> = host.conns.iter().map(|conn| conn.key).collect();
        let [writer, reader] = [host.writers.len(), host.readers.len()].map(|count| script.below(count));
        match step {
            0 => host.connect(peer),
            1 => {
                if let Some(conn) = script.pick(&keys).filter(|conn| !host.finished.contains(conn)) {
                    let (reply, answer) = bounded(1);
                    host.order(Command::OpenStream { conn, reply });
                    host.opening.push(answer);
                }
            }
            2..5 => {
                let (len, fin) = (script.number() as usize % MAX_WRITE, step == 4);
                let room = MAX_WRITTEN.saturating_sub(flows.all.iter().map(|flow| flow.written).sum()) as usize;
                let writer = host.writers.get_mut(writer);
                writer.into_iter().for_each(|writer| writer.write(len.min(room), fin, now, flows));
            }
            5 | 6 => {
                let count = script.below(256);
                if host.readers.get_mut(reader).is_some_and(|reader| reader.read(count, honest, flows)) {
                    host.readers.swap_remove(reader);
                }
            }
            7 => host.readers.retain_mut(|reader| !reader.read(usize::MAX, honest, flows)),
            8 if reader < host.readers.len() => host.readers.swap_remove(reader).leave(flows),
            9 if writer < host.writers.len() => {
                let writer = host.writers.swap_remove(writer);
                let flow = &mut flows.all[writer.flow];
                flow.unwanted |= !flow.finished;
            }
            10 => {
                let conn = script.pick(&keys);
                let run =
                    PingRun { count: 3, size: script.number() as usize % 2_000, interval_ns: 0, timeout_ns: SECOND };
                conn.into_iter().for_each(|conn| host.order(Command::Ping { conn, run, reply: bounded(1).0 }));
            }
            11 => {
                let Some(conn) = script.pick(&keys) else { return };
                match script.below(4) {
                    0 => {
                        self.torn = true;
                        host.order(Command::Close { conn, code: 9, reason: "enough".into() });
                    }
                    _ => {
                        host.finished.push(conn);
                        host.order(Command::Finish { conn });
                    }
                }
            }
            _ => {}
        }
    }

    /// What the middle does to what is on its way to host `at`.
    fn apply_middle(&mut self, at: usize, step: u8, script: &mut Script<'_>) {
        let mut hands = hold(&self.hosts[at].hands);
        let hands = &mut *hands;
        match step {
            12 => hands.keeps = true,
            13 => {
                hands.keeps = false;
                hands.inject.append(&mut hands.kept);
            }
            14 => {
                let count = usize::from(script.byte()).min(hands.kept.len());
                hands.inject.extend(hands.kept.drain(..count));
            }
            15 => hands.inject.extend(take(&mut hands.kept, script.below(256))),
            16 => _ = hands.kept.drain(..usize::from(script.byte()).min(hands.kept.len())),
            17 => _ = take(&mut hands.kept, script.below(256)),
            18 => hands.inject.extend(hands.kept.get(script.below(256)).cloned()),
            19 => hands.inject.extend(hands.former.iter().rev().nth(script.below(256)).cloned()),
            20 => {
                // No more bits than the checksum is sure to see.
                let Some(mut frame) = take(&mut hands.kept, script.below(256)) else { return };
                let bits = 1 + script.below(3);
                (0..bits).for_each(|_| flip(&mut frame, script.number() as usize));
                hands.inject.push_back(frame);
            }
            _ => hands.jammed = script.byte() & 1 == 0,
        }
    }

    fn wait(&mut self, span: Nanos) {
        let span = span.min(MAX_WAIT_NS - self.waited);
        self.waited += span;
        self.now += span;
        self.turn();
    }

    fn turn(&mut self) {
        self.now += 5 * MICROSECOND;
        for (at, host) in self.hosts.iter_mut().enumerate() {
            let turn = host.engine.turn(self.now);
            assert!(turn.failed.is_none());
            (host.wakes_ns, host.worked) = (turn.next_ns, turn.worked);
            host.accept(at, &mut self.flows);
        }
    }

    /// Nothing grows, whoever sends what.
    fn look(&self) {
        for host in &self.hosts {
            let audit = host.engine.audit();
            let most = MAX_CONNECTIONS * 2 * (2 * MAX_STREAMS as usize) + host.writers.len() + host.readers.len();
            assert!(audit.connections <= MAX_CONNECTIONS, "{audit:?}");
            assert!(audit.streams <= 2 * most && audit.waiting <= 4 * farwire::link::BURST, "{audit:?}");
        }
    }

    fn mark(&self, at: usize) -> Mark {
        let host = &self.hosts[at];
        let number = |frame: &Vec<u8>| frame.get(ETHERNET_LEN..).and_then(|packet| Header::parse(packet).ok());
        let numbers = hold(&host.hands).former.iter().rev().find_map(number).map(|header| header.number);
        Mark {
            dst: host.mac,
            src: self.hosts[1 - at].mac,
            conns: host.conns.iter().map(|conn| conn.key).collect(),
            number: numbers.unwrap_or(0),
            sealed: self.sealed,
            open: hold(&self.hosts[1 - at].hands).former.iter().rev().find_map(|frame| open_of(frame)),
        }
    }

    /// The middle is gone, the programs come to an end: so does everything.
    fn heal(&mut self) {
        for host in &self.hosts {
            *hold(&host.hands) = Hands::default();
        }
        let patience = if !self.is_honest() || self.torn { LONG_PATIENCE_NS } else { PATIENCE_NS };
        let (start, mut turns) = (self.now, 0);
        while !self.is_over() {
            (0..2).for_each(|at| self.end_programs(at));
            self.turn();
            turns += 1;
            let took = self.now - start;
            let late = took > patience || turns > MAX_TURNS;
            assert!(!late, "{took} ns, {turns} turns: {:?}", self.hosts.each_ref().map(Host::inventory));
            if !self.hosts.iter().any(|host| host.worked) && !self.is_over() {
                let next = self.hosts.iter().filter_map(|host| host.wakes_ns).min();
                assert!(next.is_some(), "nobody would ever wake: {:?}", self.hosts.each_ref().map(Host::inventory));
                self.now = self.now.max(next.unwrap_or(0));
            }
        }
        if self.is_honest() && !self.torn {
            assert_eq!(self.flows.missing(), [""; 0]);
        }
        self.hosts.iter_mut().for_each(|host| host.conns.clear());
        // Frames that were with the link come back with its next kicks.
        (0..8).for_each(|_| self.turn());
    }

    /// What each host hears is what the other one has said.
    fn is_honest(&self) -> bool {
        self.sealed || !self.forges
    }

    fn is_moving(&self) -> bool {
        let moving = |host: &Host| host.writers.len() + host.readers.len() + host.opening.len() > 0;
        self.hosts.iter().any(moving)
    }

    fn is_over(&self) -> bool {
        let over = |host: &Host| host.engine.audit().connections == 0 && host.connecting.is_empty();
        !self.is_moving() && self.hosts.iter().all(over)
    }

    /// The programs read everything, finish what they write, and then their connections.
    fn end_programs(&mut self, at: usize) {
        let (honest, still) = (self.is_honest(), !self.is_moving());
        let (now, flows, host) = (self.now, &mut self.flows, &mut self.hosts[at]);
        host.readers.retain_mut(|reader| !reader.read(usize::MAX, honest, flows));
        host.writers.retain_mut(|writer| {
            writer.write(0, true, now, flows);
            !writer.is_over(flows)
        });
        for conn in &host.conns {
            if honest && let Some(reason) = conn.shared.closed.get() {
                // Who was not told before the other had drained hears that nobody knows the connection.
                let told = matches!(reason, CloseReason::Local { .. } | CloseReason::Peer { .. } | CloseReason::Reset);
                let tear = told && self.torn;
                assert!(tear || *reason == CloseReason::Finished, "{:?}: {reason}", conn.key);
            }
        }
        for conn in host.conns.iter().map(|conn| conn.key).filter(|conn| !host.ended.contains(conn)).collect::<Vec<_>>()
        {
            if !honest {
                host.order(Command::Close { conn, code: 0, reason: "enough".into() });
            } else if still {
                host.order(Command::Finish { conn });
            } else {
                continue;
            }
            host.ended.push(conn);
        }
    }

    /// Whatever has happened, others are served as ever.
    fn serve_others(&mut self) {
        let peer = self.hosts[1].mac;
        self.hosts[0].connect(peer);
        for _ in 0..100 {
            self.turn();
        }
        assert!(self.hosts.iter().all(|host| host.conns.len() == 1), "nobody is served");
    }
}

/// The same with a key, and with packet keys that are soon replaced.
fn with_key(proto: Config, step: u8) -> Config {
    let keys = Keyring::new(NamedKey::new("fuzz", Key::from_bytes([0x5A; 32])));
    let rekey = Rekey { packets: 16 << step, after_ns: 20 * MILLISECOND };
    Config { security: Security::Keys(keys), rekey, ..proto }
}

/// Connection id and nonce of an open.
fn open_of(frame: &[u8]) -> Option<(ConnId, u64)> {
    let packet = frame.get(ETHERNET_LEN..)?;
    let header = Header::parse(packet).ok().filter(|header| header.kind == PacketType::Open)?;
    Open::peek(header.body(packet).ok()?)
}

fn flip(frame: &mut [u8], bit: usize) {
    let bit = bit % (frame.len() * 8).max(1);
    frame.get_mut(bit / 8).into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
}
