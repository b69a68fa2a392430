//! Whole flows over long links: one end writes what it can, the other reads, for seconds of virtual time.

mod flow;
mod print;
mod wire;

use std::sync::{Arc, Mutex};

use super::*;
use crate::base::Rate;
use crate::base::time::NEVER;
use crate::link::impair::Profile;
use crate::proto::recovery::Algorithm;
use wire::{BEGIN_NS, Far, Path, Wire};

/// A link and a flow over it.
#[derive(Clone, Debug)]
struct Plan {
    algorithm: Algorithm,
    /// From the sender to the receiver; the way back has the same rate and delay and no trouble.
    forward: Profile,
    /// Frames in each end's pool.
    frames: usize,
    /// From one turn of an engine to the next while it has work.
    turn_ns: Nanos,
    seed: u64,
}

/// What a flow came to.
#[derive(Debug)]
struct Seen {
    /// Of what the link could have carried to the application, from its first byte on.
    share: f64,
    /// From the first byte until 90% of the limit are reached, in round trips.
    rise_rtts: f64,
    /// Packets sent beyond those lost and those delivered, as a share of all sent.
    twice: f64,
    queue_p99_ms: f64,
    queue_max_ms: f64,
    lost: f64,
    notices: Vec<String>,
}

struct End {
    engine: Engine<Far>,
    commands: Sender<Command>,
    incoming: Receiver<ConnPort>,
    mac: MacAddr,
    due: Nanos,
    last: Nanos,
}

/// Two hosts, `0` sends.
struct Flow {
    plan: Plan,
    wire: Arc<Mutex<Wire>>,
    ends: [End; 2],
    lanes: Vec<Lane>,
    /// The readers read what arrives.
    reading: bool,
    notices: Vec<(Nanos, String)>,
    next_look: Nanos,
}

/// One connection with one stream.
struct Lane {
    ours: ConnPort,
    theirs: ConnPort,
    out: StreamPort,
    arrivals: Option<StreamPort>,
    /// Bytes that the writer may still write.
    to_write: u64,
    /// Bytes received, from the first one on.
    first_ns: Option<Nanos>,
    bins: Vec<u64>,
}

/// Received bytes are counted in bins of this length.
const BIN_NS: Nanos = MILLISECOND;

impl Plan {
    /// The link as [`Profile::with`] reads it, for example `rate=1gbit,delay=10ms,queue=1bdp,loss=1%`.
    fn new(algorithm: Algorithm, forward: &str) -> Plan {
        let forward = Profile::default().with(forward).expect("a profile");
        Plan { algorithm, forward, frames: 1 << 18, turn_ns: 20 * MICROSECOND, seed: 1 }
    }

    fn rtt_ns(&self) -> Nanos {
        2 * self.forward.delay_ns
    }

    /// Payload bits per second that an application could get at best, at the rate of the start.
    fn limit_bps(&self) -> f64 {
        let payload = crate::proto::max_payload(1500) as f64;
        let lost = self.forward.loss + self.forward.burst.map_or(0.0, |burst| burst.share);
        self.forward.rate.expect("a bottleneck").bps() as f64 * payload / 1538.0 * (1.0 - lost)
    }
}

impl End {
    fn new(link: Far, seed: u8, proto: Config) -> End {
        let mac = link.caps().mac;
        let (commands, receiver) = unbounded();
        let config = EngineConfig { proto, ethertype: crate::wire::ETHERTYPE, vlan: None, seed: [seed; 32] };
        let (incoming, accepted) = unbounded();
        commands.send(Command::Listen { incoming }).unwrap();
        let engine = Engine::new(link, config, receiver, Doorbell::new(Waker::noop().clone()));
        End { engine, commands, incoming: accepted, mac, due: 0, last: 0 }
    }
}

impl Flow {
    /// Connected, with one stream on which nothing was written yet.
    fn new(plan: Plan) -> Flow {
        let back = Profile { rate: plan.forward.rate, delay_ns: plan.forward.delay_ns, ..Profile::default() };
        let paths = [Path::new(&plan.forward, plan.seed), Path::new(&back, plan.seed + 100)];
        let wire = Arc::new(Mutex::new(Wire { now: BEGIN_NS, paths }));
        let proto = |algorithm| Config { algorithm, ..Config::default() };
        let ends = [
            End::new(Far::new(&wire, 0, plan.frames), 1, proto(plan.algorithm)),
            End::new(Far::new(&wire, 1, plan.frames), 2, proto(Algorithm::Cubic)),
        ];
        let mut flow = Flow { plan, wire, ends, lanes: Vec::new(), reading: true, notices: Vec::new(), next_look: 0 };
        flow.connect();
        flow
    }

    /// One more connection.
    fn connect(&mut self) {
        self.step();
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer: self.ends[1].mac, timeout_ns: 5 * SECOND };
        self.order(Command::Connect { options, reply });
        let ours = self.until(|_| answer.try_recv().ok()).expect("connected");
        let theirs = self.until(|flow| flow.ends[1].incoming.try_recv().ok());
        let (reply, answer) = bounded(1);
        self.order(Command::OpenStream { conn: ours.key, reply });
        let out = self.until(|_| answer.try_recv().ok());
        let lane = Lane { ours, theirs, out, arrivals: None, to_write: u64::MAX, first_ns: None, bins: Vec::new() };
        self.lanes.push(lane);
    }

    fn order(&mut self, command: Command) {
        self.ends[0].commands.send(command).unwrap();
        self.ends[0].due = self.now();
    }

    fn now(&self) -> Nanos {
        self.wire.lock().expect("no panic").now
    }

    fn until<T>(&mut self, mut poll: impl FnMut(&mut Flow) -> Option<T>) -> T {
        for _ in 0..1_000_000 {
            if let Some(value) = poll(self) {
                return value;
            }
            self.step();
        }
        panic!("did not happen");
    }

    /// Runs until `span` from now has passed.
    fn run(&mut self, span: Nanos) {
        let end = self.now() + span;
        while self.next().1 < end {
            self.step();
        }
        self.wire.lock().expect("no panic").now = end;
    }

    /// Runs for `span` from the first byte that arrives.
    fn run_from_first_byte(&mut self, span: Nanos) {
        let first = self.until(|flow| flow.lanes[0].first_ns);
        let end = first + span;
        self.run(end.saturating_sub(self.now()));
    }

    /// Whose turn is next, and when.
    fn next(&self) -> (usize, Nanos) {
        let due = |side: usize| {
            let end = &self.ends[side];
            end.due.min(self.wire.lock().expect("no panic").paths[1 - side].next()).max(end.last + self.plan.turn_ns)
        };
        let side = usize::from(due(1) < due(0));
        (side, due(side).max(self.now()))
    }

    /// The next turn of whichever end is due.
    fn step(&mut self) {
        let (side, now) = self.next();
        self.wire.lock().expect("no panic").now = now;
        let end = &mut self.ends[side];
        let turn = end.engine.turn(now);
        end.last = now;
        let mut busy = false;
        for lane in &mut self.lanes {
            busy |= match side {
                0 => lane.write(),
                _ => self.reading && lane.read(now),
            };
        }
        self.ends[side].due = if turn.worked || busy { now } else { turn.next_ns.unwrap_or(NEVER) };
        if now >= self.next_look {
            self.next_look = now + 10 * MILLISECOND;
            self.look(now);
        }
    }

    /// An end's worker gets no core for `span` from now on.
    fn stall(&mut self, side: usize, span: Nanos) {
        self.ends[side].last = self.now() + span;
    }

    fn set_reading(&mut self, reading: bool) {
        self.reading = reading;
        self.ends[1].due = self.now();
    }

    fn look(&mut self, now: Nanos) {
        let conn = self.lanes.last().and_then(|lane| self.ends[0].engine.endpoint.find(lane.ours.key));
        if let Some((_, _, notices)) = conn.and_then(|conn| self.ends[0].engine.endpoint.recovery(conn)) {
            self.notices.extend(notices.into_iter().map(|notice| (now, notice)));
        }
    }

    /// What the application got in this part of the flow, from its first byte on, of what the link could carry.
    fn share(&self, from: Nanos, to: Nanos) -> f64 {
        self.share_of(0, from, to)
    }

    /// The same of one of several flows.
    fn share_of(&self, lane: usize, from: Nanos, to: Nanos) -> f64 {
        self.lanes[lane].bytes_between(from, to) as f64 * 8e9 / (to - from) as f64 / self.plan.limit_bps()
    }

    /// The whole flow of `span` in numbers.
    fn seen(&mut self, span: Nanos) -> Seen {
        let counters = self.ends[0].engine.endpoint.counters().clone();
        let received = self.ends[1].engine.endpoint.counters().clone();
        let wire = self.wire.lock().expect("no panic");
        let path = &wire.paths[0];
        let ms = |ns: u64| ns as f64 / 1e6;
        // Reached when the next two round trips (at least 20 ms) have it on average.
        let look = (2 * self.plan.rtt_ns()).max(20 * MILLISECOND);
        let mut rise = 0;
        while rise + look < span && self.share(rise, rise + look) < 0.9 {
            rise += BIN_NS;
        }
        Seen {
            share: self.share(0, span),
            rise_rtts: rise as f64 / self.plan.rtt_ns() as f64,
            twice: received.drop_duplicate_data as f64 / counters.tx_data_packets as f64,
            queue_p99_ms: ms(path.queued.value_at(0.99)),
            queue_max_ms: ms(path.queued.max()),
            lost: {
                let seen = path.counters();
                1.0 - seen.passed.frames as f64 / seen.offered.frames as f64
            },
            notices: self
                .notices
                .iter()
                .map(|(at, text)| format!("{:.2} s: {text}", (*at - BEGIN_NS) as f64 / 1e9))
                .collect(),
        }
    }
}

impl Lane {
    /// Commits all grants; true if there were any.
    fn write(&mut self) -> bool {
        let send = &mut self.out.send;
        let mut count = 0;
        while self.to_write > 0 {
            let Ok(frame) = send.grants.pop() else { break };
            let len = (send.max_payload as u64).min(self.to_write) as usize;
            self.to_write -= len as u64;
            let commit = Commit { frame: Some(frame), len, fin: false, at_ns: 0 };
            send.commits.push(commit).expect("as many commits as grants fit");
            count += 1;
        }
        let asks = self.to_write > 0 && send.shared.wanted.swap(64, Ordering::AcqRel) == 0;
        if count > 0 || asks {
            send.notify();
        }
        count > 0 || asks
    }

    /// Reads what there is; true if there was anything.
    fn read(&mut self, now: Nanos) -> bool {
        if self.arrivals.is_none() {
            self.arrivals = self.theirs.streams.try_recv().ok();
        }
        let Some(StreamPort { recv, .. }) = &mut self.arrivals else { return false };
        let mut bytes = 0;
        while let Ok(message) = recv.messages.pop() {
            if let Some(frame) = message.frame {
                bytes += message.payload.len() as u64;
                recv.returns.give(frame);
            }
        }
        if bytes == 0 {
            return false;
        }
        recv.notify();
        let first = *self.first_ns.get_or_insert(now);
        let bin = ((now - first) / BIN_NS) as usize;
        if self.bins.len() <= bin {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += bytes;
        true
    }

    fn bytes_between(&self, from: Nanos, to: Nanos) -> u64 {
        let bin = |at: Nanos| ((at / BIN_NS) as usize).min(self.bins.len());
        self.bins[bin(from)..bin(to)].iter().sum()
    }
}
