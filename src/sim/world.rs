//! Time passes: hosts take turns, programs look, faults strike, until everything is over or something is wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::host::Host;
use super::net::Net;
use super::oracle;
use super::scenario::{Fault, Scenario};
use super::session::{self, Session, Side};
use super::strike;
use super::trace::{BEGIN_NS, Trace};
use crate::base::Nanos;
use crate::base::time::{MILLISECOND, NEVER, SECOND};

/// Steps from one look at the bounds to the next.
const BOUNDS_EVERY: u64 = 256;
/// How long connections may take to be forgotten after everything is over, beyond the silence that it takes.
const FORGET_NS: Nanos = 20 * SECOND;
/// Completions and last ACKs come home in this time.
const SETTLE_NS: Nanos = SECOND;

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Virtual time that passed.
    pub elapsed_ns: Nanos,
    /// Turns of all hosts.
    pub turns: u64,
    /// The trace's fingerprint, and how many events are in it.
    pub fingerprint: u64,
    /// Events of the trace.
    pub events: u64,
    /// Connections that were opened.
    pub opened: usize,
    /// Those that were refused for want of room.
    pub refused: usize,
    /// Bytes that readers have held against what was written.
    pub bytes: u64,
    /// What was wrong, if anything was.
    pub violation: Option<String>,
}

/// The world.
pub(super) struct World<'s> {
    pub scenario: &'s Scenario,
    pub net: Arc<Mutex<Net>>,
    pub hosts: Vec<Host>,
    pub sessions: Vec<Session>,
    pub sides: Vec<Side>,
    /// Faults that are still to come, the last one first.
    pub faults: Vec<(Nanos, Fault)>,
    /// Interfaces that come up again, and when.
    pub jams: Vec<(Nanos, usize)>,
    /// Somebody wrote what others seem to have said: nothing that a program sees means anything any more.
    pub tampered: bool,
    calm: bool,
    turns: u64,
    bytes: u64,
}

/// Lives through the world of a scenario.
pub fn run(scenario: &Scenario, trace: Trace) -> Outcome {
    let mut world = World::new(scenario, trace);
    let violation = world.live().err();
    let net = world.net();
    Outcome {
        seed: scenario.seed,
        elapsed_ns: net.now - BEGIN_NS,
        turns: world.turns,
        fingerprint: net.trace.fingerprint(),
        events: net.trace.events(),
        opened: world.sessions.iter().filter(|session| session.is_open()).count(),
        refused: world.sessions.iter().filter(|session| session.is_refused()).count(),
        bytes: world.bytes,
        violation,
    }
}

impl<'s> World<'s> {
    fn new(scenario: &'s Scenario, trace: Trace) -> World<'s> {
        let elides = scenario.sessions.iter().any(|session| session.bulk.is_some());
        let mut net = Net::new(scenario.hosts.len(), BEGIN_NS, elides, trace);
        for (index, path) in scenario.paths.iter().enumerate() {
            net.lay(path.from, path.to, &path.trouble, scenario.seed << 8 ^ index as u64);
        }
        if scenario.has(|fault| matches!(fault, Fault::Replay { .. } | Fault::Forge { .. } | Fault::Tamper { .. })) {
            net.remember_frames();
        }
        let net = Arc::new(Mutex::new(net));
        let hosts = scenario.hosts.iter().enumerate();
        let hosts = hosts.map(|(index, plan)| Host::boot(&net, index, plan, scenario.seed, 0)).collect();
        let mut faults = scenario.faults.clone();
        faults.reverse();
        let sessions = session::all(scenario);
        World {
            scenario,
            net,
            hosts,
            sessions,
            sides: vec![],
            faults,
            jams: vec![],
            tampered: false,
            calm: false,
            turns: 0,
            bytes: 0,
        }
    }

    pub fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Nanos {
        self.net().now
    }

    fn live(&mut self) -> Result<(), String> {
        let deadline = BEGIN_NS + self.scenario.trouble_ns + self.scenario.patience_ns;
        let mut steps = 0_u64;
        while !self.is_over() {
            self.step()?;
            steps += 1;
            if steps.is_multiple_of(BOUNDS_EVERY) {
                for (index, host) in self.hosts.iter().enumerate() {
                    oracle::check_bounds(index, host, self.scenario)?;
                }
            }
            if self.now() > deadline {
                if self.tampered {
                    break;
                }
                return Err(format!("not done in time\n{}", self.picture()));
            }
        }
        for side in self.sides.iter().filter(|_| !self.tampered) {
            let torn = side.torn || side.session.is_none_or(|session| self.sessions[session].torn);
            oracle::check_reason(side, torn)?;
        }
        self.wind_down()
    }

    /// Nobody wants anything any more: what is left goes, and everything is where it was.
    fn wind_down(&mut self) -> Result<(), String> {
        for mut side in self.sides.drain(..) {
            // A replayed open made a connection that nobody holds the other end of.
            let host = &self.hosts[side.host];
            side.abandon(host);
        }
        self.faults.clear();
        let timeout_ns = self.scenario.hosts.iter().map(|host| host.proto.idle_timeout_ns).max().unwrap_or(0);
        let deadline = self.now() + timeout_ns + FORGET_NS;
        while self.is_unquiet() {
            self.step()?;
            if self.now() > deadline {
                return Err(format!("connections that never end\n{}", self.picture()));
            }
        }
        let end = self.now() + SETTLE_NS;
        while self.now() < end {
            // Whoever sleeps is woken for a last look at its card.
            self.net().now += MILLISECOND;
            self.turn_all();
        }
        let elapsed_ns = self.now() - BEGIN_NS;
        for (index, host) in self.hosts.iter().enumerate() {
            oracle::check_rest(index, host, self.scenario, elapsed_ns)?;
            oracle::check_counters(index, host, self.tampered)?;
        }
        Ok(())
    }

    /// A living host has a connection, or may get another: something is still on its way to it.
    fn is_unquiet(&self) -> bool {
        let net = self.net();
        let busy = |(index, host): (usize, &Host)| {
            host.stopped_until != NEVER && (host.engine.audit().connections > 0 || net.next(index) != NEVER)
        };
        self.hosts.iter().enumerate().any(busy)
    }

    fn turn_all(&mut self) {
        let now = self.now();
        for host in self.hosts.iter_mut().filter(|host| host.stopped_until <= now) {
            host.turn(now);
        }
    }

    /// The next thing that happens.
    fn step(&mut self) -> Result<(), String> {
        let next = self.next_ns();
        if next == NEVER {
            return Err(format!("nobody would ever wake\n{}", self.picture()));
        }
        let now = next.max(self.now());
        self.net().now = now;
        self.strike(now);
        for index in 0..self.hosts.len() {
            let due_ns = self.hosts[index].next_ns(&self.net());
            if due_ns <= now {
                let worked = self.hosts[index].turn(now);
                self.turns += 1;
                let facts = [4, index as u64, worked.into()];
                self.net().trace.note(now, &facts, || format!("host {index} turns, worked: {worked}"));
                oracle::check_turn(index, &self.hosts[index])?;
            }
            while let Ok(port) = self.hosts[index].incoming.try_recv() {
                self.sides.push(Side::accepted(index, port, now));
            }
        }
        let blame = self.net().take_blame();
        if let Some(blame) = blame {
            return Err(blame);
        }
        self.look(now)
    }

    /// The programs look at what there is.
    fn look(&mut self, now: Nanos) -> Result<(), String> {
        for index in 0..self.sessions.len() {
            match self.sessions[index].act(index, now, BEGIN_NS, &self.hosts) {
                Err(error) if !self.tampered => return Err(error),
                side => self.sides.extend(side.ok().flatten()),
            }
        }
        for side in &mut self.sides {
            let host = &self.hosts[side.host];
            let acted = side.act(now, host, &mut self.sessions, self.scenario.seed);
            self.bytes += std::mem::take(&mut side.bytes);
            match acted {
                Err(error) if !self.tampered => return Err(error),
                Err(_) => side.abandon(host),
                Ok(()) => {}
            }
            if side.just_closed() {
                let (host, closed) = (side.host, side.closed().map(ToString::to_string).unwrap_or_default());
                self.net.lock().unwrap_or_else(PoisonError::into_inner).trace.note(now, &[7, host as u64], || {
                    format!("host {host}: a connection to {} has ended: {closed}", side.peer())
                });
            }
        }
        Ok(())
    }

    fn next_ns(&self) -> Nanos {
        let net = self.net();
        let hosts = self.hosts.iter().map(|host| host.next_ns(&net));
        let sides = self.sides.iter().map(|side| side.next_ns(net.now, &self.sessions));
        let sessions = self.sessions.iter().map(|session| session.next_ns(BEGIN_NS));
        let fault = self.faults.last().map_or(NEVER, |(at_ns, _)| BEGIN_NS + at_ns);
        let jams = self.jams.iter().map(|(until_ns, _)| *until_ns);
        let calm = if self.calm { NEVER } else { BEGIN_NS + self.scenario.trouble_ns };
        hosts.chain(sides).chain(sessions).chain(jams).fold(fault.min(calm), Nanos::min)
    }

    /// What is done to the world by now.
    fn strike(&mut self, now: Nanos) {
        if !self.calm && now >= BEGIN_NS + self.scenario.trouble_ns {
            self.calm = true;
            let mut net = self.net();
            for (index, path) in self.scenario.paths.iter().enumerate() {
                net.lay(path.from, path.to, &path.calm, self.scenario.seed << 8 ^ index as u64);
            }
        }
        for index in (0..self.jams.len()).rev() {
            if self.jams[index].0 <= now {
                let (_, host) = self.jams.swap_remove(index);
                self.net().jam(host, false);
            }
        }
        while self.faults.last().is_some_and(|(at_ns, _)| BEGIN_NS + at_ns <= now) {
            if let Some((_, fault)) = self.faults.pop() {
                strike::strike(self, now, fault);
            }
        }
    }

    fn is_over(&self) -> bool {
        let alive = |side: &&Side| self.hosts[side.host].stopped_until != NEVER;
        let is_dead = |host: usize| self.hosts[host].stopped_until == NEVER;
        let begun = |session: &Session| session.is_begun() || is_dead(session.plan.hosts[0]);
        self.calm && self.sessions.iter().all(begun) && self.sides.iter().filter(alive).all(Side::is_over)
    }

    /// What is still there, for the message of a standstill.
    fn picture(&self) -> String {
        let mut text = format!("{:.6} s after the beginning\n", (self.now() - BEGIN_NS) as f64 / 1e9);
        for side in self.sides.iter().filter(|side| !side.is_over()) {
            text += &side.picture();
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let (turns, idle) = host.turns;
            let audit = host.engine.audit();
            text += &format!("host {index}: {turns} turns, {idle} idle, {audit:?}\n{:?}\n", host.engine.counters());
        }
        text
    }
}
