//! What the rounds of a contender in a cell come to: medians of the runs that count.

use super::cell::Cell;
use super::limit;
use super::record::{LinkSide, Record, Scene};
use super::results::Results;
use crate::machine::median;

/// Contenders whose goodput differs by less than this are at the same rate, for what else is compared at the same rate.
const SAME_RATE: f64 = 0.1;

/// All that is known about those who ran one scene.
pub struct Field<'a> {
    records: Vec<&'a Record>,
    /// Each once, in the order of the report.
    pub cells: Vec<Cell>,
    /// Names of those who ran, two joined by a +, in the order of the report.
    pub names: Vec<String>,
}

/// One contender in one cell.
pub struct Summary<'a> {
    pub cell: Cell,
    /// The runs that count; where no run was undisturbed, the disturbed ones.
    runs: Vec<&'a Record>,
    /// None was undisturbed.
    pub disturbed: bool,
    /// Runs that failed, of all.
    pub failed: (usize, usize),
}

impl<'a> Field<'a> {
    pub fn of(results: &'a Results, scene: Scene) -> Field<'a> {
        let records: Vec<&Record> = results.records.iter().filter(|record| record.job.scene == scene).collect();
        let mut cells: Vec<Cell> = Vec::new();
        for record in &records {
            if !cells.contains(&record.job.cell) {
                cells.push(record.job.cell);
            }
        }
        let order = |one: &Cell, other: &Cell| one.order().partial_cmp(&other.order());
        cells.sort_by(|one, other| order(one, other).unwrap_or(std::cmp::Ordering::Equal));
        Field { names: names(results, &records), cells, records }
    }

    /// How a contender did in a cell; `None` if it did not run there.
    pub fn summary(&self, cell: &Cell, name: &str) -> Option<Summary<'a>> {
        let ran = |record: &&&Record| record.job.cell == *cell && record.job.contenders.join("+") == name;
        let all: Vec<&Record> = self.records.iter().filter(ran).copied().collect();
        let failed = (all.iter().filter(|record| record.error.is_some()).count(), all.len());
        let done = || all.iter().copied().filter(|record| record.error.is_none());
        let valid: Vec<&Record> = done().filter(|record| record.is_valid()).collect();
        let disturbed = valid.is_empty() && failed.0 < failed.1;
        let runs = if disturbed { done().collect() } else { valid };
        (!all.is_empty()).then_some(Summary { cell: *cell, runs, disturbed, failed })
    }

    /// The same, if there is a figure that counts.
    pub fn counted(&self, cell: &Cell, name: &str) -> Option<Summary<'a>> {
        self.summary(cell, name).filter(|summary| !summary.disturbed)
    }

    /// Goodput of one over that of another: the median of the ratios of those rounds in which both ran. A rival that
    /// failed in a round is no measure in it.
    pub fn ratio(&self, cell: &Cell, one: &str, other: &str) -> Option<f64> {
        let (one, other) = (self.counted(cell, one)?, self.counted(cell, other)?);
        let pairs = one.runs.iter().filter_map(|run| {
            let same_round = |other: &&&Record| other.job.round == run.job.round;
            let goodput_bps = other.runs.iter().find(same_round)?.goodput_bps();
            (goodput_bps > 0.0).then(|| run.goodput_bps() / goodput_bps)
        });
        Some(median(pairs)).filter(|ratio| !ratio.is_nan())
    }

    /// The best of those in a cell whom `of` names.
    pub fn best(&self, cell: &Cell, of: impl Fn(&str) -> bool) -> Option<(&str, Summary<'a>)> {
        let all = self.names.iter().filter(|name| of(name));
        let all = all.filter_map(|name| Some((name.as_str(), self.counted(cell, name)?)));
        all.max_by(|(_, one), (_, other)| one.goodput_bps().total_cmp(&other.goodput_bps()))
    }
}

/// In the order in which the sittings name them; two together in the order in which they ran.
fn names(results: &Results, records: &[&Record]) -> Vec<String> {
    let mut known: Vec<&str> = Vec::new();
    for presence in results.sittings.iter().flat_map(|sitting| &sitting.contenders) {
        if !known.contains(&presence.name.as_str()) {
            known.push(&presence.name);
        }
    }
    let place = |name: &str| known.iter().position(|known| *known == name).unwrap_or(known.len());
    let mut names: Vec<(Vec<usize>, String)> = Vec::new();
    for record in records {
        let contenders = &record.job.contenders;
        let name = contenders.join("+");
        if names.iter().all(|(_, other)| *other != name) {
            names.push((contenders.iter().map(|name| place(name)).collect(), name));
        }
    }
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

impl<'a> Summary<'a> {
    pub fn runs(&self) -> &[&'a Record] {
        &self.runs
    }

    /// A run that failed has moved nothing.
    pub fn goodput_bps(&self) -> f64 {
        let failed = std::iter::repeat_n(0.0, self.failed.0);
        median(self.runs.iter().map(|run| run.goodput_bps()).chain(failed))
    }

    pub fn goodput_range_bps(&self) -> (f64, f64) {
        let all = self.runs.iter().map(|run| run.goodput_bps());
        all.fold((f64::MAX, 0.0f64), |(low, high), bps| (low.min(bps), high.max(bps)))
    }

    pub fn of_limit(&self) -> f64 {
        self.goodput_bps() / limit::goodput_bps(&self.cell)
    }

    /// The run with the median goodput.
    pub fn typical(&self) -> Option<&'a Record> {
        let goodput = median(self.runs.iter().map(|run| run.goodput_bps()));
        self.runs.iter().find(|run| run.goodput_bps() == goodput).copied()
    }

    /// Round trips until 90 % of the limit; endless if a run never got there.
    pub fn trips_to_90(&self) -> f64 {
        let trips =
            |run: &&Record| Some(run.link.as_ref()?.ms_to_90.map_or(f64::INFINITY, |ms| ms / run.job.cell.rtt_ms));
        median(self.runs.iter().filter_map(trips))
    }

    /// Half a bin of the emulator's, in round trips: what can't be told apart.
    pub fn trips_resolution(&self) -> f64 {
        let bin_ms = self.runs.first().and_then(|run| run.link.as_ref()).map_or(f64::NAN, |link| link.bin_ms);
        bin_ms / self.cell.rtt_ms
    }

    /// The share of packets that were sent again, beside the share that the link lost or its queue dropped.
    pub fn sent_again_and_lost(&self) -> (f64, f64) {
        let again = self.runs.iter().filter_map(|run| run.flows.first()?.sent_again_share);
        (median(again), self.of_link(LinkSide::dropped_share))
    }

    /// Bytes of Ethernet frames put on the link for each byte that the application got, in the measured span.
    pub fn carried_per_byte(&self) -> f64 {
        let ratio = |run: &&Record| {
            let (flow, link) = (run.flows.first()?, run.link.as_ref()?);
            let (sent, got) =
                (link.span_out_bytes / (1.0 - link.dropped_share()), flow.goodput_bps * flow.seconds / 8.0);
            Some(sent / got).filter(|ratio| ratio.is_finite())
        };
        median(self.runs.iter().filter_map(ratio))
    }

    pub fn queue_ms(&self, quantile: f64) -> f64 {
        self.of_link(|link| link.queue_ms(quantile))
    }

    pub fn queue_dropped_share(&self) -> f64 {
        self.of_link(LinkSide::queue_dropped_share)
    }

    pub fn connect_ms(&self) -> f64 {
        median(self.runs.iter().filter_map(|run| run.flows.first()?.connect_ms))
    }

    /// CPU seconds per gigabyte: sender's program, receiver's, the whole machine without the emulator, the emulator.
    pub fn cpu_per_gb(&self) -> [f64; 4] {
        let each =
            |of: fn(&Record) -> f64| median(self.runs.iter().map(|run| of(run)).filter(|value| value.is_finite()));
        [
            each(|run| run.programs_cpu_per_gb().0),
            each(|run| run.programs_cpu_per_gb().1),
            each(Record::machine_cpu_per_gb),
            each(Record::linkem_cpu_per_gb),
        ]
    }

    /// CPU seconds per gigabyte that were taken from the machine by everybody, the emulator included.
    pub fn taken_cpu_per_gb(&self) -> f64 {
        median(self.runs.iter().map(|run| run.taken_cpu_per_gb()).filter(|value| value.is_finite()))
    }

    pub fn is_at_the_rate_of(&self, other: &Summary<'_>) -> bool {
        let ratio = self.goodput_bps() / other.goodput_bps();
        (1.0 - SAME_RATE..=1.0 + SAME_RATE).contains(&ratio)
    }

    fn of_link(&self, of: impl Fn(&LinkSide) -> f64) -> f64 {
        median(self.runs.iter().filter_map(|run| run.link.as_ref().map(&of)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{job, record};
    use super::super::results::{Presence, Sitting};
    use super::*;

    fn run(name: &str, round: usize, mbit: f64) -> Record {
        record(job(Scene::Matrix, 100.0, "1%", name, round), mbit * 1e6)
    }

    fn results(records: Vec<Record>) -> Results {
        let presence = |name: &str| Presence { name: name.to_owned(), what: String::new(), missing: None };
        let contenders = ["farwire-bbr", "tcp-bbr"].map(presence).to_vec();
        Results { sittings: vec![Sitting { at: 0, command: String::new(), contenders, hosts: vec![] }], records }
    }

    #[test]
    fn medians_are_of_the_runs_that_count() {
        let mut disturbed = run("tcp-bbr", 3, 10.0);
        disturbed.invalid.push("others".to_owned());
        let results =
            results(vec![run("tcp-bbr", 1, 800.0), run("tcp-bbr", 2, 600.0), disturbed, run("tcp-bbr", 4, 700.0)]);
        let field = Field::of(&results, Scene::Matrix);
        let cell = field.cells[0];
        let summary = field.counted(&cell, "tcp-bbr").unwrap();
        assert_eq!((summary.goodput_bps(), summary.goodput_range_bps()), (7e8, (6e8, 8e8)));
        assert_eq!((summary.trips_to_90(), summary.trips_resolution(), summary.queue_ms(0.99)), (2.0, 0.1, 4.0));
        assert_eq!(summary.typical().unwrap().job.round, 4);
        assert!(field.summary(&cell, "farwire-bbr").is_none());
    }

    #[test]
    fn only_disturbed_runs_are_shown_and_do_not_count() {
        let mut disturbed = run("tcp-bbr", 1, 500.0);
        disturbed.invalid.push("others".to_owned());
        let results = results(vec![disturbed]);
        let field = Field::of(&results, Scene::Matrix);
        let summary = field.summary(&field.cells[0], "tcp-bbr").unwrap();
        assert!(summary.disturbed && summary.goodput_bps() == 5e8);
        assert!(field.counted(&field.cells[0], "tcp-bbr").is_none());
    }

    #[test]
    fn a_failed_run_moved_nothing() {
        let failed = |round| Record { error: Some("gone".to_owned()), flows: vec![], ..run("tcp-bbr", round, 0.0) };
        let results = results(vec![failed(1), run("tcp-bbr", 2, 900.0), failed(3)]);
        let field = Field::of(&results, Scene::Matrix);
        let summary = field.counted(&field.cells[0], "tcp-bbr").unwrap();
        assert_eq!((summary.goodput_bps(), summary.failed), (0.0, (2, 3)));
        assert_eq!(summary.queue_ms(0.5), 0.3);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let results = results(vec![
            run("tcp-bbr", 1, 500.0),
            run("farwire-bbr", 1, 900.0),
            run("tcp-bbr", 2, 100.0),
            run("farwire-bbr", 2, 200.0),
            run("farwire-bbr", 3, 1.0),
        ]);
        let field = Field::of(&results, Scene::Matrix);
        let cell = field.cells[0];
        assert_eq!(field.names, ["farwire-bbr", "tcp-bbr"], "in the order of the sitting");
        assert_eq!(field.ratio(&cell, "farwire-bbr", "tcp-bbr"), Some(1.8), "the lower one of two");
        assert_eq!(field.ratio(&cell, "farwire-bbr", "nobody"), None);
        let (name, best) = field.best(&cell, |name| name.starts_with("farwire")).unwrap();
        assert_eq!((name, best.goodput_bps()), ("farwire-bbr", 2e8));
        assert!(!best.is_at_the_rate_of(&field.counted(&cell, "tcp-bbr").unwrap()));
    }
}
