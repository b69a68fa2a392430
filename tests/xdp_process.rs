//! What only shows between processes: capabilities that suffice or are missing, and what a killed holder leaves behind.
//!
//! A test starts this very binary again inside a host of its lab, to run `child` there.

mod lab;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use farwire::link::Link;
use farwire::xdp::{XdpConfig, XdpLink};
use lab::{Lab, privileged};

/// Set for the child: how long it is to hold the queue, in milliseconds.
const HOLD_MS: &str = "FARWIRE_TEST_HOLD_MS";
const SUFFICIENT: &str = "+net_raw,+net_admin,+bpf,+ipc_lock";

fn config() -> XdpConfig {
    XdpConfig { umem_bytes: 32 << 20, ..XdpConfig::new("eth1") }
}

/// Not a test by itself: opens the queue, says how that went, and holds it.
#[test]
fn child() {
    let Ok(hold_ms) = std::env::var(HOLD_MS) else { return };
    match XdpLink::open(&config()) {
        Ok(link) => {
            println!("child: open in mode {}", link.caps().mode);
            std::thread::sleep(Duration::from_millis(hold_ms.parse().unwrap()));
        }
        Err(error) => println!("child: {error}"),
    }
}

/// The child's process; killed when the test is done with it, however that ends.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself, which is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `child` in host a with these capabilities only, and returns it with what it says.
fn start(lab: &Lab, capabilities: &str, hold_ms: u32) -> (Holder, String) {
    let mut child = Command::new("ip")
        .args(["netns", "exec", &lab.namespace_name("a"), "setpriv"])
        .arg(format!("--bounding-set=-all,{capabilities}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(HOLD_MS, hold_ms.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ip and setpriv run");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.filter_map(|line| line.split_once("child: ").map(|(_, said)| said.to_owned())).next();
    (Holder(child), said.expect("the child says how it went"))
}

fn said_with(lab: &Lab, capabilities: &str) -> String {
    start(lab, capabilities, 0).1
}

#[test]
fn four_capabilities_suffice_and_missing_ones_are_named() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    assert_eq!(said_with(&lab, SUFFICIENT), "open in mode copy");
    let without = said_with(&lab, "+net_raw,+net_admin,+ipc_lock");
    assert!(
        without.contains("eth1 queue 0: opening an AF_XDP queue is not permitted: CAP_BPF is missing"),
        "{without}"
    );
    assert!(without.contains("setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep"), "{without}");
    let without = said_with(&lab, "+ipc_lock");
    assert!(without.contains("CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF are missing"), "{without}");
}

#[test]
fn a_pool_beyond_the_lock_limit_says_so() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    // Without CAP_IPC_LOCK the pool counts against `ulimit -l`, 8 MiB by default.
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK).unwrap();
    if most > config().umem_bytes {
        eprintln!("NOT RUN: `ulimit -l` is {most} here, which is no limit to a pool of {}", config().umem_bytes);
        return;
    }
    let said = said_with(&lab, "+net_raw,+net_admin,+bpf");
    assert!(
        said.contains("the frame pool of 33554432 bytes may not be locked in memory; grant CAP_IPC_LOCK"),
        "{said}"
    );
}

#[test]
fn a_holder_is_named_and_leaves_nothing_behind_when_killed() {
    if !privileged() {
        return;
    }
    let lab = Lab::up(&[]);
    let (holder, said) = start(&lab, SUFFICIENT, 60_000);
    assert_eq!(said, "open in mode copy");
    let Err(error) = lab.inside("a", || XdpLink::open(&config())) else { panic!("the child holds the queue") };
    let error = error.to_string();
    let expected = format!("eth1 queue 0 is in use by process {} (xdp_process", holder.0.id());
    assert!(error.starts_with(&expected), "{error}, not {expected}");
    assert!(lab.run("a", &["ip", "link", "show", "eth1"]).contains("prog/xdp"));

    drop(holder);
    let link = lab.inside("a", || XdpLink::open(&config())).unwrap_or_else(|error| panic!("{error}"));
    drop(link);
    assert!(!lab.run("a", &["ip", "link", "show", "eth1"]).contains("prog/xdp"), "no program outlives its process");
}
