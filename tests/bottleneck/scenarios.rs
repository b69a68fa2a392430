//! What `bbr` must reach on links of the matrix, and what may happen to a flow, or to two.

use farwire::base::time::MILLISECOND;
use farwire::proto::recovery::Algorithm;

use super::world::{Source, World, seconds};

/// A flow of ten seconds over this link.
fn ten_seconds(link: &str) -> World {
    let mut world = World::new(Algorithm::Bbr, link);
    world.run(seconds(10.0));
    world
}

/// The aims: of the limit with start-up included; 90% of it in eight round trips; what is sent twice beyond what the
/// link loses is 2% at most.
fn reaches(share: f64, link: &str) {
    let world = ten_seconds(link);
    let (reached, rounds) = (world.share(0, 0, world.now), world.rounds_to_90(0));
    let (own, _, _) = world.losses();
    let excess = world.flows[0].twice() - own;
    let stats = world.flows[0].stats();
    assert!(reached >= share, "{link}: {reached:.3} of the limit, aim {share}: {stats:?}");
    assert!(rounds <= 8.0, "{link}: 90% after {rounds:.1} round trips");
    assert!(excess <= 0.02, "{link}: {excess:.3} sent twice beyond the losses");
}

#[test]
fn a_clean_link_of_a_hundred_milliseconds() {
    reaches(0.97, "rate=1gbit,delay=50ms,queue=1bdp");
}

#[test]
fn a_short_queue_and_one_percent_lost() {
    reaches(0.96, "rate=1gbit,delay=50ms,queue=0.1bdp,loss=1%");
}

#[test]
fn five_percent_lost() {
    reaches(0.93, "rate=1gbit,delay=50ms,queue=1bdp,loss=5%");
}

#[test]
fn bursts_of_loss() {
    reaches(0.93, "rate=1gbit,delay=10ms,queue=0.1bdp,burst=1%/20");
}

#[test]
fn two_hundred_milliseconds() {
    reaches(0.93, "rate=1gbit,delay=100ms,queue=1bdp,loss=0.1%");
}

#[test]
fn a_slow_link() {
    reaches(0.97, "rate=20mbit,delay=25ms,queue=1bdp,loss=1%");
}

#[test]
fn two_milliseconds() {
    let world = ten_seconds("rate=1gbit,delay=1ms,queue=1bdp,loss=0.1%");
    let share = world.share(0, 0, world.now);
    assert!(share > 0.98, "{share:.3}, {:?}", world.flows[0].stats());
}

#[test]
fn ten_gigabits() {
    let mut world = World::new(Algorithm::Bbr, "rate=10gbit,delay=10ms,queue=1bdp,loss=0.1%");
    world.run(seconds(1.0));
    let (share, rounds) = (world.share(0, seconds(0.5), world.now), world.rounds_to_90(0));
    assert!(share > 0.98 && rounds < 5.0, "{share:.3} {rounds:.1} {:?}", world.flows[0].stats());
}

#[test]
fn a_queue_of_forty_packets() {
    let mut world = World::new(Algorithm::Bbr, "rate=1gbit,delay=10ms,queue=60000");
    world.run(seconds(3.0));
    let share = world.share(0, seconds(1.0), world.now);
    assert!(share > 0.95, "{share:.3}, {:?}", world.flows[0].stats());
}

#[test]
fn a_wandering_delay_is_no_queue() {
    let mut world = World::new(Algorithm::Bbr, "rate=1gbit,delay=10ms,queue=1bdp,jitter=1ms,loss=1%");
    world.run(seconds(5.0));
    let share = world.share(0, 0, world.now);
    assert!(share > 0.95, "{share:.3}, {:?}", world.flows[0].stats());
}

#[test]
fn hosts_that_get_no_core_for_a_while_only_lose_that_time() {
    for loss in ["", ",loss=1%", ",loss=5%"] {
        let mut world = World::new(Algorithm::Bbr, &format!("rate=1gbit,delay=10ms,queue=1bdp{loss}"));
        world.stalls = Some((20 * MILLISECOND, 4 * MILLISECOND));
        world.run(seconds(3.0));
        let share = world.share(0, seconds(1.0), world.now);
        assert!(share > 0.7, "{share:.3} of 0.8 with{loss}: {:?}", world.flows[0].stats());
    }
}

#[test]
fn acks_in_lumps_and_lost_acks() {
    let mut lumps = World::new(Algorithm::Bbr, "rate=1gbit,delay=10ms,queue=1bdp");
    lumps.flows[0].ack_lumps_ns = 5 * MILLISECOND;
    let mut holes = World::new(Algorithm::Bbr, "rate=1gbit,delay=10ms,queue=1bdp");
    holes.set_back("delay=10ms,loss=50%");
    for world in [&mut lumps, &mut holes] {
        world.run(seconds(3.0));
        let share = world.share(0, seconds(1.0), world.now);
        assert!(share > 0.95, "{share:.3}, {:?}", world.flows[0].stats());
    }
}

#[test]
fn an_outage_of_three_seconds_is_over_when_it_is_over() {
    for queue in ["1bdp", "0.1bdp"] {
        let link = format!("rate=1gbit,delay=10ms,queue={queue},outage=2s+3s");
        let mut world = World::new(Algorithm::Bbr, &link);
        world.run(seconds(7.0));
        assert_eq!(world.flows[0].persistent, 1);
        let share = world.share(0, seconds(5.6), world.now);
        assert!(share > 0.95, "{share:.3} from 0.6 s after the outage on: {:?}", world.flows[0].stats());
    }
}

#[test]
fn half_the_rate_and_the_whole_again() {
    let mut world = World::new(Algorithm::Bbr, "rate=1gbit,delay=10ms,queue=0.1bdp,rate@2s=500mbit,rate@5s=1gbit");
    world.run(seconds(10.0));
    let half = world.share(0, seconds(3.0), seconds(5.0));
    let whole = world.share(0, seconds(9.0), seconds(10.0));
    let (_, dropped, _) = world.losses();
    assert!(half > 0.47, "{half:.3} of a half");
    assert!(whole > 0.97, "{whole:.3} four seconds later: {:?}", world.flows[0].stats());
    assert!(dropped < 0.03, "{dropped:.3} dropped until the half was believed");
}

#[test]
fn who_sends_little_for_long_can_send_much_at_once() {
    let mut world = World::new(Algorithm::Bbr, "rate=1gbit,delay=10ms,queue=1bdp");
    world.run(seconds(2.0));
    world.flows[0].source = Source::Paced(50_000_000);
    world.run(seconds(8.0));
    world.flows[0].source = Source::Bulk;
    world.run(seconds(0.5));
    let share = world.share(0, seconds(10.1), world.now);
    assert!(share > 0.95, "{share:.3}, {:?}", world.flows[0].stats());
}

#[test]
fn after_silence_it_goes_on_as_before() {
    let mut world = World::new(Algorithm::Bbr, "rate=1gbit,delay=10ms,queue=0.1bdp");
    world.flows[0].source = Source::Silent(seconds(2.0), seconds(17.0));
    world.run(seconds(18.0));
    let share = world.share(0, seconds(17.03), world.now);
    let (_, dropped, _) = world.losses();
    assert!(share > 0.95 && dropped < 0.01, "{share:.3}, {dropped:.4} dropped: {:?}", world.flows[0].stats());
}

/// Shares of two flows over a minute, the second of which comes two seconds later.
fn two(first: Algorithm, second: Algorithm, link: &str) -> (f64, f64) {
    let mut world = World::new(first, link);
    world.add(second, seconds(2.0));
    world.run(seconds(60.0));
    (world.share(0, seconds(20.0), world.now), world.share(1, seconds(20.0), world.now))
}

fn jain((a, b): (f64, f64)) -> f64 {
    (a + b) * (a + b) / (2.0 * (a * a + b * b))
}

#[test]
fn two_flows_share() {
    for link in ["rate=200mbit,delay=2ms,queue=3bdp", "rate=200mbit,delay=10ms,queue=1bdp"] {
        let shares = two(Algorithm::Bbr, Algorithm::Bbr, link);
        assert!(jain(shares) > 0.75 && shares.0 + shares.1 > 0.95, "{link}: {shares:.2?}");
    }
}

#[test]
fn beside_cubic_neither_starves() {
    for (first, second) in [(Algorithm::Bbr, Algorithm::Cubic), (Algorithm::Cubic, Algorithm::Bbr)] {
        let (a, b) = two(first, second, "rate=200mbit,delay=2ms,queue=3bdp");
        assert!(a > 0.15 && b > 0.15 && a + b > 0.95, "{first:?} {a:.2}, {second:?} {b:.2}");
    }
}
