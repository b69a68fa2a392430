//! `bench pingpong`: one frame back and forth through AF_XDP and a veth pair, both ends spinning, without any protocol.

use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use farwire::link::{BURST, Frame, Link};
use farwire::obs::{Histogram, Percentiles};
use farwire::xdp::XdpLink;
use serde::Serialize;

use crate::lab::Lab;
use crate::raw::{MAC_A, MAC_B, enter, moved, write};

/// Round trips before counting starts: caches and clocks settle.
const WARM_UP: u64 = 10_000;
/// After this long a frame counts as lost and the next one is sent.
const LOST: Duration = Duration::from_millis(100);
/// Losses after which it is given up: on a veth pair there should be none.
const LOST_MOST: u64 = 100;
/// Where a frame says which round trip it belongs to: the packet number's place.
const NUMBER: std::ops::Range<usize> = 22..30;
/// Frame pool of each side; only a few frames are used.
const UMEM_BYTES: u64 = 4 << 20;

#[derive(clap::Args)]
pub struct Options {
    /// Round trips to count.
    #[arg(short = 'c', long, default_value_t = 200_000)]
    count: u64,
    /// Length of the Ethernet frame.
    #[arg(short = 's', long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(60..=1514))]
    bytes: u16,
    /// Core of the end that asks.
    #[arg(long, default_value_t = 0)]
    ping_core: usize,
    /// Core of the end that answers.
    #[arg(long, default_value_t = 1)]
    pong_core: usize,
    /// One JSON object instead of a picture.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    benchmark: &'static str,
    bytes: u16,
    mode: &'static str,
    lost: u64,
    rtt_ns: Percentiles,
    ping_stats: serde_json::Map<String, serde_json::Value>,
}

/// What the end that asks brings back.
pub struct Measured {
    pub rtt: Histogram,
    lost: u64,
    mode: &'static str,
    stats: Vec<(&'static str, u64)>,
}

impl Options {
    /// What the command does by default, so many times and with such frames.
    pub fn of(count: u64, bytes: u16) -> Options {
        Options { count, bytes, ping_core: 0, pong_core: 1, json: false }
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let measured = measure(&Lab::up(&[]), options)?;
    report(options, &measured)
}

/// Plays between the hosts of a lab.
pub fn measure(lab: &Lab, options: &Options) -> anyhow::Result<Measured> {
    let (opened, stop) = (Barrier::new(2), AtomicBool::new(false));
    let (pinged, ponged) = std::thread::scope(|scope| {
        let pong = scope.spawn(|| pong(lab, options, &opened, &stop));
        let ping = scope.spawn(|| {
            let result = ping(lab, options, &opened);
            stop.store(true, Ordering::Relaxed);
            result
        });
        (ping.join(), pong.join())
    });
    let panicked = |_| anyhow::anyhow!("a thread of the benchmark panicked");
    ponged.map_err(panicked)??;
    pinged.map_err(panicked)?
}

fn ping(lab: &Lab, options: &Options, opened: &Barrier) -> anyhow::Result<Measured> {
    let link = enter(lab, "a", options.ping_core, UMEM_BYTES);
    opened.wait();
    let mut end = End::new(link?);
    let (mut rtt, mut lost) = (Histogram::new(), 0);
    for round in 0..WARM_UP + options.count {
        let Some(mut frame) = end.link.alloc() else { anyhow::bail!("no free frame: {:?}", end.link.stats()) };
        write(&mut frame, MAC_A, MAC_B, usize::from(options.bytes));
        frame.bytes_mut()[NUMBER].copy_from_slice(&round.to_be_bytes());
        let start = Instant::now();
        end.send(frame)?;
        let answered = end.await_answer(round, start);
        let elapsed = start.elapsed();
        lost += u64::from(!answered);
        ensure!(lost < LOST_MOST, "{lost} frames were lost: the other end does not answer: {:?}", end.link.stats());
        if answered && round >= WARM_UP {
            rtt.record(elapsed.as_nanos() as u64);
        }
    }
    Ok(Measured { rtt, lost, mode: end.link.caps().mode, stats: end.link.stats() })
}

fn pong(lab: &Lab, options: &Options, opened: &Barrier, stop: &AtomicBool) -> anyhow::Result<()> {
    let link = enter(lab, "b", options.pong_core, UMEM_BYTES);
    opened.wait();
    let mut end = End::new(link?);
    while !stop.load(Ordering::Relaxed) {
        let Some(mut frame) = end.receive() else { continue };
        let bytes = frame.bytes_mut();
        let (to, rest) = bytes.split_at_mut(6);
        to.swap_with_slice(&mut rest[..6]);
        end.send(frame)?;
    }
    Ok(())
}

/// A link, and the vectors that its calls want.
struct End {
    link: XdpLink,
    waiting: VecDeque<Frame>,
    done: Vec<Frame>,
    arrived: Vec<Frame>,
}

impl End {
    fn new(link: XdpLink) -> End {
        End { link, waiting: VecDeque::new(), done: Vec::with_capacity(BURST), arrived: Vec::new() }
    }

    fn send(&mut self, frame: Frame) -> anyhow::Result<()> {
        self.waiting.push_back(frame);
        self.link.tx_burst(&mut self.waiting);
        self.link.kick()?;
        self.link.reap(&mut self.done);
        self.done.drain(..).for_each(|frame| self.link.free(frame));
        Ok(())
    }

    /// Whether the answer to `round` came; a late one to an earlier round is none.
    fn await_answer(&mut self, round: u64, start: Instant) -> bool {
        while start.elapsed() < LOST {
            let Some(answer) = self.receive() else { continue };
            let matches = answer.bytes()[NUMBER] == round.to_be_bytes();
            self.link.free(answer);
            if matches {
                return true;
            }
        }
        false
    }

    fn receive(&mut self) -> Option<Frame> {
        self.link.rx_burst(&mut self.arrived, 1);
        self.arrived.pop()
    }
}

fn report(options: &Options, measured: &Measured) -> anyhow::Result<()> {
    let report = Report {
        benchmark: "pingpong",
        bytes: options.bytes,
        mode: measured.mode,
        lost: measured.lost,
        rtt_ns: measured.rtt.percentiles(),
        ping_stats: moved(measured.stats.clone()),
    };
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("raw AF_XDP ping-pong over veth, {} bytes, mode {}", report.bytes, report.mode);
        print!("{}", measured.rtt.draw(100));
        println!("lost {}", report.lost);
    }
    Ok(())
}
