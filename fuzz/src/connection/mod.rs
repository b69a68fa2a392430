//! Any sequence of what programs, time and a link do to two transports (`farwire::proto::Endpoint`): whatever it is,
//! bytes come out once and in order, each frame is in one place, and once the link is whole again all that was finished
//! arrives and nothing is left.

mod host;
mod ledger;
mod packet;
mod pool;

use std::collections::VecDeque;

use farwire::base::time::{MICROSECOND, MILLISECOND, NEVER, SECOND};
use farwire::base::{MacAddr, Nanos, Rate};
use farwire::proto::config::Config;
use farwire::proto::error::CloseReason;
use farwire::proto::ping::PingRun;
use farwire::proto::recovery::Algorithm;

use super::script::{Script, take};
use host::Host;
use ledger::{ConnName, Ledger};
use packet::Flying;
use pool::Place;

/// What a script may wait in all: less than any timeout after which a connection that has been opened ends.
const MAX_WAIT_NS: Nanos = 20 * SECOND;
/// Packets of old that may arrive again.
const REMEMBERED: usize = 64;
/// Virtual time in which everything ends once the link is whole, where no timeout can have ended anything: a half-open
/// connection is forgotten after 3 s. Shorter than the keep-alive, which would wake what has no timer of its own.
const PATIENCE_NS: Nanos = 9 * SECOND;
/// The same for other scripts. Where one let a packet take many seconds, a round trip is taken for as long.
const LONG_PATIENCE_NS: Nanos = 600 * SECOND;

/// Runs one script.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut world = World::new(&mut script);
    let before = world.hosts.each_ref().map(|host| host.endpoint.inventory());
    while let Some(step) = script.step() {
        world.apply(step, &mut script);
    }
    world.heal();
    for (host, before) in world.hosts.iter().zip(before) {
        assert_eq!(host.endpoint.inventory(), before);
        let used = [Place::Written, Place::Arrived, Place::Lent].map(|place| host.pool.count(place));
        assert_eq!(used, [0; 3], "frames written, arrived, lent");
    }
}

struct World {
    now: Nanos,
    waited: Nanos,
    hosts: [Host; 2],
    /// On the way to each host.
    flying: [VecDeque<Flying>; 2],
    former: VecDeque<(usize, Flying)>,
    ledger: Ledger,
    /// Connections that a program has closed.
    closed: Vec<ConnName>,
}

impl World {
    fn new(script: &mut Script<'_>) -> World {
        // As fast as it takes to send all that a host may write within a second.
        let rate = Rate::nearest(1e8 * f64::from(1_u32 << script.below(10)));
        let algorithms = [Algorithm::Bbr, Algorithm::Cubic, Algorithm::Reno, Algorithm::Fixed(rate), Algorithm::Auto];
        let algorithm = algorithms[script.below(5)];
        let limits = script.byte();
        let config = Config {
            algorithm,
            require_cookie: limits & 1 != 0,
            max_half_open: 1 + usize::from(limits >> 1 & 3),
            max_streams: 1 << (limits >> 3 & 7),
            max_connections: 8,
            ..Config::default()
        };
        let mut host = |index| {
            let (frames, mtu) = ([80, 128, 256, 512][script.below(4)], [1500, 256, 576, 9000][script.below(4)]);
            let mut host = Host::new(index, config.clone(), frames, mtu);
            host.endpoint.set_listening(true);
            host
        };
        World {
            now: SECOND,
            waited: 0,
            hosts: [host(0), host(1)],
            flying: Default::default(),
            former: VecDeque::new(),
            ledger: Ledger::default(),
            closed: Vec::new(),
        }
    }

    fn apply(&mut self, step: u8, script: &mut Script<'_>) {
        let at = usize::from(step >> 7);
        match step % 32 {
            0..13 => self.apply_program(at, step % 32, script),
            13..22 => self.apply_link(at, step % 32, script),
            step => self.apply_time(at, step, script),
        }
        self.hosts[at].drain(&mut self.ledger);
    }

    /// What a program does.
    fn apply_program(&mut self, at: usize, step: u8, script: &mut Script<'_>) {
        let (now, ledger) = (self.now, &mut self.ledger);
        let (peer, host) = (self.hosts[1 - at].mac, &mut self.hosts[at]);
        let conns: Vec<u32> = host.conns.keys().copied().collect();
        let ends: Vec<u32> = host.ends.keys().copied().collect();
        match step {
            0 => _ = host.endpoint.connect(now, peer),
            1 => script.pick(&conns).into_iter().for_each(|conn| host.open_stream(now, conn)),
            2..5 => {
                let (end, len) = (script.pick(&ends), script.number() as usize % 9000);
                end.into_iter().for_each(|end| host.write(end, len, step == 4, ledger));
            }
            5 => {
                let (end, count) = (script.pick(&ends), script.byte());
                end.into_iter().for_each(|end| (0..count).for_each(|_| host.write(end, 9000, false, ledger)));
            }
            6 => script.pick(&ends).into_iter().for_each(|end| host.write(end, 0, true, ledger)),
            7 => {
                let end = script.pick(&ends);
                end.into_iter().for_each(|end| host.endpoint.reset_stream_if_open(now, end, 7));
                end.and_then(|end| host.ends.get_mut(&end)).into_iter().for_each(|end| end.open = false);
            }
            8 => script.pick(&ends).into_iter().for_each(|end| host.stop(now, end, ledger)),
            9 => {
                let (end, count) = (script.pick(&ends), script.below(256));
                end.into_iter().for_each(|end| host.read(now, end, count));
            }
            10 => host.read_all(now),
            11 => script.pick(&conns).into_iter().for_each(|conn| host.finish(now, conn)),
            _ => {
                let conn = script.pick(&conns).filter(|_| script.byte() & 3 == 0);
                self.closed.extend(conn.map(|conn| host.conns[&conn].name));
                conn.into_iter().for_each(|conn| host.endpoint.close(now, conn, 9, "enough"));
            }
        }
    }

    /// What the link does to what is on its way to host `at`.
    fn apply_link(&mut self, at: usize, step: u8, script: &mut Script<'_>) {
        match step {
            13 => self.transmit(at, script.below(256)),
            14 => (0..2).for_each(|at| self.transmit(at, 256)),
            15 => (0..script.byte()).for_each(|_| self.deliver(at, 0)),
            16 => self.deliver(at, script.below(256)),
            17 => (0..script.byte()).for_each(|_| drop(self.flying[at].pop_front())),
            18 => drop(take(&mut self.flying[at], script.below(256))),
            19 => {
                let again = self.flying[at].get(script.below(256)).cloned();
                self.flying[at].extend(again);
            }
            20 | 21 => {
                let Some((to, mut flying)) = self.former.get(script.below(REMEMBERED)).cloned() else { return };
                if step == 21 {
                    flying.src = MacAddr::new(2, 9, 9, 9, 9, script.byte());
                }
                self.flying[to].push_front(flying);
            }
            _ => unreachable!("a step of the link"),
        }
    }

    /// Time, timers, and what else there is.
    fn apply_time(&mut self, at: usize, step: u8, script: &mut Script<'_>) {
        let (now, host) = (self.now, &mut self.hosts[at]);
        let ends: Vec<u32> = host.ends.keys().copied().collect();
        match step {
            22 => self.wait(script.number() % 50_000 * MICROSECOND),
            23 => self.wait(self.hosts[at].endpoint.poll_timeout().saturating_sub(now).min(SECOND)),
            24 => self.complete(at, 1 + script.below(256)),
            25 => host.holds = script.byte() & 1 == 0,
            26 => {
                let (end, on) = (script.pick(&ends), script.byte() & 1 == 0);
                end.into_iter().for_each(|end| host.endpoint.set_nagle(end, on));
            }
            27 => {
                let conns: Vec<u32> = host.conns.keys().copied().collect();
                let (conn, size) = (script.pick(&conns), script.number() as usize % 9000);
                let run = PingRun { count: 3, size, interval_ns: 0, timeout_ns: MILLISECOND };
                conn.into_iter().for_each(|conn| _ = host.endpoint.ping(now, conn, run));
            }
            28 | 29 => (0..script.below(64)).for_each(|_| _ = self.exchange()),
            30 => match script.below(4) {
                0 => host.endpoint.set_listening(script.byte() & 1 == 0),
                1 => host.endpoint.announce("name".into(), "service".into()),
                2 => host.endpoint.start_query(now, String::new()),
                _ => host.endpoint.stop_query(),
            },
            _ => {
                let body: Vec<u8> = (0..script.below(32)).map(|_| script.byte()).collect();
                let mac = MacAddr::new(2, 9, 9, 9, 9, 9);
                host.endpoint.on_foreign_open(now, mac, &body);
            }
        }
    }

    fn wait(&mut self, span: Nanos) {
        let span = span.min(MAX_WAIT_NS - self.waited);
        self.waited += span;
        self.now += span;
        self.expire();
    }

    fn expire(&mut self) {
        for host in &mut self.hosts {
            host.endpoint.on_timeout(self.now);
            host.drain(&mut self.ledger);
        }
    }

    fn complete(&mut self, at: usize, most: usize) {
        let host = &mut self.hosts[at];
        host.pool.complete(most).into_iter().for_each(|frame| host.endpoint.on_completed(frame));
    }

    /// A turn of both hosts over a whole link. True if anything was under way.
    fn exchange(&mut self) -> bool {
        self.now += 5 * MICROSECOND;
        self.expire();
        let mut busy = false;
        for at in 0..2 {
            self.transmit(at, 64);
            busy |= !self.flying[1 - at].is_empty();
            (0..self.flying[1 - at].len()).for_each(|_| self.deliver(1 - at, 0));
        }
        busy
    }

    fn transmit(&mut self, at: usize, most: usize) {
        let sent = self.hosts[at].transmit(self.now, most, &mut self.ledger);
        sent.into_iter().for_each(|(dst, flying)| self.launch(at, dst, flying));
    }

    /// A packet is on its way, or goes where nobody is.
    fn launch(&mut self, from: usize, dst: MacAddr, flying: Flying) {
        if dst == self.hosts[1 - from].mac || dst.is_broadcast() {
            self.former.push_front((1 - from, flying.clone()));
            self.former.truncate(REMEMBERED);
            self.flying[1 - from].push_back(flying);
        }
    }

    fn deliver(&mut self, at: usize, index: usize) {
        let Some(flying) = take(&mut self.flying[at], index) else { return };
        if let Some((dst, echo)) = self.hosts[at].receive(self.now, &flying, &mut self.ledger) {
            self.launch(at, dst, echo);
        }
    }

    /// The link is whole again, the programs come to an end: so does everything.
    fn heal(&mut self) {
        let open = |host: &Host| host.conns.values().map(|conn| conn.name).collect::<Vec<_>>();
        let [ours, theirs] = self.hosts.each_ref().map(open);
        let whole: Vec<ConnName> =
            ours.into_iter().filter(|name| theirs.contains(name) && !self.closed.contains(name)).collect();
        let start = self.now;
        let quick = self.closed.is_empty() && self.waited < SECOND / 2;
        let patience = if quick { PATIENCE_NS } else { LONG_PATIENCE_NS };
        self.hosts.iter_mut().for_each(|host| host.endpoint.stop_query());
        while self.connections() > 0 {
            (0..2).for_each(|at| self.end_programs(at));
            if !self.exchange() && self.connections() > 0 {
                let next = self.hosts.iter().map(|host| host.endpoint.poll_timeout()).min().unwrap_or(NEVER);
                assert!(
                    next != NEVER,
                    "nothing would ever happen: {:?} {:?}",
                    self.hosts[0].endpoint,
                    self.hosts[1].endpoint
                );
                self.now = self.now.max(next);
            }
            assert!(self.now - start < patience, "{:?} {:?}", self.hosts[0].endpoint, self.hosts[1].endpoint);
        }
        (0..2).for_each(|at| self.end_programs(at));
        for (name, reason) in self.hosts.iter().flat_map(|host| &host.reasons) {
            assert!(!matches!(reason, CloseReason::Violation(_)), "{name:?}: {reason}");
            assert!(*reason == CloseReason::Finished || !whole.contains(name), "{name:?}: {reason}");
        }
        for name in whole {
            assert_eq!(self.ledger.unfinished(name), [], "finished, and not there");
        }
    }

    fn connections(&self) -> usize {
        self.hosts.iter().map(|host| host.endpoint.connections()).sum()
    }

    /// The program reads everything, finishes what it still writes, and then its connections.
    fn end_programs(&mut self, at: usize) {
        self.hosts[at].holds = false;
        self.complete(at, usize::MAX);
        let (now, ledger, host) = (self.now, &mut self.ledger, &mut self.hosts[at]);
        host.read_all(now);
        let slots: Vec<u32> = host.ends.keys().copied().collect();
        slots.into_iter().for_each(|slot| host.write(slot, 0, true, ledger));
        host.drain(ledger);
        let busy: Vec<ConnName> =
            self.hosts.iter().flat_map(|host| host.ends.values().map(|end| end.sends.0)).collect();
        let host = &mut self.hosts[at];
        let done = host.conns.iter().filter(|(_, conn)| !busy.contains(&conn.name));
        let done: Vec<u32> = done.map(|(slot, _)| *slot).collect();
        done.into_iter().for_each(|conn| host.finish(now, conn));
        host.drain(&mut self.ledger);
    }
}
