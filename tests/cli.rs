//! The command as its users meet it: help, mistakes on the command line and their exit codes, JSON. Nothing here needs
//! root or a link; what does is in `faults_veth.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_farwire");

/// A home of the tests' own, with a key.
static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-home");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).unwrap();
    assert!(Command::new(BINARY).arg("keygen").arg(home.join("test.key")).output().unwrap().status.success());
    home
});

/// The command, without a key unless a flag says so.
fn keyless(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::null()).env("HOME", &*HOME);
    command.env_remove("FARWIRE_KEY_FILE").env_remove("XDG_CONFIG_HOME");
    command
}

fn farwire(arguments: &[&str]) -> Output {
    keyless(arguments).env("FARWIRE_KEY_FILE", HOME.join("test.key")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs, and asserts exit code and words on standard error.
fn refuses(arguments: &[&str], code: i32, words: &[&str]) {
    let output = farwire(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: {word:?} is not in {said:?}");
    }
    assert!(output.stdout.is_empty(), "{arguments:?}: {:?} on standard output", text(&output.stdout));
}

/// A path that exists, for commands that look before they leap.
fn here() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")
}

#[test]
fn help_tells_the_exit_codes() {
    for command in [&[][..], &["send"], &["recv"], &["perf"], &["ping"], &["doctor"], &["discover"], &["keygen"]] {
        let arguments = [command, &["--help"]].concat();
        let output = farwire(&arguments);
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(help.contains("Exit codes:") && help.contains("  5  stopped"), "{arguments:?}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{arguments:?}: a line is too long: {help}");
    }
    assert!(text(&farwire(&["--version"]).stdout).starts_with("farwire "));
}

#[test]
fn every_common_flag_is_there() {
    for command in ["send", "recv", "perf", "ping", "doctor", "discover"] {
        let help = text(&farwire(&[command, "--help"]).stdout);
        for flag in [
            "--interface",
            "--rate",
            "--cc",
            "--idle",
            "--link",
            "--mode",
            "--queue",
            "--cpu",
            "--ethertype",
            "--vlan",
            "--mtu",
            "--umem",
            "--key",
            "--insecure",
            "--json",
            "-v",
        ] {
            assert!(help.contains(flag), "{flag} is not in the help of {command}");
        }
    }
}

#[test]
fn mistakes_are_told_before_anything_is_opened() {
    refuses(&[], 2, &["Usage"]);
    refuses(&["fly"], 2, &["fly"]);
    refuses(&["send", here()], 2, &["PEER"]);
    refuses(&["send", "/tmp/fw-no-such-file", "peer"], 2, &["/tmp/fw-no-such-file", "No such file"]);
    refuses(&["send", here(), here(), "peer"], 2, &["two of the paths", "Cargo.toml"]);
    refuses(&["send", "/", "peer"], 2, &["no name"]);
    refuses(&["send", "--as", "../x", "-", "peer"], 2, &["--as", "`..`"]);
    refuses(&["perf", "-R", "--bidir", "peer"], 2, &["--bidir"]);
    refuses(&["perf", "-t", "0", "peer"], 2, &["-t"]);
    refuses(&["perf", "-P", "0", "peer"], 2, &["1..=128"]);
    refuses(&["perf", "-P", "9999", "peer"], 2, &["128"]);
    refuses(&["ping", "-c", "0", "peer"], 2, &["-c"]);
    refuses(&["ping", "--interval", "1 fortnight", "peer"], 2, &["fortnight"]);
    refuses(&["doctor", "--link", "packet"], 2, &["packet"]);
}

#[test]
fn a_rate_that_cannot_be_is_refused() {
    let send = |flags: &[&str], words: &[&str]| {
        refuses(&[&["send", "-i", "lo"], flags, &[here(), "02:00:00:00:00:01"]].concat(), 2, words);
    };
    send(&["--rate", "0"], &["is 0", "nothing could ever be sent"]);
    send(&["--rate", "fast"], &["fast", "940mbit"]);
    send(&["--rate", "10parsec"], &["parsec", "10gbit"]);
    send(&["--cc", "fixed"], &["--rate"]);
    send(&["--cc", "cubic", "--rate", "1gbit"], &["--rate is for --cc fixed"]);
    send(&["--cc", "vegas"], &["vegas", "bbr", "cubic"]);
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_anything_is_measured() {
    refuses(&["ping", "-i", "fwnosuch0", "--hgrm", "/tmp/fw-no-such-dir/x", "peer"], 4, &["/tmp/fw-no-such-dir/x"]);
    refuses(&["perf", "-i", "fwnosuch0", "--hgrm", "/tmp/fw-no-such-dir/x", "peer"], 4, &["/tmp/fw-no-such-dir/x"]);
}

#[test]
fn a_forgotten_peer_is_asked_for() {
    refuses(&["send", "photos"], 2, &["the last argument is the peer", "photos PEER"]);
}

#[test]
fn link_flags_are_checked() {
    let ping = |flags: &[&str], words: &[&str]| refuses(&[&["ping"], flags, &["peer"]].concat(), 2, words);
    ping(&["--ethertype", "0x0100"], &["0x0100", "length"]);
    ping(&["--ethertype", "beef?"], &["beef?", "0x88b5"]);
    ping(&["--ethertype", "0x86dd"], &["IPv6", "0x88b5"]);
    ping(&["--vlan", "4095"], &["4095", "4094"]);
    ping(&["--vlan", "5:9"], &["5:9"]);
    ping(&["--vlan", "5", "--link", "packet"], &["VLAN 5", "ip link add"]);
    ping(&["--idle", "doze"], &["doze", "adaptive"]);
    ping(&["--mode", "native"], &["native", "zerocopy"]);
    ping(&["--umem", "much"], &["much", "64MiB"]);
    ping(&["--link", "packet", "--mode", "copy"], &["--mode and --queue are for --link xdp"]);
    ping(&["--link", "packet", "--queue", "1"], &["--mode and --queue are for --link xdp"]);
}

#[test]
fn an_interface_that_is_none_is_named() {
    for command in [&["ping", "peer"][..], &["discover"], &["perf", "server"], &["recv", "/tmp"]] {
        refuses(&[command, &["-i", "fwnosuch0"]].concat(), 4, &["fwnosuch0", "ip link"]);
    }
    refuses(&["ping", "-i", "fwnosuch0", "--link", "packet", "peer"], 4, &["fwnosuch0"]);
}

#[test]
fn a_target_that_is_none_is_named_before_anybody_is_told() {
    refuses(&["recv", "-i", "fwnosuch0", "/tmp/fw-no-such-dir"], 4, &["/tmp/fw-no-such-dir", "mkdir -p"]);
    refuses(&["recv", "-i", "fwnosuch0", here()], 4, &["Cargo.toml", "no directory"]);
}

#[test]
fn a_doctor_answers_in_json_whatever_is_wrong() {
    let output = farwire(&["doctor", "-i", "fwnosuch0", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&report["command"], &report["worst"]), (&Value::from("doctor"), &Value::from("bad")));
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.len() > 5, "{findings:?}");
    let missing = findings.iter().find(|finding| finding["check"] == "interface").unwrap();
    assert_eq!(missing["what"], "fwnosuch0 does not exist here");
    for finding in findings {
        assert_eq!(finding["level"] == "ok", finding["mend"].is_null(), "{finding}");
    }
}

#[test]
fn a_failure_is_an_object_too() {
    let output = farwire(&["ping", "-i", "fwnosuch0", "--json", "peer"]);
    assert_eq!(output.status.code(), Some(4));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&report["command"], &report["exit_code"]), (&Value::from("ping"), &Value::from(4)));
    assert!(report["error"].as_str().unwrap().contains("fwnosuch0"), "{report}");
    // Where data goes to standard output, nothing else does.
    assert!(farwire(&["recv", "-i", "fwnosuch0", "--json", "-"]).stdout.is_empty());
}

/// Runs, and gives exit code and standard error.
fn told(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn without_a_key_the_next_step_is_told() {
    for command in
        [&["send", here(), "peer"][..], &["recv", "/tmp"], &["perf", "server"], &["perf", "peer"], &["ping", "peer"]]
    {
        let (code, said) = told(keyless(&[command, &["-i", "fwnosuch0"]].concat()));
        assert_eq!(code, Some(2), "{command:?}: {said}");
        assert!(said.contains("farwire keygen FILE") && said.contains("--insecure"), "{command:?}: {said}");
        // Both are a way on: what is missing then is the interface.
        let key = HOME.join("test.key");
        for flags in [&["--insecure"][..], &["--key", key.to_str().unwrap()]] {
            let (code, said) = told(keyless(&[command, &["-i", "fwnosuch0"], flags].concat()));
            assert_eq!(code, Some(4), "{command:?}: {said}");
            assert!(said.contains("fwnosuch0"), "{command:?}: {said}");
        }
    }
    refuses(&["ping", "--key", "x", "--insecure", "peer"], 2, &["--key", "--insecure", "cannot be used with"]);
    // Who asks who is there needs none.
    let (code, said) = told(keyless(&["discover", "-i", "fwnosuch0"]));
    assert!(code == Some(4) && said.contains("fwnosuch0"), "{said}");
}

#[test]
fn a_key_is_looked_for_where_users_name_it() {
    let config = HOME.join("xdg/farwire/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let ping = |variable: Option<&str>, flags: &[&str]| {
        let mut command = keyless(&[&["ping", "-i", "fwnosuch0", "peer"], flags].concat());
        command.env("XDG_CONFIG_HOME", HOME.join("xdg"));
        command.envs(variable.map(|path| ("FARWIRE_KEY_FILE", path)));
        told(command)
    };
    let names = |(code, said): (Option<i32>, String), words: &[&str]| {
        assert_eq!(code, Some(4), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    };
    fs::write(&config, "key = \"of-config.key\"").unwrap();
    names(ping(None, &[]), &["xdg/farwire/of-config.key", "(named by ", "config.toml)"]);
    names(ping(Some(""), &[]), &["of-config.key"]);
    names(
        ping(Some("of-variable.key"), &[]),
        &["of-variable.key: No such file", "farwire keygen of-variable.key", "(named by FARWIRE_KEY_FILE)"],
    );
    names(ping(Some("of-variable.key"), &["--key", "of-flag.key"]), &["of-flag.key: No such file"]);
    names(ping(Some("of-variable.key"), &["--insecure"]), &["fwnosuch0"]);
    fs::write(&config, "key = \"../../test.key\"").unwrap();
    names(ping(None, &[]), &["fwnosuch0"]);
    fs::write(&config, "kee = 1").unwrap();
    names(ping(None, &[]), &["config.toml", "unknown field `kee`"]);
    fs::write(&config, "key = \"\"").unwrap();
    names(ping(None, &[]), &["config.toml", "names no file"]);
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    names(ping(None, &[]), &["config.toml: it is no text file"]);
    fs::remove_file(&config).unwrap();
}

#[test]
fn a_key_is_made_once_and_shown_to_nobody() {
    let path = HOME.join("made.key");
    let _ = fs::remove_file(&path);
    let made = farwire(&["keygen", path.to_str().unwrap()]);
    let said = format!("{}{}", text(&made.stdout), text(&made.stderr));
    assert_eq!(made.status.code(), Some(0), "{said}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let key = fs::read_to_string(&path).unwrap();
    let secret = key.lines().find_map(|line| line.strip_prefix("farwire-key-1:")).unwrap();
    assert!(secret.len() == 64 && !said.contains(&secret[..8]), "{said}");
    assert!(said.contains(": key ") && said.contains("scp -p") && said.contains("farwire recv --key"), "{said}");
    refuses(&["keygen", path.to_str().unwrap()], 4, &["made.key is there already", "name another file"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), key);
    // Nor where it was put by mistake.
    let line = format!("farwire-key-1:{secret}");
    let (code, said) = told(keyless(&["ping", "--key", &line, "peer"]));
    assert!(code == Some(2) && said.contains("that is a key") && !said.contains(&secret[..8]), "{said}");

    let other = HOME.join("json.key");
    let _ = fs::remove_file(&other);
    let made = farwire(&["keygen", "--json", other.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&made.stdout).expect("one JSON object");
    assert!(fs::read_to_string(&other).unwrap().contains(report["key"].as_str().unwrap()), "{report}");
    let piped = farwire(&["keygen", "-"]);
    assert!(text(&piped.stdout).contains("\nfarwire-key-1:") && !text(&piped.stderr).contains("key-1"));
    let (code, said) = told(keyless(&["keygen", "-", "--json"]));
    assert!(code == Some(2) && said.contains("standard output"), "{said}");
}

#[test]
fn a_reader_that_leaves_early_is_no_drama() {
    for reader in ["true", "head -n 1 >/dev/null", "cat >/dev/full 2>/dev/null"] {
        let command = format!("{BINARY} doctor -i fwnosuch0 | {reader}");
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let said = text(&output.stderr);
        assert!(!said.contains("panicked") && said.contains("not work like this"), "{said}");
    }
}
