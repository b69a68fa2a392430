//! `farwire-fuzz`: the fuzz targets without libFuzzer, on stable Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use farwire_fuzz::stable::fuzz;
use farwire_fuzz::{TARGETS, Target, seeds};

const USAGE: &str = "\
The fuzz targets on stable Rust, without coverage guidance. tools/fuzz is the way to start it.

Usage: farwire-fuzz seeds TARGET DIR            writes the seeds of a target into DIR, one file each
       farwire-fuzz run TARGET SECONDS SEED     changes the seeds at random; a finding goes to fuzz/artifacts/TARGET
       farwire-fuzz once TARGET FILE            runs one input, or one script in hex (*.hex)
";
/// How often a run says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["seeds", target, dir] => named(target).and_then(|target| write_seeds(target, Path::new(dir))),
        ["run", target, seconds, seed] => named(target).and_then(|target| run(target, seconds, seed)),
        ["once", target, file] => named(target).and_then(|target| once(target, Path::new(file))),
        ["-h" | "--help"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn project() -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    fuzz.parent().unwrap_or(fuzz).to_owned()
}

fn named(name: &str) -> Result<&'static Target, String> {
    let names = TARGETS.map(|target| target.name).join(", ");
    TARGETS.iter().find(|target| target.name == name).ok_or(format!("no target {name}: there are {names}"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text}: a whole number, please"))
}

fn write_seeds(target: &Target, dir: &Path) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", dir.display());
    fs::create_dir_all(dir).map_err(failed)?;
    for seed in seeds::seeds(&project(), target.name)? {
        fs::write(dir.join(format!("seed-{}", seed.name.replace([' ', ',', '/'], "-"))), seed.bytes).map_err(failed)?;
    }
    Ok(())
}

fn once(target: &Target, file: &Path) -> Result<(), String> {
    let bytes = match file.extension().is_some_and(|end| end == "hex") {
        true => seeds::hex_file(file)?,
        false => fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?,
    };
    (target.run)(&bytes);
    println!("{}: nothing found by {} bytes", target.name, bytes.len());
    Ok(())
}

fn run(target: &Target, seconds: &str, seed: &str) -> Result<(), String> {
    let (span, seed) = (Duration::from_secs(number(seconds)?), number(seed)?);
    let seeds: Vec<Vec<u8>> = seeds::seeds(&project(), target.name)?.into_iter().map(|seed| seed.bytes).collect();
    let (began, mut told) = (Instant::now(), Instant::now());
    let result = fuzz(target, &seeds, seed, |runs| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            eprintln!("    {}: {runs} inputs, {} s", target.name, began.elapsed().as_secs());
        }
        began.elapsed() < span
    });
    match result {
        Ok(runs) => {
            println!("{}: nothing found by {runs} inputs in {:.1} s", target.name, began.elapsed().as_secs_f64());
            Ok(())
        }
        Err(finding) => {
            let dir = project().join("fuzz/artifacts").join(target.name);
            let file = dir.join(format!("found-{seed}-{}", finding.run));
            let kept = fs::create_dir_all(&dir).and_then(|()| fs::write(&file, &finding.bytes));
            kept.map_err(|error| format!("{}: {error}", file.display()))?;
            let (name, file) = (target.name, file.display());
            Err(format!(
                "{name}: input {} of seed {seed} panics; again by: tools/fuzz --replay {name} {file}",
                finding.run
            ))
        }
    }
}
