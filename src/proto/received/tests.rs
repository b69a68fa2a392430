//! When ACKs are due, what they cover, and that they are true.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::base::time::SECOND;

const NOW: Nanos = SECOND;

/// A receiver to which these packets have come at [`NOW`], all acknowledged.
fn after(numbers: std::ops::Range<u64>) -> Received {
    let mut received = Received::new(MAX_SPAN);
    for number in numbers {
        assert_eq!(received.on_packet(NOW, number, true), Seen::New);
        if received.is_due(NOW) {
            drain(&mut received);
        }
    }
    drain(&mut received);
    received
}

/// All ACKs that are wanted, as (largest, floor, first word, words).
fn drain(received: &mut Received) -> Vec<(u64, u64, u64, Vec<u64>)> {
    let mut acks = Vec::new();
    while let Some(ack) = received.poll_ack(NOW, MAX_ACK_WORDS) {
        let words = (0..ack.words.len()).map(|index| ack.words.get(index)).collect();
        acks.push((ack.largest, ack.floor, ack.first_word, words));
    }
    acks
}

#[test]
fn a_plain_ack_is_due_after_a_batch_a_delay_or_silence() {
    let mut received = after(0..1);
    assert_eq!(received.poll_timeout(), None);
    received.on_packet(NOW, 1, true);
    assert_eq!(received.poll_timeout(), Some(NOW + IDLE_NS));
    assert!(!received.is_due(NOW + IDLE_NS - 1) && received.is_due(NOW + IDLE_NS));
    received.on_packet(NOW + 40 * MICROSECOND, 2, true);
    received.on_packet(NOW + 80 * MICROSECOND, 3, true);
    assert_eq!(received.poll_timeout(), Some(NOW + ACK_DELAY_NS));
    for number in 4..=64 {
        assert!(!received.is_due(NOW + 80 * MICROSECOND));
        received.on_packet(NOW + 80 * MICROSECOND, number, true);
    }
    assert!(received.is_due(NOW + 80 * MICROSECOND), "64 packets");
}

#[test]
fn packets_that_ask_for_nothing_get_nothing() {
    let mut received = after(0..1);
    for number in 1..1000 {
        received.on_packet(NOW, number, false);
    }
    assert_eq!((received.poll_timeout(), drain(&mut received).len()), (None, 0));
}

#[test]
fn a_gap_or_a_probe_is_told_at_once() {
    let mut received = after(0..10);
    received.on_packet(NOW + SECOND, 11, true);
    assert!(received.is_due(NOW + SECOND));
    let acks = drain(&mut received);
    assert_eq!(acks, [(11, 10, 0, vec![0b1011_1111_1111])]);
    received.on_packet(NOW + 1000, 13, true);
    assert!(!received.is_due(NOW + 1000), "but not in every microsecond");
    assert!(received.is_due(NOW + GAP_SPACING_NS));
    received.on_urgent();
    assert!(received.is_due(NOW + 1000));
}

#[test]
fn each_ack_repeats_what_the_last_ones_told() {
    let mut received = after(0..64 * 40);
    assert_eq!(received.on_packet(NOW, 64 * 40 + 1, true), Seen::New);
    received.floor = 0; // as if a packet long ago were missing; raise_floor would otherwise spare the repetition
    received.bitmap.remove(0);
    let acks = drain(&mut received);
    let (_, floor, first, words) = &acks[0];
    assert_eq!(*floor, 0);
    assert!((REPEATS - 2..=REPEATS + 1).contains(&words.len()), "{} words", words.len());
    assert_eq!(first + words.len() as u64, 41);
}

#[test]
fn the_sweep_comes_round_to_everything_above_the_floor() {
    let mut received = after(1..2);
    let mut swept = BTreeSet::new();
    for number in 2..64 * 2000 {
        received.on_packet(NOW, number, true);
        if received.is_due(NOW) {
            for (_, floor, first, words) in drain(&mut received) {
                assert_eq!(floor, 0);
                if number > 64 * 500 {
                    swept.extend(first..first + words.len() as u64);
                }
            }
        }
    }
    let missing: Vec<u64> = (0..1990).filter(|word| !swept.contains(word)).collect();
    assert!(missing.is_empty(), "{missing:?} of 2000 words");
}

#[test]
fn news_that_exceed_an_ack_come_in_pieces_without_a_hole() {
    let mut received = after(0..10);
    received.on_packet(NOW, 64 * 400, true);
    let acks = drain(&mut received);
    let ranges: Vec<_> = acks.iter().map(|ack| (ack.2, ack.3.len())).collect();
    assert_eq!(ranges[0], (0, 176));
    assert_eq!(ranges[1], (176, 176));
    assert!(ranges[2].0 <= 352 && ranges[2].0 + ranges[2].1 as u64 == 401, "{ranges:?}");
    assert!(acks.iter().all(|ack| ack.0 == 64 * 400));
}

/// Two packets could cost 372 full ACKs each time.
#[test]
fn numbers_that_jump_do_not_cost_more_than_a_few_acks() {
    let mut received = after(0..10);
    let (mut number, mut acks) = (10, 0);
    for _ in 0..20 {
        // Far ahead, then the lowest one moves up and it may jump again.
        number += MAX_SPAN - 1000;
        assert_eq!(received.on_packet(NOW, number, true), Seen::New);
        acks += drain(&mut received).len();
        received.on_lowest(number);
    }
    assert!(acks <= 20 * 8, "{acks}");
    let mut acks = 0;
    for step in 0..20 {
        // Here and there, far below the highest.
        assert_eq!(received.on_packet(NOW, number + MAX_SPAN - 2000 + step, true), Seen::New);
        for place in [1000, MAX_SPAN / 2, MAX_SPAN - 20_000] {
            assert_eq!(received.on_packet(NOW, number + place + step * 7, true), Seen::New);
        }
        acks += drain(&mut received).len();
    }
    assert!(acks <= 20 * 9 + 2, "{acks}");
}

#[test]
fn what_comes_late_below_the_floor_is_new_and_told() {
    let mut received = after(0..5);
    received.on_lowest(20_000);
    received.on_packet(NOW, 20_000, true);
    drain(&mut received);
    assert_eq!(received.floor(), 20_001);
    assert_eq!(received.on_packet(NOW, 4_000, true), Seen::TooOld, "8192 numbers are remembered at first");
    assert_eq!(received.on_packet(NOW, 15_000, true), Seen::New);
    assert_eq!(received.on_packet(NOW, 15_000, true), Seen::Duplicate);
    assert_eq!(received.on_packet(NOW, 15_100, true), Seen::New);
    let acks = drain(&mut received);
    assert_eq!((acks[0].2, acks[0].3.clone()), (15_000 / 64, vec![1 << (15_000 % 64), 1 << (15_100 % 64)]));
}

#[test]
fn what_comes_late_alone_at_the_end_of_a_word_is_told() {
    let mut received = after(0..10);
    for number in 11..64 {
        received.on_packet(NOW, number, true);
    }
    received.on_lowest(64);
    drain(&mut received);
    assert_eq!(received.on_packet(NOW, 10, true), Seen::New);
    let acks = drain(&mut received);
    assert_eq!((acks[0].2, acks[0].3.clone()), (0, vec![u64::MAX]));
    assert_eq!(received.poll_timeout(), None);
}

#[test]
fn numbers_from_nowhere_cost_nothing() {
    let mut received = after(0..5);
    for number in [u64::MAX, u64::MAX / 2, MAX_SPAN + 5] {
        assert_eq!(received.on_packet(NOW, number, true), Seen::TooFar);
        received.on_lowest(number + u64::from(number < u64::MAX));
    }
    assert_eq!((received.bitmap.capacity(), received.floor()), (FIRST_WINDOW, 5));
    assert_eq!(received.on_packet(NOW, MAX_SPAN - 128, true), Seen::New);
    assert_eq!(received.bitmap.capacity(), MAX_SPAN);
}

#[test]
fn the_window_moves_for_ever_without_growing() {
    let mut received = Received::new(MAX_SPAN);
    for number in 0..300_000 {
        received.on_packet(NOW, number, true);
        if received.is_due(NOW) {
            drain(&mut received);
        }
    }
    assert_eq!((received.bitmap.capacity(), received.floor()), (FIRST_WINDOW, 300_000 / 64 * 64));
}

/// What may come to a receiver, from a peer that keeps no rule.
#[derive(Clone, Debug)]
enum Step {
    /// So many packets in a row, from so far above or below the highest on.
    Packets { from: i64, count: u64, eliciting: bool },
    /// Packets from nowhere.
    Far { number: u64 },
    /// The peer no longer waits for what lies below, so far above or below the highest.
    Lowest { from: i64 },
    /// Some of the ACKs that are wanted leave.
    Acks { most: usize, max_words: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let near = || prop_oneof![4 => -40..80_i64, 2 => -3_000..3_000_i64, 1 => -300_000..300_000_i64];
    prop_oneof![
        6 => (near(), 1..200_u64, prop::bool::weighted(0.8))
            .prop_map(|(from, count, eliciting)| Step::Packets { from, count, eliciting }),
        1 => any::<u64>().prop_map(|number| Step::Far { number }),
        2 => near().prop_map(|from| Step::Lowest { from }),
        4 => (0..20_usize, 0..177_usize).prop_map(|(most, max_words)| Step::Acks { most, max_words }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever it forgets, sweeps over and repeats: no bit is set for what has not come, and below the floor there is
    /// nothing but what has come or is no longer waited for.
    #[test]
    fn nothing_is_acknowledged_that_has_not_come(steps in prop::collection::vec(step(), 1..80)) {
        let (mut received, mut come, mut lowest) = (Received::new(MAX_SPAN), BTreeSet::new(), 0);
        let mut now = NOW;
        for step in steps {
            now += 10 * MICROSECOND;
            let end = received.largest().map_or(0, |largest| largest + 1);
            match step {
                Step::Packets { from, count, eliciting } => {
                    for number in (0..count).map(|index| end.saturating_add_signed(from) + index) {
                        let seen = received.on_packet(now, number, eliciting);
                        prop_assert!(seen != Seen::New || come.insert(number), "{number} is new twice");
                    }
                }
                Step::Far { number } => {
                    if received.on_packet(now, number, true) == Seen::New {
                        come.insert(number);
                    }
                }
                Step::Lowest { from } => {
                    lowest = lowest.max(end.saturating_add_signed(from));
                    received.on_lowest(end.saturating_add_signed(from));
                }
                Step::Acks { most, max_words } => {
                    for _ in 0..most {
                        let Some(ack) = received.poll_ack(now, max_words) else { break };
                        prop_assert_eq!(Some(&ack.largest), come.last());
                        for index in 0..ack.words.len() as u64 {
                            let (word, first) = (ack.words.get(index as usize), (ack.first_word + index) * 64);
                            let false_bit = (0..64).find(|bit| word >> bit & 1 == 1 && !come.contains(&(first + bit)));
                            prop_assert_eq!(false_bit, None, "of {:?}", ack);
                        }
                        let missing = (lowest..ack.floor).find(|number| !come.contains(number));
                        prop_assert_eq!(missing, None, "below the floor of {:?}", ack);
                    }
                }
            }
        }
    }
}
