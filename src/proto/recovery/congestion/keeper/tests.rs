//! A keeper and a link of a millisecond's grain: rate, queue, losses, round trip.

use std::collections::VecDeque;

use super::*;
use crate::base::time::MICROSECOND;
use crate::proto::recovery::congestion::tests::{ack, loss};
use crate::proto::recovery::congestion::{Totals, Why};
use crate::proto::recovery::rtt::Rtt;

const MSS: u64 = 1538;
const STEP_NS: Nanos = MILLISECOND;

struct World {
    keeper: Keeper,
    now: Nanos,
    next: u64,
    totals: Totals,
    link_bps: f64,
    /// Lost whatever the rate.
    loss: f64,
    base_ns: Nanos,
    /// Packets that wait, and may.
    queue: f64,
    queue_limit: f64,
    /// When which numbers were sent, and when the last one that was acknowledged was.
    sent_at: VecDeque<(u64, Nanos)>,
    head_ns: Nanos,
    /// How many packets were dropped before which number.
    dropped: VecDeque<(u64, f64)>,
    /// Parts of packets that are not whole yet.
    sent_part: f64,
    acked_part: f64,
    lost_part: f64,
    app_limited: bool,
    /// What there is to send, in bits per second.
    offered_bps: f64,
    notices: Vec<Notice>,
    lowest_bps: f64,
}

impl World {
    fn new(rate: &str, link_bps: f64) -> World {
        World::of(Keeper::configured(rate.parse().unwrap(), MSS), link_bps)
    }

    fn of(keeper: Keeper, link_bps: f64) -> World {
        World {
            keeper,
            now: SECOND,
            next: 0,
            totals: Totals::default(),
            link_bps,
            loss: 0.0,
            base_ns: 50 * MICROSECOND,
            queue: 0.0,
            queue_limit: 0.0,
            sent_at: VecDeque::new(),
            head_ns: SECOND,
            dropped: VecDeque::new(),
            sent_part: 0.0,
            acked_part: 0.0,
            lost_part: 0.0,
            app_limited: false,
            offered_bps: f64::INFINITY,
            notices: Vec::new(),
            lowest_bps: f64::INFINITY,
        }
    }

    fn run(&mut self, span_ns: Nanos) {
        for _ in 0..span_ns / STEP_NS {
            self.step();
        }
    }

    /// What was sent in the last millisecond queues, is dropped, or arrives and is acknowledged.
    fn step(&mut self) {
        self.now += STEP_NS;
        let packets_in = |bps: f64| bps * STEP_NS as f64 / 8e9 / MSS as f64;
        let rate = self.keeper.rate().bps() as f64;
        self.lowest_bps = self.lowest_bps.min(rate);
        self.sent_part += packets_in(rate.min(self.offered_bps));
        let sent = whole(&mut self.sent_part);
        self.next += sent;
        self.sent_at.push_back((self.next - 1, self.now));
        let waiting = self.queue + sent as f64;
        let carried = waiting.min(packets_in(self.link_bps));
        let dropped = (waiting - carried - self.queue_limit).max(0.0);
        self.queue = waiting - carried - dropped;
        // The end of the queue is dropped; that is told when its turn would have come.
        self.dropped.push_back((self.next, dropped));
        let head = self.next.saturating_sub(self.queue as u64);
        while let Some((_, dropped)) = self.dropped.pop_front_if(|(number, _)| *number <= head) {
            self.lost_part += dropped;
        }
        self.lost_part += carried * self.loss;
        self.acked_part += carried * (1.0 - self.loss);
        let (lost, acked) = (whole(&mut self.lost_part), whole(&mut self.acked_part));
        self.tell(acked, lost);
    }

    fn tell(&mut self, acked: u64, lost: u64) {
        self.totals.sent = self.next * MSS;
        self.totals.lost += lost * MSS;
        self.totals.delivered += acked * MSS;
        let largest = self.next.saturating_sub(1 + self.queue as u64);
        if lost > 0 {
            let sample = LossSample { now: self.now, lost_bytes: lost * MSS, ..loss(largest, self.next) };
            self.keeper.on_loss(&sample);
        }
        while self.sent_at.front().is_some_and(|(number, _)| *number <= largest) {
            self.head_ns = self.sent_at.pop_front().unwrap().1;
        }
        let rtt_ns = self.base_ns + self.now - self.head_ns;
        let mut rtt = Rtt::new(rtt_ns);
        rtt.on_sample(self.now, rtt_ns, 0);
        let mut sample = ack(acked * MSS, largest, self.next, u64::MAX / 2);
        (sample.now, sample.rtt, sample.rtt_sample_ns, sample.totals) = (self.now, &rtt, Some(rtt_ns), self.totals);
        sample.rate.is_app_limited = self.app_limited;
        sample.bytes_in_flight = (self.link_bps * self.base_ns as f64 / 8e9) as u64 + self.queue as u64 * MSS;
        self.keeper.on_ack(&sample);
        self.notices.extend(self.keeper.poll_notice());
    }

    fn gbps(&self) -> f64 {
        self.keeper.rate().bps() as f64 / 1e9
    }

    fn queue_ms(&self) -> f64 {
        self.queue * MSS as f64 * 8e3 / self.link_bps
    }

    /// A queue of so long at the link's rate.
    fn set_queue_limit(&mut self, ms: f64) {
        self.queue_limit = self.link_bps * ms / 8e3 / MSS as f64;
    }
}

/// Takes the whole packets out of a sum of parts.
fn whole(part: &mut f64) -> u64 {
    let whole = part.floor();
    *part -= whole;
    whole as u64
}

#[test]
fn a_rate_that_arrives_is_left_alone() {
    let mut world = World::new("1G", 1e9);
    world.run(100 * SECOND);
    assert_eq!((world.lowest_bps, world.notices.len()), (1e9, 0));
}

#[test]
fn losses_of_a_few_percent_are_looked_into_seldom_and_change_nothing() {
    let mut world = World::new("1G", 10e9);
    world.loss = 0.05;
    let mut slow = 0;
    for _ in 0..100_000 {
        world.step();
        slow += u32::from(world.gbps() < 0.999);
    }
    assert!(world.lowest_bps > 0.9e9 && slow < 1000, "below its rate for {slow} ms of 100 s");
    assert_eq!(world.notices, []);
}

#[test]
fn a_rate_twice_the_links_steps_down_and_hovers_below_the_link() {
    // Without a queue, and with one of 20 ms.
    for queue_ms in [0.0, 20.0] {
        let mut world = World::new("10G", 5e9);
        world.set_queue_limit(queue_ms);
        world.run(SECOND);
        assert!((4.8..=5.01).contains(&world.gbps()), "{}", world.gbps());
        let text = world.notices[0].to_string();
        assert!(text.contains("10.00 Gbit/s was not delivered: 5.00 Gbit/s arrived, 50% was lost"), "{text}");
        let (mut sum, mut longest) = (0.0, 0.0_f64);
        for _ in 0..60_000 {
            world.step();
            sum += world.gbps();
            longest = longest.max(world.queue_ms());
        }
        assert!((4.9..=5.0).contains(&(sum / 60_000.0)), "{} on average", sum / 60_000.0);
        assert!(longest < 8.0, "{longest} ms of queue");
        assert_eq!(world.notices.len(), 1);
    }
}

#[test]
fn a_mended_link_gets_its_rate_back() {
    let mut world = World::new("10G", 1e9);
    world.run(SECOND);
    assert!(world.gbps() < 1.01);
    world.link_bps = 20e9;
    world.run(4 * SECOND);
    assert_eq!(world.gbps(), 10.0);
    assert_eq!(world.notices.last().unwrap().why, Why::Recovered);
}

#[test]
fn losses_that_do_not_depend_on_the_rate_are_endured() {
    let mut world = World::new("1G", 10e9);
    world.loss = 0.3;
    world.run(SECOND);
    assert_eq!(world.gbps(), 1.0);
    assert!(matches!(world.notices[0].why, Why::LossIsNotOurs { lost_percent: 29..=30 }), "{:?}", world.notices);
    let mut slow = 0;
    for _ in 0..200_000 {
        world.step();
        slow += u32::from(world.gbps() < 0.99);
    }
    assert!(slow < 1000, "below its rate for {slow} ms of 200 s");
    assert_eq!(world.notices.len(), 1);
}

#[test]
fn a_narrow_and_dirty_link_is_found_for_what_it_is() {
    let mut world = World::new("10G", 4e9);
    world.loss = 0.25;
    world.run(20 * SECOND);
    assert!((2.9..4.3).contains(&world.gbps()), "{}", world.gbps());
}

#[test]
fn a_rate_a_little_too_high_is_seen_by_its_queue() {
    let mut world = World::new("1003mbit", 1e9);
    world.set_queue_limit(200.0);
    let mut longest = 0.0_f64;
    for _ in 0..60_000 {
        world.step();
        longest = longest.max(world.queue_ms());
    }
    assert!((4.0..8.0).contains(&longest), "{longest} ms");
    assert_eq!(world.notices, [], "less than 3% is not worth a word");
}

#[test]
fn who_has_little_to_send_learns_nothing_about_the_link() {
    let mut world = World::new("1gbit", 5e8);
    (world.app_limited, world.offered_bps) = (true, 2e7);
    for _ in 0..20 {
        // Others' traffic makes the round trip longer now and then.
        world.base_ns = 25 * MILLISECOND;
        world.run(150 * MILLISECOND);
        world.base_ns = 50 * MICROSECOND;
        world.run(150 * MILLISECOND);
    }
    assert!(world.gbps() == 1.0 && world.notices.is_empty(), "{} {:?}", world.gbps(), world.notices);
}

#[test]
fn an_application_that_fills_a_narrower_link_learns_its_rate() {
    let mut world = World::new("500mbit", 3e8);
    (world.app_limited, world.offered_bps) = (true, 3.1e8);
    world.set_queue_limit(50.0);
    world.run(5 * SECOND);
    assert!((0.28..0.31).contains(&world.gbps()), "{} {:?}", world.gbps(), world.notices);
}

#[test]
fn where_round_trips_wander_a_trial_is_no_longer_and_keeps_no_more_than_is_carried() {
    let mut world = measured("1G", 1e9);
    for _ in 0..40 {
        // Jitter: 20 ms more for a while, and then not.
        world.base_ns = 20 * MILLISECOND;
        world.run(100 * MILLISECOND);
        world.base_ns = 50 * MICROSECOND;
        world.run(100 * MILLISECOND);
        assert!(world.gbps() < 1.15, "{}", world.gbps());
    }
    world.link_bps = 0.5e9;
    world.set_queue_limit(100.0);
    world.run(5 * SECOND);
    assert!(world.gbps() < 0.6, "{} {:?}", world.gbps(), world.notices);
}

#[test]
fn a_longer_way_is_no_queue() {
    let mut world = World::new("1G", 2e9);
    world.run(SECOND);
    world.base_ns += 20 * MILLISECOND;
    world.run(SECOND);
    assert_eq!(world.gbps(), 1.0);
    world.lowest_bps = 1e9;
    world.run(20 * SECOND);
    assert_eq!((world.lowest_bps, world.notices.len()), (1e9, 0), "known for what it is");
}

/// A long flight, so that packets sent before a change arrive after it.
fn flying(rate: &str) -> World {
    let mut world = World::new(rate, 1e9);
    world.set_queue_limit(50.0);
    world.queue = 200.0;
    world
}

fn until_draining(world: &mut World) {
    while world.keeper.state_name() != "draining" {
        world.step();
        assert!(world.now < 10 * SECOND, "no queue found");
    }
}

#[test]
fn a_queue_that_is_gone_before_it_could_be_emptied_was_none() {
    for goes in [true, false] {
        let mut world = flying("1G");
        world.run(SECOND);
        world.base_ns += 10 * MILLISECOND;
        until_draining(&mut world);
        world.base_ns -= if goes { 10 * MILLISECOND } else { 0 };
        world.run(3 * MILLISECOND);
        let state = (world.keeper.state_name(), world.gbps());
        if goes {
            assert_eq!((state, world.notices.len()), (("holding", 1.0), 0));
        } else {
            assert!(state.0 == "draining" && state.1 < 0.8, "{state:?}");
        }
    }
}

#[test]
fn an_outage_while_a_queue_is_emptied_leaves_the_rate_that_was_to_follow() {
    let mut world = flying("1050mbit");
    until_draining(&mut world);
    assert!(world.gbps() < 0.8);
    world.keeper.on_outage();
    world.step();
    assert_eq!(world.keeper.state_name(), "holding");
    assert!((0.9..=1.0).contains(&world.gbps()), "{}", world.gbps());
}

#[test]
fn an_outage_says_nothing_about_the_rate() {
    let mut world = World::new("1G", 1e9);
    world.run(SECOND);
    for _ in 0..10 {
        // Packets leave and are lost, and then their losses are told at once.
        world.now += 300 * MILLISECOND;
        world.next += 10_000;
        world.keeper.on_loss(&LossSample { lost_bytes: 10_000 * MSS, ..loss(world.next - 1, world.next) });
        world.keeper.on_outage();
        world.run(SECOND / 2);
    }
    assert_eq!((world.lowest_bps, world.notices.len()), (1e9, 0));
}

fn measured(rate: &str, link_bps: f64) -> World {
    let mut start = ack(MSS, 10, 11, 0);
    start.now = SECOND;
    start.totals.sent = 11 * MSS;
    let mut world = World::of(Keeper::measured(rate.parse().unwrap(), MSS, &start), link_bps);
    world.next = 11;
    world.keeper.base_ns = None;
    world.set_queue_limit(50.0);
    world
}

#[test]
fn a_measured_rate_climbs_to_the_link_and_stays_a_little_below() {
    for rate in ["500mbit", "900mbit", "960mbit", "1G", "1100mbit"] {
        let mut world = measured(rate, 1e9);
        world.run(10 * SECOND);
        let (mut sum, mut longest) = (0.0, 0.0_f64);
        for _ in 0..20_000 {
            world.step();
            sum += world.gbps();
            longest = longest.max(world.queue_ms());
        }
        assert!((0.985..1.0).contains(&(sum / 20_000.0)), "{rate}: {} on average", sum / 20_000.0);
        assert!(longest < 8.0, "{rate}: {longest} ms of queue");
    }
}

#[test]
fn who_sends_less_than_the_rate_tries_no_higher_one() {
    let mut world = measured("500mbit", 1e9);
    world.app_limited = true;
    world.run(20 * SECOND);
    assert_eq!(world.gbps(), 0.4975);
}

#[test]
fn a_link_that_changes_is_followed_and_people_are_told() {
    let mut world = measured("1G", 1e9);
    world.run(3 * SECOND);
    world.link_bps = 0.5e9;
    // A trial of a higher rate is over by then.
    world.run(SECOND + 300 * MILLISECOND);
    assert!((0.48..0.5).contains(&world.gbps()), "{}", world.gbps());
    let text = world.notices.last().unwrap().to_string();
    assert!(text.contains("was not delivered: 500.0 Mbit/s arrived") && text.contains("ms stood before"), "{text}");
    world.link_bps = 2e9;
    world.run(3 * SECOND);
    assert!((1.9..2.1).contains(&world.gbps()), "{}", world.gbps());
    world.run(2 * SECOND);
    assert_eq!(world.notices.last().unwrap().why, Why::Wider);
}

/// Found by simulation: what is left of a rate after heavy losses was less each time, down to a packet in 72 s, from
/// which nothing led back up.
#[test]
fn a_rate_is_not_lost_to_nothing() {
    for (given, least_bps) in [("50mbit", 123_040), ("100kbit", 100_000)] {
        let mut keeper = Keeper::configured(given.parse().unwrap(), MSS);
        keeper.set_rate(&ack(MSS, 1, 2, 0), 1.0);
        assert_eq!(keeper.rate().bps(), least_bps, "of {given}");
    }
}
