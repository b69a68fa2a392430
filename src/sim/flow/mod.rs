//! Whole flows over long links: one end writes what it can, the other reads, for seconds of virtual time.
//!
//! Decides: nothing about correctness, which the worlds look after; what is measured here is how well a link is used.
//! Called by: tests (controllers, the goodput table, links far past any machine) and programs that print such tables.

pub mod far;
mod lane;
mod seen;
pub mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::bounded;

use super::Trace;
use super::host::{Host, HostPlan};
use super::net::Net;
use super::nic::NicPlan;
pub use super::trace::BEGIN_NS;
use crate::base::Nanos;
use crate::base::size::wire_bytes;
use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};
use crate::engine::port::{Command, ConnectOptions};
use crate::link::impair::Profile;
use crate::proto::config::Config;
use crate::proto::recovery::Algorithm;
use crate::wire::ETHERNET_LEN;
use lane::Lane;
pub use seen::Seen;

/// From one look at the controller's notices to the next.
const LOOK_NS: Nanos = 10 * MILLISECOND;
/// Turns in which something must have happened that is waited for.
const TURNS: u64 = 10_000_000;

/// A link and a flow over it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sender's.
    pub algorithm: Algorithm,
    /// From the sender to the receiver; the way back has the same rate and delay and no trouble.
    pub forward: Profile,
    /// Frames in each end's pool.
    pub frames: usize,
    /// Longest Ethernet payload in bytes.
    pub mtu: usize,
    /// From one turn of an engine to the next while it has work.
    pub turn_ns: Nanos,
    /// Of the link's dice and the hosts' numbers.
    pub seed: u64,
}

/// Two hosts; host 0 sends.
pub struct Flow {
    plan: Plan,
    net: Arc<Mutex<Net>>,
    hosts: [Host; 2],
    lanes: Vec<Lane>,
    /// The readers read what arrives.
    reading: bool,
    notices: Vec<(Nanos, String)>,
    next_look: Nanos,
}

impl Plan {
    /// The link as [`Profile::with`] reads it, for example `rate=1gbit,delay=10ms,queue=1bdp,loss=1%`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn new(algorithm: Algorithm, forward: &str) -> Result<Plan, String> {
        let forward = Profile::default().with(forward).map_err(|error| error.to_string())?;
        Ok(Plan { algorithm, forward, frames: 1 << 18, mtu: 1500, turn_ns: 20 * MICROSECOND, seed: 1 })
    }

    /// The round trip of the link alone.
    pub fn rtt_ns(&self) -> Nanos {
        2 * self.forward.delay_ns
    }

    /// Payload bits per second that an application could get at best, at the rate of the start.
    ///
    /// # Panics
    /// Without a rate, nothing is a bottleneck.
    pub fn limit_bps(&self) -> f64 {
        let payload = crate::proto::max_payload(self.mtu, crate::wire::CRC_LEN) as f64;
        let lost = self.forward.loss + self.forward.burst.map_or(0.0, |burst| burst.share);
        let rate = self.forward.rate.expect("a bottleneck").bps() as f64;
        rate * payload / wire_bytes(self.mtu + ETHERNET_LEN) as f64 * (1.0 - lost)
    }

    fn host(&self, algorithm: Algorithm) -> HostPlan {
        let (rx_ring, tx_ring, completes_ns) = (512, usize::MAX, (0, 0));
        let nic = NicPlan { frames: self.frames, rx_ring, tx_ring, mtu: self.mtu, completes_ns };
        HostPlan { nic, proto: Config { algorithm, ..Config::default() }, turn_ns: self.turn_ns }
    }
}

impl Flow {
    /// Connected, with one stream on which nothing was written yet.
    ///
    /// # Panics
    /// Where the link can't be, or lets nothing through.
    pub fn new(plan: Plan) -> Flow {
        let back = Profile { rate: plan.forward.rate, delay_ns: plan.forward.delay_ns, ..Profile::default() };
        let mut net = Net::new(2, BEGIN_NS, true, Trace::default());
        net.lay(0, 1, &plan.forward, plan.seed);
        net.lay(1, 0, &back, plan.seed + 100);
        net.watch(0, 1);
        let net = Arc::new(Mutex::new(net));
        let hosts = [(0, plan.algorithm), (1, Algorithm::Cubic)];
        let hosts = hosts.map(|(index, algorithm)| Host::boot(&net, index, &plan.host(algorithm), plan.seed, 0));
        let mut flow = Flow { plan, net, hosts, lanes: Vec::new(), reading: true, notices: Vec::new(), next_look: 0 };
        flow.connect();
        flow
    }

    /// One more connection.
    ///
    /// # Panics
    /// As [`Flow::new`].
    pub fn connect(&mut self) {
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer: self.hosts[1].mac(), timeout_ns: 5 * SECOND };
        self.hosts[0].order(Command::Connect { options, reply });
        let ours = self.until(|_| answer.try_recv().ok()).expect("connected");
        let theirs = self.until(|flow| flow.hosts[1].incoming.try_recv().ok());
        let (reply, answer) = bounded(1);
        self.hosts[0].order(Command::OpenStream { conn: ours.key, reply });
        let out = self.until(|_| answer.try_recv().ok());
        self.lanes.push(Lane::new(ours, theirs, out));
    }

    /// The time of the world, which began at [`BEGIN_NS`].
    pub fn now(&self) -> Nanos {
        self.net().now
    }

    /// Runs until `poll` has something.
    ///
    /// # Panics
    /// When it has had nothing for ten million turns.
    pub fn until<T>(&mut self, mut poll: impl FnMut(&mut Flow) -> Option<T>) -> T {
        for _ in 0..TURNS {
            if let Some(value) = poll(self) {
                return value;
            }
            self.step();
        }
        panic!("did not happen: {:?}", self.hosts[0].engine.counters());
    }

    /// Runs until `span_ns` from now has passed.
    pub fn run(&mut self, span_ns: Nanos) {
        let end = self.now() + span_ns;
        while self.next().1 < end {
            self.step();
        }
        self.net().now = end;
    }

    /// Runs for `span_ns` from the first byte that arrives.
    pub fn run_from_first_byte(&mut self, span_ns: Nanos) {
        let first = self.until(|flow| flow.lanes[0].first_ns());
        let end = first + span_ns;
        self.run(end.saturating_sub(self.now()));
    }

    /// An end's worker gets no core for `span_ns` from now on.
    pub fn stall(&mut self, host: usize, span_ns: Nanos) {
        self.hosts[host].stopped_until = self.now() + span_ns;
    }

    /// Whether the readers read.
    pub fn set_reading(&mut self, reading: bool) {
        self.reading = reading;
        self.read(self.now());
    }

    /// The first flow's writer writes so many bytes more, and no more than these.
    pub fn write_only(&mut self, bytes: u64) {
        self.lanes[0].to_write = bytes;
        self.lanes[0].write();
    }

    /// Bytes that have arrived on the first flow between two times from its first byte on.
    pub fn bytes_between(&self, from: Nanos, to: Nanos) -> u64 {
        self.lanes[0].bytes_between(from, to)
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose turn is next, and when.
    fn next(&self) -> (usize, Nanos) {
        let net = self.net();
        let due = [0, 1].map(|host: usize| self.hosts[host].next_ns(&net));
        let host = usize::from(due[1] < due[0]);
        (host, due[host].max(net.now))
    }

    /// The next turn of whichever end is due.
    fn step(&mut self) {
        let (host, now) = self.next();
        self.net().now = now;
        if host == 0 {
            sender_turn(&mut self.hosts[0], now);
            self.lanes.iter_mut().for_each(Lane::write);
        } else {
            receiver_turn(&mut self.hosts[1], now);
            self.read(now);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK_NS;
            self.look(now);
        }
    }

    fn read(&mut self, now: Nanos) {
        if self.reading {
            self.lanes.iter_mut().for_each(|lane| lane.read(now));
        }
    }

    fn look(&mut self, now: Nanos) {
        let Some(lane) = self.lanes.last() else { return };
        let told = self.hosts[0].engine.recovery(lane.key());
        let notices = told.into_iter().flat_map(|(_, _, notices)| notices);
        self.notices.extend(notices.map(|notice| (now, notice)));
    }
}

/// A function of its own, in which a profiler finds all that the sender's engine does; the word keeps the compiler from
/// making one function of this and the next.
#[inline(never)]
fn sender_turn(host: &mut Host, now: Nanos) {
    std::hint::black_box((host.turn(now), "sender"));
}

/// The same of the receiver's.
#[inline(never)]
fn receiver_turn(host: &mut Host, now: Nanos) {
    std::hint::black_box((host.turn(now), "receiver"));
}
