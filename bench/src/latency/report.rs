//! A line for each play, a table for all.

use farwire::obs::Percentiles;

use super::Play;
use crate::machine::{FOREIGN_MOST, median};

type Column = (&'static str, fn(&Percentiles) -> u64);

const COLUMNS: [Column; 6] = [
    ("min", |rtt| rtt.min),
    ("p50", |rtt| rtt.p50),
    ("p90", |rtt| rtt.p90),
    ("p99", |rtt| rtt.p99),
    ("p99.9", |rtt| rtt.p999),
    ("max", |rtt| rtt.max),
];

pub fn line(play: &Play) -> String {
    let mark = if play.disturbance.foreign_cores < FOREIGN_MOST { "" } else { "  DISTURBED" };
    let values = COLUMNS.map(|(name, value)| format!("{name} {:.1}", value(&play.rtt_ns) as f64 / 1e3));
    format!(
        "round {}  {:24} {} µs  others {:.2} cores{mark}",
        play.round,
        play.contender,
        values.join("  "),
        play.disturbance.foreign_cores
    )
}

pub fn table(contenders: &[&str], plays: &[Play]) {
    println!("Round trips in µs: medians of the rounds, but the largest of all for max.\n");
    println!("| contender | round trips | {} |", COLUMNS.map(|(name, _)| name).join(" | "));
    println!("| --- | ---: |{}", " ---: |".repeat(COLUMNS.len()));
    for contender in contenders {
        let own: Vec<&Play> = plays.iter().filter(|play| play.contender == *contender).collect();
        let cells = COLUMNS.map(|(name, value)| {
            let values = own.iter().map(|play| value(&play.rtt_ns) as f64 / 1e3);
            let cell = if name == "max" { values.fold(0.0, f64::max) } else { median(values) };
            format!("{cell:.1}")
        });
        let count: u64 = own.iter().map(|play| play.rtt_ns.count).sum();
        println!("| {contender} | {count} | {} |", cells.join(" | "));
    }
    let disturbed = plays.iter().filter(|play| play.disturbance.foreign_cores >= FOREIGN_MOST).count();
    println!("\n{disturbed} of {} plays were disturbed (others used {FOREIGN_MOST} cores or more)", plays.len());
}
