//! Round trips measured by echoes, without the streams' machinery in between.

use crate::base::Nanos;
use crate::base::time::NEVER;
use crate::obs::hist::Histogram;

/// How to ping.
#[derive(Clone, Copy, Debug)]
pub struct PingRun {
    /// How many.
    pub count: u64,
    /// Bytes of Ethernet payload of each ping frame; raised to what its headers need.
    pub size: usize,
    /// From one ping to the next; 0: the next leaves when the echo has arrived.
    pub interval_ns: Nanos,
    /// When a ping counts as lost.
    pub timeout_ns: Nanos,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct PingReport {
    /// Pings sent.
    pub sent: u64,
    /// Echoes received in time.
    pub received: u64,
    /// Round trips, from the turn that sent the ping to the turn that received its echo.
    pub rtt: Histogram,
}

/// A series of pings under way. One ping is out at a time unless the interval is shorter than the round trip.
#[derive(Debug)]
pub struct Pinger {
    run: PingRun,
    sent: u64,
    received: u64,
    rtt: Histogram,
    /// Send times of the last pings, indexed by id; 0 when answered.
    out: Vec<Nanos>,
    next_ns: Nanos,
    /// When the last ping that is waited for counts as lost.
    give_up_ns: Nanos,
}

/// Pings that may be under way at a time: a 300 ms link with one ping per 100 µs. More would be a flood.
const WINDOW: u64 = 4096;

impl Pinger {
    /// A series that begins at `now`.
    pub fn new(run: PingRun, now: Nanos) -> Pinger {
        let out = vec![0; WINDOW as usize];
        Pinger { run, sent: 0, received: 0, rtt: Histogram::new(), out, next_ns: now, give_up_ns: NEVER }
    }

    /// The id of a ping to be sent now.
    pub fn poll_ping(&mut self, now: Nanos) -> Option<u64> {
        if self.sent == self.run.count || now < self.next_ns {
            return None;
        }
        let id = self.sent;
        self.sent += 1;
        self.out[(id % WINDOW) as usize] = now.max(1);
        self.give_up_ns = now + self.run.timeout_ns;
        self.next_ns = if self.run.interval_ns == 0 { self.give_up_ns } else { now + self.run.interval_ns };
        Some(id)
    }

    /// Ethernet payload bytes of each ping.
    pub fn size(&self) -> usize {
        self.run.size
    }

    /// An echo arrived.
    pub fn on_echo(&mut self, now: Nanos, id: u64) {
        if id >= self.sent || id + WINDOW < self.sent {
            return;
        }
        let sent_ns = std::mem::take(&mut self.out[(id % WINDOW) as usize]);
        if sent_ns == 0 || now.saturating_sub(sent_ns) > self.run.timeout_ns {
            return;
        }
        self.received += 1;
        self.rtt.record(now - sent_ns);
        if self.run.interval_ns == 0 {
            self.next_ns = now;
        }
    }

    /// The result, once the last ping was answered or has timed out.
    pub fn poll_report(&mut self, now: Nanos) -> Option<PingReport> {
        let all_answered = self.received == self.sent;
        if self.sent < self.run.count || !(all_answered || now >= self.give_up_ns) {
            return None;
        }
        Some(PingReport { sent: self.sent, received: self.received, rtt: self.rtt.clone() })
    }

    /// The result as it stands: the connection has ended.
    pub fn into_report(self) -> PingReport {
        PingReport { sent: self.sent, received: self.received, rtt: self.rtt }
    }

    /// When something is to be done next.
    pub fn poll_timeout(&self) -> Nanos {
        match self.sent < self.run.count {
            true => self.next_ns,
            false if self.received == self.sent => 0,
            false => self.give_up_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_to_back_pings_follow_their_echoes() {
        let run = PingRun { count: 2, size: 64, interval_ns: 0, timeout_ns: 1000 };
        let mut pinger = Pinger::new(run, 10);
        assert_eq!(pinger.poll_ping(10), Some(0));
        assert_eq!(pinger.poll_ping(11), None);
        pinger.on_echo(15, 0);
        pinger.on_echo(16, 0);
        assert_eq!(pinger.poll_ping(16), Some(1));
        assert!(pinger.poll_report(17).is_none());
        pinger.on_echo(20, 1);
        let report = pinger.poll_report(20).unwrap();
        assert_eq!((report.sent, report.received), (2, 2));
    }

    #[test]
    fn a_lost_ping_is_counted_and_the_series_goes_on() {
        let run = PingRun { count: 2, size: 64, interval_ns: 0, timeout_ns: 1000 };
        let mut pinger = Pinger::new(run, 0);
        assert_eq!(pinger.poll_ping(0), Some(0));
        assert_eq!(pinger.poll_timeout(), 1000);
        assert_eq!(pinger.poll_ping(1000), Some(1));
        pinger.on_echo(1900, 0);
        assert!(pinger.poll_report(1999).is_none());
        let report = pinger.poll_report(2000).unwrap();
        assert_eq!((report.sent, report.received), (2, 0));
    }
}
