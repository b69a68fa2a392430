//! `farwire ping`.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use super::exit::{self, Failure};
use super::flags;
use super::keys::Protection;
use super::privilege::{Files, Rights};
use super::show;
use super::stop::Stop;
use crate::api::Connection;
use crate::apps::ping::{self, PingPlan, PingResult};
use crate::obs::hist::Histogram;

/// Nanoseconds in the unit that people and files get.
const MICROSECOND: f64 = 1000.0;

/// Pings and draws what came of it.
pub fn run(flags: &flags::Ping, stop: &Stop) -> Result<(), Failure> {
    let file = flags.hgrm.as_deref().map(create_hgrm).transpose()?;
    let protection = Protection::of_client(&flags.common, &flags.peer)?;
    let rights = Rights::new(Files::None, None, stop)?;
    let endpoint = super::open::endpoint(&super::open::small(&flags.common), Some(&protection), rights)?;
    let most = endpoint.caps().mtu;
    if flags.size > most {
        return Err(Failure::usage(format!("--size {}: the link takes {most} bytes at most", flags.size)));
    }
    let connection = super::connect(&endpoint, &flags.peer)?;
    let plan = PingPlan { count: flags.count, size: flags.size, interval: flags.interval };
    let result = ping::run(&connection, plan, || stop.requested())?;
    connection.finish();
    if let Some(file) = file {
        file.write(&result.rtt)?;
    }
    tell(flags, &connection, &result);
    match result.received {
        _ if stop.requested() => Err(Failure::silent(exit::INTERRUPTED)),
        0 => Err(Failure::new(exit::NO_PEER, format!("{} answered none of {} pings", flags.peer, result.sent))),
        _ => Ok(()),
    }
}

fn tell(flags: &flags::Ping, connection: &Connection, result: &PingResult) {
    let (peer, lost) = (connection.peer().to_string(), result.sent - result.received);
    if flags.common.json {
        show::json(&json!({
            "command": "ping",
            "peer": peer,
            "encryption": show::encryption_json(connection),
            "size_bytes": flags.size,
            "sent": result.sent,
            "received": result.received,
            "lost": lost,
            "rtt_us": microseconds(&result.rtt),
        }));
        return;
    }
    if result.received > 0 {
        show::out(result.rtt.draw(show::width()).trim_end());
    }
    let pings = show::count(result.sent, "ping");
    let encryption = show::encryption(connection);
    show::out(format!("{pings} of {} bytes to {peer}, {lost} lost, {encryption}", flags.size));
}

/// Percentiles in microseconds; null if there is nothing.
pub fn microseconds(histogram: &Histogram) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let of = histogram.percentiles();
    let us = |ns: u64| ns as f64 / MICROSECOND;
    json!({
        "count": of.count,
        "min": us(of.min),
        "p50": us(of.p50),
        "p90": us(of.p90),
        "p99": us(of.p99),
        "p99.9": us(of.p999),
        "max": us(of.max),
        "mean": of.mean / MICROSECOND,
    })
}

/// The file for an HdrHistogram, made before anything is measured: a path that can't be written is told at once.
pub struct HgrmFile<'a> {
    path: &'a Path,
    file: File,
}

/// Makes the file.
pub fn create_hgrm(path: &Path) -> Result<HgrmFile<'_>, Failure> {
    let file = File::create(path).map_err(|error| Failure::local(format!("--hgrm {}: {error}", path.display())))?;
    Ok(HgrmFile { path, file })
}

impl HgrmFile<'_> {
    /// Writes a histogram of nanoseconds as an HdrHistogram percentile file in microseconds.
    pub fn write(mut self, histogram: &Histogram) -> Result<(), Failure> {
        let written = histogram.write_hgrm(&mut self.file, MICROSECOND);
        written.map_err(|error| Failure::local(format!("--hgrm {}: {error}", self.path.display())))
    }
}
