//! What is in an endpoint's tables, for tests that look for leaks and standstills.

use std::fmt;

use super::Endpoint;
use crate::base::ConnId;
use crate::obs::Counters;

impl Endpoint {
    /// The same as at the start once every connection has ended, or something has leaked.
    pub fn inventory(&self) -> String {
        let (conns, peers, streams) = (self.conns.len(), self.by_peer.len(), self.streams.len());
        let (half_open, segments, budget) = (self.half_open, self.segments.in_use(), self.budget.free());
        format!(
            "{conns} connections of {peers} peers, {half_open} half open, {streams} streams, {segments} segments, \
             {budget} frames to lend"
        )
    }

    /// What is kept of frames and of packets in flight, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let recovery = self.conns.iter().map(|(_, conn)| conn.recovery.memory_bytes());
        self.segments.memory_bytes() + recovery.sum::<usize>()
    }

    /// Connections that wait for the last packet of their opening.
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    /// Segments that a connection has sent for the first time, and that it has received.
    pub fn segments_of(&self, conn: ConnId) -> Option<(u64, u64)> {
        let conn = &self.conns[self.find(conn)? as usize];
        Some((conn.credit_used, conn.rx_credit.used()))
    }

    /// The counters, to be read only.
    pub fn counters_now(&self) -> &Counters {
        &self.counters
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} {}", self.counters, self.inventory())?;
        for (slot, conn) in &self.conns {
            writeln!(
                f,
                " {slot} {:?} sent {} of {}, {:?}",
                conn.state, conn.credit_used, conn.credit_limit, conn.rx_credit
            )?;
            writeln!(f, "  {:?} lost {} {:?} {:?}", conn.recovery.stats(), conn.lost.len(), conn.sched, conn.control)?;
        }
        self.streams.iter().try_for_each(|(slot, stream)| writeln!(f, " {slot} {stream:?}"))
    }
}
