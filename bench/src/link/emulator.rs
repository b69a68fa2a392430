//! The emulated link: `linkem` in the middle host, started for one run and asked for its report at the end.

use std::time::Instant;

use anyhow::Context;
use serde_json::Value;

use super::cell::Cell;
use super::figures::Series;
use super::limit;
use super::plan::{HALF_AT, OUTAGE_AT, OUTAGE_FOR};
use super::record::LinkSide;
use super::stage::Stage;
use crate::program::Program;

/// What it says once frames flow.
const READY: &str = "ready";
/// Quantiles of the emulator's histograms that are kept.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
/// A flow has begun when this many bytes leave in one bin: no handshake comes to three full frames.
const FLOW_FRAMES: u64 = 3;

/// What happens to the link while a flow runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Faults {
    None,
    /// Cut for a while, later its rate halves; times in units of `span_s`.
    Outage {
        span_s: f64,
    },
}

/// A link in use.
pub struct Emulator {
    program: Program,
    cell: Cell,
    /// When its clock began.
    pub start: Instant,
}

/// What it had to say at the end.
pub struct LinkReport {
    /// Towards host b, where flows go.
    pub right: LinkSide,
    pub cpu_seconds: f64,
    /// Why the emulator was the bottleneck itself, if it was.
    pub invalid: Vec<String>,
}

impl Emulator {
    pub fn start(stage: &Stage, cell: &Cell, faults: Faults, seed: u64) -> anyhow::Result<Emulator> {
        let command =
            [vec![stage.tools.linkem.display().to_string()], words(cell, faults, seed), stage.tools.link_flags.clone()];
        let sides = ["eth1", "eth2"].map(str::to_owned);
        let mut program = stage.start("m", &[command.concat(), sides.to_vec()].concat())?;
        program.await_words(READY)?;
        Ok(Emulator { program, cell: *cell, start: Instant::now() })
    }

    /// Takes the link away and tells what it saw; `seconds` are those that a flow is measured.
    pub fn end(self, seconds: f64) -> anyhow::Result<LinkReport> {
        let ended = self.program.stop()?;
        // 3 is how it ends when it was the bottleneck itself: the report says so as well.
        let told = matches!(ended.status.code(), Some(0 | 3));
        anyhow::ensure!(told, "the emulator ended with {}: {}", ended.status, ended.said);
        let report: Value = serde_json::from_str(&ended.stdout).with_context(|| ended.stdout.clone())?;
        parse(&report, &self.cell, seconds, ended.cpu_seconds)
            .with_context(|| format!("the emulator's report: {report}"))
    }
}

/// Width of the bins in which the emulator counts: half a round trip or less, so that "within two round trips" can be
/// told; a hundred frames or so at least, so that chance plays no part.
pub fn bin_ms(cell: &Cell) -> f64 {
    let frames_ms = 80.0 * 8e3 * limit::wire_bytes(u64::from(cell.mtu)) as f64 / cell.rate_bps as f64;
    (cell.rtt_ms / 2.0).clamp(1.0, 10.0).max(frames_ms.ceil())
}

fn words(cell: &Cell, faults: Faults, seed: u64) -> Vec<String> {
    let mut words = vec![
        format!("--rate={}bit", cell.rate_bps),
        format!("--delay={}us", (cell.rtt_ms * 500.0).round()),
        format!("--queue={}", cell.queue_bytes()),
        format!("--seed={seed}"),
        format!("--bins={}ms", bin_ms(cell)),
        "--json".to_owned(),
    ];
    let percent = cell.loss.share * 100.0;
    match cell.loss.burst {
        _ if cell.loss.share == 0.0 => {}
        None => words.push(format!("--loss={percent}%")),
        Some(frames) => words.push(format!("--burst-loss={percent}%/{frames}")),
    }
    if let Faults::Outage { span_s } = faults {
        let half = cell.rate_bps / 2;
        let (at, long, later) = (span_s * OUTAGE_AT, span_s * OUTAGE_FOR, span_s * HALF_AT);
        words.push(format!("--outage={at}s+{long}s"));
        words.push(format!("--rate-at={later}s={half}bit"));
    }
    words
}

fn parse(report: &Value, cell: &Cell, seconds: f64, cpu_seconds: f64) -> anyhow::Result<LinkReport> {
    let way = report.get("to_right").context("no to_right")?;
    let tally = |what: &str| {
        let count = |of: &str| way.get(what).and_then(|tally| tally.get(of)?.as_u64());
        count("frames").zip(count("bytes")).with_context(|| format!("no {what}"))
    };
    let (in_frames, in_bytes) = tally("offered")?;
    let (out_frames, out_bytes) = tally("sent")?;
    let dropped = ["queue", "loss", "burst", "outage"].map(|cause| {
        let (frames, _) = tally(&format!("dropped_{cause}"))?;
        anyhow::Ok((cause.to_owned(), frames))
    });
    let bin_ms = report.get("bin_ns").and_then(Value::as_f64).context("no bin_ns")? / 1e6;
    let bins = way.get("bins_bytes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let series = Series { bin_ms, bytes: bins.iter().filter_map(Value::as_u64).collect() };
    let flow = series.beginning_with(FLOW_FRAMES * u64::from(cell.mtu));
    let right = LinkSide {
        in_frames,
        in_bytes,
        out_frames,
        out_bytes,
        dropped: dropped.into_iter().collect::<anyhow::Result<_>>()?,
        queue_us: quantiles(way, "queued_ns"),
        span_out_bytes: flow.bytes_in(seconds),
        ms_to_90: flow.ms_to(0.9 * limit::frames_bps(cell)),
        bin_ms,
        late_us: quantiles(way, "late_ns"),
    };
    let reasons = report.get("reasons").and_then(Value::as_array).context("no reasons")?;
    let reasons = reasons.iter().filter_map(Value::as_str);
    Ok(LinkReport { right, cpu_seconds, invalid: reasons.map(|reason| format!("emulator: {reason}")).collect() })
}

/// (quantile, microseconds) of one of its histograms.
fn quantiles(way: &Value, name: &str) -> Vec<(f64, f64)> {
    let of = |(key, quantile)| Some((quantile, way.get(name)?.get(key)?.as_f64()? / 1e3));
    QUANTILES.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cell(rtt_ms: f64, loss: &str) -> Cell {
        Cell { rate_bps: 1_000_000_000, mtu: 1500, rtt_ms, loss: loss.parse().unwrap(), queue_bdp: 1.0 }
    }

    #[test]
    fn a_cell_becomes_the_emulators_options() {
        let line = |loss, faults| words(&cell(100.0, loss), faults, 7).join(" ");
        let plain = "--rate=1000000000bit --delay=50000us --queue=12500000 --seed=7 --bins=10ms --json";
        assert_eq!(line("0", Faults::None), plain);
        assert_eq!(line("0.01%", Faults::None), format!("{plain} --loss=0.01%"));
        assert_eq!(line("1%/20", Faults::None), format!("{plain} --burst-loss=1%/20"));
        let outage = format!("{plain} --outage=20s+3s --rate-at=40s=500000000bit");
        assert_eq!(line("0", Faults::Outage { span_s: 10.0 }), outage);
    }

    #[test]
    fn bins_are_as_narrow_as_round_trips_ask_and_as_wide_as_chance_needs() {
        assert_eq!([2.0, 10.0, 100.0].map(|rtt_ms| bin_ms(&cell(rtt_ms, "0"))), [1.0, 5.0, 10.0]);
        assert_eq!(bin_ms(&Cell { rate_bps: 100_000_000, ..cell(2.0, "0") }), 10.0);
    }

    #[test]
    fn a_report_becomes_a_side_of_the_link() {
        let tally = |frames: u64| json!({ "frames": frames, "bytes": frames * 1514 });
        let report = json!({
            "bin_ns": 10_000_000, "reasons": ["right: 7 of 10 frames left more than 1 ms late"],
            "to_right": {
                "offered": tally(1000), "sent": tally(980), "passed": tally(980),
                "dropped_queue": tally(5), "dropped_loss": tally(15), "dropped_burst": tally(0),
                "dropped_outage": tally(0),
                "queued_ns": { "count": 980, "p50": 1000, "p90": 2000, "p99": 3000, "p999": 4000, "max": 5000 },
                "late_ns": { "count": 980, "p50": 100, "p90": 200, "p99": 300, "p999": 400, "max": 500 },
                "bins_bytes": [90, 0, 1_000_000, 1_150_000, 1_200_000, 1_230_000],
            },
        });
        let LinkReport { right, cpu_seconds, invalid } = parse(&report, &cell(100.0, "0"), 0.02, 2.5).unwrap();
        assert_eq!((right.in_frames, right.out_bytes, cpu_seconds), (1000, 980 * 1514, 2.5));
        assert_eq!((right.dropped["queue"], right.dropped_share()), (5, 0.02));
        assert_eq!((right.queue_ms(0.5), right.queue_ms(0.999), right.queue_ms(1.0)), (0.001, 0.004, 0.005));
        // 90 % of 984.4 Mbit/s are 1,107,438 bytes in 10 ms: from the second bin of the flow on.
        assert_eq!((right.ms_to_90, right.late_us.len()), (Some(10.0), 5));
        assert_eq!(right.span_out_bytes, 2_150_000.0);
        assert!(invalid[0].starts_with("emulator: right: 7 of 10"), "{invalid:?}");
        let mut less = report;
        less["to_right"]["offered"] = json!(null);
        assert!(parse(&less, &cell(100.0, "0"), 1.0, 0.0).is_err_and(|error| error.to_string().contains("offered")));
    }
}
