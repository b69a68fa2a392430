//! How long things get, what a file opens with, and which names and leftovers stay out.

use super::scan::{ident_at, is_ident, items, line_of, words};
use super::tree::Source;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 120;
const ROOM_DOC_LINES: usize = 15;

/// Words that name nothing: whatever bears them could be anything.
const BANNED: &[&str] = &["util", "utils", "helper", "helpers", "manager"];

pub fn file_length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let long = lines > FILE_LINES;
    long.then(|| source.line(lines, format!("{lines} lines, {FILE_LINES} at most: split the file")))
        .into_iter()
        .collect()
}

pub fn function_length(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for item in items(&source.code, "fn") {
        let (first, last) = (line_of(&source.code, item.start), line_of(&source.code, item.end));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES {
            let say = format!("fn {} has {lines} lines, {FUNCTION_LINES} at most: give its steps names", item.name);
            findings.push(source.line(first, say));
        }
    }
    findings
}

pub fn line_length(source: &Source) -> Vec<String> {
    let long = source.text.lines().enumerate().filter(|(_, line)| line.chars().count() > COLUMNS);
    long.map(|(n, line)| source.line(n + 1, format!("{} columns, {COLUMNS} at most", line.chars().count()))).collect()
}

pub fn opening(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.line(1, "open the file with a `//!` sentence that says what it is")]
}

pub fn room_doc(source: &Source) -> Vec<String> {
    let doc: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let mut findings = Vec::new();
    if doc.len() > ROOM_DOC_LINES {
        findings.push(source.line(1, format!("{} lines of `//!`, {ROOM_DOC_LINES} at most", doc.len())));
    }
    for word in ["Decides:", "Called by:", "Invariant:"] {
        if !doc.iter().any(|line| line.contains(word)) {
            findings.push(source.line(1, format!("the room's opening lacks `{word}`")));
        }
    }
    findings
}

pub fn no_unsafe(source: &Source) -> Vec<String> {
    let found = words(&source.code, "unsafe");
    found.map(|at| source.at(at, "`unsafe` belongs in src/xdp: use a safe crate here, or move it there")).collect()
}

/// Names that this project gives (other crates' are not ours to choose).
pub fn banned_words(source: &Source) -> Vec<String> {
    let kinds = ["fn", "mod", "struct", "enum", "trait", "type", "const", "static", "union", "let", "mut", "as"];
    let mut findings = Vec::new();
    for at in kinds.iter().flat_map(|kind| words(&source.code, kind).map(|at| at + kind.len())) {
        let Some((at, name)) = ident_at(&source.code, at) else { continue };
        if is_banned(name) || name == "handle_data" {
            findings.push(source.at(at, format!("`{name}` could be anything: name what it does or holds")));
        }
    }
    findings
}

pub fn banned_path(path: &str) -> Option<String> {
    let banned = path.split(['/', '.', '-']).any(is_banned);
    banned.then(|| format!("{path}:1: the file's name could be anything: name what it holds"))
}

fn is_banned(name: &str) -> bool {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.ends_with(|before: char| before.is_uppercase()) {
            snake.push('_');
        }
        snake.push(letter);
    }
    snake.to_lowercase().split('_').any(|word| BANNED.contains(&word))
}

/// What says "later": in Rust the macros, anywhere the notes. Written in halves here, or this file would find itself.
pub fn leftovers(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for note in [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("TO", "DO")] {
        let found = source.text.match_indices(note).filter(|(at, _)| !ident_around(&source.text, *at, note.len()));
        findings.extend(found.map(|(at, _)| source.at(at, format!("{note}: do it now, or open an issue"))));
    }
    for name in ["todo", "unimplemented", "dbg"].into_iter().filter(|_| source.path.ends_with(".rs")) {
        let found = words(&source.code, name).filter(|at| source.code[at + name.len()..].starts_with('!'));
        findings.extend(found.map(|at| source.at(at, format!("{name}! does not stay in the project"))));
    }
    findings
}

fn ident_around(text: &str, at: usize, length: usize) -> bool {
    let bytes = text.as_bytes();
    (at > 0 && is_ident(bytes[at - 1])) || bytes.get(at + length).is_some_and(|byte| is_ident(*byte))
}

#[cfg(test)]
fn sample(text: &str) -> Source {
    Source::new("src/room/sample.rs", text)
}

#[test]
fn length_is_caught() {
    assert!(file_length(&sample(&"\n".repeat(FILE_LINES))).is_empty());
    assert_eq!(file_length(&sample(&"\n".repeat(FILE_LINES + 1))).len(), 1);
    let function = |lines: usize| format!("\nfn a() {{{}}}\nfn b() {{\n    \"{{\"\n}}", "\n".repeat(lines - 1));
    assert!(function_length(&sample(&function(FUNCTION_LINES))).is_empty());
    assert_eq!(function_length(&sample(&function(FUNCTION_LINES + 1))).len(), 1);
    assert!(
        function_length(&sample(&function(FUNCTION_LINES + 1)))[0].starts_with("src/room/sample.rs:2: fn a has 71")
    );
    assert!(line_length(&sample(&"é".repeat(COLUMNS))).is_empty());
    assert_eq!(line_length(&sample(&"é".repeat(COLUMNS + 1))).len(), 1);
}

#[test]
fn a_mute_file_is_caught() {
    assert!(opening(&sample("//! Says it.\n")).is_empty());
    assert_eq!(opening(&sample("use a;\n//! Too late.\n")).len(), 1);
    assert!(room_doc(&sample("//! A.\n//! Decides: b. Called by: c.\n//! Invariant: d.\n")).is_empty());
    assert_eq!(room_doc(&sample("//! A.\n//! Decides: b. Called by: c.\n")).len(), 1);
    let long = "//!\n".repeat(ROOM_DOC_LINES) + "//! Decides: b. Called by: c. Invariant: d.\n";
    assert_eq!(room_doc(&sample(&long)).len(), 1);
}

#[test]
fn unsafe_is_caught() {
    assert_eq!(no_unsafe(&sample("// unsafe\nlet a = \"unsafe\"; unsafe { b() } unsafe_code();")).len(), 1);
}

#[test]
fn empty_names_are_caught() {
    let bad = "mod util {}\nstruct FrameManager;\nfn ack_helper() {}\nfn handle_data() {}\nlet helpers = 1;";
    assert_eq!(banned_words(&sample(bad)).len(), 5);
    assert!(banned_words(&sample("use pnet::util::MacAddr;\nfn utility() {}\n// helper")).is_empty());
    assert!(banned_path("src/link/util.rs").is_some() && banned_path("src/link/utility.rs").is_none());
}

#[test]
fn leftovers_are_caught() {
    let bad = format!("fn a() {{ {}!(); {}!(b) }}\n// {}: later", "todo", "dbg", concat!("FIX", "ME"));
    assert_eq!(leftovers(&sample(&bad)).len(), 3);
    assert!(leftovers(&sample("// todo!() in words\nlet todo = 1;")).is_empty());
}
