//! A connection's send side: what goes next. Handshake and close first, then what the peer waits for (ACKs, credit),
//! then lost segments, then new ones.

use super::connection::{Connection, Cx, Side};
use super::control::{PendingControl, Record, StreamItem, StreamItemKind};
use super::error::CloseReason;
use super::lifecycle::{Event as Life, State};
use super::output::{Content, Event, Transmit};
use super::recovery::{SendPermit, SentPacket};
use super::segment::TxState;
use crate::base::size::MIN_FRAME_LEN;
use crate::base::time::{MILLISECOND, NEVER, SECOND};
use crate::base::{ConnId, FrameId, Nanos};
use crate::wire::ack::MAX_ACK_WORDS;
use crate::wire::header::TRAILER_LEN;
use crate::wire::{
    Accept, Confirm, ETHERNET_LEN, HEADER_LEN, Header, Item, Open, PacketType, Ping, STREAM_HEADER_LEN, StreamHeader,
};

/// First pause between two opens; doubled up to [`OPEN_RETRY_MAX_NS`]. Above most paths' round trip, so that an answer
/// under way is not asked for again, and short enough that a lost first packet is not felt.
pub(super) const OPEN_RETRY_NS: Nanos = 200 * MILLISECOND;
const OPEN_RETRY_MAX_NS: Nanos = SECOND;
/// A responder forgets an open that is not confirmed within this: two retries of its initiator.
pub(super) const HALF_OPEN_NS: Nanos = 3 * SECOND;
/// A probe that is late by this part of the idle timeout was not sent in time because this host did not run (stopped,
/// suspended), not because its timers are coarse. Lower: a busy host excuses the dead. Higher: a host that was away for
/// almost the timeout ends connections whose peers had no chance to be heard.
const OVERSLEPT: Nanos = 8;
/// Control packets in flight that carry something to be told again if lost, and the stream items in them. Honest peers
/// acknowledge within a round trip, in which not one packet per turn of 20 µs is sent, even at 300 ms. Lower: who reads
/// many streams over a long path gives no credit for a while. Higher: what silence can make us keep, a megabyte now.
const MAX_RECORDS: usize = 1 << 14;
/// Of the numbers of packets that ask for nothing (pings, ACKs), one in so many is followed by a packet that tells the
/// lowest number in flight: a peer waits for all that are above, as far as its window reaches, 2^22. Lower: packets for
/// nothing. Higher: where it comes close to that window, a few lost ones end a connection that only pings.
const LOWEST_EVERY: u64 = 1 << 16;
/// An ACK item without its words, and the trailer's length: what a segment must leave free to carry an ACK at all.
const ACK_FIXED_LEN: usize = 1 + 8 + 4 + 8 + 8 + 2 + TRAILER_LEN;

/// Whether a frame is still in the link's hands, and must not be touched.
pub type InLink<'a> = &'a dyn Fn(FrameId) -> bool;

impl Connection {
    /// The next packet to send now. Control content is written to `body`.
    pub(super) fn poll_transmit(&mut self, cx: &mut Cx<'_>, busy: InLink<'_>, body: &mut [u8]) -> Option<Transmit> {
        self.paced_until_ns = NEVER;
        match self.state {
            State::Closed | State::AcceptSent => None,
            State::OpenSent => self.poll_open(cx, body),
            _ if self.is_spent() => self.end_spent(cx, body),
            State::Draining => self.poll_close(cx, body).or_else(|| self.poll_control(cx, body)),
            _ => self.poll_established(cx, busy, body),
        }
    }

    fn poll_established(&mut self, cx: &mut Cx<'_>, busy: InLink<'_>, body: &mut [u8]) -> Option<Transmit> {
        if std::mem::take(&mut self.confirm_due) {
            let length = Confirm { nonce: self.nonce }.emit(body);
            // What is sealed has a number of its own; in plain mode the nonce says enough.
            let sealed = self.sealing.is_some();
            let number =
                if sealed { self.take_number(cx, SentPacket::default(), HEADER_LEN + length, false) } else { 0 };
            return Some(self.transmit(PacketType::Confirm, length, Content::Body, number));
        }
        if let Some(ask) = self.poll_ask(cx, body) {
            return Some(ask);
        }
        let probing = std::mem::take(&mut self.probe_due);
        if probing {
            cx.counters.tail_probes += 1;
        }
        let segment = self.next_segment(cx, busy, probing);
        let ack_alone = self.received.is_due(cx.now) && !self.has_room_for_ack(cx, segment);
        // An ACK alone asks for nothing, so it is no probe.
        self.control.pending.probe |= probing && (segment.is_none() || ack_alone);
        if (self.control.any() || ack_alone)
            && let Some(transmit) = self.poll_control(cx, body)
        {
            return Some(transmit);
        }
        match segment {
            Some(frame) => Some(self.send_segment(cx, frame, body)),
            None => self.poll_ping(cx),
        }
    }

    fn poll_open(&mut self, cx: &mut Cx<'_>, body: &mut [u8]) -> Option<Transmit> {
        if cx.now < self.open_retry_ns {
            return None;
        }
        let pause = (OPEN_RETRY_NS << self.open_tries.min(8)).min(OPEN_RETRY_MAX_NS);
        self.open_retry_ns = cx.now + pause;
        self.open_tries += 1;
        let length = match &self.sealing {
            Some(sealing) => sealing.emit_open(self.cookie, body)?,
            None => Open { conn: self.id, nonce: self.nonce, params: self.local, cookie: self.cookie }.emit(body),
        };
        Some(self.transmit(PacketType::Open, length, Content::Body, 0))
    }

    /// Responder: the answer to an open, the first one or a repeated one.
    pub(super) fn accept(&self, body: &mut [u8]) -> Transmit {
        let length = match self.sealing.as_ref().and_then(|sealing| sealing.emit_accept(body)) {
            Some(length) => length,
            None => Accept { conn: self.id, nonce: self.nonce, params: self.local }.emit(body),
        };
        self.transmit(PacketType::Accept, length, Content::Body, 0)
    }

    fn poll_close(&mut self, cx: &mut Cx<'_>, body: &mut [u8]) -> Option<Transmit> {
        if !std::mem::take(&mut self.close_due) {
            return None;
        }
        let (code, reason) = self.close.as_ref()?;
        let length = Item::Close { code: *code, reason }.emit(body)?;
        let number = self.take_number(cx, SentPacket::default(), HEADER_LEN + length, false);
        Some(self.transmit(PacketType::Control, length, Content::Body, number))
    }

    fn poll_ping(&mut self, cx: &mut Cx<'_>) -> Option<Transmit> {
        let pinger = self.pinger.as_mut()?;
        let id = pinger.poll_ping(cx.now)?;
        let size = pinger.size().min(self.mtu());
        let length = size.saturating_sub(HEADER_LEN + self.tail_len()).max(crate::wire::ping::PING_LEN);
        let number = self.take_number(cx, SentPacket::default(), HEADER_LEN + length, false);
        let content = Content::Ping(Ping { id, hold_ns: 0 });
        Some(self.transmit(PacketType::Ping, length, content, number))
    }

    /// The echo of a ping that arrived in a packet of `length` body bytes.
    pub(super) fn pong(&mut self, cx: &mut Cx<'_>, ping: Ping, length: usize) -> Transmit {
        let number = self.take_number(cx, SentPacket::default(), HEADER_LEN + length, false);
        self.transmit(PacketType::Pong, length, Content::Ping(ping), number)
    }

    /// ACK, credit and other items in a packet of their own.
    fn poll_control(&mut self, cx: &mut Cx<'_>, body: &mut [u8]) -> Option<Transmit> {
        let room = (self.mtu() - HEADER_LEN - self.tail_len()).min(body.len());
        let body = &mut body[..room];
        let mut length = 0;
        let ack_due = self.received.is_due(cx.now) || self.control.any();
        if ack_due && let Some(ack) = self.received.poll_ack(cx.now, MAX_ACK_WORDS.min((room - ACK_FIXED_LEN) / 8)) {
            cx.counters.tx_acks += 1;
            length += Item::Ack(ack).emit(&mut body[length..]).unwrap_or(0);
        }
        // A peer that never acknowledges gets no more items than we are ready to remember.
        let full = self.control.in_flight() >= MAX_RECORDS;
        let record = if full { Record::default() } else { self.put_items(cx, body, &mut length) };
        if length == 0 {
            return None;
        }
        let eliciting = record.conn.any() || !record.streams.is_empty();
        let mut sent = SentPacket::default();
        if eliciting {
            let lowest = Item::Lowest { number: self.recovery.lowest_in_flight() };
            length += lowest.emit(&mut body[length..]).unwrap_or(0);
            sent.frame = self.control.keep(record);
            self.last_asked_ns = cx.now;
        }
        let number = self.take_number(cx, sent, HEADER_LEN + length, eliciting);
        Some(self.transmit(PacketType::Control, length, Content::Body, number))
    }

    /// Writes pending items behind `length` as far as they fit.
    fn put_items(&mut self, cx: &mut Cx<'_>, body: &mut [u8], length: &mut usize) -> Record {
        let mut record = Record::default();
        let pending = std::mem::take(&mut self.control.pending);
        let mut put = |item: Item<'_>| match item.emit(&mut body[*length..]) {
            Some(len) => {
                *length += len;
                true
            }
            None => false,
        };
        let segments = if pending.conn_credit { self.rx_credit.poll_limit() } else { 0 };
        let streams = self.peer_streams_closed + self.stream_window;
        let sent = PendingControl {
            conn_credit: pending.conn_credit && put(Item::ConnCredit { segments }),
            streams_limit: pending.streams_limit && put(Item::StreamsLimit { streams }),
            finish: pending.finish && put(Item::Finish),
            probe: pending.probe && put(Item::Probe),
        };
        if sent.streams_limit {
            self.peer_streams_told = self.peer_streams_told.max(streams);
        }
        record.conn = sent;
        self.control.pending = PendingControl {
            conn_credit: pending.conn_credit && !sent.conn_credit,
            streams_limit: pending.streams_limit && !sent.streams_limit,
            finish: pending.finish && !sent.finish,
            probe: pending.probe && !sent.probe,
        };
        while let Some(&slot) = self.control.streams.front() {
            if !put_stream_items(cx, slot, &mut put, &mut record.streams) {
                break;
            }
            self.control.streams.pop_front();
        }
        record
    }

    /// The segment that may leave now: a lost one, or the next of the stream whose turn it is.
    fn next_segment(&mut self, cx: &mut Cx<'_>, busy: InLink<'_>, probing: bool) -> Option<FrameId> {
        if self.lost.is_empty() && self.sched.is_empty() && self.copies.is_empty() {
            self.recovery.on_starved();
            return None;
        }
        if !probing {
            if let Some(span) = self.recovery.full_span() {
                let more = cx.span_budget.lend(span);
                self.span_lent += more;
                self.recovery.widen_span(more);
            }
            match self.recovery.poll_send(cx.now) {
                SendPermit::Now { .. } => {}
                SendPermit::At(at) => {
                    self.paced_until_ns = at;
                    return None;
                }
                SendPermit::Blocked => return None,
            }
        }
        let again = self.next_copy(cx, busy).or_else(|| self.next_lost(cx, busy));
        let segment = again.or_else(|| self.next_new(cx));
        if segment.is_none() {
            self.recovery.on_starved();
        }
        segment
    }

    fn next_lost(&mut self, cx: &mut Cx<'_>, busy: InLink<'_>) -> Option<FrameId> {
        for _ in 0..self.lost.len() {
            let frame = self.lost.pop_front()?;
            let segment = cx.segments.tx(frame);
            if segment.state != TxState::Lost {
                continue;
            }
            let slot = segment.stream;
            let Some(stream) = cx.streams.get_mut(slot as usize) else { continue };
            if stream.conn != self.slot {
                continue;
            }
            if stream.send.is_reset() {
                segment.state = TxState::Free;
                cx.out.released.push(frame);
                stream.send.on_abandoned();
                self.try_remove_stream(cx, slot);
                continue;
            }
            if busy(frame) {
                self.lost.push_back(frame);
                continue;
            }
            self.lost.push_front(frame);
            return Some(frame);
        }
        None
    }

    fn next_new(&mut self, cx: &mut Cx<'_>) -> Option<FrameId> {
        if self.credit_used >= self.credit_limit {
            return None;
        }
        let room = self.max_payload();
        while let Some(slot) = self.sched.current() {
            let stream = cx.streams.get_mut(slot as usize);
            match stream.and_then(|stream| stream.send.poll_segment(cx.segments, room)) {
                Some(frame) => return Some(frame),
                None => self.sched.drop_current(cx.streams),
            }
        }
        None
    }

    fn has_room_for_ack(&self, cx: &mut Cx<'_>, segment: Option<FrameId>) -> bool {
        // Eight words cover 512 packets: enough for the redundancy between ACKs in the case that this serves.
        segment
            .is_some_and(|frame| usize::from(cx.segments.tx(frame).len) + ACK_FIXED_LEN + 8 * 8 <= self.max_payload())
    }

    fn send_segment(&mut self, cx: &mut Cx<'_>, frame: FrameId, body: &mut [u8]) -> Transmit {
        let segment = *cx.segments.tx(frame);
        let len = usize::from(segment.len);
        let items_len = self.put_trailer(cx, self.max_payload() - len, body);
        let trailer_len = if items_len > 0 { items_len + TRAILER_LEN } else { 0 };
        let length = STREAM_HEADER_LEN + len + trailer_len;
        let first = segment.state == TxState::Queued;
        let sent = SentPacket {
            offset: segment.offset,
            stream: segment.stream,
            frame: frame.0,
            payload: segment.len,
            flags: SentPacket::DATA | if first { 0 } else { SentPacket::RETRANSMISSION },
            ..SentPacket::default()
        };
        let number = self.take_number(cx, sent, HEADER_LEN + length, true);
        let lowest = number - self.recovery.lowest_in_flight().min(number);
        let entry = cx.segments.tx(frame);
        let lost_twice = segment.state == TxState::Lost && segment.number != segment.first_number;
        entry.number = number;
        entry.state = TxState::InFlight;
        if first {
            entry.first_number = number;
        }
        let stream = &mut cx.streams[segment.stream as usize];
        let id = stream.id;
        cx.counters.tx_data_packets += 1;
        if first {
            stream.send.on_first_sent();
            self.credit_used += 1;
            self.sched.on_sent(cx.streams, len);
        } else {
            match segment.state {
                TxState::Lost => self.lost.pop_front().map(|_| ()),
                _ => self.copies.pop_front().map(|_| ()),
            };
            cx.counters.retransmitted_packets += 1;
            if lost_twice {
                self.promise_copy(cx.now, frame, number);
            }
        }
        self.last_asked_ns = cx.now;
        let lowest_distance = u32::try_from(lowest).unwrap_or(u32::MAX);
        let stream = StreamHeader { stream: id, lowest_distance, offset: segment.offset };
        let content = Content::Segment { frame, stream, payload_len: len, items_len, first };
        let mut transmit = self.transmit(PacketType::Data, length, content, number);
        transmit.header.fin = segment.fin;
        transmit.header.trailer = items_len > 0;
        transmit
    }

    /// Puts an ACK behind a segment that leaves `room` bytes, if one is due; tells its length.
    fn put_trailer(&mut self, cx: &mut Cx<'_>, room: usize, body: &mut [u8]) -> usize {
        if room < ACK_FIXED_LEN + 8 || !self.received.has_pending() {
            return 0;
        }
        let Some(ack) = self.received.poll_ack(cx.now, MAX_ACK_WORDS.min((room - ACK_FIXED_LEN) / 8)) else { return 0 };
        cx.counters.tx_acks += 1;
        Item::Ack(ack).emit(body).unwrap_or(0)
    }

    /// Uses up a packet number for a packet of `len` bytes behind the Ethernet header and before the tag or CRC.
    pub(super) fn take_number(&mut self, cx: &mut Cx<'_>, mut sent: SentPacket, len: usize, eliciting: bool) -> u64 {
        sent.len = (ETHERNET_LEN + len + self.tail_len()).max(MIN_FRAME_LEN) as u16;
        let number = self.recovery.on_sent(cx.now, sent, eliciting);
        self.choose_phase(cx, number);
        self.control.pending.probe |= !eliciting && number.is_multiple_of(LOWEST_EVERY) && number > 0;
        number
    }

    pub(super) fn transmit(&self, kind: PacketType, length: usize, content: Content, number: u64) -> Transmit {
        let conn = if kind == PacketType::Open { ConnId(0) } else { self.peer_id };
        let header =
            Header { kind, fin: false, trailer: false, seal: self.seal_of(kind), length: length as u16, conn, number };
        Transmit { dst: self.peer, conn: Some(self.slot), header, content }
    }

    /// A deadline has passed.
    pub(super) fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        match self.state {
            State::Closed | State::OpenSent => {}
            State::AcceptSent => {
                if cx.now >= self.opened_ns + HALF_OPEN_NS {
                    self.state = State::Closed;
                }
            }
            State::Draining => {
                if cx.now >= self.drain_until_ns {
                    self.apply(cx, Life::Drained, CloseReason::Finished);
                }
            }
            _ => self.on_established_timeout(cx),
        }
    }

    fn on_established_timeout(&mut self, cx: &mut Cx<'_>) {
        let late_ns = cx.now.saturating_sub(self.keep_alive_at_ns(cx));
        if late_ns > self.idle_timeout_ns(cx) / OVERSLEPT && self.excused_ns <= self.last_heard_ns {
            // We did not run when we should have asked: the peer gets time to answer before it is held for dead. Once:
            // a host that is late again and again would keep the dead alive.
            self.excused_ns = cx.now;
        }
        if cx.now >= self.idle_at_ns(cx) {
            let silence = cx.now.saturating_sub(self.last_heard_ns);
            let why = CloseReason::IdleTimeout { silence_ms: silence / MILLISECOND };
            return self.apply(cx, Life::TimedOut, why);
        }
        if cx.now >= self.keep_alive_at_ns(cx) {
            self.control.pending.probe = true;
            self.last_asked_ns = cx.now;
        }
        if self.recovery.poll_timeout().is_some_and(|at| cx.now >= at) {
            let mut outcome = std::mem::take(&mut self.outcome);
            self.recovery.on_timeout(cx.now, &mut outcome);
            self.on_outcome(cx, &outcome);
            outcome.clear();
            self.outcome = outcome;
        }
        if let Some(report) = self.pinger.as_mut().and_then(|pinger| pinger.poll_report(cx.now)) {
            self.pinger = None;
            cx.out.events.push_back(Event::PingDone { conn: self.slot, report: Box::new(report) });
        }
    }

    /// The next deadline.
    pub(super) fn poll_timeout(&self, cx: &Cx<'_>) -> Nanos {
        match self.state {
            State::Closed => NEVER,
            State::OpenSent => self.open_retry_ns.min(self.opened_ns.saturating_add(self.connect_timeout_ns)),
            State::AcceptSent => self.opened_ns + HALF_OPEN_NS,
            State::Draining => self.drain_until_ns.min(self.received.poll_timeout().unwrap_or(NEVER)),
            _ => [
                self.recovery.poll_timeout().unwrap_or(NEVER),
                self.received.poll_timeout().unwrap_or(NEVER),
                self.paced_until_ns,
                self.next_copy_ns(cx.now),
                self.keep_alive_at_ns(cx),
                self.idle_at_ns(cx),
                self.pinger.as_ref().map_or(NEVER, |pinger| pinger.poll_timeout()),
            ]
            .into_iter()
            .min()
            .unwrap_or(NEVER),
        }
    }

    /// When a probe is due because neither side has said anything: the initiator's sooner, so that one side asks and
    /// the other need not.
    fn keep_alive_at_ns(&self, cx: &Cx<'_>) -> Nanos {
        let every = cx.config.keep_alive_ns.min(self.idle_timeout_ns(cx) / 3);
        let every = if self.side == Side::Responder { every + every / 2 } else { every };
        self.last_heard_ns.max(self.last_asked_ns).saturating_add(every)
    }

    /// When the peer has been silent for too long.
    fn idle_at_ns(&self, cx: &Cx<'_>) -> Nanos {
        let timeout_ns = self.idle_timeout_ns(cx);
        let excused = self.excused_ns > self.last_heard_ns;
        let excused_until_ns = if excused { self.excused_ns.saturating_add(timeout_ns / 3) } else { 0 };
        self.last_heard_ns.saturating_add(timeout_ns).max(excused_until_ns)
    }

    /// The shorter of both sides' idle timeouts; 0 means never on either.
    fn idle_timeout_ns(&self, cx: &Cx<'_>) -> Nanos {
        let theirs = Nanos::from(self.remote.idle_timeout_ms) * MILLISECOND;
        let sides = [cx.config.idle_timeout_ns, theirs];
        sides.into_iter().filter(|&ns| ns > 0).min().unwrap_or(NEVER)
    }
}

/// Writes one stream's pending items; false if they did not all fit.
fn put_stream_items(
    cx: &mut Cx<'_>,
    slot: u32,
    put: &mut dyn FnMut(Item<'_>) -> bool,
    sent: &mut Vec<StreamItem>,
) -> bool {
    let Some(stream) = cx.streams.get_mut(slot as usize) else { return true };
    let id = stream.id;
    let mut note = |kind| sent.push(StreamItem { stream: slot, id: id.0, kind });
    if stream.pending.credit {
        if !put(Item::StreamCredit { stream: id, limit: stream.recv.credit.poll_limit() }) {
            return false;
        }
        stream.pending.credit = false;
        note(StreamItemKind::Credit);
    }
    if let Some(code) = stream.pending.reset {
        if !put(Item::StreamReset { stream: id, code, segments: stream.send.first_sent() }) {
            return false;
        }
        stream.pending.reset = None;
        stream.pending.reset_in_flight = true;
        note(StreamItemKind::Reset(code));
    }
    if let Some(code) = stream.pending.stop {
        if !put(Item::StreamStop { stream: id, code }) {
            return false;
        }
        stream.pending.stop = None;
        note(StreamItemKind::Stop(code));
    }
    stream.pending.listed = false;
    true
}
