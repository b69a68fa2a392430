//! A link and the transport joined on one thread: one call of [`Engine::turn`] does all there is to do at a time.
//!
//! Decides: the order of work within a turn, who holds a frame. Does not: read clocks, sleep, know AF_XDP.
//! Called by: `worker`, and the simulator. Invariant: every frame token is in exactly one place: the link, the frame
//! table (retained or held), a port's queue, or the application.

pub mod audit;
mod commands;
mod ends;
mod events;
mod frames;
mod grants;
pub mod port;
mod rx;
#[cfg(test)]
mod tests;
mod tx;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use slab::Slab;

use crate::base::Nanos;
use crate::base::time::{MILLISECOND, NEVER};
use crate::link::{BURST, Frame, Link, LinkError};
use crate::obs::latency::Latencies;
use crate::proto::config::Config;
use crate::proto::error::CloseReason;
use crate::proto::{Endpoint, Found};
use crate::wire::ETHERNET_LEN;
use crate::wire::eth::{Ethernet, Vlan};
use ends::{ConnEnd, ConnectReply, StreamEnd};
use frames::FrameTable;
use port::{Command, ConnPort, Doorbell, Returns, StreamKey};

/// Frames kept for packets of our own (ACKs, control), so that full streams never starve them. Two bursts.
const CONTROL_FRAMES: usize = 2 * BURST;
/// Quarters of the frames that may be lent to receive windows; what is not lent is for sending. A receiver keeps what
/// arrives behind a hole for up to four round trips where packets get lost, a sender little more than one. Lower: less
/// of a long link that loses packets is filled. Higher: who receives much can send little.
const RX_QUARTERS: usize = 3;
/// How long to wait before frames are offered again to a link that takes none, as an interface does that is down, and
/// before it is asked again for those that it has: no link wakes us for either. Shorter burns a core while an interface
/// is down, longer is added to its coming back and to writers that wait for the last frames.
const LINK_RETRY_NS: Nanos = MILLISECOND;

/// Settings of an engine.
#[derive(Clone)]
pub struct EngineConfig {
    /// The transport's settings.
    pub proto: Config,
    /// The 802.1Q tag that we send with and expect, if any.
    pub vlan: Option<Vlan>,
    /// Where connections that peers open go, from the first frame on; `None` refuses them until `Command::Listen`.
    pub incoming: Option<Sender<ConnPort>>,
    /// Drawn at random by the caller: keys of cookies and reset tokens, nonces, connection generations.
    pub seed: [u8; 32],
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EngineConfig { proto, vlan, incoming, seed: _ } = self;
        write!(f, "EngineConfig {{ {proto:?}, {vlan:?}, listening: {} }}", incoming.is_some())
    }
}

/// How often the connections are asked for their paths' patience. Lower: a look at each of them, a thousand perhaps, is
/// felt. Higher: a new short path suffers an old long one's patience for that long.
const PATIENCE_EVERY_NS: Nanos = 10 * MILLISECOND;

/// What a turn did, and when the next one is needed.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Something moved: the next turn should follow at once.
    pub worked: bool,
    /// Frames that came from the link or went to it.
    pub moved: usize,
    /// The next deadline, pacing included.
    pub next_ns: Option<Nanos>,
    /// How long what arrives may wait without anybody noticing: the patience of the shortest path in use.
    pub patience_ns: Nanos,
    /// The link stopped working; every connection has been told.
    pub failed: Option<LinkError>,
}

/// A link and the transport, and the ends of what the application holds.
pub struct Engine<L: Link> {
    link: L,
    endpoint: Endpoint,
    /// What we send begins with; the destination is filled in for each packet.
    ethernet: Ethernet,
    frames: FrameTable,
    /// Frames for data, both ways: all but the link's and those for control.
    lendable: usize,
    /// Of these, what is for sending alone.
    never_lent: usize,
    commands: Receiver<Command>,
    doorbell: Doorbell,
    returns: Arc<Returns>,
    streams: Slab<StreamEnd>,
    stream_generation: u32,
    /// The transport's stream slots to ours.
    by_slot: Vec<Option<usize>>,
    conns: BTreeMap<u32, ConnEnd>,
    connecting: BTreeMap<u32, ConnectReply>,
    incoming: Option<Sender<ConnPort>>,
    /// Most connections that may wait to be accepted.
    most_waiting: usize,
    queries: Option<Sender<Found>>,
    hungry: VecDeque<usize>,
    /// Connections (the transport's slots) on which streams may be opened for those who wait.
    allowed: Vec<u32>,
    /// Streams whose end found no frame to travel in.
    pending_ends: Vec<StreamKey>,
    /// Frames that the link has and we want back.
    in_link: usize,
    waking: Vec<usize>,
    wake_at_ns: Nanos,
    patience_ns: Nanos,
    /// When to ask the transport for it again.
    patience_until_ns: Nanos,
    rx: Vec<Frame>,
    reaped: Vec<Frame>,
    tx: VecDeque<Frame>,
    spare: Vec<Frame>,
    body: Vec<u8>,
    latencies: Latencies,
    failed: bool,
}

impl<L: Link> Engine<L> {
    /// An engine over `link` that takes its orders from `commands` and listens for `doorbell`.
    pub fn new(link: L, config: EngineConfig, commands: Receiver<Command>, doorbell: Doorbell) -> Engine<L> {
        let caps = link.caps();
        let lendable = caps.frames.saturating_sub(caps.rx_reserve + CONTROL_FRAMES);
        let rx_frames = lendable / 4 * RX_QUARTERS;
        let frames = caps.frames;
        let most_waiting = config.proto.max_connections;
        let ethernet = Ethernet { dst: caps.mac, src: caps.mac, vlan: config.vlan, ethertype: config.proto.ethertype };
        let mut endpoint = Endpoint::new(config.proto, caps.mac, caps.mtu, (frames, rx_frames), config.seed);
        endpoint.set_listening(config.incoming.is_some());
        Engine {
            endpoint,
            ethernet,
            frames: FrameTable::new(frames),
            lendable,
            never_lent: lendable - rx_frames,
            commands,
            doorbell,
            returns: Returns::new(frames),
            streams: Slab::new(),
            stream_generation: 0,
            by_slot: Vec::new(),
            conns: BTreeMap::new(),
            connecting: BTreeMap::new(),
            incoming: config.incoming,
            most_waiting,
            queries: None,
            hungry: VecDeque::new(),
            allowed: Vec::new(),
            pending_ends: Vec::new(),
            in_link: 0,
            waking: Vec::new(),
            wake_at_ns: NEVER,
            patience_ns: 0,
            patience_until_ns: 0,
            rx: Vec::with_capacity(BURST),
            reaped: Vec::with_capacity(4 * BURST),
            tx: VecDeque::with_capacity(2 * BURST),
            spare: Vec::with_capacity(BURST),
            body: vec![0; caps.mtu + ETHERNET_LEN],
            latencies: Latencies::new(),
            failed: false,
            link,
        }
    }

    /// Does all there is to do at `now`, in bursts, in the order of a packet's needs: completions, arrivals, timers,
    /// the application, departures.
    pub fn turn(&mut self, now: Nanos) -> Turn {
        let reaped = self.reap();
        self.endpoint.on_sending(self.frames.sending().saturating_sub(self.never_lent));
        let received = self.receive(now);
        self.endpoint.on_timeout(now);
        let asked = self.on_application(now);
        self.drain_output(now);
        self.feed_hungry();
        self.wake_readers(now);
        let sent = self.transmit(now);
        self.drain_output(now);
        let failed = self.link.kick().err().filter(|_| !std::mem::replace(&mut self.failed, true));
        if let Some(error) = &failed {
            self.close_all(now, &CloseReason::Link(error.to_string()));
        }
        Turn {
            worked: reaped + received + asked + sent > 0,
            moved: received + sent,
            next_ns: self.next_ns(now),
            patience_ns: self.patience(now),
            failed,
        }
    }

    /// Whether the worker may sleep: nothing of the application's waits. Says "asleep" to the doorbell if so.
    pub fn may_sleep(&self) -> bool {
        if !self.doorbell.prepare_sleep() {
            return false;
        }
        let idle = self.commands.is_empty() && self.returns.queue.is_empty();
        if !idle {
            self.doorbell.awake();
        }
        idle
    }

    /// The worker is awake again.
    pub fn awake(&self) {
        self.doorbell.awake();
    }

    /// What to poll before sleeping; to be asked anew each time.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.poll_fd()
    }

    /// A turn took this long.
    pub fn record_turn(&mut self, duration_ns: Nanos) {
        self.latencies.turn.record(duration_ns);
    }

    /// Ends every connection and tells peers and application why; a few more turns let the last packets leave.
    pub fn close_all(&mut self, now: Nanos, why: &CloseReason) {
        self.endpoint.close_all(now, why);
        self.incoming = None;
        self.drain_output(now);
        for reply in std::mem::take(&mut self.connecting).into_values() {
            let _ = reply.send(Err(crate::proto::error::ConnectError::Link(why.to_string())));
        }
    }

    /// The link, for its caps and counters.
    pub fn link(&self) -> &L {
        &self.link
    }

    fn patience(&mut self, now: Nanos) -> Nanos {
        if now >= self.patience_until_ns {
            self.patience_ns = self.endpoint.patience_ns();
            self.patience_until_ns = now + PATIENCE_EVERY_NS;
        }
        self.patience_ns
    }

    fn next_ns(&self, now: Nanos) -> Option<Nanos> {
        let mut next = self.endpoint.poll_timeout().min(self.wake_at_ns);
        if self.endpoint.has_ready() && self.tx.is_empty() && !self.spare.is_empty() {
            next = now; // the last events of this turn gave it something to send
        } else if !self.tx.is_empty() || self.endpoint.has_ready() || self.in_link > 0 {
            next = next.min(now + LINK_RETRY_NS);
        }
        (next != NEVER).then_some(next)
    }

    /// Gives the link every frame that is here, once the last turn is over: what is missing in its pool then, somebody
    /// has not given back.
    pub fn give_back(&mut self) {
        let kept = self.frames.take_all();
        let here = [&mut self.rx, &mut self.reaped, &mut self.spare].into_iter().flat_map(std::mem::take);
        let here: Vec<Frame> = here.chain(self.tx.drain(..)).chain(kept).collect();
        here.into_iter().for_each(|frame| self.free(frame));
    }

    /// Gives a frame back to the link's pool.
    fn free(&mut self, frame: Frame) {
        self.frames.on_freed(frame.id());
        self.link.free(frame);
    }
}
