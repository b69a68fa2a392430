//! Who may use whom, who may read clocks, and what would make two runs of one seed differ.

use super::Room;
use super::scan::{ident_at, in_tests, is_ident, items, words};
use super::tree::Source;

/// Paths into rooms that the table does not allow.
pub fn arrows(source: &Source, rooms: &[Room]) -> Vec<String> {
    let name = source.room();
    let Some(room) = rooms.iter().find(|room| room.name == name) else {
        return vec![source.line(1, format!("room `{name}` is not in the layer table: add it there, with its level"))];
    };
    let mut findings = Vec::new();
    for (at, target) in crate_paths(source) {
        if target == room.name || room.may_use.contains(&target.as_str()) {
            continue;
        }
        findings.push(source.at(
            at,
            match rooms.iter().find(|other| other.name == target) {
                Some(other) if other.level >= room.level => {
                    format!(
                        "`{name}` uses `{target}`, which lies above it: turn the arrow round, or move the type down"
                    )
                }
                Some(_) => format!("`{name}` may not use `{target}`: it may use {:?}", room.may_use),
                None => format!("`crate::{target}` is no room: name the room that it is defined in"),
            },
        ));
    }
    findings
}

/// Arrows in the table itself that do not point down.
pub fn table(rooms: &[Room]) -> Vec<String> {
    let level = |name: &str| rooms.iter().find(|room| room.name == name).map(|room| room.level);
    let mut findings = Vec::new();
    for room in rooms {
        for used in room.may_use {
            if level(used).is_none_or(|used| used >= room.level) {
                findings
                    .push(format!("`{}` (level {}) may use `{used}`, which is not below it", room.name, room.level));
            }
        }
    }
    findings
}

/// Text that a room's production code must not contain.
pub fn never(source: &Source, rooms: &[Room]) -> Vec<String> {
    let Some(room) = rooms.iter().find(|room| room.name == source.room()) else { return Vec::new() };
    let found = room.never.iter().flat_map(|text| words(&source.code, text).map(move |at| (at, text)));
    found
        .filter(|(at, _)| !is_test(source, *at))
        .map(|(at, text)| source.at(at, format!("`{}` never uses `{text}`: let the caller do it", room.name)))
        .collect()
}

/// Clocks read in a room that is to be told the time.
pub fn clocks(source: &Source, readers: &[&str]) -> Vec<String> {
    if readers.contains(&source.room()) {
        return Vec::new();
    }
    let clocks = ["Instant::now", "SystemTime::now", "clock_gettime"];
    clocks
        .iter()
        .flat_map(|clock| words(&source.code, clock))
        .filter(|at| !is_test(source, *at))
        .map(|at| source.at(at, format!("`{}` reads a clock: take `now: Nanos` as an argument", source.room())))
        .collect()
}

/// Maps whose order changes from run to run.
pub fn hash_order(source: &Source) -> Vec<String> {
    ["HashMap", "HashSet", "RandomState"]
        .iter()
        .flat_map(|name| words(&source.code, name))
        .filter(|at| !is_test(source, *at))
        .map(|at| source.at(at, "hash order differs from run to run: use a BTreeMap, a slab or a sorted Vec"))
        .collect()
}

fn is_test(source: &Source, at: usize) -> bool {
    source.path.ends_with("/tests.rs") || source.path.contains("/tests/") || in_tests(&source.code, at)
}

/// Every first name of a path from the crate's root, with its place: `crate::a`, `crate::{a::b, c}`, and `super::…` as
/// far as it climbs out of the room.
fn crate_paths(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    for at in words(code, "crate") {
        found.extend(names_behind(code, at + "crate".len()));
    }
    for at in words(code, "super").filter(|at| !code[..*at].ends_with("super::")) {
        let mut climbs = 1;
        let mut end = at + "super".len();
        while code[end..].starts_with("::super") {
            climbs += 1;
            end += "::super".len();
        }
        let inline = items(code, "mod").iter().filter(|item| (item.start..item.end).contains(&at)).count();
        if climbs == module_depth(&source.path) + inline {
            found.extend(names_behind(code, end));
        }
    }
    found
}

/// How many modules deep a file is: `src/a/mod.rs` 1, `src/a/b.rs` and `src/a/b/mod.rs` 2.
fn module_depth(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").trim_end_matches(".rs").matches('/').count()
}

/// The names behind `::` at `at`: one, or those of a group in braces.
fn names_behind(code: &str, at: usize) -> Vec<(usize, String)> {
    let Some(rest) = code[at..].strip_prefix("::") else { return Vec::new() };
    let at = at + 2;
    if !rest.trim_start().starts_with('{') {
        return ident_at(code, at).map(|(at, name)| (at, name.to_string())).into_iter().collect();
    }
    let mut found = Vec::new();
    let (mut depth, mut fresh) = (0, false);
    for (n, byte) in code[at..].bytes().enumerate() {
        match byte {
            b'{' => (depth, fresh) = (depth + 1, depth == 0),
            b'}' => depth -= 1,
            b',' => fresh = depth == 1,
            byte if fresh && is_ident(byte) => {
                found.extend(ident_at(code, at + n).map(|(at, name)| (at, name.to_string())));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 && byte == b'}' {
            break;
        }
    }
    found
}

#[cfg(test)]
const SAMPLE: &[Room] = &[
    Room { name: "low", level: 0, may_use: &[], never: &[] },
    Room { name: "mid", level: 1, may_use: &["low"], never: &["std::thread"] },
    Room { name: "high", level: 2, may_use: &["mid"], never: &[] },
];

#[test]
fn an_arrow_up_is_caught() {
    let lines = |path: &str, text: &str| arrows(&Source::new(path, text), SAMPLE);
    assert_eq!(lines("src/mid/x.rs", "use crate::low::A;\nuse super::B;\n// crate::high\n"), Vec::<String>::new());
    assert_eq!(lines("src/mid/x.rs", "\nuse crate::high::A;").len(), 1);
    assert!(lines("src/mid/x.rs", "\nuse crate::high::A;")[0].starts_with("src/mid/x.rs:2: "));
    assert_eq!(lines("src/mid/x.rs", "use crate::{low::{A, high}, high, mid::B};").len(), 1);
    assert_eq!(lines("src/mid/x.rs", "fn a() { crate::high::f() }").len(), 1);
    assert_eq!(lines("src/mid/x.rs", "use super::super::high::A;").len(), 1);
    assert_eq!(lines("src/mid/x.rs", "mod tests { use super::super::A; use super::super::super::high::A; }").len(), 1);
    assert_eq!(lines("src/mid/mod.rs", "use super::high::A;").len(), 1);
    assert_eq!(lines("src/high/x.rs", "use crate::low::A;").len(), 1, "not below is not enough: it must be listed");
    assert_eq!(lines("src/mid/x.rs", "use crate::Frame;").len(), 1, "no room");
    assert_eq!(lines("src/new/x.rs", "").len(), 1, "a room without an entry");
}

#[test]
fn a_table_that_points_up_is_caught() {
    assert!(table(SAMPLE).is_empty());
    assert_eq!(table(&[Room { name: "a", level: 1, may_use: &["a", "b"], never: &[] }]).len(), 2);
}

#[test]
fn the_world_is_caught() {
    let source =
        Source::new("src/mid/x.rs", "std::thread::sleep();\nmod tests { std::thread::sleep(); }\n// std::thread");
    assert_eq!(never(&source, SAMPLE).len(), 1);
    let clock = Source::new("src/mid/x.rs", "let a = std::time::Instant::now();\nmod tests { Instant::now() }");
    assert_eq!(clocks(&clock, &["high"]).len(), 1);
    assert!(clocks(&clock, &["mid"]).is_empty());
    assert_eq!(hash_order(&Source::new("src/mid/x.rs", "use std::collections::{HashMap, BTreeMap};")).len(), 1);
}
