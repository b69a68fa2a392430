//! A link that is cut for a while, and later halves its rate.

use super::super::limit;
use super::super::plan::{HALF_AT, OUTAGE_AT, OUTAGE_FOR, OUTAGE_SPANS};
use super::super::record::{Flow, Record, Scene};
use super::super::results::Results;
use super::super::summary::Field;
use super::cells::{figure, marks};
use super::document::Block;
use super::figures::{legend, rates};
use super::scenes::summaries;
use super::together::between_bps;
use crate::machine::median;

/// How far a flow's clock and the emulator's may be apart: so much at each edge belongs to neither side.
const EDGE_S: f64 = 0.3;

/// What a run came to.
struct Phases {
    /// Goodput before the outage, after it, and after the rate has halved, of the limit at that time.
    shares: [f64; 3],
    /// From the link's return to 90 % of the limit.
    recovery_s: f64,
}

/// When the link is cut, comes back, halves its rate; in seconds of its clock.
fn times(run: &Record) -> [f64; 3] {
    let span_s = run.job.seconds / OUTAGE_SPANS;
    // To a tenth of a second, as far as binary fractions go.
    [OUTAGE_AT, OUTAGE_AT + OUTAGE_FOR, HALF_AT].map(|spans| (spans * span_s * 10.0).round() / 10.0)
}

impl Phases {
    /// `None` if nothing was measured.
    fn of(run: &Record) -> Option<Phases> {
        let flow = run.flows.first()?;
        let [cut, back, half] = times(run);
        let (start, end) = (flow.first_byte_s, flow.first_byte_s + flow.seconds);
        let limit_bps = limit::goodput_bps(&run.job.cell);
        let share = |from: f64, to: f64| between_bps(flow, from, to) / limit_bps;
        let after = flow.series.skip(back - start);
        Some(Phases {
            shares: [share(start, cut - EDGE_S), share(back, half - EDGE_S), share(half + EDGE_S, end) * 2.0],
            recovery_s: after.ms_to(0.9 * limit_bps).map_or(f64::INFINITY, |ms| ms / 1e3),
        })
    }
}

pub fn all(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Outage);
    let all = summaries(&field);
    let typical: Vec<Option<&Record>> = all.iter().map(|(_, summary)| summary.typical()).collect();
    let (Some(cell), Some(run)) = (field.cells.first(), typical.iter().flatten().next()) else { return Vec::new() };
    let rows = all.iter().map(|(name, summary)| {
        let each = |of: &dyn Fn(&Phases) -> f64| {
            median(summary.runs().iter().filter_map(|run| Phases::of(run)).map(|phases| of(&phases)))
        };
        let phase = |number: usize| figure(each(&|phases| phases.shares[number]), 3);
        let recovery = each(&|phases| phases.recovery_s);
        vec![
            format!("{name}{}", marks(summary)),
            figure(summary.goodput_bps() / 1e6, 1),
            phase(0),
            if recovery.is_infinite() { "never".to_owned() } else { figure(recovery, 1) },
            phase(1),
            phase(2),
            figure(summary.queue_ms(0.99), 1),
        ]
    });
    let rows = rows.collect();
    let [cut, back, half] = times(run);
    let note = format!(
        "{cell}. The link is cut from second {cut} to second {back}, and its rate halves in second {half}. Shares are \
         of what the limit is then; “back after” is counted from the link's return to the first three tenths of a \
         second in a row at 90 % of the limit, give or take a fifth of a second."
    );
    let head = ["contender", "Mbit/s", "before", "back after s", "after the outage", "after halving", "queue p99 ms"];
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    let flows: Vec<Option<&Flow>> = typical.iter().map(|run| run.as_ref()?.flows.first()).collect();
    let mut blocks = vec![
        Block::heading(2, "An outage, and half the rate"),
        Block::text(note),
        Block::table(&head, 1, rows),
        Block::Figures {
            heading: "The outage over time".to_owned(),
            legend: legend(&names),
            figures: vec![rates("Goodput over time", cell, &flows)],
        },
    ];
    let notices = flows.iter().flatten();
    let notices = notices.flat_map(|flow| flow.notices.iter().map(|notice| format!("{}: {notice}", flow.contender)));
    let notices: Vec<String> = notices.collect();
    if !notices.is_empty() {
        blocks.push(Block::text("What they had to say:"));
        blocks.push(Block::List(notices));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::super::super::record::tests::{job, record};
    use super::*;

    #[test]
    fn phases_are_cut_by_the_links_clock() {
        let mut run = record(job(Scene::Outage, 100.0, "0", "farwire-bbr", 1), 9e8);
        run.job.seconds = 60.0;
        let flow = &mut run.flows[0];
        (flow.first_byte_s, flow.seconds) = (0.5, 60.0);
        // Full until 20 s of the link's clock, nothing for 3.7 s, full until 40 s, then half.
        let bins = (0..600).map(|bin| match bin {
            195..232 => 0,
            395.. => 5_949_284,
            _ => 11_898_569,
        });
        flow.series.bytes = bins.collect();
        assert_eq!(times(&run), [20.0, 23.0, 40.0]);
        let phases = Phases::of(&run).unwrap();
        let rounded = phases.shares.map(|share| (share * 1e3).round() / 1e3);
        assert_eq!((rounded, phases.recovery_s), ([1.0, 0.958, 1.0], 0.7));
        run.flows[0].series.bytes.truncate(195);
        assert!(Phases::of(&run).unwrap().recovery_s.is_infinite());
        run.flows.clear();
        assert!(Phases::of(&run).is_none());
    }
}
