//! The asking side: opens the streams, tells intervals as they end, and puts both sides' results together.

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, unbounded};

use super::meter::{Intervals, Meter};
use super::server::{Before, LOOK_EVERY, Pump, join, spawn};
use super::talk::{Word, hear, say};
use super::{Bins, Direction, Flow, Interval, PerfError, Plan, Side, pump};
use crate::api::{Connection, RecvStream, Snapshot};
use crate::apps::service::Service;

/// How long the connection may take to end once the results are there.
const GOODBYE: Duration = Duration::from_secs(1);

/// Both sides of a measurement.
#[derive(Clone, Debug)]
pub struct PerfReport {
    /// What was measured.
    pub plan: Plan,
    /// Client to server, if that was part of it.
    pub up: Option<Flow>,
    /// Server to client, likewise.
    pub down: Option<Flow>,
    /// Every interval, in the order in which they ended.
    pub intervals: Vec<Interval>,
    /// This side.
    pub local: Side,
    /// The server.
    pub remote: Side,
    /// This side's engine, right after the last byte.
    pub snapshot: Option<Snapshot>,
}

impl PerfReport {
    /// Both directions together.
    pub fn goodput_bps(&self) -> f64 {
        self.up.iter().chain(&self.down).map(|flow| flow.goodput_bps).sum()
    }

    /// What arrived over time, up and down, as far as it was measured and asked for.
    pub fn bins(&self) -> [Option<&Bins>; 2] {
        let received = [(&self.up, &self.remote), (&self.down, &self.local)];
        received.map(|(flow, side)| flow.and(side.bins.as_ref()))
    }

    /// Bytes that were not what had been sent.
    pub fn corrupt_bytes(&self) -> u64 {
        self.up.iter().chain(&self.down).map(|flow| flow.corrupt_bytes).sum()
    }
}

/// Measures over a new connection to a perf server. `on_interval` is told of each interval as it ends.
///
/// # Errors
/// If the server is none, refuses, or goes away.
pub fn run(
    connection: &Connection,
    plan: Plan,
    mut on_interval: impl FnMut(&Interval),
) -> Result<PerfReport, PerfError> {
    plan.check().map_err(PerfError::Plan)?;
    let (mut control, answers) = connection.open_stream()?;
    control.write_all(&Service::Perf.greeting()).map_err(|error| PerfError::Talk(error.to_string()))?;
    say(&mut control, &plan)?;
    // That was all there is to say; what follows is to be heard.
    control.finish()?;
    let words = listen(answers)?;
    let before = Before::now(connection);
    let meter = Arc::new(Meter::new(plan));
    let pumps = start(connection, plan, &meter)?;
    let mut intervals = Vec::new();
    let remote = watch(plan, &meter, &words, |interval| {
        on_interval(&interval);
        intervals.push(interval);
    });
    // A refusal ends the streams as well; its words say more than theirs.
    let remote = match remote {
        Ok(remote) => remote,
        Err(error) => {
            connection.close(crate::apps::service::GAVE_UP, &error.to_string());
            return Err(error);
        }
    };
    join(pumps)?;
    let snapshot = connection.snapshot().ok();
    let local = before.side(connection, &meter);
    connection.finish();
    // The results are here; how the goodbye goes does not matter.
    let _ = connection.wait_closed(GOODBYE);
    let up = plan.direction.has_up().then_some(remote.received);
    let down = plan.direction.has_down().then_some(local.received);
    Ok(PerfReport { plan, up, down, intervals, local, remote, snapshot })
}

fn start(connection: &Connection, plan: Plan, meter: &Arc<Meter>) -> Result<Vec<Pump>, PerfError> {
    let mut pumps = Vec::new();
    for _ in 0..plan.streams {
        if plan.direction.has_up() {
            let (mut send, _) = connection.open_stream()?;
            send.write_all(&[pump::UP]).map_err(|error| PerfError::Talk(error.to_string()))?;
            pumps.push(spawn(move || Ok(pump::pour(send, plan.duration(), plan.verify)?))?);
        }
        if plan.direction.has_down() {
            let (mut send, mut recv) = connection.open_stream()?;
            send.write_all(&[pump::DOWN]).map_err(|error| PerfError::Talk(error.to_string()))?;
            send.finish()?;
            let meter = meter.clone();
            pumps.push(spawn(move || Ok(pump::drain(&mut recv, &meter, plan.verify)?))?);
        }
    }
    Ok(pumps)
}

/// Passes intervals on until the server has said its last word.
fn watch(
    plan: Plan,
    meter: &Meter,
    words: &Receiver<Result<Word, PerfError>>,
    mut tell: impl FnMut(Interval),
) -> Result<Side, PerfError> {
    let mut intervals = Intervals::new(meter, Direction::Down, plan.interval());
    let end = Instant::now() + plan.duration();
    loop {
        match words.try_recv() {
            Ok(Ok(Word::Interval(interval))) => tell(Interval { direction: Direction::Up, ..interval }),
            Ok(Ok(Word::Final(side))) => return Ok(*side),
            Ok(Ok(Word::Refused(reason))) => return Err(PerfError::Plan(format!("the server refused: {reason}"))),
            Ok(Err(error)) => return Err(error),
            Err(TryRecvError::Disconnected) => return Err(PerfError::Talk("the server fell silent".to_owned())),
            Err(TryRecvError::Empty) => {
                if plan.direction.has_down() && Instant::now() >= intervals.due() && intervals.due() <= end {
                    tell(intervals.cut(meter));
                }
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

/// Hears the server on a thread of its own.
fn listen(mut answers: RecvStream) -> Result<Receiver<Result<Word, PerfError>>, PerfError> {
    let (tell, words) = unbounded();
    let ear = move || {
        loop {
            let word = hear::<Word>(&mut answers);
            let last = !matches!(word, Ok(Word::Interval(_)));
            if tell.send(word).is_err() || last {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("perf-words".to_owned()).spawn(ear);
    thread.map_err(|error| PerfError::Local(format!("no thread to hear the server: {error}")))?;
    Ok(words)
}
