//! `farwire perf`, both sides.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::exit::Failure;
use super::flags;
use super::keys::Protection;
use super::notices::Notices;
use super::ping::{create_hgrm, microseconds};
use super::privilege::{Files, Rights};
use super::show;
use super::stop::Stop;
use crate::api::{AcceptError, Connection, Rate};
use crate::apps::perf::client::{self, PerfReport};
use crate::apps::perf::server::{self, Served};
use crate::apps::perf::{Direction, Interval, Plan, RoundTrips, Side};
use crate::apps::service::{self, GreetingError, Service};
use crate::base::size;
use crate::obs::hist::{Unit, show as show_time};

/// How often the accepting loop looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Serves or measures, as the user says.
pub fn run(flags: &flags::Perf, stop: &Stop) -> Result<(), Failure> {
    if flags.peer == "server" { serve(flags, stop) } else { measure(flags, stop) }
}

fn measure(flags: &flags::Perf, stop: &Stop) -> Result<(), Failure> {
    if flags.user.is_some() {
        return Err(Failure::usage("--user is for `farwire perf server`; leave it out to measure"));
    }
    let plan = plan(flags)?;
    let hgrm = flags.hgrm.as_deref().map(create_hgrm).transpose()?;
    let protection = Protection::of_client(&flags.common, &flags.peer)?;
    let rights = Rights::new(Files::None, None, stop)?;
    let endpoint = super::open::endpoint(&flags.common, Some(&protection), rights)?;
    let asked = Instant::now();
    let connection = super::connect(&endpoint, &flags.peer)?;
    let connect = asked.elapsed();
    let _told = stop.tell(&connection);
    let notices = Notices::of(&connection);
    let json = flags.common.json;
    let result = client::run(&connection, plan, |interval| {
        if !json {
            show::out(interval_line(interval));
        }
    });
    let report = result?;
    let notices = notices.all(report.snapshot.as_ref().map_or(&[], |now| &now.notices));
    if let Some(file) = hgrm {
        let snapshot = report.snapshot.as_ref().ok_or_else(|| Failure::failed("no histogram: the endpoint ended"))?;
        file.write(&snapshot.latencies.rtt)?;
    }
    let link = super::open::status(&endpoint, &flags.common, Some(&protection));
    if json {
        let encryption = show::encryption_json(&connection);
        let about = About { peer: connection.peer().to_string(), encryption, link, connect, notices };
        show::json(&report_json(&report, &about));
    } else {
        tell(&report, &show::encryption(&connection));
    }
    match report.corrupt_bytes() {
        0 => Ok(()),
        wrong => Err(Failure::failed(format!("{wrong} bytes arrived other than they were sent"))),
    }
}

fn plan(flags: &flags::Perf) -> Result<Plan, Failure> {
    let direction = match (flags.reverse, flags.bidir) {
        (true, _) => Direction::Down,
        (_, true) => Direction::Both,
        _ => Direction::Up,
    };
    let plan = Plan {
        direction,
        streams: flags.parallel,
        duration_ms: flags.time.as_millis() as u64,
        interval_ms: flags.interval.as_millis() as u64,
        verify: flags.verify,
        bin_ms: flags.bins.map_or(0, |width| width.as_millis() as u64),
    };
    plan.check().map_err(Failure::usage)?;
    Ok(plan)
}

fn interval_line(interval: &Interval) -> String {
    let Interval { direction, start_s, end_s, bytes, goodput_bps } = interval;
    let arrow = arrow(*direction);
    format!("{arrow}  {start_s:6.2}-{end_s:<6.2} s  {:>10}  {:>14}", size::show(*bytes), rate(*goodput_bps))
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "[up]  ",
        Direction::Down => "[down]",
        Direction::Both => "[both]",
    }
}

fn rate(bps: f64) -> String {
    Rate::from_bps(bps as u64).map_or("0 bit/s".to_owned(), |rate| rate.to_string())
}

fn tell(report: &PerfReport, encryption: &str) {
    show::out("-".repeat(64));
    for (direction, flow) in [(Direction::Up, report.up), (Direction::Down, report.down)] {
        let Some(flow) = flow else { continue };
        let (bytes, seconds) = (size::show(flow.bytes), flow.seconds);
        show::out(format!("{}  {bytes} in {seconds:.2} s: {} received", arrow(direction), rate(flow.goodput_bps)));
    }
    if report.plan.verify && report.corrupt_bytes() == 0 {
        show::out("every byte arrived as it was sent");
    }
    let (local, remote) = (&report.local, &report.remote);
    show::out(format!(
        "retransmitted {} packets here, {} there; CPU {:.2} s here, {:.2} s there",
        local.retransmitted_packets, remote.retransmitted_packets, local.cpu_seconds, remote.cpu_seconds
    ));
    let sender = if report.plan.direction == Direction::Down { remote } else { local };
    show::out(format!("congestion control of the sender: {}", controller(sender)));
    show::out(format!("encryption: {encryption}"));
    let Some(snapshot) = &report.snapshot else { return };
    for (title, histogram) in [
        ("round trips", &snapshot.latencies.rtt),
        ("queueing at the sender, commit to wire", &snapshot.latencies.queueing),
        ("turns of the engine", &snapshot.latencies.turn),
        ("packets per burst", &snapshot.latencies.burst_size),
    ] {
        if !histogram.is_empty() {
            show::out(format!("\n{title}\n{}", histogram.draw(show::width()).trim_end()));
        }
    }
    if report.plan.direction == Direction::Down
        && let Some(rtt) = &remote.rtt_ns
    {
        let time = |ns| show_time(ns, Unit::Nanoseconds);
        show::out(format!(
            "round trips at the server: p50 {}, p99 {}, max {}",
            time(rtt.p50),
            time(rtt.p99),
            time(rtt.max)
        ));
    }
}

/// The controller of a side that sends, with what it makes of the path.
fn controller(side: &Side) -> String {
    let name = side.controller.as_deref().unwrap_or("-");
    let Some(path) = &side.path else { return name.to_owned() };
    let bandwidth = path.bandwidth_bps.map(|bps| format!("{} on the wire", rate(bps as f64)));
    let measured = path.measured_bps.map(|bps| format!("measured {}", rate(bps as f64)));
    let pacing = path.pacing_bps.map(|bps| format!("pacing at {}", rate(bps as f64)));
    let round_trip = format!("{} at least", show_time(path.min_rtt_ns, Unit::Nanoseconds));
    let state = (!path.state.is_empty()).then(|| path.state.clone());
    let model: Vec<String> = [bandwidth, measured, pacing, Some(round_trip), state].into_iter().flatten().collect();
    format!("{name} ({})", model.join(", "))
}

/// What is known about a measurement beside its report.
struct About {
    peer: String,
    encryption: Value,
    link: String,
    /// From the question who the peer is to the connection.
    connect: Duration,
    /// What the congestion controller had to say.
    notices: Vec<String>,
}

fn report_json(report: &PerfReport, about: &About) -> Value {
    let (local, remote) = (&report.local, &report.remote);
    // Round trips are seen by whoever sends.
    let rtt_us = match (&report.snapshot, report.plan.direction) {
        (_, Direction::Down) => remote.rtt_ns.as_ref().map_or(Value::Null, round_trips),
        (Some(snapshot), _) => microseconds(&snapshot.latencies.rtt),
        (None, _) => Value::Null,
    };
    let engine = report.snapshot.as_ref().map(show::engine_json);
    let [up, down] = report.bins();
    json!({
        "command": "perf",
        "peer": about.peer,
        "encryption": about.encryption,
        "link": about.link,
        "connect_ms": about.connect.as_secs_f64() * 1000.0,
        "direction": report.plan.direction,
        "streams": report.plan.streams,
        "verified": report.plan.verify,
        "goodput_bps": report.goodput_bps(),
        "bytes": report.up.iter().chain(&report.down).map(|flow| flow.bytes).sum::<u64>(),
        "up": report.up,
        "down": report.down,
        "retransmitted_packets": local.retransmitted_packets + remote.retransmitted_packets,
        "rtt_us": rtt_us,
        "intervals": report.intervals,
        "bins": { "up": up, "down": down },
        "notices": about.notices,
        "cpu_seconds": { "local": local.cpu_seconds, "remote": remote.cpu_seconds },
        "controller": { "local": local.controller, "remote": remote.controller },
        "path": { "local": local.path, "remote": remote.path },
        "engine": engine,
    })
}

fn round_trips(of: &RoundTrips) -> Value {
    let us = |ns: u64| ns as f64 / 1000.0;
    json!({
        "count": of.count,
        "min": us(of.min),
        "p50": us(of.p50),
        "p90": us(of.p90),
        "p99": us(of.p99),
        "p99.9": us(of.p999),
        "max": us(of.max),
        "mean": of.mean / 1000.0,
    })
}

fn serve(flags: &flags::Perf, stop: &Stop) -> Result<(), Failure> {
    let name = super::own_name(flags.name.as_ref())?;
    let rights = Rights::new(Files::None, flags.user.as_deref(), stop)?;
    let mut protection = Protection::of_server(&flags.common, rights.user())?;
    let endpoint = super::open::server(&flags.common, &protection, rights)?;
    if let Some(user) = &flags.user {
        protection.try_again(user);
    }
    endpoint.announce(&name, "perf")?;
    let (mac, flag, described) = (endpoint.mac(), protection.flag(), protection.describe());
    show::status(&format!("serving as {name} ({mac}), {described}; over there: farwire perf {flag}{name}"));
    let json = flags.common.json;
    while !stop.requested() {
        protection.renew_if_asked(stop, &endpoint);
        let connection = match endpoint.accept_timeout(LOOK_EVERY) {
            Ok(connection) => connection,
            Err(AcceptError::Timeout) => continue,
            Err(AcceptError::Stopped(stopped)) => return Err(Failure::local(stopped)),
        };
        let stop = Arc::new(stop.clone());
        let served = thread::Builder::new().name("perf".to_owned()).spawn(move || {
            let _told = stop.tell(&connection);
            serve_one(&connection, json);
        });
        if let Err(error) = served {
            show::complain(format!("no thread for another client: {error}; raise `ulimit -u`"));
        }
    }
    Ok(())
}

fn serve_one(connection: &Connection, json: bool) {
    let peer = show::peer(connection);
    let control = match service::accept(connection, Service::Perf) {
        Ok(control) => control,
        // Who only pings opens no stream.
        Err(GreetingError::Connection(_)) => return,
        Err(error) => return show::complain(format!("{peer}: {error}")),
    };
    let notices = Notices::of(connection);
    let served = server::serve(connection, control);
    let notices = notices.all(&[]);
    match served {
        Ok(Served { plan, side }) if json => {
            show::json(&json!({ "command": "perf server", "peer": connection.peer().to_string(), "plan": plan,
                "encryption": show::encryption_json(connection), "side": side, "notices": notices }));
        }
        Ok(Served { plan, side }) => {
            show::out(format!("{peer}: {}, {}", served_line(plan, &side), show::encryption(connection)));
        }
        Err(error) => {
            show::complain(format!("{peer}: {error}"));
            connection.close(service::GAVE_UP, &error.to_string());
        }
    }
}

/// What a server has to show: who only sent has received nothing, and does not say so.
fn served_line(plan: Plan, side: &Side) -> String {
    let streams = show::count(u64::from(plan.streams), "stream");
    let received = format!("received {} ({})", size::show(side.received.bytes), rate(side.received.goodput_bps));
    let sent = format!("retransmitted {}", show::count(side.retransmitted_packets, "packet"));
    match plan.direction {
        Direction::Up => format!("{streams}, {received}"),
        Direction::Down => format!("{streams}, sent for {} s, {sent}", plan.duration_ms as f64 / 1000.0),
        Direction::Both => format!("{streams} each way, {received}, {sent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_one_line() {
        let interval =
            Interval { direction: Direction::Up, start_s: 0.0, end_s: 1.0, bytes: 125_000_000, goodput_bps: 1e9 };
        let line = interval_line(&interval);
        assert!(line.contains("125.0 MB") && line.contains("1.00 Gbit/s") && !line.contains('\n'), "{line}");
    }
}
