//! A flow from a to b: a receiver in b, a sender in a, and what the receiver counted.
//!
//! The same clock for everybody: it starts with the receiving application's first byte and runs for the same span, so
//! that a slow start counts and a handshake does not. Senders go on a second longer than that.

mod farwire;
mod rival;
mod tcp;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::cell::Cell;
use super::contender::{Contender, Kind};
use super::figures::Series;
use super::record::Flow;
use super::stage::Stage;
use super::stop::Stop;
use crate::program::{Ended, Program};

/// Width of the bins that are kept, for plots. Ten times narrower ones say no more at a hundred pixels a second, and
/// the file of results would be ten times as long.
const BIN_MS: f64 = 100.0;
/// What senders go on beyond the measured span: the longest round trip of the matrix twice, and what an iperf3 counts
/// in, a whole second.
const TAIL: Duration = Duration::from_secs(1);
/// How long a flow may take to end after its sender's time: what is buffered has to arrive, over a link that may lose
/// much of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a flow is to be.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub cell: &'a Cell,
    /// How long it is measured.
    pub seconds: f64,
    /// Network interface of the sender.
    pub interface: &'a str,
    /// Which of several flows at a time; each needs ports of its own.
    pub number: u16,
    /// The receiver is that of an earlier flow: one `farwire perf server` serves many; an interface has room for one.
    pub shared: bool,
}

/// A flow whose receiver is ready.
pub struct Ready<'a> {
    contender: &'a Contender,
    order: Order<'a>,
    server: Option<Program>,
    commands: Commands,
}

/// A flow under way.
pub struct Running<'a> {
    ready: Ready<'a>,
    client: Program,
    start: Instant,
}

/// What runs at both ends.
struct Commands {
    server: Vec<String>,
    client: Vec<String>,
    /// What the server says on standard error once it can be connected to; otherwise it listens on this TCP port.
    ready: Result<&'static str, u16>,
    /// Whether the server ends by itself after one flow.
    one_flow: bool,
}

/// What both programs printed.
struct Told {
    server: Value,
    client: Value,
}

/// Starts the receiver.
pub fn prepare<'a>(stage: &Stage, contender: &'a Contender, order: Order<'a>) -> anyhow::Result<Ready<'a>> {
    let commands = match &contender.kind {
        Kind::Farwire(flags) => farwire::commands(&stage.tools, flags, &order),
        Kind::Tcp(control) => tcp::commands(control, &order),
        Kind::Rival => rival::commands(&stage.tools, &contender.name, &order),
    };
    if order.shared {
        return Ok(Ready { contender, order, server: None, commands });
    }
    let mut server = stage.start("b", &commands.server)?;
    match commands.ready {
        Ok(words) => server.await_words(words)?,
        Err(port) => {
            let listens = format!("sport = :{port}");
            let lab = stage.lab();
            server.await_ready(|| !lab.try_run("b", &["ss", "-Hltn", &listens]).stdout.is_empty())?;
        }
    }
    Ok(Ready { contender, order, server: Some(server), commands })
}

impl<'a> Ready<'a> {
    /// Starts the sender.
    pub fn start(self, stage: &Stage) -> anyhow::Result<Running<'a>> {
        let client = stage.start("a", &self.commands.client)?;
        Ok(Running { ready: self, client, start: Instant::now() })
    }
}

impl Running<'_> {
    /// Waits for the sender's end.
    pub fn await_sender(&self, stop: &Stop) -> anyhow::Result<()> {
        let most = Duration::from_secs_f64(self.ready.order.seconds) + TAIL + PATIENCE;
        let over = stop.wait(most.saturating_sub(self.start.elapsed()), || Ok(!self.client.is_running()?))?;
        ensure!(over, "{}: the sender does not end {PATIENCE:?} after its time", self.ready.contender.name);
        Ok(())
    }

    /// What it came to, once the senders of all flows have ended. The emulator's clock began at `clock`.
    pub fn finish(self, clock: Instant, stop: &Stop) -> anyhow::Result<Flow> {
        let Running { ready: Ready { contender, order, server, commands }, client, start } = self;
        let client = ended(client.stop()?, &contender.name, "sender")?;
        let server = match server {
            None => None,
            Some(server) => {
                let ends = || stop.wait(PATIENCE, || Ok(!server.is_running()?));
                ensure!(!commands.one_flow || ends()?, "the receiver does not end after its flow");
                Some(ended(server.stop()?, &contender.name, "receiver")?)
            }
        };
        let said = server.as_ref().map_or("", |server| &server.stdout);
        let told = Told { server: last_line(said).unwrap_or(Value::Null), client: last_line(&client.stdout)? };
        let mut flow = match &contender.kind {
            Kind::Farwire(_) => farwire::flow(&told, &order),
            Kind::Tcp(_) => tcp::flow(&told, &order),
            Kind::Rival => rival::flow(&told, &order),
        }
        .with_context(|| format!("{}: sender said {}, receiver {}", contender.name, told.client, told.server))?;
        flow.contender = contender.name.clone();
        flow.seconds = order.seconds;
        flow.first_byte_s += start.duration_since(clock).as_secs_f64();
        flow.sender_cpu_seconds = client.cpu_seconds;
        flow.receiver_cpu_seconds = server.map_or(0.0, |server| server.cpu_seconds);
        for (role, command) in [("sender", &commands.client), ("receiver", &commands.server)] {
            flow.config.insert(role.to_owned(), shown(command).into());
        }
        Ok(flow)
    }
}

/// A command without the directories of this machine.
fn shown(command: &[String]) -> String {
    let program = command.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path));
    [&[program.to_owned()], command.get(1..).unwrap_or_default()].concat().join(" ")
}

/// A failed program's own words are the error.
fn ended(ended: Ended, name: &str, role: &str) -> anyhow::Result<Ended> {
    let words = || {
        let json: Option<String> =
            last_line(&ended.stdout).ok().and_then(|told| told.get("error")?.as_str().map(str::to_owned));
        json.unwrap_or_else(|| ended.said.lines().last().unwrap_or_default().to_owned())
    };
    ensure!(ended.status.success(), "{name}: the {role} ended with {}: {}", ended.status, words());
    Ok(ended)
}

/// The JSON object that a program ends with: all it printed, or the last line.
fn last_line(stdout: &str) -> anyhow::Result<Value> {
    let whole = serde_json::from_str(stdout);
    let last = || serde_json::from_str(stdout.lines().last().unwrap_or_default());
    whole.or_else(|_| last()).with_context(|| format!("no JSON: {stdout:?}"))
}

/// The goodput of the measured span, of bytes over time from the first byte on.
fn measured(series: &Series, order: &Order<'_>) -> Flow {
    let bytes = series.bytes_in(order.seconds);
    let series = series.rebin(0.0, BIN_MS);
    let kept = (order.seconds * 1e3 / BIN_MS).ceil() as usize;
    let series = Series { bytes: series.bytes.into_iter().take(kept).collect(), ..series };
    Flow { goodput_bps: bytes * 8.0 / order.seconds, series, whole_bytes: bytes, ..Flow::default() }
}

/// What lies behind keys that are joined by dots.
fn at<'a>(told: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(told, |value, key| value.get(key))
}

fn number(told: &Value, path: &str) -> anyhow::Result<f64> {
    at(told, path).and_then(Value::as_f64).with_context(|| format!("no {path}"))
}

fn numbers(told: &Value, path: &str) -> anyhow::Result<Vec<u64>> {
    let list = at(told, path).and_then(Value::as_array).with_context(|| format!("no {path}"))?;
    list.iter().map(|value| value.as_u64().with_context(|| format!("{path} has a {value}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn cell() -> Cell {
        let loss = "0".parse().unwrap();
        Cell { rate_bps: 1_000_000_000, mtu: 1500, rtt_ms: 100.0, loss, queue_bdp: 1.0 }
    }

    #[test]
    fn the_end_of_a_span_cuts_a_bin() {
        let cell = cell();
        let order = Order { cell: &cell, seconds: 0.25, interface: "eth1", number: 0, shared: false };
        let flow = measured(&Series { bin_ms: 100.0, bytes: vec![1000, 1000, 1000, 1000] }, &order);
        assert_eq!(flow.goodput_bps, 2500.0 * 8.0 / 0.25);
        assert_eq!(flow.series.bytes, [1000, 1000, 1000]);
    }

    #[test]
    fn what_a_program_says_last_is_its_result() {
        assert_eq!(last_line("{\"a\":1}").unwrap()["a"], 1);
        assert_eq!(last_line("{\n \"a\":\n 2}").unwrap()["a"], 2);
        assert_eq!(last_line("words\n{\"a\":3}").unwrap()["a"], 3);
        assert!(last_line("").is_err());
        assert_eq!(shown(&["./x/farwire".into(), "perf".into(), "./x".into()]), "farwire perf ./x");
    }
}
