//! Pacing: when the next burst may leave, to the nanosecond of the turn.
//!
//! A schedule, not a bucket: `next_ns` is when the wire would be free if the rate were the wire's. A burst begins when
//! that time has come and ends when the schedule is a quantum ahead; so packets leave in bursts that pay for a kick,
//! however often the caller asks. What the worker could send only late is made good for, up to [`CREDIT_NS`].

use crate::base::Nanos;
use crate::base::time::MICROSECOND;

/// Most packets in one permit: the NIC batch of a turn. More would keep a turn from its other work and overrun a
/// 256-entry peer ring (veth); fewer would pay the kick for less.
pub const BURST_PACKETS: u64 = 64;
/// How far one burst may run ahead of the schedule, on short paths (on longer ones, the path's patience). 40 µs at 10
/// Gbit/s are 33 frames: enough to pay for a kick, and no more than a shallow switch buffer holds. Lower: bursts of one
/// or two frames at 10 Gbit/s, a kick each. Higher: microbursts, which drop first at a slower hop.
const QUANTUM_NS: Nanos = 40 * MICROSECOND;
/// How far behind its schedule a sender may be and still make good, beside the path's patience. A turn of a loaded
/// worker takes 20–100 µs and a timed `poll` wakes 50 µs late. Lower: the rate is missed by what such turns cost.
/// Higher: after a preemption the path sees that much at line speed.
const CREDIT_NS: Nanos = 250 * MICROSECOND;

/// The pacer of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    mtu_wire_bytes: u64,
    /// 0 means not paced.
    rate_bps: u64,
    /// Nanoseconds per byte, times 2^32, so that a packet costs a multiplication and no division.
    ns_per_byte_q32: u64,
    /// How far a burst may run ahead: [`QUANTUM_NS`], or what [`BURST_PACKETS`] take where that is less.
    quantum_ns: Nanos,
    /// What may be made good: [`CREDIT_NS`] and the patience.
    credit_ns: Nanos,
    next_ns: Nanos,
    fraction_q32: u64,
    /// The burst is over: wait for the schedule.
    closed: bool,
}

/// What the pacer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// This many wire bytes may leave now.
    Now(u64),
    /// Nothing before this time.
    At(Nanos),
}

impl Pacer {
    /// Not paced yet; a full-sized packet takes `mtu_wire_bytes` on the wire.
    pub fn new(mtu_wire_bytes: u64) -> Pacer {
        Pacer {
            mtu_wire_bytes,
            rate_bps: 0,
            ns_per_byte_q32: 0,
            quantum_ns: 0,
            credit_ns: CREDIT_NS,
            next_ns: 0,
            fraction_q32: 0,
            closed: false,
        }
    }

    /// Sets the rate in wire bits per second, `None` for no pacing, and how long a burst may be in the making.
    pub fn set_rate(&mut self, rate_bps: Option<u64>, patience_ns: Nanos) {
        // 1 kbit/s at least: slower is never meant, and keeps the fixed-point factor in range.
        let rate_bps = rate_bps.map_or(0, |rate| rate.max(1_000));
        let credit_ns = CREDIT_NS + patience_ns;
        if rate_bps != self.rate_bps || credit_ns != self.credit_ns {
            self.credit_ns = credit_ns;
            self.rate_bps = rate_bps;
            self.ns_per_byte_q32 = match rate_bps {
                0 => 0,
                rate => ((8_000_000_000_u128 << 32) / u128::from(rate)) as u64,
            };
            let batch_ns = (self.duration_of_q32(BURST_PACKETS * self.mtu_wire_bytes) >> 32) as u64;
            self.quantum_ns = QUANTUM_NS.max(patience_ns).min(batch_ns).max(1);
        }
    }

    /// The rate in force, in wire bits per second.
    pub fn rate_bps(&self) -> Option<u64> {
        (self.rate_bps > 0).then_some(self.rate_bps)
    }

    /// Until when the wire is busy at the rate with what was sent.
    pub fn next_ns(&self) -> Nanos {
        self.next_ns
    }

    /// How far behind the schedule a sender may be and still make good.
    pub fn credit_ns(&self) -> Nanos {
        self.credit_ns
    }

    /// How much may leave now.
    pub fn poll(&self, now: Nanos) -> Pace {
        let burst = BURST_PACKETS * self.mtu_wire_bytes;
        if self.rate_bps == 0 {
            return Pace::Now(burst);
        }
        if self.closed && self.next_ns > now {
            return Pace::At(self.next_ns);
        }
        let begin = self.next_ns.max(now.saturating_sub(self.credit_ns));
        let span = (now + self.quantum_ns).saturating_sub(begin);
        Pace::Now(self.bytes_in(span).clamp(self.mtu_wire_bytes, burst))
    }

    /// A packet of `wire_bytes` has left.
    pub fn on_sent(&mut self, now: Nanos, wire_bytes: u64) {
        if self.rate_bps == 0 {
            return;
        }
        let earliest = now.saturating_sub(self.credit_ns);
        if self.next_ns < earliest {
            self.next_ns = earliest;
            self.fraction_q32 = 0;
        }
        let cost_q32 = self.duration_of_q32(wire_bytes) + u128::from(self.fraction_q32);
        self.next_ns += (cost_q32 >> 32) as u64;
        self.fraction_q32 = cost_q32 as u64 & 0xFFFF_FFFF;
        self.closed = self.next_ns >= now + self.quantum_ns;
    }

    /// What `bytes` take at the rate, in nanoseconds times 2^32.
    fn duration_of_q32(&self, bytes: u64) -> u128 {
        u128::from(bytes) * u128::from(self.ns_per_byte_q32)
    }

    fn bytes_in(&self, span: Nanos) -> u64 {
        // Spans are below a millisecond here, so 64 bits do up to 18 Tbit/s.
        self.rate_bps.saturating_mul(span) / 8_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SECOND;

    /// Sends as much as the pacer lets go for `span`, looking every `turn`; the bytes sent.
    fn run(pacer: &mut Pacer, span: Nanos, turn: Nanos, packet: u64) -> u64 {
        let mut sent = 0;
        let mut now = SECOND;
        while now < SECOND + span {
            if let Pace::Now(bytes) = pacer.poll(now) {
                assert!(bytes <= BURST_PACKETS * 1538);
                let mut left = bytes as i64;
                while left > 0 {
                    pacer.on_sent(now, packet);
                    left -= packet as i64;
                    sent += packet;
                }
            }
            now += turn;
        }
        sent
    }

    #[test]
    fn the_rate_is_exact_whatever_the_turn() {
        for rate in [1_000_000_u64, 100_000_000, 940_000_000, 10_000_000_000, 25_000_000_000] {
            for turn in [1_000, 7_321, 30_000] {
                for packet in [84, 1538] {
                    let mut pacer = Pacer::new(1538);
                    pacer.set_rate(Some(rate), 0);
                    let sent = run(&mut pacer, SECOND / 10, turn, packet) as f64;
                    let due = rate as f64 / 80.0;
                    let slack = rate as f64 / 8e9 * (CREDIT_NS + QUANTUM_NS) as f64 + 2.0 * 1538.0;
                    assert!((sent - due).abs() <= slack + due * 1e-6, "{rate} {turn} {packet}: {sent} for {due}");
                }
            }
        }
    }

    #[test]
    fn after_silence_no_more_than_the_credit_is_made_good() {
        let mut pacer = Pacer::new(1538);
        pacer.set_rate(Some(1_000_000_000), 0);
        pacer.on_sent(SECOND, 1538);
        let sent = run(&mut pacer, 1, 1, 1538) + run(&mut pacer, 1, 1, 1538);
        assert!(sent <= 125 * 290 + 2 * 1538, "{sent}");
        assert!(matches!(pacer.poll(SECOND), Pace::At(_)));
    }

    #[test]
    fn who_asks_before_each_packet_gets_bursts_as_well() {
        let mut pacer = Pacer::new(1538);
        pacer.set_rate(Some(10_000_000_000), 0);
        let (mut bursts, mut packets, mut open) = (0, 0, false);
        for now in (SECOND..SECOND + 10_000_000).step_by(500) {
            while let Pace::Now(_) = pacer.poll(now) {
                bursts += u64::from(!std::mem::replace(&mut open, true));
                pacer.on_sent(now, 1538);
                packets += 1;
            }
            open = false;
        }
        assert!((8_120..8_400).contains(&packets), "{packets} packets in 10 ms at 10 Gbit/s");
        assert!((30..36).contains(&(packets / bursts)), "{packets} packets in {bursts} bursts");
    }

    #[test]
    fn a_long_path_gets_longer_bursts_at_the_same_rate() {
        let mut pacer = Pacer::new(1538);
        pacer.set_rate(Some(1_000_000_000), 250 * MICROSECOND);
        let sent = run(&mut pacer, SECOND / 10, 1_000, 1538) as f64;
        assert!((sent - 12.5e6).abs() < 125.0 * 750.0 + 2.0 * 1538.0, "{sent}");
        let (mut bursts, mut packets, mut open) = (0, 0, false);
        for now in (2 * SECOND..2 * SECOND + 100_000_000).step_by(1_000) {
            while let Pace::Now(_) = pacer.poll(now) {
                bursts += u64::from(!std::mem::replace(&mut open, true));
                pacer.on_sent(now, 1538);
                packets += 1;
            }
            open = false;
        }
        assert!((19..23).contains(&(packets / bursts)), "{packets} packets in {bursts} bursts");
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut pacer = Pacer::new(1538);
        for _ in 0..1000 {
            pacer.on_sent(5, 1538);
        }
        assert_eq!(pacer.poll(5), Pace::Now(64 * 1538));
    }
}
