//! `bench link`: farwire and its rivals over one emulated link, in turn, and a report of it.
//!
//! Three hosts on this machine: a – the emulator – b. In every cell of the matrix (round trip, loss, queue) each
//! contender moves bytes from a to b for the same time, one after the other, round after round. Results are appended to
//! a file run by run, so that what was measured is never lost and a long plan can be done in several sittings.

mod aims;
mod cell;
mod contender;
mod emulator;
mod figures;
mod flow;
mod limit;
mod machine;
mod measure;
mod plan;
mod progress;
mod record;
mod report;
mod results;
mod scene;
mod stage;
mod stop;
mod summary;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::program::{Key, sibling};
use contender::Contender;
use measure::Fairness;
use plan::Selection;
use progress::Progress;
use record::Job;
use results::{Journal, Results, Sitting};
use stage::{Stage, Tools};
use stop::Stop;

/// The file of results in a directory of the benchmark.
const RESULTS: &str = "results.jsonl";

const AFTERWARDS: &str = "\
Labs of runs that were killed outright (SIGKILL), network namespaces fw-tPIDnK-a, -b and -m, are removed when `bench \
link` starts the next time; `tools/netlab down --name tPIDnK` does so at once.";

#[derive(clap::Args)]
#[command(after_help = AFTERWARDS)]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    fairness: Fairness,
    /// Where the results and the report go [default: target/bench-link/DATE].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with an earlier sitting's results.jsonl: what is in it is not run again. The report is of all of it.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Run nothing: make the report of such a file anew, beside it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "resume", "full", "quick"])]
    report_only: Option<PathBuf>,
    /// The farwire to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    farwire: Option<PathBuf>,
    /// The link emulator [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    linkem: Option<PathBuf>,
    /// Farwire with a key, as users have it [default: --insecure, since TCP and most of the rivals encrypt nothing].
    #[arg(long)]
    sealed: bool,
    /// More flags for every farwire, for example --flag=--umem=256MiB.
    #[arg(long = "flag", allow_hyphen_values = true)]
    flags: Vec<String>,
    /// More flags for the emulator, for example --link-flag=--granularity=20us.
    #[arg(long = "link-flag", allow_hyphen_values = true)]
    link_flags: Vec<String>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(file) = &options.report_only {
        let results = Results::read(file).context("--report-only")?;
        results.check_any(file).context("--report-only")?;
        return write_report(file, &results);
    }
    options.selection.check()?;
    let stop = Stop::listen()?;
    let mut tools = options.tools()?;
    let key = options.sealed.then(|| Key::make(&tools.farwire)).transpose()?;
    tools.protection = key.as_ref().map_or_else(|| vec!["--insecure".to_owned()], |key| key.flags().to_vec());
    let contenders = contender::all(&tools, options.selection.rate_bps());
    let chosen = contender::choose(contenders, &options.selection.chosen())?;
    let chosen: Vec<Contender> = chosen.into_iter().map(|contender| contender.built(&tools)).collect();
    let jobs = options.selection.jobs(&chosen);
    let (path, mut journal, jobs) = options.journal(jobs)?;
    let stage = Stage::up(tools, options.selection.mtu)?;
    journal.sitting(&sitting(&stage, &chosen))?;
    let ran = perform(&stage, &chosen, jobs, options.fairness, &mut journal, &stop);
    drop(stage);
    write_report(&path, &Results::read(&path)?)?;
    ran
}

/// Runs one job after the other, until all are done or the user wants an end.
fn perform(
    stage: &Stage,
    contenders: &[Contender],
    jobs: Vec<Job>,
    fairness: Fairness,
    journal: &mut Journal,
    stop: &Stop,
) -> anyhow::Result<()> {
    let machine = machine::facts()?;
    let progress = Progress::new(&jobs);
    for job in jobs {
        if stop.requested() {
            break;
        }
        progress.begin(&job);
        match measure::run(stage, &job, contenders, fairness, &machine, stop) {
            Ok(record) => {
                journal.run(&record)?;
                progress.end(&record);
            }
            Err(_) if stop.requested() => break,
            Err(error) => return Err(error.context(job.words())),
        }
    }
    progress.finish(stop.requested());
    Ok(())
}

fn sitting(stage: &Stage, contenders: &[Contender]) -> Sitting {
    Sitting {
        at: chrono::Utc::now().timestamp(),
        command: machine::command(),
        contenders: contenders.iter().map(Contender::presence).collect(),
        hosts: stage.settings.clone(),
    }
}

/// Writes the report beside the file of results.
fn write_report(file: &Path, results: &Results) -> anyhow::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    for path in report::write(results, directory)? {
        eprintln!("{}", path.display());
    }
    Ok(())
}

impl Options {
    fn tools(&self) -> anyhow::Result<Tools> {
        ensure!(nix::unistd::geteuid().is_root(), "not root: a lab of network namespaces needs it; run it with sudo");
        for needed in ["ip", "ethtool", "ss"] {
            let found = std::process::Command::new(needed).arg("-V").output().is_ok();
            ensure!(found, "{needed} is missing: run tools/setup --bench");
        }
        Ok(Tools {
            farwire: sibling("farwire", self.farwire.as_deref())?,
            linkem: sibling("linkem", self.linkem.as_deref())?,
            bench: std::env::current_exe()?,
            protection: Vec::new(),
            flags: self.flags.clone(),
            link_flags: self.link_flags.clone(),
        })
    }

    /// The file of results, open, and the jobs that are not in it yet.
    fn journal(&self, jobs: Vec<Job>) -> anyhow::Result<(PathBuf, Journal, Vec<Job>)> {
        if let Some(path) = &self.resume {
            let (journal, results) = Journal::resume(path)?;
            results.check_seconds(&jobs)?;
            return Ok((path.clone(), journal, results.left(jobs)));
        }
        let date = chrono::Utc::now().format("%Y-%m-%d-%H%M%S").to_string();
        let default = || machine::project().join("target/bench-link").join(date);
        let path = self.out.clone().unwrap_or_else(default).join(RESULTS);
        Ok((path.clone(), Journal::create(&path)?, jobs))
    }
}
