//! One connection: the hub that owns the parts and passes things between them.
//!
//! Its receive side is in `rx`, its send side in `tx`. After every input the endpoint polls in this order:
//! `poll_transmit` until `None`, then `poll_timeout`; deliveries, events and freed frames are in [`Output`].

use std::collections::{BTreeMap, VecDeque};

use slab::Slab;

use super::config::Config;
use super::control::ControlBook;
use super::copies::Copy;
use super::error::{CloseReason, StreamError};
use super::flow::{Granted, RxBudget};
use super::lifecycle::{Event as Life, State, next};
use super::output::{Event, Output};
use super::ping::Pinger;
use super::received::Received;
use super::recovery::{DecoyKey, DecoyKeys, FIRST_SPAN, Outcome, Recovery, RecoveryConfig, SpanBudget};
use super::sched::Scheduler;
use super::sealing::Sealing;
use super::segment::SegmentTable;
use super::stream::send::Written;
use super::stream::{RecvHalf, SendHalf, Stream, StreamBudget};
use crate::base::time::{MILLISECOND, NEVER, SECOND};
use crate::base::{ConnId, FrameId, MacAddr, Nanos, StreamId};
use crate::obs::Counters;
use crate::wire::{CRC_LEN, Params, TAG_LEN};

/// How long a closed connection answers late packets. Three times a long path's round trip; longer only holds the slot.
const DRAIN_NS: Nanos = SECOND;
/// First guess of a round trip before one was measured: a long path's, so that nothing is sent twice needlessly.
pub(super) const INITIAL_RTT_NS: Nanos = 100 * MILLISECOND;
/// What a connection's methods work with besides themselves: the endpoint's tables.
pub(super) struct Cx<'a> {
    pub now: Nanos,
    pub config: &'a Config,
    /// Frames in the pool: no more packets than that can be in flight.
    pub frames: usize,
    pub streams: &'a mut Slab<Stream>,
    pub segments: &'a mut SegmentTable,
    pub budget: &'a mut RxBudget,
    pub stream_budget: &'a mut StreamBudget,
    pub span_budget: &'a mut SpanBudget,
    /// Connections that their initiators have not confirmed.
    pub half_open: &'a mut usize,
    pub decoys: &'a mut DecoyKeys,
    pub counters: &'a mut Counters,
    pub out: &'a mut Output,
}

/// Which side of the open we were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Initiator,
    Responder,
}

/// One connection.
pub(super) struct Connection {
    pub slot: u32,
    pub id: ConnId,
    pub peer_id: ConnId,
    pub peer: MacAddr,
    pub side: Side,
    pub nonce: u64,
    pub state: State,
    pub local: Params,
    pub remote: Params,
    pub recovery: Recovery,
    /// Packet numbers that were lent to `recovery`.
    pub span_lent: u64,
    pub received: Received,
    pub outcome: Outcome,
    pub by_id: BTreeMap<u32, u32>,
    /// The stream that the last segment was for: its number and its slot.
    pub last_stream: Option<(u32, u32)>,
    pub sched: Scheduler,
    pub lost: VecDeque<FrameId>,
    pub copies: VecDeque<Copy>,
    pub control: ControlBook,
    /// Segments that the peer lets us send for the first time, cumulative, and how many we have.
    pub credit_limit: u64,
    pub credit_used: u64,
    pub rx_credit: Granted,
    /// Segments that were handed to the application.
    pub delivered: u64,
    /// The window of `rx_credit` is lent to us; else each frame that the application held goes back by itself.
    pub has_window: bool,
    /// The stream that was given half of the window as soon as some of it was read, without having to show in several
    /// round trips that it needs it. One at a time, so that many that are read a little do not take all of it.
    pub favoured: Option<u32>,
    pub streams_opened: u64,
    pub streams_allowed: u64,
    pub peer_streams_opened: u64,
    pub peer_streams_closed: u64,
    pub peer_streams_told: u64,
    /// Streams that the peer may have open: what it was offered, and what was lent to it since.
    pub stream_window: u64,
    pub pinger: Option<Pinger>,
    pub probe_due: bool,
    pub confirm_due: bool,
    pub finish_wanted: bool,
    pub finish_sent: bool,
    /// Keys, unless it is in plain mode.
    pub sealing: Option<Box<Sealing>>,
    pub close: Option<(u32, String)>,
    pub close_due: bool,
    pub last_heard_ns: Nanos,
    pub last_asked_ns: Nanos,
    /// When the peer's silence was excused last, because it was our own: not before it was heard last, and only once
    /// after that.
    pub excused_ns: Nanos,
    pub drain_until_ns: Nanos,
    /// The next time that pacing lets a packet leave, when it held one back.
    pub paced_until_ns: Nanos,
    /// Initiator: when to ask again, and how often we have.
    pub open_retry_ns: Nanos,
    pub open_tries: u32,
    pub connect_timeout_ns: Nanos,
    pub opened_ns: Nanos,
    pub cookie: Option<[u8; crate::wire::open::COOKIE_LEN]>,
    /// In the endpoint's list of those that may have something to send.
    pub ready: bool,
    /// Responder: counts among the half-open ones, with this window.
    pub half_open_window: Option<u64>,
}

/// What a new connection starts with.
pub(super) struct Birth {
    pub slot: u32,
    pub id: ConnId,
    pub peer_id: ConnId,
    pub peer: MacAddr,
    pub side: Side,
    pub nonce: u64,
    pub local: Params,
    pub remote: Params,
}

impl Connection {
    pub fn new(birth: Birth, now: Nanos, config: &Config, frames: usize) -> Connection {
        let Birth { slot, id, peer_id, peer, side, nonce, local, remote } = birth;
        let state = if side == Side::Initiator { State::OpenSent } else { State::AcceptSent };
        let mut conn = Connection {
            slot,
            id,
            peer_id,
            peer,
            side,
            nonce,
            state,
            local,
            remote,
            recovery: new_recovery(config, local.mtu.min(remote.mtu), INITIAL_RTT_NS, frames, None),
            span_lent: 0,
            received: Received::new(super::recovery::MAX_SPAN),
            outcome: Outcome::default(),
            by_id: BTreeMap::new(),
            last_stream: None,
            sched: Scheduler::new(super::max_payload(usize::from(local.mtu.min(remote.mtu)), CRC_LEN)),
            lost: VecDeque::new(),
            copies: VecDeque::new(),
            control: ControlBook::default(),
            credit_limit: remote.conn_credit,
            credit_used: 0,
            rx_credit: Granted::new(local.conn_credit),
            delivered: 0,
            has_window: true,
            favoured: None,
            streams_opened: 0,
            streams_allowed: u64::from(remote.streams),
            peer_streams_opened: 0,
            peer_streams_closed: 0,
            peer_streams_told: u64::from(local.streams),
            stream_window: u64::from(local.streams),
            pinger: None,
            probe_due: false,
            confirm_due: false,
            finish_wanted: false,
            finish_sent: false,
            sealing: None,
            close: None,
            close_due: false,
            last_heard_ns: now,
            last_asked_ns: now,
            excused_ns: 0,
            drain_until_ns: NEVER,
            paced_until_ns: NEVER,
            open_retry_ns: now,
            open_tries: 0,
            connect_timeout_ns: config.connect_timeout_ns,
            opened_ns: now,
            cookie: None,
            ready: false,
            half_open_window: None,
        };
        if side == Side::Responder {
            conn.open_retry_ns = NEVER;
        }
        conn
    }

    /// The other side's terms are known: what depends on them is made anew.
    pub fn on_terms(&mut self, cx: &mut Cx<'_>, remote: Params, rtt_ns: Option<Nanos>) {
        self.remote = remote;
        self.credit_limit = remote.conn_credit;
        self.streams_allowed = u64::from(remote.streams);
        let mtu = self.local.mtu.min(remote.mtu);
        self.sched = Scheduler::new(self.max_payload());
        let key = cx.decoys.draw();
        self.recovery = new_recovery(cx.config, mtu, rtt_ns.unwrap_or(INITIAL_RTT_NS), cx.frames, Some(key));
        self.received.set_patience(self.recovery.rtt().patience_ns());
    }

    /// Ethernet payload that both sides can take.
    pub fn mtu(&self) -> usize {
        usize::from(self.local.mtu.min(self.remote.mtu))
    }

    /// Most payload bytes in one segment.
    pub fn max_payload(&self) -> usize {
        super::max_payload(self.mtu(), self.tail_len())
    }

    /// Bytes of the tag or CRC that ends our packets.
    pub fn tail_len(&self) -> usize {
        if self.sealing.is_some() { TAG_LEN } else { CRC_LEN }
    }

    /// Opens a stream of ours, or `None` while the peer allows no more.
    pub fn open_stream(&mut self, cx: &mut Cx<'_>) -> Option<u32> {
        if !matches!(self.state, State::Open | State::PeerFinished) || self.streams_opened >= self.streams_allowed {
            return None;
        }
        let id = StreamId(self.streams_opened as u32 * 2 + u32::from(self.side == Side::Responder));
        self.streams_opened += 1;
        Some(self.insert_stream(cx, id))
    }

    /// The application wrote a segment.
    pub fn on_write(
        &mut self,
        stream: &mut Stream,
        table: &mut SegmentTable,
        slot: u32,
        segment: (FrameId, usize, bool),
    ) -> Written {
        let room = self.max_payload();
        let written = stream.send.on_write(table, slot, segment, room);
        if written != Written::Refused {
            self.sched.add(slot, stream);
        }
        written
    }

    /// The application has read segments of a stream, `bytes` together; their frames are free.
    pub fn on_consumed(&mut self, cx: &mut Cx<'_>, (slot, id): (u32, StreamId), segments: u64, bytes: u64) {
        self.on_segments_released(cx, segments);
        let Some(stream) = cx.streams.get(slot as usize) else { return };
        if stream.id != id || stream.conn != self.slot || !stream.recv.is_open() {
            return;
        }
        let (roof, payload) = (self.stream_roof(cx), self.max_payload() as u64);
        let Some(stream) = cx.streams.get_mut(slot as usize) else { return };
        let favour = self.favoured.is_none() && !stream.recv.has_end();
        let credit = &mut stream.recv.credit;
        credit.on_released(bytes);
        let wish = if favour {
            self.favoured = Some(slot);
            (roof / 3 * 2).saturating_sub(credit.window())
        } else {
            credit.poll_wish(cx.now, self.recovery.rtt().smoothed_ns(), bytes)
        };
        let room = roof.saturating_sub(credit.window());
        credit.widen(wish.min(room));
        if credit.is_due(payload) {
            self.list_stream(cx, slot, |pending| pending.credit = true);
        }
    }

    /// Most bytes that one stream may have in our hands: the rest of the window is for the others.
    pub fn stream_roof(&self, cx: &Cx<'_>) -> u64 {
        let window = self.rx_credit.window() * self.max_payload() as u64;
        cx.config.max_stream_window_bytes.min(window / 4 * 3)
    }

    /// The frames of received segments are free again, read or not.
    pub fn on_segments_released(&mut self, cx: &mut Cx<'_>, segments: u64) {
        if !self.has_window {
            return cx.budget.close_window(segments);
        }
        self.rx_credit.on_released(segments);
        let wish = self.rx_credit.poll_wish(cx.now, self.recovery.rtt().smoothed_ns(), segments);
        if wish > 0 {
            self.rx_credit.widen(cx.budget.widen(wish));
        }
        self.control.pending.conn_credit |= self.rx_credit.is_due(1);
    }

    /// The application gives a sending half up.
    pub fn reset_stream(&mut self, cx: &mut Cx<'_>, slot: u32, code: u32) {
        let stream = &mut cx.streams[slot as usize];
        if stream.send.on_reset(cx.segments, &mut cx.out.released) {
            self.list_stream(cx, slot, |pending| pending.reset = Some(code));
        }
    }

    /// The application wants no more of a receiving half.
    pub fn stop_stream(&mut self, cx: &mut Cx<'_>, slot: u32, code: u32) {
        if cx.streams[slot as usize].recv.on_stop() {
            self.list_stream(cx, slot, |pending| pending.stop = Some(code));
        }
    }

    /// Our direction is to be finished once its streams are.
    pub fn finish(&mut self, cx: &mut Cx<'_>) {
        self.finish_wanted = true;
        self.try_finish(cx);
    }

    /// Ends the connection now and tells the peer.
    pub fn abort(&mut self, cx: &mut Cx<'_>, code: u32, reason: &str, why: CloseReason) {
        if self.state.is_over() {
            return;
        }
        self.close = Some((code, reason.to_owned()));
        self.close_due = true;
        self.apply(cx, Life::Abort, why);
    }

    /// The state machine's one entrance.
    pub fn apply(&mut self, cx: &mut Cx<'_>, event: Life, why: CloseReason) {
        let before = self.state;
        self.state = next(before, event);
        if before == self.state {
            return;
        }
        if self.state == State::Draining {
            self.drain_until_ns = cx.now + DRAIN_NS;
        }
        if self.state.is_over() && !before.is_over() {
            self.end_streams(cx, &why);
            self.give_window_back(cx.budget);
            self.stream_window = cx.stream_budget.give_back(self.stream_window);
            cx.out.events.push_back(Event::Closed { conn: self.slot, reason: why });
        }
    }

    /// Nothing more is received: the window is for others, but for what the application still holds, which follows.
    pub fn give_window_back(&mut self, budget: &mut RxBudget) {
        if std::mem::take(&mut self.has_window) {
            budget.close_window(self.rx_credit.window().saturating_sub(self.rx_credit.held()));
        }
    }

    /// Sends our finish if the application wants it and all of our streams are acknowledged.
    pub fn try_finish(&mut self, cx: &mut Cx<'_>) {
        let ready = self.finish_wanted && !self.finish_sent && self.state.is_established();
        let busy = |slot: &u32| cx.streams.get(*slot as usize).is_some_and(|stream| !stream.is_send_over());
        if ready && !self.by_id.values().any(busy) {
            self.finish_sent = true;
            self.control.pending.finish = true;
            self.apply(cx, Life::Finish, CloseReason::Finished);
        }
    }

    pub fn insert_stream(&mut self, cx: &mut Cx<'_>, id: StreamId) -> u32 {
        let stream = Stream {
            id,
            conn: self.slot,
            send: SendHalf::new(self.remote.stream_credit),
            recv: RecvHalf::new(self.local.stream_credit),
            pending: Default::default(),
        };
        let slot = cx.streams.insert(stream) as u32;
        self.by_id.insert(id.0, slot);
        slot
    }

    /// Marks a control item of a stream and lists the stream once.
    pub fn list_stream(&mut self, cx: &mut Cx<'_>, slot: u32, mark: impl FnOnce(&mut super::stream::PendingItems)) {
        let pending = &mut cx.streams[slot as usize].pending;
        mark(pending);
        if !pending.listed {
            pending.listed = true;
            self.control.streams.push_back(slot);
        }
    }

    /// Forgets a stream whose halves are both over.
    pub fn try_remove_stream(&mut self, cx: &mut Cx<'_>, slot: u32) {
        let Some(stream) = cx.streams.get(slot as usize) else { return };
        if !stream.is_over() {
            return self.try_finish(cx);
        }
        let stream = cx.streams.remove(slot as usize);
        self.by_id.remove(&stream.id.0);
        self.last_stream = None;
        self.favoured = self.favoured.filter(|favoured| *favoured != slot);
        self.sched.remove(slot);
        if stream.pending.listed {
            self.control.streams.retain(|&other| other != slot);
        }
        if !self.is_ours(stream.id) {
            self.peer_streams_closed += 1;
            let allowed = self.peer_streams_closed + self.stream_window;
            let step = (self.stream_window / 4).max(1);
            // By quarters, but each one to a peer that is near its limit: its other streams may be there to stay.
            let near = self.peer_streams_told - self.peer_streams_opened < step;
            self.control.pending.streams_limit |= near || allowed - self.peer_streams_told >= step;
        }
        cx.out.events.push_back(Event::StreamGone { stream: slot });
        self.try_finish(cx);
    }

    pub fn is_ours(&self, id: StreamId) -> bool {
        (id.0 & 1 == 1) == (self.side == Side::Responder)
    }

    /// Tells every stream how the connection ended and takes back all frames.
    fn end_streams(&mut self, cx: &mut Cx<'_>, why: &CloseReason) {
        let mut slots: Vec<u32> = std::mem::take(&mut self.by_id).into_values().collect();
        slots.sort_unstable();
        // A look at every frame of the pool, which a peer that opens and closes again and again must not cause.
        if slots.iter().any(|slot| cx.streams[*slot as usize].send.has_unacked()) {
            cx.segments.release_sent(&slots, &mut cx.out.released);
        }
        self.lost.clear();
        self.copies.clear();
        for slot in slots {
            let mut stream = cx.streams.remove(slot as usize);
            let error = StreamError::Closed(why.clone());
            if !stream.send.is_over() {
                stream.send.on_reset(cx.segments, &mut cx.out.released);
                cx.out.events.push_back(Event::SendFailed { stream: slot, error: error.clone() });
            }
            if !stream.recv.is_over() {
                let before = cx.out.released.len();
                stream.recv.abandon(cx.segments, &mut cx.out.released);
                self.rx_credit.on_released((cx.out.released.len() - before) as u64);
                cx.out.events.push_back(Event::RecvFailed { stream: slot, error });
            }
            cx.out.events.push_back(Event::StreamGone { stream: slot });
        }
        self.last_stream = None;
        self.sched.clear();
        self.control.streams.clear();
        self.control.pending = Default::default();
        if let Some(pinger) = self.pinger.take() {
            let report = Box::new(pinger.into_report());
            cx.out.events.push_back(Event::PingDone { conn: self.slot, report });
        }
    }
}

fn new_recovery(config: &Config, mtu: u16, initial_rtt_ns: Nanos, frames: usize, decoys: Option<DecoyKey>) -> Recovery {
    let mut settings = RecoveryConfig::new(config.algorithm, mtu);
    settings.initial_rtt_ns = initial_rtt_ns;
    settings.max_in_flight = frames as u64;
    settings.max_span = FIRST_SPAN;
    settings.decoys = decoys;
    Recovery::new(&settings)
}
