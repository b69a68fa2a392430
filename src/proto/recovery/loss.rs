//! Loss detection: packet threshold, time threshold (RACK), tail probe, persistent congestion; RFC 9002 with bitmaps.

use super::decoys::Decoys;
use super::rtt::Rtt;
use super::sent::{Sent, SentRing};
use crate::base::Nanos;
use crate::base::time::{MICROSECOND, MILLISECOND};

/// Finest time that a worker's turn resolves. RFC 9002 has 1 ms for socket programs; a spinning turn takes 1–20 µs.
/// Lower: a turn's own jitter is taken for loss. Higher: losses on 50 µs links wait for longer than a round trip.
pub const GRANULARITY_NS: Nanos = 20 * MICROSECOND;
/// Packets that must have arrived behind one before it is lost (RFC 9002 §6.1.1), as long as no reordering was seen.
const PACKET_THRESHOLD: u64 = 3;
/// The most to which seen reordering widens it. Lower: a link bundle that reorders by more sends everything twice.
/// Higher: the time threshold decides anyway.
const PACKET_THRESHOLD_MAX: u64 = 1 << 14;
/// The time threshold is 1 + this many eighths of the round trip (RFC 9002: 9/8), widened by one with each round trip
/// that saw a false loss …
const TIME_EIGHTHS: u64 = 1;
/// … up to twice the round trip.
const TIME_EIGHTHS_MAX: u64 = 8;
/// Loss episodes without a false loss after which both thresholds are narrow again (RFC 8985 §6.2 has 16).
const EPISODES_TO_FORGET: u32 = 16;
/// Longest time between tail probes where the round trip does not ask for more. A probe in each quarter second is
/// nothing to a dedicated link. Lower: wake-ups for a dead peer. Higher: a link that comes back lies idle for so long.
const PROBE_INTERVAL_MAX_NS: Nanos = 250 * MILLISECOND;
/// Persistent congestion: nothing got through for this many probe timeouts (RFC 9002 §7.6.1).
const PERSISTENT_PTOS: u64 = 3;

/// What one look for losses found.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lost {
    /// Packets and their wire bytes.
    pub packets: u64,
    /// Wire bytes.
    pub bytes: u64,
    /// The highest number.
    pub largest: u64,
    /// Nothing got through for several probe timeouts.
    pub persistent: bool,
}

/// The detector of one connection.
#[derive(Debug)]
pub struct LossDetector {
    max_ack_delay_ns: Nanos,
    largest_acked: Option<u64>,
    /// ACKs without a hole between them have told about every packet below this.
    covered: u64,
    /// Since when `covered` lags behind because ACKs were lost.
    uncovered_since: Option<Nanos>,
    packet_threshold: u64,
    time_eighths: u64,
    /// When the lowest outstanding packet will have been missing for too long.
    loss_at: Option<Nanos>,
    /// When the last packet that asks for an acknowledgement was sent.
    last_sent_ns: Nanos,
    pto_count: u32,
    episode: Episode,
    /// A run of losses with nothing acknowledged between: when its first packet was sent, the last one's number.
    run: Option<(Nanos, u64)>,
}

/// The losses behind one reduction of the window.
#[derive(Clone, Copy, Default, Debug)]
struct Episode {
    first: u64,
    end: u64,
    lost: u64,
    spurious: u64,
    widened: bool,
    quiet_before: u32,
}

impl LossDetector {
    /// Nothing sent yet.
    pub fn new(max_ack_delay_ns: Nanos) -> LossDetector {
        LossDetector {
            max_ack_delay_ns,
            largest_acked: None,
            covered: 0,
            uncovered_since: None,
            packet_threshold: PACKET_THRESHOLD,
            time_eighths: TIME_EIGHTHS,
            loss_at: None,
            last_sent_ns: 0,
            pto_count: 0,
            episode: Episode::default(),
            run: None,
        }
    }

    /// A packet that asks for an acknowledgement was sent.
    pub fn on_sent(&mut self, now: Nanos) {
        self.last_sent_ns = now;
    }

    /// When the last packet that asks for an acknowledgement was sent.
    pub fn last_sent_ns(&self) -> Nanos {
        self.last_sent_ns
    }

    /// Something new was acknowledged: the path works.
    pub fn on_progress(&mut self) {
        self.pto_count = 0;
    }

    /// An ACK told about the numbers of `from..end` (and about all below `floor`), with `largest` as the highest.
    pub fn on_told(&mut self, now: Nanos, largest: u64, floor: u64, from: u64, end: u64, rtt: &Rtt) {
        let largest = self.largest_acked.map_or(largest, |before| before.max(largest));
        self.largest_acked = Some(largest);
        self.covered = self.covered.max(floor);
        if from <= self.covered {
            self.covered = self.covered.max(end);
        }
        if self.covered > largest {
            self.uncovered_since = None;
            return;
        }
        // ACKs were lost, so many that not even the repetition helps. The receiver's sweep will tell about the
        // hole; a probe timeout later we no longer wait for it.
        let since = *self.uncovered_since.get_or_insert(now);
        if now.saturating_sub(since) > self.probe_timeout(rtt) {
            self.covered = largest + 1;
            self.uncovered_since = None;
        }
    }

    /// Takes for lost what has been missing for too long, and arms the timer for what may follow.
    ///
    /// Numbers rise with time, so the first packet that is not lost ends the look: each packet is looked at once, and
    /// one more each time.
    pub fn detect(&mut self, now: Nanos, ring: &mut SentRing, decoys: &Decoys, rtt: &Rtt, out: &mut Vec<Sent>) -> Lost {
        self.loss_at = None;
        let mut lost = Lost::default();
        let Some(largest_acked) = self.largest_acked else { return lost };
        // Of what lies below this we know whether it had arrived before the highest packet that we know of.
        let told = (largest_acked + 1).min(self.covered);
        let delay = self.loss_delay(rtt);
        while let Some(first) = ring.first() {
            if first.number >= told {
                break;
            }
            let due = first.packet.sent_ns + delay;
            let overtaken = || told - first.number - decoys.count(first.number, told);
            if due > now && overtaken() <= self.packet_threshold {
                self.loss_at = Some(due);
                break;
            }
            let Some(sent) = ring.lose_first() else { break };
            self.count(&mut lost, sent, ring, rtt);
            out.push(sent);
        }
        lost
    }

    /// Counts packets that the ring itself gave up.
    pub fn count_overrun(&mut self, ring: &mut SentRing, rtt: &Rtt, out: &mut Vec<Sent>) -> Lost {
        let mut lost = Lost::default();
        let begin = out.len();
        ring.take_overrun(out);
        for sent in &out[begin..] {
            self.count(&mut lost, *sent, ring, rtt);
        }
        lost
    }

    /// A packet that was held for lost has arrived, `overtaken` by so many: true when with it all losses behind the
    /// last reduction were false.
    pub fn on_spurious(&mut self, sent: &Sent, overtaken: u64) -> bool {
        self.packet_threshold = self.packet_threshold.max(overtaken.min(PACKET_THRESHOLD_MAX));
        let episode = &mut self.episode;
        if !episode.widened {
            episode.widened = true;
            self.time_eighths = (self.time_eighths + 1).min(TIME_EIGHTHS_MAX);
        }
        if sent.number < episode.first {
            return false;
        }
        episode.spurious += 1;
        episode.spurious == episode.lost
    }

    /// The timer: when [`timer_is_loss`](Self::timer_is_loss) or a tail probe is due.
    pub fn timer(&self, ring: &SentRing, rtt: &Rtt) -> Option<Nanos> {
        if ring.packets() == 0 {
            return None;
        }
        Some(self.loss_at.unwrap_or_else(|| self.last_sent_ns + self.backed_off(rtt)))
    }

    /// Whether the timer is that of a missing packet, not of a tail probe.
    pub fn timer_is_loss(&self) -> bool {
        self.loss_at.is_some()
    }

    /// A tail probe is due: the next one waits twice as long.
    pub fn on_probe_timeout(&mut self) {
        self.pto_count = self.pto_count.saturating_add(1);
    }

    /// Probe timeouts since something was acknowledged.
    pub fn pto_count(&self) -> u32 {
        self.pto_count
    }

    /// The highest number acknowledged.
    pub fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    /// Packets that may overtake one before it is taken for lost.
    pub fn packet_threshold(&self) -> u64 {
        self.packet_threshold
    }

    /// The probe timeout without its backoff (RFC 9002 §6.2.1).
    pub fn probe_timeout(&self, rtt: &Rtt) -> Nanos {
        let held_ns = rtt.ack_held_most_ns(self.max_ack_delay_ns);
        rtt.smoothed_ns() + (4 * rtt.variance_ns()).max(GRANULARITY_NS) + held_ns
    }

    fn backed_off(&self, rtt: &Rtt) -> Nanos {
        let base = self.probe_timeout(rtt);
        // Whatever the backoff: two timeouts are always waited for, so that a long path is not hammered.
        let most = PROBE_INTERVAL_MAX_NS.max(2 * base);
        base.checked_shl(self.pto_count).filter(|backed| backed >> self.pto_count == base).unwrap_or(most).min(most)
    }

    fn loss_delay(&self, rtt: &Rtt) -> Nanos {
        let round_trip = rtt.smoothed_ns().max(rtt.latest_ns());
        round_trip + (round_trip * self.time_eighths / 8).max(GRANULARITY_NS)
    }

    fn count(&mut self, lost: &mut Lost, sent: Sent, ring: &mut SentRing, rtt: &Rtt) {
        lost.packets += 1;
        lost.bytes += sent.packet.wire_bytes();
        lost.largest = lost.largest.max(sent.number);
        self.count_episode(sent.number, ring.next());
        // Only packets sent since the round trip is known count (RFC 9002 §7.6.2).
        if rtt.first_sample_ns().is_none_or(|first| sent.packet.sent_ns < first) {
            return;
        }
        let began = match self.run {
            Some((began, last)) if last < sent.number && !ring.any_acked_between(last, sent.number) => began,
            _ => sent.packet.sent_ns,
        };
        self.run = Some((began, sent.number));
        if sent.packet.sent_ns.saturating_sub(began) > PERSISTENT_PTOS * self.probe_timeout(rtt) {
            lost.persistent = true;
            self.run = None;
        }
    }

    fn count_episode(&mut self, number: u64, next: u64) {
        if number >= self.episode.end {
            let quiet_before = if self.episode.widened { 0 } else { self.episode.quiet_before + 1 };
            if quiet_before >= EPISODES_TO_FORGET {
                self.packet_threshold = PACKET_THRESHOLD;
                self.time_eighths = TIME_EIGHTHS;
            }
            self.episode = Episode { first: number, end: next, lost: 0, spurious: 0, widened: false, quiet_before };
        }
        self.episode.lost += 1;
    }
}
