//! The project's rules that a compiler does not hold, as tests: who may use whom, how long things get, which words and
//! paths stay out. Each finding names file, line and what to do. The checkers are tested on bad samples themselves.

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/texts.rs"]
mod texts;
#[path = "tidy/tree.rs"]
mod tree;

use tree::Source;

/// A room of `src/`, and which others it may use. `level` is the floor: nothing is used from the same or a higher one,
/// `never` is text that its production code must not contain.
struct Room {
    name: &'static str,
    level: u8,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

/// What the lower rooms keep away from, so that a simulator can run them in its own time and nothing else.
const NO_WORLD: &[&str] = &["std::thread", "std::net", "std::fs", "std::process", "std::env"];

/// `api` puts the parts together: it opens a link, gives it to a worker, and holds the application's ends of the
/// engine's ports. Its own users see none of that, and `apps` and `cli` are its users.
const UNDER_API: &[&str] = &["base", "crypto", "wire", "obs", "proto", "link", "xdp", "engine", "worker"];

/// The layer table of `docs/ARCHITECTURE.md`. `lib.rs` and `main.rs` stand above it.
const ROOMS: &[Room] = &[
    Room { name: "base", level: 0, may_use: &[], never: NO_WORLD },
    Room { name: "wire", level: 1, may_use: &["base"], never: NO_WORLD },
    Room { name: "obs", level: 2, may_use: &["base", "wire"], never: &["std::thread", "std::net"] },
    Room { name: "crypto", level: 1, may_use: &["base"], never: NO_WORLD },
    Room { name: "proto", level: 3, may_use: &["base", "wire", "obs", "crypto"], never: NO_WORLD },
    Room { name: "link", level: 3, may_use: &["base"], never: &["std::thread"] },
    Room { name: "xdp", level: 4, may_use: &["base", "obs", "link"], never: &["std::thread"] },
    Room { name: "engine", level: 5, may_use: &["base", "crypto", "wire", "obs", "proto", "link"], never: NO_WORLD },
    Room {
        name: "sim",
        level: 6,
        may_use: &["base", "crypto", "wire", "obs", "proto", "link", "engine"],
        never: NO_WORLD,
    },
    Room { name: "worker", level: 6, may_use: &["base", "obs", "proto", "link", "xdp", "engine"], never: &[] },
    Room { name: "api", level: 7, may_use: UNDER_API, never: &["std::fs", "std::net"] },
    Room { name: "apps", level: 8, may_use: &["base", "obs", "api"], never: &[] },
    Room { name: "cli", level: 9, may_use: &["base", "obs", "api", "apps"], never: &[] },
];

/// Rooms that may read a clock; everyone else is told the time.
const CLOCK_READERS: &[&str] = &["worker", "apps", "cli"];

fn report(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{} finding(s) against: {rule}\n  {}\n", findings.len(), findings.join("\n  "));
}

fn check(rule: &str, sources: &[Source], checker: impl Fn(&Source) -> Vec<String>) {
    assert!(!sources.is_empty(), "nothing to check against: {rule}");
    report(rule, sources.iter().flat_map(checker).collect());
}

fn rust() -> Vec<Source> {
    tree::tracked(|path| path.ends_with(".rs"))
}

fn rooms() -> Vec<Source> {
    tree::tracked(|path| path.ends_with(".rs") && path.starts_with("src/") && path.matches('/').count() > 1)
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    check("the layer table in tests/tidy.rs", &rooms(), |source| layers::arrows(source, ROOMS));
}

#[test]
fn the_layer_table_points_down() {
    report("an arrow never points up", layers::table(ROOMS));
}

#[test]
fn a_room_keeps_its_hands_off_the_world_above_it() {
    check("a room's `never` list", &rooms(), |source| layers::never(source, ROOMS));
}

#[test]
fn clocks_are_read_at_the_top() {
    check("only worker, apps and cli read clocks", &rooms(), |source| layers::clocks(source, CLOCK_READERS));
}

#[test]
fn runs_are_repeatable() {
    let ordered = tree::tracked(|path| path.starts_with("src/proto/") || path.starts_with("src/engine/"));
    check("no hash order in proto and engine", &ordered, layers::hash_order);
}

#[test]
fn unsafe_lives_in_xdp() {
    let elsewhere = tree::tracked(|path| path.ends_with(".rs") && !path.starts_with("src/xdp/"));
    check("`unsafe` only in src/xdp", &elsewhere, rules::no_unsafe);
}

#[test]
fn files_are_short() {
    check("at most 500 lines a file", &tree::tracked(tree::is_program), rules::file_length);
}

#[test]
fn functions_are_short() {
    check("at most 70 lines a function", &rust(), rules::function_length);
}

#[test]
fn lines_are_short() {
    check("at most 120 columns a line", &tree::tracked(tree::is_program), rules::line_length);
}

#[test]
fn every_file_says_what_it_is() {
    check("a file opens with `//!`", &rust(), rules::opening);
}

#[test]
fn every_room_says_what_it_decides() {
    let doors =
        tree::tracked(|path| path.starts_with("src/") && path.ends_with("/mod.rs") && path.matches('/').count() == 2);
    check("a room's mod.rs opens with what it decides", &doors, rules::room_doc);
}

#[test]
fn names_say_something() {
    check("banned words", &rust(), rules::banned_words);
    report("banned words", tree::paths().iter().filter_map(|path| rules::banned_path(path)).collect());
}

#[test]
fn nothing_is_left_half_done() {
    check("no stubs, no leftovers", &tree::tracked(tree::is_text), rules::leftovers);
}

#[test]
fn documents_name_files_that_exist() {
    let documents = tree::tracked(|path| path.ends_with(".md"));
    let known = tree::paths();
    check("paths in documents", &documents, |source| texts::dead_paths(source, &known));
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    let texts = tree::tracked(|path| tree::is_text(path) && path != ".gitignore");
    check("no private paths or hosts", &texts, texts::private_places);
}

#[test]
fn dependencies_come_from_crates_io() {
    check("Cargo.lock", &tree::tracked(|path| path.ends_with("Cargo.lock")), texts::lock_sources);
}
