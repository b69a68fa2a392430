//! `farwire perf` from a to b.

use serde_json::{Value, json};

use super::super::figures::Series;
use super::super::record::Flow;
use super::super::stage::{B, Tools};
use super::{BIN_MS, Commands, Order, TAIL, Told, at, measured, number, numbers};
use crate::program::SERVING;

pub fn commands(tools: &Tools, flags: &[String], order: &Order<'_>) -> Commands {
    let program = || [tools.farwire.display().to_string(), "perf".to_owned()].to_vec();
    let common = |interface: &str| [&["-i", interface, "--json"].map(str::to_owned)[..], &tools.protection].concat();
    let seconds = format!("{}s", order.seconds + TAIL.as_secs_f64());
    let bins = format!("{BIN_MS}ms");
    let own = [B.1, "-t", &seconds, "--bins", &bins].map(str::to_owned).to_vec();
    Commands {
        server: [program(), common("eth1"), tools.flags.clone(), vec!["server".to_owned()]].concat(),
        client: [program(), common(order.interface), tools.flags.clone(), flags.to_vec(), own].concat(),
        ready: Ok(SERVING),
        one_flow: false,
    }
}

pub fn flow(told: &Told, order: &Order<'_>) -> anyhow::Result<Flow> {
    let report = &told.client;
    let series = Series { bin_ms: number(report, "bins.up.bin_ms")?, bytes: numbers(report, "bins.up.bytes")? };
    let counted = |name: &str| number(report, &format!("engine.counters.{name}"));
    let sent = counted("tx_data_packets")?.max(1.0);
    let mut flow = measured(&series, order);
    flow.whole_bytes = number(report, "bytes")?;
    let connect_ms = number(report, "connect_ms")?;
    flow.connect_ms = Some(connect_ms);
    flow.first_byte_s = (connect_ms + order.cell.rtt_ms / 2.0) / 1e3;
    flow.sent_again_share = Some(counted("retransmitted_packets")? / sent);
    flow.spurious_share = Some(counted("spurious_losses")? / sent);
    let quantiles = [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    let seen = |(name, quantile)| Some((quantile, at(report, "rtt_us")?.get(name)?.as_f64()?));
    flow.rtt_us = quantiles.into_iter().filter_map(seen).collect();
    let notices = at(report, "notices").and_then(Value::as_array);
    flow.notices = notices.into_iter().flatten().filter_map(|notice| notice.as_str().map(str::to_owned)).collect();
    let controller = at(report, "controller.local").cloned().unwrap_or(json!(null));
    flow.config = [("controller".to_owned(), controller)].into();
    if let Some(link) = report.get("link") {
        flow.config.insert("link".to_owned(), link.clone());
    }
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use super::super::tests::cell;
    use super::*;

    #[test]
    fn a_report_becomes_a_flow() {
        let client = json!({
            "bytes": 4000, "connect_ms": 100.5, "notices": ["slower"], "link": "AF_XDP copy",
            "bins": { "up": { "bin_ms": 100, "bytes": [1000, 1000, 1000, 900] }, "down": null },
            "engine": { "counters": { "tx_data_packets": 200, "retransmitted_packets": 10, "spurious_losses": 1 } },
            "rtt_us": { "min": 100.0, "p50": 200.0, "max": 900.0 },
            "controller": { "local": "fixed", "remote": "cubic" },
        });
        let cell = cell();
        let order = Order { cell: &cell, seconds: 0.2, interface: "eth1", number: 0, shared: false };
        let told = Told { server: Value::Null, client };
        let flow = flow(&told, &order).unwrap();
        assert_eq!((flow.goodput_bps, flow.whole_bytes), (80_000.0, 4000.0));
        assert_eq!((flow.sent_again_share, flow.spurious_share), (Some(0.05), Some(0.005)));
        assert_eq!(flow.rtt_us, [(0.0, 100.0), (0.5, 200.0), (1.0, 900.0)]);
        assert_eq!((flow.notices, &flow.config["controller"]), (vec!["slower".to_owned()], &json!("fixed")));
        let mut less = told;
        less.client["bins"]["up"] = Value::Null;
        assert!(super::flow(&less, &order).unwrap_err().to_string().contains("bins.up"));
    }
}
