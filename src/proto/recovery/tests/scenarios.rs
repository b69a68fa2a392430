//! Single packets: what is lost when, what is probed when, what is taken back.

use super::*;
use crate::base::time::SECOND;

const RTT: Nanos = MILLISECOND;

/// A Reno sender that knows its round trip and has sent `count` packets a microsecond apart from second 1 on.
fn sender(count: u64) -> (Recovery, Outcome) {
    let mut recovery = Recovery::new(&config(Algorithm::Reno));
    recovery.on_handshake_rtt(SECOND / 2, RTT);
    for index in 0..count {
        recovery.on_sent(SECOND + index * MICROSECOND, data(), true);
    }
    (recovery, Outcome::default())
}

fn acknowledge(recovery: &mut Recovery, now: Nanos, told: &[u64]) -> Outcome {
    let mut out = Outcome::default();
    recovery.on_ack(now, &Told::new(told, 0, 0).ack(), &mut out).expect("an honest ACK");
    out
}

#[test]
fn three_packets_behind_it_make_a_loss() {
    let (mut recovery, _) = sender(10);
    let out = acknowledge(&mut recovery, SECOND + RTT, &[1, 2]);
    assert_eq!((numbers(&out.acked), numbers(&out.lost)), (vec![1, 2], vec![]));
    let out = acknowledge(&mut recovery, SECOND + RTT, &[1, 2, 3]);
    assert_eq!((numbers(&out.acked), numbers(&out.lost)), (vec![3], vec![0]));
    assert_eq!(recovery.packets_in_flight(), 6);
    assert_eq!(recovery.lowest_in_flight(), 4);
    assert_eq!(recovery.bytes_in_flight(), 6 * 1538);
}

/// A peer that acknowledges all but the lowest packet, and no timer tells, makes the span long: up to what was lent.
#[test]
fn what_is_in_flight_spans_no_more_than_was_lent() {
    let mut recovery = Recovery::new(&RecoveryConfig { max_span: FIRST_SPAN, ..config(Algorithm::Reno) });
    recovery.on_handshake_rtt(SECOND / 2, 10 * SECOND);
    recovery.on_sent(SECOND, data(), true);
    // The words of these are never told, so that there is a hole in what is.
    (0..128).for_each(|_| _ = recovery.on_sent(SECOND, data(), false));
    let (mut budget, mut lent) = (SpanBudget::new(2 * FIRST_SPAN as usize / 8), 0);
    for step in 0..100_000 {
        if let Some(span) = recovery.full_span() {
            let more = budget.lend(span);
            recovery.widen_span(more);
            lent += more;
        }
        if recovery.poll_send(SECOND + step) != SendPermit::Blocked {
            let number = recovery.on_sent(SECOND + step, data(), true);
            let mut out = Outcome::default();
            // Only of this one, so that nobody knows about the others; and by a packet that tells no round trip.
            let largest = recovery.on_sent(SECOND + step, data(), false);
            let words = [1 << (number % 64), 0];
            let told = AckWords::Native(&words[..(largest / 64 - number / 64 + 1) as usize]);
            let ack = Ack { largest, delay_ns: 0, floor: 0, first_word: number / 64, words: told };
            recovery.on_ack(SECOND + step, &ack, &mut out).expect("as true as it may be");
        }
    }
    assert_eq!((lent, budget.free()), (FIRST_SPAN, FIRST_SPAN), "the next step is more than is left");
    let span = recovery.next_number() - recovery.lowest_in_flight();
    assert!((2 * FIRST_SPAN - 100..=2 * FIRST_SPAN).contains(&span), "{span}");
    assert!(recovery.memory_bytes() < 40 * 2 * FIRST_SPAN as usize);
    // What must leave does: the lowest one is given up for it.
    for _ in 0..1000 {
        recovery.on_sent(2 * SECOND, data(), true);
    }
    assert!(recovery.memory_bytes() < 40 * 2 * FIRST_SPAN as usize);
    let mut out = Outcome::default();
    recovery.on_timeout(2 * SECOND, &mut out);
    assert_eq!(numbers(&out.lost)[0], 0);
}

/// A number that was never sent has overtaken nobody: with it, it takes a packet number more.
#[test]
fn a_number_left_out_does_not_count_among_those_behind() {
    let decoys = Some(DecoyKey([5; 32]));
    let mut recovery = Recovery::new(&RecoveryConfig { decoys, ..config(Algorithm::Reno) });
    recovery.on_handshake_rtt(SECOND / 2, RTT);
    let mut sent: Vec<u64> = Vec::new();
    // Some packets, up to two behind the first number that is left out.
    while sent.windows(2).all(|pair| pair[1] == pair[0] + 1) {
        sent.push(recovery.on_sent(SECOND, data(), true));
        if sent.len().is_multiple_of(100) {
            let out = acknowledge(&mut recovery, SECOND + RTT, &sent);
            assert!(out.lost.is_empty());
        }
    }
    sent.extend([0; 3].map(|_| recovery.on_sent(SECOND, data(), true)));
    let (told, missing) = (sent.len() - 5, sent[sent.len() - 5]);
    let known: Vec<u64> = sent[..told].to_vec();
    acknowledge(&mut recovery, SECOND + RTT, &known);
    for behind in 1..=3 {
        let known = [&known[..], &sent[told + 1..told + 1 + behind]].concat();
        let out = acknowledge(&mut recovery, SECOND + RTT, &known);
        let lost = if behind == 3 { vec![missing] } else { vec![] };
        assert_eq!((numbers(&out.acked).len(), numbers(&out.lost)), (1, lost), "{behind} behind {missing}");
    }
    // It comes after all, and widens the threshold by no more than a packet that three others overtook.
    acknowledge(&mut recovery, SECOND + RTT, &sent);
    assert_eq!(recovery.stats().packet_threshold, 4);
}

#[test]
fn an_eighth_of_a_round_trip_behind_makes_a_loss() {
    let (mut recovery, mut out) = sender(2);
    let now = SECOND + RTT + MICROSECOND;
    assert!(acknowledge(&mut recovery, now, &[1]).lost.is_empty());
    let due = recovery.poll_timeout().expect("a timer for packet 0");
    assert_eq!(due, SECOND + RTT + RTT / 8);
    recovery.on_timeout(due - 1, &mut out);
    assert!(out.lost.is_empty() && !out.probe, "too early");
    recovery.on_timeout(due, &mut out);
    assert_eq!((numbers(&out.lost), out.probe), (vec![0], false));
    assert_eq!(recovery.poll_timeout(), None, "nothing is in flight");
}

#[test]
fn a_lost_tail_is_probed_and_found_without_touching_the_window() {
    let (mut recovery, mut out) = sender(5);
    let window = recovery.stats().cwnd_bytes;
    let last_sent = SECOND + 4 * MICROSECOND;
    let pto = recovery.probe_timeout_ns();
    assert_eq!(recovery.poll_timeout(), Some(last_sent + pto));
    recovery.on_timeout(last_sent + pto, &mut out);
    assert!(out.probe && out.lost.is_empty());
    assert_eq!(recovery.stats().cwnd_bytes, window);
    recovery.on_sent(last_sent + pto, SentPacket { len: 60, ..SentPacket::default() }, true);
    let next = recovery.poll_timeout().expect("a second probe");
    assert_eq!(next, last_sent + pto + 2 * pto, "backed off");
    let out = acknowledge(&mut recovery, last_sent + pto + RTT, &[5]);
    assert_eq!(numbers(&out.lost), [0, 1, 2, 3, 4]);
    assert_eq!(recovery.probes_unanswered(), 0);
}

#[test]
fn probes_come_at_least_four_times_a_second() {
    let (mut recovery, mut out) = sender(1);
    let mut now = SECOND;
    for _ in 0..100 {
        let due = recovery.poll_timeout().expect("a probe");
        assert!(due - now <= 250 * MILLISECOND, "{} ms", (due - now) / MILLISECOND);
        out.clear();
        recovery.on_timeout(due, &mut out);
        assert!(out.probe);
        recovery.on_sent(due, SentPacket::default(), true);
        now = due;
    }
}

#[test]
fn a_false_loss_is_taken_back_and_reordering_is_learnt() {
    let (mut recovery, _) = sender(40);
    let window = recovery.stats().cwnd_bytes;
    let out = acknowledge(&mut recovery, SECOND + RTT, &(1..11).collect::<Vec<_>>());
    assert_eq!(numbers(&out.lost), [0]);
    assert!(recovery.stats().cwnd_bytes < window);
    let out = acknowledge(&mut recovery, SECOND + RTT + 1000, &(0..12).collect::<Vec<_>>());
    assert_eq!((numbers(&out.spurious), numbers(&out.acked)), (vec![0], vec![11]));
    assert!(recovery.stats().cwnd_bytes >= window, "undone");
    assert_eq!(recovery.stats().packet_threshold, 11);
    let late: Vec<u64> = (0..12).chain(13..22).collect();
    let out = acknowledge(&mut recovery, SECOND + RTT + 2000, &late);
    assert!(out.lost.is_empty(), "nine behind it are no longer enough: {:?}", numbers(&out.lost));
}

#[test]
fn half_undone_is_not_undone() {
    let (mut recovery, _) = sender(40);
    let out = acknowledge(&mut recovery, SECOND + RTT, &(2..12).collect::<Vec<_>>());
    assert_eq!(numbers(&out.lost), [0, 1]);
    let window = recovery.stats().cwnd_bytes;
    acknowledge(&mut recovery, SECOND + RTT + 1000, &(1..12).collect::<Vec<_>>());
    assert_eq!(recovery.stats().cwnd_bytes, window, "packet 0 is lost in earnest");
}

#[test]
fn quiet_episodes_narrow_the_threshold_again() {
    let (mut recovery, _) = sender(12);
    acknowledge(&mut recovery, SECOND + RTT, &(1..11).collect::<Vec<_>>());
    acknowledge(&mut recovery, SECOND + RTT + 1000, &(0..12).collect::<Vec<_>>());
    assert_eq!(recovery.stats().packet_threshold, 11);
    for episode in 0..20 {
        let now = 2 * SECOND + episode * 10 * RTT;
        let first = recovery.next_number();
        for _ in 0..13 {
            recovery.on_sent(now, data(), true);
        }
        let told: Vec<u64> = (first + 1..first + 13).collect();
        let mut out = Outcome::default();
        recovery.on_ack(now + RTT, &Told::new(&told, first, first).ack(), &mut out).expect("honest");
        assert_eq!(numbers(&out.lost), [first]);
    }
    assert_eq!(recovery.stats().packet_threshold, 3);
}

#[test]
fn the_floor_acknowledges_but_does_not_revive() {
    let (mut recovery, _) = sender(100);
    let mut out = acknowledge(&mut recovery, SECOND + RTT, &[1, 2, 3, 4]);
    assert_eq!(numbers(&out.lost), [0]);
    out.clear();
    recovery.on_ack(SECOND + RTT, &Told::new(&[99], 64, 90).ack(), &mut out).expect("honest");
    assert_eq!(out.acked.len(), 85 + 1, "5..90 and 99");
    assert!(out.spurious.is_empty(), "packet 0 was given up, so the floor says nothing about it");
}

#[test]
fn news_that_only_the_floor_tells_are_news() {
    let (mut recovery, mut out) = sender(130);
    recovery.on_ack(SECOND + RTT, &Told::new(&[129], 128, 0).ack(), &mut out).expect("honest");
    recovery.on_timeout(recovery.poll_timeout().expect("a probe"), &mut out);
    assert_eq!((recovery.probes_unanswered(), recovery.stats().delivered_bytes), (1, 1538));
    recovery.on_ack(SECOND + 2 * RTT, &Told::new(&[129], 128, 100).ack(), &mut out).expect("honest");
    assert_eq!((recovery.probes_unanswered(), recovery.stats().delivered_bytes), (0, 101 * 1538));
}

#[test]
fn lies_are_refused_and_change_nothing() {
    let (mut recovery, mut out) = sender(10);
    let lies = [
        Told::new(&[10], 0, 0),
        Told::new(&[5], 0, 11),
        Told { first_word: 1, ..Told::new(&[5], 0, 0) },
        Told { largest: 5, ..Told::new(&[6], 0, 0) },
        Told { largest: u64::MAX, floor: u64::MAX, first_word: u64::MAX / 64, words: vec![!0], delay_ns: 0 },
        Told { words: vec![1, 1], ..Told::new(&[0], 0, 0) },
        Told { first_word: u64::MAX, words: vec![1], ..Told::new(&[0], 0, 0) },
    ];
    for lie in &lies {
        assert!(recovery.on_ack(SECOND + RTT, &lie.ack(), &mut out).is_err(), "{:?}", lie.ack());
        assert_eq!(recovery.packets_in_flight(), 10);
    }
    let error = recovery.on_ack(SECOND, &lies[0].ack(), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "ACK of packet 10, but the next to be sent is 10");
}

#[test]
fn packets_without_acknowledgement_are_not_missed() {
    let (mut recovery, _) = sender(1);
    for _ in 0..5 {
        recovery.on_sent(SECOND, SentPacket { len: 60, ..SentPacket::default() }, false);
    }
    recovery.on_sent(SECOND, data(), true);
    assert_eq!(recovery.packets_in_flight(), 2);
    let out = acknowledge(&mut recovery, SECOND + RTT, &[0, 6]);
    assert_eq!((numbers(&out.acked), out.lost.len()), (vec![0, 6], 0));
    assert_eq!(recovery.lowest_in_flight(), 7);
}

#[test]
fn nothing_for_three_timeouts_is_persistent_congestion() {
    let (mut recovery, mut out) = sender(60);
    acknowledge(&mut recovery, SECOND + RTT, &(0..30).collect::<Vec<_>>());
    let mut now = SECOND;
    for _ in 0..4 {
        now = recovery.poll_timeout().expect("a probe");
        recovery.on_timeout(now, &mut out);
        recovery.on_sent(now, SentPacket { flags: SentPacket::PROBE, ..data() }, true);
    }
    let out = acknowledge(&mut recovery, now + RTT, &[63]);
    assert!(out.persistent_congestion);
    assert_eq!(out.lost.len(), 33);
    assert_eq!(recovery.stats().cwnd_bytes, 4 * 1538);
    assert!(recovery.stats().ssthresh_bytes.expect("found") > 4 * 1538, "and slow start leads back");
}

#[test]
fn a_hole_left_by_lost_acks_waits_for_the_sweep() {
    let (mut recovery, mut out) = sender(640);
    // Everything has arrived, but the ACKs of the first 256 packets were lost.
    let recent: Vec<u64> = (256..640).collect();
    recovery.on_ack(SECOND + RTT, &Told::new(&recent, 256, 0).ack(), &mut out).expect("honest");
    assert_eq!((out.acked.len(), out.lost.len()), (384, 0), "not told is not missing");
    let swept: Vec<u64> = (0..256).collect();
    let sweep = Told { largest: 639, ..Told::new(&swept, 0, 0) };
    out.clear();
    recovery.on_ack(SECOND + RTT + 100_000, &sweep.ack(), &mut out).expect("honest");
    assert_eq!((out.acked.len(), out.lost.len()), (256, 0));
}

#[test]
fn a_hole_that_no_sweep_fills_is_not_waited_for_forever() {
    let (mut recovery, mut out) = sender(640);
    let recent: Vec<u64> = (256..640).collect();
    let told = Told::new(&recent, 256, 0);
    recovery.on_ack(SECOND + RTT, &told.ack(), &mut out).expect("honest");
    recovery.on_ack(SECOND + 20 * RTT, &told.ack(), &mut out).expect("honest");
    assert_eq!(out.lost.len(), 256);
}

#[test]
fn the_ring_gives_up_what_the_numbers_ran_away_from() {
    let (mut recovery, mut out) = sender(1);
    for _ in 0..MAX_SPAN - 64 {
        recovery.on_sent(SECOND, SentPacket { len: 60, ..SentPacket::default() }, false);
    }
    assert_eq!(recovery.poll_send(SECOND), SendPermit::Blocked, "data must not go further");
    for _ in 0..128 {
        recovery.on_sent(SECOND, SentPacket { len: 60, ..SentPacket::default() }, false);
    }
    assert_eq!(recovery.poll_timeout(), Some(0));
    recovery.on_timeout(SECOND, &mut out);
    assert_eq!(numbers(&out.lost), [0]);
    assert_eq!((recovery.packets_in_flight(), recovery.bytes_in_flight()), (0, 0));
}

/// The cost of an ACK is its words and what it acknowledges, whatever is in flight.
#[test]
fn cost_per_ack_does_not_grow_with_what_is_in_flight() {
    let mut costs = Vec::new();
    for in_flight in [1_000_u64, 30_000, 1_000_000] {
        let mut recovery = Recovery::new(&config(Algorithm::Fixed(Rate::from_bps(1 << 40).expect("not 0"))));
        for _ in 0..in_flight {
            recovery.on_sent(SECOND, data(), true);
        }
        let before = recovery.stats().words_examined;
        let mut out = Outcome::default();
        let acks = 1_000 / 64;
        for ack in 0..acks {
            // One packet of 64 is missing each time, so the floor stays behind.
            let told: Vec<u64> = (ack * 64 + 1..ack * 64 + 64).collect();
            out.clear();
            recovery.on_ack(SECOND + RTT, &Told::new(&told, ack * 64, 0).ack(), &mut out).expect("honest");
            assert_eq!((out.acked.len(), out.lost.len()), (63, 1));
        }
        costs.push((recovery.stats().words_examined - before) / acks);
    }
    assert!(costs[0] <= 8, "{costs:?} words per ACK");
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?} words per ACK");
}

#[test]
fn each_controller_bears_the_name_that_people_asked_for() {
    let rate = Rate::nearest(1e9);
    let all = [
        (Algorithm::Fixed(rate), "fixed"),
        (Algorithm::Auto, "auto"),
        (Algorithm::Bbr, "bbr"),
        (Algorithm::Cubic, "cubic"),
        (Algorithm::Reno, "reno"),
    ];
    for (algorithm, name) in all {
        assert_eq!(Recovery::new(&config(algorithm)).controller_name(), name);
    }
}

/// `auto` begins as `bbr` does; what the open has shown of the path is part of that.
#[test]
fn auto_knows_as_much_of_the_path_as_bbr_when_it_begins() {
    let begin = |algorithm| {
        let mut recovery = Recovery::new(&config(algorithm));
        let before = format!("{:?}", recovery.controller);
        recovery.on_handshake_rtt(SECOND, 50 * MICROSECOND);
        let after = format!("{:?}", recovery.controller);
        assert_ne!(before, after);
        after
    };
    let (auto, bbr) = (begin(Algorithm::Auto), begin(Algorithm::Bbr));
    assert!(auto.contains(&bbr), "{auto}\nhas not in it\n{bbr}");
}
