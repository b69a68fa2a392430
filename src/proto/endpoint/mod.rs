//! All connections of one engine: which one a packet is for, who may open one, whose turn it is to send.
//!
//! Decides: demultiplexing, admission, fairness between connections. Does not: anything within a connection.
//! Called by: `engine`: `on_packet`, `on_timeout` and commands; then `poll_transmit` until `None`; then `poll_timeout`.
//! Invariant: an unproven sender costs one reply no longer than its packet, and no state once cookies are asked for.

mod discovery;
mod facts;
mod identity;
mod inventory;
mod open;
mod rates;
mod replies;
mod sealed;

use std::collections::{BTreeMap, VecDeque};

use slab::Slab;

use super::config::Config;
use super::connection::{Connection, Cx};
use super::error::CloseReason;
use super::flow::RxBudget;
use super::lifecycle::{Event as Life, State};
use super::output::{Output, Transmit};
use super::ping::{PingRun, Pinger};
use super::recovery::{DecoyKeys, SpanBudget};
use super::rx::{Fate, code};
use super::segment::{SegmentTable, TxState};
use super::stream::send::Written;
use super::stream::{Stream, StreamBudget};
use super::tx::InLink;
use crate::base::time::{MICROSECOND, MILLISECOND, NEVER};
use crate::base::wheel::TimerWheel;
use crate::base::{ConnId, FrameId, MacAddr, Nanos, StreamId};
use crate::obs::Counters;
use crate::wire::eth::same_mac;
use crate::wire::header::split_data;
use crate::wire::{Header, PacketType, Ping};
use discovery::Discovery;
use identity::Identity;
use rates::Rates;
use replies::{Answered, Hints, Reply};

/// Granularity of the timers. Finer than any pacing interval that matters, coarse enough for a wheel of few slots.
const TICK_NS: Nanos = MICROSECOND;

/// How often timers are looked at while packets can't leave. Shorter burns a core while an interface is down, longer
/// is added to the idle timeout.
const BLOCKED_NS: Nanos = MILLISECOND;

/// A parsed and verified packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From whom.
    pub src: MacAddr,
    /// Its header.
    pub header: Header,
    /// What follows the header, up to the CRC or tag; of a sealed packet of a connection, opened.
    pub body: &'a [u8],
    /// The frame that it arrived in.
    pub frame: FrameId,
}

/// What is to be done with a packet's frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the transport's now, and comes back as a delivery or released.
    Kept,
    /// It is free.
    Free,
    /// It is to be sent back as this packet, its padding unchanged.
    Echo(Transmit),
}

/// All connections of one engine.
pub struct Endpoint {
    config: Config,
    identity: Identity,
    mtu: u16,
    frames: usize,
    conns: Slab<Connection>,
    by_peer: BTreeMap<([u8; 6], u32), u32>,
    half_open: usize,
    streams: Slab<Stream>,
    segments: SegmentTable,
    budget: RxBudget,
    stream_budget: StreamBudget,
    span_budget: SpanBudget,
    wheel: TimerWheel,
    expired: Vec<u32>,
    /// Connections that may have something to send.
    ready: VecDeque<u32>,
    replies: VecDeque<Reply>,
    /// Of this burst.
    replied: usize,
    /// Replies to who has proved nothing.
    hints: Hints,
    /// Replies to who has proved who it is, or repeats who has.
    answered: Answered,
    rates: Rates,
    listening: bool,
    discovery: Discovery,
    decoys: DecoyKeys,
    counters: Counters,
    out: Output,
}

impl Endpoint {
    /// An endpoint over a link with this address and MTU, and `frames` frames of which `rx_frames` may be lent to
    /// receive windows. `seed` must be random.
    pub fn new(config: Config, mac: MacAddr, mtu: usize, frames: (usize, usize), seed: [u8; 32]) -> Endpoint {
        let (frames, rx_frames) = frames;
        let max_connections = config.max_connections.min(identity::SLOTS);
        let mut identity = Identity::new(mac, seed, config.entropy);
        let rates = Rates::new(identity.salt());
        let stream_budget = StreamBudget::new(config.max_streams, config.max_streams_total, max_connections);
        Endpoint {
            config: Config { max_connections, ..config },
            identity,
            mtu: mtu.min(usize::from(u16::MAX)) as u16,
            frames,
            conns: Slab::new(),
            by_peer: BTreeMap::new(),
            half_open: 0,
            streams: Slab::new(),
            segments: SegmentTable::new(frames),
            budget: RxBudget::new(rx_frames as u64),
            stream_budget,
            span_budget: SpanBudget::new(frames),
            wheel: TimerWheel::new(TICK_NS),
            expired: Vec::new(),
            ready: VecDeque::new(),
            replies: VecDeque::new(),
            replied: 0,
            hints: Hints::default(),
            answered: Answered::new(),
            rates,
            listening: false,
            discovery: Discovery::default(),
            decoys: DecoyKeys::new(&seed),
            counters: Counters::default(),
            out: Output::default(),
        }
    }

    /// Where deliveries, freed frames and events are, to be emptied by the engine.
    pub fn output(&mut self) -> &mut Output {
        &mut self.out
    }

    /// The counters, to be read and, by the engine, added to.
    pub fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Accept connections from now on, or no longer.
    pub fn set_listening(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// A packet arrived.
    pub fn on_packet(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        match packet.header.kind {
            PacketType::Data => self.on_data(now, packet),
            PacketType::Control | PacketType::Confirm | PacketType::Pong => self.on_connection_packet(now, packet),
            PacketType::Ping => self.on_ping(now, packet),
            PacketType::Open => self.on_open(now, packet),
            PacketType::Cookie => self.on_cookie(now, packet),
            PacketType::Accept => self.on_accept(now, packet),
            PacketType::Reset => self.on_reset(now, packet),
            PacketType::Query => self.on_query(now, packet),
            PacketType::Announce => self.on_announce(packet),
            PacketType::Ask => self.on_ask(now, packet),
            PacketType::Version => self.on_version(now, packet),
        }
    }

    /// The next packet to send now, its control content in `body`. `busy` tells which frames the link still holds.
    pub fn poll_transmit(&mut self, now: Nanos, busy: InLink<'_>, body: &mut [u8]) -> Option<Transmit> {
        if let Some(reply) = self.poll_first_reply(body) {
            return Some(reply);
        }
        if let Some(query) = self.poll_query(now, body) {
            return Some(query);
        }
        while let Some(&slot) = self.ready.front() {
            if let Some((conn, mut cx)) = self.at(now, slot)
                && let Some(transmit) = conn.poll_transmit(&mut cx, busy, body)
            {
                return Some(transmit);
            }
            self.ready.pop_front();
            self.settle(now, slot);
        }
        self.poll_reply(body)
    }

    /// A burst has gone: the connection whose turn it was waits behind the others.
    pub fn next_connection(&mut self) {
        self.replied = 0;
        if self.ready.len() > 1 {
            self.ready.rotate_left(1);
        }
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Nanos {
        self.wheel.next().unwrap_or(NEVER).min(self.discovery.poll_timeout())
    }

    /// Something may be there to send: `poll_transmit` was not asked until it said `None`.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.replies.is_empty()
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Nanos) {
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(now, &mut expired);
        for slot in expired.drain(..) {
            self.expire_open(now, slot);
            let next = self.with(now, slot, |conn, cx| {
                conn.on_timeout(cx);
                conn.poll_timeout(cx)
            });
            // Set anew once all is sent; until then, as long as the link takes nothing, looked at now and then.
            if let Some(at) = next {
                self.wheel.set(slot, at.max(now + BLOCKED_NS));
            }
            self.mark_ready(slot);
            self.settle_closed(slot);
        }
        self.expired = expired;
    }

    /// The link has given a frame back that the transport still needs.
    pub fn on_completed(&mut self, frame: FrameId) {
        let segment = *self.segments.tx(frame);
        if !matches!(segment.state, TxState::Lost | TxState::InFlight) {
            return;
        }
        let Some(conn) = self.streams.get(segment.stream as usize).map(|stream| stream.conn) else { return };
        let is_to_copy = || self.conns.get(conn as usize).is_some_and(|conn| conn.is_to_copy(frame));
        if segment.state == TxState::Lost || is_to_copy() {
            self.mark_ready(conn);
        }
    }

    /// Of the frames that may be lent to receive windows, so many are in use for sending.
    pub fn on_sending(&mut self, frames: usize) {
        self.budget.set_busy(frames as u64);
    }

    /// Opens a stream on a connection; `None` while the peer allows no more.
    pub fn open_stream(&mut self, now: Nanos, conn: u32) -> Option<u32> {
        self.with(now, conn, |conn, cx| conn.open_stream(cx)).flatten()
    }

    /// The application wrote `len` payload bytes into `frame` for a stream. Refused if the stream is gone.
    pub fn on_write(&mut self, stream: u32, segment: (FrameId, usize, bool)) -> Written {
        let Some(entry) = self.streams.get_mut(stream as usize) else { return Written::Refused };
        let conn = entry.conn;
        let Some(to) = self.conns.get_mut(conn as usize) else { return Written::Refused };
        let written = to.on_write(entry, &mut self.segments, stream, segment);
        self.mark_ready(conn);
        written
    }

    /// The application has read delivered segments of a stream, `bytes` together; their frames are free.
    pub fn on_consumed(&mut self, now: Nanos, conn: ConnId, stream: (u32, StreamId), segments: u64, bytes: u64) {
        let Some(slot) = self.find(conn) else {
            // The connection is gone; its window has come back but for what the application still held.
            return self.budget.close_window(segments);
        };
        self.with(now, slot, |conn, cx| conn.on_consumed(cx, stream, segments, bytes));
        if self.conns[slot as usize].control.any() {
            self.mark_ready(slot);
        }
    }

    /// The application gives up sending on a stream.
    pub fn reset_stream(&mut self, now: Nanos, stream: u32, code: u32) {
        self.on_stream(now, stream, |conn, cx| conn.reset_stream(cx, stream, code));
    }

    /// The application has dropped its sending end: a reset, unless it had finished.
    pub fn reset_stream_if_open(&mut self, now: Nanos, stream: u32, code: u32) {
        if self.streams.get(stream as usize).is_some_and(|stream| stream.send.is_open()) {
            self.reset_stream(now, stream, code);
        }
    }

    /// The application gives up receiving on a stream.
    pub fn stop_stream(&mut self, now: Nanos, stream: u32, code: u32) {
        self.on_stream(now, stream, |conn, cx| conn.stop_stream(cx, stream, code));
    }

    /// Nagle on or off.
    pub fn set_nagle(&mut self, stream: u32, nagle: bool) {
        let Some(entry) = self.streams.get_mut(stream as usize) else { return };
        let was = std::mem::replace(&mut entry.send.nagle, nagle);
        if was && !nagle && entry.send.queued() > 0 {
            // What was held may go.
            let slot = entry.conn;
            if let Some(conn) = self.conns.get_mut(slot as usize) {
                conn.sched.add(stream, entry);
            }
            self.mark_ready(slot);
        }
    }

    /// Our direction of a connection is done once its streams are.
    pub fn finish(&mut self, now: Nanos, conn: u32) {
        self.with(now, conn, |conn, cx| conn.finish(cx));
        self.mark_ready(conn);
    }

    /// Ends a connection now. `code` is the application's own, counted from 0.
    pub fn close(&mut self, now: Nanos, conn: u32, code: u32, reason: &str) {
        let why = CloseReason::Local { code, reason: reason.to_owned() };
        let wire_code = super::error::APPLICATION_CODES.saturating_add(code);
        self.with(now, conn, |conn, cx| conn.abort(cx, wire_code, reason, why));
        self.mark_ready(conn);
    }

    /// Ends every connection, because the endpoint ends or its link failed.
    pub fn close_all(&mut self, now: Nanos, why: &CloseReason) {
        let slots: Vec<u32> = self.conns.iter().map(|(slot, _)| slot as u32).collect();
        for slot in slots {
            let words = why.to_string();
            self.with(now, slot, |conn, cx| match conn.state {
                State::OpenSent | State::AcceptSent => conn.apply(cx, Life::TimedOut, why.clone()),
                _ => conn.abort(cx, code::SHUTDOWN, &words, why.clone()),
            });
            self.mark_ready(slot);
        }
    }

    /// Starts a series of pings. False if one is under way or the connection is not open.
    pub fn ping(&mut self, now: Nanos, conn: u32, run: PingRun) -> bool {
        let Some(conn_ref) = self.conns.get_mut(conn as usize) else { return false };
        if conn_ref.pinger.is_some() || !conn_ref.state.is_established() {
            return false;
        }
        conn_ref.pinger = Some(Pinger::new(run, now));
        self.mark_ready(conn);
        true
    }

    fn on_data(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Some(slot) = self.route(now, packet) else { return Verdict::Free };
        let Ok((stream, payload, items)) = split_data(packet.body, packet.header.trailer) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let data = (stream, payload.len() as u16, packet.frame);
        let fate = self.with(now, slot, |conn, cx| conn.on_data(cx, &packet.header, data, items));
        self.mark_ready(slot);
        if fate == Some(Fate::Kept) { Verdict::Kept } else { Verdict::Free }
    }

    fn on_connection_packet(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Some(slot) = self.route(now, packet) else { return Verdict::Free };
        self.with(now, slot, |conn, cx| match packet.header.kind {
            PacketType::Control => conn.on_control(cx, &packet.header, packet.body),
            PacketType::Pong => conn.on_pong(cx, &packet.header, packet.body),
            _ => conn.on_confirm(cx, &packet.header, packet.body),
        });
        self.mark_ready(slot);
        Verdict::Free
    }

    fn on_ping(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Some(slot) = self.route(now, packet) else { return Verdict::Free };
        let Ok(ping) = Ping::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let length = packet.body.len();
        let echo = self.with(now, slot, |conn, cx| {
            let fresh = conn.on_sign(cx, &packet.header) && conn.state.is_established();
            fresh.then(|| conn.pong(cx, ping, length))
        });
        self.mark_ready(slot);
        echo.flatten().map_or(Verdict::Free, Verdict::Echo)
    }

    /// The connection that a packet is for, if it is its peer's.
    fn route(&mut self, now: Nanos, packet: &Packet<'_>) -> Option<u32> {
        let Some(slot) = self.find(packet.header.conn) else {
            self.counters.drop_unknown_connection += 1;
            self.reply_reset(now, packet);
            return None;
        };
        if !same_mac(self.conns[slot as usize].peer, packet.src) {
            self.counters.drop_wrong_peer += 1;
            return None;
        }
        // Whoever passes a sealed packet on has opened it.
        if self.conns[slot as usize].sealing.is_some() != packet.header.seal.is_some() {
            self.counters.drop_unsealed += 1;
            return None;
        }
        Some(slot)
    }

    /// Works on one connection with the endpoint's tables at hand.
    fn with<T>(&mut self, now: Nanos, slot: u32, work: impl FnOnce(&mut Connection, &mut Cx<'_>) -> T) -> Option<T> {
        self.at(now, slot).map(|(conn, mut cx)| work(conn, &mut cx))
    }

    /// One connection, and the endpoint's tables for it to work with.
    #[inline]
    fn at(&mut self, now: Nanos, slot: u32) -> Option<(&mut Connection, Cx<'_>)> {
        let conn = self.conns.get_mut(slot as usize)?;
        let cx = Cx {
            now,
            config: &self.config,
            frames: self.frames,
            streams: &mut self.streams,
            segments: &mut self.segments,
            budget: &mut self.budget,
            stream_budget: &mut self.stream_budget,
            span_budget: &mut self.span_budget,
            half_open: &mut self.half_open,
            decoys: &mut self.decoys,
            counters: &mut self.counters,
            out: &mut self.out,
        };
        Some((conn, cx))
    }

    fn on_stream(&mut self, now: Nanos, stream: u32, work: impl FnOnce(&mut Connection, &mut Cx<'_>)) {
        let Some(conn) = self.streams.get(stream as usize).map(|stream| stream.conn) else { return };
        self.with(now, conn, |conn, cx| work(conn, cx));
        self.mark_ready(conn);
    }

    fn mark_ready(&mut self, slot: u32) {
        if let Some(conn) = self.conns.get_mut(slot as usize)
            && !conn.ready
        {
            conn.ready = true;
            self.ready.push_back(slot);
        }
    }

    /// A connection has nothing to send now: its timer is set, and if it is over it is forgotten.
    fn settle(&mut self, now: Nanos, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        conn.ready = false;
        if let Some(at) = self.with(now, slot, |conn, cx| conn.poll_timeout(cx)) {
            self.wheel.set(slot, at);
        }
        self.settle_closed(slot);
    }

    fn settle_closed(&mut self, slot: u32) {
        if self.conns.get(slot as usize).is_some_and(|conn| conn.state == State::Closed) {
            self.forget(slot);
        }
    }

    /// Frees the slot of a connection that is over.
    fn forget(&mut self, slot: u32) {
        let mut conn = self.conns.remove(slot as usize);
        conn.give_window_back(&mut self.budget);
        self.span_budget.give_back(conn.span_lent);
        conn.stream_window = self.stream_budget.give_back(conn.stream_window);
        let key = (conn.peer.octets(), conn.peer_id.0);
        // A peer that was restarted may have opened another one under the same id since.
        if self.by_peer.get(&key) == Some(&slot) {
            self.by_peer.remove(&key);
        }
        self.wheel.cancel(slot);
        self.ready.retain(|&other| other != slot);
        if let Some(window) = conn.half_open_window {
            self.half_open -= 1;
            self.budget.on_half_open_over(window);
        }
    }
}

#[cfg(test)]
mod tests;
