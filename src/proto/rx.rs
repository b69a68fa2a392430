//! A connection's receive side: what each packet and each of its items does.

use super::connection::{Connection, Cx};
use super::control::{Record, StreamItemKind};
use super::error::{CloseReason, StreamError};
use super::lifecycle::{Event as Life, State};
use super::output::{Delivery, Event};
use super::received::Seen;
use super::recovery::{Outcome, Sent, SentPacket};
use super::segment::TxState;
use super::stream::Arrival;
use super::stream::recv::Segment;
use crate::base::{FrameId, StreamId};
use crate::wire::item::Items;
use crate::wire::{Ack, Confirm, Header, Item, Ping, StreamHeader};

/// Close codes of the protocol itself; the application's begin at 0x1_0000.
pub mod code {
    /// The connection's own end.
    pub const FINISHED: u32 = 0;
    /// The peer broke a rule.
    pub const VIOLATION: u32 = 1;
    /// The endpoint was shut down.
    pub const SHUTDOWN: u32 = 2;
    /// The connection's key is taken no longer, or has sealed all that it may.
    pub const KEY: u32 = 3;
    /// The peer acknowledged what it can't have received.
    pub const FALSE_ACK: u32 = 4;
}

/// What becomes of a received packet's frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is the transport's now, and comes back as delivered or released.
    Kept,
    /// The caller may free it.
    Free,
}

impl Connection {
    /// A data packet arrived; its payload is in `frame`.
    pub(super) fn on_data(
        &mut self,
        cx: &mut Cx<'_>,
        header: &Header,
        data: (StreamHeader, u16, FrameId),
        items: &[u8],
    ) -> Fate {
        let (stream, len, frame) = data;
        self.received.on_lowest(header.number.saturating_sub(u64::from(stream.lowest_distance)));
        if !self.on_number(cx, header.number, true) {
            return Fate::Free;
        }
        cx.counters.rx_data_packets += 1;
        if header.fin {
            self.received.on_urgent();
        }
        let segment = Segment { frame, offset: stream.offset, len, fin: header.fin };
        let fate = self.on_segment(cx, stream.stream, segment);
        if !items.is_empty() {
            self.on_items(cx, items);
        }
        fate
    }

    /// A control packet arrived.
    pub(super) fn on_control(&mut self, cx: &mut Cx<'_>, header: &Header, items: &[u8]) {
        let quiet = |item| matches!(item, Ok(Item::Ack(_) | Item::Lowest { .. } | Item::Close { .. }));
        let eliciting = !Items::new(items).all(quiet);
        if self.on_number(cx, header.number, eliciting) {
            self.on_items(cx, items);
        } else if self.state == State::Draining && Items::new(items).any(|item| matches!(item, Ok(Item::Close { .. })))
        {
            // Both sides have closed: two answers to each other would go on for as long as we drain.
            self.apply(cx, Life::PeerClosed, CloseReason::Finished);
        }
    }

    /// A ping, an echo or a confirm arrived: they count as a sign of life and against replay, no more.
    pub(super) fn on_sign(&mut self, cx: &mut Cx<'_>, header: &Header) -> bool {
        self.on_number(cx, header.number, false)
    }

    /// A packet number arrived. False if the packet must not be looked at.
    fn on_number(&mut self, cx: &mut Cx<'_>, number: u64, eliciting: bool) -> bool {
        if self.state == State::Closed || self.state == State::OpenSent {
            cx.counters.drop_unknown_connection += 1;
            return false;
        }
        match self.received.on_packet(cx.now, number, eliciting) {
            Seen::New => {}
            Seen::Duplicate | Seen::TooOld | Seen::TooFar => {
                cx.counters.drop_replayed += 1;
                return false;
            }
        }
        self.last_heard_ns = cx.now;
        self.on_confirmed(cx);
        if self.state == State::Draining {
            self.close_due = self.close.is_some();
            return self.close.is_none();
        }
        true
    }

    /// A confirm arrived.
    pub(super) fn on_confirm(&mut self, cx: &mut Cx<'_>, header: &Header, body: &[u8]) {
        match Confirm::parse(body) {
            Ok(confirm) if confirm.nonce == self.nonce && header.seal.is_some() => drop(self.on_sign(cx, header)),
            Ok(confirm) if confirm.nonce == self.nonce => self.on_confirmed(cx),
            Ok(_) => cx.counters.drop_unasked += 1,
            Err(_) => cx.counters.drop_malformed += 1,
        }
    }

    /// The echo of a ping arrived.
    pub(super) fn on_pong(&mut self, cx: &mut Cx<'_>, header: &Header, body: &[u8]) {
        let Ok(echo) = Ping::parse(body) else {
            cx.counters.drop_malformed += 1;
            return;
        };
        if self.on_sign(cx, header)
            && let Some(pinger) = &mut self.pinger
        {
            pinger.on_echo(cx.now, echo.id);
        }
    }

    /// The initiator has proved that it got our accept.
    fn on_confirmed(&mut self, cx: &mut Cx<'_>) {
        if self.state != State::AcceptSent {
            return;
        }
        if let Some(window) = self.half_open_window.take() {
            *cx.half_open -= 1;
            cx.budget.on_half_open_over(window);
        }
        let rtt_ns = cx.now.saturating_sub(self.opened_ns);
        self.last_heard_ns = cx.now;
        self.on_terms(cx, self.remote, Some(rtt_ns));
        self.apply(cx, Life::Confirmed, CloseReason::Finished);
        cx.out.events.push_back(Event::Incoming { conn: self.slot });
    }

    fn on_segment(&mut self, cx: &mut Cx<'_>, id: StreamId, segment: Segment) -> Fate {
        let Some(slot) = self.find_stream(cx, id) else {
            cx.counters.drop_stream_state += 1;
            return Fate::Free;
        };
        let stream = &mut cx.streams[slot as usize];
        let arrival = stream.recv.on_segment(cx.segments, segment);
        if matches!(arrival, Arrival::Next | Arrival::Held) {
            let used = self.rx_credit.used() + 1;
            if !self.rx_credit.on_used(used) {
                cx.counters.drop_beyond_credit += 1;
                return self.on_overdrawn(cx, slot, arrival);
            }
            // With its last segment, the peer waits for whatever there is.
            self.control.pending.conn_credit |= self.rx_credit.is_spent() && self.rx_credit.is_due(1);
        }
        match arrival {
            Arrival::Next => {
                self.deliver(cx, slot, segment);
                Fate::Kept
            }
            Arrival::Held => {
                self.on_early(cx, slot);
                Fate::Kept
            }
            Arrival::Unwanted => {
                cx.counters.drop_duplicate_data += 1;
                Fate::Free
            }
            Arrival::BeyondCredit => {
                cx.counters.drop_beyond_credit += 1;
                self.violation(cx, "it sent more bytes than it was granted");
                Fate::Free
            }
            Arrival::Violation(what) => {
                cx.counters.drop_malformed += 1;
                self.violation(cx, what);
                Fate::Free
            }
        }
    }

    /// A segment came for which there was no credit. An early one is in its stream's hands already, and leaves with the
    /// connection; so both kinds must be counted as used, and the one that goes back at once as released.
    fn on_overdrawn(&mut self, cx: &mut Cx<'_>, slot: u32, arrival: Arrival) -> Fate {
        const WHAT: &str = "it sent more segments than it was granted";
        self.rx_credit.overdraw();
        if arrival == Arrival::Next {
            self.rx_credit.on_released(1);
            if cx.streams[slot as usize].recv.is_over() {
                // It brought the end, which is delivered to nobody: without a word the reader would wait for ever.
                let error = StreamError::Closed(CloseReason::Violation(WHAT));
                cx.out.events.push_back(Event::RecvFailed { stream: slot, error });
            }
        }
        self.violation(cx, WHAT);
        if arrival == Arrival::Held { Fate::Kept } else { Fate::Free }
    }

    fn deliver(&mut self, cx: &mut Cx<'_>, slot: u32, segment: Segment) {
        let Segment { frame, len, fin, .. } = segment;
        cx.out.events.push_back(Event::Deliver(Delivery { stream: slot, frame, len, fin }));
        self.delivered += 1;
        let recv = &mut cx.streams[slot as usize].recv;
        while let Some((frame, len, fin)) = recv.poll_held(cx.segments) {
            cx.out.events.push_back(Event::Deliver(Delivery { stream: slot, frame, len, fin }));
            self.delivered += 1;
        }
        if recv.is_over() {
            self.try_remove_stream(cx, slot);
        }
    }

    /// The slot of a stream, opened now if the peer may and does; `None` if it is over or not allowed.
    fn find_stream(&mut self, cx: &mut Cx<'_>, id: StreamId) -> Option<u32> {
        if let Some((last, slot)) = self.last_stream
            && last == id.0
        {
            return Some(slot);
        }
        if let Some(&slot) = self.by_id.get(&id.0) {
            self.last_stream = Some((id.0, slot));
            return Some(slot);
        }
        let index = u64::from(id.0 / 2);
        if self.is_ours(id) || index < self.peer_streams_opened || !self.state.is_established() {
            return None;
        }
        if index >= self.peer_streams_told {
            self.violation(cx, "it opened more streams than it was allowed");
            return None;
        }
        let mut slot = None;
        while self.peer_streams_opened <= index {
            let id = StreamId(self.peer_streams_opened as u32 * 2 + u32::from(!self.is_odd()));
            self.peer_streams_opened += 1;
            let opened = self.insert_stream(cx, id);
            cx.out.events.push_back(Event::StreamOpened { conn: self.slot, stream: opened, id });
            slot = Some(opened);
        }
        if (self.peer_streams_opened - self.peer_streams_closed) * 2 > self.stream_window {
            let more = cx.stream_budget.lend(self.stream_window);
            self.stream_window += more;
            self.control.pending.streams_limit |= more > 0;
        }
        slot
    }

    fn on_items(&mut self, cx: &mut Cx<'_>, items: &[u8]) {
        for item in Items::new(items) {
            match item {
                Ok(item) => self.on_item(cx, item),
                Err(_) => {
                    cx.counters.drop_malformed += 1;
                    return;
                }
            }
            if self.state.is_over() {
                return;
            }
        }
    }

    fn on_item(&mut self, cx: &mut Cx<'_>, item: Item<'_>) {
        match item {
            Item::Ack(ack) => self.on_ack(cx, &ack),
            Item::ConnCredit { segments } => self.credit_limit = self.credit_limit.max(segments),
            Item::StreamCredit { stream, limit } => {
                if let Some(&slot) = self.by_id.get(&stream.0) {
                    let stream = &mut cx.streams[slot as usize];
                    stream.send.on_credit(limit);
                    if stream.send.queued() > 0 {
                        self.sched.add(slot, stream);
                    }
                }
            }
            Item::StreamReset { stream, code, segments } => self.on_stream_reset(cx, stream, code, segments),
            Item::StreamStop { stream, code } => self.on_stream_stop(cx, stream, code),
            Item::StreamsLimit { streams } => {
                if streams > self.streams_allowed {
                    self.streams_allowed = streams;
                    cx.out.events.push_back(Event::StreamsAllowed { conn: self.slot });
                }
            }
            Item::Lowest { number } => self.received.on_lowest(number),
            Item::Finish => {
                let before = self.state;
                self.apply(cx, Life::PeerFinish, CloseReason::Finished);
                if self.state != before {
                    cx.out.events.push_back(Event::PeerFinished { conn: self.slot });
                }
            }
            Item::Close { code, reason } => {
                // It is shown to people: a line break in it would make a line of its own in a log.
                let reason = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let why = CloseReason::Peer { code, reason };
                self.apply(cx, Life::PeerClosed, if code == code::FINISHED { CloseReason::Finished } else { why });
            }
            Item::Probe => self.received.on_urgent(),
        }
    }

    fn on_stream_reset(&mut self, cx: &mut Cx<'_>, id: StreamId, code: u32, segments: u64) {
        let Some(slot) = self.find_stream(cx, id) else { return };
        let before = cx.out.released.len();
        let stream = &mut cx.streams[slot as usize];
        let Some(missing) = stream.recv.on_reset(cx.segments, segments, &mut cx.out.released) else { return };
        // Told first: the half is over, and the connection's end, if it comes to that, tells only those that are not.
        cx.out.events.push_back(Event::RecvFailed { stream: slot, error: StreamError::Reset(code) });
        // What was held goes back whatever the peer claims to have sent besides.
        let held = (cx.out.released.len() - before) as u64;
        self.on_segments_released(cx, held);
        let used = self.rx_credit.used().saturating_add(missing);
        if !self.rx_credit.on_used(used) {
            return self.violation(cx, "it reset a stream with more segments than it was granted");
        }
        self.on_segments_released(cx, missing);
        self.try_remove_stream(cx, slot);
    }

    fn on_stream_stop(&mut self, cx: &mut Cx<'_>, id: StreamId, code: u32) {
        // The stop may overtake the stream's first segment.
        let Some(slot) = self.find_stream(cx, id) else { return };
        if cx.streams[slot as usize].send.is_over() {
            return;
        }
        self.reset_stream(cx, slot, code);
        cx.out.events.push_back(Event::SendFailed { stream: slot, error: StreamError::Stopped(code) });
    }

    fn on_ack(&mut self, cx: &mut Cx<'_>, ack: &Ack<'_>) {
        cx.counters.rx_acks += 1;
        let mut outcome = std::mem::take(&mut self.outcome);
        match self.recovery.on_ack(cx.now, ack, &mut outcome) {
            Ok(()) => self.on_outcome(cx, &outcome),
            Err(_) => {
                const WHAT: &str = "it acknowledged a packet that was never sent";
                cx.counters.false_acks += 1;
                self.abort(cx, code::FALSE_ACK, WHAT, CloseReason::Violation(WHAT));
            }
        }
        outcome.clear();
        self.outcome = outcome;
    }

    /// What an ACK or a timer has shown about our packets.
    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, outcome: &Outcome) {
        if let Some(rtt_ns) = outcome.rtt_sample_ns {
            cx.out.rtt.record(rtt_ns);
            self.received.set_patience(self.recovery.rtt().patience_ns());
        }
        cx.counters.lost_packets += outcome.lost.len() as u64;
        cx.counters.spurious_losses += outcome.spurious.len() as u64;
        for sent in &outcome.acked {
            if is_data(sent) {
                self.on_segment_acked(cx, sent);
            } else {
                let record = self.control.take(sent.packet.frame);
                self.on_record_acked(cx, &record);
            }
        }
        for sent in &outcome.spurious {
            if is_data(sent) {
                self.on_segment_acked(cx, sent);
            }
        }
        for sent in &outcome.lost {
            if is_data(sent) {
                self.on_segment_lost(cx, sent);
            } else {
                let record = self.control.take(sent.packet.frame);
                self.on_record_lost(cx, &record);
            }
        }
        if outcome.probe {
            self.probe_due = true;
        }
    }

    /// A packet that carried a segment was acknowledged, perhaps one that had been declared lost meanwhile.
    fn on_segment_acked(&mut self, cx: &mut Cx<'_>, sent: &Sent) {
        let frame = FrameId(sent.packet.frame);
        let segment = cx.segments.tx(frame);
        let current = segment.state != TxState::Free
            && segment.state != TxState::Queued
            && segment.stream == sent.packet.stream
            && segment.first_number <= sent.number
            && sent.number <= segment.number;
        let Some(stream) = cx.streams.get_mut(sent.packet.stream as usize) else { return };
        if !current || stream.conn != self.slot {
            return;
        }
        segment.state = TxState::Free;
        cx.out.released.push(frame);
        if stream.send.on_acked() {
            cx.out.events.push_back(Event::SendDone { stream: sent.packet.stream });
        }
        // Nagle and finish wait for acknowledgements.
        if stream.send.queued() > 0 {
            self.sched.add(sent.packet.stream, stream);
        } else if stream.send.is_quiet() {
            self.try_remove_stream(cx, sent.packet.stream);
        }
    }

    fn on_segment_lost(&mut self, cx: &mut Cx<'_>, sent: &Sent) {
        let frame = FrameId(sent.packet.frame);
        let segment = cx.segments.tx(frame);
        let Some(stream) = cx.streams.get_mut(sent.packet.stream as usize) else { return };
        let current = segment.state == TxState::InFlight && segment.number == sent.number;
        if !current || segment.stream != sent.packet.stream || stream.conn != self.slot {
            return;
        }
        if stream.send.is_reset() {
            segment.state = TxState::Free;
            cx.out.released.push(frame);
            stream.send.on_abandoned();
            self.try_remove_stream(cx, sent.packet.stream);
            return;
        }
        segment.state = TxState::Lost;
        self.lost.push_back(frame);
    }

    fn on_record_acked(&mut self, cx: &mut Cx<'_>, record: &Record) {
        if record.conn.finish {
            self.apply(cx, Life::FinishAcked, CloseReason::Finished);
        }
        for item in &record.streams {
            if let StreamItemKind::Reset(_) = item.kind
                && let Some(stream) = cx.streams.get_mut(item.stream as usize)
                && stream.id.0 == item.id
                && stream.conn == self.slot
            {
                stream.pending.reset_in_flight = false;
                self.try_remove_stream(cx, item.stream);
            }
        }
    }

    fn on_record_lost(&mut self, cx: &mut Cx<'_>, record: &Record) {
        let pending = &mut self.control.pending;
        pending.conn_credit |= record.conn.conn_credit;
        pending.streams_limit |= record.conn.streams_limit;
        pending.finish |= record.conn.finish;
        for item in &record.streams {
            let current = |stream: &&super::stream::Stream| stream.id.0 == item.id && stream.conn == self.slot;
            if cx.streams.get(item.stream as usize).as_ref().filter(|stream| current(stream)).is_none() {
                continue;
            }
            self.list_stream(cx, item.stream, |pending| match item.kind {
                StreamItemKind::Credit => pending.credit = true,
                StreamItemKind::Reset(code) => pending.reset = Some(code),
                StreamItemKind::Stop(code) => pending.stop = Some(code),
            });
        }
    }

    /// The peer broke a rule: the connection ends, and both sides are told which.
    pub(super) fn violation(&mut self, cx: &mut Cx<'_>, what: &'static str) {
        self.abort(cx, code::VIOLATION, what, CloseReason::Violation(what));
    }

    fn is_odd(&self) -> bool {
        self.side == super::connection::Side::Responder
    }
}

fn is_data(sent: &Sent) -> bool {
    sent.packet.flags & SentPacket::DATA != 0
}
