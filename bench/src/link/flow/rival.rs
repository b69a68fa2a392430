//! A rival's library from a to b, by `bench rival`: windows as large as what fits on the way and in the queue.

use serde_json::Value;

use super::super::figures::Series;
use super::super::record::Flow;
use super::super::stage::{B, Tools};
use super::{BIN_MS, Commands, Order, Told, measured, number, numbers};

/// The port of the first flow.
const PORT: u16 = 7000;

pub fn commands(tools: &Tools, name: &str, order: &Order<'_>) -> Commands {
    let cell = order.cell;
    let at = format!("{}:{}", B.0, PORT + order.number);
    let window = cell.bdp_bytes() + cell.queue_bytes();
    let common = format!(
        "--seconds {} --window-bytes {window} --rate-bps {} --rtt-ms {} --mtu {}",
        order.seconds, cell.rate_bps, cell.rtt_ms, cell.mtu
    );
    let program = tools.bench.display().to_string();
    let words = |line: String| {
        let words = line.split_whitespace().map(str::to_owned);
        [program.clone(), "rival".to_owned(), name.to_owned()].into_iter().chain(words).collect()
    };
    Commands {
        server: words(format!("serve --bind {at} --bin-ms {BIN_MS} {common}")),
        client: words(format!("send --to {at} {common}")),
        ready: Ok("ready"),
        one_flow: true,
    }
}

pub fn flow(told: &Told, order: &Order<'_>) -> anyhow::Result<Flow> {
    let series = Series { bin_ms: number(&told.server, "bin_ms")?, bytes: numbers(&told.server, "bins_bytes")? };
    let mut flow = measured(&series, order);
    flow.connect_ms = number(&told.client, "connect_ms").ok();
    let config = |told: &Value| told.get("config").cloned().unwrap_or(Value::Null);
    flow.config.insert("sender's settings".to_owned(), config(&told.client));
    flow.config.insert("receiver's settings".to_owned(), config(&told.server));
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::cell;
    use super::*;

    #[test]
    fn a_rival_is_tuned_for_the_way_and_its_queue() {
        let cell = cell();
        let order = Order { cell: &cell, seconds: 10.0, interface: "eth1", number: 0, shared: false };
        let tools = Tools { bench: "./bench".into(), ..Tools::default() };
        let commands = super::commands(&tools, "quinn-bbr", &order).server.join(" ");
        assert!(commands.contains("./bench rival quinn-bbr serve --bind 10.77.0.2:7000 --bin-ms 100"), "{commands}");
        assert!(commands.contains("--window-bytes 25000000 --rate-bps 1000000000 --rtt-ms 100"), "{commands}");
    }

    #[test]
    fn a_report_becomes_a_flow() {
        let cell = cell();
        let order = Order { cell: &cell, seconds: 0.3, interface: "eth1", number: 0, shared: false };
        let server = json!({ "bin_ms": 100, "bins_bytes": [100, 200, 300], "bytes": 600, "config": { "mtu": 1472 } });
        let flow = flow(&Told { server, client: json!({ "connect_ms": 201.0 }) }, &order).unwrap();
        assert_eq!((flow.goodput_bps, flow.connect_ms), (16_000.0, Some(201.0)));
        assert_eq!(flow.config["receiver's settings"], json!({ "mtu": 1472 }));
    }
}
