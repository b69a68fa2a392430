//! One round on two hosts: transfers that are struck, what is left of each, and one in the end that must work.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::command::{Running, Scene, Told};
use super::lab::{InUse, Lab};
use super::plan::{Blow, Flap, Load, Moment, Plan, Side};
use super::tree::{self, Things};

/// A sender whose receiver is gone gives up after 30 s of silence; more than that and it hangs.
pub const GIVES_UP_WITHIN: Duration = Duration::from_secs(40);

/// How a sender may end that lost its receiver or did not find it: its exit code and its words.
const SENDER_LOST: &[(i32, &str)] = &[
    (1, "the peer has forgotten this connection"),
    (1, "nothing heard from the peer"),
    (3, "nobody on the link answers to"),
    (3, "no answer from"),
];
/// The same if an interface was down when it began.
const NO_LINK: &[(i32, &str)] = &[
    (3, "nobody on the link answers to"),
    (3, "no answer from"),
    (4, "interface eth1 is down; say `ip link set eth1 up`"),
];
/// What a receiver may complain of: a sender that is gone, and being stopped with one that it still waits for.
const RECEIVER_LOST: &[&str] = &[
    "the peer has forgotten this connection",
    "nothing heard from the peer",
    "the user stopped the program",
    "farwire: stopped",
];

/// Plays one round in hosts of its own, and says how many of its blows hit a transfer between first and last byte.
pub fn play(plan: &Plan) -> usize {
    let scene = Scene::new(&[]);
    let namespaces = ["a", "b"].map(|host| scene.lab.namespace_name(host));
    let hits = Round::new(&scene, plan).play();
    drop(scene);
    for namespace in namespaces {
        assert!(!Path::new("/run/netns").join(&namespace).exists(), "{namespace} is left");
    }
    hits
}

struct Round<'a> {
    scene: &'a Scene,
    plan: &'a Plan,
    /// What is sent, and what was in its place before.
    sent: Things,
    before: Things,
    /// Bytes of all files.
    bytes: u64,
    receiver: Option<Running>,
    /// Parts of receivers that were killed.
    orphans: BTreeSet<PathBuf>,
    /// Everything has come out of standard output.
    piped_whole: bool,
    hits: usize,
}

impl Round<'_> {
    fn new<'a>(scene: &'a Scene, plan: &'a Plan) -> Round<'a> {
        let load = plan.load;
        tree::make(load, &scene.from(""), 0);
        if plan.overwrites {
            tree::make(load, Path::new(scene.to()), 1);
        }
        let sent = tree::things(&scene.from(""), load);
        let before = tree::things(Path::new(scene.to()), load);
        let bytes = tree::data_bytes(&scene.from(""));
        let (receiver, orphans) = (None, BTreeSet::new());
        Round { scene, plan, sent, before, bytes, receiver, orphans, piped_whole: false, hits: 0 }
    }

    fn play(mut self) -> usize {
        for blow in &self.plan.blows {
            self.suffer(blow);
        }
        self.recover();
        if let Some(receiver) = self.receiver.take() {
            let told = receiver.interrupt();
            assert!(matches!(told.code, Some(0 | 5)), "{told:?}");
            judge_complaints(&told);
        }
        self.all_is_there();
        let parts = tree::parts(self.to());
        assert!(parts.is_subset(&self.orphans), "parts of a receiver that was not killed: {parts:?}");
        self.await_use("a", InUse::default());
        self.await_use("b", InUse::default());
        self.hits
    }

    /// A transfer that something happens to.
    fn suffer(&mut self, blow: &Blow) {
        let receiver = self.receiver();
        self.piped_whole = false;
        let before = receiver.written();
        let mut sender = self.start_sender();
        let (sender, receiver) = thread::scope(|scope| {
            scope.spawn(|| flap(&self.scene.lab, &blow.flaps));
            self.await_moment(blow.moment, &mut sender, &|| receiver.written().saturating_sub(before));
            let written = receiver.written().saturating_sub(before);
            let midway = blow.is_midway() && !sender.is_over() && written > 0 && written < self.bytes;
            self.hits += usize::from(midway);
            let sender = strike(sender, blow.victims.contains(&Side::Sender));
            let receiver = strike(receiver, blow.victims.contains(&Side::Receiver));
            self.look();
            (sender, receiver)
        });
        let (healed, lost) = (Instant::now(), receiver.is_err());
        let receiver = self.follow(receiver, blow);
        let sender = sender.map_or_else(|told| told, Running::wait);
        assert!(healed.elapsed() < GIVES_UP_WITHIN, "the sender took {:?} to end", healed.elapsed());
        self.judge_sender(&sender, blow, lost);
        self.receiver = self.keep(receiver, &sender);
        self.look();
    }

    /// The receiver that goes on: the one that lives, or a new one.
    fn follow(&mut self, receiver: Result<Running, Told>, blow: &Blow) -> Running {
        receiver.unwrap_or_else(|told| {
            self.judge_killed_receiver(&told);
            for life in &blow.stillborn {
                let stillborn = self.scene.start("b", &self.receiver_words());
                thread::sleep(*life);
                drop(stillborn.kill());
            }
            self.orphans.extend(tree::parts(self.to()));
            self.start_receiver()
        })
    }

    /// One into standard output ends with its transfer, or is told to.
    fn keep(&mut self, mut receiver: Running, sender: &Told) -> Option<Running> {
        if !self.is_piped() {
            assert!(!receiver.is_over(), "the receiver ended by itself: {:?}", receiver.wait());
            return Some(receiver);
        }
        let confirmed = sender.code == Some(0);
        let told = if confirmed && !self.piped_whole { receiver.wait() } else { receiver.interrupt() };
        self.judge_piped(&told);
        assert!(!confirmed || self.piped_whole, "confirmed, and standard output did not get it: {told:?}");
        None
    }

    /// Nothing happens to this one.
    fn recover(&mut self) {
        let receiver = self.receiver();
        self.piped_whole = false;
        let sender = self.start_sender().wait();
        sender.succeeds();
        self.receiver = self.keep(receiver, &sender);
        self.all_is_there();
    }

    /// The receiver of the next transfer, which is all that runs.
    fn receiver(&mut self) -> Running {
        let receiver = self.receiver.take().unwrap_or_else(|| self.start_receiver());
        self.await_use("a", InUse::default());
        self.await_use("b", InUse { programs: 1, sockets: 1, processes: 1 });
        receiver
    }

    fn receiver_words(&self) -> Vec<String> {
        let to = if self.is_piped() { "-" } else { self.scene.to() };
        self.scene.recv_words(to, &self.plan.common)
    }

    fn start_receiver(&self) -> Running {
        let mut receiver = self.scene.start("b", &self.receiver_words());
        // One into standard output may have served by then, a sender that has outlived its receiver.
        let answers = self.scene.answers(&mut receiver, &[]);
        assert!(answers || self.is_piped(), "it ended at once: {:?}", receiver.wait());
        receiver
    }

    fn start_sender(&self) -> Running {
        let flags = [&self.plan.common[..], &self.plan.rate].concat();
        if let Load::Stdin(_) = self.plan.load {
            let words = self.scene.command(&[&["send", "-i", "eth1"], &flags[..], &["-", "b"]].concat());
            let stdin = File::open(self.scene.from("stdin")).unwrap();
            return self.scene.start_reading("a", &words, Stdio::from(stdin));
        }
        let name = self.sent.keys().next().unwrap().to_str().unwrap();
        self.scene.start_send(&[&[name], &flags[..]].concat(), "b")
    }

    fn await_moment(&self, moment: Moment, sender: &mut Running, written: &dyn Fn() -> u64) {
        let (share, delay) = match moment {
            Moment::AfterStart(delay) => (0, delay),
            Moment::AtShare(share) => (share, Duration::ZERO),
            Moment::AfterLast(delay) => (1000, delay),
        };
        while written() * 1000 < share * self.bytes && !sender.is_over() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(delay);
    }

    /// Whatever bears its own name is whole, at any time.
    fn look(&self) {
        let held = tree::things(self.to(), self.plan.load);
        let torn = tree::torn(&held, &self.sent, &self.before);
        assert!(torn.is_empty(), "neither what was sent nor what was there before: {torn:#?}");
    }

    fn all_is_there(&self) {
        if !self.is_piped() {
            let held = tree::things(self.to(), self.plan.load);
            let differ = tree::differ(&held, &self.sent);
            assert!(differ.is_empty(), "held, and sent: {differ:#?}");
        }
    }

    fn judge_sender(&self, told: &Told, blow: &Blow, lost: bool) {
        match told.code {
            None => assert!(blow.victims.contains(&Side::Sender), "{told:?}"),
            Some(0) => self.all_is_there(),
            Some(code) => {
                let reasons = [if lost { SENDER_LOST } else { &[] }, if blow.flaps.is_empty() { &[] } else { NO_LINK }];
                let known = reasons.concat().iter().any(|(with, words)| *with == code && told.stderr.contains(words));
                assert!(known && !told.stderr.contains("panicked"), "no reason to fail: {told:?}");
            }
        }
    }

    fn judge_killed_receiver(&mut self, told: &Told) {
        if self.is_piped() {
            return self.judge_piped(told);
        }
        assert_eq!(told.code, None, "{told:?}");
        judge_complaints(told);
    }

    /// Standard output has no other name for what is not whole: its receiver's exit code tells.
    fn judge_piped(&mut self, told: &Told) {
        let sent = fs::read(self.scene.from("file")).unwrap();
        assert!(sent.starts_with(&told.raw), "{} bytes came out that were not sent: {}", told.raw.len(), told.stderr);
        self.piped_whole |= told.raw.len() == sent.len();
        assert!(told.code != Some(0) || told.raw.len() == sent.len(), "success with {} bytes", told.raw.len());
        judge_complaints(told);
    }

    /// Nothing else is in use in a host. The kernel takes a moment to clear up after a process.
    fn await_use(&self, host: &str, expected: InUse) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let in_use = self.scene.lab.in_use(host);
            if in_use == expected {
                return;
            }
            assert!(Instant::now() < deadline, "in {host}: {in_use:?}, not {expected:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_piped(&self) -> bool {
        matches!(self.plan.load, Load::Stdout(_))
    }

    fn to(&self) -> &Path {
        Path::new(self.scene.to())
    }
}

/// The one that lives, or what the dead one had said.
fn strike(running: Running, is_victim: bool) -> Result<Running, Told> {
    if is_victim { Err(running.kill()) } else { Ok(running) }
}

fn flap(lab: &Lab, flaps: &[Flap]) {
    for flap in flaps {
        thread::sleep(flap.wait);
        lab.run(flap.host, &["ip", "link", "set", "eth1", "down"]);
        thread::sleep(flap.length);
        lab.run(flap.host, &["ip", "link", "set", "eth1", "up"]);
    }
}

fn judge_complaints(receiver: &Told) {
    for line in receiver.stderr.lines().filter(|line| line.starts_with("farwire: ")) {
        assert!(RECEIVER_LOST.iter().any(|reason| line.contains(reason)), "{line}");
    }
    assert!(!receiver.stderr.contains("panicked"), "{}", receiver.stderr);
}
