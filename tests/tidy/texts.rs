//! What documents and configuration may name: files that exist, public hosts, no one's own directories.

use super::scan::is_ident;
use super::tree::{Source, root};

/// First directories that a path in a document is taken for one of ours by.
const OURS: &[&str] = &["src/", "tools/", "docs/", "bpf/", "bench/", "tests/", "fuzz/", "examples/", ".ci/"];

/// First directories that exist on every Linux machine.
const STANDARD: &[&str] =
    &["bin", "boot", "dev", "etc", "lib", "lib64", "opt", "proc", "run", "sbin", "srv", "sys", "tmp", "usr", "var"];

/// Paths in a document that lead nowhere. Patterns (`src/*/tx.rs`) must match something; `path:12` and `path/` may be.
pub fn dead_paths(source: &Source, known: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, path) in OURS.iter().flat_map(|first| paths_from(&source.text, first)) {
        let exists = match path.split_once(['*', '{']) {
            Some((stem, _)) => known.iter().any(|file| file.starts_with(stem)),
            None => root().join(path).exists() || known.iter().any(|file| file == path),
        };
        if !exists {
            findings.push(source.at(at, format!("`{path}` does not exist: mend the text or make the file")));
        }
    }
    findings
}

fn paths_from<'a>(text: &'a str, first: &'a str) -> impl Iterator<Item = (usize, &'a str)> + 'a {
    let bytes = text.as_bytes();
    let starts = move |at: usize| at == 0 || !(is_ident(bytes[at - 1]) || b"/.-*}$".contains(&bytes[at - 1]));
    text.match_indices(first).filter(move |(at, _)| starts(*at)).map(move |(at, _)| {
        let part = |byte: &u8| is_ident(*byte) || b"/.-*{},".contains(byte);
        let length = bytes[at..].iter().take_while(|byte| part(byte)).count();
        (at, text[at..at + length].trim_end_matches(['.', ',', '-', '}', '/']))
    })
}

/// Absolute paths that only some machine has, and hosts that only some network has.
pub fn private_places(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, first) in absolute_paths(&source.text) {
        if !STANDARD.contains(&first) {
            findings.push(source.at(at, format!("/{first}/ is some machine's own: use a relative or a standard path")));
        }
    }
    for (at, _) in source.text.match_indices("://") {
        let rest = &source.text[at + 3..];
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(byte)).count();
        let host = &rest[..length];
        let private = ["registry", "mirror", "proxy", "artifact", "internal"].iter().any(|word| host.contains(word))
            || [".local", ".lan"].iter().any(|end| host.ends_with(end));
        if private {
            findings.push(source.at(at, format!("{host} is some network's own: name the public place")));
        }
    }
    findings
}

/// First directories of absolute paths that have at least two names, behind a quote, a blank or an opening bracket.
fn absolute_paths(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = text.as_bytes();
    text.match_indices('/').filter_map(move |(at, _)| {
        let opens = at == 0 || b" \t\n\"'`(=[<".contains(&bytes[at - 1]);
        let length = bytes[at + 1..].iter().take_while(|byte| is_ident(**byte)).count();
        let more = bytes.get(at + 1 + length) == Some(&b'/')
            && bytes.get(at + 2 + length).is_some_and(|byte| is_ident(*byte) || *byte == b'.');
        (opens && length > 0 && more).then(|| (at, &text[at + 1..at + 1 + length]))
    })
}

/// Packages that would be fetched from anywhere but crates.io.
pub fn lock_sources(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate().filter(|(_, line)| line.starts_with("source = "));
    let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    lines
        .filter(|(_, line)| *line != public)
        .map(|(n, line)| source.line(n + 1, format!("{line} is not crates.io")))
        .collect()
}

#[test]
fn a_dead_path_is_caught() {
    let text = "See `src/lib.rs:3`, src/base/, [it](src/gone.rs) and `src/*/{tx,rx}.rs`; not https://a.b/docs/c.\n\
                `no/src/way.rs` tests/gone/x.rs.";
    let findings = dead_paths(&Source::new("docs/A.md", text), &["src/lib.rs".to_string()]);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].starts_with("docs/A.md:1: `src/gone.rs`") && findings[1].starts_with("docs/A.md:2: "));
}

#[test]
fn private_places_are_caught() {
    let bad =
        format!("cd {0}ada/x; curl https://crates.{1}.example/; fine: /usr/bin/env /etc/os a/b/c", "/mine/", "mirror");
    assert_eq!(private_places(&Source::new("a.md", &bad)).len(), 2);
    let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\nsource = \"git+https://a.b/c\"\n";
    assert_eq!(lock_sources(&Source::new("Cargo.lock", lock)).len(), 1);
}
