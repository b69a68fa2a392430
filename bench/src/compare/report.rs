//! A line for each run, a table for all.

use super::Run;
use super::contender::Contender;
use crate::machine::{FOREIGN_MOST, median};

pub fn line(run: &Run) -> String {
    let Run { contender, round, moved, disturbance, .. } = run;
    let mark = if run.is_fair() { "" } else { "  DISTURBED" };
    format!(
        "round {round}  {contender:24} {:6.2} Gbit/s  {:.2} CPU s/GB ({:.2} + {:.2})  \
         others {:.2} cores, load {:.1}{mark}",
        moved.goodput_bps / 1e9,
        run.cpu_seconds_per_gb(),
        moved.sender_cpu_seconds_per_gb,
        moved.receiver_cpu_seconds_per_gb,
        disturbance.foreign_cores,
        disturbance.load,
    )
}

/// Medians of the undisturbed runs; of all runs for a contender that has no other.
pub fn table(contenders: &[Contender], runs: &[Run]) {
    println!("CPU seconds per GB: both processes and ksoftirqd; of them the sender's and the receiver's process.\n");
    println!(
        "| contender | Gbit/s (min–max) | CPU s/GB | sender | receiver | of raw pump | of tcp bbr, MTU frames | \
         of --insecure |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for contender in contenders {
        let own = fair(runs.iter().filter(|run| run.contender == contender.name()).collect());
        let goodput = |run: &&Run| run.moved.goodput_bps / 1e9;
        let (low, high) = own.iter().map(goodput).fold((f64::MAX, 0.0f64), |(low, high), x| (low.min(x), high.max(x)));
        let sender = |run: &&Run| run.moved.sender_cpu_seconds_per_gb;
        let receiver = |run: &&Run| run.moved.receiver_cpu_seconds_per_gb;
        println!(
            "| {} | {:.2} ({low:.2}–{high:.2}) | {:.2} | {:.2} | {:.2} | {} | {} | {} |",
            contender.name(),
            median(own.iter().map(goodput)),
            median(own.iter().map(|run| run.cpu_seconds_per_gb())),
            median(own.iter().map(sender)),
            median(own.iter().map(receiver)),
            ratio(&own, runs, "raw pump"),
            ratio(&own, runs, "tcp bbr, MTU frames"),
            ratio(&own, runs, "farwire --insecure"),
        );
    }
    let disturbed = runs.iter().filter(|run| !run.is_fair()).count();
    println!("\n{disturbed} of {} runs were disturbed (others used {FOREIGN_MOST} cores or more)", runs.len());
}

fn fair(runs: Vec<&Run>) -> Vec<&Run> {
    let fair: Vec<&Run> = runs.iter().copied().filter(|run| run.is_fair()).collect();
    if fair.is_empty() { runs } else { fair }
}

/// The median of the rounds' ratios to another contender.
fn ratio(own: &[&Run], runs: &[Run], to: &str) -> String {
    let pairs = own.iter().filter_map(|run| {
        let same_round = |other: &&Run| other.contender == to && other.round == run.round;
        let other = runs.iter().find(|other| same_round(other) && other.is_fair())?;
        Some(run.moved.goodput_bps / other.moved.goodput_bps)
    });
    let ratio = median(pairs);
    if ratio.is_nan() { "–".to_owned() } else { format!("{ratio:.2}") }
}
