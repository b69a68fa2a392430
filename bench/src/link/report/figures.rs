//! The plots of the matrix.

use super::super::cell::Cell;
use super::super::limit;
use super::super::record::{Flow, Scene};
use super::super::results::Results;
use super::super::summary::Field;
use super::cells::groups;
use super::document::Block;
use super::plot::{Line, Plot, colour};

pub fn of_matrix(results: &Results) -> Vec<Block> {
    let field = Field::of(results, Scene::Matrix);
    if field.cells.is_empty() {
        return Vec::new();
    }
    let mut blocks =
        by_place(&field, "Goodput by loss", "loss", |cell| (cell.queue_bdp, cell.rtt_ms), |cell| cell.loss.to_string());
    blocks.extend(by_place(
        &field,
        "Goodput by round trip",
        "round trip, ms",
        |cell| (cell.queue_bdp, cell.loss.to_string()),
        |cell| cell.rtt_ms.to_string(),
    ));
    blocks.extend(over_time(&field));
    blocks.extend(waits(&field));
    blocks
}

/// The colours of those who take part.
pub fn legend(names: &[String]) -> Vec<(String, &'static str)> {
    names.iter().enumerate().map(|(index, name)| (name.clone(), colour(index))).collect()
}

/// A plot for each group of cells, with a place on its x axis for each cell.
fn by_place<K: PartialEq>(
    field: &Field<'_>,
    heading: &str,
    x: &str,
    group: impl Fn(&Cell) -> K,
    place: impl Fn(&Cell) -> String,
) -> Vec<Block> {
    let of_many = |group: &Vec<Cell>| group.len() > 1;
    let figures = groups(&field.cells, group).into_iter().filter(of_many).map(|group| {
        let places: Vec<String> = group.iter().map(&place).collect();
        let lines = field.names.iter().enumerate().map(|(index, name)| {
            let share = |cell: &Cell| field.summary(cell, name).map_or(f64::NAN, |summary| summary.of_limit());
            let points = group.iter().enumerate().map(|(at, cell)| (at as f64, share(cell))).collect();
            Line { colour: colour(index), points }
        });
        let first = group[0];
        let fixed = match x {
            "loss" => format!("{} ms", first.rtt_ms),
            _ => format!("loss {}", first.loss),
        };
        let title = format!("{heading}: {fixed}, queue {} BDP", first.queue_bdp);
        let lines = lines.collect();
        Plot { title: &title, x, y: "of the limit", places: &places, y_most: 1.0, lines }.svg()
    });
    let figures: Vec<String> = figures.collect();
    if figures.is_empty() {
        return Vec::new();
    }
    vec![Block::Figures { heading: heading.to_owned(), legend: legend(&field.names), figures }]
}

/// The round with the median goodput, over time.
fn over_time(field: &Field<'_>) -> Vec<Block> {
    let figures = field.cells.iter().map(|cell| {
        let flows = field.names.iter().map(|name| field.summary(cell, name)?.typical()?.flows.first());
        // They ran one after the other: each from its own first byte.
        let flows: Vec<Option<Flow>> = flows.map(|flow| Some(Flow { first_byte_s: 0.0, ..flow?.clone() })).collect();
        let title = format!("Goodput over time: {cell}");
        rates(&title, cell, &flows.iter().map(Option::as_ref).collect::<Vec<_>>())
    });
    let figures = figures.collect();
    vec![Block::Figures { heading: "Goodput over time".to_owned(), legend: legend(&field.names), figures }]
}

/// Flows over time, each of a colour of its own; zero is the first byte of the first.
pub fn rates(title: &str, cell: &Cell, flows: &[Option<&Flow>]) -> String {
    let flows = || flows.iter().enumerate().filter_map(|(index, flow)| Some((index, (*flow)?)));
    let zero_s = flows().next().map_or(0.0, |(_, flow)| flow.first_byte_s);
    let lines = flows().map(|(index, flow)| {
        let (start_s, width_s) = (flow.first_byte_s - zero_s, flow.series.bin_ms / 1e3);
        let middle = |index: usize| start_s + (index as f64 + 0.5) * width_s;
        let points = flow.series.rates_bps().enumerate().map(|(index, bps)| (middle(index), bps / 1e6)).collect();
        Line { colour: colour(index), points }
    });
    let (lines, y_most) = (lines.collect(), limit::goodput_bps(cell) / 1e6);
    Plot { title, x: "seconds", y: "Mbit/s", places: &[], y_most, lines }.svg()
}

/// How long frames waited at the bottleneck.
fn waits(field: &Field<'_>) -> Vec<Block> {
    let places = ["p50", "p90", "p99", "p99.9", "most"].map(str::to_owned);
    let figures = field.cells.iter().map(|cell| {
        let lines = field.names.iter().enumerate().filter_map(|(index, name)| {
            let link = field.summary(cell, name)?.typical()?.link.as_ref()?;
            let points = link.queue_us.iter().enumerate().map(|(at, (_, us))| (at as f64, us / 1e3)).collect();
            Some(Line { colour: colour(index), points })
        });
        let title = format!("Wait in the bottleneck's queue: {cell}");
        let lines = lines.collect();
        Plot { title: &title, x: "frames", y: "ms", places: &places, y_most: 0.0, lines }.svg()
    });
    let figures = figures.collect();
    vec![Block::Figures { heading: "Queueing delay".to_owned(), legend: legend(&field.names), figures }]
}
