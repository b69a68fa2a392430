//! `auto`: measures the bottleneck with trains before bulk data leaves, then owns it as `fixed` does.

use super::keeper::Keeper;
use super::trains::Trains;
use super::{
    AckSample, Controller, INITIAL_WINDOW_PACKETS, LossSample, Measuring, Notice, Why, owned_window, window_pacing,
};
use crate::base::{Nanos, Rate};
use crate::proto::recovery::rtt::Rtt;

/// What is kept below the rate that was found or measured. Lower: the queue that an error of measurement builds stands
/// for longer. Higher: what the link could carry.
pub const MARGIN: f64 = 0.005;

/// The controller.
#[derive(Debug)]
pub struct Auto {
    mss: u64,
    max_ack_delay_ns: Nanos,
    most_packets: u64,
    phase: Phase,
    cwnd: u64,
    measured: Option<Rate>,
    notice: Option<Notice>,
}

/// Where it stands.
#[derive(Debug)]
enum Phase {
    /// Only small data has left, under a first window.
    Unmeasured,
    Measuring(Trains),
    Owning(Box<Keeper>),
}

impl Auto {
    /// Measures nothing until bulk data waits. Trains are no longer than `most_packets`.
    pub fn new(mss: u64, max_ack_delay_ns: Nanos, most_packets: u64) -> Auto {
        Auto {
            mss,
            max_ack_delay_ns,
            most_packets,
            phase: Phase::Unmeasured,
            cwnd: INITIAL_WINDOW_PACKETS * mss,
            measured: None,
            notice: None,
        }
    }

    fn resize(&mut self, rtt: &Rtt) {
        if let Phase::Owning(keeper) = &self.phase {
            self.cwnd = owned_window(keeper.rate(), rtt, self.max_ack_delay_ns, self.mss);
        }
    }
}

impl Controller for Auto {
    fn on_bulk(&mut self, now: Nanos) {
        if let Phase::Unmeasured = self.phase {
            self.phase = Phase::Measuring(Trains::new(now, self.mss, self.most_packets));
            // Trains are bounded by themselves.
            self.cwnd = u64::MAX;
        }
    }

    fn on_counted_sent(&mut self, now: Nanos, number: u64) {
        if let Phase::Measuring(trains) = &mut self.phase {
            trains.on_sent(now, number);
        }
    }

    fn measuring(&self) -> Measuring {
        match &self.phase {
            Phase::Unmeasured => Measuring::Wanted,
            Phase::Measuring(trains) if trains.is_sending() => Measuring::Train,
            Phase::Measuring(_) => Measuring::Listening,
            Phase::Owning(_) => Measuring::Off,
        }
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        match &mut self.phase {
            Phase::Unmeasured => {}
            Phase::Measuring(trains) => {
                let Some(measured) = trains.on_ack(ack) else { return };
                let keeper = Keeper::measured(measured.rate, self.mss, ack);
                let why = Why::Measured { took_ns: measured.took_ns, packets: measured.packets };
                self.notice = Some(Notice { from: measured.rate, to: keeper.rate(), why });
                self.measured = Some(measured.rate);
                self.phase = Phase::Owning(Box::new(keeper));
            }
            Phase::Owning(keeper) => keeper.on_ack(ack),
        }
        self.resize(ack.rtt);
    }

    fn on_loss(&mut self, loss: &LossSample) {
        if let Phase::Owning(keeper) = &mut self.phase {
            keeper.on_loss(loss);
        }
    }

    fn on_spurious(&mut self) {}

    fn on_persistent_congestion(&mut self) {
        if let Phase::Owning(keeper) = &mut self.phase {
            keeper.on_outage();
        }
    }

    fn cwnd_bytes(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh_bytes(&self) -> Option<u64> {
        None
    }

    fn pacing_bps(&self, rtt: &Rtt) -> Option<u64> {
        match &self.phase {
            Phase::Unmeasured => window_pacing(self.cwnd, rtt, true),
            Phase::Measuring(trains) => trains.pacing_bps(),
            Phase::Owning(keeper) => Some(keeper.rate().bps()),
        }
    }

    fn measured_bps(&self) -> Option<u64> {
        self.measured.map(Rate::bps)
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        self.notice.take().or_else(|| match &mut self.phase {
            Phase::Owning(keeper) => keeper.poll_notice(),
            _ => None,
        })
    }

    fn state_name(&self) -> &'static str {
        match &self.phase {
            Phase::Unmeasured => "not measured yet",
            Phase::Measuring(_) => "measuring",
            Phase::Owning(keeper) => keeper.state_name(),
        }
    }

    fn name(&self) -> &'static str {
        "auto"
    }
}
