//! CUBIC (RFC 9438) with fast convergence, its Reno-friendly region, and HyStart++ for slow start.

use super::hystart::{Growth, HyStart};
use super::{AckSample, Controller, INITIAL_WINDOW_PACKETS, LossSample, MIN_WINDOW_PACKETS, window_pacing};
use crate::base::Nanos;
use crate::proto::recovery::rtt::Rtt;

/// What is left of the window after a loss (RFC 9438 §4.6).
const BETA: f64 = 0.7;
/// How fast the cubic rises, in packets per second cubed (RFC 9438 §4.1).
const C: f64 = 0.4;
/// Growth of the Reno-friendly window that is fair to Reno's halving in spite of [`BETA`] (RFC 9438 §4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// The controller.
#[derive(Debug)]
pub struct Cubic {
    mss: u64,
    window: Window,
    undo: Option<Window>,
    recovery_until: u64,
    hystart: HyStart,
}

/// What a reduction changes and an undo brings back. Windows in packets.
#[derive(Clone, Debug)]
struct Window {
    cwnd: f64,
    ssthresh: f64,
    /// The window before the last reduction, where the cubic is flat.
    w_max: f64,
    epoch: Option<Epoch>,
}

/// One rise of the cubic.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    began_ns: Nanos,
    /// Until when the window was used; the time since is not counted.
    active_ns: Nanos,
    /// Seconds until the cubic is back at its flat part.
    k: f64,
    origin: f64,
    /// What Reno would have by now.
    w_est: f64,
}

impl Cubic {
    /// A fresh window of packets that take up to `mss` bytes on the wire.
    pub fn new(mss: u64) -> Cubic {
        let window = Window { cwnd: INITIAL_WINDOW_PACKETS as f64, ssthresh: f64::INFINITY, w_max: 0.0, epoch: None };
        Cubic { mss, window, undo: None, recovery_until: 0, hystart: HyStart::new() }
    }

    fn in_slow_start(&self) -> bool {
        self.window.cwnd < self.window.ssthresh
    }

    fn slow_start(&mut self, ack: &AckSample<'_>) {
        match self.hystart.on_ack(ack) {
            Growth::By(bytes) => {
                let grown = self.window.cwnd + bytes as f64 / self.mss as f64;
                self.window.cwnd = grown.min(self.window.ssthresh);
            }
            Growth::Done => self.window.ssthresh = self.window.cwnd,
        }
    }
}

impl Window {
    fn avoid(&mut self, now: Nanos, rtt_ns: Nanos, acked: f64) {
        let epoch = self.epoch.get_or_insert_with(|| Epoch::begin(now, self.cwnd, self.w_max));
        epoch.active_ns = now;
        let seconds = (now.saturating_sub(epoch.began_ns) + rtt_ns) as f64 / 1e9;
        let cubic = C * (seconds - epoch.k).powi(3) + epoch.origin;
        let alpha = if epoch.w_est < self.w_max { ALPHA } else { 1.0 };
        epoch.w_est += alpha * acked / self.cwnd;
        if cubic < epoch.w_est {
            self.cwnd = self.cwnd.max(epoch.w_est);
        } else {
            let target = cubic.clamp(self.cwnd, 1.5 * self.cwnd);
            self.cwnd += (target - self.cwnd) / self.cwnd * acked;
        }
    }

    /// The sender had nothing to send: the cubic does not rise meanwhile.
    fn pause(&mut self, now: Nanos) {
        if let Some(epoch) = &mut self.epoch {
            epoch.began_ns += now.saturating_sub(epoch.active_ns);
            epoch.active_ns = now;
        }
    }
}

impl Epoch {
    fn begin(now: Nanos, cwnd: f64, w_max: f64) -> Epoch {
        let (k, origin) = if cwnd < w_max { (((w_max - cwnd) / C).cbrt(), w_max) } else { (0.0, cwnd) };
        Epoch { began_ns: now, active_ns: now, k, origin, w_est: cwnd }
    }
}

impl Controller for Cubic {
    fn on_ack(&mut self, ack: &AckSample<'_>) {
        if ack.largest_newly_acked < self.recovery_until {
            return;
        }
        if !ack.window_was_used(self.cwnd_bytes()) {
            self.window.pause(ack.now);
        } else if self.in_slow_start() {
            self.slow_start(ack);
        } else {
            let acked = ack.acked_bytes as f64 / self.mss as f64;
            self.window.avoid(ack.now, ack.rtt.smoothed_ns(), acked);
        }
    }

    fn on_loss(&mut self, loss: &LossSample) {
        if loss.largest_lost < self.recovery_until {
            return;
        }
        self.undo = Some(self.window.clone());
        self.recovery_until = loss.next_number;
        let window = &mut self.window;
        // Fast convergence: a window that no longer reaches its last peak makes room for others.
        window.w_max = if window.cwnd < window.w_max { window.cwnd * (1.0 + BETA) / 2.0 } else { window.cwnd };
        window.cwnd = (window.cwnd * BETA).max(MIN_WINDOW_PACKETS as f64);
        window.ssthresh = window.cwnd;
        window.epoch = None;
    }

    fn on_spurious(&mut self) {
        if let Some(undo) = self.undo.take() {
            let cwnd = self.window.cwnd.max(undo.cwnd);
            self.window = Window { cwnd, ..undo };
            self.recovery_until = 0;
        }
    }

    fn on_persistent_congestion(&mut self) {
        self.window.cwnd = MIN_WINDOW_PACKETS as f64;
        self.window.epoch = None;
        self.undo = None;
        self.hystart = HyStart::new();
    }

    fn cwnd_bytes(&self) -> u64 {
        (self.window.cwnd * self.mss as f64) as u64
    }

    fn ssthresh_bytes(&self) -> Option<u64> {
        self.window.ssthresh.is_finite().then_some((self.window.ssthresh * self.mss as f64) as u64)
    }

    fn pacing_bps(&self, rtt: &Rtt) -> Option<u64> {
        window_pacing(self.cwnd_bytes(), rtt, self.in_slow_start())
    }

    fn name(&self) -> &'static str {
        "cubic"
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ack_at, loss};
    use super::*;
    use crate::base::time::{MILLISECOND, SECOND};

    const MSS: u64 = 1538;

    /// Window-fulls acknowledged every `rtt_ns` for `span_ns`, from packet number 1000 on; the window after each.
    fn rounds(cubic: &mut Cubic, from: Nanos, span_ns: Nanos, rtt_ns: Nanos) -> Vec<f64> {
        let mut windows = Vec::new();
        for step in 1..=span_ns / rtt_ns {
            let bytes = cubic.cwnd_bytes();
            cubic.on_ack(&ack_at(from + step * rtt_ns, bytes, 1000 + step, 1001 + step, rtt_ns));
            windows.push(cubic.window.cwnd);
        }
        windows
    }

    #[test]
    fn rises_to_the_old_peak_in_k_seconds_flat_and_beyond() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 10_000.0;
        cubic.on_loss(&loss(10, 20));
        assert_eq!(cubic.window.cwnd, 7_000.0);
        let k = (3_000.0_f64 / C).cbrt();
        let rtt_ns = 100 * MILLISECOND;
        let windows = rounds(&mut cubic, SECOND, (1.5 * k * 1e9) as u64, rtt_ns);
        let at_k = windows[(k * 10.0) as usize - 1];
        assert!((9_900.0..10_050.0).contains(&at_k), "{at_k} after K = {k:.1} s");
        let early = windows[9] - windows[0];
        let flat = at_k - windows[(k * 10.0) as usize - 11];
        assert!(early > 20.0 * flat.abs(), "concave: {early} per second at first, {flat} around K");
        assert!(*windows.last().unwrap() > 10_200.0, "convex beyond");
    }

    #[test]
    fn on_short_paths_it_is_no_slower_than_reno() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 100.0;
        cubic.on_loss(&loss(10, 20));
        let windows = rounds(&mut cubic, SECOND, 100 * MILLISECOND, MILLISECOND);
        // 100 round trips: ALPHA a round up to the old peak, 1 a round afterwards.
        assert!(*windows.last().unwrap() > 70.0 + 50.0, "{:?}", windows.last());
    }

    #[test]
    fn fast_convergence_lowers_the_peak_when_it_was_not_reached() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 1_000.0;
        cubic.on_loss(&loss(10, 20));
        cubic.on_loss(&loss(30, 40));
        assert_eq!(cubic.window.w_max, 700.0 * 0.85);
    }

    #[test]
    fn spurious_losses_are_undone() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 1_000.0;
        cubic.on_loss(&loss(10, 20));
        cubic.on_spurious();
        assert_eq!((cubic.window.cwnd, cubic.ssthresh_bytes()), (1_000.0, None));
    }

    #[test]
    fn an_idle_sender_does_not_grow_its_window_by_waiting() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 1_000.0;
        cubic.on_loss(&loss(10, 20));
        let busy = rounds(&mut cubic, SECOND, SECOND, 100 * MILLISECOND);
        let mut idle = ack_at(100 * SECOND, MSS, 5000, 5001, 100 * MILLISECOND);
        idle.peak_in_flight = MSS;
        cubic.on_ack(&idle);
        let after = rounds(&mut cubic, 100 * SECOND, 100 * MILLISECOND, 100 * MILLISECOND);
        let growth = after[0] - busy.last().unwrap();
        assert!(growth < 50.0, "{growth} packets at once");
    }
}
