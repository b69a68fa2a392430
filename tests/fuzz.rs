//! A short run of what `fuzz/` has: its seeds, findings of old among them, and inputs made of them, always the same.
//! `tools/fuzz` runs longer.

use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

use targets::{TARGETS, seeds, stable};

/// Runs a target over its seeds and so many inputs more. `FUZZ_SEED` draws others.
fn run(name: &str, runs: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let seeds = seeds::seeds(Path::new(env!("CARGO_MANIFEST_DIR")), name).unwrap();
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|seed| seed.bytes).collect();
    let result = stable::fuzz(target, &seeds, seed, |count| count < runs);
    assert_eq!(result.map_err(|finding| hex(&finding.bytes)), Ok(runs), "see above; put this into fuzz/seeds/{name}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

#[test]
fn packet() {
    run("packet", 100_000);
}

#[test]
fn ack() {
    run("ack", 6_000);
}

#[test]
fn connection() {
    run("connection", 4_000);
}

#[test]
fn engines() {
    run("engines", 4_000);
}

/// A target that finds nothing where something is wrong would say "nothing found" for ever.
#[test]
fn a_panic_is_found_shortened_and_made_again_by_its_seed() {
    fn fails(bytes: &[u8]) {
        assert!(!bytes.contains(&0xAB) || bytes.len() < 4, "as it should");
    }
    let target = targets::Target { name: "fails", run: fails };
    let found = |seed| stable::fuzz(&target, &[vec![1, 2, 3]], seed, |count| count < 100_000).unwrap_err();
    let (one, again) = (found(7), found(7));
    assert_eq!((one.run, &one.bytes), (again.run, &again.bytes));
    assert!(one.bytes.len() == 4 && one.bytes.contains(&0xAB), "{:?}", one.bytes);
    assert_eq!(stable::fuzz(&target, &[vec![1]], 7, |_| false).ok(), Some(1));
}
