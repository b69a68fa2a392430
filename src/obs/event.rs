//! What happens to a connection, as typed events with the names that qlog gives them.

use std::collections::VecDeque;
use std::io::Write;

use serde::{Serialize, Serializer};

use crate::base::{ConnId, Nanos, StreamId};

/// Something that a person who looks for a fault wants to know. Cheap to make: no allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    /// A connection went from one state to another.
    #[serde(rename = "connectivity:state")]
    State {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// The state it left.
        from: &'static str,
        /// The state it is in.
        to: &'static str,
    },
    /// A packet was declared lost.
    #[serde(rename = "recovery:packet_lost")]
    PacketLost {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// The packet's number.
        number: u64,
        /// What made us think so.
        reason: LossReason,
    },
    /// A packet that was declared lost was acknowledged after all.
    #[serde(rename = "recovery:spurious_loss")]
    SpuriousLoss {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// The packet's number.
        number: u64,
    },
    /// A tail probe went out.
    #[serde(rename = "recovery:tail_probe")]
    TailProbe {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// Probes in a row without an answer, this one included.
        in_a_row: u32,
    },
    /// The congestion controller changed its phase.
    #[serde(rename = "recovery:congestion_state")]
    CongestionState {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// The phase it left.
        from: &'static str,
        /// The phase it is in.
        to: &'static str,
    },
    /// The fixed rate turned out to be more than the link delivers, or room was found again.
    #[serde(rename = "recovery:rate_breaker")]
    RateBreaker {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// The rate before.
        from_bps: u64,
        /// The rate from now on.
        to_bps: u64,
    },
    /// The peer knows no such connection.
    #[serde(rename = "transport:reset_received")]
    ResetReceived {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
    },
    /// A stream was reset by the peer.
    #[serde(rename = "transport:stream_reset")]
    StreamReset {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// Which stream.
        #[serde(serialize_with = "stream_number")]
        stream: StreamId,
        /// The peer's code.
        code: u32,
    },
    /// A connection ended.
    #[serde(rename = "connectivity:closed")]
    Closed {
        /// Which connection.
        #[serde(serialize_with = "conn_number")]
        conn: ConnId,
        /// Who or what ended it.
        by: CloseCause,
        /// The code it ended with; 0 when all went well.
        code: u32,
    },
}

/// What made a packet count as lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// Enough later packets were acknowledged.
    PacketThreshold,
    /// A later packet was acknowledged long enough ago.
    TimeThreshold,
    /// Probes went unanswered until nothing in flight could be believed in.
    ProbeTimeout,
}

/// What ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseCause {
    /// We closed it.
    Local,
    /// The peer closed it.
    Peer,
    /// Nothing was heard for the idle timeout.
    IdleTimeout,
    /// The peer knows it no more.
    Reset,
    /// The link failed under it.
    Link,
}

impl Event {
    /// The event's name as qlog would say it, for example `recovery:packet_lost`.
    pub fn name(&self) -> &'static str {
        match self {
            Event::State { .. } => "connectivity:state",
            Event::PacketLost { .. } => "recovery:packet_lost",
            Event::SpuriousLoss { .. } => "recovery:spurious_loss",
            Event::TailProbe { .. } => "recovery:tail_probe",
            Event::CongestionState { .. } => "recovery:congestion_state",
            Event::RateBreaker { .. } => "recovery:rate_breaker",
            Event::ResetReceived { .. } => "transport:reset_received",
            Event::StreamReset { .. } => "transport:stream_reset",
            Event::Closed { .. } => "connectivity:closed",
        }
    }
}

fn conn_number<S: Serializer>(conn: &ConnId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(conn.0)
}

fn stream_number<S: Serializer>(stream: &StreamId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(stream.0)
}

/// Whoever wants to know. Called on the worker's thread in the middle of a turn: must not block.
pub trait EventSink {
    /// One thing happened at `now`.
    fn on_event(&mut self, now: Nanos, event: &Event);
}

/// Nobody wants to know; compiles to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    #[inline(always)]
    fn on_event(&mut self, _now: Nanos, _event: &Event) {}
}

impl<S: EventSink + ?Sized> EventSink for &mut S {
    fn on_event(&mut self, now: Nanos, event: &Event) {
        (**self).on_event(now, event);
    }
}

impl<S: EventSink + ?Sized> EventSink for Box<S> {
    fn on_event(&mut self, now: Nanos, event: &Event) {
        (**self).on_event(now, event);
    }
}

/// Keeps events until somebody takes them, up to a bound; what comes beyond it is counted, not kept.
#[derive(Debug)]
pub struct EventRing {
    events: VecDeque<(Nanos, Event)>,
    capacity: usize,
    dropped: u64,
}

impl EventRing {
    /// A ring for `capacity` events.
    pub fn new(capacity: usize) -> EventRing {
        EventRing { events: VecDeque::with_capacity(capacity), capacity, dropped: 0 }
    }

    /// Takes all events out, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = (Nanos, Event)> + '_ {
        self.events.drain(..)
    }

    /// Takes the oldest event out.
    pub fn pop(&mut self) -> Option<(Nanos, Event)> {
        self.events.pop_front()
    }

    /// Events that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl EventSink for EventRing {
    fn on_event(&mut self, now: Nanos, event: &Event) {
        if self.events.len() < self.capacity {
            self.events.push_back((now, *event));
        } else {
            self.dropped += 1;
        }
    }
}

/// Writes each event as one line of JSON: `{"time_ns":…,"name":"recovery:packet_lost","data":{…}}`.
#[derive(Debug)]
pub struct JsonLines<W: Write> {
    writer: W,
    failed: u64,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    time_ns: Nanos,
    #[serde(flatten)]
    event: &'a Event,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `writer`; buffer it if it is slow.
    pub fn new(writer: W) -> JsonLines<W> {
        JsonLines { writer, failed: 0 }
    }

    /// Lines that could not be written.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// The writer, for flushing.
    pub fn into_inner(self) -> W {
        self.writer
    }
}

impl<W: Write> EventSink for JsonLines<W> {
    fn on_event(&mut self, now: Nanos, event: &Event) {
        let line = serde_json::to_string(&Line { time_ns: now, event });
        let written = line.map_err(std::io::Error::from).and_then(|line| writeln!(self.writer, "{line}"));
        self.failed += u64::from(written.is_err());
    }
}

#[cfg(test)]
mod tests;
