//! What goes wrong on a real link, and what users get: the built command over AF_XDP, in namespaces. Needs root.

mod lab;

#[path = "faults/command.rs"]
mod command;
#[path = "faults/forge.rs"]
mod forge;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use command::{B_MAC, Scene, content};

/// Where a test can't run without root, this ends it: loudly, unless that is known.
macro_rules! needs_root {
    () => {
        if !lab::privileged() {
            return;
        }
    };
}

#[test]
fn an_interface_that_is_down_is_named_with_the_command() {
    needs_root!();
    let scene = Scene::new(&[]);
    scene.lab.run("a", &["ip", "link", "set", "eth1", "down"]);
    scene.farwire("a", &["ping", "-i", "eth1", B_MAC]).says(4, &["eth1 is down", "ip link set eth1 up"]);
    // Without -i there is nothing to choose from.
    scene.farwire("a", &["ping", B_MAC]).says(4, &["ip link set eth1 up"]);
    scene.farwire("a", &["doctor", "-i", "eth1"]).fails_with(4);
}

#[test]
fn without_privileges_the_missing_ones_are_named() {
    needs_root!();
    let scene = Scene::new(&[]);
    let command = scene.command(&["ping", "-i", "eth1", B_MAC]);
    let bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"].map(str::to_owned);
    scene
        .run("a", &[&bare[..], &command].concat())
        .says(4, &["not permitted", "CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF", "setcap"]);
    let command = scene.command(&["ping", "-i", "eth1", "--link", "packet", B_MAC]);
    scene.run("a", &[&bare[..], &command].concat()).says(4, &["AF_PACKET", "EPERM"]);
    let command = scene.command(&["doctor", "-i", "eth1"]);
    let told = scene.run("a", &[&bare[..], &command].concat());
    assert!(told.stdout.contains("CAP_BPF is missing"), "{told:?}");
    told.fails_with(4);
}

#[test]
fn an_unknown_peer_is_no_answer() {
    needs_root!();
    let scene = Scene::new(&[]);
    scene.file("f", 10);
    scene.send(&["f"], "nobody").says(3, &["nobody on the link answers to \"nobody\"", "farwire discover"]);
    scene.send(&["f"], "02:00:00:00:00:99").says(3, &["no answer from 02:00:00:00:00:99", "EtherType"]);
    scene.send(&["f"], "ff:ff:ff:ff:ff:ff").says(2, &["ff:ff:ff:ff:ff:ff"]);
    scene.farwire("a", &["discover", "-i", "eth1"]).says(3, &["nobody answers on eth1"]);
    // Nor does anybody answer on another EtherType.
    let recv = scene.recv(&[]);
    scene.send(&["f", "--ethertype", "0x88b6"], "b").says(3, &["nobody on the link"]);
    scene.send(&["f"], "b").succeeds();
    recv.interrupt().fails_with(0);
}

#[test]
fn ends_with_different_mtus_understand_each_other() {
    needs_root!();
    let scene = Scene::new(&["--mtu", "3000"]);
    let recv = scene.recv(&["--mtu", "1400"]);
    let sent = scene.file("big", 3_000_000);
    scene.send(&["big"], "b").succeeds();
    scene.assert_arrived("big", &sent);
    drop(recv);
    let _recv = scene.recv(&[]);
    let sent = scene.file("big", 4_000_000);
    scene.send(&["big", "--mtu", "1000"], "b").succeeds();
    scene.assert_arrived("big", &sent);
    scene.send(&["big", "--mtu", "9000"], "b").says(4, &["--mtu 9000", "3000"]);
}

#[test]
fn an_interface_whose_mtu_is_really_smaller_over_there() {
    needs_root!();
    let scene = Scene::new(&["--mtu", "3000"]);
    scene.lab.run("b", &["ip", "link", "set", "eth1", "mtu", "1500"]);
    let _recv = scene.recv(&[]);
    let sent = scene.file("big", 3_000_000);
    scene.send(&["big"], "b").succeeds();
    scene.assert_arrived("big", &sent);
}

#[test]
fn a_queue_in_use_is_told_with_its_holder() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&[]);
    let second = scene.farwire("b", &["recv", "-i", "eth1", scene.to()]);
    second.says(4, &["eth1", "in use", "farwire"]);
    // The first one is none the worse for it.
    scene.file("f", 1000);
    scene.send(&["f"], "b").succeeds();
    recv.interrupt().fails_with(0);
    // Nor is anything left behind: it can be opened again.
    let again = scene.recv(&[]);
    scene.send(&["f"], "b").succeeds();
    drop(again);
}

#[test]
fn another_protocol_version_is_named() {
    needs_root!();
    let scene = Scene::new(&[]);
    scene.file("f", 10);
    let _responder = forge::version_responder(&scene.lab, "b");
    scene.send(&["f", "--insecure"], B_MAC).says(3, &["protocol version", "update the older"]);
    // With a key an answer that proves none is only a hint.
    scene.send(&["f"], B_MAC).says(3, &["no answer", "with our key", "protocol version", "update the older"]);
}

#[test]
fn a_directory_that_cannot_be_written() {
    needs_root!();
    let scene = Scene::new(&[]);
    let to = scene.to().to_owned();
    let script = format!("mount -t tmpfs -o ro tmpfs {to} && exec {} recv -i eth1 {to}", command::BINARY);
    let told = scene.run("b", &["sh", "-c", &script].map(str::to_owned));
    told.says(4, &[&to, "read-only", "make it writable"]);
}

#[test]
fn a_full_disk_costs_only_the_file_that_did_not_fit() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv_on_tmpfs("1m", &["--json", "--once"]);
    scene.file("a-small", 1000);
    scene.file("b-large", 5_000_000);
    scene.file("c-small", 1000);
    let sent = scene.send(&["a-small", "b-large", "c-small", "--json"], "b");
    sent.says(1, &["b-large", "at the receiver", "no space left", "1 of 3 entries failed"]);
    let report = sent.json();
    assert_eq!((&report["files"], &report["failed"]), (&2.into(), &1.into()), "{report}");
    let received = recv.wait();
    received.says(1, &["b-large", "no space left"]);
    assert_eq!(received.json()["files"], 2);
}

#[test]
fn a_source_that_cannot_be_read_is_told_on_both_sides() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&["--once"]);
    let fine = scene.file("fine", 1000);
    scene.file("secret", 1000);
    fs::set_permissions(scene.from("secret"), PermissionsExt::from_mode(0o000)).unwrap();
    // Root reads everything, unless it gives that up.
    let humble = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"].map(str::to_owned);
    let sent = scene.run("a", &[&humble[..], &scene.send_words(&["fine", "secret"], "b")].concat());
    sent.says(1, &["secret: Permission denied", "1 of 2 entries failed"]);
    recv.wait().says(1, &["secret: the sender could not read it: Permission denied"]);
    scene.assert_arrived("fine", &fine);
    assert!(!Path::new(scene.to()).join("secret").exists());
}

#[test]
fn a_receiver_killed_in_the_middle() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&[]);
    let large = scene.file("large", 60_000_000);
    let sender = scene.start_send(&["large", "--rate", "100mbit"], "b");
    scene.wait_for_part();
    recv.kill();
    assert!(!Path::new(scene.to()).join("large").exists());
    // The next receiver does not know the connection, and says so.
    let _recv = scene.recv(&[]);
    let told = sender.wait();
    told.says(1, &["forgotten this connection"]);
    scene.send(&["large"], "b").succeeds();
    scene.assert_same("large", &large);
    // Whoever is killed can't clean up: what stays says by its name that it is a part.
    assert_eq!(scene.parts(), 1);
}

#[test]
fn a_sender_killed_in_the_middle() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&[]);
    scene.file("large", 60_000_000);
    let small = scene.file("small", 100_000);
    let sender = scene.start_send(&["large", "--rate", "100mbit"], "b");
    scene.wait_for_part();
    sender.kill();
    // The receiver still waits for the dead one, and serves the next.
    scene.send(&["small"], "b").succeeds();
    scene.assert_same("small", &small);
    assert!(!Path::new(scene.to()).join("large").exists());
    // In the end it gives up and leaves nothing.
    let deadline = Instant::now() + Duration::from_secs(45);
    while scene.parts() > 0 {
        assert!(Instant::now() < deadline, "a part is still there after the idle timeout");
        std::thread::sleep(Duration::from_millis(200));
    }
    let told = recv.interrupt();
    told.succeeds();
    // The next sender has the dead one's address: when the receiver asked for a sign of life while it ran, it answered
    // that it knows no such connection.
    let reasons = ["nothing heard from the peer", "the peer has forgotten this connection"];
    assert!(reasons.iter().any(|reason| told.stderr.contains(reason)), "{}", told.stderr);
}

#[test]
fn ctrl_c_on_either_side_cleans_up_and_tells() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&[]);
    scene.file("large", 60_000_000);
    let sender = scene.start_send(&["large", "--rate", "100mbit"], "b");
    scene.wait_for_part();
    sender.interrupt().says(5, &["stopped"]);
    scene.wait_until_empty();
    let sender = scene.start_send(&["large", "--rate", "100mbit"], "b");
    scene.wait_for_part();
    let told = recv.interrupt();
    told.says(5, &["the user stopped the program"]);
    assert_eq!(scene.parts(), 0);
    sender.wait().says(1, &["closed by the peer", "the user stopped the program"]);
}

#[test]
fn an_interface_taken_down_and_up_again_is_outlived() {
    needs_root!();
    let scene = Scene::new(&[]);
    let _recv = scene.recv(&[]);
    let large = scene.file("large", 40_000_000);
    for host in ["a", "b"] {
        let sender = scene.start_send(&["large", "--rate", "150mbit"], "b");
        scene.wait_for_part();
        scene.lab.run(host, &["ip", "link", "set", "eth1", "down"]);
        std::thread::sleep(Duration::from_millis(1500));
        scene.lab.run(host, &["ip", "link", "set", "eth1", "up"]);
        sender.wait().succeeds();
        scene.assert_arrived("large", &large);
        fs::remove_file(Path::new(scene.to()).join("large")).unwrap();
    }
}

#[test]
fn an_interface_that_is_removed_ends_both_sides() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&[]);
    scene.file("large", 60_000_000);
    let sender = scene.start_send(&["large", "--rate", "100mbit"], "b");
    scene.wait_for_part();
    scene.lab.run("a", &["ip", "link", "del", "eth1"]);
    sender.wait().says(4, &["eth1", "the interface is gone"]);
    recv.wait().says(4, &["eth1", "the interface is gone"]);
    assert_eq!(scene.parts(), 0);
}

#[test]
fn a_rate_that_the_link_does_not_have_loses_nothing() {
    needs_root!();
    let scene = Scene::new(&[]);
    let _recv = scene.recv(&[]);
    let bytes = scene.file("large", 30_000_000);
    scene.send(&["large", "--rate", "90gbit"], "b").succeeds();
    scene.assert_arrived("large", &bytes);
}

#[test]
fn garbage_at_full_rate_is_counted_and_changes_nothing() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&["--json"]);
    let small = scene.file("small", 1_000_000);
    scene.send(&["small"], "b").succeeds();
    scene.assert_arrived("small", &small);
    let before = recv.memory_kb();
    let flood = forge::flood(&scene.lab, "a");
    let large = scene.file("large", 100_000_000);
    scene.send(&["large"], "b").succeeds();
    scene.assert_arrived("large", &large);
    let frames = flood.stop();
    assert!(frames > 10_000, "only {frames} frames of garbage were sent");
    let after = recv.memory_kb();
    assert!(after < before + 16_000, "memory grew from {before} to {after} kB under garbage");
    let told = recv.interrupt();
    told.fails_with(0);
    let report = told.json_lines().pop().expect("a report");
    let dropped = forge::dropped(&report["engine"]);
    assert!(dropped > frames / 10, "{frames} frames of garbage, {dropped} counted: {report}");
}

#[test]
fn one_sender_after_another() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&["--json"]);
    let bytes = scene.file("f", 100_000);
    for _ in 0..10 {
        scene.send(&["f"], "b").succeeds();
        scene.assert_arrived("f", &bytes);
    }
    let told = recv.interrupt();
    told.fails_with(0);
    assert_eq!(told.json_lines().len(), 10);
}

#[test]
fn standard_input_to_standard_output() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv_into("-", &[]);
    let bytes = content(7, 3_000_000);
    scene.send_stdin(&bytes, "b").succeeds();
    let received = recv.wait();
    received.succeeds();
    assert!(received.raw == bytes, "{} bytes came out of {}", received.raw.len(), bytes.len());
}
