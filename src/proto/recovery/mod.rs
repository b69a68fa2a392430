//! Recovery: which packets are in flight, which are lost, how many more may leave and when.
//!
//! Decides: acknowledged, lost, lost after all not, tail probe, window, pacing. Does not: choose what is sent or sent
//! again, read clocks, see payload. Called by: the connection (`proto`), once per packet sent, ACK and timer.
//! Invariant: a packet number that asks for an acknowledgement leaves exactly once, as acknowledged or as lost; its
//! cost is O(1) over its life, whatever is in flight.

mod acks;
pub mod congestion;
mod decoys;
mod delivery;
mod loss;
mod outcome;
mod pacing;
mod rtt;
mod sent;
mod span;
#[cfg(test)]
mod tests;

pub use congestion::{Algorithm, Notice, Why};
pub use decoys::{DecoyKey, DecoyKeys};
pub use delivery::RateSample;
pub use loss::GRANULARITY_NS;
pub use outcome::{AckError, Outcome, RecoveryStats, SendPermit};
pub use pacing::BURST_PACKETS;
pub use rtt::Rtt;
pub use sent::{MAX_SPAN, Sent, SentPacket};
pub use span::{FIRST_SPAN, SpanBudget};

use std::fmt;

use crate::base::Nanos;
use crate::base::size::wire_bytes;
use crate::base::time::{MICROSECOND, MILLISECOND};
use crate::wire::Ack;
use congestion::{AckSample, Controller, LossSample, Totals};
use decoys::Decoys;
use delivery::{AtSending, DeliverySampler, Sending};
use loss::{LossDetector, Lost};
use pacing::{Pace, Pacer};
use sent::SentRing;

/// What a connection tells its recovery at the start.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryConfig {
    /// How to use the link.
    pub algorithm: Algorithm,
    /// Longest frame with its Ethernet header, without FCS.
    pub max_frame_len: u16,
    /// How long the peer may hold back an ACK.
    pub max_ack_delay_ns: Nanos,
    /// Round trip until one was measured.
    pub initial_rtt_ns: Nanos,
    /// Most packets in flight; at most [`MAX_SPAN`] minus one word counts.
    pub max_in_flight: u64,
    /// Packet numbers that what is in flight may span, until [`Recovery::widen_span`]: a power of two.
    pub max_span: u64,
    /// What the numbers that are never sent are drawn with; without it all are sent.
    pub decoys: Option<DecoyKey>,
}

impl RecoveryConfig {
    /// For an untagged link of this MTU: the peer's ACK delay as [`received`](crate::proto::received) has it with as
    /// much again for its turn, and 1 ms of round trip until it is measured (the open measures it before data flows).
    pub fn new(algorithm: Algorithm, mtu: u16) -> RecoveryConfig {
        RecoveryConfig {
            algorithm,
            max_frame_len: mtu.saturating_add(crate::wire::ETHERNET_LEN as u16),
            max_ack_delay_ns: 200 * MICROSECOND,
            initial_rtt_ns: MILLISECOND,
            max_in_flight: MAX_SPAN,
            max_span: MAX_SPAN,
            decoys: None,
        }
    }
}

#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    lost: u64,
    spurious: u64,
    probes: u64,
    persistent: u64,
}

/// The sender's half of reliability, for one direction of one connection.
pub struct Recovery {
    ring: SentRing,
    decoys: Decoys,
    mtu_wire_bytes: u64,
    loss: LossDetector,
    rtt: Rtt,
    pacer: Pacer,
    delivery: DeliverySampler,
    controller: Box<dyn Controller>,
    max_ack_delay_ns: Nanos,
    max_in_flight: u64,
    /// The controller's window, asked once per ACK and not once per packet.
    cwnd_bytes: u64,
    /// The last packet filled the window, or the window shrank below what was in flight since.
    window_full: bool,
    /// The controller counts what is sent, likewise.
    measuring: bool,
    totals: Totals,
    /// The round trip ends when this number is acknowledged.
    round_end: u64,
    /// Most bytes in flight in this round trip and in the one before.
    peak: [u64; 2],
    counts: Counts,
}

impl Recovery {
    /// Nothing sent yet.
    pub fn new(config: &RecoveryConfig) -> Recovery {
        let mtu_wire_bytes = wire_bytes(usize::from(config.max_frame_len));
        let rtt = Rtt::new(config.initial_rtt_ns);
        let controller = config.algorithm.start(config, mtu_wire_bytes, &rtt);
        let mut recovery = Recovery {
            ring: SentRing::default(),
            decoys: Decoys::new(config.decoys),
            mtu_wire_bytes,
            loss: LossDetector::new(config.max_ack_delay_ns),
            rtt,
            pacer: Pacer::new(mtu_wire_bytes),
            delivery: DeliverySampler::new(),
            controller,
            max_ack_delay_ns: config.max_ack_delay_ns,
            max_in_flight: config.max_in_flight.clamp(1, MAX_SPAN - 64),
            cwnd_bytes: 0,
            window_full: false,
            measuring: false,
            totals: Totals::default(),
            round_end: 0,
            peak: [0; 2],
            counts: Counts::default(),
        };
        recovery.ring.set_most(config.max_span);
        recovery.retune();
        recovery
    }

    /// A round trip measured by other means (the open), as a first sample.
    pub fn on_handshake_rtt(&mut self, now: Nanos, rtt_ns: Nanos) {
        self.rtt.on_sample(now, rtt_ns, 0);
        self.controller.on_rtt(&self.rtt);
        self.retune();
    }

    /// The number that the next [`on_sent`](Self::on_sent) takes, or a higher one where this is never sent.
    pub fn next_number(&self) -> u64 {
        self.ring.next()
    }

    /// A packet is sent, under the number that this tells. One that asks for no acknowledgement (ACK only) takes a
    /// number and is forgotten.
    pub fn on_sent(&mut self, now: Nanos, mut packet: SentPacket, eliciting: bool) -> u64 {
        let mut number = self.ring.next();
        if self.decoys.is_next(number) {
            number = self.leave_out();
        }
        if !eliciting {
            self.ring.skip();
            return number;
        }
        packet.sent_ns = now;
        if self.delivery.is_flight_over(now) {
            self.begin_flight(now, number);
        }
        self.ring.push(packet);
        self.loss.on_sent(now);
        self.pacer.on_sent(now, packet.wire_bytes());
        self.totals.sent += packet.wire_bytes();
        self.peak[0] = self.peak[0].max(self.ring.bytes());
        self.window_full = self.ring.bytes() >= self.cwnd_bytes;
        if self.measuring {
            self.controller.on_counted_sent(now, number);
            self.retune();
        }
        number
    }

    /// There is nothing to send, or the peer gives no credit for it.
    pub fn on_starved(&mut self) {
        if self.ring.bytes() < self.cwnd_bytes {
            self.delivery.on_starved();
        }
    }

    /// An ACK arrived.
    ///
    /// # Errors
    /// It acknowledges what was never sent, or left out to see whether it does; nothing was changed.
    pub fn on_ack(&mut self, now: Nanos, ack: &Ack<'_>, out: &mut Outcome) -> Result<(), AckError> {
        self.check(ack)?;
        let largest_before = self.loss.largest_acked();
        let largest = self.ring.get(ack.largest);
        let newly = self.take(ack, out);
        self.ring.settle();
        if let Some(sent) = largest {
            let delay_ns = Nanos::from(ack.delay_ns).min(self.rtt.ack_held_most_ns(self.max_ack_delay_ns));
            let sample_ns = now.saturating_sub(sent.packet.sent_ns);
            out.rtt_sample_ns = Some(self.rtt.on_sample(now, sample_ns, delay_ns));
        }
        let from = ack.first_word * 64;
        let end = (from + ack.words.len() as u64 * 64).min(ack.largest + 1);
        self.loss.on_told(now, ack.largest, ack.floor, from, end, &self.rtt);
        self.take_late(out, largest_before);
        self.find_lost(now, out);
        if let Some(newest) = newly.newest {
            self.loss.on_progress();
            self.totals.delivered += newly.bytes;
            self.tell_controller(now, newly.bytes, &newest, Nanos::from(ack.delay_ns), out.rtt_sample_ns);
        }
        self.delivery.forget_below(self.ring.lowest(), self.ring.bytes());
        self.decoys.forget_below(self.ring.lowest());
        self.retune();
        Ok(())
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come (calling too early does nothing).
    pub fn on_timeout(&mut self, now: Nanos, out: &mut Outcome) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        if self.ring.has_overrun() || self.loss.timer_is_loss() {
            self.find_lost(now, out);
            self.delivery.forget_below(self.ring.lowest(), self.ring.bytes());
            self.retune();
        } else {
            self.loss.on_probe_timeout();
            self.counts.probes += 1;
            out.probe = true;
        }
    }

    /// When [`on_timeout`](Self::on_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        if self.ring.has_overrun() { Some(0) } else { self.loss.timer(&self.ring, &self.rtt) }
    }

    /// Whether packets that ask for an acknowledgement may leave, and how many.
    pub fn poll_send(&self, now: Nanos) -> SendPermit {
        let window = self.cwnd_bytes;
        let in_flight = self.ring.bytes();
        if in_flight >= window || self.ring.packets() >= self.max_in_flight || self.is_span_full() {
            return SendPermit::Blocked;
        }
        match self.pacer.poll(now) {
            Pace::Now(bytes) => SendPermit::Now { bytes: bytes.min(window - in_flight) },
            Pace::At(due) => SendPermit::At(due),
        }
    }

    /// The span that what is in flight may have, if that is all and more would help.
    pub fn full_span(&self) -> Option<u64> {
        let span = self.ring.most();
        (self.is_span_full() && span < MAX_SPAN && self.ring.bytes() < self.cwnd_bytes).then_some(span)
    }

    /// So many packet numbers more.
    pub fn widen_span(&mut self, more: u64) {
        self.ring.set_most(self.ring.most() + more);
    }

    /// The lowest packet number that is still waited for.
    pub fn lowest_in_flight(&self) -> u64 {
        self.ring.lowest()
    }

    /// The number below which everything has been acknowledged or is known to be lost, as far as ACKs have told.
    pub fn settled(&self) -> u64 {
        let told = self.loss.largest_acked().map_or(0, |largest| largest + 1);
        told.min(self.ring.lowest())
    }

    /// Wire bytes in flight.
    pub fn bytes_in_flight(&self) -> u64 {
        self.ring.bytes()
    }

    /// Packets in flight.
    pub fn packets_in_flight(&self) -> u64 {
        self.ring.packets()
    }

    /// The round-trip estimate.
    pub fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The probe timeout, without backoff: what closing and draining count in.
    pub fn probe_timeout_ns(&self) -> Nanos {
        self.loss.probe_timeout(&self.rtt)
    }

    /// Tail probes sent since something was acknowledged.
    pub fn probes_unanswered(&self) -> u32 {
        self.loss.pto_count()
    }

    /// `bbr`, `fixed`, `auto`, `cubic` or `reno`.
    pub fn controller_name(&self) -> &'static str {
        self.controller.name()
    }

    /// What the people at this end should hear: the rate was measured, or changed.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.controller.poll_notice()
    }

    /// What it takes, which grows with the packets in flight.
    pub fn memory_bytes(&self) -> usize {
        self.ring.memory_bytes() + self.delivery.memory_bytes() + self.decoys.memory_bytes()
    }

    /// All the numbers.
    pub fn stats(&self) -> RecoveryStats {
        RecoveryStats {
            cwnd_bytes: self.cwnd_bytes,
            ssthresh_bytes: self.controller.ssthresh_bytes(),
            bandwidth_bps: self.controller.bandwidth_bps(),
            state: self.controller.state_name(),
            pacing_bps: self.pacer.rate_bps(),
            measured_bps: self.controller.measured_bps(),
            srtt_ns: self.rtt.smoothed_ns(),
            rttvar_ns: self.rtt.variance_ns(),
            min_rtt_ns: self.rtt.min_ns(),
            bytes_in_flight: self.ring.bytes(),
            packets_in_flight: self.ring.packets(),
            sent_bytes: self.totals.sent,
            delivered_bytes: self.totals.delivered,
            lost_packets: self.counts.lost,
            spurious_losses: self.counts.spurious,
            tail_probes: self.counts.probes,
            persistent_congestions: self.counts.persistent,
            packet_threshold: self.loss.packet_threshold(),
            words_examined: self.ring.examined(),
        }
    }
}

impl Recovery {
    fn is_span_full(&self) -> bool {
        self.ring.next() - self.ring.lowest() >= self.ring.most() - 64
    }

    /// Packets held for lost have arrived: the loss is taken back, and when all of them were false, its answer too.
    fn take_late(&mut self, out: &Outcome, largest_before: Option<u64>) {
        for sent in &out.spurious {
            self.counts.spurious += 1;
            let bytes = sent.packet.wire_bytes();
            self.totals.lost = self.totals.lost.saturating_sub(bytes);
            self.totals.delivered += bytes;
            // How far it was overtaken, as known before this ACK: at least what made us take it for lost.
            let end = largest_before.unwrap_or(0) + 1;
            let overtaken = end.saturating_sub(sent.number + self.decoys.count(sent.number, end));
            if self.loss.on_spurious(sent, overtaken) {
                self.controller.on_spurious();
            }
        }
    }

    fn find_lost(&mut self, now: Nanos, out: &mut Outcome) {
        if self.ring.has_overrun() {
            let lost = self.loss.count_overrun(&mut self.ring, &self.rtt, &mut out.lost);
            self.answer(now, lost, out);
        }
        let lost = self.loss.detect(now, &mut self.ring, &self.decoys, &self.rtt, &mut out.lost);
        self.answer(now, lost, out);
    }

    fn answer(&mut self, now: Nanos, lost: Lost, out: &mut Outcome) {
        self.counts.lost += lost.packets;
        self.totals.lost += lost.bytes;
        if lost.bytes == 0 {
            return;
        }
        let at = self.delivery.at_sending(lost.largest, self.mtu_wire_bytes);
        let AtSending { in_flight, lost: lost_then } = at.unwrap_or_default();
        self.controller.on_loss(&LossSample {
            now,
            lost_bytes: lost.bytes,
            largest_lost: lost.largest,
            next_number: self.ring.next(),
            tx_in_flight_bytes: in_flight,
            lost_since_sent_bytes: self.totals.lost.saturating_sub(lost_then),
        });
        if lost.persistent {
            self.counts.persistent += 1;
            self.controller.on_persistent_congestion();
            out.persistent_congestion = true;
        }
    }

    /// Leaves out what the next packet could have been numbered; tells its number.
    #[cold]
    fn leave_out(&mut self) -> u64 {
        while self.decoys.is_next(self.ring.next()) {
            self.decoys.leave_out(self.ring.next());
            self.ring.skip();
        }
        // Within a flight numbers count packets.
        self.delivery.end_flight();
        self.ring.next()
    }

    /// Marks the state in which the next packets are sent; a sender that was idle tells its controller.
    fn begin_flight(&mut self, now: Nanos, number: u64) {
        let idle_before = self.delivery.begin_flight(&Sending {
            now,
            number,
            in_flight: self.ring.bytes(),
            totals: self.totals,
            srtt_ns: self.rtt.smoothed_ns(),
            busy_until_ns: self.pacer.next_ns().max(self.loss.last_sent_ns()),
            credit_ns: self.pacer.credit_ns(),
            window_full: self.window_full,
        });
        if idle_before {
            self.controller.on_restart(now);
            self.retune();
        }
    }

    fn tell_controller(&mut self, now: Nanos, bytes: u64, newest: &Sent, delay_ns: Nanos, rtt_ns: Option<Nanos>) {
        let (largest_newly_acked, next_number) = (newest.number, self.ring.next());
        let rate = self.delivery.on_acked(now, newest, self.totals, self.rtt.min_ns());
        self.controller.on_ack(&AckSample {
            now,
            acked_bytes: bytes,
            largest_newly_acked,
            next_number,
            rtt: &self.rtt,
            rtt_sample_ns: rtt_ns,
            ack_delay_ns: delay_ns,
            rate: RateSample { newly_acked_bytes: bytes, rtt_ns, ..rate },
            bytes_in_flight: self.ring.bytes(),
            peak_in_flight: self.peak[0].max(self.peak[1]),
            totals: self.totals,
        });
        if largest_newly_acked >= self.round_end {
            self.round_end = next_number;
            self.peak = [self.ring.bytes(), self.peak[0]];
        }
    }

    fn retune(&mut self) {
        self.cwnd_bytes = self.controller.cwnd_bytes();
        self.window_full |= self.ring.bytes() >= self.cwnd_bytes;
        self.measuring = self.controller.is_measuring();
        self.pacer.set_rate(self.controller.pacing_bps(&self.rtt), self.rtt.burst_patience_ns());
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("stats", &self.stats()).field("controller", &self.controller).finish()
    }
}
