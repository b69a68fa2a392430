//! A run: the link is laid, the flows go over it, and all that can be known about it becomes a record.
//!
//! A run that others disturbed, or in which the emulator itself was the bottleneck, is done again, twice at most; then
//! it is kept and marked.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::contender::Contender;
use super::emulator::{Faults, LinkReport};
use super::flow::{self, Order};
use super::record::{Cpu, Flow, Job, Machine, Record, Scene};
use super::stage::Stage;
use super::stop::Stop;
use super::{scene, tree};
use crate::machine::{Clock, FOREIGN_MOST, await_quiet};
use crate::soak::Soak;

/// How picky the measurement is.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Fairness {
    /// Seconds to wait before each run for a quiet machine.
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// Runs of one round and contender that may be disturbed or invalid before one is taken as it is.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=10))]
    tries: u8,
}

/// Does a job.
///
/// # Errors
/// When the user wants an end, or the lab itself is broken. A contender that fails is a result.
pub fn run(
    stage: &Stage,
    job: &Job,
    contenders: &[Contender],
    fairness: Fairness,
    machine: &Machine,
    stop: &Stop,
) -> anyhow::Result<Record> {
    let mut tries = 0;
    loop {
        tries += 1;
        await_quiet(Duration::from_secs(fairness.patience))?;
        let mut record = once(stage, job, contenders, machine, stop)?;
        record.tries = tries;
        // A contender that fails while nothing disturbs it has failed.
        if record.invalid.is_empty() || tries >= usize::from(fairness.tries) || stop.requested() {
            return Ok(record);
        }
    }
}

fn once(stage: &Stage, job: &Job, contenders: &[Contender], machine: &Machine, stop: &Stop) -> anyhow::Result<Record> {
    let clock = Clock::now()?;
    let faults = match job.scene {
        Scene::Outage => Faults::Outage { span_s: job.seconds / super::plan::OUTAGE_SPANS },
        _ => Faults::None,
    };
    let soak = (job.scene == Scene::Cost).then(Soak::start).transpose()?;
    // Each round has losses of its own, and all contenders of a round the same.
    let link = stage.link(&job.cell, faults, job.round as u64)?;
    let flows = flows(stage, job, contenders, link.start, stop);
    let LinkReport { right, cpu_seconds, mut invalid } = link.end(job.seconds)?;
    let taken_seconds = soak.map(Soak::finish).transpose()?;
    if stop.requested() {
        anyhow::bail!("stopped");
    }
    let others = clock.since()?;
    let cpu = Cpu {
        linkem_seconds: cpu_seconds,
        ksoftirqd_seconds: others.ksoftirqd_cpu_seconds,
        outside_seconds: others.outside_cpu_seconds,
        taken_seconds,
        foreign_cores: others.foreign_cores,
        load: others.load,
    };
    if others.foreign_cores >= FOREIGN_MOST {
        invalid.push(format!("others used {:.1} cores", others.foreign_cores));
    }
    let (flows, error) = match flows {
        Ok(flows) => (flows, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    let (job, machine, at) = (job.clone(), machine.clone(), chrono::Utc::now().timestamp());
    Ok(Record { job, at, machine, tries: 1, invalid, error, flows, link: Some(right), cpu })
}

fn flows(stage: &Stage, job: &Job, contenders: &[Contender], clock: Instant, stop: &Stop) -> anyhow::Result<Vec<Flow>> {
    let find = |name: &String| {
        let found = contenders.iter().find(|contender| contender.name == *name);
        found.with_context(|| format!("{name} is no contender"))
    };
    match job.scene {
        Scene::Ping => Ok(vec![scene::ping(stage, &job.cell)?]),
        Scene::Tree => Ok(vec![tree::send(stage, find(&job.contenders[0])?, job, stop)?]),
        Scene::Matrix | Scene::Share | Scene::Beside | Scene::Outage | Scene::Cost => {
            let chosen = job.contenders.iter().map(find).collect::<anyhow::Result<Vec<&Contender>>>()?;
            together(stage, job, &chosen, clock, stop)
        }
    }
}

/// Every receiver is ready before the first sender starts; the second sender, if there is one, joins the first later.
fn together(stage: &Stage, job: &Job, chosen: &[&Contender], clock: Instant, stop: &Stop) -> anyhow::Result<Vec<Flow>> {
    let interfaces = scene::Interfaces::of(stage, job.scene)?;
    let mut ready = Vec::new();
    for (number, contender) in chosen.iter().enumerate() {
        ready.push(flow::prepare(
            stage,
            contender,
            Order {
                cell: &job.cell,
                seconds: job.seconds - job.joins_s() * number as f64,
                interface: interfaces.name(number),
                number: number as u16,
                shared: number > 0 && job.scene == Scene::Share,
            },
        )?);
    }
    let mut running = Vec::new();
    for flow in ready {
        if !running.is_empty() {
            stop.wait(Duration::from_secs_f64(job.joins_s()), || Ok(false))?;
        }
        running.push(flow.start(stage)?);
    }
    for flow in &running {
        flow.await_sender(stop)?;
    }
    running.into_iter().map(|flow| flow.finish(clock, stop)).collect()
}
