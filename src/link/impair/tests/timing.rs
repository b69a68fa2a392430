//! Rate, queue, delay, jitter and outages: to the nanosecond.

use super::*;

#[test]
fn a_perfect_link_is_one() {
    let mut link = link("");
    let delivery = passed(link.on_frame(5, FULL));
    assert_eq!((delivery.depart_ns, delivery.at_ns, delivery.queued_ns), (5, 5, 0));
    assert_eq!((delivery.late, delivery.corrupt_bit, delivery.copy_at_ns), (false, None, None));
    assert_eq!(link.queue_bytes(5), 0);
}

#[test]
fn a_frame_is_serialised_then_travels() {
    let mut link = link("rate=1gbit,delay=50ms");
    let delivery = passed(link.on_frame(1000, FULL));
    assert_eq!((delivery.depart_ns, delivery.queued_ns), (1000 + 12_304, 0));
    assert_eq!(delivery.at_ns, 1000 + 12_304 + 50 * MILLISECOND);
    let next = passed(link.on_frame(1001, 60));
    assert_eq!((next.depart_ns, next.queued_ns), (1000 + 12_304 + 672, 12_303));
    let short = passed(link.on_frame(SECOND, 14));
    assert_eq!((short.depart_ns, short.queued_ns), (SECOND + 672, 0), "padded, and the line was idle");
}

/// Keeps the queue from running dry up to `end`; each departure with the number of frames that have then left.
fn saturate(link: &mut Impairment, end: Nanos, mut see: impl FnMut(u64, Nanos)) {
    let (mut last, mut sent) = (0, 0);
    while last < end {
        last = passed(link.on_frame(last.saturating_sub(50 * MILLISECOND), FULL)).depart_ns;
        sent += 1;
        see(sent, last);
    }
}

/// At an odd rate each frame takes a fraction of a nanosecond, and none may be lost or gained.
#[test]
fn the_rate_is_exact_over_an_hour() {
    const RATE: u128 = 9_999_991;
    let mut link = link("rate=9999991bit,queue=100ms");
    saturate(&mut link, 3600 * SECOND, |sent, last| {
        let work = u128::from(sent) * 1538 * 8 * u128::from(SECOND);
        assert_eq!(u128::from(last), work.div_ceil(RATE), "frame {sent}");
    });
    assert_eq!(u128::from(link.counters().offered.frames), (3600 * RATE).div_ceil(1538 * 8));
}

#[test]
fn the_rate_is_exact_across_changes() {
    let rates: [(u128, u128); 3] = [(0, 9_999_991), (200_000_000_003, 3_333_337), (400_000_000_001, 50_000_017)];
    let mut link = link("rate=9999991bit,queue=500ms,rate@200000000003ns=3333337bit,rate@400000000001ns=50000017bit");
    saturate(&mut link, 600 * SECOND, |sent, last| {
        // What the rates allow up to `last` covers the frames, and up to a nanosecond before it does not.
        let allowed = |now: u128| -> u128 {
            let ends = rates.iter().skip(1).map(|change| change.0).chain([u128::MAX]);
            rates.iter().zip(ends).map(|((from, rate), to)| rate * now.min(to).saturating_sub(*from)).sum()
        };
        let work = u128::from(sent) * 1538 * 8 * u128::from(SECOND);
        assert!(allowed(last.into()) >= work && allowed(u128::from(last) - 1) < work, "frame {sent} at {last}");
    });
}

#[test]
fn a_change_of_rate_holds_for_the_frame_in_service() {
    // 12.304 µs at 1 Gbit/s; after 6 µs ten times slower.
    let mut link = link("rate=1gbit,rate@6us=100mbit");
    assert_eq!(passed(link.on_frame(0, FULL)).depart_ns, 6_000 + 63_040);
}

#[test]
fn the_queue_holds_its_bytes_and_no_more() {
    // Room for exactly four full frames, the one in service counted with what of it has still to go.
    let mut link = link("rate=1gbit,queue=6152");
    for index in 0..4 {
        assert_eq!(passed(link.on_frame(0, FULL)).queued_ns, index * 12_304);
    }
    assert_eq!(link.queue_bytes(0), 6152);
    assert_eq!(link.on_frame(0, FULL), Fate::Dropped(Cause::Queue));
    assert_eq!(link.on_frame(12_303, FULL), Fate::Dropped(Cause::Queue), "a nanosecond too early");
    let next = passed(link.on_frame(12_304, FULL));
    assert_eq!((next.queued_ns, next.depart_ns), (3 * 12_304, 5 * 12_304));
    assert_eq!(link.on_frame(12_304, 60), Fate::Dropped(Cause::Queue), "not even a short one");
    passed(link.on_frame(12_304 + 672, 60));
    assert_eq!(link.queue_bytes(12_304 + 672), 6152);
    assert_eq!(link.queue_bytes(12_304 + 672 + 1), 6152, "an eighth of a byte less is shown as a byte");
    assert_eq!(link.queue_bytes(SECOND), 0);
    assert_eq!(link.counters().queue, Tally { frames: 3, bytes: 2 * 1514 + 60 });
}

#[test]
fn overload_is_dropped_and_the_rest_leaves_at_the_rate() {
    // 1.25 times the rate for ten seconds.
    let mut link = link("rate=100mbit,queue=10ms");
    let fates = fates(&mut link, 101_594, 98_432);
    let counters = link.counters().clone();
    assert_eq!(fates.len() as u64, counters.passed.frames + counters.queue.frames);
    let passed = deliveries(&fates);
    let most = passed.iter().map(|delivery| delivery.queued_ns + 123_040).max();
    assert!(most.is_some_and(|most| (9_900_000..=10_000_000).contains(&most)), "{most:?} ns in a queue of 10 ms");
    let rate = passed.len() as f64 * 1538.0 * 8e9 / passed.last().map_or(0.0, |last| last.depart_ns as f64);
    assert!((99_999_000.0..=100_000_001.0).contains(&rate), "{rate} bit/s");
}

#[test]
fn a_queue_without_limit_drops_nothing() {
    let mut link = link("rate=1mbit,queue=unlimited");
    let fates = fates(&mut link, 100_000, 0);
    assert_eq!(deliveries(&fates).last().map(|last| last.depart_ns), Some(100_000 * 12_304_000));
}

#[test]
fn queues_come_in_bytes_times_and_products() {
    let bytes = |text: &str| text.parse::<Profile>().expect("possible").queue_bytes();
    assert_eq!(bytes("rate=1gbit,delay=50ms,queue=1bdp"), Some(12_500_000));
    assert_eq!(bytes("rate=1gbit,delay=50ms,queue=0.1bdp"), Some(1_250_000));
    assert_eq!(bytes("rate=1gbit,delay=50ms,rtt=20ms,queue=1bdp"), Some(2_500_000));
    assert_eq!(bytes("rate=1gbit,queue=20ms"), Some(2_500_000));
    assert_eq!(bytes("rate=1gbit,queue=12.5MB"), Some(12_500_000));
    assert_eq!(bytes("rate=1gbit,delay=50ms"), Some(12_500_000));
    assert_eq!(bytes("rate=1gbit,delay=50us"), Some(256 * 1538));
    assert_eq!(bytes("rate=1gbit,queue=unlimited"), None);
    assert_eq!(bytes("delay=50ms"), None);
}

#[test]
fn jitter_wanders_over_its_range_and_keeps_the_order() {
    let mut link = link("rate=1gbit,delay=10ms,jitter=2ms");
    let passed = deliveries(&fates(&mut link, 200_000, 12_304));
    let delays: Vec<u64> = passed.iter().map(|delivery| delivery.at_ns - delivery.depart_ns).collect();
    let (least, most) = (delays.iter().min().copied(), delays.iter().max().copied());
    assert!(least.is_some_and(|least| (10_000_000..10_200_000).contains(&least)), "{least:?}");
    assert!(most.is_some_and(|most| (11_800_000..=12_000_000).contains(&most)), "{most:?}");
    let mean = delays.iter().sum::<u64>() / delays.len() as u64;
    assert!((10_900_000..11_100_000).contains(&mean), "{mean}");
    for pair in passed.windows(2) {
        let gap = pair[1].at_ns - pair[0].at_ns;
        assert!((12_304 * 3 / 4 - 1..=12_304 * 5 / 4 + 1).contains(&gap), "{gap} ns from one to the next");
    }
}

#[test]
fn jitter_belongs_to_the_time_not_to_the_frames() {
    let jitter = |gap_ns: u64| {
        let mut link = link("jitter=3ms");
        let at = deliveries(&fates(&mut link, SECOND / gap_ns, gap_ns));
        at.into_iter().filter(|delivery| delivery.depart_ns % MILLISECOND == 0).collect::<Vec<_>>()
    };
    assert_eq!(jitter(MILLISECOND), jitter(10 * MICROSECOND));
}

#[test]
fn a_new_way_takes_its_own_delay() {
    let mut link = link("delay=100ms,delay@1s=10ms,delay@2s=50ms");
    let at = |link: &mut Impairment, now| passed(link.on_frame(now, FULL)).at_ns;
    assert_eq!(at(&mut link, SECOND - 1), SECOND - 1 + 100 * MILLISECOND);
    assert_eq!(at(&mut link, SECOND), SECOND + 10 * MILLISECOND, "overtakes");
    assert_eq!(at(&mut link, 2 * SECOND), 2 * SECOND + 50 * MILLISECOND);
    let mut link = self::link("rate=1gbit,delay=1ms,delay@5us=2ms");
    assert_eq!(at(&mut link, 0), 12_304 + 2 * MILLISECOND, "it leaves after the change");
}

#[test]
fn an_outage_begins_and_ends_to_the_nanosecond() {
    let mut link = link("delay=100ms,outage=20s+3s,outage=1s+1ms");
    let mut lost = |now| link.on_frame(now, FULL) == Fate::Dropped(Cause::Outage);
    assert!(!lost(SECOND - 1), "what is on its way arrives");
    assert!(lost(SECOND) && lost(SECOND + MILLISECOND - 1));
    assert!(!lost(SECOND + MILLISECOND) && !lost(20 * SECOND - 1));
    assert!(lost(20 * SECOND) && lost(23 * SECOND - 1));
    assert!(!lost(23 * SECOND));
    assert_eq!(link.counters().outage.frames, 4);
}

#[test]
fn an_outage_loses_what_would_be_put_on_the_wire_meanwhile() {
    // Ten frames at once: one leaves every 12.304 µs; the cable is out from 20 to 60 µs.
    let mut link = link("rate=1gbit,outage=20us+40us");
    let fates = fates(&mut link, 10, 0);
    let lost: Vec<usize> = (0..10).filter(|index| fates[*index] == Fate::Dropped(Cause::Outage)).collect();
    assert_eq!(lost, [1, 2, 3, 4], "1 is cut, 2 and 3 go nowhere, 4 began too early");
    assert_eq!(link.on_frame(59_999, FULL), Fate::Dropped(Cause::Outage));
    let next = passed(link.on_frame(60_000, FULL));
    assert_eq!(next.depart_ns, 11 * 12_304, "what came during the outage took no time");
    let mut link = self::link("rate=1gbit,outage=12304ns+1us");
    assert_eq!(passed(link.on_frame(0, FULL)).depart_ns, 12_304, "its last bit left in time");
}

#[test]
fn memory_for_what_is_in_flight() {
    let frames = |text: &str| text.parse::<Profile>().expect("possible").frames_in_flight(FULL);
    assert_eq!(frames("rate=1gbit,delay=150ms,queue=1bdp"), Some((37_500_000 + 18_750_000) / 1538 + 2));
    let more = frames("rate=1gbit,delay=100ms,jitter=20ms,reorder=1%/30ms,queue=1538,duplicate=1");
    assert_eq!(more, Some(((150 * 125_000 + 1538) / 1538 + 2) * 2));
    let changes = frames("rate=1mbit,rate@1s=1gbit,delay@2s=150ms,queue=100000");
    assert_eq!(changes, Some((18_750_000 + 100_000) / 1538 + 2));
    assert_eq!(frames("delay=1ms"), None);
    assert_eq!(frames("rate=1gbit,queue=unlimited"), None);
}

#[test]
fn no_more_is_in_flight_than_memory_was_asked_for() {
    let text = "rate=300mbit,delay=5ms,jitter=2ms,reorder=5%/3ms,queue=4ms,rate@500ms=1gbit,delay@1s=8ms";
    let most = text.parse::<Profile>().expect("possible").frames_in_flight(FULL).expect("a limit");
    let mut link = link(text);
    let passed: Vec<(Nanos, Delivery)> = (0..200_000_u64)
        .filter_map(|index| match link.on_frame(index * 10_000, FULL) {
            Fate::Passed(delivery) => Some((index * 10_000, delivery)),
            Fate::Dropped(_) => None,
        })
        .collect();
    let mut events: Vec<(Nanos, i64)> = passed.iter().map(|(came, _)| (*came, 1)).collect();
    events.extend(passed.iter().map(|(_, delivery)| (delivery.at_ns, -1)));
    events.sort_unstable();
    let peak = events
        .iter()
        .scan(0, |held, event| {
            *held += event.1;
            Some(*held)
        })
        .max()
        .unwrap_or(0) as u64;
    assert!(peak <= most && peak * 3 > most * 2, "{peak} of {most}");
}

#[test]
fn no_time_is_too_large() {
    let mut link = link("rate=1kbit,queue=unlimited,delay=1s,jitter=1s,outage=1s+1s,loss@5s=1%");
    for _ in 0..1000 {
        link.on_frame(0, u32::MAX as usize);
    }
    for now in [u64::MAX - 1, u64::MAX, u64::MAX] {
        link.on_frame(now, FULL);
    }
}
