//! What is in an endpoint's tables, for tests that look for leaks and standstills.

use std::fmt;

use super::Endpoint;
use crate::base::ConnId;
use crate::obs::Counters;
use crate::proto::recovery::MAX_SPAN;

/// More than any window in bytes: 2^22 packets of the longest frame. Anything above was once below zero.
const MOST_CWND_BYTES: u64 = 1 << 40;

impl Endpoint {
    /// The same as at the start once every connection has ended, or something has leaked.
    pub fn inventory(&self) -> String {
        let (conns, peers, streams) = (self.conns.len(), self.by_peer.len(), self.streams.len());
        let (half_open, segments, budget) = (self.half_open, self.segments.in_use(), self.budget.free());
        let (unlent, span) = (self.stream_budget.free(), self.span_budget.free());
        format!(
            "{conns} connections of {peers} peers, {half_open} half open, {streams} streams, {segments} segments, \
             {budget} frames, {unlent} streams and {span} packet numbers to lend"
        )
    }

    /// Windows, credit and what is in flight are where they may be.
    ///
    /// # Errors
    /// What is beyond its limit: a bug of ours, whatever the peer did.
    pub fn check(&self) -> Result<(), String> {
        let mut lent = 0;
        for (slot, conn) in &self.conns {
            let (credit, stats) = (&conn.rx_credit, conn.recovery.stats());
            lent += if conn.has_window { credit.window() } else { 0 };
            let bounds = [
                ("segments beyond the peer's credit", conn.credit_used, conn.credit_limit),
                ("segments consumed that never came", credit.released(), credit.used()),
                ("bytes of window, which is no number of bytes,", stats.cwnd_bytes, MOST_CWND_BYTES),
                ("packets in flight", stats.packets_in_flight, MAX_SPAN),
                ("bytes in flight", stats.bytes_in_flight, stats.packets_in_flight * u64::from(u16::MAX)),
            ];
            for (what, is, most) in bounds {
                if is > most {
                    return Err(format!("connection {slot}: {is} {what} (at most {most})"));
                }
            }
        }
        let frames = self.budget.frames();
        if lent + self.budget.free() > frames {
            return Err(format!("{lent} frames are lent and {} are free, of {frames}", self.budget.free()));
        }
        Ok(())
    }

    /// What is kept of frames and of packets in flight, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let recovery = self.conns.iter().map(|(_, conn)| conn.recovery.memory_bytes());
        self.segments.memory_bytes() + self.rates.memory_bytes() + recovery.sum::<usize>()
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
