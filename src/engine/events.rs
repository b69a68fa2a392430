//! What the transport tells, passed on to the application's ends.

use std::sync::Arc;

use crossbeam_channel::TrySendError;

use super::Engine;
use super::ends::{ConnEnd, PortShape, stream_ends};
use super::frames::{Borrower, Lent};
use super::port::{ConnPort, ConnShared, Message, StreamPort};
use crate::base::{Nanos, StreamId};
use crate::link::Link;
use crate::proto::error::{CloseReason, StreamError};
use crate::proto::{Delivery, Event, Found};
use crate::wire::{HEADER_LEN, STREAM_HEADER_LEN};

impl<L: Link> Engine<L> {
    /// Frees what the transport released and passes on what it tells.
    pub(super) fn drain_output(&mut self, now: Nanos) {
        loop {
            let out = self.endpoint.output();
            if let Some(event) = out.events.pop_front() {
                self.on_event(now, event);
                continue;
            }
            if out.released.is_empty() {
                // Only now, with nothing left to tell, is a free slot nobody's.
                let Some(conn) = self.allowed.pop() else { return };
                self.open_waiting(now, conn);
                continue;
            }
            let mut released = std::mem::take(&mut out.released);
            for id in released.drain(..) {
                if let Some(frame) = self.frames.release(id) {
                    self.free(frame);
                }
            }
            let out = self.endpoint.output();
            if out.released.is_empty() {
                out.released = released;
            }
        }
    }

    fn on_event(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Deliver(delivery) => self.deliver(now, delivery),
            Event::Connected { conn } => self.on_connected(now, conn),
            Event::ConnectFailed { conn, error } => {
                if let Some(reply) = self.connecting.remove(&conn) {
                    let _ = reply.send(Err(error));
                }
            }
            Event::Incoming { conn } => self.on_incoming(now, conn),
            Event::StreamOpened { conn, stream, id } => {
                let port = self.open_port(conn, (stream, id));
                let streams = self.conns.get(&conn).and_then(|end| end.streams.as_ref());
                // Streams that the peer gave up again count no longer against its limit, but wait to be accepted.
                let room = self.endpoint.stream_window(conn);
                match (streams, port) {
                    (Some(streams), Some(port)) if streams.len() < room => {
                        // Without a receiver the port is dropped, which resets the stream.
                        let _ = streams.send(port);
                    }
                    (Some(_), _) => self.endpoint.counters().refused_streams += 1,
                    _ => {}
                }
            }
            Event::PeerFinished { conn } => {
                if let Some(end) = self.conns.get_mut(&conn) {
                    end.streams = None;
                }
            }
            Event::StreamsAllowed { conn } => self.allowed.push(conn),
            Event::SendDone { stream } => self.on_send_done(stream),
            Event::SendFailed { stream, error } => self.on_send_failed(stream, error),
            Event::RecvFailed { stream, error } => self.on_recv_failed(stream, error),
            Event::StreamGone { stream } => self.on_stream_gone(stream),
            Event::Closed { conn, reason } => self.on_closed(conn, reason),
            Event::PingDone { conn, report } => {
                if let Some(reply) = self.conns.get_mut(&conn).and_then(|end| end.ping.take()) {
                    self.latencies.rtt.merge(&report.rtt);
                    let _ = reply.send(*report);
                }
            }
            Event::Found(found) => self.on_found(*found),
        }
    }

    /// A host answered. Nobody waits for whoever asked to look at it.
    fn on_found(&mut self, found: Found) {
        match self.queries.as_ref().map(|reply| reply.try_send(found)) {
            None | Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => self.endpoint.counters().drop_found += 1,
            Some(Err(TrySendError::Disconnected(_))) => {
                self.queries = None;
                self.endpoint.stop_query();
            }
        }
    }

    fn deliver(&mut self, now: Nanos, delivery: Delivery) {
        let Delivery { stream, frame, len, fin } = delivery;
        let index = self.index_of(stream);
        let Some(end) = index.and_then(|index| self.streams.get_mut(index)) else {
            if let Some(frame) = self.frames.release(frame) {
                self.free(frame);
            }
            return;
        };
        let lent = Lent { to: Borrower { conn: end.conn, stream, id: end.id }, len };
        let start = self.ethernet.len() + HEADER_LEN + STREAM_HEADER_LEN;
        let payload = start..start + usize::from(len);
        let frame = self.frames.lend(frame, lent);
        if end.recv_gone {
            if let Some(frame) = frame {
                self.on_returned(now, frame);
            }
            return;
        }
        end.push(now, Message { frame, payload, fin });
        if !end.waking {
            end.waking = true;
            self.waking.extend(index);
        }
    }

    fn on_connected(&mut self, now: Nanos, conn: u32) {
        let Some(port) = self.conn_port(conn) else { return };
        if self.connecting.remove(&conn).is_none_or(|reply| reply.send(Ok(port)).is_err()) {
            self.endpoint.close(now, conn, 0, "nobody waits for this connection any more");
        }
    }

    fn on_incoming(&mut self, now: Nanos, conn: u32) {
        let Some(port) = self.conn_port(conn) else { return };
        if self.incoming.as_ref().is_some_and(|incoming| incoming.len() >= self.most_waiting) {
            // Connections that have ended again count no longer, but wait to be accepted.
            self.endpoint.close(now, conn, 0, "too many connections wait to be accepted here");
        } else if self.incoming.as_ref().is_none_or(|incoming| incoming.send(port).is_err()) {
            self.incoming = None;
            self.endpoint.set_listening(false);
            self.endpoint.close(now, conn, 0, "nobody accepts connections here any more");
        }
    }

    fn conn_port(&mut self, conn: u32) -> Option<ConnPort> {
        let (key, peer) = self.endpoint.peer(conn)?;
        let (streams, incoming) = crossbeam_channel::unbounded();
        let shared = Arc::new(ConnShared::default());
        let end = ConnEnd {
            key,
            streams: Some(streams),
            shared: shared.clone(),
            waiting: Default::default(),
            finished: false,
            ping: None,
        };
        self.conns.insert(conn, end);
        Some(ConnPort { key, peer, seal: self.endpoint.seal(conn), streams: incoming, shared })
    }

    fn open_port(&mut self, conn: u32, (stream, id): (u32, StreamId)) -> Option<StreamPort> {
        let key = self.conns.get(&conn)?.key;
        let shape = PortShape {
            returns: self.returns.clone(),
            doorbell: self.doorbell.clone(),
            payload_offset: self.ethernet.len() + HEADER_LEN + STREAM_HEADER_LEN,
            max_payload: self.endpoint.max_payload(conn),
        };
        self.stream_generation = self.stream_generation.wrapping_add(1);
        let (index, port) = stream_ends(&mut self.streams, self.stream_generation, key, (stream, id), &shape);
        let slot = stream as usize;
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, None);
        }
        self.by_slot[slot] = Some(index);
        Some(port)
    }

    /// Opens streams for those who wait, as far as the peer allows.
    pub(super) fn open_waiting(&mut self, now: Nanos, conn: u32) {
        while self.conns.get(&conn).is_some_and(|end| !end.waiting.is_empty()) {
            let Some(stream) = self.endpoint.open_stream(now, conn) else { return };
            let reply = self.conns.get_mut(&conn).and_then(|end| end.waiting.pop_front());
            let port = self.endpoint.stream(stream).and_then(|(id, _)| self.open_port(conn, (stream, id)));
            if let (Some(reply), Some(port)) = (reply, port) {
                // Without a receiver the port is dropped, which resets the stream.
                let _ = reply.send(port);
            }
        }
    }

    fn on_send_done(&mut self, stream: u32) {
        if let Some(end) = self.end_of(stream) {
            end.shared.all_acked.store(true, std::sync::atomic::Ordering::Release);
            end.shared.send_waker.wake();
        }
    }

    fn on_send_failed(&mut self, stream: u32, error: StreamError) {
        if let Some(end) = self.end_of(stream) {
            let _ = end.shared.send_error.set(error);
            end.shared.send_waker.wake();
        }
    }

    fn on_recv_failed(&mut self, stream: u32, error: StreamError) {
        if let Some(end) = self.end_of(stream) {
            let _ = end.shared.recv_error.set(error);
            end.shared.recv_waker.wake();
        }
    }

    fn on_stream_gone(&mut self, stream: u32) {
        let Some(index) = self.by_slot.get_mut(stream as usize).and_then(Option::take) else { return };
        let Some(end) = self.streams.get_mut(index) else { return };
        end.slot = None;
        if end.is_over() {
            self.streams.remove(index);
        }
    }

    fn on_closed(&mut self, conn: u32, reason: CloseReason) {
        if let Some(end) = self.conns.remove(&conn) {
            let _ = end.shared.closed.set(reason);
            end.shared.closed_waker.wake();
        }
    }

    fn end_of(&mut self, stream: u32) -> Option<&mut super::ends::StreamEnd> {
        let index = self.index_of(stream)?;
        self.streams.get_mut(index)
    }

    fn index_of(&self, stream: u32) -> Option<usize> {
        self.by_slot.get(stream as usize).copied().flatten()
    }
}
