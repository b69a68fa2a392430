//! The systemd unit: what systemd's own checks say about it, and that the command does its work under the rights and
//! the filter that the unit gives it. No service manager is needed. Needs root, and systemd-analyze.

mod lab;

#[path = "faults/command.rs"]
mod command;
#[path = "privileges/status.rs"]
mod status;
#[path = "service/unit.rs"]
mod unit;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use command::{BINARY, Running, Scene};
use lab::InUse;
use status::{is_closed_to_its_user, threads};
use unit::Unit;

const UNIT: &str = include_str!("../tools/systemd/farwire-recv@.service");
/// Most exposure that systemd may see, in tenths: what is left is the network, and what opening a link takes.
const EXPOSURE_MOST: u32 = 16;
/// Stands in for the unit's user, who is not on this machine.
const UID: u32 = 61_235;
/// Set for the child that confines itself: the command line that it becomes.
const CONFINED: &str = "FARWIRE_TEST_CONFINED";
/// Set for the same: a system call that the filter leaves out.
const WITHOUT: &str = "FARWIRE_TEST_WITHOUT";

/// ProtectSystem=strict, StateDirectory=, ProtectKernelTunables=, ProtectProc= and ProcSubset=, in a mount namespace of
/// the command's own: all is read-only but the one directory, and of /proc there are only its own processes.
const MOUNTS: &str = "mount --bind $STATE $STATE && mount -o remount,bind,ro / && mount -o remount,bind,ro /sys && \
    mount -t proc -o hidepid=invisible,subset=pid none /proc && exec \"$@\"";

/// Where a test can't run without systemd-analyze, this ends it: loudly, unless that is known.
macro_rules! needs_systemd_analyze {
    () => {
        if !has_systemd_analyze() {
            return;
        }
    };
}

/// Where a test can't run without root, this ends it: loudly, unless that is known.
macro_rules! needs_root {
    () => {
        if !lab::privileged() {
            return;
        }
    };
}

/// Without it the tests fail, unless `FARWIRE_NO_SYSTEMD=1` says that their absence is known.
fn has_systemd_analyze() -> bool {
    if Command::new("systemd-analyze").arg("--version").output().is_ok() {
        return true;
    }
    let allowed = std::env::var_os("FARWIRE_NO_SYSTEMD").is_some_and(|value| value == "1");
    assert!(allowed, "no systemd-analyze: tools/setup --test, or FARWIRE_NO_SYSTEMD=1 to leave this test out");
    eprintln!("NOT RUN for lack of systemd-analyze (FARWIRE_NO_SYSTEMD=1)");
    false
}

/// What systemd-analyze says about the unit, its command being the one that was built.
fn analyze(arguments: &[&str], text: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("farwire-recv@.service");
    fs::write(&path, text.replace("/usr/local/bin/farwire", BINARY)).unwrap();
    Command::new("systemd-analyze").args(arguments).arg(path).output().unwrap()
}

#[test]
fn systemd_takes_the_unit_for_sound_and_little_exposed() {
    needs_systemd_analyze!();
    let told = analyze(&["verify"], UNIT);
    assert!(told.status.success() && told.stderr.is_empty(), "{told:?}");
    let threshold = format!("--threshold={EXPOSURE_MOST}");
    let exposed = |text: &str| analyze(&["security", "--offline=true", "--no-pager", &threshold], text);
    let told = exposed(UNIT);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    let told = exposed(&UNIT.replace("ProtectSystem=strict\n", ""));
    assert!(!told.status.success(), "more would be exposed, and the threshold does not notice");
}

#[test]
fn the_unit_and_the_set_up_give_the_same_capabilities() {
    let unit = Unit::parse(UNIT);
    let named = |setting| unit.one(setting).to_lowercase().replace(' ', ",");
    let setup = include_str!("../tools/setup").lines().find_map(|line| line.strip_prefix("CAPS=")).unwrap();
    assert_eq!(named("AmbientCapabilities") + "+ep", setup);
    assert_eq!(named("CapabilityBoundingSet") + "+ep", setup);
}

/// Not a test by itself: puts the unit's filter in force for this process, and becomes the command.
#[test]
fn confined() {
    let Ok(words) = std::env::var(CONFINED) else { return };
    let text = match std::env::var(WITHOUT) {
        Ok(name) => format!("{UNIT}\nSystemCallFilter=~{name}\n"),
        Err(_) => UNIT.to_owned(),
    };
    seccompiler::apply_filter(&Unit::parse(&text).filter()).unwrap();
    let words: Vec<&str> = words.split(' ').collect();
    panic!("{}", Command::new(words[0]).args(&words[1..]).exec());
}

/// The command and this test, where every user finds them, and a directory for what arrives.
struct Installed(tempfile::TempDir);

impl Installed {
    fn new() -> Installed {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy(BINARY, dir.path().join("farwire")).unwrap();
        fs::copy(std::env::current_exe().unwrap(), dir.path().join("test")).unwrap();
        fs::create_dir(dir.path().join("to")).unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        fs::set_permissions(dir.path().join("keys"), PermissionsExt::from_mode(0o700)).unwrap();
        for own in ["to", "keys"] {
            chown(dir.path().join(own), Some(UID), Some(UID)).unwrap();
        }
        Installed(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The unit's command with its user, capabilities, filter and view of the file system, started in host b.
    fn start(&self, scene: &Scene, environment: &str) -> Running {
        let unit = Unit::parse(UNIT);
        let command = unit.one("ExecStart").replace("/usr/local/bin/farwire", &self.path("farwire"));
        let command = command.replace("%I", "eth1").replace("/var/lib/farwire", &self.path("to"));
        let command = command.replace("/etc/farwire/keys", &self.path("keys"));
        let key = self.path("keys/lab.key");
        fs::copy(scene.beside("lab.key"), &key).unwrap();
        chown(&key, Some(UID), Some(UID)).unwrap();
        let mounts = ["env", &format!("STATE={}", self.path("to")), "unshare", "--mount", "sh", "-c", MOUNTS, "sh"];
        let words = [
            "setpriv".to_owned(),
            format!("--reuid={UID}"),
            format!("--regid={UID}"),
            "--clear-groups".to_owned(),
            format!("--bounding-set={}", unit.capabilities("CapabilityBoundingSet")),
            format!("--inh-caps={}", unit.capabilities("AmbientCapabilities")),
            format!("--ambient-caps={}", unit.capabilities("AmbientCapabilities")),
            "--no-new-privs".to_owned(),
            "env".to_owned(),
            format!("{CONFINED}={command} --name b --json"),
            environment.to_owned(),
            self.path("test"),
        ];
        let child = ["--exact", "confined", "--nocapture"].map(str::to_owned);
        scene.start("b", &[&mounts.map(str::to_owned)[..], &words, &child].concat())
    }
}

#[test]
fn the_command_works_within_what_the_unit_allows() {
    needs_root!();
    needs_systemd_analyze!();
    let (scene, installed) = (Scene::new(&[]), Installed::new());
    let mut recv = installed.start(&scene, "A=1");
    assert!(scene.answers(&mut recv, &[]), "it ended at once: {:?}", recv.wait());
    let bytes = scene.file("f", 3_000_000);
    scene.send(&["f"], "b").succeeds();
    for thread in threads(recv.id()) {
        assert_eq!(thread.capabilities(), [0; 4], "{thread:?}");
        assert!(thread.text("Seccomp") == "2" && thread.text("NoNewPrivs") == "1", "{thread:?}");
        assert!(thread.is_wholly(UID, UID), "{thread:?}");
    }
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", recv.id())).unwrap();
    assert!(mounts.contains("subset=pid"), "the mounts are not in force: {mounts}");
    assert!(is_closed_to_its_user(recv.id()), "it could be traced by its user's other processes");
    let told = recv.interrupt();
    told.fails_with(0);
    assert!(told.stdout.contains("steer_steered"), "{told:?}");
    assert!(fs::read(Path::new(&installed.path("to")).join("f")).unwrap() == bytes);
    assert_eq!(scene.lab.in_use("b"), InUse::default());
}

#[test]
fn the_filter_is_in_force() {
    needs_root!();
    needs_systemd_analyze!();
    let (scene, installed) = (Scene::new(&[]), Installed::new());
    let told = installed.start(&scene, &format!("{WITHOUT}=bpf")).wait();
    told.says(4, &["loading the XDP program", "not permitted"]);
}

#[test]
fn a_process_that_may_dump_its_memory_is_seen_to_be_open() {
    needs_root!();
    needs_systemd_analyze!();
    let (scene, installed) = (Scene::new(&[]), Installed::new());
    let mut recv = installed.start(&scene, "FARWIRE_DUMPABLE=1");
    assert!(scene.answers(&mut recv, &[]), "it ended at once: {:?}", recv.wait());
    assert!(!is_closed_to_its_user(recv.id()), "then the test above shows nothing");
}
