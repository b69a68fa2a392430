//! What every rival is asked and what it answers: the options of both ends, the count at the receiver, the JSON.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use clap::Args;
use farwire::apps::perf::pattern;
use serde::Serialize;
use serde_json::Value;

/// How long a server waits for its first byte, and a sender for its connection: both ends start within a second of
/// each other, and a handshake over 300 ms and 5 % loss takes a few attempts of a second or two. Shorter would call a
/// lossy link dead, longer only keeps a broken run waiting.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What a window is without `--window-bytes`, `--rate-bps` and `--rtt-ms`: enough for a plain veth pair.
const WINDOW_BYTES: u64 = 8 << 20;
/// The least window: two of the largest datagram bursts in use. Below it nothing is pipelined.
const WINDOW_LEAST_BYTES: u64 = 128 << 10;
/// The largest: 10 Gbit/s x 300 ms and a queue as long, and more than any of the libraries does well with.
const WINDOW_MOST_BYTES: u64 = 1 << 30;
/// IPv4 and UDP headers inside the MTU.
const IP_UDP_BYTES: u16 = 28;

/// The path that both ends are tuned for.
#[derive(Args, Clone, Debug)]
pub struct Tuning {
    /// Most bytes in flight: bandwidth × round trip + the bottleneck's queue [2 × rate × rtt, or 8 MiB without them]
    #[arg(long, value_parser = clap::value_parser!(u64).range(WINDOW_LEAST_BYTES..=WINDOW_MOST_BYTES))]
    pub window_bytes: Option<u64>,
    /// The bottleneck's rate, bits per second on the wire
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000_000))]
    pub rate_bps: Option<u64>,
    /// The round trip without queue
    #[arg(long, value_parser = milliseconds)]
    pub rtt_ms: Option<f64>,
    /// Bytes of an IP packet; datagrams are as long as fits
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    pub mtu: u16,
    /// The sender writes a pattern and the receiver compares: slower, and an error if a byte is wrong
    #[arg(long)]
    pub verify: bool,
}

impl Tuning {
    pub fn window_bytes(&self) -> u64 {
        let twice_bdp = || Some((2.0 * self.rate_bps? as f64 / 8.0 * self.rtt_ms? / 1e3) as u64);
        let window = self.window_bytes.or_else(twice_bdp).unwrap_or(WINDOW_BYTES);
        window.clamp(WINDOW_LEAST_BYTES, WINDOW_MOST_BYTES)
    }

    /// Bytes of UDP payload in a full packet.
    pub fn datagram_bytes(&self) -> u16 {
        self.mtu - IP_UDP_BYTES
    }

    pub fn rtt(&self) -> Duration {
        Duration::from_secs_f64(self.rtt_ms.unwrap_or(0.0) / 1e3)
    }
}

/// The receiving end.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Address and UDP port to receive on
    #[arg(long)]
    pub bind: SocketAddr,
    /// How long to count, from the first byte on
    #[arg(long, value_parser = seconds)]
    pub seconds: f64,
    /// Length of one entry of `bins_bytes`
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub bin_ms: u64,
    #[command(flatten)]
    pub tuning: Tuning,
}

/// The sending end.
#[derive(Args, Clone, Debug)]
pub struct Send {
    /// Address and UDP port of the receiving end
    #[arg(long)]
    pub to: SocketAddr,
    /// How long the receiver counts: the sender goes on until it is gone, at most two round trips and a second longer
    #[arg(long, value_parser = seconds)]
    pub seconds: f64,
    #[command(flatten)]
    pub tuning: Tuning,
}

impl Send {
    /// How long the receiver surely counts, from the moment of the connection.
    pub fn span(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long the sender sends at most. The receiver's clock starts with its first byte, half a round trip after
    /// that has left, and its good-bye takes half of one; the second is for a first byte that has to be sent again.
    pub fn most(&self) -> Duration {
        self.span() + 2 * self.tuning.rtt() + Duration::from_secs(1)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.1, 86_400.0)
}

fn milliseconds(text: &str) -> Result<f64, String> {
    within(text, 0.0, 60_000.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(format!("{number}: from {least} to {most}, please")) }
}

/// What a server prints at the end.
#[derive(Serialize, Debug)]
pub struct Served {
    pub rival: &'static str,
    pub role: &'static str,
    /// Payload that the application received.
    pub bytes: u64,
    /// How long it was counted; less than asked for only if `error` says why, or a signal ended it.
    pub seconds: f64,
    pub bins_bytes: Vec<u64>,
    pub bin_ms: u64,
    /// Whether every byte was compared with the pattern.
    pub verified: bool,
    pub config: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a sender prints at the end.
#[derive(Serialize, Debug)]
pub struct Sent {
    pub rival: &'static str,
    pub role: &'static str,
    /// From the start of the handshake until the application could write.
    pub connect_ms: f64,
    /// What the library has taken; part of it may not have arrived.
    pub bytes: u64,
    pub config: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the receiving application got, in bins of time since its first byte.
pub struct Inbox {
    first: Option<Instant>,
    span: Duration,
    bin: Duration,
    bins: Vec<u64>,
    bytes: u64,
    verify: bool,
}

impl Inbox {
    pub fn new(options: &Serve) -> Inbox {
        let bin = Duration::from_millis(options.bin_ms);
        let span = Duration::from_secs_f64(options.seconds);
        let bins = vec![0; span.as_nanos().div_ceil(bin.as_nanos()) as usize];
        Inbox { first: None, span, bin, bins, bytes: 0, verify: options.tuning.verify }
    }

    /// When counting ends; `None` before the first byte.
    pub fn end(&self) -> Option<Instant> {
        self.first.map(|first| first + self.span)
    }

    /// The next bytes of the stream. An error if they are not what they must be.
    pub fn on_payload(&mut self, now: Instant, payload: &[u8]) -> anyhow::Result<()> {
        if payload.is_empty() {
            return Ok(());
        }
        let since = now.duration_since(*self.first.get_or_insert(now));
        if since >= self.span {
            return Ok(());
        }
        if self.verify {
            let wrong = pattern::wrong(self.bytes, payload);
            ensure!(wrong == 0, "{wrong} of {} bytes at {} are wrong", payload.len(), self.bytes);
        }
        self.bytes += payload.len() as u64;
        self.bins[(since.as_nanos() / self.bin.as_nanos()) as usize] += payload.len() as u64;
        Ok(())
    }

    pub fn report(self, rival: &'static str, now: Instant, config: Value, error: Option<String>) -> Served {
        let counted = self.first.map_or(Duration::ZERO, |first| now.duration_since(first).min(self.span));
        Served {
            rival,
            role: "serve",
            bytes: self.bytes,
            seconds: counted.as_secs_f64(),
            bins_bytes: self.bins,
            bin_ms: self.bin.as_millis() as u64,
            verified: self.verify && self.bytes > 0,
            config,
            error,
        }
    }
}

/// What the sending application writes: the same piece again and again, or with `--verify` the pattern.
pub struct Outbox {
    piece: Bytes,
    verify: bool,
    /// How much the library has taken.
    pub bytes: u64,
}

impl Outbox {
    pub fn new(piece_bytes: usize, verify: bool) -> Outbox {
        Outbox { piece: pattern_at(0, piece_bytes), verify, bytes: 0 }
    }

    /// What comes next.
    pub fn next_piece(&self) -> Bytes {
        if self.verify { pattern_at(self.bytes, self.piece.len()) } else { self.piece.clone() }
    }

    /// The library has taken so many bytes of it.
    pub fn on_taken(&mut self, count: usize) {
        self.bytes += count as u64;
    }
}

fn pattern_at(offset: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    pattern::fill(offset, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Server {
        #[command(flatten)]
        serve: Serve,
    }

    fn server(more: &str) -> Result<Serve, clap::Error> {
        let line = format!("serve --bind 10.77.0.2:7000 --seconds 1 {more}");
        Server::try_parse_from(line.split_whitespace()).map(|server| server.serve)
    }

    #[test]
    fn windows_are_told_or_follow_from_rate_and_round_trip() {
        assert_eq!(server("").unwrap().tuning.window_bytes(), WINDOW_BYTES);
        assert_eq!(server("--rate-bps 1000000000 --rtt-ms 100").unwrap().tuning.window_bytes(), 25_000_000);
        assert_eq!(server("--rate-bps 1000000 --rtt-ms 1").unwrap().tuning.window_bytes(), WINDOW_LEAST_BYTES);
        let told = server("--rate-bps 1000000000 --rtt-ms 100 --window-bytes 13750000").unwrap().tuning;
        assert_eq!((told.window_bytes(), told.datagram_bytes()), (13_750_000, 1472));
        assert_eq!(told.rtt(), Duration::from_millis(100));
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for bad in ["--window-bytes 5", "--mtu 100", "--mtu 70000", "--bin-ms 0", "--rtt-ms -1", "--rtt-ms NaN"] {
            assert!(server(bad).is_err(), "{bad}");
        }
        assert!(Server::try_parse_from(["serve", "--bind", "10.77.0.2:1", "--seconds", "0"]).is_err());
        assert!(Server::try_parse_from(["serve", "--bind", "10.77.0.2", "--seconds", "1"]).is_err());
    }

    #[test]
    fn bytes_land_in_the_bin_of_their_time() {
        let mut inbox = Inbox::new(&server("--bin-ms 300").unwrap());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(inbox.end(), None);
        for (ms, bytes) in [(0, 5), (299, 1), (300, 7), (999, 3), (1000, 100), (5000, 100)] {
            inbox.on_payload(at(ms), &vec![0; bytes]).unwrap();
        }
        assert_eq!(inbox.end(), Some(at(1000)));
        let report = inbox.report("x", at(5000), Value::Null, None);
        assert_eq!((report.bytes, report.seconds, report.bins_bytes), (16, 1.0, vec![6, 7, 0, 3]));
        assert!(!report.verified);
    }

    #[test]
    fn a_wrong_byte_is_an_error() {
        let mut outbox = Outbox::new(1000, true);
        let mut inbox = Inbox::new(&server("--verify").unwrap());
        let now = Instant::now();
        for taken in [1000, 3, 500] {
            let piece = outbox.next_piece()[..taken].to_vec();
            outbox.on_taken(taken);
            inbox.on_payload(now, &piece).unwrap();
        }
        let mut piece = outbox.next_piece().to_vec();
        piece[17] ^= 1;
        let error = inbox.on_payload(now, &piece).unwrap_err().to_string();
        assert_eq!(error, "1 of 1000 bytes at 1503 are wrong");
    }
}
