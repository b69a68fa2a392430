//! Profiles as text, and every refusal.

use proptest::prelude::*;

use super::*;
use crate::link::impair::profile::ProfileError;

fn read(text: &str) -> Profile {
    text.parse().unwrap_or_else(|error: ProfileError| panic!("{text}: {error}"))
}

#[test]
fn every_key_is_read() {
    let text = "rate=1gbit, delay=50ms,jitter=1ms,queue=12.5MB,rtt=80ms,loss=0.1%,burst=1%/20,reorder=1%/1ms-2ms,\
                duplicate=0.1%,corrupt=0.0001,outage=20s+3s,rate@40s=500mbit,loss@41s=2%,delay@42s=10ms";
    let rate = |bps| Rate::from_bps(bps).expect("not 0");
    let schedule = vec![
        Change { at_ns: 20 * SECOND, what: What::Outage { for_ns: 3 * SECOND } },
        Change { at_ns: 40 * SECOND, what: What::Rate(rate(500_000_000)) },
        Change { at_ns: 41 * SECOND, what: What::Loss(0.02) },
        Change { at_ns: 42 * SECOND, what: What::Delay(10 * MILLISECOND) },
    ];
    let expected = Profile {
        rate: Some(rate(1_000_000_000)),
        delay_ns: 50 * MILLISECOND,
        jitter_ns: MILLISECOND,
        queue: Queue::Bytes(12_500_000),
        rtt_ns: Some(80 * MILLISECOND),
        loss: 0.001,
        burst: Some(Burst { share: 0.01, mean_len: 20.0 }),
        reorder: Some(Reorder { share: 0.01, least_ns: MILLISECOND, most_ns: 2 * MILLISECOND }),
        duplicate: 0.001,
        corrupt: 0.0001,
        schedule,
    };
    assert_eq!(read(text), expected);
    let shown = "rate=1gbit,delay=50ms,jitter=1ms,queue=12500kB,rtt=80ms,loss=0.1%,burst=1%/20,reorder=1%/1ms-2ms,\
                 duplicate=0.1%,corrupt=0.01%,outage=20s+3s,rate@40s=500mbit,loss@41s=2%,delay@42s=10ms";
    assert_eq!(expected.to_string(), shown);
    assert_eq!(read("loss=0.009,corrupt=0.00001%").to_string(), "rate=unlimited,delay=0,loss=0.9%,corrupt=0.00001%");
    assert_eq!(Profile::default().to_string(), "rate=unlimited,delay=0");
    assert_eq!(read(""), Profile::default());
}

#[test]
fn one_profile_is_laid_over_another() {
    let both = read("rate=1gbit,delay=50ms,loss=1%,burst=1%/20,reorder=1%/2ms,outage=20s+3s,rtt=1s");
    let right =
        both.with("rate=10mbit,loss=0,burst=none,reorder=none,outage=none,outage=1s+1s,rtt=auto").expect("possible");
    assert_eq!(right, read("rate=10mbit,delay=50ms,outage=1s+1s"));
    let changes = read("rate=1gbit,rate@40s=500mbit,rate@50s=1gbit,outage=1s+1s,outage=5s+1s");
    let left = changes.with("rate@40000ms=1mbit,loss@50s=1%,outage=1s+2s").expect("possible");
    assert_eq!(left, read("rate=1gbit,rate@50s=1gbit,outage=5s+1s,rate@40s=1mbit,loss@50s=1%,outage=1s+2s"));
    assert_eq!(both.with("rate=unlimited").expect("possible").rate, None);
    assert_eq!(both.with("outage=30s+1s").expect("possible").outages().len(), 2);
}

/// Text, the key and value that the error names, and a word of what it says.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("rate", "rate", "", "has no value"),
    ("speed=1gbit", "speed", "1gbit", "there are rate, delay"),
    ("rate=0", "rate", "0", "is 0"),
    ("rate=fast", "rate", "fast", "plain number"),
    ("rate=11tbit", "rate", "11tbit", "10tbit is the most"),
    ("rate=99999999999tbit", "rate", "99999999999tbit", "10tbit is the most"),
    ("rate=1gbit,rate=2gbit", "rate", "2gbit", "given twice"),
    ("delay=50", "delay", "50", "no unit"),
    ("delay=-1ms", "delay", "-1ms", "no time"),
    ("delay=2h", "delay", "2h", "unknown unit"),
    ("delay=3600s", "delay", "3600s", "two minutes"),
    ("delay=NaNs", "delay", "NaNs", "no time"),
    ("jitter=121s", "jitter", "121s", "two minutes"),
    ("rtt=1000s", "rtt", "1000s", "two minutes"),
    ("queue=1MB", "queue", "1MB", "give one as well"),
    ("rate=1gbit,queue=1537", "queue", "1537", "holds no full frame"),
    ("rate=1gbit,queue=0", "queue", "0", "holds no full frame"),
    ("rate=1gbit,queue=1us", "queue", "1us", "holds no full frame"),
    ("rate=1gbit,queue=1bdp", "queue", "1bdp", "holds no full frame"),
    ("rate=1gbit,delay=1ms,queue=-1bdp", "queue", "-1bdp", "above 0"),
    ("rate=1gbit,delay=1ms,queue=NaNbdp", "queue", "NaNbdp", "above 0"),
    ("rate=1gbit,delay=1ms,queue=bdp", "queue", "bdp", "0.5bdp"),
    ("rate=1gbit,queue=200s", "queue", "200s", "two minutes"),
    ("rate=1gbit,queue=2TB", "queue", "2TB", "unlimited"),
    ("rate=1gbit,queue=long", "queue", "long", "plain number"),
    ("loss=1", "", "", ""),
    ("loss=5", "loss", "5", "between 0 and 1"),
    ("loss=101%", "loss", "101%", "between 0 and 1"),
    ("loss=-1%", "loss", "-1%", "between 0 and 1"),
    ("loss=NaN", "loss", "NaN", "between 0 and 1"),
    ("loss=some", "loss", "some", "no share"),
    ("duplicate=2", "duplicate", "2", "between 0 and 1"),
    ("corrupt=inf", "corrupt", "inf", "between 0 and 1"),
    ("burst=1%", "burst", "1%", "1%/20"),
    ("burst=1%/many", "burst", "1%/many", "1%/20"),
    ("burst=0/20", "burst", "0/20", "is neither"),
    ("burst=100%/20", "burst", "100%/20", "is neither"),
    ("burst=NaN/20", "burst", "NaN/20", "is neither"),
    ("burst=1%/0.5", "burst", "1%/0.5", "at least one frame"),
    ("burst=1%/NaN", "burst", "1%/NaN", "at least one frame"),
    ("burst=90%/2", "burst", "90%/2", "make them longer"),
    ("reorder=1%", "reorder", "1%", "1%/2ms"),
    ("reorder=1%/0", "reorder", "1%/0", "overtaken by nobody"),
    ("reorder=1%/5ms-1ms", "reorder", "1%/5ms-1ms", "the shorter time first"),
    ("reorder=1%/1ms-", "reorder", "1%/1ms-", "no time"),
    ("reorder=200%/1ms", "reorder", "200%/1ms", "between 0 and 1"),
    ("reorder=1%/130s", "reorder", "1%/130s", "two minutes"),
    ("outage=20s", "outage", "20s", "20s+3s"),
    ("outage=20s+0", "outage", "20s+0", "longer than nothing"),
    ("outage=20s+40000000s", "outage", "", "too long"),
    ("outage=20s+3000000s", "outage", "20s+3000000s", "30 days"),
    ("outage=20s+3s,outage=22s+1s", "outage", "22s+1s", "overlaps 20s+3s"),
    ("outage=3000000s+1s", "outage", "3000000s+1s", "later than 30 days"),
    ("rate@1s=1gbit", "rate@1s", "1gbit", "the one at the start"),
    ("rate=1gbit,rate@1s=0", "rate@1s", "0", "is 0"),
    ("rate=1gbit,rate@1s=20tbit", "rate@1s", "20tbit", "10tbit"),
    ("rate=1gbit,rate@1s=1mbit,rate@1000ms=2mbit", "rate@1000ms", "2mbit", "given twice"),
    ("loss@1000ms=7", "loss@1000ms", "7", "between 0 and 1"),
    ("delay@1s=500s", "delay@1s", "500s", "two minutes"),
    ("delay@soon=5ms", "delay@soon", "5ms", "no time"),
    ("delay@5=5ms", "delay@5", "5ms", "no unit"),
    ("queue@1s=1MB", "queue@1s", "1MB", "only rate, loss and delay"),
];

#[test]
fn what_cannot_be_is_refused_with_a_next_step() {
    for (text, key, value, why) in REFUSED {
        let result = text.parse::<Profile>();
        if key.is_empty() {
            assert!(result.is_ok(), "{text}");
            continue;
        }
        let error = result.expect_err(text);
        assert_eq!(error.key, *key, "{text}: {error}");
        assert!(value.is_empty() || error.value == *value, "{text}: {error}");
        assert!(error.why.contains(why), "{text}: {error}");
        assert!(error.to_string().starts_with(&format!("{key}=")), "{error}");
    }
}

#[test]
fn a_profile_made_by_hand_is_checked_as_well() {
    let bad = Profile { loss: f64::NAN, ..Profile::default() };
    assert_eq!(Impairment::new(&bad, 1).expect_err("NaN").key, "loss");
}

fn shares() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), (0_u32..=1000).prop_map(|promille| f64::from(promille) / 1000.0), 0.0..=1.0]
}

fn spans() -> impl Strategy<Value = Nanos> {
    prop_oneof![Just(0), 0..=120 * SECOND, (0_u64..=120_000).prop_map(|ms| ms * MILLISECOND)]
}

fn rates() -> impl Strategy<Value = Rate> {
    let bps = prop_oneof![1_000_000..=10_000_000_000_000_u64, (1_u64..=10_000).prop_map(|gbit| gbit * 1_000_000_000)];
    bps.prop_map(|bps| Rate::from_bps(bps).expect("not 0"))
}

fn queues() -> impl Strategy<Value = Queue> {
    prop_oneof![
        Just(Queue::Auto),
        Just(Queue::Unlimited),
        (1538..=1_000_000_000_000_u64).prop_map(Queue::Bytes),
        spans().prop_map(Queue::Time),
        (0.001..=1000.0).prop_map(Queue::Bdp),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let what = prop_oneof![
        (1..=SECOND).prop_map(|for_ns| What::Outage { for_ns }),
        rates().prop_map(What::Rate),
        shares().prop_map(What::Loss),
        spans().prop_map(What::Delay),
    ];
    prop::collection::vec((0..86_400 * SECOND, what).prop_map(|(at_ns, what)| Change { at_ns, what }), 0..8)
}

/// Profiles that can be.
fn profiles() -> impl Strategy<Value = Profile> {
    let burst = (0.001..=0.5, 1.0..=1000.0).prop_map(|(share, mean_len)| Burst { share, mean_len });
    let reorder =
        (shares(), 1..=SECOND, spans()).prop_map(|(share, least_ns, most_ns)| Reorder { share, least_ns, most_ns });
    let times = (spans(), spans(), prop::option::of(spans()));
    let dice = (shares(), prop::option::of(burst), prop::option::of(reorder), shares(), shares());
    let any = (prop::option::of(rates()), queues(), times, dice, changes()).prop_map(
        |(rate, queue, times, dice, schedule)| {
            let ((delay_ns, jitter_ns, rtt_ns), (loss, burst, reorder, duplicate, corrupt)) = (times, dice);
            Profile { rate, delay_ns, jitter_ns, queue, rtt_ns, loss, burst, reorder, duplicate, corrupt, schedule }
        },
    );
    any.prop_filter("can be", |profile| profile.check().is_ok())
}

proptest! {
    #[test]
    fn what_is_shown_is_read_as_the_same(profile in profiles()) {
        let text = profile.to_string();
        prop_assert_eq!(text.parse::<Profile>(), Ok(profile), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9@=+/%., -]{0,60}") {
        let _ = text.parse::<Profile>();
    }

    #[test]
    fn what_may_be_runs(profile in profiles(), gap in 0..SECOND) {
        let mut link = Impairment::new(&profile, 1).expect("checked");
        for index in 0..200 {
            let now = index * gap;
            if let Fate::Passed(delivery) = link.on_frame(now, FULL) {
                prop_assert!(delivery.at_ns >= delivery.depart_ns && delivery.depart_ns >= now);
            }
        }
        let _ = profile.frames_in_flight(FULL);
    }
}
