//! The command line as clap sees it. Its texts are what `--help` shows.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::exit;
use crate::api::{Idle, Mode, Rate, check_ethertype};
use crate::base::{size, time};

/// Moves data over a dedicated Ethernet link, in raw frames over AF_XDP.
#[derive(Parser, Debug)]
#[command(name = "farwire", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Send files and directories to a host that runs `farwire recv`
    #[command(after_help = exit::HELP)]
    Send(Send),
    /// Receive files and directories, from many senders, until stopped
    ///
    /// With a directory of keys each sender is shown by the name of its key. SIGHUP reads the keys anew: whoever uses
    /// one that is gone is cut off. A file that can't be taken keeps the key that it had, whatever the others are like.
    ///
    /// Until it is whole, synced and verified, a file is called .farwire-….part. A transfer that breaks off removes its
    /// parts; only a receiver that was killed leaves some behind: what was on its way, and what waited to be synced.
    /// They can be removed while nobody receives into DIR: find DIR -name '.farwire-*.part' -delete
    #[command(after_help = exit::HELP)]
    Recv(Recv),
    /// Measure goodput from memory to memory, like iperf3
    #[command(after_help = exit::HELP)]
    Perf(Perf),
    /// Measure round trips to a host that runs `farwire recv` or `farwire perf server`
    #[command(after_help = exit::HELP)]
    Ping(Ping),
    /// Look whether this machine and its NIC can do it, and say what to change
    #[command(after_help = exit::HELP)]
    Doctor(Doctor),
    /// List who answers on the link
    #[command(after_help = exit::HELP)]
    Discover(Discover),
    /// Make the key that two hosts share
    #[command(after_help = exit::HELP)]
    Keygen(Keygen),
}

/// `farwire send`.
#[derive(Args, Debug)]
pub struct Send {
    /// What to send (files, directories, symbolic links as links, or - for standard input), and last to whom: a MAC
    /// address, or the name that its `farwire recv` announces
    #[arg(value_names = ["PATH", "PEER"], required = true, num_args = 1..)]
    pub paths_and_peer: Vec<PathBuf>,
    /// Name under which standard input arrives
    #[arg(long = "as", value_name = "NAME", default_value = "stdin")]
    pub stdin_name: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `farwire recv`.
#[derive(Args, Debug)]
pub struct Recv {
    /// Where to put what arrives, or - for standard output (one file, then the end)
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Name to answer to on the link [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// End after one transfer, with its exit code
    #[arg(long)]
    pub once: bool,
    /// Once the link is open, become this user, who then writes what arrives (only root can say so)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `farwire perf`.
#[derive(Args, Debug)]
pub struct Perf {
    /// `server` to serve measurements until stopped, or the peer (MAC address or name) to measure with
    #[arg(value_name = "server|PEER")]
    pub peer: String,
    /// How long to send for; a number alone is seconds
    #[arg(short = 't', long = "time", value_name = "TIME", default_value = "10s", value_parser = measurable)]
    pub time: Duration,
    /// Streams each way
    #[arg(short = 'P', long, value_name = "STREAMS", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=128))]
    pub parallel: u16,
    /// The server sends
    #[arg(short = 'R', long, conflicts_with = "bidir")]
    pub reverse: bool,
    /// Both send at once
    #[arg(long)]
    pub bidir: bool,
    /// From one interval line to the next, for example 100ms; a number alone is seconds
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = measurable)]
    pub interval: Duration,
    /// With --json: also what arrived in bins of this width, from the receiver's first byte on
    #[arg(long, value_name = "TIME", value_parser = measurable, requires = "json")]
    pub bins: Option<Duration>,
    /// Fill every byte with a pattern and check every byte that arrives (costs CPU on both sides)
    #[arg(long)]
    pub verify: bool,
    /// Write the round trips as an HdrHistogram percentile file (microseconds)
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Name that the server answers to on the link [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The server becomes this user once the link is open (only root can say so)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `farwire ping`.
#[derive(Args, Debug)]
pub struct Ping {
    /// Whom: a MAC address or a name
    #[arg(value_name = "PEER")]
    pub peer: String,
    /// How many
    #[arg(short = 'c', long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,
    /// Bytes of Ethernet payload of each
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 64)]
    pub size: usize,
    /// From one to the next, for example 10ms; a number alone is seconds, 0 sends the next when the echo has arrived
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = span)]
    pub interval: Duration,
    /// Write the round trips as an HdrHistogram percentile file (microseconds)
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `farwire doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `farwire discover`.
#[derive(Args, Debug)]
pub struct Discover {
    /// How long to wait for answers
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    pub wait: Duration,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `farwire keygen`.
#[derive(Args, Debug)]
pub struct Keygen {
    /// Where to put the key: a new file, readable by its owner only; or - for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The result as JSON on standard output: one object
    #[arg(long)]
    pub json: bool,
}

/// What every command takes that uses a link.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Link and transport")]
pub struct Common {
    /// Interface to use; may be left out where only one makes sense
    #[arg(short = 'i', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// The link is ours: at this rate, for example 9.5gbit (bits on the wire), or auto: at what it is measured to carry
    ///
    /// Either holds its rate under loss and steps down only where the link proves to carry less. auto measures with
    /// the first data, within a few round trips, then follows what the link carries. Do not share the link
    /// with others.
    #[arg(long, value_name = "RATE|auto", value_parser = own_rate)]
    pub rate: Option<OwnRate>,
    /// Congestion control of what we send [default: bbr, or fixed with --rate]
    #[arg(long, value_name = "WHICH")]
    pub cc: Option<Cc>,
    /// What the worker does when there is nothing to do: spin (least latency, a whole core), adaptive, sleep
    #[arg(long, value_name = "POLICY", default_value = "adaptive")]
    pub idle: Idle,
    /// How frames are moved: xdp (AF_XDP), or packet (AF_PACKET: slower, works with every interface)
    #[arg(long, value_name = "KIND", default_value = "xdp")]
    pub link: LinkKind,
    /// AF_XDP mode: auto (zero-copy with drivers known to do it well, else copy, else skb), zerocopy, copy, skb
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,
    /// Queue of the interface [default: 0]
    #[arg(long, value_name = "N")]
    pub queue: Option<u32>,
    /// Core to pin the worker to [default: the kernel's choice]
    #[arg(long, value_name = "N")]
    pub cpu: Option<usize>,
    /// EtherType of our frames; both ends must agree
    #[arg(long, value_name = "TYPE", default_value = "0x88b5", value_parser = ethertype)]
    pub ethertype: u16,
    /// Tag our frames with this VLAN (802.1Q), and its priority if given
    #[arg(long, value_name = "ID[:PRIORITY]", value_parser = vlan)]
    pub vlan: Option<(u16, u8)>,
    /// Longest Ethernet payload to use [default: the interface's MTU]
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u16>,
    /// Size of the frame pool: what can be in flight, for example 256MiB [default: 1/64 of the memory, 64MiB to 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub umem: Option<u64>,
    /// Record every frame that comes or goes into this file, as pcapng for Wireshark (costs time)
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Key that both hosts share (`farwire keygen`), or a directory of them: NAME.key for each peer
    ///
    /// Else FARWIRE_KEY_FILE names it, else `key = "PATH"` in ~/.config/farwire/config.toml or
    /// /etc/farwire/config.toml. Of a directory recv and perf server take every key; other commands take the one that
    /// bears the peer's name. doctor and discover need none.
    #[arg(long, value_name = "FILE|DIR")]
    pub key: Option<PathBuf>,
    /// Do without a key: whoever is on the link can read and change everything. Both hosts must say it
    #[arg(long, conflicts_with = "key")]
    pub insecure: bool,
    /// Results as JSON on standard output: one object
    #[arg(long)]
    pub json: bool,
    /// Say more on standard error; twice for even more (FARWIRE_LOG=farwire::xdp=trace: of one part)
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The rate of a link that is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnRate {
    /// What the user vouches for.
    At(Rate),
    /// To be measured.
    Auto,
}

/// Congestion control by name.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cc {
    /// A rate that the user vouches for.
    Fixed,
    /// Version 3: finds the link's rate by itself, and is not led astray by losses.
    Bbr,
    /// RFC 9438.
    Cubic,
    /// RFC 5681.
    Reno,
}

/// How frames are moved.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// AF_XDP.
    Xdp,
    /// AF_PACKET.
    Packet,
}

fn own_rate(text: &str) -> Result<OwnRate, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(OwnRate::Auto);
    }
    match text.parse() {
        Ok(rate) if rate > Rate::FASTEST => Err("no link is so fast; say 10tbit at most, or auto".into()),
        Ok(rate) => Ok(OwnRate::At(rate)),
        Err(error) => Err(format!("{error}, or auto")),
    }
}

fn ethertype(text: &str) -> Result<u16, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(value) => check_ethertype(value).map(|()| value),
        Err(_) => Err(format!("{text:?} is no EtherType; say for example 0x88b5")),
    }
}

fn vlan(text: &str) -> Result<(u16, u8), String> {
    let (id, priority) = text.split_once(':').unwrap_or((text, "0"));
    match (id.parse(), priority.parse()) {
        (Ok(id @ 0..=4094), Ok(priority @ 0..=7)) => Ok((id, priority)),
        _ => Err(format!("{text:?} is no VLAN; say an id from 0 to 4094, and perhaps a priority: 100 or 100:5")),
    }
}

/// A span over which a rate means something.
fn measurable(text: &str) -> Result<Duration, String> {
    match span(text)? {
        span if span >= Duration::from_millis(10) => Ok(span),
        _ => Err(format!("{text} is too short to measure anything in; 10ms is the least")),
    }
}

/// `10ms`, `1.5s`, `250us`, `0`.
fn span(text: &str) -> Result<Duration, String> {
    time::parse(text).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_rate_of_ones_own_is_one_that_a_link_can_have() {
        assert_eq!(own_rate("Auto"), Ok(OwnRate::Auto));
        assert_eq!(own_rate("10tbit"), Ok(OwnRate::At(Rate::FASTEST)));
        for (text, words) in [
            ("10.1tbit", "say 10tbit at most, or auto"),
            ("99999999tbit", "say 10tbit at most, or auto"),
            ("0", "could ever be sent; say for example 940mbit, or auto"),
            ("-5mbit", "does not begin with a plain number"),
        ] {
            let error = own_rate(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn paths_come_before_the_peer() {
        let cli = Cli::try_parse_from(["farwire", "send", "-i", "eth1", "a", "b", "-", "backup"]).unwrap();
        let Command::Send(send) = cli.command else { panic!("not send") };
        assert_eq!(send.paths_and_peer, ["a", "b", "-", "backup"].map(PathBuf::from));
        let cli = Cli::try_parse_from(["farwire", "send", "a", "-i", "eth1", "b", "--json", "backup"]).unwrap();
        let Command::Send(send) = cli.command else { panic!("not send") };
        assert_eq!(send.paths_and_peer, ["a", "b", "backup"].map(PathBuf::from));
        assert_eq!(send.common.interface.as_deref(), Some("eth1"));
        assert!(Cli::try_parse_from(["farwire", "send"]).is_err());
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(span("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(span("0"), Ok(Duration::ZERO));
        assert!(span("-1s").is_err() && span("1 week").is_err());
        assert_eq!(ethertype("0x88B5"), Ok(0x88B5));
        assert!(ethertype("0x0100").unwrap_err().contains("length"));
        assert_eq!(vlan("100:5"), Ok((100, 5)));
        assert!(vlan("4095").is_err() && vlan("1:8").is_err());
        assert_eq!(measurable("0.5"), Ok(Duration::from_millis(500)));
        assert!(measurable("0").is_err() && measurable("-3").is_err() && measurable("1ms").is_err());
        assert!(ethertype("0x0800").unwrap_err().contains("IPv4"));
    }
}
