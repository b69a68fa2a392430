//! What a run was like: a table for people, one object for machines, and whether it counts.

use std::fmt::Write;

use farwire::base::size::show as bytes;
use farwire::base::{Nanos, Rate};
use farwire::link::impair::{Counters, Profile};
use farwire::obs::hist::{Histogram, Percentiles, Unit, show};
use serde_json::{Value, json};

use crate::clock::Taken;
use crate::direction::Seen;
use crate::options::{DIRECTIONS, Options};
use crate::own::Loss;

/// How many times the bound for lateness a frame must exceed, and of how many frames one may. Two busy hosts on two
/// cores with a non-preemptible kernel hold up one frame in some 500 by 1 to 2 ms, since softirqs run for up to 2 ms:
/// less than the jitter of a real path. Tens of milliseconds, as when two emulators share a core, are not. Lower
/// shares: no run on such a machine is valid. Higher: lateness begins to look like a property of the link.
const MAY_BE_LATE: [(Nanos, u64); 2] = [(1, 100), (10, 1000)];

/// Everything that there is to tell.
pub struct Report<'a> {
    pub options: &'a Options,
    pub mode: &'static str,
    pub mtu: usize,
    /// Frames in the pool.
    pub frames: usize,
    /// Whether the real-time priority asked for was granted.
    pub real_time: bool,
    pub taken: Taken,
    pub ways: [Way<'a>; 2],
}

/// One direction.
pub struct Way<'a> {
    pub profile: &'a Profile,
    pub counters: &'a Counters,
    pub seen: &'a Seen,
    /// Frames that were still under way at the end.
    pub under_way: usize,
    pub losses: Vec<Loss>,
}

impl Report<'_> {
    /// Why the run says nothing about the link; empty if it does.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (way, name) in self.ways.iter().zip(DIRECTIONS) {
            for (counter, lost, why) in way.losses.iter().filter(|loss| loss.1 > 0) {
                reasons.push(format!("{name}: {lost} frames lost by the emulator ({counter}): {why}"));
            }
            if way.seen.copies_missed > 0 {
                let missed = way.seen.copies_missed;
                reasons.push(format!("{name}: {missed} duplicates not made for want of a free frame: more --umem"));
            }
            for (times, of) in MAY_BE_LATE {
                let bound_ns = self.options.late * times;
                let bound = show(bound_ns, Unit::Nanoseconds);
                let left = (&way.seen.late, way.seen.sent.frames, format!("left more than {bound} late"));
                // Of all that came: those that woke the emulator were noticed at once, and are in no histogram.
                let came = way.counters.offered.frames;
                let came =
                    (&way.seen.unnoticed, came, format!("may have come more than {bound} before they were noticed"));
                for (spans, total, what) in [left, came] {
                    let late = beyond(spans, bound_ns);
                    if late * of > total {
                        reasons.push(format!("{name}: {late} of {total} frames {what}: the machine is busy"));
                    }
                }
            }
        }
        reasons
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let reasons = self.reasons();
        let mut report = json!({
            "linkem": env!("CARGO_PKG_VERSION"),
            "left": self.options.left,
            "right": self.options.right,
            "mode": self.mode,
            "mtu": self.mtu,
            "frames": self.frames,
            "seed": self.options.seed,
            "granularity_ns": self.options.granularity,
            "late_bound_ns": self.options.late,
            "real_time": self.real_time,
            "seconds": self.taken.seconds(),
            "cpu_share": self.taken.cpu_share(),
            "invalid": !reasons.is_empty(),
            "reasons": reasons,
        });
        for (way, name) in self.ways.iter().zip(DIRECTIONS) {
            report[format!("to_{name}")] = way.json();
        }
        if let Some(bin_ns) = self.options.bins {
            report["bin_ns"] = json!(bin_ns);
        }
        report
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let title = [&self.options.left, " <-> ", &self.options.right].concat();
        let _ = writeln!(
            text,
            "{title}: {:.1} s, {} mode, seed {}, {:.0} % of a CPU{}",
            self.taken.seconds(),
            self.mode,
            self.options.seed,
            100.0 * self.taken.cpu_share(),
            if self.real_time { ", real-time priority" } else { "" },
        );
        for (way, name) in self.ways.iter().zip(DIRECTIONS) {
            let _ = writeln!(text, "  to {name:<6} {}", way.profile);
        }
        let _ = writeln!(text, "{:<28}{:>24}{:>24}", "", "to right", "to left");
        let seconds = self.taken.seconds();
        let [right, left] = [self.ways[0].rows(seconds), self.ways[1].rows(seconds)];
        for (right, left) in right.iter().zip(&left) {
            if right.1 != "0" || left.1 != "0" {
                let _ = writeln!(text, "{:<28}{:>24}{:>24}", right.0, right.1, left.1);
            }
        }
        let reasons = self.reasons();
        if reasons.is_empty() {
            let _ = writeln!(text, "valid: the emulator lost no frame of its own, and kept its times");
        } else {
            let _ = writeln!(text, "INVALID: this run says nothing about the link");
            for reason in reasons {
                let _ = writeln!(text, "  {reason}");
            }
        }
        text
    }
}

impl Way<'_> {
    fn json(&self) -> Value {
        let mut way = json!({
            "profile": self.profile.to_string(),
            "queue_limit_bytes": self.profile.queue_bytes(),
            "sent": { "frames": self.seen.sent.frames, "bytes": self.seen.sent.bytes },
            "under_way_at_end": self.under_way,
            "duplicates_missed": self.seen.copies_missed,
            "queued_ns": self.seen.queued.percentiles(),
            "late_ns": self.seen.late.percentiles(),
            "unnoticed_ns": self.seen.unnoticed.percentiles(),
            "own_losses": self.losses.iter().map(|loss| (loss.0.to_string(), json!(loss.1))).collect::<Value>(),
        });
        for (name, tally) in self.counters.each() {
            way[name] = json!({ "frames": tally.frames, "bytes": tally.bytes });
        }
        if !self.seen.bins.is_empty() {
            way["bins_bytes"] = json!(self.seen.bins);
        }
        way
    }

    /// Names and values, in an order and number that does not depend on the values.
    fn rows(&self, seconds: f64) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_string(), value));
        let amount =
            |frames: u64, size: u64| if frames == 0 { "0".into() } else { format!("{frames} ({})", bytes(size)) };
        for (name, tally) in self.counters.each() {
            row(&name.replace('_', ": "), amount(tally.frames, tally.bytes));
        }
        row("sent", amount(self.seen.sent.frames, self.seen.sent.bytes));
        let bps = Rate::from_bps((self.seen.sent.bytes as f64 * 8.0 / seconds) as u64);
        row("sent, rate of frames", bps.map_or("0".into(), |rate| rate.to_string()));
        row("under way at the end", self.under_way.to_string());
        let times = [("waited in queue", &self.seen.queued), ("left late", &self.seen.late)];
        for (what, spans) in times.into_iter().chain([("noticed late, at most", &self.seen.unnoticed)]) {
            for (which, value) in each(spans.percentiles()) {
                let value = if spans.is_empty() { "0".into() } else { show(value, Unit::Nanoseconds) };
                row(&format!("{what}: {which}"), value);
            }
        }
        rows
    }
}

fn each(spans: Percentiles) -> [(&'static str, u64); 4] {
    [("50 %", spans.p50), ("99 %", spans.p99), ("99.9 %", spans.p999), ("most", spans.max)]
}

/// How many values lie beyond a bound.
fn beyond(spans: &Histogram, bound: Nanos) -> u64 {
    spans.recorded().filter(|(value, _)| *value > bound).map(|(_, times)| times).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use farwire::base::time::MILLISECOND;
    use farwire::link::impair::Tally;

    use super::*;

    /// What a report says against a run: of `came` frames to the right `polled` were taken without being woken by one,
    /// `slow` of them 2 ms after they may have come, and all left in time.
    fn reasons(came: u64, polled: u64, slow: u64) -> Vec<String> {
        let options = Options::try_parse_from(["linkem", "eth1", "eth2"]).unwrap();
        let (profile, counters) = (Profile::default(), Counters::default());
        let busy = Counters { offered: Tally { frames: came, bytes: came * 100 }, ..Counters::default() };
        let (idle, mut seen) = (Seen::new(None), Seen::new(None));
        seen.sent.frames = came;
        seen.late.record_n(0, came);
        seen.unnoticed.record_n(1000, polled - slow);
        seen.unnoticed.record_n(2 * MILLISECOND, slow);
        let way = |counters, seen| Way { profile: &profile, counters, seen, under_way: 0, losses: Vec::new() };
        let report = Report {
            options: &options,
            mode: "copy",
            mtu: 1500,
            frames: 1024,
            real_time: false,
            taken: Taken { ns: 2_000_000_000, cpu: Duration::from_millis(500) },
            ways: [way(&busy, &seen), way(&counters, &idle)],
        };
        assert_eq!(report.json()["cpu_share"], 0.25);
        assert!(report.table().contains("2.0 s, copy mode, seed 1, 25 % of a CPU"), "{}", report.table());
        report.reasons()
    }

    #[test]
    fn frames_noticed_late_are_counted_among_all_that_came() {
        assert_eq!(reasons(2970, 12, 6), [""; 0]);
        let told = "right: 31 of 3000 frames may have come more than 1.00 ms before they were noticed";
        let reasons = reasons(3000, 40, 31);
        assert!(reasons.len() == 1 && reasons[0].starts_with(told), "{reasons:?}");
    }
}
