//! The state machine by itself: acknowledgements as a path of known rate, round trip and loss would give them.

use std::collections::VecDeque;

use super::super::tests::ack_at;
use super::super::{AckSample, Controller, LossSample, Totals};
use super::*;
use crate::base::time::{MILLISECOND, SECOND};
use crate::proto::recovery::RateSample;

const MSS: u64 = 1538;
const RTT: Nanos = 20 * MILLISECOND;
const GBIT: u64 = 1_000_000_000;

/// What the path does with what is sent.
#[derive(Clone, Copy)]
struct Path {
    /// At most this arrives.
    bps: u64,
    rtt_ns: Nanos,
    /// Share lost by the link.
    loss: f64,
}

/// What was sent in one millisecond.
#[derive(Clone, Copy, Default)]
struct Chunk {
    sent_ns: Nanos,
    bytes: f64,
    /// Did not fit into the queue.
    dropped: f64,
    /// Delivered when it was sent, and the number of the packet after it.
    prior: u64,
    number: u64,
}

/// A controller and the path that answers it, in steps of a millisecond. What is sent too fast waits in the queue.
struct World {
    bbr: Bbr,
    path: Path,
    now: Nanos,
    totals: Totals,
    queue: VecDeque<Chunk>,
    /// Bytes that fit into the queue.
    room: f64,
    /// On the way, with the time when their acknowledgement arrives.
    acks: VecDeque<(Nanos, Chunk)>,
    number: u64,
    app_limited: bool,
}

impl World {
    fn new(path: Path) -> World {
        let mut rtt = Rtt::new(path.rtt_ns);
        rtt.on_sample(0, path.rtt_ns, 0);
        World {
            bbr: Bbr::new(MSS, 0, &rtt),
            path,
            now: SECOND,
            totals: Totals::default(),
            queue: VecDeque::new(),
            room: f64::INFINITY,
            acks: VecDeque::new(),
            number: 0,
            app_limited: false,
        }
    }

    /// One that has found its bandwidth and cruises.
    fn cruising(path: Path) -> World {
        let mut world = World::new(path);
        while world.bbr.due != Due::Usual || world.bbr.state_name() != "cruise" {
            assert!(world.now < 5 * SECOND, "{:?}", world.bbr);
            world.step();
        }
        world
    }

    fn step(&mut self) {
        self.now += MILLISECOND;
        self.send();
        self.serve();
        while self.acks.front().is_some_and(|ack| ack.0 <= self.now) {
            if let Some((_, chunk)) = self.acks.pop_front() {
                self.acknowledge(&chunk);
            }
        }
    }

    fn queued(&self) -> f64 {
        self.queue.iter().map(|chunk| chunk.bytes).sum()
    }

    fn in_flight(&self) -> f64 {
        self.queued() + self.acks.iter().map(|(_, chunk)| chunk.bytes + chunk.dropped).sum::<f64>()
    }

    fn send(&mut self) {
        let paced = self.bbr.pacing_bps.map_or(f64::INFINITY, |bps| bps as f64 / 8e3);
        let bytes = paced.min((self.bbr.cwnd as f64 - self.in_flight()).max(0.0));
        self.totals.sent += bytes as u64;
        self.number += bytes as u64 / MSS + 1;
        // What the bottleneck serves in this step never waits.
        let dropped = (self.queued() + bytes - self.room - self.path.bps as f64 / 8e3).clamp(0.0, bytes);
        let (prior, number) = (self.totals.delivered, self.number);
        self.queue.push_back(Chunk { sent_ns: self.now, bytes: bytes - dropped, dropped, prior, number });
    }

    fn serve(&mut self) {
        let mut left = self.path.bps as f64 / 8e3;
        let mut served = Chunk::default();
        while left > 0.0
            && let Some(chunk) = self.queue.front_mut()
        {
            let bytes = left.min(chunk.bytes);
            left -= bytes;
            chunk.bytes -= bytes;
            served = Chunk { bytes: served.bytes + bytes, dropped: served.dropped + chunk.dropped, ..*chunk };
            chunk.dropped = 0.0;
            if chunk.bytes > 0.0 {
                break;
            }
            self.queue.pop_front();
        }
        self.acks.push_back((self.now + self.path.rtt_ns, served));
    }

    fn acknowledge(&mut self, chunk: &Chunk) {
        let in_flight = self.in_flight() as u64;
        let Chunk { sent_ns, bytes, dropped, prior, number } = *chunk;
        let rtt_ns = self.now - sent_ns;
        let lost = (bytes * self.path.loss + dropped) as u64;
        if lost > 0 {
            self.totals.lost += lost;
            self.bbr.on_loss(&LossSample {
                now: self.now,
                lost_bytes: lost,
                largest_lost: number - 1,
                next_number: self.number,
                tx_in_flight_bytes: in_flight,
                lost_since_sent_bytes: lost * (rtt_ns / MILLISECOND),
            });
        }
        let acked = (bytes * (1.0 - self.path.loss)) as u64;
        if acked == 0 {
            return;
        }
        self.totals.delivered += acked;
        let rate = RateSample {
            rate_bps: (self.totals.delivered - prior) * 8_000_000_000 / rtt_ns,
            prior_delivered_bytes: prior,
            sent_ns,
            rtt_ns: Some(rtt_ns),
            is_app_limited: self.app_limited,
            ..RateSample::default()
        };
        self.bbr.on_ack(&AckSample {
            rtt_sample_ns: Some(rtt_ns),
            bytes_in_flight: in_flight,
            totals: self.totals,
            rate,
            ..ack_at(self.now, acked, number - 1, self.number, rtt_ns)
        });
    }

    fn run(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            self.step();
        }
    }

    /// Steps until it is in that state; how many it took.
    fn until(&mut self, state: &str, most: u64) -> u64 {
        for step in 0..most {
            if self.bbr.state_name() == state {
                return step;
            }
            self.step();
        }
        panic!("{state} was not reached in {most} ms: {:?}", self.bbr);
    }

    /// The states that it goes through in so many milliseconds.
    fn states(&mut self, steps: u64) -> Vec<&'static str> {
        let mut states = vec![self.bbr.state_name()];
        for _ in 0..steps {
            self.step();
            if states.last() != Some(&self.bbr.state_name()) {
                states.push(self.bbr.state_name());
            }
        }
        states
    }
}

fn gigabit() -> Path {
    Path { bps: GBIT, rtt_ns: RTT, loss: 0.0 }
}

fn is_near(bps: u64, expected: u64) -> bool {
    bps.abs_diff(expected) * 25 < expected
}

#[test]
fn startup_doubles_until_the_rate_stops_growing_then_drains_then_probes() {
    let mut world = World::new(gigabit());
    world.bbr.train = Train::new(0, 0);
    let states = world.states(600);
    assert_eq!(states[..6], ["startup", "drain", "down", "cruise", "refill", "up"], "{states:?}");
    assert!(is_near(world.bbr.bw_bps(), GBIT), "{:?}", world.bbr);
}

#[test]
fn a_cycle_is_refill_up_down_cruise_and_costs_no_bandwidth() {
    let mut world = World::cruising(gigabit());
    let delivered = world.totals.delivered;
    let states = world.states(3_500);
    assert_eq!(states[..5], ["cruise", "refill", "up", "down", "cruise"], "{states:?}");
    let share = (world.totals.delivered - delivered) as f64 / (3.5 * GBIT as f64 / 8.0);
    assert!(share > 0.99, "{share}");
}

#[test]
fn a_probe_goes_up_only_as_far_as_it_is_answered() {
    let mut world = World::cruising(gigabit());
    world.until("up", 5_000);
    let most = (0..60).map(|_| {
        world.step();
        world.queued() as u64
    });
    let (most, bdp) = (most.max().unwrap_or(0), GBIT / 8 / 50);
    assert!(most * 10 < bdp, "{most} bytes in the queue for a BDP of {bdp}");
}

#[test]
fn twice_the_rate_is_found_with_the_next_probe() {
    let mut world = World::cruising(gigabit());
    world.path.bps = 2 * GBIT;
    world.until("up", 5_000);
    world.run(20 * RTT);
    assert!(is_near(world.bbr.bw_bps(), 2 * GBIT), "{:?}", world.bbr);
}

#[test]
fn half_the_rate_is_believed_within_ten_round_trips() {
    let mut world = World::cruising(gigabit());
    world.path.bps = GBIT / 2;
    world.run(10 * RTT);
    assert!(is_near(world.bbr.bw_bps(), GBIT / 2), "{:?}", world.bbr);
    world.run(SECOND);
    assert!(world.queued() < (GBIT / 8 / 100) as f64, "{} bytes in the queue", world.queued());
}

#[test]
fn the_links_own_loss_is_made_good_for_and_lowers_nothing() {
    for loss in [0.01, 0.05] {
        let mut world = World::cruising(Path { loss, ..gigabit() });
        world.run(10 * SECOND);
        assert!((world.bbr.own_loss.share() - loss).abs() < 0.2 * loss, "{:?}", world.bbr.own_loss);
        assert_eq!(world.bbr.bounds.bw_lo, None, "at {loss}");
        assert!(is_near(world.bbr.bw_bps(), GBIT), "{loss}: {:?}", world.bbr);
    }
}

#[test]
fn a_policer_is_obeyed() {
    // No queue at all: what exceeds the rate is dropped.
    let mut world = World::cruising(gigabit());
    world.run(SECOND / 2);
    world.path.bps = GBIT / 2;
    world.room = 0.0;
    world.run(SECOND);
    assert!(world.bbr.bw_bps() < GBIT / 100 * 56, "{:?}", world.bbr);
    let (lost, sent) = (world.totals.lost, world.totals.sent);
    world.run(SECOND);
    let share = (world.totals.lost - lost) as f64 / (world.totals.sent - sent) as f64;
    assert!(share < 0.02, "{share} lost");
}

#[test]
fn nothing_to_send_leaves_the_model_alone() {
    let mut world = World::cruising(gigabit());
    let bw = world.bbr.bw_bps();
    world.app_limited = true;
    world.path.bps = GBIT / 10;
    world.room = 0.0;
    world.run(8 * SECOND);
    assert!(world.bbr.bw_bps() >= bw, "{:?}", world.bbr);
}

#[test]
fn a_restart_after_silence_is_at_the_bandwidth_and_no_reason_to_probe_the_round_trip() {
    let mut world = World::cruising(gigabit());
    world.until("up", 5_000);
    world.bbr.on_restart(world.now + 60 * SECOND);
    world.now += 60 * SECOND;
    world.acks.clear();
    world.queue.clear();
    assert_eq!((world.bbr.state_name(), world.bbr.pacing_bps), ("cruise", Some(world.bbr.bw_bps())));
    world.run(2 * RTT);
    assert_ne!(world.bbr.state_name(), "probe-rtt");
}

#[test]
fn a_longer_path_is_found_by_sending_little() {
    let mut world = World::cruising(gigabit());
    world.path.rtt_ns = 3 * RTT;
    let steps = world.until("probe-rtt", 12_000);
    assert!(steps < 11_000);
    assert!(world.bbr.cwnd < 2 * GBIT / 8 / 50, "half of a BDP: {}", world.bbr.cwnd);
    world.until("cruise", 2_000);
    assert!(world.bbr.min_rtt.ns() >= 3 * RTT, "{:?}", world.bbr.min_rtt);
}

#[test]
fn a_steady_path_needs_no_probe_rtt() {
    let mut world = World::cruising(gigabit());
    assert!(!world.states(60_000).contains(&"probe-rtt"));
}

#[test]
fn an_outage_begins_anew_and_remembers_what_was() {
    let mut world = World::cruising(gigabit());
    world.bbr.on_persistent_congestion();
    assert_eq!((world.bbr.state_name(), world.bbr.cwnd), ("startup", INITIAL_WINDOW_PACKETS * MSS));
    assert!(world.bbr.train.is_on());
    assert!(is_near(world.bbr.before_outage_bps, GBIT));
}

#[test]
fn a_false_loss_is_taken_back() {
    let mut world = World::cruising(gigabit());
    let now = world.now;
    world.bbr.believe(now, GBIT / 3);
    assert_eq!(world.bbr.bw_bps(), GBIT / 3);
    world.bbr.on_spurious();
    assert!(is_near(world.bbr.bw_bps(), GBIT));
    world.bbr.on_spurious();
    assert!(is_near(world.bbr.bw_bps(), GBIT), "once is enough");
}

#[test]
fn the_rate_never_falls_below_the_smallest_window() {
    let mut world = World::cruising(gigabit());
    let now = world.now;
    world.bbr.believe(now, 1);
    assert!(world.bbr.bw_bps() >= MIN_WINDOW_PACKETS * MSS * 8 * 50 * 9 / 10, "{}", world.bbr.bw_bps());
}
