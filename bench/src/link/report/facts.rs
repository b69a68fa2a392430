//! What a reader must know to trust the figures: machine, contenders, method, and the runs that do not count.

use std::collections::BTreeSet;

use chrono::DateTime;

use super::super::aims;
use super::super::cell::Cell;
use super::super::limit;
use super::super::record::{Record, Scene};
use super::super::results::Results;
use super::cells::DISTURBED;
use super::document::Block;

/// Runs that do not count are listed up to this many; a machine that is never quiet would fill pages.
const LISTED: usize = 60;

pub fn opening(results: &Results) -> Vec<Block> {
    let records = &results.records;
    let each = |of: &dyn Fn(&Record) -> String| records.iter().map(of).collect::<BTreeSet<String>>().into_iter();
    let machines = each(&|run| {
        let machine = &run.machine;
        format!("{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel)
    });
    let commits: Vec<String> = each(&|run| run.machine.commit.clone()).collect();
    let commits = if commits.is_empty() { String::new() } else { format!("; commit {}", commits.join(", ")) };
    let days: Vec<String> = each(&|run| day(run.at)).collect();
    let failed = records.iter().filter(|run| run.error.is_some()).count();
    let invalid = records.iter().filter(|run| run.error.is_none() && !run.invalid.is_empty()).count();
    let days = match &days[..] {
        [] => "nothing measured yet".to_owned(),
        [day] => format!("measured on {day}"),
        [first, .., last] => format!("measured from {first} to {last}"),
    };
    let (runs, sittings) = (records.len(), results.sittings.len());
    let mut items = vec![
        format!("runs: {runs}, {days}, sittings: {sittings}{commits}"),
        format!("disturbed or invalid to the end, so that they do not count: {invalid}; contender failed: {failed}"),
    ];
    items.extend(machines.map(|machine| format!("{machine}: all three hosts and the emulator on it")));
    items.push(format!("{DISTURBED} beside a figure: no run of it was undisturbed; it is in no aim"));
    vec![Block::List(items)]
}

fn day(at: i64) -> String {
    DateTime::from_timestamp(at, 0).map_or("an unknown day".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}

pub fn aims(results: &Results) -> Vec<Block> {
    let rows = aims::all(results).into_iter().map(|aim| {
        let verdict = aim.verdict();
        vec![aim.what, aim.aim, verdict, aim.worst]
    });
    vec![Block::heading(2, "Aims"), Block::table(&["what", "aim", "cells", "worst"], 4, rows.collect())]
}

pub fn contenders(results: &Results) -> Vec<Block> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    // The last sitting knows best what there is.
    for presence in results.sittings.iter().rev().flat_map(|sitting| &sitting.contenders) {
        if rows.iter().all(|row| row[0] != presence.name) {
            let state = presence.missing.as_ref().map_or("measured".to_owned(), |why| format!("MISSING: {why}"));
            rows.push(vec![presence.name.clone(), presence.what.clone(), state]);
        }
    }
    let mut blocks = vec![
        Block::heading(2, "Contenders and their settings"),
        Block::table(&["contender", "what it is", "here"], 3, rows),
    ];
    if let Some(sitting) = results.sittings.last() {
        blocks.push(Block::text("Both hosts:"));
        blocks.push(Block::List(sitting.hosts.iter().map(|setting| format!("`{setting}`")).collect()));
    }
    blocks.push(Block::text("Each as in its last run:"));
    let mut seen = BTreeSet::new();
    for run in results.records.iter().rev() {
        for flow in run.flows.iter().filter(|flow| !flow.config.is_empty()) {
            if seen.insert((run.job.scene == Scene::Tree, flow.contender.clone())) {
                let cell = run.job.cell;
                let settings = flow.config.iter().map(|(name, value)| match value.as_str() {
                    Some(text) => format!("{name}: `{text}`"),
                    None => format!("{name}: `{value}`"),
                });
                blocks.push(Block::text(format!("{} ({cell}):", flow.contender)));
                blocks.push(Block::List(settings.collect()));
            }
        }
    }
    blocks
}

pub fn method(results: &Results) -> Vec<Block> {
    let Some(cell) = results.records.first().map(|run| Cell { loss: NONE, ..run.job.cell }) else { return Vec::new() };
    let mbit = |of: fn(&Cell) -> f64| format!("{:.1}", of(&cell) / 1e6);
    let limits = format!(
        "The limit: link rate × payload share of the wire bytes × (1 − loss). A frame of {} bytes takes {} on the \
         wire: Ethernet header, FCS, preamble and gap are counted. By farwire's header that leaves {} Mbit/s without \
         loss, by TCP's {}, and {} for the payload of UDP, in which the others have headers of their own. All shares \
         refer to farwire's limit.",
        cell.mtu,
        limit::wire_bytes(u64::from(cell.mtu)),
        mbit(limit::goodput_bps),
        mbit(limit::tcp_goodput_bps),
        mbit(limit::udp_goodput_bps),
    );
    let items = [
        "The lab: host a – emulator – host b, network namespaces joined by veth pairs; no segmentation or checksum \
         offload, so that every frame on the link is at most MTU-sized. Delay is half the round trip each way; rate, \
         queue (drop-tail) and loss are alike both ways. Frames are lost after the bottleneck: they have taken its \
         time."
            .to_owned(),
        limits,
        "Goodput: payload that the receiving application got, over a span that begins with its first byte; slow start \
         counts, the handshake does not (it is told apart). Senders send a second longer. iperf3 counts in tenths of a \
         second from its server's start; the first byte is taken to have come a round trip after that."
            .to_owned(),
        "Rounds: in each, every contender runs in every cell, one after the other, with the same seed of losses; who \
         is first changes. Figures are medians of the rounds (of an even number the lower of the two), ratios the \
         medians of the rounds' ratios. A run in which the contender failed counts as no goodput."
            .to_owned(),
        "90 % of the limit: from the first bin in which the flow's frames leave the emulator to the first of three \
         bins in a row in which frames worth 90 % of the link × (1 − loss) do. Bins are half a round trip, 1 to 10 ms \
         wide, and 80 full frames at least. Measured on the link, so that no gap in the order of arrival hides what is \
         there."
            .to_owned(),
        "Sent twice: for farwire the packets that it sent again, of those sent; for TCP iperf3's retransmitted \
         segments. “Carried”, for all of them: bytes of Ethernet frames that the flow put on the link for each byte of \
         payload, in the measured span: what left the emulator, by the share of frames that was not lost or dropped."
            .to_owned(),
        "Queue: how long each frame waited at the emulated bottleneck, by the emulator's own account.".to_owned(),
        "CPU: user and system time of both programs as the kernel tells their parent. Work of the kernel outside of \
         any program (softirqs, ksoftirqd) is added in “machine”: all that was not idle, less the emulator, the \
         benchmark and other people's programs. On veth some of the receiver's kernel work is done by whoever sends \
         the frame, here the emulator: so that is told as well. All of this is what the kernel charges; “What a \
         gigabyte costs” measures what is taken from the machine, whoever it is charged to."
            .to_owned(),
        format!(
            "Validity: a run is repeated, twice at most, if others used {} cores or more, or if the emulator did not \
             keep its times or lost a frame of its own, as it says itself (`tools/linkem --help`); then it is marked \
             and left out.",
            crate::machine::FOREIGN_MOST
        ),
    ];
    vec![Block::heading(2, "How it was measured"), Block::List(items.into())]
}

const NONE: super::super::cell::Loss = super::super::cell::Loss { share: 0.0, burst: None };

pub fn not_counted(results: &Results) -> Vec<Block> {
    let lines: Vec<String> = results
        .records
        .iter()
        .filter(|run| !run.is_valid())
        .map(|run| {
            let why = run.error.clone().unwrap_or_else(|| run.invalid.join("; "));
            format!("{}: {why} (tries: {})", run.job.words(), run.tries)
        })
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let more = lines.len().saturating_sub(LISTED);
    let mut items: Vec<String> = lines.into_iter().take(LISTED).collect();
    if more > 0 {
        items.push(format!("… and {more} more, in results.jsonl"));
    }
    vec![Block::heading(2, "Runs that failed or do not count"), Block::List(items)]
}
