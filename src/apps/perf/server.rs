//! The serving side: does what the client's plan says, and reports what arrived.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::meter::{Intervals, Meter, cpu_seconds};
use super::talk::{Word, hear, say};
use super::{Direction, PathModel, PerfError, Plan, RoundTrips, Side, pump};
use crate::api::{Connection, RecvStream, SendStream};

/// How long the client may take to open each of its streams.
const STREAM_WITHIN: Duration = Duration::from_secs(10);
/// How often the reporting thread looks whether all is over; what a measurement may seem to take longer than it did.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a server has to show for a measurement.
#[derive(Clone, PartialEq, Debug)]
pub struct Served {
    /// What was asked.
    pub plan: Plan,
    /// What came of it here.
    pub side: Side,
}

/// Serves one client whose control stream has been accepted.
///
/// # Errors
/// If the client went away or asked for what can't be.
pub fn serve(connection: &Connection, control: (SendStream, RecvStream)) -> Result<Served, PerfError> {
    let (mut out, mut control) = control;
    let plan: Plan = hear(&mut control)?;
    if let Err(reason) = plan.check() {
        say(&mut out, &Word::Refused(reason.clone()))?;
        out.finish()?;
        // Whether the client hears of it is its own affair.
        let _ = out.wait_acked();
        return Err(PerfError::Plan(reason));
    }
    let before = Before::now(connection);
    let meter = Arc::new(Meter::new(plan));
    let pumps = start(connection, plan, &meter)?;
    let mut intervals = Intervals::new(&meter, Direction::Up, plan.interval());
    while pumps.iter().any(|pump| !pump.is_finished()) {
        thread::sleep(LOOK_EVERY);
        if plan.direction.has_up() && Instant::now() >= intervals.due() {
            say(&mut out, &Word::Interval(intervals.cut(&meter)))?;
        }
    }
    join(pumps)?;
    let side = before.side(connection, &meter);
    say(&mut out, &Word::Final(Box::new(side.clone())))?;
    out.finish()?;
    // The client's goodbye may overtake the last acknowledgement; it has the result then.
    let _ = out.wait_acked();
    Ok(Served { plan, side })
}

/// A thread at the end of one data stream.
pub(super) type Pump = JoinHandle<Result<(), PerfError>>;

/// Waits for all of them; the first failure counts.
pub(super) fn join(pumps: Vec<Pump>) -> Result<(), PerfError> {
    let mut result = Ok(());
    for pump in pumps {
        let ended = pump.join().unwrap_or_else(|_| Err(PerfError::Local("a measuring thread broke".to_owned())));
        result = result.and(ended);
    }
    result
}

/// Takes the client's streams, in whatever order they come.
fn start(connection: &Connection, plan: Plan, meter: &Arc<Meter>) -> Result<Vec<Pump>, PerfError> {
    let each = usize::from(plan.streams);
    let count = each * (usize::from(plan.direction.has_up()) + usize::from(plan.direction.has_down()));
    let mut pumps = Vec::with_capacity(count);
    for _ in 0..count {
        let (send, mut recv) = connection.accept_stream_timeout(STREAM_WITHIN)?;
        let meter = meter.clone();
        pumps.push(spawn(move || {
            match pump::who_sends(&mut recv).map_err(|error| PerfError::Talk(error.to_string()))? {
                pump::UP => Ok(pump::drain(&mut recv, &meter, plan.verify)?),
                pump::DOWN => Ok(pump::pour(send, plan.duration(), plan.verify)?),
                other => Err(PerfError::Talk(format!("a stream of kind {other}"))),
            }
        })?);
    }
    Ok(pumps)
}

pub(super) fn spawn(work: impl FnOnce() -> Result<(), PerfError> + Send + 'static) -> Result<Pump, PerfError> {
    let thread = thread::Builder::new().name("perf".to_owned()).spawn(work);
    thread.map_err(|error| PerfError::Local(format!("no thread for a stream: {error}; raise `ulimit -u`")))
}

/// How things stood before a measurement.
pub(super) struct Before {
    retransmitted: u64,
    cpu_seconds: f64,
}

impl Before {
    pub fn now(connection: &Connection) -> Before {
        let counted = connection.snapshot().map_or(0, |now| now.counters.retransmitted_packets);
        Before { retransmitted: counted, cpu_seconds: cpu_seconds() }
    }

    /// What one side has to tell, compared with before.
    pub fn side(&self, connection: &Connection, meter: &Meter) -> Side {
        let now = connection.snapshot().ok();
        let counted = now.as_ref().map_or(0, |now| now.counters.retransmitted_packets);
        Side {
            received: meter.flow(),
            bins: meter.bins(),
            retransmitted_packets: counted.saturating_sub(self.retransmitted),
            cpu_seconds: cpu_seconds() - self.cpu_seconds,
            rtt_ns: now.as_ref().and_then(|now| RoundTrips::of(&now.latencies.rtt)),
            controller: now.as_ref().and_then(|now| now.controller.map(str::to_owned)),
            path: now.and_then(|now| now.recovery).map(|now| PathModel {
                state: now.state.to_owned(),
                bandwidth_bps: now.bandwidth_bps,
                measured_bps: now.measured_bps,
                pacing_bps: now.pacing_bps,
                min_rtt_ns: now.min_rtt_ns,
            }),
        }
    }
}
