//! The model against arithmetic and statistics.

mod text;
mod timing;
mod trouble;

use super::*;
use crate::base::Rate;
use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};

/// A full frame, which takes 1538 bytes on the wire: 12.304 µs at 1 Gbit/s.
const FULL: usize = 1514;

fn link(text: &str) -> Impairment {
    seeded(text, 1)
}

fn seeded(text: &str, seed: u64) -> Impairment {
    let profile: Profile = text.parse().expect("a profile that can be");
    Impairment::new(&profile, seed).expect("checked")
}

fn passed(fate: Fate) -> Delivery {
    match fate {
        Fate::Passed(delivery) => delivery,
        Fate::Dropped(cause) => panic!("dropped: {cause:?}"),
    }
}

/// The fates of `count` full frames, `gap_ns` apart from 0 on.
fn fates(link: &mut Impairment, count: u64, gap_ns: Nanos) -> Vec<Fate> {
    (0..count).map(|index| link.on_frame(index * gap_ns, FULL)).collect()
}

fn deliveries(fates: &[Fate]) -> Vec<Delivery> {
    let passed = |fate: &Fate| if let Fate::Passed(delivery) = fate { Some(*delivery) } else { None };
    fates.iter().filter_map(passed).collect()
}
