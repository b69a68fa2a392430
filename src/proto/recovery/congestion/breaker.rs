//! The circuit breaker of `fixed`: finds that the rate does not arrive, steps down to what does, tries its way back.
//!
//! Loss alone proves nothing (a dirty fibre loses at any rate), so every step is checked: a step down that does not
//! lessen the loss is taken back, a step up that does not deliver more is taken back.

use super::{Notice, Totals, Why};
use crate::base::time::{MILLISECOND, SECOND};
use crate::base::{Nanos, Rate};

/// A window lasts this many round trips: the losses of one round trip's sending are told in the next.
const WINDOW_ROUND_TRIPS: u64 = 4;
/// And at least this long. Shorter: a window of a 50 µs link is a few bursts, and a preempted receiver looks like a
/// narrow link. Longer: a wrong rate stays for longer (three windows).
const WINDOW_MIN_NS: Nanos = 10 * MILLISECOND;
/// And at least this many packets, so that 20% is 25 of them and no accident.
const WINDOW_MIN_PACKETS: u64 = 128;
/// Bad windows in a row before the rate falls. Fewer: an outage of one round trip would do. More: a switch is hammered
/// for longer.
const BAD_WINDOWS: u32 = 3;
/// A window is bad when more than this share was lost … A rate 1.25 times what the link carries loses exactly this.
const BAD_LOSS: f64 = 0.2;
/// … and less than this share of what was tried arrived.
const BAD_DELIVERY: f64 = 0.8;
/// A step down has helped when the loss fell below this share of what it was.
const HELPED: f64 = 0.75;
/// After steps down that did not help, no further one for this long, doubled each time …
const IMMUNE_NS: Nanos = 10 * SECOND;
/// … so often at most (10 s to 640 s).
const IMMUNE_DOUBLINGS: u32 = 6;
/// Windows at a rate before a higher one is tried; doubled when the higher one was not delivered, up to the maximum.
/// Lower: a link that is really narrower loses 5% for a window each time. Higher: a mended link stays slow.
const WAIT_MIN_WINDOWS: u32 = 8;
const WAIT_MAX_WINDOWS: u32 = 256;
/// The first step up; doubled when it was delivered, up to the maximum.
const STEP_MIN: f64 = 0.05;
const STEP_MAX: f64 = 0.5;
/// Windows over which a step up is judged.
const PROBE_WINDOWS: u32 = 2;

/// The breaker of one connection.
#[derive(Debug)]
pub struct Breaker {
    configured: Rate,
    rate: Rate,
    mode: Mode,
    window: Option<(Nanos, Totals)>,
    /// Windows still to be let pass after a change of rate: what arrives in them was sent before it.
    settling: u32,
    bad: BadRun,
    immune_until: Nanos,
    immune_times: u32,
    notice: Option<Notice>,
}

/// Where the breaker stands.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    /// At the configured rate.
    Full,
    /// Just stepped down from a rate with this loss: did it help?
    Verifying { from: Rate, loss: f64, unhelped: u32 },
    /// Below the configured rate, gathering how much arrives there.
    Stepped { wait: u32, step: f64, mean: Mean },
    /// Tries a higher rate.
    Probing { from: Rate, wait: u32, step: f64, before_bps: f64, mean: Mean },
}

/// Bad windows in a row.
#[derive(Clone, Copy, Default, Debug)]
struct BadRun {
    windows: u32,
    best_bps: f64,
    loss: f64,
}

/// A mean in the making.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Mean {
    sum: f64,
    count: u32,
}

/// What one window saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent_bps: f64,
    delivered_bps: f64,
    loss: f64,
}

impl Breaker {
    /// Trusts `configured` until shown otherwise.
    pub fn new(configured: Rate) -> Breaker {
        Breaker {
            configured,
            rate: configured,
            mode: Mode::Full,
            window: None,
            settling: 0,
            bad: BadRun::default(),
            immune_until: 0,
            immune_times: 0,
            notice: None,
        }
    }

    /// The rate to send at.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The last change that people should hear of.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// Begins the window anew.
    pub fn forget_window(&mut self) {
        self.window = None;
        self.bad = BadRun::default();
    }

    /// Takes the totals as of now; closes the window when it is long enough.
    pub fn on_totals(&mut self, now: Nanos, totals: Totals, rtt_ns: Nanos, mss: u64) {
        let Some((began, before)) = self.window else {
            self.window = Some((now, totals));
            return;
        };
        let span = now.saturating_sub(began);
        let delivered = totals.delivered - before.delivered;
        // A loss found to be none may lower the total below where the window began.
        let lost = totals.lost.saturating_sub(before.lost);
        let told = delivered + lost;
        if span < (WINDOW_ROUND_TRIPS * rtt_ns).max(WINDOW_MIN_NS) || told < WINDOW_MIN_PACKETS * mss {
            return;
        }
        self.window = Some((now, totals));
        let bps = |bytes: u64| bytes as f64 * 8e9 / span as f64;
        let loss = lost as f64 / told as f64;
        let seen = Seen { sent_bps: bps(totals.sent - before.sent), delivered_bps: bps(delivered), loss };
        if self.settling > 0 {
            self.settling -= 1;
        } else {
            self.on_window(now, seen);
        }
    }

    fn on_window(&mut self, now: Nanos, seen: Seen) {
        let tried = seen.sent_bps.min(self.rate.bps() as f64);
        let bad = seen.loss > BAD_LOSS && seen.delivered_bps < BAD_DELIVERY * tried;
        if let Mode::Verifying { from, loss, unhelped } = self.mode {
            self.verify(now, seen, from, loss, unhelped);
            return;
        }
        if !bad || now < self.immune_until {
            self.bad = BadRun::default();
        } else {
            self.bad.windows += 1;
            self.bad.best_bps = self.bad.best_bps.max(seen.delivered_bps);
            self.bad.loss = seen.loss;
            if self.bad.windows >= BAD_WINDOWS {
                self.step_down();
                return;
            }
        }
        self.climb(seen);
    }

    /// Down to the best that arrived in the bad windows: the best, as an application that paused in one of them
    /// delivers less than the link carries.
    fn step_down(&mut self) {
        let bad = std::mem::take(&mut self.bad);
        let Some(delivered) = Rate::from_bps(bad.best_bps as u64) else { return };
        let from = self.rate;
        self.mode = Mode::Verifying { from, loss: bad.loss, unhelped: 0 };
        self.set_rate(delivered.min(from));
        let lost_percent = (bad.loss * 100.0) as u32;
        self.notice = Some(Notice { from, to: self.rate, why: Why::NotDelivered { delivered, lost_percent } });
    }

    fn verify(&mut self, now: Nanos, seen: Seen, from: Rate, loss: f64, unhelped: u32) {
        if seen.loss < HELPED * loss {
            self.immune_times = 0;
            self.mode = Mode::Stepped { wait: WAIT_MIN_WINDOWS, step: STEP_MIN, mean: Mean::default() };
            return;
        }
        if unhelped == 0 {
            self.mode = Mode::Verifying { from, loss, unhelped: 1 };
            return;
        }
        let why = Why::LossIsNotOurs { lost_percent: (seen.loss * 100.0) as u32 };
        self.notice = Some(Notice { from: self.rate, to: from, why });
        self.immune_until = now + (IMMUNE_NS << self.immune_times);
        self.immune_times = (self.immune_times + 1).min(IMMUNE_DOUBLINGS);
        self.set_rate(from);
        self.mode = match from == self.configured {
            true => Mode::Full,
            false => Mode::Stepped { wait: WAIT_MIN_WINDOWS, step: STEP_MIN, mean: Mean::default() },
        };
    }

    /// Below the configured rate: waits, tries more, keeps it where it arrives.
    fn climb(&mut self, seen: Seen) {
        match self.mode {
            Mode::Full | Mode::Verifying { .. } => {}
            Mode::Stepped { wait, step, mut mean } => {
                mean.add(seen.delivered_bps);
                self.mode = Mode::Stepped { wait, step, mean };
                // A sender that does not use its rate would learn nothing from a higher one.
                if mean.count >= wait && seen.sent_bps > 0.9 * self.rate.bps() as f64 {
                    self.mode =
                        Mode::Probing { from: self.rate, wait, step, before_bps: mean.get(), mean: Mean::default() };
                    let higher = self.rate.bps() as f64 * (1.0 + step);
                    self.set_rate(Rate::from_bps(higher as u64).unwrap_or(self.rate).min(self.configured));
                }
            }
            Mode::Probing { from, wait, step, before_bps, mut mean } => {
                mean.add(seen.delivered_bps);
                if mean.count < PROBE_WINDOWS {
                    self.mode = Mode::Probing { from, wait, step, before_bps, mean };
                    return;
                }
                let tried = self.rate.bps() as f64 / from.bps() as f64 - 1.0;
                if mean.get() >= before_bps * (1.0 + tried / 2.0) {
                    self.keep(from, step);
                } else {
                    let wait = (wait * 2).min(WAIT_MAX_WINDOWS);
                    self.mode = Mode::Stepped { wait, step: STEP_MIN, mean: Mean::default() };
                    self.set_rate(from);
                }
            }
        }
    }

    fn keep(&mut self, from: Rate, step: f64) {
        if self.rate == self.configured {
            self.mode = Mode::Full;
            self.notice = Some(Notice { from, to: self.rate, why: Why::Recovered });
        } else {
            // It arrived: try the next step without waiting long.
            self.mode = Mode::Stepped { wait: PROBE_WINDOWS, step: (step * 2.0).min(STEP_MAX), mean: Mean::default() };
        }
    }

    fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
        self.settling = 1;
        self.bad = BadRun::default();
    }
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn get(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1538;

    /// A link without a queue that carries `link_bps` and loses `loss` of the rest, for `windows` windows of 10 ms.
    struct World {
        breaker: Breaker,
        now: Nanos,
        totals: Totals,
        notices: Vec<Notice>,
    }

    impl World {
        fn new(rate: &str) -> World {
            let breaker = Breaker::new(rate.parse().unwrap());
            let mut world = World { breaker, now: 0, totals: Totals::default(), notices: Vec::new() };
            world.run(1, 1e12, 0.0);
            world
        }

        fn run(&mut self, windows: u32, link_bps: f64, loss: f64) {
            for _ in 0..windows {
                let sent = self.breaker.rate().bps() as f64;
                let delivered = sent.min(link_bps) * (1.0 - loss);
                self.now += WINDOW_MIN_NS;
                let bytes = |bps: f64| (bps / 800.0) as u64;
                self.totals.sent += bytes(sent);
                self.totals.delivered += bytes(delivered);
                self.totals.lost += bytes(sent - delivered);
                self.breaker.on_totals(self.now, self.totals, 50_000, MSS);
                self.notices.extend(self.breaker.poll_notice());
            }
        }

        fn gbps(&self) -> f64 {
            self.breaker.rate().bps() as f64 / 1e9
        }
    }

    #[test]
    fn loss_of_a_few_percent_changes_nothing() {
        let mut world = World::new("10G");
        world.run(1000, 10e9, 0.15);
        assert_eq!((world.gbps(), world.notices.len()), (10.0, 0));
    }

    #[test]
    fn a_rate_twice_the_link_steps_down_and_hovers_at_the_link() {
        let mut world = World::new("10G");
        world.run(4, 5e9, 0.0);
        assert!((4.9..=5.1).contains(&world.gbps()), "{}", world.gbps());
        let text = world.notices[0].to_string();
        assert!(text.contains("10.00 Gbit/s was not delivered: 5.00 Gbit/s arrived, 50% was lost"), "{text}");
        let mut above = 0;
        for _ in 0..2000 {
            world.run(1, 5e9, 0.0);
            assert!((4.9..=5.3).contains(&world.gbps()), "{}", world.gbps());
            above += u32::from(world.gbps() > 5.02);
        }
        assert!((6..200).contains(&above), "probes, but seldom: {above} of 2000 windows");
        assert_eq!(world.notices.len(), 1);
    }

    #[test]
    fn a_mended_link_gets_its_rate_back() {
        let mut world = World::new("10G");
        world.run(50, 1e9, 0.0);
        assert!(world.gbps() < 1.1);
        world.run(200, 20e9, 0.0);
        assert_eq!(world.gbps(), 10.0);
        assert_eq!(world.notices.last().unwrap().why, Why::Recovered);
    }

    #[test]
    fn loss_that_does_not_depend_on_the_rate_is_endured() {
        let mut world = World::new("1G");
        world.run(20, 10e9, 0.3);
        assert_eq!(world.gbps(), 1.0);
        assert!(matches!(world.notices[1].why, Why::LossIsNotOurs { lost_percent: 29..=30 }), "{:?}", world.notices);
        world.run(900, 10e9, 0.3);
        assert_eq!(world.notices.len(), 2, "immune for ten seconds");
        let mut slow = 0;
        for _ in 0..20_000 {
            world.run(1, 10e9, 0.3);
            slow += u32::from(world.gbps() < 0.99);
        }
        assert!(slow < 40, "slow in {slow} of 20000 windows");
    }

    #[test]
    fn a_narrow_and_dirty_link_is_found_for_what_it_is() {
        let mut world = World::new("10G");
        world.run(300, 4e9, 0.25);
        assert!((2.9..4.3).contains(&world.gbps()), "{}", world.gbps());
    }
}
