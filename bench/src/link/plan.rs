//! What is to be run: the matrix and the scenes, as the user narrowed them, and how long that will take.

use std::time::Duration;

use anyhow::ensure;

use super::cell::{Cell, Loss};
use super::contender::Contender;
use super::record::{Job, Scene};

/// What a run takes beside its flow: the emulator, both programs, a look whether the machine is quiet. Measured.
const AROUND_RUN: Duration = Duration::from_secs(4);
/// Round trip of the scenes in which two flows share the link: long enough to have a queue worth fighting for, short
/// enough that a controller that converges does so within the scene.
const SHARE_RTT_MS: f64 = 20.0;
/// Round trip of the outage and of the tree of small files.
const LONG_RTT_MS: f64 = 100.0;
/// Length of the scenes in units of `--seconds`, 10 s by default: half a minute to converge, a minute with an outage.
const SHARE_SPANS: f64 = 3.0;
pub const OUTAGE_SPANS: f64 = 6.0;
/// When the link is cut, for how long, and when its rate halves: 20 s, 3 s and 40 s by default.
pub const OUTAGE_AT: f64 = 2.0;
pub const OUTAGE_FOR: f64 = 0.3;
pub const HALF_AT: f64 = 4.0;

/// What the user narrowed the plan to.
#[derive(clap::Args, Clone, Debug)]
pub struct Selection {
    /// Everything: 48 cells, all contenders, 3 rounds, all scenes. Takes many hours; says before how many.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// A few cells, one round of 5 s, farwire and TCP: minutes. This is also what runs without --full.
    #[arg(long)]
    quick: bool,
    /// Round trips in milliseconds, without queueing [default: 2,100; --full: 2,20,100,200].
    #[arg(long, value_delimiter = ',', value_name = "MS")]
    rtt: Vec<f64>,
    /// Shares of frames that get lost, both ways; 1%/20 is 1 % in bursts of 20 frames [default: 0,1%; --full:
    /// 0,0.01%,0.1%,1%,5%,1%/20].
    #[arg(long, value_delimiter = ',')]
    loss: Vec<Loss>,
    /// Queues of the bottleneck in units of rate × round trip [default: 1; --full: 1,0.1].
    #[arg(long, value_delimiter = ',', value_name = "BDP")]
    queue: Vec<f64>,
    /// Who runs: names, or what names begin with, or all; a wrong one lists them [default: farwire,tcp; --full: all].
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub contenders: Vec<String>,
    /// How often each runs in each cell [default: 1; --full: 3].
    #[arg(long)]
    rounds: Option<usize>,
    /// How long a flow is measured, from its first byte on; scenes take multiples of it [default: 5; --full: 10].
    #[arg(long)]
    seconds: Option<f64>,
    /// What is run [default: matrix,ping; --full: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    scenes: Vec<Scene>,
    /// Rate of the link in wire bits.
    #[arg(long, default_value = "1gbit")]
    rate: farwire::base::Rate,
    /// MTU of all interfaces.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(576..=3400))]
    pub mtu: u16,
}

impl Selection {
    pub fn rate_bps(&self) -> u64 {
        self.rate.bps()
    }

    /// Refuses what can't be measured.
    pub fn check(&self) -> anyhow::Result<()> {
        let all = |values: &[f64], least: f64, most: f64| values.iter().all(|value| (least..=most).contains(value));
        ensure!(all(&self.rtt, 0.1, 2000.0), "--rtt {:?}: from 0.1 to 2000 ms, please", self.rtt);
        ensure!(all(&self.queue, 0.01, 100.0), "--queue {:?}: from 0.01 to 100 BDP, please", self.queue);
        ensure!(self.rounds != Some(0), "--rounds 0: one at least");
        let seconds = self.seconds();
        ensure!((1.0..=600.0).contains(&seconds), "--seconds {seconds}: from 1 to 600, please");
        let rate = self.rate_bps();
        ensure!((1_000_000..=10_000_000_000).contains(&rate), "--rate {}: from 1mbit to 10gbit, please", self.rate);
        Ok(())
    }

    /// Names to choose contenders by; none means all.
    pub fn chosen(&self) -> Vec<String> {
        if self.contenders.is_empty() && !self.full {
            ["farwire", "tcp"].map(str::to_owned).to_vec()
        } else {
            self.contenders.clone()
        }
    }

    /// All runs, in their order: every contender of a cell after the other, every cell once before any has its second
    /// round, so that a plan that is broken off has something of everything.
    pub fn jobs(&self, contenders: &[Contender]) -> Vec<Job> {
        let here: Vec<&Contender> = contenders.iter().filter(|contender| contender.missing.is_none()).collect();
        let rounds = self.rounds.unwrap_or(if self.full { 3 } else { 1 });
        let mut jobs = Vec::new();
        for round in 1..=rounds {
            for scene in self.scenes() {
                for (cell, field) in self.fields(scene, &here) {
                    // Whoever runs first meets a machine that has just been idle: each is that in turn.
                    let first = round % field.len().max(1);
                    let turned = field[first..].iter().chain(&field[..first]);
                    jobs.extend(turned.map(|names| Job {
                        scene,
                        cell,
                        contenders: names.clone(),
                        seconds: self.span(scene),
                        round,
                    }));
                }
            }
        }
        jobs
    }

    fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.full { 10.0 } else { 5.0 })
    }

    fn span(&self, scene: Scene) -> f64 {
        match scene {
            Scene::Share | Scene::Beside => self.seconds() * SHARE_SPANS,
            Scene::Outage => self.seconds() * OUTAGE_SPANS,
            Scene::Matrix | Scene::Tree | Scene::Ping | Scene::Cost => self.seconds(),
        }
    }

    fn scenes(&self) -> Vec<Scene> {
        use Scene::{Beside, Cost, Matrix, Outage, Ping, Share, Tree};
        let full = vec![Ping, Matrix, Share, Beside, Outage, Tree, Cost];
        let default = if self.full { full } else { vec![Ping, Matrix] };
        let mut scenes = if self.scenes.is_empty() { default } else { self.scenes.clone() };
        // What the emulator is worth comes first.
        scenes.sort();
        scenes.dedup();
        scenes
    }

    /// The cells of a scene, with those who run in them: one list of names for each run.
    fn fields(&self, scene: Scene, here: &[&Contender]) -> Vec<(Cell, Vec<Vec<String>>)> {
        let names = |of: fn(&Contender) -> bool| -> Vec<String> {
            here.iter().filter(|contender| of(contender)).map(|contender| contender.name.clone()).collect()
        };
        let alone = |names: Vec<String>| names.into_iter().map(|name| vec![name]).collect();
        let (farwires, tcps) = (names(Contender::is_farwire), names(Contender::is_tcp));
        match scene {
            Scene::Cost => self.rtts().into_iter().map(|rtt| (self.plain(rtt), alone(names(|_| true)))).collect(),
            Scene::Matrix => self.matrix().into_iter().map(|cell| (cell, alone(names(|_| true)))).collect(),
            Scene::Ping => {
                self.rtts().into_iter().map(|rtt| (self.plain(rtt), vec![vec!["ping".to_owned()]])).collect()
            }
            // Two who each own the link are a contradiction, not a measurement.
            Scene::Share => {
                let adaptive = farwires.into_iter().filter(|name| name != "farwire-fixed");
                vec![(self.plain(SHARE_RTT_MS), adaptive.map(|name| vec![name.clone(), name]).collect())]
            }
            Scene::Beside => {
                let pairs = farwires.iter().flat_map(|one| tcps.iter().map(move |tcp| vec![tcp.clone(), one.clone()]));
                vec![(self.plain(SHARE_RTT_MS), pairs.collect())]
            }
            Scene::Outage => vec![(self.plain(LONG_RTT_MS), alone([farwires, tcps].concat()))],
            Scene::Tree => vec![(self.plain(LONG_RTT_MS), alone(farwires))],
        }
    }

    fn matrix(&self) -> Vec<Cell> {
        let or = |given: &[f64], default: &[f64]| if given.is_empty() { default.to_vec() } else { given.to_vec() };
        let losses: &[&str] = if self.full { &["0", "0.01%", "0.1%", "1%", "5%", "1%/20"] } else { &["0", "1%"] };
        let losses = losses.iter().filter_map(|text| text.parse().ok()).collect();
        let losses = if self.loss.is_empty() { losses } else { self.loss.clone() };
        let mut cells = Vec::new();
        for queue_bdp in or(&self.queue, if self.full { &[1.0, 0.1] } else { &[1.0] }) {
            for rtt_ms in self.rtts() {
                cells.extend(losses.iter().map(|loss| Cell { loss: *loss, queue_bdp, ..self.plain(rtt_ms) }));
            }
        }
        cells
    }

    fn rtts(&self) -> Vec<f64> {
        let default: &[f64] = if self.full { &[2.0, 20.0, 100.0, 200.0] } else { &[2.0, 100.0] };
        if self.rtt.is_empty() { default.to_vec() } else { self.rtt.clone() }
    }

    /// A link without loss and with a queue of one BDP.
    fn plain(&self, rtt_ms: f64) -> Cell {
        let loss = Loss { share: 0.0, burst: None };
        Cell { rate_bps: self.rate_bps(), mtu: self.mtu, rtt_ms, loss, queue_bdp: 1.0 }
    }
}

/// How long these runs will take, if none has to be repeated.
pub fn duration(jobs: &[Job]) -> Duration {
    jobs.iter().map(|job| Duration::from_secs_f64(job.seconds + 1.0) + AROUND_RUN).sum()
}

/// A span as people say it.
pub fn show(span: Duration) -> String {
    let minutes = span.as_secs().div_ceil(60);
    match minutes {
        0..=99 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::contender::tests::contenders;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        selection: Selection,
    }

    fn selection(words: &str) -> Selection {
        Line::try_parse_from(["x"].into_iter().chain(words.split_whitespace())).unwrap().selection
    }

    fn count(jobs: &[Job], scene: Scene) -> usize {
        jobs.iter().filter(|job| job.scene == scene).count()
    }

    #[test]
    fn the_full_matrix_is_all_of_it() {
        let jobs = selection("--full").jobs(&contenders());
        assert_eq!(count(&jobs, Scene::Matrix), 48 * 10 * 3);
        assert_eq!(count(&jobs, Scene::Share), 3 * 3, "fixed does not share");
        assert_eq!(count(&jobs, Scene::Beside), 4 * 2 * 3);
        assert_eq!(count(&jobs, Scene::Outage), 6 * 3);
        assert_eq!(count(&jobs, Scene::Cost), 4 * 10 * 3);
        assert!(jobs.iter().filter(|job| job.scene == Scene::Outage).all(|job| job.seconds == 60.0));
        let keys: std::collections::HashSet<String> = jobs.iter().map(Job::key).collect();
        assert_eq!(keys.len(), jobs.len());
        assert!(duration(&jobs) > Duration::from_secs(5 * 3600));
    }

    #[test]
    fn everything_comes_round_before_anything_comes_again_and_each_is_first_in_turn() {
        let jobs = selection("--rounds 3 --scenes matrix").jobs(&contenders());
        assert!(jobs.windows(2).all(|pair| pair[0].round <= pair[1].round));
        let first = |round| jobs.iter().find(|job| job.round == round).unwrap().contenders[0].clone();
        assert!(first(1) != first(2) && first(2) != first(3) && first(1) != first(3));
        assert_eq!(jobs.len(), 3 * 4 * 10);
    }

    #[test]
    fn a_selection_narrows_every_side() {
        let words = "--rtt 20,50 --loss 1%/20,0 --queue 2 --rounds 2 --seconds 3 --scenes matrix,tree --rate 100mbit";
        let mut there = contenders();
        there.truncate(2);
        there[1].missing = Some("gone".to_owned());
        let jobs = selection(words).jobs(&there);
        assert_eq!((count(&jobs, Scene::Matrix), count(&jobs, Scene::Tree), jobs.len()), (8, 2, 10));
        let cell = jobs[0].cell;
        assert_eq!((cell.rate_bps, cell.rtt_ms, cell.queue_bdp), (100_000_000, 20.0, 2.0));
        assert_eq!(selection("").chosen(), ["farwire", "tcp"]);
        assert!(selection("--full").chosen().is_empty());
    }

    #[test]
    fn impossible_selections_are_refused() {
        selection("").check().unwrap();
        for bad in
            ["--rtt 0", "--rtt NaN", "--queue 0", "--rounds 0", "--seconds 0.5", "--rate 1kbit", "--rate 100gbit"]
        {
            assert!(selection(bad).check().is_err(), "{bad}");
        }
        assert!(Line::try_parse_from(["x", "--full", "--quick"]).is_err());
    }

    #[test]
    fn spans_are_said_as_people_say_them() {
        assert_eq!(show(Duration::from_secs(61)), "2 min");
        assert_eq!(show(Duration::from_secs(3 * 3600 + 60)), "3 h 1 min");
    }
}
