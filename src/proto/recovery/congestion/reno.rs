//! Reno, the teaching one: slow start, congestion avoidance, one halving per round trip (RFC 5681 as in RFC 9002 §7).

use super::{AckSample, Controller, INITIAL_WINDOW_PACKETS, LossSample, MIN_WINDOW_PACKETS, window_pacing};
use crate::proto::recovery::rtt::Rtt;

/// The controller.
#[derive(Debug)]
pub struct Reno {
    mss: u64,
    cwnd: u64,
    ssthresh: u64,
    /// Losses below this packet number belong to the reduction that was made already.
    recovery_until: u64,
    /// Window and threshold before that reduction.
    undo: Option<(u64, u64)>,
    /// Acknowledged bytes that have not yet made a window.
    credit: u64,
}

impl Reno {
    /// A fresh window of packets that take up to `mss` bytes on the wire.
    pub fn new(mss: u64) -> Reno {
        Reno { mss, cwnd: INITIAL_WINDOW_PACKETS * mss, ssthresh: u64::MAX, recovery_until: 0, undo: None, credit: 0 }
    }
}

impl Controller for Reno {
    fn on_ack(&mut self, ack: &AckSample<'_>) {
        // What was sent before the reduction says nothing about the reduced window.
        if ack.largest_newly_acked < self.recovery_until || !ack.window_was_used(self.cwnd) {
            return;
        }
        if self.cwnd < self.ssthresh {
            // Slow start: a byte for a byte, the window doubles each round trip.
            self.cwnd = (self.cwnd + ack.acked_bytes).min(self.ssthresh.max(self.cwnd));
            return;
        }
        // Avoidance: one packet per window acknowledged, so one packet per round trip.
        self.credit += ack.acked_bytes;
        let windows = self.credit / self.cwnd;
        self.credit %= self.cwnd;
        self.cwnd += windows * self.mss;
    }

    fn on_loss(&mut self, loss: &LossSample) {
        if loss.largest_lost < self.recovery_until {
            return;
        }
        self.undo = Some((self.cwnd, self.ssthresh));
        self.recovery_until = loss.next_number;
        self.ssthresh = (self.cwnd / 2).max(MIN_WINDOW_PACKETS * self.mss);
        self.cwnd = self.ssthresh;
        self.credit = 0;
    }

    fn on_spurious(&mut self) {
        if let Some((cwnd, ssthresh)) = self.undo.take() {
            self.cwnd = self.cwnd.max(cwnd);
            self.ssthresh = ssthresh;
            self.recovery_until = 0;
        }
    }

    fn on_persistent_congestion(&mut self) {
        self.cwnd = MIN_WINDOW_PACKETS * self.mss;
        self.undo = None;
    }

    fn cwnd_bytes(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh_bytes(&self) -> Option<u64> {
        (self.ssthresh < u64::MAX).then_some(self.ssthresh)
    }

    fn pacing_bps(&self, rtt: &Rtt) -> Option<u64> {
        window_pacing(self.cwnd, rtt, self.cwnd < self.ssthresh)
    }

    fn name(&self) -> &'static str {
        "reno"
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ack, loss};
    use super::*;

    const MSS: u64 = 1538;

    #[test]
    fn doubles_then_halves_once_per_round_then_grows_by_one() {
        let mut reno = Reno::new(MSS);
        let first = reno.cwnd_bytes();
        reno.on_ack(&ack(first, 63, 128, first));
        assert_eq!(reno.cwnd_bytes(), 2 * first, "slow start");
        reno.on_loss(&loss(100, 200));
        reno.on_loss(&loss(150, 210));
        assert_eq!(reno.cwnd_bytes(), first, "the second loss is of the same round");
        reno.on_ack(&ack(first, 190, 300, first));
        assert_eq!(reno.cwnd_bytes(), first, "sent before the reduction");
        reno.on_ack(&ack(first, 250, 300, first));
        assert_eq!(reno.cwnd_bytes(), first + MSS, "a packet per round trip");
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut reno = Reno::new(MSS);
        reno.on_ack(&ack(MSS, 10, 11, MSS));
        assert_eq!(reno.cwnd_bytes(), INITIAL_WINDOW_PACKETS * MSS);
    }

    #[test]
    fn undone_when_spurious_and_small_when_persistent() {
        let mut reno = Reno::new(MSS);
        let first = reno.cwnd_bytes();
        reno.on_loss(&loss(10, 60));
        reno.on_spurious();
        assert_eq!((reno.cwnd_bytes(), reno.ssthresh_bytes()), (first, None));
        reno.on_loss(&loss(70, 80));
        reno.on_persistent_congestion();
        assert_eq!(reno.cwnd_bytes(), MIN_WINDOW_PACKETS * MSS);
        assert_eq!(reno.ssthresh_bytes(), Some(first / 2), "slow start leads back quickly");
    }
}
