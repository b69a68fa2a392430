//! What the command may do while it runs: an ordinary user's with file capabilities, root's, another user's. Read from
//! the kernel while transfers go over AF_XDP. Needs root.

mod lab;

#[path = "faults/command.rs"]
mod command;
#[path = "privileges/status.rs"]
mod status;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use command::{B_MAC, BINARY, Running, Scene, content};
use lab::InUse;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use status::{Status, core_limits, is_closed_to_its_user, threads};
use tempfile::TempDir;

const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools", "/setup");
/// An ordinary user. No name belongs to it, and none is needed.
const UID: u32 = 61_234;
const CAP_DAC_OVERRIDE: u64 = 1 << 1;
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_FOWNER: u64 = 1 << 3;

/// Where a test can't run without root, this ends it: loudly, unless that is known.
macro_rules! needs_root {
    () => {
        if !lab::privileged() {
            return;
        }
    };
}

/// A directory that everybody may enter, with the command in it.
struct Public(TempDir);

impl Public {
    fn new() -> Public {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy(BINARY, dir.path().join("farwire")).unwrap();
        command::keygen(&dir.path().join("user.key"));
        chown(dir.path().join("user.key"), Some(UID), Some(UID)).unwrap();
        Public(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A directory that only this user may enter.
    fn own_directory(&self, name: &str, uid: u32) -> String {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        path
    }

    /// A file that only this user may read.
    fn own_file(&self, name: &str, uid: u32) -> String {
        let path = self.path(name);
        fs::write(&path, content(7, 1_000_000)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        path
    }

    /// The copy of the command, run by the ordinary user, with a key of its own.
    fn as_user(&self, arguments: &[&str]) -> Vec<String> {
        let user = [format!("--reuid={UID}"), format!("--regid={UID}"), "--clear-groups".into()];
        let key = format!("FARWIRE_KEY_FILE={}", self.path("user.key"));
        let program =
            ["setpriv".to_owned()].into_iter().chain(user).chain(["env".to_owned(), key, self.path("farwire")]);
        program.chain(arguments.iter().map(|word| (*word).to_owned())).collect()
    }

    fn setup(&self, more: &[&str]) -> Output {
        let mut command = Command::new(SETUP);
        command.args(["--caps", &self.path("farwire")]).args(more).output().expect("tools/setup runs")
    }
}

fn nobody() -> User {
    User::from_name("nobody").unwrap().expect("there is a user nobody")
}

/// Once `b` answers: the same process.
fn ready(scene: &Scene, mut running: Running) -> Running {
    assert!(scene.answers(&mut running, &[]), "it ended at once: {:?}", running.wait());
    running
}

/// No thread has capabilities beyond those, and none can get any.
fn assert_only(threads: &[Status], capabilities: u64) {
    assert!(threads.len() >= 3, "main, worker and signals at least: {threads:?}");
    for thread in threads {
        assert_eq!(thread.capabilities(), [capabilities, capabilities, 0, 0], "{thread:?}");
        assert_eq!(thread.text("NoNewPrivs"), "1", "{thread:?}");
    }
}

#[test]
fn an_ordinary_user_with_file_capabilities_moves_files_and_keeps_none() {
    needs_root!();
    let (scene, public) = (Scene::new(&[]), Public::new());
    let bare = scene.run("a", &public.as_user(&["ping", "-i", "eth1", "-c", "1", B_MAC]));
    bare.says(4, &["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF", "tools/setup --caps"]);
    let told = public.setup(&["--check"]);
    assert!(told.status.code() == Some(1) && String::from_utf8_lossy(&told.stderr).contains("missing"), "{told:?}");
    let told = public.setup(&[]);
    assert!(told.status.success() && String::from_utf8_lossy(&told.stderr).contains("setcap -r"), "{told:?}");
    let told = public.setup(&["--check"]);
    assert!(told.status.success() && told.stderr.is_empty(), "nothing is missing any more: {told:?}");

    let (from, to) = (public.own_file("f", UID), public.own_directory("to", UID));
    let recv = public.as_user(&["recv", "-i", "eth1", "--name", "b", "--json", &to]);
    let recv = ready(&scene, scene.start("b", &recv));
    scene.run("a", &public.as_user(&["send", "-i", "eth1", &from, "b"])).succeeds();
    let rights = threads(recv.id());
    assert_only(&rights, 0);
    assert!(rights.iter().all(|thread| thread.is_wholly(UID, UID)), "{rights:?}");
    assert!(is_closed_to_its_user(recv.id()));
    assert_eq!(core_limits(recv.id()), ["0", "0"]);

    let told = recv.interrupt();
    told.fails_with(0);
    let steered = &told.json_lines()[0]["engine"]["link"]["steer_steered"];
    assert!(steered.as_u64().is_some_and(|count| count > 0), "the program's counters can't be read: {told:?}");
    let arrived = Path::new(&to).join("f");
    assert_eq!(fs::read(&arrived).unwrap(), content(7, 1_000_000));
    assert_eq!(fs::metadata(&arrived).unwrap().uid(), UID);
    assert_eq!(scene.lab.in_use("b"), InUse::default(), "the program is detached without capabilities");
}

#[test]
fn capabilities_are_refused_where_they_would_be_for_nothing() {
    needs_root!();
    let public = Public::new();
    fs::write(public.path("farwire"), "#!/bin/sh\n").unwrap();
    let told = public.setup(&[]);
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("script"), "{told:?}");
    fs::remove_file(public.path("farwire")).unwrap();
    let told = public.setup(&[]);
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("is no file"), "{told:?}");
    // On a file system of the thread's own, where the kernel takes no notice of them.
    let script = format!(
        "mount -t tmpfs -o nosuid none {dir} && cp {BINARY} {dir} && exec {SETUP} --caps {dir}/farwire",
        dir = public.path(""),
    );
    let told = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("nosuid"), "{told:?}");
}

#[test]
fn a_server_of_roots_becomes_another_user() {
    needs_root!();
    let (scene, public, nobody) = (Scene::new(&[]), Public::new(), nobody());
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let to = public.own_directory("to", uid);
    let bytes = scene.file("f", 1_000_000);
    let assert_became = |pid| {
        let rights = threads(pid);
        assert_only(&rights, 0);
        for thread in &rights {
            assert!(thread.is_wholly(uid, gid) && thread.bounding() == 0, "{thread:?}");
            assert_eq!(thread.text("Groups"), gid.to_string(), "root's groups stay behind: {thread:?}");
        }
        assert!(is_closed_to_its_user(pid));
    };
    let recv = scene.recv_into(&to, &["--user", "nobody"]);
    assert_became(recv.id());
    scene.send(&["f"], "b").succeeds();
    let arrived = Path::new(&to).join("f");
    assert!(fs::read(&arrived).unwrap() == bytes);
    assert_eq!(fs::metadata(&arrived).unwrap().uid(), uid);
    recv.interrupt().fails_with(0);
    assert_eq!(scene.lab.in_use("b"), InUse::default());

    let server = scene.command(&["perf", "-i", "eth1", "--name", "b", "--user", "nobody", "server"]);
    let server = ready(&scene, scene.start("b", &server));
    assert_became(server.id());
    scene.farwire("a", &["perf", "-i", "eth1", "-t", "0.2", "--interval", "0.1", "b"]).succeeds();
    server.interrupt().fails_with(0);
}

#[test]
fn a_user_that_cannot_be_become_is_refused_before_anybody_is_heard() {
    needs_root!();
    let (scene, public) = (Scene::new(&[]), Public::new());
    let recv = |user: &str, dir: &str| scene.recv_words(dir, &["--user", user]);
    scene.run("b", &recv("no-such-user", scene.to())).says(4, &["no-such-user", "getent passwd"]);
    // The scene's own directory is closed to everybody but root.
    scene.run("b", &recv("nobody", scene.to())).says(4, &["--user nobody", scene.to()]);
    let closed = public.own_directory("closed", UID);
    scene
        .run("b", &recv("nobody", &closed))
        .says(4, &["--user nobody", &closed, "user nobody must be able to reach it"]);
    assert!(public.setup(&[]).status.success());
    let to = public.own_directory("to", UID);
    let told = scene.run("b", &public.as_user(&["recv", "-i", "eth1", "--user", "nobody", &to]));
    told.says(4, &["--user nobody", "only root"]);
    scene.farwire("b", &["perf", "-i", "eth1", "--user", "nobody", B_MAC]).says(2, &["--user", "perf server"]);
    assert_eq!(scene.lab.in_use("b"), InUse::default());
}

#[test]
fn root_keeps_what_its_files_need_and_nothing_else() {
    needs_root!();
    let (scene, public) = (Scene::new(&[]), Public::new());
    let (from, to) = (public.own_file("f", UID), public.own_directory("to", UID));
    let recv = scene.recv_into(&to, &[]);
    assert_only(&threads(recv.id()), CAP_DAC_OVERRIDE | CAP_FOWNER);
    scene.farwire("a", &["send", "-i", "eth1", &from, "b"]).succeeds();
    assert!(fs::read(Path::new(&to).join("f")).unwrap() == content(7, 1_000_000));

    let send = scene.start_reading("a", &scene.command(&["send", "-i", "eth1", "-", "b"]), Stdio::piped());
    assert_only(&once_three_run(send.id()), CAP_DAC_READ_SEARCH);
    drop(send.kill());
    let ping = scene.command(&["ping", "-i", "eth1", "--interval", "100ms", "-c", "1000", "b"]);
    let ping = scene.start("a", &ping);
    assert_only(&once_three_run(ping.id()), 0);
    recv.interrupt();
}

/// The threads of a command once its worker runs: then it has given up what it does not need.
fn once_three_run(pid: u32) -> Vec<Status> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let threads = threads(pid);
        let has = |name| threads.iter().filter(|thread| thread.text("Name") == name).count();
        if has("farwire") == 2 && has("signals") == 1 {
            return threads;
        }
        assert!(Instant::now() < deadline, "no worker: {threads:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_it_holds_gets_into_no_core_dump() {
    needs_root!();
    let (scene, public) = (Scene::new(&[]), Public::new());
    assert!(!dumps_core(&scene, &public.own_directory("closed", 0), ""), "it dumped its memory");
    // Also shows that this machine would have written a dump.
    let open = public.own_directory("open", 0);
    assert!(dumps_core(&scene, &open, "FARWIRE_DUMPABLE=1"), "FARWIRE_DUMPABLE=1 has no effect, or there are no dumps");
}

/// Whether a receiver that is aborted in this directory leaves a core dump.
fn dumps_core(scene: &Scene, dir: &str, environment: &str) -> bool {
    let key = scene.beside("lab.key");
    let command = format!("env {environment} {BINARY} recv -i eth1 --key {key} --umem 16MiB --name b .");
    let script = format!("ulimit -c unlimited && cd {dir} && exec {command}");
    let mut shell = Command::new("ip");
    shell.args(["netns", "exec", &scene.lab.namespace_name("b"), "sh", "-c", &script]);
    let mut child = shell.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listens = lines.any(|line| line.starts_with("receiving into"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGABRT).unwrap();
    let status = child.wait().unwrap();
    assert!(listens && status.signal() == Some(Signal::SIGABRT as i32), "{status:?}");
    status.core_dumped()
}
