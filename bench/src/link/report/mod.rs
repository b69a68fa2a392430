//! The report of all results: Markdown to read and to keep, HTML with plots beside it.

mod cells;
mod document;
mod facts;
mod figures;
mod outage;
mod plot;
mod scenes;
#[cfg(test)]
mod tests;
mod together;

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::results::Results;
use document::Block;

const TITLE: &str = "farwire and its rivals over an emulated link";

/// Writes both into a directory; says where they are.
pub fn write(results: &Results, directory: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let blocks = blocks(results);
    let pages = [("report.md", document::markdown(&blocks)), ("report.html", document::html(TITLE, &blocks))];
    let mut paths = [PathBuf::new(), PathBuf::new()];
    for ((name, text), path) in pages.into_iter().zip(&mut paths) {
        *path = directory.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(paths)
}

fn blocks(results: &Results) -> Vec<Block> {
    let mut blocks = vec![Block::heading(1, TITLE)];
    blocks.extend(facts::opening(results));
    blocks.extend(facts::aims(results));
    blocks.extend(cells::goodput(results));
    blocks.extend(figures::of_matrix(results));
    blocks.extend(cells::lost_to_rivals(results));
    blocks.extend(together::all(results));
    blocks.extend(outage::all(results));
    blocks.extend(scenes::all(results));
    blocks.extend(scenes::round_trips(results));
    blocks.extend(cells::in_full(results));
    blocks.extend(facts::contenders(results));
    blocks.extend(facts::method(results));
    blocks.extend(facts::not_counted(results));
    blocks
}
