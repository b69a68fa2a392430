//! Many worlds, on all cores.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use farwire::sim::{Outcome, Trace};
use serde_json::json;

use crate::{Options, caught};

/// Between two lines of progress where nobody sees them replace each other.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// A world that takes longer than this is named: it may never end.
const LONG: Duration = Duration::from_secs(60);
/// Worlds that took longest, named at the end.
const SLOWEST: usize = 3;

/// What came of the worlds so far.
#[derive(Default)]
struct Sum {
    worlds: u64,
    elapsed_ns: u128,
    turns: u64,
    events: u64,
    opened: usize,
    refused: usize,
    bytes: u64,
    wrong: Vec<(u64, String)>,
    /// Longest first.
    slowest: Vec<(Duration, u64)>,
    /// Under way: seed and since when.
    begun: Vec<(u64, Instant)>,
}

/// Lives through the worlds of the options. Whether all of them ended well.
///
/// # Errors
/// Nobody takes the words.
pub fn sweep(options: &Options) -> io::Result<bool> {
    let began = Instant::now();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let jobs = options.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let jobs = jobs.min(usize::try_from(options.seeds).unwrap_or(usize::MAX));
    let is_over = || options.for_s.is_some_and(|for_s| began.elapsed().as_secs() >= for_s);
    thread::scope(|scope| {
        let work = || {
            while !is_over() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= options.seeds {
                    break;
                }
                one(options, options.from + index, &sum);
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        progress(options, began, &sum, &|| workers.iter().all(thread::ScopedJoinHandle::is_finished));
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    finish(options, began, &sum)?;
    Ok(sum.wrong.is_empty())
}

fn one(options: &Options, seed: u64, sum: &Mutex<Sum>) {
    let lock = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    lock().begun.push((seed, began));
    let outcome = caught::live(seed, Trace::default());
    let mut sum = lock();
    sum.begun.retain(|(other, _)| *other != seed);
    if let (Some(violation), false) = (&outcome.violation, options.json) {
        // Where nobody takes these words, the summary fails with an error of its own.
        let _ = writeln!(io::stdout(), "seed {seed}: {violation}\n    tools/simrun --seed {seed} --last 100\n");
    }
    sum.add(outcome, began.elapsed());
}

impl Sum {
    fn add(&mut self, outcome: Outcome, took: Duration) {
        self.worlds += 1;
        self.elapsed_ns += u128::from(outcome.elapsed_ns);
        self.turns += outcome.turns;
        self.events += outcome.events;
        self.opened += outcome.opened;
        self.refused += outcome.refused;
        self.bytes += outcome.bytes;
        self.slowest.push((took, outcome.seed));
        self.slowest.sort_by(|one, other| other.cmp(one));
        self.slowest.truncate(SLOWEST);
        self.wrong.extend(outcome.violation.map(|violation| (outcome.seed, violation)));
    }

    fn words(&self, seeds: u64) -> String {
        let hours = self.elapsed_ns as f64 / 3.6e12;
        let wrong = self.wrong.len();
        format!("{} of {seeds} worlds, {hours:.1} simulated hours, {} turns, {wrong} wrong", self.worlds, self.turns)
    }
}

fn progress(options: &Options, began: Instant, sum: &Mutex<Sum>, is_over: &dyn Fn() -> bool) {
    let live = io::stderr().is_terminal();
    let every = if live { Duration::from_secs(1) } else { REPORT_EVERY };
    let mut told = began;
    while !is_over() {
        thread::sleep(Duration::from_millis(20));
        if told.elapsed() < every {
            continue;
        }
        told = Instant::now();
        let sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = format!("{:>5.0} s: {}", began.elapsed().as_secs_f64(), sum.words(options.seeds));
        for (seed, since) in sum.begun.iter().filter(|(_, since)| since.elapsed() > LONG) {
            line += &format!(", seed {seed} for {:.0} s now", since.elapsed().as_secs_f64());
        }
        // Nobody may read this, which is no reason to stop.
        let _ = if live { write!(io::stderr(), "\r\x1b[K{line}") } else { writeln!(io::stderr(), "{line}") };
    }
    if live {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn finish(options: &Options, began: Instant, sum: &Sum) -> io::Result<()> {
    let took = began.elapsed().as_secs_f64();
    let mut out = io::stdout();
    if options.json {
        let wrong: Vec<_> =
            sum.wrong.iter().map(|(seed, violation)| json!({ "seed": seed, "violation": violation })).collect();
        let value = json!({
            "worlds": sum.worlds,
            "from": options.from,
            "simulated_s": sum.elapsed_ns as f64 / 1e9,
            "took_s": took,
            "turns": sum.turns,
            "events": sum.events,
            "connections_opened": sum.opened,
            "connections_refused": sum.refused,
            "bytes_checked": sum.bytes,
            "wrong": wrong,
        });
        return writeln!(out, "{value}");
    }
    writeln!(out, "{}, {} events, in {took:.0} s", sum.words(options.seeds), sum.events)?;
    let (opened, refused, mbytes) = (sum.opened, sum.refused, sum.bytes as f64 / 1e6);
    writeln!(out, "{opened} connections opened, {refused} refused for want of room, {mbytes:.0} MB checked")?;
    let slowest: Vec<_> =
        sum.slowest.iter().map(|(took, seed)| format!("{seed} ({:.1} s)", took.as_secs_f64())).collect();
    writeln!(out, "slowest seeds: {}", slowest.join(", "))
}
