//! How far a plan is, and how long it still takes.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::plan::{self, show};
use super::record::{Job, Record, Scene};

/// What is shown on standard error while runs go on: a line for each that has ended, and a bar on a terminal.
pub struct Progress {
    bar: ProgressBar,
    /// What is left by plan.
    left: Cell<Duration>,
    /// What the runs so far were to take by plan, and took.
    planned: Cell<Duration>,
    start: Instant,
}

impl Progress {
    /// Says how long the plan will take.
    pub fn new(jobs: &[Job]) -> Progress {
        let whole = plan::duration(jobs);
        eprintln!(
            "runs: {}, {} if none has to be repeated; Ctrl-C ends it and still makes the report",
            jobs.len(),
            show(whole)
        );
        let bar = ProgressBar::new(jobs.len() as u64);
        let style = ProgressStyle::with_template("{bar:25} {pos}/{len}  {wide_msg}");
        // The template is ours; were it wrong, a plain bar is no harm.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar, left: Cell::new(whole), planned: Cell::default(), start: Instant::now() }
    }

    pub fn begin(&self, job: &Job) {
        self.bar.set_message(format!("{} left  {}", show(self.time_left()), job.words()));
        self.bar.tick();
    }

    pub fn end(&self, record: &Record) {
        let span = plan::duration(std::slice::from_ref(&record.job));
        self.left.set(self.left.get().saturating_sub(span));
        self.planned.set(self.planned.get() + span);
        self.bar.suspend(|| eprintln!("{}", line(record)));
        self.bar.inc(1);
    }

    pub fn finish(&self, stopped: bool) {
        let left = self.bar.length().unwrap_or(0).saturating_sub(self.bar.position());
        self.bar.finish_and_clear();
        if stopped {
            let time = show(self.time_left());
            eprintln!("stopped; runs left: {left} ({time}); --resume results.jsonl goes on with them");
        }
    }

    /// What is left, if runs go on taking longer or shorter than planned as they did so far.
    fn time_left(&self) -> Duration {
        let planned = self.planned.get();
        if planned.is_zero() {
            return self.left.get();
        }
        self.left.get().mul_f64(self.start.elapsed().as_secs_f64() / planned.as_secs_f64())
    }
}

/// A run in a line.
fn line(record: &Record) -> String {
    let what = record.job.words();
    if let Some(error) = &record.error {
        return format!("{what}: FAILED: {error}");
    }
    let marks: String = record.invalid.iter().map(|why| format!("  INVALID: {why}")).collect();
    if record.job.scene == Scene::Ping {
        let trips = record.flows.first().map_or(&[][..], |flow| &flow.rtt_us);
        let ms = |quantile| super::record::at_quantile(trips, quantile) / 1e3;
        return format!("{what}: p50 {:.3} ms, p99 {:.3} ms{marks}", ms(0.5), ms(0.99));
    }
    let rates: Vec<String> = record.flows.iter().map(|flow| format!("{:.1}", flow.goodput_bps / 1e6)).collect();
    let queue = record.link.as_ref().map_or(f64::NAN, |link| link.queue_ms(0.99));
    format!("{what}: {} Mbit/s, queue p99 {queue:.1} ms{marks}", rates.join(" + "))
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{job, record};
    use super::*;

    #[test]
    fn a_run_is_one_line_and_says_what_is_wrong_with_it() {
        let mut record = record(job(Scene::Matrix, 100.0, "1%", "farwire-bbr", 2), 9.1e8);
        let words = "farwire-bbr at 100 ms, loss 1%, queue 1 BDP, round 2";
        assert_eq!(line(&record), format!("{words}: 910.0 Mbit/s, queue p99 4.0 ms"));
        record.invalid.push("others used 0.5 cores".to_owned());
        assert!(line(&record).ends_with("  INVALID: others used 0.5 cores"), "{}", line(&record));
        record.error = Some("no".to_owned());
        assert_eq!(line(&record), format!("{words}: FAILED: no"));
    }
}
