//! Round trips through the kernel's TCP or UDP, as a histogram.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;

use crate::How;

/// Longest round trip that the histogram tells apart; beyond it lies a dead peer.
const LONGEST: Duration = Duration::from_secs(10);

/// What to measure.
pub struct Plan {
    pub count: u64,
    pub size: usize,
    pub json: bool,
}

pub fn run(peer: SocketAddr, plan: &Plan, how: How) -> anyhow::Result<()> {
    let trips = if how.udp { udp(peer, plan, how)? } else { tcp(peer, plan, how)? };
    let us = |quantile: f64| trips.value_at_quantile(quantile) as f64 / 1000.0;
    let (p50, p90, p99, p999, max) = (us(0.5), us(0.9), us(0.99), us(0.999), us(1.0));
    let name = format!("{} {}", if how.udp { "udp" } else { "tcp" }, if how.spin { "spin" } else { "block" });
    if plan.json {
        let rtt_us = serde_json::json!({ "p50": p50, "p90": p90, "p99": p99, "p99.9": p999, "max": max });
        println!("{}", serde_json::json!({ "transport": name, "count": trips.len(), "rtt_us": rtt_us }));
    } else {
        println!("{name}: p50 {p50:.1} p90 {p90:.1} p99 {p99:.1} p99.9 {p999:.1} max {max:.1} us");
    }
    Ok(())
}

fn tcp(peer: SocketAddr, plan: &Plan, how: How) -> anyhow::Result<Histogram<u64>> {
    let mut stream = TcpStream::connect_timeout(&peer, LONGEST)
        .with_context(|| format!("cannot reach {peer}: is `farwire-tools pong` running there?"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(how.spin)?;
    stream.set_read_timeout(Some(LONGEST))?;
    let mut message = vec![0x5a; plan.size];
    measure(plan, || {
        until_ready(|| stream.write_all(&message))?;
        let mut have = 0;
        while have < message.len() {
            let n = until_ready(|| stream.read(&mut message[have..]))?;
            anyhow::ensure!(n > 0, "{peer} hung up in the middle");
            have += n;
        }
        Ok(())
    })
}

fn udp(peer: SocketAddr, plan: &Plan, how: How) -> anyhow::Result<Histogram<u64>> {
    let any: SocketAddr = if peer.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    socket.set_nonblocking(how.spin)?;
    socket.set_read_timeout(Some(LONGEST))?;
    let mut message = vec![0x5a; plan.size];
    measure(plan, || {
        until_ready(|| socket.send(&message))?;
        until_ready(|| socket.recv(&mut message))?;
        Ok(())
    })
}

fn measure(plan: &Plan, mut trip: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Histogram<u64>> {
    let mut trips = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3)?;
    for _ in 0..plan.count / 10 {
        trip()?;
    }
    for _ in 0..plan.count {
        let start = Instant::now();
        trip()?;
        trips.saturating_record(start.elapsed().as_nanos() as u64);
    }
    Ok(trips)
}

/// Asks a non-blocking socket again until it has an answer, for at most `LONGEST`. A blocking one answers at once, or
/// with the same error when its timeout has passed.
fn until_ready<T>(mut ask: impl FnMut() -> std::io::Result<T>) -> anyhow::Result<T> {
    let mut start = None;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let start = *start.get_or_insert_with(Instant::now);
                anyhow::ensure!(start.elapsed() < LONGEST, "no answer within {} s", LONGEST.as_secs());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
