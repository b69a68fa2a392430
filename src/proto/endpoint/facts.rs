//! What an endpoint can be asked about its connections and streams, and how long an open may take.

use std::sync::Arc;

use super::super::recovery::RecoveryStats;
use super::{Endpoint, identity};
use crate::base::{ConnId, MacAddr, Nanos, StreamId};
use crate::crypto::{Cipher, NamedKey};
use crate::obs::hist::Histogram;

impl Endpoint {
    /// The slot of one of our ids of a connection.
    pub fn find(&self, id: ConnId) -> Option<u32> {
        let slot = identity::slot_of(id);
        self.conns.get(slot as usize).filter(|conn| conn.id == id).map(|_| slot)
    }

    /// Our id of a connection and its peer's address.
    pub fn peer(&self, conn: u32) -> Option<(ConnId, MacAddr)> {
        self.conns.get(conn as usize).map(|conn| (conn.id, conn.peer))
    }

    /// Most payload bytes in one segment of a connection.
    pub fn max_payload(&self, conn: u32) -> usize {
        self.conns.get(conn as usize).map_or(0, |conn| conn.max_payload())
    }

    /// The key that a connection was opened with, and what its packets are sealed with; `None` in plain mode.
    pub fn seal(&self, conn: u32) -> Option<(Arc<NamedKey>, Cipher)> {
        let sealing = self.conns.get(conn as usize)?.sealing.as_ref()?;
        Some((sealing.key.clone(), sealing.protection.as_ref()?.cipher()))
    }

    /// A stream's number and its connection.
    pub fn stream(&self, stream: u32) -> Option<(StreamId, u32)> {
        self.streams.get(stream as usize).map(|stream| (stream.id, stream.conn))
    }

    /// Streams that a connection's peer may have open, and as many of its former ones may wait to be accepted.
    pub fn stream_window(&self, conn: u32) -> usize {
        self.conns.get(conn as usize).map_or(0, |conn| conn.stream_window as usize)
    }

    /// Frames that are not for sending: those lent to receive windows, and the few kept for connections to come.
    pub fn frames_kept(&self) -> usize {
        self.budget.kept() as usize
    }

    /// Segments of a stream that were written and never sent.
    pub fn queued(&self, stream: u32) -> usize {
        self.streams.get(stream as usize).map_or(0, |stream| stream.send.queued())
    }

    /// A connection's recovery state, its controller's name, and what the controller has to say.
    pub fn recovery(&mut self, conn: u32) -> Option<(RecoveryStats, &'static str, Vec<String>)> {
        let conn = self.conns.get_mut(conn as usize)?;
        let notices = std::iter::from_fn(|| conn.recovery.poll_notice()).map(|notice| notice.to_string()).collect();
        Some((conn.recovery.stats(), conn.recovery.controller_name(), notices))
    }

    /// Connections that are open or half open.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// How long every connection's path lets things wait; 0 without any. Costs a look at each connection.
    pub fn patience_ns(&self) -> Nanos {
        let patience = self.conns.iter().map(|(_, conn)| conn.recovery.rtt().patience_ns());
        patience.min().unwrap_or(0)
    }

    /// Round trips that ACKs have shown, over all connections since the start.
    pub fn rtt(&self) -> &Histogram {
        &self.out.rtt
    }

    /// How long a connect that was just begun may take.
    pub fn set_connect_timeout(&mut self, conn: u32, timeout_ns: Nanos) {
        if let Some(conn) = self.conns.get_mut(conn as usize) {
            conn.connect_timeout_ns = timeout_ns;
        }
    }
}
