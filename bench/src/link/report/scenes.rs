//! The scenes beside the matrix: sharing, an outage, small files, and the idle link.

use super::super::aims::percent;
use super::super::cell::Cell;
use super::super::figures::{Series, jain};
use super::super::limit;
use super::super::plan::{HALF_AT, OUTAGE_AT, OUTAGE_FOR, OUTAGE_SPANS};
use super::super::record::{Flow, Record, Scene, at_quantile};
use super::super::results::Results;
use super::super::summary::{Field, Summary};
use super::cells::{figure, marks};
use super::document::Block;
use super::figures::{legend, rates};
use super::plot::{Line, Plot, colour};
use crate::machine::median;

pub fn all(results: &Results) -> Vec<Block> {
    let mut blocks = together(results, Scene::Share, "Two farwire flows share the link");
    blocks.extend(together(results, Scene::Beside, "A farwire flow beside one of TCP"));
    blocks.extend(outage(results));
    blocks.extend(tree(results));
    blocks.extend(ping(results));
    blocks
}

/// The contenders of a scene's cells, one by one.
fn summaries<'a>(field: &Field<'a>) -> Vec<(String, Summary<'a>)> {
    let all = field.cells.iter().flat_map(|cell| field.names.iter().map(move |name| (cell, name)));
    all.filter_map(|(cell, name)| Some((name.clone(), field.summary(cell, name)?))).collect()
}

fn together(results: &Results, scene: Scene, heading: &str) -> Vec<Block> {
    let field = Field::of(results, scene);
    let rows = summaries(&field).into_iter().map(|(name, summary)| {
        let each = |of: &dyn Fn(&Record) -> f64| median(summary.runs().iter().map(|run| of(run)));
        let mbit = |number: usize| each(&|run| run.flows.get(number).map_or(f64::NAN, |flow| flow.goodput_bps / 1e6));
        let goodputs = |run: &Record| run.flows.iter().map(|flow| flow.goodput_bps).collect::<Vec<f64>>();
        let later = |run: &Record| run.flows.iter().map(second_half_bps).collect::<Vec<f64>>();
        vec![
            format!("{name}{}", marks(&summary)),
            summary.cell.to_string(),
            figure(mbit(0), 1),
            figure(mbit(1), 1),
            figure(each(&|run| jain(&goodputs(run))), 3),
            figure(each(&|run| jain(&later(run))), 3),
            figure(summary.of_limit(), 3),
            figure(summary.queue_ms(0.99), 1),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let head =
        ["flows", "link", "first, Mbit/s", "second", "Jain", "Jain, second half", "both, of limit", "queue p99 ms"];
    let note = "Both start at once. Jain's index is 1 where both have the same and 0.5 where one has all.";
    vec![Block::heading(2, heading), Block::text(note), Block::table(&head, 2, rows)]
}

fn second_half_bps(flow: &Flow) -> f64 {
    let half = flow.series.skip(flow.seconds / 2.0);
    half.bytes.iter().sum::<u64>() as f64 * 8e3 / (half.bin_ms * half.bytes.len() as f64)
}

fn outage(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Outage);
    let Some(cell) = field.cells.first() else { return Vec::new() };
    let all = summaries(&field);
    let rows = all.iter().map(|(name, summary)| {
        let each = |of: &dyn Fn(&Record) -> f64| median(summary.runs().iter().map(|run| of(run)));
        let phase =
            |number: usize| figure(each(&|run| Phases::of(run).map_or(f64::NAN, |phases| phases.shares[number])), 3);
        let recovery = each(&|run| Phases::of(run).map_or(f64::NAN, |phases| phases.recovery_s));
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
    let head = ["contender", "Mbit/s", "before", "back after s", "after the outage", "after halving", "queue p99 ms"];
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    let typical: Vec<Option<&Record>> = all.iter().map(|(_, summary)| summary.typical()).collect();
    let span_s = typical.iter().flatten().next().map_or(0.0, |run| run.job.seconds) / OUTAGE_SPANS;
    let [cut, long, half] = [OUTAGE_AT, OUTAGE_FOR, HALF_AT].map(|spans| spans * span_s);
    let note = format!(
        "{cell}. The link is cut after {cut} s for {long} s, and its rate halves after {half} s. Shares are of what \
         the limit is then; “back after” is counted from the link's return to the first three tenths of a second in a \
         row at 90 % of the limit."
    );
    let mut blocks = vec![
        Block::heading(2, "An outage, and half the rate"),
        Block::text(note),
        Block::table(&head, 1, rows),
        Block::Figures {
            heading: "The outage over time".to_owned(),
            legend: legend(&names),
            figures: vec![rates("Goodput over time", cell, &typical)],
        },
    ];
    let notices = typical.iter().flatten().flat_map(|run| &run.flows);
    let notices = notices.flat_map(|flow| flow.notices.iter().map(|notice| format!("{}: {notice}", flow.contender)));
    let notices: Vec<String> = notices.collect();
    if !notices.is_empty() {
        blocks.push(Block::text("What they had to say:"));
        blocks.push(Block::List(notices));
    }
    blocks
}

/// The three parts of an outage run.
struct Phases {
    /// Goodput before the outage, after it, and after the rate has halved, of the limit at that time.
    shares: [f64; 3],
    recovery_s: f64,
}

impl Phases {
    /// `None` if nothing was measured. The link's clock starts a moment before the flow's: a tenth of a second at each
    /// edge belongs to neither side.
    fn of(run: &Record) -> Option<Phases> {
        let flow = run.flows.first()?;
        let span_s = run.job.seconds / OUTAGE_SPANS;
        let (cut, back) = (span_s * OUTAGE_AT, span_s * (OUTAGE_AT + OUTAGE_FOR));
        let (half, end) = (span_s * HALF_AT, run.job.seconds);
        let limit_bps = limit::goodput_bps(&run.job.cell);
        let share = |from: f64, to: f64, of: f64| {
            (flow.series.bytes_in(to) - flow.series.bytes_in(from)) * 8.0 / (to - from) / (limit_bps * of)
        };
        let after = Series { bytes: flow.series.skip(back).bytes, bin_ms: flow.series.bin_ms };
        Some(Phases {
            shares: [share(0.0, cut - EDGE_S, 1.0), share(back, half - EDGE_S, 1.0), share(half + EDGE_S, end, 0.5)],
            recovery_s: after.ms_to(0.9 * limit_bps, 0).map_or(f64::INFINITY, |ms| ms / 1e3),
        })
    }
}

/// How far the flow's clock and the emulator's may be apart.
const EDGE_S: f64 = 0.5;

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
