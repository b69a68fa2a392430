//! One Ethernet segment that floods like a hub: hosts a and b, and in the middle whoever hears and reaches both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use farwire::api::{
    Connection, Endpoint, EndpointConfig, Key, Keyring, MacAddr, NamedKey, PingRun, RecvStream, SendStream, XdpConfig,
};

use super::lab::Lab;

/// Addresses of the hosts, as `tools/netlab` gives them.
pub const A: MacAddr = MacAddr(2, 0, 0x0a, 0x4d, 0, 1);
pub const B: MacAddr = MacAddr(2, 0, 0x0a, 0x4d, 0, 2);
/// The attacker's interface, in host m.
pub const EVE: &str = "eve";
/// Ports of the hub, in host m: towards a, b and the attacker.
const PORTS: [&str; 3] = ["eth1", "eth2", "port3"];
/// Frames may be longer than farwire's own: the attacker marks what it sends behind the packet's end.
const MTU: &str = "2000";
/// What the transfers are written at: a part of what a small machine carries, so that there is something left for the
/// attacker's share.
pub const PACE_BPS: f64 = 50e6;
/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The segment; gone when dropped.
pub struct Segment {
    pub lab: Lab,
}

impl Segment {
    pub fn new() -> Segment {
        let lab = Lab::up(&["--hosts", "3", "--mtu", MTU, "--offloads", "off"]);
        let ip = |words: &str| drop(lab.run("m", &words.split(' ').collect::<Vec<_>>()));
        ip(&format!("ip link add hub mtu {MTU} type bridge ageing_time 0 mcast_snooping 0"));
        ip(&format!("ip link add {EVE} mtu {MTU} type veth peer name {} mtu {MTU}", PORTS[2]));
        for port in PORTS {
            ip(&format!("ip link set {port} master hub up"));
            ip(&format!("ip link set {port} type bridge_slave learning off flood on"));
        }
        ip("ip link set hub up");
        ip(&format!("ip link set {EVE} up"));
        Segment { lab }
    }

    /// Unplugs a host, or plugs it in again.
    pub fn cut_off(&self, host: &str, off: bool) {
        let port = PORTS[usize::from(host == "b")];
        self.lab.run("m", &["ip", "link", "set", port, if off { "down" } else { "up" }]);
    }

    /// A host's endpoint over AF_XDP, with the key that both have.
    pub fn endpoint(&self, host: &str) -> Endpoint {
        let xdp = XdpConfig { umem_bytes: 32 << 20, mtu: Some(1500), ..XdpConfig::new("eth1") };
        let config = EndpointConfig::sealed(keyring(7));
        let open = || Endpoint::open_xdp(xdp, config).unwrap_or_else(|error| panic!("{host}: {error}"));
        let endpoint = self.lab.inside(host, open);
        endpoint.listen().unwrap();
        endpoint
    }
}

/// A ping, for who wants to hear one.
pub fn one_ping() -> PingRun {
    PingRun { count: 1, size: 64, interval_ns: 0, timeout_ns: 5_000_000_000 }
}

/// One key.
pub fn keyring(n: u8) -> Keyring {
    Keyring::new(NamedKey::new(format!("key {n}"), Key::from_bytes(std::array::from_fn(|at| at as u8 ^ n))))
}

/// A connection and a stream on it, and what flows over it until it is told to end.
pub struct Transfer {
    pub conns: [Connection; 2],
    read: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    sender: JoinHandle<blake3::Hash>,
    receiver: JoinHandle<blake3::Hash>,
}

impl Transfer {
    pub fn start(a: &Endpoint, b: &Endpoint) -> Transfer {
        let to = a.connect(B).unwrap_or_else(|error| panic!("{error}"));
        let from = b.accept_timeout(PATIENCE).unwrap();
        let (mut send, _) = to.open_stream().unwrap();
        let (read, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let end = over.clone();
        let sender = thread::spawn(move || write_until(&mut send, &end));
        // The first bytes make the stream known.
        let (_, mut receive) = from.accept_stream_timeout(PATIENCE).unwrap();
        let count = read.clone();
        let receiver = thread::spawn(move || read_all(&mut receive, &count));
        Transfer { conns: [to, from], read, over, sender, receiver }
    }

    /// Payload bits a second that arrive during `span`.
    pub fn goodput_bps(&self, span: Duration) -> f64 {
        let (began, before) = (Instant::now(), self.read.load(Ordering::Relaxed));
        thread::sleep(span);
        let bytes = self.read.load(Ordering::Relaxed) - before;
        bytes as f64 * 8.0 / began.elapsed().as_secs_f64()
    }

    /// Nobody has closed it.
    pub fn assert_open(&self, during: &str) {
        for conn in &self.conns {
            assert!(conn.closed().is_none(), "{during}: {:?}", conn.closed());
        }
    }

    /// Ends the stream; what arrived is what was sent.
    pub fn finish(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender sends all");
        let received = self.receiver.join().expect("the receiver receives all");
        assert_eq!(sent, received, "what arrived is not what was sent");
        for conn in &self.conns {
            assert!(conn.closed().is_none(), "{:?}", conn.closed());
        }
        self.read.load(Ordering::Relaxed)
    }
}

fn write_until(stream: &mut SendStream, over: &AtomicBool) -> blake3::Hash {
    let (mut hasher, mut state) = (blake3::Hasher::new(), 1u64);
    let (began, mut sent) = (Instant::now(), 0);
    while !over.load(Ordering::Relaxed) {
        if sent as f64 * 8.0 > PACE_BPS * began.elapsed().as_secs_f64() {
            thread::sleep(Duration::from_micros(500));
            continue;
        }
        let mut room = stream.reserve(16_000).unwrap_or_else(|error| panic!("{error}"));
        let mut written = 0;
        for area in room.slices_mut() {
            for bytes in area.chunks_mut(8) {
                state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                bytes.copy_from_slice(&(state ^ state >> 29).to_le_bytes()[..bytes.len()]);
            }
            hasher.update(area);
            written += area.len();
        }
        room.commit(written);
        sent += written;
    }
    stream.finish().unwrap();
    stream.wait_acked().unwrap_or_else(|error| panic!("{error}"));
    hasher.finalize()
}

fn read_all(stream: &mut RecvStream, count: &AtomicU64) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    while let Some(message) = stream.recv().unwrap_or_else(|error| panic!("{error}")) {
        hasher.update(&message);
        count.fetch_add(message.len() as u64, Ordering::Relaxed);
    }
    hasher.finalize()
}
