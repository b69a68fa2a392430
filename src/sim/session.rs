//! Connections as the programs at their two ends see them: who opens, accepts, finishes and closes.

use std::collections::BTreeSet;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::host::Host;
use super::net::mac_of;
use super::program::{Look, Reader, StreamKey, WritePlan, Writer, give_up};
use super::scenario::{Scenario, SessionPlan};
use crate::base::time::{NEVER, SECOND};
use crate::base::{MacAddr, Nanos};
use crate::engine::port::{Command, ConnPort, ConnectOptions, SendPort, StreamPort};
use crate::proto::error::{CloseReason, ConnectError};

/// How long a program waits for its connection: longer than faults keep two hosts apart.
const CONNECT_NS: Nanos = 30 * SECOND;
/// The code of a connection that is closed midway.
const CLOSE_CODE: u32 = 3;

/// What both ends of a session know of each other.
pub struct Session {
    /// What they mean to do.
    pub plan: SessionPlan,
    state: State,
    /// It may end at any time: one of its hosts died or forgot it, or one side closed it midway.
    pub torn: bool,
}

enum State {
    Waiting,
    Connecting(Receiver<Result<ConnPort, ConnectError>>),
    Open,
    /// It had no room, or the other host.
    Refused,
    Over,
}

/// One end of a connection.
pub struct Side {
    /// Whose.
    pub host: usize,
    /// Which session it belongs to; an accepting side learns it from its first stream.
    pub session: Option<usize>,
    accepting: bool,
    /// Its host crashed, or the other one.
    pub torn: bool,
    /// Bytes that its readers have checked since the world asked.
    pub bytes: u64,
    /// The world knows that it has ended.
    told: bool,
    port: ConnPort,
    since_ns: Nanos,
    /// Streams still to be opened, those asked for, and how many were opened and accepted so far.
    opens: Vec<Nanos>,
    asked: Vec<(u16, Receiver<StreamPort>)>,
    opened: u16,
    accepted: usize,
    finished: bool,
    /// Streams of the other side that have come.
    seen: BTreeSet<u16>,
    writers: Vec<Writer>,
    readers: Vec<Reading>,
}

/// A reader, and the way back that waits until it is known what is read.
struct Reading {
    reader: Reader,
    back: Option<SendPort>,
    /// What it reads has been noticed.
    noticed: bool,
}

impl Session {
    /// One that has not begun.
    pub fn new(plan: SessionPlan) -> Session {
        Session { plan, state: State::Waiting, torn: false }
    }

    /// Nothing more comes of it, but for its sides.
    pub fn is_begun(&self) -> bool {
        matches!(self.state, State::Open | State::Refused | State::Over)
    }

    /// It was opened.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// There was no room for it.
    pub fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    /// When it has to be looked at without any other reason.
    pub fn next_ns(&self, begin_ns: Nanos) -> Nanos {
        match self.state {
            State::Waiting => begin_ns + self.plan.at_ns,
            _ => NEVER,
        }
    }

    /// The opener's program: asks for the connection, and takes it.
    ///
    /// # Errors
    /// What must not be.
    pub fn act(&mut self, index: usize, now: Nanos, begin_ns: Nanos, hosts: &[Host]) -> Result<Option<Side>, String> {
        let [opener, acceptor] = self.plan.hosts;
        match &self.state {
            State::Waiting if now >= begin_ns + self.plan.at_ns => {
                let (reply, answer) = bounded(1);
                let options = ConnectOptions { peer: hosts[acceptor].mac(), timeout_ns: CONNECT_NS };
                hosts[opener].order(Command::Connect { options, reply });
                self.state = State::Connecting(answer);
                Ok(None)
            }
            State::Connecting(answer) => match answer.try_recv() {
                Ok(Ok(port)) => {
                    self.state = State::Open;
                    let side = Side::new(opener, port, now, Some(index), self.plan.opens[0].clone());
                    Ok(Some(side))
                }
                Ok(Err(error)) => {
                    // A small pool has no window for another connection, and whoever is full says so.
                    let full = match &error {
                        ConnectError::NoFrames { .. } | ConnectError::TooMany { .. } => true,
                        ConnectError::Refused { reason, .. } => reason.contains("no room"),
                        _ => false,
                    };
                    self.state = if full { State::Refused } else { State::Over };
                    if self.torn || full { Ok(None) } else { Err(format!("session {index}: {error}")) }
                }
                Err(TryRecvError::Disconnected) => {
                    self.state = State::Over;
                    if self.torn { Ok(None) } else { Err(format!("session {index}: nobody answers")) }
                }
                Err(TryRecvError::Empty) => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

impl Side {
    fn new(host: usize, port: ConnPort, now: Nanos, session: Option<usize>, opens: Vec<Nanos>) -> Side {
        Side {
            host,
            session,
            accepting: session.is_none(),
            torn: false,
            bytes: 0,
            told: false,
            port,
            since_ns: now,
            opens,
            asked: Vec::new(),
            opened: 0,
            accepted: 0,
            finished: false,
            seen: BTreeSet::new(),
            writers: Vec::new(),
            readers: Vec::new(),
        }
    }

    /// The end of a connection that was accepted.
    pub fn accepted(host: usize, port: ConnPort, now: Nanos) -> Side {
        Side::new(host, port, now, None, Vec::new())
    }

    /// The other host's address.
    pub fn peer(&self) -> MacAddr {
        self.port.peer
    }

    /// Whether its programs have ended and the connection with them.
    pub fn is_over(&self) -> bool {
        self.writers.is_empty() && self.readers.is_empty() && self.port.shared.closed.get().is_some()
    }

    /// Once, when it has been closed.
    pub fn just_closed(&mut self) -> bool {
        self.closed().is_some() && !std::mem::replace(&mut self.told, true)
    }

    /// Why it was closed, once it was.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.port.shared.closed.get()
    }

    /// The next time at which one of its programs does something by itself.
    pub fn next_ns(&self, now: Nanos, sessions: &[Session]) -> Nanos {
        let naps = self.writers.iter().map(|writer| writer.next_ns);
        let naps = naps.chain(self.readers.iter().map(|reading| reading.reader.next_ns));
        let opens = self.opens.iter().map(|at| self.since_ns + at);
        let rude = self.session.and_then(|session| sessions[session].plan.rude);
        let rude = rude.filter(|(who, _)| *who == usize::from(self.accepting)).map(|(_, at)| self.since_ns + at);
        let stays = self.session.map(|session| self.since_ns + sessions[session].plan.stays_ns);
        naps.chain(opens).chain(rude).chain(stays).filter(|at| *at > now).min().unwrap_or(NEVER)
    }

    /// One look of all programs at this end.
    ///
    /// # Errors
    /// What one of them saw and must not see.
    pub fn act(&mut self, now: Nanos, host: &Host, sessions: &mut [Session], seed: u64) -> Result<(), String> {
        self.open(now, host, sessions, seed);
        let torn = self.torn || self.may_be_torn(sessions);
        let mut result = Ok(());
        self.writers.retain_mut(|writer| match writer.act(now, torn) {
            Ok(look) => look != Look::Over,
            Err(error) => {
                result = Err(error);
                true
            }
        });
        result.clone()?;
        let (mut known, mut checked) = (Vec::new(), 0);
        self.readers.retain_mut(|reading| {
            let plan = |key: StreamKey| plan_of(sessions, seed, key);
            match reading.reader.act(now, torn, &plan) {
                Ok(look) => {
                    checked += reading.reader.take_checked();
                    if let (Some(key), false) = (reading.reader.key(), reading.noticed) {
                        reading.noticed = true;
                        known.push((key, reading.back.take()));
                    }
                    if let (Look::Over, Some(back)) = (look, &reading.back) {
                        give_up(back);
                    }
                    look != Look::Over
                }
                Err(error) => {
                    result = Err(error);
                    true
                }
            }
        });
        self.bytes += checked;
        result?;
        for (key, back) in known {
            self.learn(key, back, sessions, seed)?;
        }
        self.close(now, host, sessions);
        Ok(())
    }

    /// Whether its session was torn, or one that it may belong to.
    fn may_be_torn(&self, sessions: &[Session]) -> bool {
        let is_mine =
            |session: &Session| session.plan.hosts[1] == self.host && mac_of(session.plan.hosts[0]) == self.port.peer;
        match self.session {
            Some(session) => sessions[session].torn,
            None => sessions.iter().any(|session| is_mine(session) && session.torn),
        }
    }

    /// What a stream is, is known now: so is whose session this is, and what is written back.
    fn learn(&mut self, key: StreamKey, back: Option<SendPort>, sessions: &[Session], seed: u64) -> Result<(), String> {
        let session = usize::from(key.session);
        let plan = &sessions[session].plan;
        let learned = self.session.is_some();
        if plan.hosts[usize::from(self.accepting)] != self.host || *self.session.get_or_insert(session) != session {
            return Err(format!("host {}: {key:?} came over a connection of session {:?}", self.host, self.session));
        }
        let own = key.by_acceptor == self.accepting;
        if back.is_some() && (own || !self.seen.insert(key.ordinal)) {
            return Err(format!("host {}: {key:?} came over a stream that is not its own, or twice", self.host));
        }
        if key.from_acceptor == self.accepting {
            return Err(format!("host {}: {key:?} came back to its writer", self.host));
        }
        if !learned {
            self.opens = plan.opens[1].clone();
        }
        if let Some(port) = back {
            let key = StreamKey { from_acceptor: self.accepting, ..key };
            if let Some(writes) = plan_of(sessions, seed, key) {
                self.writers.push(Writer::new(port, key, writes));
            }
        }
        Ok(())
    }

    fn open(&mut self, now: Nanos, host: &Host, sessions: &[Session], seed: u64) {
        let since_ns = self.since_ns;
        let due: Vec<Nanos> = self.opens.extract_if(.., |at| since_ns + *at <= now).collect();
        for _ in &due {
            let (reply, answer) = bounded(1);
            host.order(Command::OpenStream { conn: self.port.key, reply });
            self.asked.push((self.opened, answer));
            self.opened += 1;
        }
        let mut ports = Vec::new();
        self.asked.retain(|(ordinal, answer)| match answer.try_recv() {
            Ok(port) => {
                ports.push((*ordinal, port));
                false
            }
            Err(TryRecvError::Disconnected) => false,
            Err(TryRecvError::Empty) => true,
        });
        for (ordinal, StreamPort { send, recv, .. }) in ports {
            let (session, by_acceptor) = (self.session.unwrap_or(0) as u16, self.accepting);
            let key = StreamKey { session, ordinal, by_acceptor, from_acceptor: by_acceptor };
            if let Some(writes) = plan_of(sessions, seed, key) {
                self.writers.push(Writer::new(send, key, writes));
            }
            // What comes back over a stream of ours is the answer to it, and nothing else.
            let answer = StreamKey { from_acceptor: !by_acceptor, ..key };
            self.readers.push(Reading { reader: Reader::new(recv, Some(answer)), back: None, noticed: false });
        }
        while let Ok(StreamPort { send, recv, .. }) = self.port.streams.try_recv() {
            self.accepted += 1;
            self.readers.push(Reading { reader: Reader::new(recv, None), back: Some(send), noticed: false });
        }
    }

    /// Finishes the connection when all its streams are there, or done; or closes it midway.
    fn close(&mut self, now: Nanos, host: &Host, sessions: &mut [Session]) {
        let Some(session) = self.session.map(|session| &mut sessions[session]) else { return };
        let who = usize::from(self.accepting);
        if session.plan.rude.is_some_and(|(rude, at)| rude == who && self.since_ns + at <= now) {
            session.plan.rude = None;
            session.torn = true;
            host.order(Command::Close { conn: self.port.key, code: CLOSE_CODE, reason: "enough".into() });
            return;
        }
        let all_here = self.opens.is_empty()
            && self.asked.is_empty()
            && self.accepted == session.plan.opens[1 - who].len()
            && self.readers.iter().all(|reading| reading.back.is_none());
        let done = self.writers.is_empty() && self.readers.is_empty();
        let stays = now < self.since_ns + session.plan.stays_ns;
        if self.finished || stays || session.plan.rude.is_some() || !(all_here && (session.plan.early[who] || done)) {
            return;
        }
        self.finished = true;
        host.order(Command::Finish { conn: self.port.key });
    }

    /// Its programs end, and whatever is left of it is closed.
    pub fn abandon(&mut self, host: &Host) {
        self.writers.clear();
        self.readers.clear();
        self.opens.clear();
        self.asked.clear();
        if self.closed().is_none() {
            host.order(Command::Close { conn: self.port.key, code: CLOSE_CODE, reason: "the world ends".into() });
        }
    }

    /// What is still to be done, for people.
    pub fn picture(&self) -> String {
        let mut text = format!(
            "host {} session {:?} torn {} opened {} accepted {} asked {} finished {} closed {:?}\n",
            self.host,
            self.session,
            self.torn,
            self.opened,
            self.accepted,
            self.asked.len(),
            self.finished,
            self.closed()
        );
        for writer in &self.writers {
            text += &format!("  {writer}\n");
        }
        for reading in &self.readers {
            text += &format!("  {}\n", reading.reader);
        }
        text
    }
}

/// What is written under a key, if there is such a stream.
fn plan_of(sessions: &[Session], seed: u64, key: StreamKey) -> Option<WritePlan> {
    let plan = &sessions.get(usize::from(key.session))?.plan;
    let opens = plan.opens[usize::from(key.by_acceptor)].len();
    let bulk = plan.bulk.filter(|_| key.ordinal == 0 && !key.by_acceptor && !key.from_acceptor);
    (usize::from(key.ordinal) < opens).then(|| WritePlan::draw(seed, key, bulk))
}

/// What a scenario's sessions begin with.
pub fn all(scenario: &Scenario) -> Vec<Session> {
    scenario.sessions.iter().cloned().map(Session::new).collect()
}
