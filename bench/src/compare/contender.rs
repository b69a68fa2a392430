//! Those who move bytes.

use anyhow::Context;
use serde_json::Value;

use super::{Moved, Options};
use crate::lab::Lab;
use crate::program::{Ended, Key, Program, SERVING};
use crate::pump;

/// The address of host b as farwire and the kernel know it.
const B_MAC: &str = "02:00:0a:4d:00:02";
const B_IP: &str = "10.77.0.2";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// Raw AF_XDP, our own layer, no protocol.
    Pump,
    /// `farwire perf` with this idle policy, with a key or without encryption.
    Farwire { name: &'static str, idle: &'static str, sealed: bool },
    /// iperf3 with this congestion control, with segmentation offloads or frames of MTU size.
    Tcp { name: &'static str, control: &'static str, offloads: bool },
}

impl Contender {
    /// In the order in which they run.
    pub fn all() -> Vec<Contender> {
        let tcp = |name, control, offloads| Contender::Tcp { name, control, offloads };
        vec![
            Contender::Pump,
            Contender::Farwire { name: "farwire adaptive", idle: "adaptive", sealed: true },
            Contender::Farwire { name: "farwire --insecure", idle: "adaptive", sealed: false },
            tcp("tcp bbr, MTU frames", "bbr", false),
            Contender::Farwire { name: "farwire spin", idle: "spin", sealed: true },
            tcp("tcp cubic, MTU frames", "cubic", false),
            tcp("tcp bbr, offloads", "bbr", true),
            tcp("tcp cubic, offloads", "cubic", true),
        ]
    }

    pub fn name(&self) -> &'static str {
        match self {
            Contender::Pump => "raw pump",
            Contender::Farwire { name, .. } | Contender::Tcp { name, .. } => name,
        }
    }

    /// Whether segmentation offloads are on while it runs; where frames are raw they play no part.
    pub fn offloads(&self) -> bool {
        matches!(self, Contender::Tcp { offloads: true, .. })
    }

    pub fn run(&self, lab: &Lab, options: &Options, (farwire, key): (&str, &Key)) -> anyhow::Result<Moved> {
        match self {
            Contender::Pump => pump(lab, options),
            Contender::Farwire { idle, sealed, .. } => {
                let protection = if *sealed { key.flags().to_vec() } else { vec!["--insecure".to_owned()] };
                perf(lab, options, farwire, &[&["--idle".to_owned(), (*idle).to_owned()][..], &protection].concat())
            }
            Contender::Tcp { control, .. } => iperf(lab, options, control),
        }
    }
}

fn pump(lab: &Lab, options: &Options) -> anyhow::Result<Moved> {
    let report = pump::measure(lab, &pump::Options::of(options.mtu, options.seconds as f64))?;
    Ok(Moved {
        goodput_bps: report.payload_bps,
        sender_cpu_seconds_per_gb: report.sender_cpu_seconds_per_gb,
        receiver_cpu_seconds_per_gb: report.receiver_cpu_seconds_per_gb,
        gigabytes: report.payload_bps * report.seconds / 8e9,
    })
}

fn perf(lab: &Lab, options: &Options, farwire: &str, own: &[String]) -> anyhow::Result<Moved> {
    let flags: Vec<&str> = own.iter().chain(&options.flags).map(String::as_str).collect();
    let common = [&["-i", "eth1"][..], &flags].concat();
    let at = |core: &'static str| if options.unpinned { vec![] } else { vec!["--cpu", core] };
    let mut server = Program::start(lab, "b", &[&[farwire, "perf"][..], &common, &at("1"), &["server"]].concat())?;
    server.await_words(SERVING)?;
    let seconds = options.seconds.to_string();
    let own = [B_MAC, "-t", &seconds, "--json"];
    let client = Program::start(lab, "a", &[&[farwire, "perf"][..], &common, &at("0"), &own].concat())?.finish()?;
    let server = server.stop()?;
    moved(&client, &server, &["bytes"], &["goodput_bps"])
}

fn iperf(lab: &Lab, options: &Options, control: &str) -> anyhow::Result<Moved> {
    let mut server = Program::start(lab, "b", &["iperf3", "--server", "--one-off", "--json"])?;
    server.await_ready(|| lab.run("b", &["ss", "-Hltn", "sport", "=", ":5201"]).contains("5201"))?;
    let seconds = options.seconds.to_string();
    let command = ["iperf3", "--client", B_IP, "--congestion", control, "--time", &seconds, "--json"];
    let client = Program::start(lab, "a", &command)?.finish()?;
    let server = server.finish()?;
    moved(&client, &server, &["end", "sum_received", "bytes"], &["end", "sum_received", "bits_per_second"])
}

fn moved(client: &Ended, server: &Ended, bytes: &[&str], bps: &[&str]) -> anyhow::Result<Moved> {
    let report: Value = serde_json::from_str(&client.stdout).with_context(|| client.stdout.clone())?;
    let number = |path: &[&str]| {
        let at = path.iter().try_fold(&report, |value, key| value.get(key));
        at.and_then(Value::as_f64).with_context(|| format!("no {} in {report}", path.join(".")))
    };
    let gigabytes = number(bytes)? / 1e9;
    Ok(Moved {
        goodput_bps: number(bps)?,
        sender_cpu_seconds_per_gb: client.cpu_seconds / gigabytes,
        receiver_cpu_seconds_per_gb: server.cpu_seconds / gigabytes,
        gigabytes,
    })
}
