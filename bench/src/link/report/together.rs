//! Two flows on one link: the first alone, then both.

use super::super::figures::jain;
use super::super::limit;
use super::super::record::{Flow, Record, Scene};
use super::super::results::Results;
use super::super::summary::Field;
use super::cells::{figure, marks};
use super::document::Block;
use super::figures::{legend, rates};
use super::scenes::summaries;
use crate::machine::median;

pub fn all(results: &Results) -> Vec<Block> {
    let mut blocks = scene(results, Scene::Share, "Two farwire flows share the link");
    blocks.extend(scene(results, Scene::Beside, "farwire joins a flow of TCP"));
    blocks
}

/// What a pair came to, in bits per second: the first alone, both from the second's first byte on, both in the last
/// third of the scene.
struct Shares {
    alone: f64,
    together: [f64; 2],
    last: [f64; 2],
}

impl Shares {
    fn of(run: &Record) -> Option<Shares> {
        let [first, second] = &run.flows[..] else { return None };
        let end = (first.first_byte_s + first.seconds).min(second.first_byte_s + second.seconds);
        let both = |from: f64| [first, second].map(|flow| between_bps(flow, from, end));
        Some(Shares {
            alone: between_bps(first, first.first_byte_s, second.first_byte_s),
            together: both(second.first_byte_s),
            last: both(end - run.job.joins_s()),
        })
    }
}

/// Goodput between two moments of the link's clock.
pub fn between_bps(flow: &Flow, from_s: f64, to_s: f64) -> f64 {
    let until = |moment: f64| flow.series.bytes_in((moment - flow.first_byte_s).max(0.0));
    (until(to_s) - until(from_s)) * 8.0 / (to_s - from_s)
}

fn scene(results: &Results, scene: Scene, heading: &str) -> Vec<Block> {
    let field = Field::of(results, scene);
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for (name, summary) in summaries(&field) {
        let each = |of: &dyn Fn(&Shares) -> f64| {
            median(summary.runs().iter().filter_map(|run| Shares::of(run)).map(|shares| of(&shares)))
        };
        let mbit = |of: &dyn Fn(&Shares) -> f64| figure(each(of) / 1e6, 1);
        rows.push(vec![
            format!("{name}{}", marks(&summary)),
            summary.cell.to_string(),
            mbit(&|shares| shares.alone),
            mbit(&|shares| shares.together[0]),
            mbit(&|shares| shares.together[1]),
            figure(each(&|shares| jain(&shares.together)), 3),
            mbit(&|shares| shares.last[0]),
            mbit(&|shares| shares.last[1]),
            figure(each(&|shares| jain(&shares.last)), 3),
            figure(each(&|shares| shares.last.iter().sum::<f64>()) / limit::goodput_bps(&summary.cell), 3),
            figure(summary.queue_ms(0.99), 1),
        ]);
        if let Some(run) = summary.typical() {
            let flows: Vec<Option<&Flow>> = run.flows.iter().map(Some).collect();
            figures.push(rates(&name, &summary.cell, &flows));
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let head = [
        "first + second",
        "link",
        "first alone, Mbit/s",
        "together: first",
        "second",
        "Jain",
        "last third: first",
        "second",
        "Jain",
        "both, of limit",
        "queue p99 ms",
    ];
    let note = "The second joins when a third of the scene is over. Jain's index is 1 where both have the same and 0.5 \
                where one has all. No clock is shared by their receivers: a fifth of a second is uncertain.";
    let legend = legend(&["the first".to_owned(), "the second".to_owned()]);
    vec![
        Block::heading(2, heading),
        Block::text(note),
        Block::table(&head, 2, rows),
        Block::Figures { heading: format!("{heading}: over time"), legend, figures },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::record::tests::{job, record};
    use super::*;

    #[test]
    fn spans_are_cut_by_the_links_clock() {
        let mut run = record(job(Scene::Share, 20.0, "0", "farwire-bbr", 1), 8e8);
        run.job.seconds = 3.0;
        // 800 Mbit/s, and half of that from 1.5 s on; the second gets as much, and ends a little earlier.
        let bins = |full: usize, half: usize| [vec![10_000_000; full], vec![5_000_000; half]].concat();
        run.flows[0].series.bytes = bins(10, 20);
        (run.flows[0].first_byte_s, run.flows[0].seconds) = (0.5, 3.0);
        let mut second = run.flows[0].clone();
        second.series.bytes = bins(0, 18);
        (second.first_byte_s, second.seconds) = (1.5, 1.8);
        run.flows.push(second);
        let shares = Shares::of(&run).unwrap();
        let mbit = |bps: f64| (bps / 1e6).round();
        assert_eq!(
            (mbit(shares.alone), shares.together.map(mbit), shares.last.map(mbit)),
            (800.0, [400.0; 2], [400.0; 2])
        );
        run.flows.pop();
        assert!(Shares::of(&run).is_none());
    }
}
