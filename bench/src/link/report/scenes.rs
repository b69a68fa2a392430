//! The scenes beside the matrix that are no flows: small files, and the idle link; and farwire's own round trips.

use super::super::aims::percent;
use super::super::cell::Cell;
use super::super::record::{Record, Scene, at_quantile};
use super::super::results::Results;
use super::super::summary::{Field, Summary};
use super::cells::{figure, marks};
use super::document::Block;
use super::figures::legend;
use super::plot::{Line, Plot, colour};
use crate::machine::median;

pub fn all(results: &Results) -> Vec<Block> {
    let mut blocks = cost(results);
    blocks.extend(tree(results));
    blocks.extend(ping(results));
    blocks
}

/// The contenders of a scene's cells, one by one.
pub fn summaries<'a>(field: &Field<'a>) -> Vec<(String, Summary<'a>)> {
    let all = field.cells.iter().flat_map(|cell| field.names.iter().map(move |name| (cell, name)));
    all.filter_map(|(cell, name)| Some((name.clone(), field.summary(cell, name)?))).collect()
}

/// What a byte costs, by the programs' own account and by the machine's.
fn cost(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Cost);
    let rows = summaries(&field).into_iter().map(|(name, summary)| {
        let [sender, receiver, machine, emulator] = summary.cpu_per_gb();
        let taken = summary.taken_cpu_per_gb();
        vec![
            summary.cell.to_string(),
            format!("{name}{}", marks(&summary)),
            figure(summary.goodput_bps() / 1e6, 1),
            format!("{} + {}", figure(sender, 2), figure(receiver, 2)),
            figure(emulator, 2),
            figure(taken - machine - emulator, 2),
            figure(taken, 2),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let note = "CPU seconds per GB of payload. “Taken”: what the whole machine spent, measured by what was left to \
                threads of idle priority, the emulator (the same work for everybody) included. “Charged to nobody”: \
                what of it appears in no program's time. The kernel charges a tick to whoever runs when it comes; \
                work in an interrupt on an idle core is charged to nobody, and a TCP sender does most of its work so.";
    let head = ["link", "contender", "Mbit/s", "sender + receiver", "emulator", "charged to nobody", "taken"];
    vec![Block::heading(2, "What a gigabyte costs"), Block::text(note), Block::table(&head, 2, rows)]
}

fn tree(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Tree);
    let rows = summaries(&field).into_iter().map(|(name, summary)| {
        let seconds = median(summary.runs().iter().map(|run| run.flows[0].seconds));
        vec![
            format!("{name}{}", marks(&summary)),
            summary.cell.to_string(),
            figure(seconds, 2),
            figure(summary.goodput_bps() / 1e6, 1),
            figure(summary.of_limit(), 3),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let note = "10,000 files of 10,000 bytes by `farwire send`, from memory to memory: from the connection to the \
                receiver's confirmation that every file is whole and in its place.";
    let head = ["contender", "link", "seconds", "Mbit/s", "of limit"];
    vec![Block::heading(2, "A tree of small files"), Block::text(note), Block::table(&head, 2, rows)]
}

/// What the emulator adds to the delay that it was asked for.
fn ping(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Ping);
    let all = summaries(&field);
    if all.is_empty() {
        return Vec::new();
    }
    let trips = |summary: &Summary<'_>| {
        summary.runs().first().and_then(|run| run.flows.first()).map_or(Vec::new(), |flow| flow.rtt_us.clone())
    };
    let rows = all.iter().map(|(name, summary)| {
        let trips = trips(summary);
        let over = |quantile: f64| figure(at_quantile(&trips, quantile) / 1e3 - summary.cell.rtt_ms, 3);
        let late = |quantile: f64| {
            let late = |run: &&Record| Some(at_quantile(&run.link.as_ref()?.late_us, quantile));
            figure(median(summary.runs().iter().filter_map(late)), 0)
        };
        let rtt = format!("{} ms{}", summary.cell.rtt_ms, if name == "ping" { marks(summary) } else { String::new() });
        vec![rtt, over(0.0), over(0.5), over(0.9), over(0.99), over(1.0), late(0.5), late(0.99), late(1.0)]
    });
    let rows = rows.collect();
    let head = ["asked for", "min", "p50", "p90", "p99", "max", "late p50 µs", "late p99 µs", "late max µs"];
    let lines = all.iter().enumerate().map(|(index, (_, summary))| {
        let over = |(quantile, us): &(f64, f64)| (us / 1e3 - summary.cell.rtt_ms, *quantile);
        Line { colour: colour(index), points: trips(summary).iter().map(over).collect() }
    });
    let title = "Round trips over the idle link";
    let plot = Plot {
        title,
        x: "ms beyond the round trip asked for",
        y: "share of round trips",
        places: &[],
        y_most: 1.0,
        lines: lines.collect(),
    };
    let names: Vec<String> = all.iter().map(|(_, summary)| format!("{} ms", summary.cell.rtt_ms)).collect();
    let note = "Whether the emulator is what it says: milliseconds that a round trip of 64 bytes by the kernel's UDP \
                takes beyond what was asked for, both hosts' wake-ups among them; and by how much frames left the \
                emulator late.";
    vec![
        Block::heading(2, "The emulator, idle"),
        Block::text(note),
        Block::table(&head, 1, rows),
        Block::Figures { heading: title.to_owned(), legend: legend(&names), figures: vec![plot.svg()] },
    ]
}

/// Round trips that farwire itself saw, for each cell.
pub fn round_trips(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Matrix);
    let seen =
        |summary: &Summary<'_>| summary.typical().and_then(|run| run.flows.first()).map(|flow| flow.rtt_us.clone());
    let mut rows = Vec::new();
    for (name, summary) in summaries(&field) {
        let Some(trips) = seen(&summary).filter(|trips| !trips.is_empty()) else { continue };
        let ms = |quantile: f64| figure(at_quantile(&trips, quantile) / 1e3, 2);
        let spurious = median(summary.runs().iter().filter_map(|run| run.flows.first()?.spurious_share));
        rows.push(vec![
            summary.cell.to_string(),
            name,
            ms(0.0),
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(1.0),
            if spurious.is_nan() { "–".to_owned() } else { percent(spurious) },
        ]);
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let head = ["cell", "contender", "min ms", "p50", "p90", "p99", "max", "spurious losses"];
    let cdfs = field.cells.iter().map(|cell| cdf(&field, cell)).collect();
    vec![
        Block::heading(2, "Round trips that farwire saw under load"),
        Block::table(&head, 2, rows),
        Block::Figures { heading: "Their distribution".to_owned(), legend: legend(&field.names), figures: cdfs },
    ]
}

/// The distribution of round trips in a cell, of those who tell.
fn cdf(field: &Field<'_>, cell: &Cell) -> String {
    let lines = field.names.iter().enumerate().filter_map(|(index, name)| {
        let run = field.summary(cell, name)?.typical()?;
        let points = run.flows.first()?.rtt_us.iter().map(|(quantile, us)| (us / 1e3, *quantile)).collect();
        Some(Line { colour: colour(index), points })
    });
    let (title, lines) = (format!("Round trips under load: {cell}"), lines.collect());
    Plot { title: &title, x: "ms", y: "share of round trips", places: &[], y_most: 1.0, lines }.svg()
}
