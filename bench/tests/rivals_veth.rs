//! Every rival that this machine has moves bytes over a veth pair, right ones; every other one says why it cannot.

#[path = "../../tests/lab/mod.rs"]
mod lab;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use lab::{Lab, privileged};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_bench");
/// What both ends are told.
/// What quinn and s2n-quic are handed at a time.
const WRITE_BYTES: u64 = 64 << 10;
const BOTH: &[&str] = &["--seconds", "1", "--verify", "--window-bytes", "1000000", "--rate-bps", "500000000"];

#[test]
fn every_rival_delivers_or_says_why_not() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&["--offloads", "off"]);
    let entries = list();
    assert!(entries.len() >= 9, "{entries:?}");
    for entry in &entries {
        let rival = entry["rival"].as_str().unwrap();
        match entry.get("missing") {
            None => delivers(&lab, rival),
            Some(missing) => {
                // Past the capture of the test harness: what was not tried is to be seen.
                writeln!(std::io::stderr(), "NOT RUN: rival {rival}: {missing}").unwrap();
                refuses(rival, missing.as_str().unwrap());
            }
        }
    }
}

#[test]
fn a_server_ends_on_sigterm_with_its_report() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    for entry in list().iter().filter(|entry| entry.get("missing").is_none()) {
        let rival = entry["rival"].as_str().unwrap();
        let mut server = serve(&lab, rival);
        kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).unwrap();
        let report = report(&mut server);
        assert!(server.wait().unwrap().success(), "{rival}: {report}");
        assert_eq!((report["bytes"].as_u64(), report["seconds"].as_f64()), (Some(0), Some(0.0)), "{report}");
    }
}

#[test]
fn bad_options_are_refused_before_anything_starts() {
    for (arguments, says) in [
        (&["serve", "--bind", "127.0.0.1:1", "--seconds", "1"][..], "which rival"),
        (&["nobody", "serve", "--bind", "127.0.0.1:1", "--seconds", "1"], "quinn-cubic"),
        (&["quinn-bbr", "send", "--to", "127.0.0.1", "--seconds", "1"], "--to"),
        (&["quinn-bbr", "send", "--to", "127.0.0.1:1", "--seconds", "-1"], "--seconds"),
        (&["quinn-bbr", "serve", "--bind", "127.0.0.1:1", "--seconds", "1", "--window-bytes", "9"], "--window-bytes"),
        (&["quinn-bbr", "serve", "--bind", "192.0.2.1:1", "--seconds", "1"], "192.0.2.1:1 cannot be bound"),
    ] {
        let output = Command::new(BENCH).arg("rival").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {said}");
    }
}

fn list() -> Vec<Value> {
    let output = Command::new(BENCH).args(["rival", "list", "--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn inside(lab: &Lab, host: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &lab.namespace_name(host), BENCH, "rival"]);
    command
}

/// A server that is ready.
fn serve(lab: &Lab, rival: &str) -> Child {
    let mut command = inside(lab, "b");
    command.args([rival, "serve", "--bind", "10.77.0.2:7000", "--bin-ms", "250"]).args(BOTH);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line == "ready");
    assert!(ready, "{rival} ended before it was ready: {:?}", server.wait());
    // Whatever it says from now on is read, or it might block.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
    server
}

fn report(server: &mut Child) -> Value {
    let mut said = String::new();
    server.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn delivers(lab: &Lab, rival: &str) {
    let mut server = serve(lab, rival);
    let mut sender = inside(lab, "a");
    let sender = sender.args([rival, "send", "--to", "10.77.0.2:7000"]).args(BOTH).output().unwrap();
    let served = report(&mut server);
    assert!(server.wait().unwrap().success(), "{rival}: {served}");
    let sent = sent(rival, &sender);

    let bins: Vec<u64> = served["bins_bytes"].as_array().unwrap().iter().map(|bin| bin.as_u64().unwrap()).collect();
    let bytes = served["bytes"].as_u64().unwrap();
    assert_eq!((bins.len(), bins.iter().sum::<u64>()), (4, bytes), "{served}");
    assert_eq!((&served["rival"], &served["role"]), (&rival.into(), &"serve".into()));
    assert_eq!((served["seconds"].as_f64(), served["bin_ms"].as_u64()), (Some(1.0), Some(250)), "{served}");
    assert_eq!(served["verified"], true, "{served}");
    assert!(bytes > 1_000_000, "{rival} is stuck: {served}");
    // A write that the end of the time cuts off has been handed over in part, and is not counted there.
    assert!(sent["bytes"].as_u64().unwrap() + WRITE_BYTES >= bytes, "{sent} {served}");
    // KCP has no handshake.
    assert!(sent["connect_ms"].as_f64().unwrap() > 0.0 || rival == "kcp", "{sent}");
    for config in [&served["config"], &sent["config"]] {
        let library = config["library"].as_str().unwrap();
        assert!(library.contains(|letter: char| letter.is_ascii_digit()), "no version: {config}");
    }
}

fn sent(rival: &str, output: &Output) -> Value {
    assert!(output.status.success(), "{rival}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn refuses(rival: &str, missing: &str) {
    let arguments = ["rival", rival, "serve", "--bind", "127.0.0.1:7000", "--seconds", "1"];
    let output = Command::new(BENCH).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(missing), "{rival} is missing ({missing}) and says: {said}");
}
