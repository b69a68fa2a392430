//! `bench pump`: how many frames this machine moves through AF_XDP and a veth pair, without any protocol.

use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use farwire::link::{BURST, Link};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::lab::Lab;
use crate::raw::{MAC_A, MAC_B, cpu_seconds, enter, moved, write};

/// Before counting starts: caches, page pools and clocks settle.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub struct Options {
    /// MTU of the pair; frames are as long as it allows.
    #[arg(long, default_value_t = 1500)]
    mtu: usize,
    /// How long to count.
    #[arg(short = 't', long, default_value_t = 3.0)]
    seconds: f64,
    /// What the receiver does when nothing is there.
    #[arg(long, value_enum, default_value = "spin")]
    receiver: Receiver,
    /// Core of the sender.
    #[arg(long, default_value_t = 0)]
    sender_core: usize,
    /// Core of the receiver.
    #[arg(long, default_value_t = 1)]
    receiver_core: usize,
    /// Frames that the sender uses, in turn. Four bursts are enough to always have one to send, and stay in the cache;
    /// more show what a larger working set costs.
    #[arg(long, default_value_t = 4 * BURST)]
    frames: usize,
    /// Frame pool of each side, for example 16MiB.
    #[arg(long, default_value = "16MiB", value_parser = farwire::base::size::parse)]
    umem: u64,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Receiver {
    /// Looks again at once.
    Spin,
    /// Waits in poll.
    Sleep,
}

/// What was counted.
#[derive(Serialize)]
pub struct Report {
    benchmark: &'static str,
    mtu: usize,
    receiver: Receiver,
    mode: &'static str,
    pub seconds: f64,
    frames_sent: u64,
    frames_received: u64,
    frames_per_second: f64,
    /// Ethernet frames, headers included.
    ethernet_bps: f64,
    /// What the MTU counts.
    pub payload_bps: f64,
    pub sender_cpu_seconds_per_gb: f64,
    pub receiver_cpu_seconds_per_gb: f64,
    sender_stats: serde_json::Map<String, serde_json::Value>,
    receiver_stats: serde_json::Map<String, serde_json::Value>,
}

/// What the two threads and the one that times them share.
struct Shared {
    opened: Barrier,
    stop: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    /// CPU time in microseconds, written while counting.
    sender_cpu_us: AtomicU64,
    receiver_cpu_us: AtomicU64,
}

/// What a thread brings back.
struct Ended {
    mode: &'static str,
    stats: Vec<(&'static str, u64)>,
}

/// The counts at one point in time.
struct Sample {
    at: Instant,
    sent: u64,
    received: u64,
    sender_cpu: f64,
    receiver_cpu: f64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let lab = Lab::up(&["--mtu", &options.mtu.to_string()]);
    measure(&lab, options)?.show(options.json)
}

/// Pumps between the hosts of a lab.
pub fn measure(lab: &Lab, options: &Options) -> anyhow::Result<Report> {
    let shared = Shared {
        opened: Barrier::new(3),
        stop: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        sender_cpu_us: AtomicU64::new(0),
        receiver_cpu_us: AtomicU64::new(0),
    };
    let (samples, sender, receiver) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(lab, options, &shared));
        let receiver = scope.spawn(|| receive(lab, options, &shared));
        shared.opened.wait();
        sleep(WARM_UP);
        let first = shared.sample();
        sleep(Duration::from_secs_f64(options.seconds));
        let last = shared.sample();
        shared.stop.store(true, Ordering::Relaxed);
        ((first, last), sender.join(), receiver.join())
    });
    let panicked = |_| anyhow::anyhow!("a thread of the benchmark panicked");
    let (sender, receiver) = (sender.map_err(panicked)??, receiver.map_err(panicked)??);
    Ok(report(options, &samples, sender, receiver))
}

impl Options {
    /// What the command does by default, at this MTU and for so long.
    pub fn of(mtu: usize, seconds: f64) -> Options {
        let receiver = Receiver::Spin;
        Options {
            mtu,
            seconds,
            receiver,
            sender_core: 0,
            receiver_core: 1,
            frames: 4 * BURST,
            umem: 16 << 20,
            json: false,
        }
    }
}

impl Shared {
    fn sample(&self) -> Sample {
        let seconds = |us: &AtomicU64| us.load(Ordering::Relaxed) as f64 / 1e6;
        Sample {
            at: Instant::now(),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            sender_cpu: seconds(&self.sender_cpu_us),
            receiver_cpu: seconds(&self.receiver_cpu_us),
        }
    }
}

fn send(lab: &Lab, options: &Options, shared: &Shared) -> anyhow::Result<Ended> {
    let link = enter(lab, "a", options.sender_core, options.umem);
    shared.opened.wait();
    let mut link = link?;
    let mut waiting = VecDeque::with_capacity(options.frames);
    for _ in 0..options.frames {
        let Some(mut frame) = link.alloc() else { break };
        write(&mut frame, MAC_A, MAC_B, options.mtu + 14);
        waiting.push_back(frame);
    }
    let (mut done, mut burst) = (Vec::with_capacity(options.frames), VecDeque::with_capacity(BURST));
    let (mut sent, mut turns) = (0, 0u64);
    while !shared.stop.load(Ordering::Relaxed) {
        link.reap(&mut done);
        waiting.extend(done.drain(..));
        let room = BURST - burst.len();
        burst.extend(waiting.drain(..room.min(waiting.len())));
        sent += link.tx_burst(&mut burst) as u64;
        link.kick()?;
        shared.sent.store(sent, Ordering::Relaxed);
        account(&shared.sender_cpu_us, &mut turns);
    }
    let stats = link.stats();
    waiting.drain(..).chain(burst.drain(..)).for_each(|frame| link.free(frame));
    Ok(Ended { mode: link.caps().mode, stats })
}

fn receive(lab: &Lab, options: &Options, shared: &Shared) -> anyhow::Result<Ended> {
    let link = enter(lab, "b", options.receiver_core, options.umem);
    shared.opened.wait();
    let mut link = link?;
    let mut arrived = Vec::with_capacity(BURST);
    let (mut received, mut turns) = (0, 0u64);
    while !shared.stop.load(Ordering::Relaxed) {
        let count = link.rx_burst(&mut arrived, BURST);
        arrived.drain(..).for_each(|frame| link.free(frame));
        received += count as u64;
        shared.received.store(received, Ordering::Relaxed);
        account(&shared.receiver_cpu_us, &mut turns);
        if count == 0 && options.receiver == Receiver::Sleep {
            let fd = link.poll_fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            poll(&mut fd.into_iter().collect::<Vec<_>>(), PollTimeout::from(100u8))?;
        }
    }
    Ok(Ended { mode: link.caps().mode, stats: link.stats() })
}

/// Writes down the thread's CPU time now and then: asking costs a system call.
fn account(cpu_us: &AtomicU64, turns: &mut u64) {
    *turns += 1;
    if turns.is_multiple_of(1024) {
        cpu_us.store((cpu_seconds() * 1e6) as u64, Ordering::Relaxed);
    }
}

fn report(options: &Options, (first, last): &(Sample, Sample), sender: Ended, receiver: Ended) -> Report {
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let frames = (last.received - first.received) as f64;
    let gigabytes = frames * options.mtu as f64 / 1e9;
    Report {
        benchmark: "pump",
        mtu: options.mtu,
        receiver: options.receiver,
        mode: sender.mode,
        seconds,
        frames_sent: last.sent - first.sent,
        frames_received: last.received - first.received,
        frames_per_second: frames / seconds,
        ethernet_bps: frames * (options.mtu + 14) as f64 * 8.0 / seconds,
        payload_bps: frames * options.mtu as f64 * 8.0 / seconds,
        sender_cpu_seconds_per_gb: (last.sender_cpu - first.sender_cpu) / gigabytes,
        receiver_cpu_seconds_per_gb: (last.receiver_cpu - first.receiver_cpu) / gigabytes,
        sender_stats: moved(sender.stats),
        receiver_stats: moved(receiver.stats),
    }
}

impl Report {
    fn show(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("raw AF_XDP over veth, MTU {}, mode {}, {:.1} s", self.mtu, self.mode, self.seconds);
        println!("  received   {:8.2} Gbit/s of Ethernet frames", self.ethernet_bps / 1e9);
        println!("             {:8.3} million frames/s", self.frames_per_second / 1e6);
        println!("  sent       {:8} frames, received {}", self.frames_sent, self.frames_received);
        println!(
            "  CPU        {:8.2} s/GB sender, {:.2} s/GB receiver",
            self.sender_cpu_seconds_per_gb, self.receiver_cpu_seconds_per_gb
        );
        for (side, stats) in [("sender", &self.sender_stats), ("receiver", &self.receiver_stats)] {
            let list: Vec<_> = stats.iter().map(|(name, value)| format!("{name} {value}")).collect();
            println!("  {side:10} {}", list.join(", "));
        }
        Ok(())
    }
}
