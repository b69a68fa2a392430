//! The kernel's TCP from a to b, by iperf3.
//!
//! iperf3 counts in tenths of a second at best, from the moment when its server lets the client begin: the first byte
//! can't come earlier than a round trip after that, and that is where the clock is set to start. Intervals are the
//! server's: what its application has read.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::super::figures::Series;
use super::super::record::Flow;
use super::super::stage::B;
use super::{Commands, Order, TAIL, Told, at, measured, number};

/// iperf3's shortest interval.
const INTERVAL_S: f64 = 0.1;
/// Round trips from the client's start to the first byte at the server, of iperf3's own talk; seen in a trace.
const TRIPS_TO_FIRST_BYTE: f64 = 5.5;
/// The port of the first flow.
const PORT: u16 = 5201;

pub fn commands(control: &str, order: &Order<'_>) -> Commands {
    let port = PORT + order.number;
    let seconds = (order.seconds.ceil() + TAIL.as_secs_f64()).to_string();
    let interval = INTERVAL_S.to_string();
    let words = |line: String| line.split_whitespace().map(str::to_owned).collect();
    let client = format!("iperf3 --client {} --port {port} --congestion {control} --time {seconds} --json", B.0);
    Commands {
        server: words(format!("iperf3 --server --one-off --port {port} --interval {interval} --json")),
        client: words(client),
        ready: Err(port),
        one_flow: true,
    }
}

pub fn flow(told: &Told, order: &Order<'_>) -> anyhow::Result<Flow> {
    for report in [&told.client, &told.server] {
        let error = report.get("error").and_then(Value::as_str);
        ensure!(error.is_none(), "iperf3: {}", error.unwrap_or_default());
    }
    let series = from_first_byte(&told.server, order.cell.rtt_ms / 1e3)?;
    let mut flow = measured(&series, order);
    flow.whole_bytes = number(&told.server, "end.sum_received.bytes")?;
    flow.first_byte_s = TRIPS_TO_FIRST_BYTE * order.cell.rtt_ms / 1e3;
    let segment = f64::from(order.cell.mtu) - 52.0;
    let again = number(&told.client, "end.sum_sent.retransmits")?;
    let sent = number(&told.client, "end.sum_sent.bytes")? / segment + again;
    flow.sent_again_share = Some(again / sent.max(1.0));
    let control = at(&told.client, "end.sender_tcp_congestion").cloned().unwrap_or(json!(null));
    let version = at(&told.client, "start.version").cloned().unwrap_or(json!(null));
    flow.config = [("congestion control".to_owned(), control), ("version".to_owned(), version)].into();
    Ok(flow)
}

/// Bytes over time from the first byte on: a round trip after the server's start, or at the beginning of the first
/// interval with a byte in it if that is later.
fn from_first_byte(server: &Value, rtt_s: f64) -> anyhow::Result<Series> {
    let intervals = at(server, "intervals").and_then(Value::as_array).context("no intervals")?;
    // Where the count stood at the end of each interval; these are not quite even.
    let mut counts: Vec<(f64, f64)> = Vec::new();
    let mut last_end = 0.0;
    for interval in intervals {
        let (end, bytes) = (number(interval, "sum.end")?, number(interval, "sum.bytes")?);
        if counts.is_empty() && bytes > 0.0 {
            let first = if (last_end..end).contains(&rtt_s) { rtt_s } else { last_end };
            counts.push((first, 0.0));
        }
        if let Some((last, sum)) = counts.last().copied()
            && end > last
        {
            counts.push((end, sum + bytes));
        }
        last_end = end;
    }
    let (Some((first, _)), Some((end, _))) = (counts.first(), counts.last()) else { bail!("no byte has arrived") };
    let bins = ((end - first) / INTERVAL_S + 1e-6).floor() as usize;
    let cut = |index: usize| until(&counts, first + index as f64 * INTERVAL_S).round() as u64;
    Ok(Series { bin_ms: INTERVAL_S * 1e3, bytes: (0..bins).map(|index| cut(index + 1) - cut(index)).collect() })
}

/// The count at a time, of (time, count), two at least; between two of them it is taken to have grown evenly.
fn until(counts: &[(f64, f64)], seconds: f64) -> f64 {
    let after = counts.partition_point(|(end, _)| *end < seconds).clamp(1, counts.len() - 1);
    let ((from, before), (to, then)) = (counts[after - 1], counts[after]);
    before + (then - before) * ((seconds - from) / (to - from)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::cell;
    use super::*;

    fn interval(start: f64, end: f64, bytes: u64) -> Value {
        json!({ "sum": { "start": start, "end": end, "bytes": bytes } })
    }

    #[test]
    fn uneven_intervals_become_even_bins() {
        let server = json!({ "intervals": [
            interval(0.0, 0.1, 0), interval(0.1, 0.2, 1000), interval(0.2, 0.4, 4000), interval(0.4, 0.45, 500),
            interval(0.45, 0.5, 700),
        ] });
        assert_eq!(from_first_byte(&server, 0.1).unwrap().bytes, [1000, 2000, 2000, 1200]);
        assert!(from_first_byte(&json!({}), 0.1).is_err());
        assert!(from_first_byte(&json!({ "intervals": [interval(0.0, 0.1, 0)] }), 0.1).is_err());
    }

    #[test]
    fn the_clock_starts_with_the_first_byte() {
        let series = |bytes: &[u64], rtt_s: f64| {
            let at = |index: usize| index as f64 / 10.0;
            let all = bytes.iter().enumerate().map(|(index, bytes)| interval(at(index), at(index + 1), *bytes));
            from_first_byte(&json!({ "intervals": all.collect::<Vec<_>>() }), rtt_s).unwrap().bytes
        };
        assert_eq!(series(&[0, 500, 1000, 1000], 0.1), [500, 1000, 1000]);
        assert_eq!(series(&[0, 0, 0, 1000], 0.1), [1000], "the handshake was lost");
        assert_eq!(series(&[800, 1000, 1000, 1000], 0.02), [1000, 1000, 1000], "80 ms, and 20 ms of the next");
    }

    #[test]
    fn a_report_becomes_a_flow_and_an_error_an_error() {
        let cell = cell();
        let order = Order { cell: &cell, seconds: 0.2, interface: "eth1", number: 0, shared: false };
        let server = json!({
            "intervals": [interval(0.0, 0.1, 0), interval(0.1, 0.2, 1000), interval(0.2, 0.3, 3000)],
            "end": { "sum_received": { "bytes": 5000 } },
        });
        let client = json!({
            "start": { "version": "iperf 3.12" },
            "end": { "sum_sent": { "bytes": 1448 * 90, "retransmits": 10 }, "sender_tcp_congestion": "bbr" },
        });
        let mut told = Told { server, client };
        let flow = super::flow(&told, &order).unwrap();
        assert_eq!((flow.goodput_bps, flow.whole_bytes), (160_000.0, 5000.0));
        assert_eq!((flow.sent_again_share, &flow.config["congestion control"]), (Some(0.1), &json!("bbr")));
        told.client = json!({ "error": "unable to connect" });
        assert!(super::flow(&told, &order).unwrap_err().to_string().contains("unable to connect"));
    }

    #[test]
    fn each_flow_has_a_port_of_its_own() {
        let cell = cell();
        let order = Order { cell: &cell, seconds: 2.5, interface: "eth1", number: 1, shared: false };
        let commands = commands("bbr", &order);
        assert!(commands.client.join(" ").contains("--port 5202 --congestion bbr --time 4 "), "{:?}", commands.client);
        assert_eq!(commands.ready, Err(5202));
    }
}
