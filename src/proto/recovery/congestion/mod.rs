//! Congestion control: how much may be in flight, and how fast it leaves.
//!
//! Decides: window and pacing rate, from acknowledgements and losses. Does not: detect losses, keep packets, read
//! clocks. Called by: `recovery`. Invariant: bytes are wire bytes (preamble, FCS and gap included) everywhere, so that
//! a rate means what the link's label says.

pub mod auto;
pub mod bbr;
pub mod cubic;
mod evidence;
pub mod fixed;
mod hystart;
mod keeper;
pub mod reno;
mod spans;
mod trial;
mod wander;

use std::fmt;

use super::RecoveryConfig;
use super::delivery::RateSample;
use super::pacing::BURST_PACKETS;
use super::rtt::Rtt;
use crate::base::time::{MICROSECOND, MILLISECOND};
use crate::base::{Nanos, Rate};

/// Packets in the first window. TCP's 10 are meant for the Internet's slowest line; here a link is at least 100 Mbit/s
/// and nobody else's: one NIC batch. Lower: the first round trips of a short transfer on a long circuit are wasted.
/// Higher: a burst beyond the 256-entry ring of a veth or a small switch port before anything is known.
pub const INITIAL_WINDOW_PACKETS: u64 = 64;
/// Packets below which no window falls: 2 as in RFC 9002, and 2 more, so that three arrivals behind a loss can show it.
pub const MIN_WINDOW_PACKETS: u64 = 4;
/// Round trips below this are not paced by the window-based controllers: a window arrives within a few turns of the
/// worker, which is as fine as its timers are. Lower: pacing at 50 µs round trips throttles by timer error.
/// Higher: whole windows leave at once on metro links.
const UNPACED_RTT_NS: Nanos = 500 * MICROSECOND;

/// What one acknowledgement said.
#[derive(Clone, Copy, Debug)]
pub struct AckSample<'a> {
    /// Now.
    pub now: Nanos,
    /// Wire bytes that it acknowledged for the first time.
    pub acked_bytes: u64,
    /// The highest packet number among them.
    pub largest_newly_acked: u64,
    /// The number of the next packet to be sent: what is acknowledged from there on was sent from now on.
    pub next_number: u64,
    /// The estimator, this acknowledgement included.
    pub rtt: &'a Rtt,
    /// The sample that it gave.
    pub rtt_sample_ns: Option<Nanos>,
    /// How long the peer says that it held the ACK back: its highest packet arrived so long before the ACK left.
    pub ack_delay_ns: Nanos,
    /// What it says about the path's rate.
    pub rate: RateSample,
    /// Wire bytes in flight, now that it is taken in.
    pub bytes_in_flight: u64,
    /// The most wire bytes that were in flight during the current round trip and the one before.
    pub peak_in_flight: u64,
    /// Wire bytes sent, delivered and lost since the start.
    pub totals: Totals,
}

impl AckSample<'_> {
    /// Whether the window was what limited the sender: only then may it grow (RFC 9002 §7.8). Half of it counts, as
    /// pacing and bursts keep the peak below the window.
    pub fn window_was_used(&self, cwnd: u64) -> bool {
        self.peak_in_flight * 2 >= cwnd
    }
}

/// Wire bytes since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Sent, retransmissions included.
    pub sent: u64,
    /// Acknowledged, each packet once.
    pub delivered: u64,
    /// Taken for lost (and not found to have arrived after all).
    pub lost: u64,
}

/// Packets were lost.
#[derive(Clone, Copy, Debug)]
pub struct LossSample {
    /// Now.
    pub now: Nanos,
    /// Wire bytes lost.
    pub lost_bytes: u64,
    /// The highest packet number among them.
    pub largest_lost: u64,
    /// The number of the next packet to be sent.
    pub next_number: u64,
    /// Wire bytes in flight when the highest of them had been sent; 0 where that is forgotten.
    pub tx_in_flight_bytes: u64,
    /// Wire bytes lost since then, these included.
    pub lost_since_sent_bytes: u64,
}

/// A congestion controller.
pub trait Controller: Send + fmt::Debug {
    /// The round trip was measured before any packet was acknowledged.
    fn on_rtt(&mut self, _rtt: &Rtt) {}
    /// A packet is about to leave after a time in which nothing was in flight, as there was nothing to send.
    fn on_restart(&mut self, _now: Nanos) {}
    /// Packets were acknowledged.
    fn on_ack(&mut self, ack: &AckSample<'_>);
    /// Packets were lost; also called where the window does not answer to it.
    fn on_loss(&mut self, loss: &LossSample);
    /// All losses behind the last reduction were none: the packets had only been late.
    fn on_spurious(&mut self);
    /// Nothing got through for several timeouts.
    fn on_persistent_congestion(&mut self);
    /// How many wire bytes may be in flight.
    fn cwnd_bytes(&self) -> u64;
    /// Where slow start ends, if that has been found.
    fn ssthresh_bytes(&self) -> Option<u64>;
    /// Wire bits per second at which packets leave; `None` for as fast as the window lets.
    fn pacing_bps(&self, rtt: &Rtt) -> Option<u64>;
    /// Packets are being sent that measure the link, and it counts them.
    fn is_measuring(&self) -> bool {
        false
    }
    /// A packet was sent while [`is_measuring`](Self::is_measuring).
    fn on_counted_sent(&mut self, _now: Nanos, _number: u64) {}
    /// Wire bits per second that were measured at the start.
    fn measured_bps(&self) -> Option<u64> {
        None
    }
    /// What the people at this end should hear.
    fn poll_notice(&mut self) -> Option<Notice> {
        None
    }
    /// The path's bandwidth in wire bits per second, where it is modelled.
    fn bandwidth_bps(&self) -> Option<u64> {
        None
    }
    /// What it is doing, where it has more than one way; empty elsewhere.
    fn state_name(&self) -> &'static str {
        ""
    }
    /// Short name: `bbr`, `fixed`, `auto`, `cubic`, `reno`.
    fn name(&self) -> &'static str;
}

/// Which controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// The link is ours at this rate.
    Fixed(Rate),
    /// The link is ours, at the rate that is measured.
    Auto,
    /// Version 3, with what a link of one's own allows.
    Bbr,
    /// RFC 9438.
    Cubic,
    /// RFC 5681 in RFC 9002's words.
    Reno,
}

impl Algorithm {
    /// A controller for packets that take up to `mtu_wire_bytes` on the wire, with `rtt` as far as it is known.
    pub fn start(self, config: &RecoveryConfig, mtu_wire_bytes: u64, rtt: &Rtt) -> Box<dyn Controller> {
        let max_ack_delay_ns = config.max_ack_delay_ns;
        match self {
            Algorithm::Fixed(rate) => Box::new(fixed::Fixed::new(rate, mtu_wire_bytes, max_ack_delay_ns, rtt)),
            Algorithm::Auto => Box::new(auto::Auto::new(mtu_wire_bytes, max_ack_delay_ns, rtt)),
            Algorithm::Bbr => Box::new(bbr::Bbr::new(mtu_wire_bytes, max_ack_delay_ns, rtt)),
            Algorithm::Cubic => Box::new(cubic::Cubic::new(mtu_wire_bytes)),
            Algorithm::Reno => Box::new(reno::Reno::new(mtu_wire_bytes)),
        }
    }
}

/// A controller changed its mind about the link in a way that people should know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The rate until now.
    pub from: Rate,
    /// The rate from now on.
    pub to: Rate,
    /// Why.
    pub why: Why,
}

/// Why a rate changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The rate was sent but did not arrive.
    NotDelivered {
        /// What arrived.
        delivered: Rate,
        /// Share of packets lost, in percent.
        lost_percent: u32,
        /// The queue that stood before the link.
        queue_ns: Nanos,
    },
    /// Going slower did not lessen the loss: it is the link's own.
    LossIsNotOurs {
        /// Share of packets lost, in percent.
        lost_percent: u32,
    },
    /// The link carries the configured rate again.
    Recovered,
    /// The link was found to carry more.
    Wider,
    /// `from` was measured.
    Measured {
        /// How long that took.
        took_ns: Nanos,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Notice { from, to, why } = self;
        match why {
            Why::NotDelivered { delivered, lost_percent, queue_ns } => {
                write!(f, "rate {from} was not delivered: {delivered} arrived, {lost_percent}% was lost")?;
                if *queue_ns > 0 {
                    write!(f, ", a queue of {} ms stood before the link", queue_ns.div_ceil(MILLISECOND))?;
                }
                write!(f, "; stepped down to {to}")
            }
            Why::LossIsNotOurs { lost_percent } => write!(
                f,
                "going slower did not help: {lost_percent}% is lost at {from} as well, so the link itself loses it; \
                 back to {to}"
            ),
            Why::Wider => write!(f, "the link carries more than {from}: now sending at {to}"),
            Why::Measured { took_ns } => {
                write!(f, "measured {from} in {} ms; sending at {to}", took_ns.div_ceil(MILLISECOND))
            }
            Why::Recovered => write!(f, "the link carries {to} again (was stepped down to {from})"),
        }
    }
}

/// The window of a rate that is ours, in round trips. 1 would do on paper; the second carries lost packets until they
/// are found lost (up to two round trips where reordering was seen) and a round trip that suddenly grows. Lower: the
/// rate is missed there. Higher: only memory, as the rate is what paces.
const OWNED_ROUND_TRIPS: u64 = 2;
/// And what is sent in this time, so that a receiver that gets no core for a while does not stop the sender …
const OWNED_SLACK_NS: Nanos = 20 * MILLISECOND;
/// … but at least some bursts, for round trips of nothing, and no more than half of a receiver's ring. Lower: veth
/// stalls. Higher: what a late receiver's ring can't hold is lost.
const OWNED_SLACK_PACKETS: (u64, u64) = (4 * BURST_PACKETS, 16 * BURST_PACKETS);

/// The window of a sender that owns its link at `rate`.
fn owned_window(rate: Rate, rtt: &Rtt, max_ack_delay_ns: Nanos, mss: u64) -> u64 {
    let span = OWNED_ROUND_TRIPS * (rtt.smoothed_ns() + rtt.variance_ns() + max_ack_delay_ns);
    let (least, most) = OWNED_SLACK_PACKETS;
    let slack = rate.bytes_in(OWNED_SLACK_NS).clamp(least * mss, most * mss);
    (rate.bytes_in(span) + slack).max(MIN_WINDOW_PACKETS * mss)
}

/// Pacing of a window-based controller: faster than the window drains, so that pacing never is the limit.
fn window_pacing(cwnd: u64, rtt: &Rtt, slow_start: bool) -> Option<u64> {
    if rtt.samples() == 0 || rtt.smoothed_ns() < UNPACED_RTT_NS {
        return None;
    }
    // Twice the window per round trip while it doubles, 1.25 times afterwards (RFC 9002 §7.7).
    let quarters = if slow_start { 8 } else { 5 };
    Some((u128::from(cwnd) * 8_000_000_000 * quarters / 4 / u128::from(rtt.smoothed_ns())) as u64)
}

#[cfg(test)]
mod tests {
    //! Pacing of windows, and samples for the controllers' tests.

    use super::*;
    use crate::base::time::MILLISECOND;

    /// An estimator with this round trip, for the life of the test program.
    fn rtt_of(rtt_ns: Nanos) -> &'static Rtt {
        let mut rtt = Rtt::new(rtt_ns);
        rtt.on_sample(0, rtt_ns, 0);
        Box::leak(Box::new(rtt))
    }

    #[test]
    fn pacing_leaves_room_for_the_window() {
        let rtt = rtt_of(10 * MILLISECOND);
        assert_eq!(window_pacing(1_000_000, rtt, false), Some(1_000_000_000));
        assert_eq!(window_pacing(1_000_000, rtt, true), Some(1_600_000_000));
        assert_eq!(window_pacing(1_000_000, rtt_of(50 * MICROSECOND), true), None);
    }

    pub(super) fn ack(acked_bytes: u64, largest: u64, next_number: u64, peak_in_flight: u64) -> AckSample<'static> {
        let rtt = rtt_of(MILLISECOND);
        AckSample {
            now: 0,
            acked_bytes,
            largest_newly_acked: largest,
            next_number,
            rtt,
            rtt_sample_ns: None,
            ack_delay_ns: 0,
            rate: RateSample::default(),
            bytes_in_flight: 0,
            peak_in_flight,
            totals: Totals::default(),
        }
    }

    pub(in crate::proto::recovery::congestion) fn ack_at(
        now: Nanos,
        bytes: u64,
        largest: u64,
        next: u64,
        rtt_ns: Nanos,
    ) -> AckSample<'static> {
        AckSample { now, rtt: rtt_of(rtt_ns), ..ack(bytes, largest, next, bytes.max(1 << 40)) }
    }

    pub(super) fn ack_with_rtt(bytes: u64, largest: u64, next: u64, rtt_ns: Nanos) -> AckSample<'static> {
        AckSample { rtt_sample_ns: Some(rtt_ns), ..ack(bytes, largest, next, u64::MAX / 2) }
    }

    pub(super) fn loss(largest_lost: u64, next_number: u64) -> LossSample {
        LossSample {
            now: 0,
            lost_bytes: 1538,
            largest_lost,
            next_number,
            tx_in_flight_bytes: 0,
            lost_since_sent_bytes: 1538,
        }
    }
}
