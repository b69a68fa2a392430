//! Three hosts in a row, the emulator in the middle, and what the outer two send each other.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::Lab;

/// Long enough for a machine that does other things as well.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const A: &str = "10.77.0.1";
pub const B: &str = "10.77.0.2";

/// The lab, `a` left of the emulator and `b` right of it.
pub struct Scene {
    pub lab: Lab,
}

/// An emulator at work; killed when dropped.
pub struct Running {
    child: Child,
    said: Option<BufReader<std::process::ChildStderr>>,
}

/// How an emulator ended.
pub struct Ended {
    pub status: i32,
    pub report: Value,
    pub said: String,
}

impl Scene {
    pub fn new() -> Scene {
        Scene { lab: Lab::up(&["--hosts", "3", "--offloads", "off"]) }
    }

    /// Starts the emulator and waits until it carries frames.
    pub fn linkem(&self, arguments: &str) -> Running {
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("linkem: ready:") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "{arguments}: it ended before it was ready");
        }
        Running { child, said: Some(said) }
    }

    /// Runs the emulator to its end, which is an error of this exit status.
    pub fn refusal(&self, arguments: &str, expected: i32) -> String {
        let Output { status, stderr, stdout } = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert!(status.code() == Some(expected) && stdout.is_empty(), "{arguments}: {status}, {said}");
        self.nothing_left();
        said
    }

    /// The emulator between eth1 and eth2, unless the arguments say more.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.lab.namespace_name("m"), env!("CARGO_BIN_EXE_linkem"), "--json"]);
        command.args(arguments.split_whitespace());
        if !arguments.contains("eth") {
            command.args(["eth1", "eth2"]);
        }
        command
    }

    /// No program is attached in the middle.
    pub fn nothing_left(&self) {
        let links = self.lab.run("m", &["ip", "link"]);
        assert!(!links.contains("xdp"), "{links}");
    }

    /// A socket of a host that waits for at most `patience`.
    pub fn udp(&self, host: &str, address: &str) -> UdpSocket {
        let socket = self.lab.inside(host, || UdpSocket::bind(address).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        socket
    }

    /// Sockets of a and b that are connected, and whose hosts have met (ARP).
    pub fn sockets(&self) -> (UdpSocket, UdpSocket) {
        let (a, b) = (self.udp("a", "10.77.0.1:7000"), self.udp("b", "10.77.0.2:7000"));
        a.connect("10.77.0.2:7000").unwrap();
        b.connect("10.77.0.1:7000").unwrap();
        (a, b)
    }

    /// Each host knows the other's address already, so that nothing but what a test sends is carried.
    pub fn introduce(&self) {
        self.lab.run("a", &["ip", "neigh", "add", B, "lladdr", "02:00:0a:4d:00:02", "dev", "eth1"]);
        self.lab.run("b", &["ip", "neigh", "add", A, "lladdr", "02:00:0a:4d:00:01", "dev", "eth1"]);
    }

    /// Round trips of ICMP echoes from a to b, one after another.
    pub fn ping(&self, count: u8) -> Vec<Duration> {
        self.lab.inside("a", || {
            let flags = SockFlag::SOCK_CLOEXEC;
            let icmp = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Icmp).unwrap();
            setsockopt(&icmp, sockopt::ReceiveTimeout, &TimeVal::seconds(5)).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&icmp);
            (0..count)
                .map(|number| {
                    let start = Instant::now();
                    sendto(fd, &echo(number), &SockaddrIn::new(10, 77, 0, 2, 0), MsgFlags::empty()).unwrap();
                    let mut answer = [0; 128];
                    loop {
                        let got = recv(fd, &mut answer, MsgFlags::empty()).expect("an answer within 5 s");
                        // Behind the IPv4 header: type 0 is a reply, its number is what was asked for.
                        if got >= 28 && answer[20] == 0 && answer[27] == number {
                            return start.elapsed();
                        }
                    }
                })
                .collect()
        })
    }
}

/// An ICMP echo request.
fn echo(number: u8) -> [u8; 16] {
    let mut message = [8, 0, 0, 0, 0, 77, 0, number, 1, 2, 3, 4, 5, 6, 7, 8];
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    message
}

impl Running {
    /// Ends it as Ctrl-C does.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let (mut said, mut report) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        self.said.take().unwrap().read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap().code().unwrap_or(-1);
        let report = serde_json::from_str(&report).unwrap_or(Value::Null);
        Ended { status, report, said }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// A number of the report, by its path: `to_right/passed/frames`.
    pub fn number(&self, path: &str) -> f64 {
        let value = self.report.pointer(&format!("/{path}")).unwrap_or_else(|| panic!("no {path} in {}", self.report));
        value.as_f64().unwrap_or_else(|| panic!("{path} is no number in {}", self.report))
    }

    /// Of the emulator's own losses, all kinds and both ways.
    pub fn own_losses(&self) -> u64 {
        let of = |way: &str| self.report[way]["own_losses"].as_object().unwrap().values().map(|n| n.as_u64().unwrap());
        of("to_right").chain(of("to_left")).sum()
    }
}
