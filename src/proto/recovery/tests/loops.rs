//! What the controllers make of a link.

use super::link::{Loop, Path};
use super::*;
use crate::base::time::SECOND;

const GBIT: u64 = 1_000_000_000;

fn fixed(bps: u64) -> Algorithm {
    Algorithm::Fixed(Rate::from_bps(bps).expect("not 0"))
}

#[test]
fn window_controllers_fill_a_clean_link() {
    for algorithm in [Algorithm::Reno, Algorithm::Cubic] {
        let mut world = Loop::new(algorithm, Path::new(GBIT / 5, 5 * MILLISECOND));
        world.run(SECOND);
        let share = world.run(2 * SECOND);
        assert!(share > 0.9, "{algorithm:?}: {share:.3} of the link, {:?}", world.sender);
    }
}

#[test]
fn cubic_leaves_slow_start_before_the_queue_overflows() {
    // The round that shows the queue and three conservative ones quadruple the window.
    let mut path = Path::new(GBIT, 10 * MILLISECOND);
    path.queue_bytes *= 4;
    let mut world = Loop::new(Algorithm::Cubic, path);
    let share = world.run(SECOND / 2);
    let stats = world.sender.stats();
    assert!(stats.ssthresh_bytes.is_some(), "{stats:?}");
    assert_eq!(stats.lost_packets, 0, "{share:.3} {stats:?}");
    assert!(share > 0.6, "{share:.3} {stats:?}");
}

#[test]
fn fixed_sends_its_rate_and_no_more() {
    let mut world = Loop::new(fixed(GBIT / 2), Path::new(GBIT, 10 * MILLISECOND));
    world.run(SECOND / 4);
    let share = world.run(SECOND / 2);
    assert!((0.498..0.502).contains(&share), "{share:.4} of the link for a rate of half of it");
    assert_eq!(world.sender.stats().lost_packets, 0);
}

#[test]
fn fixed_holds_its_rate_under_five_percent_loss() {
    let mut path = Path::new(GBIT, 20 * MILLISECOND);
    path.loss_ppm = 50_000;
    let mut world = Loop::new(fixed(GBIT / 1000 * 990), path);
    world.run(SECOND / 4);
    let share = world.run(SECOND / 2);
    let stats = world.sender.stats();
    assert!(share > 0.925, "{share:.3} of the link, 0.99 × 0.95 = 0.94 would be all: {stats:?}");
    assert!(stats.spurious_losses * 1000 <= stats.lost_packets, "{stats:?}");
    assert!(world.notices.is_empty(), "{:?}", world.notices);
}

#[test]
fn fixed_finds_the_link_when_the_rate_is_twice_too_high() {
    let mut world = Loop::new(fixed(GBIT), Path::new(GBIT / 2, 2 * MILLISECOND));
    world.run(SECOND / 2);
    assert!(matches!(world.notices[..], [Notice { why: Why::NotDelivered { .. }, .. }]), "{:?}", world.notices);
    let before = world.sender.stats();
    let share = world.run(SECOND);
    let after = world.sender.stats();
    let lost =
        (after.lost_packets - before.lost_packets) as f64 * 1538.0 / (after.sent_bytes - before.sent_bytes) as f64;
    assert!(share > 0.95, "{share:.3} of the link");
    assert!(lost < 0.03, "{lost:.3} lost after stepping down to {:?} bit/s", after.pacing_bps);
}

#[test]
fn all_come_back_after_three_seconds_of_outage() {
    for algorithm in [Algorithm::Reno, Algorithm::Cubic, fixed(GBIT / 10)] {
        let mut world = Loop::new(algorithm, Path::new(GBIT / 10, 5 * MILLISECOND));
        world.run(SECOND);
        world.outage = true;
        let share = world.run(3 * SECOND);
        assert!(share < 0.02, "only what was on its way arrived: {share:.4}");
        world.outage = false;
        world.run(400 * MILLISECOND);
        let share = world.run(SECOND);
        assert!(share > 0.8, "{algorithm:?}: {share:.3} of the link, {:?}", world.sender);
        assert!(world.notices.is_empty(), "{:?}", world.notices);
        if algorithm == Algorithm::Reno {
            assert_eq!(world.sender.stats().persistent_congestions, 1);
        }
    }
}

#[test]
fn pacing_does_not_throttle_a_link_of_fifty_microseconds() {
    for algorithm in [Algorithm::Cubic, Algorithm::Reno, fixed(10 * GBIT)] {
        for turn_ns in [5 * MICROSECOND, 40 * MICROSECOND] {
            let mut path = Path::new(10 * GBIT, 25 * MICROSECOND);
            path.queue_bytes = 256 * 1538;
            let mut world = Loop::new(algorithm, path);
            world.turn_ns = turn_ns;
            world.run(20 * MILLISECOND);
            let share = world.run(100 * MILLISECOND);
            assert!(share > 0.9, "{algorithm:?}, turns of {turn_ns} ns: {share:.3} of the link, {:?}", world.sender);
        }
    }
}

#[test]
fn lost_acks_cost_nothing() {
    let mut world = Loop::new(fixed(GBIT / 1000 * 990), Path::new(GBIT, 20 * MILLISECOND));
    world.back.loss_ppm = 500_000;
    world.run(SECOND / 4);
    let share = world.run(SECOND / 2);
    assert!(share > 0.985, "{share:.3} of the link with half of the ACKs lost");
    assert_eq!(world.sender.stats().lost_packets, 0);
}

#[test]
fn a_gap_in_the_acks_loses_no_packet_even_where_others_are_lost() {
    let mut path = Path::new(GBIT, 20 * MILLISECOND);
    path.loss_ppm = 10_000;
    let mut world = Loop::new(fixed(GBIT / 1000 * 990), path);
    world.run(SECOND / 4);
    let before = world.sender.stats();
    for _ in 0..10 {
        world.back.loss_ppm = 1_000_000;
        world.run(5 * MILLISECOND);
        world.back.loss_ppm = 0;
        world.run(40 * MILLISECOND);
    }
    let after = world.sender.stats();
    let lost = after.lost_packets - before.lost_packets;
    assert!(lost > 200, "{lost}");
    assert_eq!(after.spurious_losses, before.spurious_losses, "of {lost} losses");
}

#[test]
fn fixed_fills_ten_gigabits_over_a_hundred_milliseconds() {
    let mut path = Path::new(10 * GBIT, 50 * MILLISECOND);
    path.loss_ppm = 10_000;
    let mut world = Loop::new(fixed(10 * GBIT), path);
    world.turn_ns = 50 * MICROSECOND;
    world.run(SECOND / 5);
    let share = world.run(SECOND / 10);
    let stats = world.sender.stats();
    assert!(share > 0.98, "{share:.3} of the link, {stats:?}");
    assert!(stats.packets_in_flight > 80_000, "{stats:?}");
}

#[test]
fn reordering_is_learnt() {
    for algorithm in [Algorithm::Cubic, fixed(GBIT / 1000 * 480)] {
        let mut path = Path::new(GBIT / 2, 10 * MILLISECOND);
        path.jitter_ns = 4 * MILLISECOND;
        let mut world = Loop::new(algorithm, path);
        world.run(SECOND);
        let before = world.sender.stats();
        let share = world.run(SECOND);
        let after = world.sender.stats();
        let spurious = after.spurious_losses - before.spurious_losses;
        assert!(before.packet_threshold > 100, "{before:?}");
        assert!(spurious * 500 < after.sent_bytes / 1538, "{spurious} false losses in the second second");
        assert!(share > 0.9, "{algorithm:?}: {share:.3} of the link");
    }
}

#[test]
fn acks_are_few() {
    let mut world = Loop::new(fixed(5 * GBIT), Path::new(10 * GBIT, 25 * MICROSECOND));
    world.turn_ns = 2 * MICROSECOND;
    let share = world.run(50 * MILLISECOND);
    let packets = share * 10e9 / 8.0 / 1538.0 * 0.05;
    assert!(packets / world.acks as f64 > 30.0, "{packets:.0} packets, {} ACKs", world.acks);
}
