//! Keys as users meet them, over AF_XDP in namespaces: who gets in, who does not and why, whose key is taken back.
//! Needs root.

mod lab;

#[path = "faults/command.rs"]
mod command;
#[path = "faults/memory.rs"]
mod memory;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use command::{B_MAC, Running, Scene, content, keygen};
use memory::Needle;
use nix::unistd::User;

const A_MAC: &str = "02:00:0a:4d:00:01";
/// A receiver looks ten times a second whether it was told to read its keys anew.
const NOTICED: Duration = Duration::from_secs(1);
/// How long it may take until what was removed is gone.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let keys = set_of_keys(&scene, &["alice", "bob"]);
    let [alice, bob] = ["alice", "bob"].map(|name| format!("{keys}/{name}.key"));
    let [alices, bobs] = [&alice, &bob].map(|path| needle(path));
    let recv = scene.recv(&["--key", &keys]);
    scene.file("large", 60_000_000);
    scene.file("small", 1000);
    let sender = scene.start_send(&["large", "--rate", "100mbit", "--key", &alice], "b");
    scene.wait_for_part();
    let again = fs::read(&alice).unwrap();
    assert_eq!((alices.places(recv.id()), bobs.places(recv.id())), (1, 1));
    // What becomes of it is not up to anybody else's file.
    let dave = format!("{keys}/dave.key");
    fs::write(&dave, "mislaid").unwrap();
    fs::set_permissions(&dave, PermissionsExt::from_mode(0o600)).unwrap();
    fs::remove_file(&alice).unwrap();
    recv.hang_up();
    sender.wait().says(1, &["closed by the peer: the key was removed"]);
    scene.wait_until_empty();
    scene.send(&["small", "--key", &bob], "b").succeeds();
    wait_until_forgotten(&alices, &recv);
    assert_eq!(bobs.places(recv.id()), 1);
    fs::remove_file(&dave).unwrap();
    // A file that can't be taken gives nobody a key, and takes none but its own.
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
            "dave.key: it holds no farwire key",
            &format!("keys read anew from {keys}: bob"),
            "carol.key: its mode is 0644",
            "; carol has no key until then, and SIGHUP",
            &format!("keys read anew from {keys}: bob, carol"),
        ],
    );
    for name in ["bob", "carol"] {
        assert!(told.stdout.contains(&format!("received 1 file from {name} ({A_MAC})")), "{told:?}");
    }
}

/// A directory with a key for each of these.
fn set_of_keys(scene: &Scene, names: &[&str]) -> String {
    let keys = scene.beside("keys");
    fs::create_dir(&keys).unwrap();
    fs::set_permissions(&keys, PermissionsExt::from_mode(0o700)).unwrap();
    for name in names {
        keygen(&Path::new(&keys).join(format!("{name}.key")));
    }
    keys
}

/// What a key file holds, to be looked for in memory.
fn needle(path: &str) -> Needle {
    let text = fs::read_to_string(path).unwrap();
    Needle::of_digits(text.lines().find_map(|line| line.strip_prefix("farwire-key-1:")).unwrap())
}

fn wait_until_forgotten(key: &Needle, process: &Running) {
    let begun = Instant::now();
    while key.places(process.id()) > 0 {
        assert!(begun.elapsed() < PATIENCE, "a key that was taken back stays in memory");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_file_that_breaks_keeps_its_own_key_and_a_directory_that_goes_takes_all() {
    needs_root!();
    let scene = Scene::new(&[]);
    let keys = set_of_keys(&scene, &["alice", "bob"]);
    let [alice, bob] = ["alice", "bob"].map(|name| format!("{keys}/{name}.key"));
    let bobs = scene.beside("bobs.key");
    fs::copy(&bob, &bobs).unwrap();
    scene.file("f", 1000);
    let recv = scene.recv(&["--key", &keys]);
    // The same key under both names: the first counts, though the second had one of its own.
    fs::copy(&alice, &bob).unwrap();
    recv.hang_up();
    sleep(NOTICED);
    scene.send(&["f", "--key", &bobs], "b").says(3, &["it does not have our key"]);
    scene.send(&["f", "--key", &alice], "b").succeeds();
    fs::copy(&bobs, &bob).unwrap();
    recv.hang_up();
    sleep(NOTICED);
    fs::write(&bob, "mislaid").unwrap();
    recv.hang_up();
    sleep(NOTICED);
    scene.send(&["f", "--key", &bobs], "b").succeeds();
    // A directory that others can write to is not looked at.
    fs::remove_file(&bob).unwrap();
    fs::set_permissions(&keys, PermissionsExt::from_mode(0o777)).unwrap();
    recv.hang_up();
    sleep(NOTICED);
    scene.send(&["f", "--key", &bobs], "b").succeeds();
    fs::set_permissions(&keys, PermissionsExt::from_mode(0o700)).unwrap();
    fs::rename(&keys, scene.beside("elsewhere")).unwrap();
    recv.hang_up();
    sleep(NOTICED);
    scene.send(&["f", "--key", &bobs], "b").says(3, &["it does not have our key"]);
    recv.interrupt().says(
        0,
        &[
            "bob.key holds the same key as",
            "alice.key; remove one of them; until then, and SIGHUP, only the latter counts",
            "bob.key: it holds no farwire key",
            "; the key bob stays as it was",
            "so that others than its owner can put keys there",
            "; the keys stay as they were",
            "no key is left in",
        ],
    );
}

#[test]
fn a_hangup_while_keys_are_read_is_not_the_end() {
    needs_root!();
    let scene = Scene::new(&[]);
    let keys = set_of_keys(&scene, &["b"]);
    for (n, bytes) in content(7, 400 * 32).chunks(32).enumerate() {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("{keys}/peer{n}.key");
        fs::write(&path, format!("farwire-key-1:{digits}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let mut recv = scene.start("b", &scene.recv_words(scene.to(), &["--key", &keys]));
    let begun = Instant::now();
    while !hears_hangups(&recv) {
        assert!(begun.elapsed() < PATIENCE && !recv.is_over(), "it does not listen for SIGHUP");
    }
    recv.hang_up();
    assert!(scene.answers(&mut recv, &[]), "it ended: {:?}", recv.wait());
    sleep(NOTICED);
    scene.file("f", 1000);
    scene.send(&["f", "--key", &keys], "b").succeeds();
    recv.interrupt().says(0, &["keys read anew from"]);
}

/// Whether a process has a handler for SIGHUP by now, as [`is_in_mask`] of what it catches.
fn hears_hangups(process: &Running) -> bool {
    is_in_mask(process, "SigCgt:")
}

fn is_in_mask(process: &Running, field: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(field)).map_or("0", str::trim);
    u64::from_str_radix(mask, 16).unwrap() & 1 != 0
}

#[test]
fn under_nohup_a_hangup_ends_nothing_and_renews_keys() {
    needs_root!();
    let scene = Scene::new(&[]);
    let nohup = |flags: &[&str]| {
        let words = scene.recv_words(scene.to(), flags).join(" ");
        let mut recv = scene.start("b", &["sh", "-c", &format!("trap '' HUP; exec {words}")].map(str::to_owned));
        assert!(scene.answers(&mut recv, &[]), "it ended: {:?}", recv.wait());
        recv.hang_up();
        sleep(NOTICED);
        recv
    };
    let recv = nohup(&["--insecure"]);
    assert!(is_in_mask(&recv, "SigIgn:") && !hears_hangups(&recv));
    scene.file("f", 1000);
    scene.send(&["f", "--insecure"], "b").succeeds();
    recv.interrupt().succeeds();
    nohup(&[]).interrupt().says(0, &["keys read anew from"]);
}

#[test]
fn who_could_not_read_the_keys_again_is_warned_at_the_start() {
    needs_root!();
    let scene = Scene::new(&[]);
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let flags = ["--user", "nobody", "--key", &scene.beside("lab.key")];
    let recv = scene.recv_into(home.path().to_str().unwrap(), &flags);
    recv.interrupt().says(
        0,
        &["lab.key: Permission denied", "So user nobody can't read the keys anew", "chown -R nobody ", "docs/KEYS.md"],
    );
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
    assert!(!told.stderr.contains("can't read the keys anew"), "{told:?}");
}

#[test]
fn of_several_keys_a_sender_takes_the_peers() {
    needs_root!();
    let scene = Scene::new(&[]);
    let keys = set_of_keys(&scene, &["b", "c"]);
    let b = format!("{keys}/b.key");
    let _recv = scene.recv(&["--key", &b]);
    scene.file("f", 1000);
    scene.send(&["f", "--key", &keys], "b").says(0, &["encrypted with key b ("]);
    scene.send(&["f", "--key", &keys], B_MAC).says(2, &["2 keys (b, c)", "say which", "NAME.key"]);
    // Nor is the last one good for everybody.
    fs::rename(&b, scene.beside("b.key")).unwrap();
    for peer in ["b", B_MAC] {
        scene.send(&["f", "--key", &keys], peer).says(2, &["1 key (c)", &format!("{peer:?}"), "say which"]);
    }
    scene.send(&["f", "--key", &scene.beside("b.key")], B_MAC).succeeds();
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
