//! The whole report of some made-up results, compared with the one that was read and found good.

use std::collections::BTreeMap;

use super::super::record::tests::{job, record};
use super::super::record::{Flow, Record, Scene};
use super::super::results::{Presence, Results, Sitting};
use super::*;

/// Read, and found good. Where it differs for a reason, the test says where the new one lies.
const SNAPSHOT: &str = include_str!("snapshot.md");

fn sitting() -> Sitting {
    let presence = |name: &str, missing: Option<&str>| Presence {
        name: name.to_owned(),
        what: format!("{name} 1.0"),
        missing: missing.map(str::to_owned),
    };
    Sitting {
        at: 1_790_000_000,
        command: "bench link".to_owned(),
        contenders: vec![
            presence("farwire-fixed", None),
            presence("farwire-bbr", None),
            presence("tcp-bbr", None),
            presence("tcp-cubic", None),
            presence("srt", Some("Debian package libsrt-openssl-dev is not installed")),
        ],
        hosts: vec!["net.ipv4.tcp_mtu_probing = 1".to_owned()],
    }
}

/// Two cells with four contenders, three rounds; one disturbed, one failed.
fn matrix() -> Vec<Record> {
    let mut records = Vec::new();
    let field = [("farwire-fixed", 940.0), ("farwire-bbr", 910.0), ("tcp-bbr", 800.0), ("tcp-cubic", 700.0)];
    for round in 1..=3 {
        for (loss, factor) in [("0%", 1.0), ("1%", 0.99)] {
            for (name, mbit) in field {
                let mbit = if (name, loss) == ("tcp-cubic", "1%") { 2.0 } else { mbit * factor + round as f64 };
                records.push(record(job(Scene::Matrix, 100.0, loss, name, round), mbit * 1e6));
            }
        }
    }
    records[2].invalid.push("others used 0.7 cores".to_owned());
    records[3].error = Some("iperf3: unable to connect".to_owned());
    records[3].flows.clear();
    records[0].flows[0].rtt_us = vec![(0.0, 100_100.0), (0.5, 100_400.0), (0.99, 103_000.0), (1.0, 120_000.0)];
    records[8].flows[0].rtt_us = records[0].flows[0].rtt_us.clone();
    records
}

fn scenes() -> Vec<Record> {
    let mut share = record(job(Scene::Share, 20.0, "0%", "farwire-bbr", 1), 500e6);
    share.job.contenders.push("farwire-bbr".to_owned());
    share.job.seconds = 30.0;
    share.flows[0].seconds = 30.0;
    share.flows[0].series.bytes = [vec![11_000_000; 100], vec![6_000_000; 200]].concat();
    let mut second = Flow { first_byte_s: 10.0, seconds: 20.0, goodput_bps: 400e6, ..share.flows[0].clone() };
    second.series.bytes = vec![5_000_000; 200];
    share.flows.push(second);
    let mut outage = record(job(Scene::Outage, 100.0, "0%", "farwire-fixed", 1), 900e6);
    outage.job.seconds = 60.0;
    outage.flows[0].seconds = 60.0;
    let bins = (0..600).map(|bin| match bin {
        200..230 => 0,
        400.. => 5_900_000,
        _ => 11_800_000,
    });
    outage.flows[0].series.bytes = bins.collect();
    outage.flows[0].notices.push("the link is half as fast".to_owned());
    let mut tree = record(job(Scene::Tree, 100.0, "0%", "farwire-fixed", 1), 780e6);
    tree.flows[0].config = BTreeMap::from([("files".to_owned(), "10000 of 10000 bytes".into())]);
    let mut ping = record(job(Scene::Ping, 100.0, "0%", "ping", 1), 0.0);
    let rtt_us = vec![(0.0, 100_050.0), (0.5, 100_200.0), (1.0, 101_000.0)];
    ping.flows[0] = Flow { contender: "ping".to_owned(), rtt_us, ..Flow::default() };
    let cost = record(job(Scene::Cost, 100.0, "0%", "farwire-fixed", 1), 900e6);
    vec![share, outage, tree, ping, cost]
}

#[test]
fn the_report_is_as_it_was_found_good() {
    let results = Results { sittings: vec![sitting()], records: [matrix(), scenes()].concat() };
    let directory = tempfile::tempdir().unwrap();
    let [markdown, html] = write(&results, directory.path()).unwrap();
    let (text, page) = (std::fs::read_to_string(markdown).unwrap(), std::fs::read_to_string(html).unwrap());
    if text != SNAPSHOT {
        panic!("{} is not bench/src/link/report/snapshot.md: diff them", directory.keep().display());
    }
    // By loss, over time and waits in two cells each, a pair, the outage, the ping, round trips in two cells.
    assert_eq!(page.matches("<svg").count(), 1 + 2 + 2 + 1 + 1 + 1 + 2);
    for heading in text.lines().filter_map(|line| line.strip_prefix("## ")) {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading} is not in the page");
    }
}

#[test]
fn a_report_of_nothing_is_a_report() {
    let text = document::markdown(&blocks(&Results::default()));
    assert!(text.contains("nothing measured yet, sittings: 0\n") && text.contains("not measured"), "{text}");
}
