//! Everything that is measured, for machines: JSON, and the text format that Prometheus and its kin scrape.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Counters, Histogram, Latencies};

/// What to export.
#[derive(Clone, Copy, Debug)]
pub struct Metrics<'a> {
    /// The engine's counters.
    pub counters: &'a Counters,
    /// The engine's histograms.
    pub latencies: &'a Latencies,
    /// The link's counters, as `Link::stats` gives them.
    pub link: &'a [(&'static str, u64)],
}

/// One object: `{"counters":{…},"link":{…},"latencies":{"rtt_ns":{"count":…,"p50":…,…},…}}`.
pub fn json(metrics: &Metrics<'_>) -> Value {
    let numbers = |pairs: &mut dyn Iterator<Item = (&'static str, u64)>| -> Map<String, Value> {
        pairs.map(|(name, value)| (name.to_owned(), value.into())).collect()
    };
    let latencies: Map<String, Value> =
        metrics.latencies.iter().map(|(name, histogram)| (name.to_owned(), json!(histogram.percentiles()))).collect();
    json!({
        "counters": numbers(&mut metrics.counters.iter()),
        "link": numbers(&mut metrics.link.iter().copied()),
        "latencies": latencies,
    })
}

/// A whole histogram: its figures, and every value that was seen with how often.
pub fn histogram_json(histogram: &Histogram) -> Value {
    json!({
        "unit": histogram.unit(),
        "percentiles": histogram.percentiles(),
        "values": histogram.recorded().map(|(value, count)| json!([value, count])).collect::<Vec<_>>(),
    })
}

/// Lines like `farwire_rx_frames_total 12` and `farwire_rtt_ns{quantile="0.5"} 4100`.
pub fn text(metrics: &Metrics<'_>) -> String {
    let mut out = String::new();
    for ((name, value), meaning) in metrics.counters.iter().zip(Counters::MEANINGS) {
        counter(&mut out, &format!("farwire_{name}_total"), meaning.trim(), value);
    }
    for (name, value) in metrics.link {
        counter(&mut out, &format!("farwire_link_{name}_total"), "Counted by the link.", *value);
    }
    for (name, histogram) in metrics.latencies.iter() {
        summary(&mut out, &format!("farwire_{name}"), histogram);
    }
    out
}

// Writing to a String can't fail, hence the `let _`.

fn counter(out: &mut String, name: &str, meaning: &str, value: u64) {
    let _ = writeln!(out, "# HELP {name} {meaning}\n# TYPE {name} counter\n{name} {value}");
}

fn summary(out: &mut String, name: &str, histogram: &Histogram) {
    let seen = histogram.percentiles();
    let _ = writeln!(out, "# TYPE {name} summary");
    for (quantile, value) in [
        ("0", seen.min),
        ("0.5", seen.p50),
        ("0.9", seen.p90),
        ("0.99", seen.p99),
        ("0.999", seen.p999),
        ("1", seen.max),
    ] {
        let _ = writeln!(out, "{name}{{quantile=\"{quantile}\"}} {value}");
    }
    let sum = seen.mean * seen.count as f64;
    let _ = writeln!(out, "{name}_sum {sum:.0}\n{name}_count {}", seen.count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> (Counters, Latencies) {
        let counters = Counters { rx_frames: 12, drop_checksum: 3, ..Counters::default() };
        let mut latencies = Latencies::new();
        latencies.rtt.record_n(1_000, 4);
        (counters, latencies)
    }

    #[test]
    fn json_has_every_counter_under_its_name() {
        let (counters, latencies) = measured();
        let value = json(&Metrics { counters: &counters, latencies: &latencies, link: &[("rx_no_frame", 5)] });
        assert_eq!(value["counters"].as_object().unwrap().len(), counters.iter().count());
        assert_eq!((&value["counters"]["rx_frames"], &value["counters"]["drop_checksum"]), (&json!(12), &json!(3)));
        assert_eq!((&value["link"]["rx_no_frame"], &value["latencies"]["rtt_ns"]["p99"]), (&json!(5), &json!(1_000)));
        assert_eq!(value["latencies"]["turn_ns"]["count"], json!(0));
    }

    #[test]
    fn text_is_what_a_scraper_reads() {
        let (counters, latencies) = measured();
        let text = text(&Metrics { counters: &counters, latencies: &latencies, link: &[("rx_no_frame", 5)] });
        for line in [
            "# HELP farwire_rx_frames_total Frames received from the link.",
            "# TYPE farwire_rx_frames_total counter",
            "farwire_rx_frames_total 12",
            "farwire_drop_checksum_total 3",
            "farwire_link_rx_no_frame_total 5",
            "farwire_rtt_ns{quantile=\"0.99\"} 1000",
            "farwire_rtt_ns_sum 4000",
            "farwire_rtt_ns_count 4",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(name.starts_with("farwire_") && value.parse::<f64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn a_histogram_is_exported_value_by_value() {
        let mut histogram = Histogram::new();
        histogram.record_n(10, 2);
        histogram.record(20);
        let value = histogram_json(&histogram);
        assert_eq!((&value["unit"], &value["values"]), (&json!("nanoseconds"), &json!([[10, 2], [20, 1]])));
        assert_eq!(value["percentiles"]["count"], json!(3));
    }
}
