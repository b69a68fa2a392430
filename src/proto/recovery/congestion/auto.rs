//! `auto`: measures the bottleneck as `bbr` does, with bursts of the first data, and then owns it as `fixed` does.

use super::bbr::{Bbr, JUMP_SHARE};
use super::keeper::Keeper;
use super::{AckSample, Controller, LossSample, Notice, Why, owned_window};
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
    phase: Phase,
    /// Window, once the link is owned.
    cwnd: u64,
    /// When the first packets left, since there was a pause.
    began_ns: Option<Nanos>,
    measured: Option<Rate>,
    notice: Option<Notice>,
}

/// Where it stands.
#[derive(Debug)]
enum Phase {
    Measuring(Box<Bbr>),
    Owning(Box<Keeper>),
}

impl Auto {
    /// Measures as soon as there is enough to send.
    pub fn new(mss: u64, max_ack_delay_ns: Nanos, rtt: &Rtt) -> Auto {
        let phase = Phase::Measuring(Box::new(Bbr::new(mss, max_ack_delay_ns, rtt)));
        Auto { mss, max_ack_delay_ns, phase, cwnd: 0, began_ns: None, measured: None, notice: None }
    }

    /// The bottleneck's rate is known: from now on the link is ours, at the share of it that bbr would begin with.
    fn own(&mut self, ack: &AckSample<'_>, rate: Rate) {
        let keeper = Keeper::measured(Rate::nearest(rate.bps() as f64 * JUMP_SHARE), self.mss, ack);
        let took_ns = ack.now - self.began_ns.unwrap_or(ack.now);
        self.notice = Some(Notice { from: rate, to: keeper.rate(), why: Why::Measured { took_ns } });
        self.measured = Some(rate);
        self.phase = Phase::Owning(Box::new(keeper));
    }

    fn starting(&mut self) -> Option<&mut Bbr> {
        match &mut self.phase {
            Phase::Measuring(bbr) => Some(bbr),
            Phase::Owning(_) => None,
        }
    }
}

impl Controller for Auto {
    fn on_rtt(&mut self, rtt: &Rtt) {
        if let Some(bbr) = self.starting() {
            bbr.on_rtt(rtt);
        }
    }

    fn on_restart(&mut self, now: Nanos) {
        self.began_ns = Some(now);
        if let Some(bbr) = self.starting() {
            bbr.on_restart(now);
        }
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        match &mut self.phase {
            Phase::Measuring(bbr) => {
                self.began_ns.get_or_insert(ack.now.saturating_sub(ack.rtt.latest_ns()));
                bbr.on_ack(ack);
                if let Some(bps) = bbr.found_bps() {
                    self.own(ack, Rate::nearest(bps as f64));
                }
            }
            Phase::Owning(keeper) => keeper.on_ack(ack),
        }
        if let Phase::Owning(keeper) = &self.phase {
            self.cwnd = owned_window(keeper.rate(), ack.rtt, self.max_ack_delay_ns, self.mss);
        }
    }

    fn on_loss(&mut self, loss: &LossSample) {
        match &mut self.phase {
            Phase::Measuring(bbr) => bbr.on_loss(loss),
            Phase::Owning(keeper) => keeper.on_loss(loss),
        }
    }

    fn on_spurious(&mut self) {
        if let Some(bbr) = self.starting() {
            bbr.on_spurious();
        }
    }

    fn on_persistent_congestion(&mut self) {
        match &mut self.phase {
            Phase::Measuring(bbr) => bbr.on_persistent_congestion(),
            Phase::Owning(keeper) => keeper.on_outage(),
        }
    }

    fn is_measuring(&self) -> bool {
        match &self.phase {
            Phase::Measuring(bbr) => bbr.is_measuring(),
            Phase::Owning(_) => false,
        }
    }

    fn on_counted_sent(&mut self, now: Nanos, number: u64) {
        if let Some(bbr) = self.starting() {
            bbr.on_counted_sent(now, number);
        }
    }

    fn cwnd_bytes(&self) -> u64 {
        match &self.phase {
            Phase::Measuring(bbr) => bbr.cwnd_bytes(),
            Phase::Owning(_) => self.cwnd,
        }
    }

    fn ssthresh_bytes(&self) -> Option<u64> {
        None
    }

    fn pacing_bps(&self, rtt: &Rtt) -> Option<u64> {
        match &self.phase {
            Phase::Measuring(bbr) => bbr.pacing_bps(rtt),
            Phase::Owning(keeper) => Some(keeper.rate().bps()),
        }
    }

    fn measured_bps(&self) -> Option<u64> {
        self.measured.map(Rate::bps)
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        self.notice.take().or_else(|| match &mut self.phase {
            Phase::Owning(keeper) => keeper.poll_notice(),
            Phase::Measuring(_) => None,
        })
    }

    fn state_name(&self) -> &'static str {
        match &self.phase {
            Phase::Measuring(_) => "measuring",
            Phase::Owning(keeper) => keeper.state_name(),
        }
    }

    fn name(&self) -> &'static str {
        "auto"
    }
}
