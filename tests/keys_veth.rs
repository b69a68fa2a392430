//! Keys as users meet them, over AF_XDP in namespaces: who gets in, who does not and why, whose key is taken back.
//! Needs root.

mod lab;

#[path = "faults/command.rs"]
mod command;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use command::{B_MAC, Scene, keygen};
use nix::unistd::User;

const A_MAC: &str = "02:00:0a:4d:00:01";
/// A receiver looks ten times a second whether it was told to read its keys anew.
const NOTICED: Duration = Duration::from_secs(1);

/// Where a test can't run without root, this ends it: loudly, unless that is known.
macro_rules! needs_root {
    () => {
        if !lab::privileged() {
            return;
        }
    };
}

#[test]
fn a_shared_key_is_told_with_its_cipher_on_both_sides() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&["--once"]);
    scene.file("f", 1000);
    let sent = scene.send(&["f"], "b");
    sent.says(0, &["encrypted with key lab ("]);
    let received = recv.wait();
    received.says(0, &["encrypted with key lab ("]);
    for told in [&sent, &received] {
        assert!(told.stdout.contains(" with key lab\n"), "{told:?}");
        assert!(told.stdout.contains("AES-256-GCM") || told.stdout.contains("ChaCha20-Poly1305"), "{told:?}");
    }
    assert!(received.stdout.contains(&format!("received 1 file from lab ({A_MAC})")), "{received:?}");
    let _server = scene.perf_server();
    for command in
        [&["ping", "-i", "eth1", "-c", "10", "--json", "b"][..], &["perf", "-i", "eth1", "-t", "0.1", "--json", "b"]]
    {
        let report = scene.farwire("a", command).json();
        assert_eq!(report["encryption"]["key"], "lab", "{report}");
        assert!(report["encryption"]["cipher"].is_string(), "{report}");
    }
}

#[test]
fn insecure_on_both_sides_works_and_is_shown_everywhere() {
    needs_root!();
    let scene = Scene::new(&[]);
    let words = "NOT ENCRYPTED (--insecure)";
    let recv = scene.recv(&["--insecure"]);
    scene.file("f", 1000);
    let sent = scene.send(&["f", "--insecure"], "b");
    sent.says(0, &[words]);
    assert!(sent.stdout.contains(words), "{sent:?}");
    let report = scene.send(&["f", "--insecure", "--json"], "b").json();
    assert!(report.as_object().unwrap().contains_key("encryption") && report["encryption"].is_null(), "{report}");
    let pinged = scene.farwire("a", &["ping", "-i", "eth1", "--insecure", "-c", "5", "b"]);
    assert!(pinged.stdout.contains(words), "{pinged:?}");
    let received = recv.interrupt();
    received.says(0, &[words, "farwire send --insecure PATH b"]);
    assert!(received.stdout.contains(&format!("received 1 file from {A_MAC}")), "{received:?}");
    assert_eq!(received.stdout.matches(words).count(), 2, "{received:?}");
}

#[test]
fn who_has_another_key_or_none_is_told_what_to_do() {
    needs_root!();
    let scene = Scene::new(&[]);
    let other = scene.beside("other.key");
    keygen(Path::new(&other));
    scene.file("f", 1000);
    let keyed = scene.recv(&[]);
    scene.send(&["f", "--key", &other], "b").says(
        3,
        &[
            &format!("no answer from {B_MAC} with our key"),
            "it does not have our key; put the key file there as well, or use one that it has",
        ],
    );
    scene.send(&["f", "--insecure"], "b").says(1, &[B_MAC, "refused: it takes sealed connections only", "--key FILE"]);
    scene.send(&["f"], "b").succeeds();
    keyed.interrupt().succeeds();
    let _insecure = scene.recv(&["--insecure"]);
    scene.send(&["f"], "b").says(3, &["with our key", "it has no keys (--insecure); give it a key, or say --insecure"]);
}

#[test]
fn a_key_that_is_removed_ends_its_connections_and_no_others() {
    needs_root!();
    let scene = Scene::new(&[]);
    let keys = scene.beside("keys");
    fs::create_dir(&keys).unwrap();
    fs::set_permissions(&keys, PermissionsExt::from_mode(0o700)).unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| format!("{keys}/{name}.key"));
    keygen(Path::new(&alice));
    keygen(Path::new(&bob));
    let recv = scene.recv(&["--key", &keys]);
    scene.file("large", 60_000_000);
    scene.file("small", 1000);
    let sender = scene.start_send(&["large", "--rate", "100mbit", "--key", &alice], "b");
    scene.wait_for_part();
    let again = fs::read(&alice).unwrap();
    fs::remove_file(&alice).unwrap();
    recv.hang_up();
    sender.wait().says(1, &["closed by the peer: the key was removed"]);
    scene.wait_until_empty();
    scene.send(&["small", "--key", &bob], "b").succeeds();
    // What can't be taken changes nothing.
    let carol = format!("{keys}/carol.key");
    fs::write(&carol, &again).unwrap();
    fs::set_permissions(&carol, PermissionsExt::from_mode(0o644)).unwrap();
    recv.hang_up();
    sleep(NOTICED);
    scene.send(&["small", "--key", &bob], "b").succeeds();
    // And what can, is.
    fs::set_permissions(&carol, PermissionsExt::from_mode(0o600)).unwrap();
    recv.hang_up();
    sleep(NOTICED);
    scene.send(&["small", "--key", &carol], "b").succeeds();
    let told = recv.interrupt();
    told.says(
        0,
        &[
            "encrypted, 2 keys: alice, bob",
            &format!("transfer from alice ({A_MAC}): the key alice was removed"),
            &format!("keys read anew from {keys}: bob"),
            "carol.key: its mode is 0644",
            "; the keys stay as they were",
            &format!("keys read anew from {keys}: bob, carol"),
        ],
    );
    for name in ["bob", "carol"] {
        assert!(told.stdout.contains(&format!("received 1 file from {name} ({A_MAC})")), "{told:?}");
    }
}

#[test]
fn the_last_key_can_be_taken_back_and_given_again() {
    needs_root!();
    let scene = Scene::new(&[]);
    let [file, kept] = ["only.key", "kept.key"].map(|name| scene.beside(name));
    keygen(Path::new(&file));
    fs::copy(&file, &kept).unwrap();
    let recv = scene.recv(&["--key", &file]);
    scene.file("large", 60_000_000);
    scene.file("small", 1000);
    let sender = scene.start_send(&["large", "--rate", "100mbit", "--key", &kept], "b");
    scene.wait_for_part();
    fs::remove_file(&file).unwrap();
    recv.hang_up();
    sender.wait().says(1, &["closed by the peer: the key was removed"]);
    scene.send(&["small", "--key", &kept], "b").says(3, &["it does not have our key"]);
    fs::rename(&kept, &file).unwrap();
    recv.hang_up();
    sleep(NOTICED);
    scene.send(&["small", "--key", &file], "b").succeeds();
    let (gone, again) = (format!("no key is left in {file}: nobody can connect"), format!("anew from {file}: only ("));
    recv.interrupt().says(0, &[&gone, &again]);
}

#[test]
fn a_server_that_became_another_user_reads_that_users_keys_anew() {
    needs_root!();
    let (scene, home) = (Scene::new(&[]), tempfile::tempdir().unwrap());
    let uid = User::from_name("nobody").unwrap().expect("there is a user nobody").uid.as_raw();
    let own = |path: &Path| chown(path, Some(uid), None).unwrap();
    let [to, keys] = ["to", "keys"].map(|name| home.path().join(name));
    let [alice, bob] = ["alice.key", "bob.key"].map(|name| keys.join(name));
    for dir in [&to, &keys] {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).unwrap();
        own(dir);
    }
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o711)).unwrap();
    keygen(&alice);
    own(&alice);
    let recv = scene.recv_into(to.to_str().unwrap(), &["--user", "nobody", "--key", keys.to_str().unwrap()]);
    keygen(&bob);
    recv.hang_up();
    sleep(NOTICED);
    own(&bob);
    recv.hang_up();
    sleep(NOTICED);
    scene.file("f", 1000);
    let mine = scene.beside("bob.key");
    fs::copy(&bob, &mine).unwrap();
    scene.send(&["f", "--key", &mine], "b").succeeds();
    let told = recv.interrupt();
    // The first time it was still root's alone.
    told.says(0, &["encrypted with key alice (", "bob.key: Permission denied", "keys read anew", ": alice, bob"]);
}

#[test]
fn of_several_keys_a_sender_takes_the_peers() {
    needs_root!();
    let scene = Scene::new(&[]);
    let keys = scene.beside("keys");
    fs::create_dir(&keys).unwrap();
    let [b, c] = ["b", "c"].map(|name| format!("{keys}/{name}.key"));
    keygen(Path::new(&b));
    keygen(Path::new(&c));
    fs::set_permissions(&keys, PermissionsExt::from_mode(0o700)).unwrap();
    let _recv = scene.recv(&["--key", &b]);
    scene.file("f", 1000);
    scene.send(&["f", "--key", &keys], "b").says(0, &["encrypted with key b ("]);
    scene.send(&["f", "--key", &keys], B_MAC).says(2, &["2 keys (b, c)", "say which", "NAME.key"]);
}

#[test]
fn a_server_without_keys_still_ends_when_it_is_hung_up() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&["--insecure"]);
    recv.hang_up();
    recv.wait().succeeds();
    let server = scene.perf_server();
    server.hang_up();
    sleep(NOTICED);
    let told = scene.farwire("a", &["perf", "-i", "eth1", "-t", "0.1", "b"]);
    told.succeeds();
    assert!(told.stdout.contains("encryption: ") && told.stdout.contains(" with key lab"), "{told:?}");
    let told = server.interrupt();
    told.says(0, &["keys read anew from"]);
    assert!(told.stdout.contains(&format!("lab ({A_MAC}): 1 stream")), "{told:?}");
}
