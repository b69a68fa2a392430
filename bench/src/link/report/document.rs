//! A report's parts, written as Markdown and as an HTML page that needs nothing but itself.

use std::fmt::Write as _;

/// A part of a report. Texts are plain, but for `code` between backticks.
pub enum Block {
    Heading(u8, String),
    Text(String),
    List(Vec<String>),
    Table(Table),
    /// Pictures that belong together, and whose lines bear the same colours. Only in HTML.
    Figures {
        heading: String,
        legend: Vec<(String, &'static str)>,
        figures: Vec<String>,
    },
}

pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// So many columns on the left hold words; the others hold figures.
    pub words: usize,
}

impl Block {
    pub fn heading(level: u8, text: impl Into<String>) -> Block {
        Block::Heading(level, text.into())
    }

    pub fn text(text: impl Into<String>) -> Block {
        Block::Text(text.into())
    }

    pub fn table(head: &[&str], words: usize, rows: Vec<Vec<String>>) -> Block {
        Block::Table(Table { head: head.iter().map(|title| (*title).to_owned()).collect(), rows, words })
    }
}

pub fn markdown(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        // Writing to a String can't fail, here and below.
        let _ = match block {
            Block::Heading(level, text) => writeln!(out, "{} {text}\n", "#".repeat(usize::from(*level))),
            Block::Text(text) => writeln!(out, "{text}\n"),
            Block::List(items) => {
                items.iter().for_each(|item| out.push_str(&format!("- {item}\n")));
                writeln!(out)
            }
            Block::Table(table) => writeln!(out, "{}", table.markdown()),
            Block::Figures { .. } => Ok(()),
        };
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

pub fn html(title: &str, blocks: &[Block]) -> String {
    let mut body = String::new();
    for block in blocks {
        let _ = match block {
            Block::Heading(level, text) => writeln!(body, "<h{level}>{}</h{level}>", inline(text)),
            Block::Text(text) => writeln!(body, "<p>{}</p>", inline(text)),
            Block::List(items) => {
                let items: String = items.iter().map(|item| format!("<li>{}</li>\n", inline(item))).collect();
                writeln!(body, "<ul>\n{items}</ul>")
            }
            Block::Table(table) => writeln!(body, "{}", table.html()),
            Block::Figures { heading, legend, figures } => {
                writeln!(body, "<h3>{}</h3>\n{}", inline(heading), pictures(legend, figures))
            }
        };
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

const STYLE: &str = "\
body { font: 15px/1.45 sans-serif; max-width: 1400px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px; }
th, td { border: 1px solid #ccc; padding: 2px 8px; text-align: right; vertical-align: top; }
th { background: #f2f2f2; }
.words { text-align: left; }
code { font: 12px monospace; background: #f4f4f4; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 8px; }
.legend { position: sticky; top: 0; background: #fff; padding: 4px 0; margin: 0; }
.legend span { display: inline-block; margin-right: 1.5em; white-space: nowrap; }
.legend i { display: inline-block; width: 22px; height: 4px; margin-right: 6px; vertical-align: middle; }
";

impl Table {
    fn markdown(&self) -> String {
        let row = |cells: &[String]| {
            let cells = cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>();
            format!("| {} |\n", cells.join(" | "))
        };
        let side = |column: usize| if column < self.words { "---" } else { "---:" }.to_owned();
        let sides: Vec<String> = (0..self.head.len()).map(side).collect();
        let rows: String = self.rows.iter().map(|cells| row(cells)).collect();
        row(&self.head) + &row(&sides) + &rows
    }

    fn html(&self) -> String {
        let row = |cells: &[String], tag: &str| {
            let class = |column: usize| if column < self.words { " class=\"words\"" } else { "" };
            let cells = cells.iter().enumerate();
            let cells = cells.map(|(column, cell)| format!("<{tag}{}>{}</{tag}>", class(column), inline(cell)));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let rows: String = self.rows.iter().map(|cells| row(cells, "td")).collect();
        format!("<table>\n{}{rows}</table>", row(&self.head, "th"))
    }
}

fn pictures(legend: &[(String, &str)], figures: &[String]) -> String {
    let keys: String = legend
        .iter()
        .map(|(name, colour)| format!("<span><i style=\"background:{colour}\"></i>{}</span>\n", escape(name)))
        .collect();
    let figures: String = figures.iter().map(|figure| format!("<div>{figure}</div>\n")).collect();
    format!("<p class=\"legend\">\n{keys}</p>\n<div class=\"figures\">\n{figures}</div>")
}

/// Text for HTML, with what is between backticks as code.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in escape(text).split('`').enumerate() {
        match index % 2 {
            0 => out.push_str(part),
            _ => out.push_str(&format!("<code>{part}</code>")),
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> Vec<Block> {
        vec![
            Block::heading(1, "A & B"),
            Block::text("See `a <b>`."),
            Block::List(vec!["one".to_owned()]),
            Block::table(&["who", "how much"], 1, vec![vec!["a|b".to_owned(), "1".to_owned()]]),
            Block::Figures {
                heading: "pictures".to_owned(),
                legend: vec![("x".to_owned(), "#123456")],
                figures: vec!["<svg></svg>".to_owned()],
            },
        ]
    }

    #[test]
    fn markdown_is_markdown() {
        let expected = "# A & B\n\nSee `a <b>`.\n\n- one\n\n| who | how much |\n| --- | ---: |\n| a\\|b | 1 |\n";
        assert_eq!(markdown(&blocks()), expected);
    }

    #[test]
    fn html_needs_nothing_and_executes_nothing() {
        let page = html("<t>", &blocks());
        assert!(page.contains("<title>&lt;t&gt;</title>") && page.contains("<h1>A &amp; B</h1>"), "{page}");
        assert!(page.contains("<code>a &lt;b&gt;</code>") && page.contains("<td class=\"words\">a|b</td><td>1</td>"));
        assert!(
            page.contains("<h3>pictures</h3>") && page.contains("background:#123456") && page.contains("<svg></svg>"),
            "{page}"
        );
        assert!(!page.contains("<script") && !page.contains("http"), "{page}");
    }
}
