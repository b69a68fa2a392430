//! Tables of the matrix: goodput at a glance, every cell in full, and where a rival was better.

use super::super::aims::{is_farwire, percent, times};
use super::super::cell::Cell;
use super::super::limit;
use super::super::record::Scene;
use super::super::results::Results;
use super::super::summary::{Field, Summary};
use super::document::Block;

/// Marks a figure of which no run was undisturbed.
pub const DISTURBED: &str = "†";

/// For each queue and round trip a table: who got what share of the limit at which loss.
pub fn goodput(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Matrix);
    if field.cells.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![
        Block::heading(2, "Goodput"),
        Block::text(
            "Share of the limit, and Mbit/s: medians of the rounds. The limit is the link's rate × the payload share \
             of a full frame by farwire's header × (1 − loss).",
        ),
    ];
    for group in groups(&field.cells, |cell| (cell.queue_bdp, cell.rtt_ms)) {
        let first = group[0];
        let title = format!("Round trip {} ms, queue {} BDP", first.rtt_ms, first.queue_bdp);
        blocks.push(Block::heading(3, title));
        let losses = group.iter().map(|cell| format!("loss {}", cell.loss));
        let limits = group.iter().map(|cell| format!("{:.1}", limit::goodput_bps(cell) / 1e6));
        let head: Vec<String> = std::iter::once("contender".to_owned()).chain(losses).collect();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let mut rows = vec![std::iter::once("the limit".to_owned()).chain(limits).collect()];
        for name in &field.names {
            let shares: Vec<String> = group.iter().map(|cell| share(&field, cell, name)).collect();
            rows.push(std::iter::once(name.clone()).chain(shares).collect());
        }
        blocks.push(Block::table(&head, 1, rows));
    }
    blocks
}

/// Cells that are alike in `by`, as they come.
pub fn groups<K: PartialEq>(cells: &[Cell], by: impl Fn(&Cell) -> K) -> Vec<Vec<Cell>> {
    let mut groups: Vec<(K, Vec<Cell>)> = Vec::new();
    for cell in cells {
        let key = by(cell);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(*cell),
            None => groups.push((key, vec![*cell])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn share(field: &Field<'_>, cell: &Cell, name: &str) -> String {
    let Some(summary) = field.summary(cell, name) else { return "–".to_owned() };
    let figure = format!("{:.3} ({:.0})", summary.of_limit(), summary.goodput_bps() / 1e6);
    format!("{figure}{}", marks(&summary))
}

/// What is to be known beside a figure.
pub fn marks(summary: &Summary<'_>) -> String {
    let disturbed = if summary.disturbed { format!(" {DISTURBED}") } else { String::new() };
    match summary.failed {
        (0, _) => disturbed,
        (failed, all) => format!("{disturbed} failed {failed} of {all}"),
    }
}

/// Every cell with all that was measured.
pub fn in_full(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Matrix);
    if field.cells.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![
        Block::heading(2, "Every cell in full"),
        Block::text(
            "“90 % after”: round trips from the flow's first frames until frames worth 90 % of the link leave it, for \
             three bins in a row. “Sent again”: packets, as the sender counted them; beside it what the link lost and \
             its queue dropped. “Carried”: bytes of Ethernet frames put on the link for each byte that the \
             application got. “Queue”: wait at the bottleneck. CPU seconds per GB: sender's program + receiver's; \
             “machine”: both, and the kernel outside of programs; the emulator.",
        ),
    ];
    for cell in &field.cells {
        blocks.push(Block::heading(3, cell.to_string()));
        let head = [
            "contender",
            "Mbit/s (min–max)",
            "of limit",
            "× tcp-bbr",
            "connect ms",
            "90 % after",
            "sent again",
            "lost + queue full",
            "carried",
            "queue p50 ms",
            "queue p99 ms",
            "CPU s/GB",
            "machine",
            "emulator",
        ];
        let rows = field.names.iter().filter_map(|name| Some(row(&field, cell, name, &field.summary(cell, name)?)));
        blocks.push(Block::table(&head, 1, rows.collect()));
    }
    blocks
}

fn row(field: &Field<'_>, cell: &Cell, name: &str, summary: &Summary<'_>) -> Vec<String> {
    let (low, high) = summary.goodput_range_bps();
    let (again, lost) = summary.sent_again_and_lost();
    let [sender, receiver, machine, emulator] = summary.cpu_per_gb();
    let mbit = |bps: f64| bps / 1e6;
    let range = match summary.runs().len() {
        0 => "–".to_owned(),
        _ => format!("{:.1} ({:.1}–{:.1})", mbit(summary.goodput_bps()), mbit(low), mbit(high)),
    };
    let ratio = field.ratio(cell, name, "tcp-bbr");
    vec![
        format!("{name}{}", marks(summary)),
        range,
        format!("{:.3}", summary.of_limit()),
        ratio.map_or("–".to_owned(), times),
        figure(summary.connect_ms(), 1),
        if summary.trips_to_90().is_infinite() { "never".to_owned() } else { figure(summary.trips_to_90(), 1) },
        if again.is_nan() { "–".to_owned() } else { percent(again) },
        losses(lost, summary.queue_dropped_share()),
        figure(summary.carried_per_byte(), 3),
        figure(summary.queue_ms(0.5), 2),
        figure(summary.queue_ms(0.99), 2),
        format!("{} + {}", figure(sender, 2), figure(receiver, 2)),
        figure(machine, 2),
        figure(emulator, 2),
    ]
}

/// What the link lost, and what found its queue full.
fn losses(all: f64, queue: f64) -> String {
    if all.is_nan() { "–".to_owned() } else { format!("{:.2} + {}", (all - queue) * 100.0, percent(queue)) }
}

/// A number, or a dash where there is none.
pub fn figure(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

/// Where a rival was better than the farwire that a user would have taken, with what is known of both.
pub fn lost_to_rivals(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Matrix);
    let mut rows = Vec::new();
    for cell in &field.cells {
        let Some((rival, best)) = field.best(cell, |name| !is_farwire(name)) else { continue };
        for name in field.names.iter().filter(|name| is_farwire(name)) {
            let Some(own) = field.counted(cell, name) else { continue };
            let Some(ratio) = field.ratio(cell, name, rival).filter(|ratio| *ratio < 0.9995) else { continue };
            let facts = |summary: &Summary<'_>| {
                let (again, lost) = summary.sent_again_and_lost();
                format!(
                    "{:.3} of the limit, 90 % after {} trips, sent again {}, lost + queue full {}, queue p99 {} ms",
                    summary.of_limit(),
                    figure(summary.trips_to_90(), 1),
                    if again.is_nan() { "–".to_owned() } else { percent(again) },
                    losses(lost, summary.queue_dropped_share()),
                    figure(summary.queue_ms(0.99), 1)
                )
            };
            rows.push(vec![cell.to_string(), name.clone(), facts(&own), rival.to_owned(), facts(&best), times(ratio)]);
        }
    }
    if field.cells.is_empty() {
        return Vec::new();
    }
    let heading = Block::heading(2, "Where a rival was better");
    if rows.is_empty() {
        return vec![heading, Block::text("In no cell, of those in which both were measured undisturbed.")];
    }
    vec![heading, Block::table(&["cell", "farwire", "did", "best rival", "did", "ratio"], 5, rows)]
}
