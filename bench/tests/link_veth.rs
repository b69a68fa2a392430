//! `bench link` from end to end, small: a cell, two contenders, two seconds; and Ctrl-C in the middle. Needs root.

#[path = "../../tests/lab/mod.rs"]
mod lab;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::privileged;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_bench");
/// A link that a busy machine carries as well, also where nothing is optimised.
const SMALL: &[&str] = &["--rate", "100mbit", "--rtt", "20", "--loss", "0", "--patience", "0", "--tries", "1"];
/// How long Ctrl-C may take: a lab to be taken down, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// `bench link` with these options, beside a farwire and a linkem that were built like it.
fn link(options: &[&str]) -> Command {
    for program in ["farwire", "linkem"] {
        let beside = Path::new(BENCH).with_file_name(program);
        assert!(beside.is_file(), "{} is missing: cargo build --workspace", beside.display());
    }
    let mut command = Command::new(BENCH);
    command.arg("link").args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn labs_of(pid: u32) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    all.lines().filter(|line| line.contains(&format!("fw-t{pid}n"))).map(str::to_owned).collect()
}

#[test]
fn a_cell_is_measured_reported_and_not_measured_again() {
    if !privileged() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let contenders = ["--contenders", "farwire-fixed,tcp-cubic", "--scenes", "matrix,ping", "--seconds", "2"];
    let ran = link(&[SMALL, &contenders, &["--out", out.to_str().unwrap()]].concat()).output().unwrap();
    assert!(ran.status.success(), "{}", said(&ran));

    let results = out.join("results.jsonl");
    let all = lines(&results);
    assert_eq!(
        all.iter().map(|line| line["line"].as_str().unwrap()).collect::<Vec<_>>(),
        ["sitting", "run", "run", "run"]
    );
    for run in all.iter().filter(|run| run["scene"] == "matrix") {
        let flow = &run["flows"][0];
        let mbit = flow["goodput_bps"].as_f64().unwrap_or_else(|| panic!("{run}")) / 1e6;
        assert!((10.0..100.0).contains(&mbit), "{mbit} Mbit/s: {run}");
        assert_eq!(flow["series"]["bytes"].as_array().unwrap().len(), 20, "{flow}");
        assert!(run["link"]["in_frames"].as_u64().unwrap() > 1000, "{run}");
        assert!(flow["sender_cpu_seconds"].as_f64().unwrap() > 0.0, "{flow}");
        assert!(run["machine"]["commit"].is_string() && run["cpu"]["linkem_seconds"].as_f64().unwrap() > 0.0, "{run}");
    }
    let ping = all.iter().find(|run| run["scene"] == "ping").unwrap();
    let fastest_us = ping["flows"][0]["rtt_us"][0][1].as_f64().unwrap();
    assert!((20_000.0..40_000.0).contains(&fastest_us), "{ping}");
    let report = fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("farwire-fixed") && report.contains("tcp-cubic"), "{report}");
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("<svg"));

    let again = link(&[SMALL, &contenders, &["--resume", results.to_str().unwrap()]].concat()).output().unwrap();
    assert!(again.status.success() && said(&again).starts_with("runs: 0,"), "{}", said(&again));
    fs::remove_file(out.join("report.md")).unwrap();
    let report_only = link(&["--report-only", results.to_str().unwrap()]).output().unwrap();
    assert!(report_only.status.success() && out.join("report.md").is_file(), "{}", said(&report_only));
}

#[test]
fn ctrl_c_leaves_nothing_but_the_report() {
    if !privileged() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    // What a killed one left goes when the next begins.
    let netlab = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/netlab");
    let left = Command::new(netlab).args(["up", "--name", "t4999999n0"]).output().unwrap();
    assert!(left.status.success() && !labs_of(4_999_999).is_empty(), "{}", said(&left));
    let long = ["--contenders", "farwire-fixed", "--scenes", "matrix", "--seconds", "100"];
    let running = link(&[SMALL, &long, &["--out", out.to_str().unwrap()]].concat()).spawn().unwrap();
    let (pid, start) = (running.id(), Instant::now());
    let under_way = || {
        let inside = Command::new("ip").args(["netns", "pids", &format!("fw-t{pid}n0-a")]).output().unwrap();
        !inside.stdout.is_empty()
    };
    while !under_way() {
        assert!(start.elapsed() < PATIENCE, "no run begins");
        sleep(Duration::from_millis(100));
    }
    sleep(Duration::from_secs(1));
    let asked = Instant::now();
    kill(Pid::from_raw(pid as i32), Signal::SIGINT).unwrap();
    let ended = running.wait_with_output().unwrap();
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    assert!(said(&ended).contains("runs left: 1"), "{}", said(&ended));
    assert!(out.join("report.md").is_file() && out.join("report.html").is_file());
    assert_eq!([labs_of(pid), labs_of(4_999_999)].concat(), [""; 0]);
}

#[test]
fn what_can_not_be_measured_is_refused_before_anything_starts() {
    if !privileged() {
        return;
    }
    for (options, words) in [
        (&["--rtt", "0"][..], "--rtt [0.0]"),
        (&["--loss", "90%"], "from 0 to 50%"),
        (&["--contenders", "nobody"], "nobody is called so"),
        (&["--resume", "gone.jsonl"], "--resume gone.jsonl: no file of results that can be gone on with; say one"),
        (&["--report-only", "gone.jsonl"], "--report-only: gone.jsonl: no file of results"),
        (&["--out", "/etc/passwd"], "--out says where else"),
        (&["--farwire", "gone"], "no such program"),
        (&["--rate", "100gbit"], "1mbit to 10gbit"),
    ] {
        let refused = link(options).env("RUST_BACKTRACE", "1").output().unwrap();
        assert!(!said(&refused).contains("backtrace"), "{options:?}: {}", said(&refused));
        assert!(!refused.status.success() && said(&refused).contains(words), "{options:?}: {}", said(&refused));
    }
}
