//! The same game on the kernel's sockets, one thread in each host, pinned like the others.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use farwire::obs::Histogram;
use nix::sched::{CloneFlags, setns};

use crate::lab::Lab;

/// Host b and the port that the game is played on.
const B: ([u8; 4], u16) = ([10, 77, 0, 2], 5999);
/// A datagram that is not back after this long is lost, and the game with it: links that it is played on lose none.
const LOST: Duration = Duration::from_secs(5);

/// Which sockets, and how they wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Game {
    pub tcp: bool,
    /// Non-blocking reads again and again, instead of a read that sleeps.
    pub spin: bool,
    /// Round trips before counting starts.
    pub warm_up: u64,
}

/// One end of the game.
enum Socket {
    /// A socket that is connected, or will be to whoever sends first.
    Udp {
        socket: UdpSocket,
        connected: bool,
    },
    Tcp(TcpStream),
}

/// The answering end before anybody has asked.
enum Opened {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Game {
    /// Plays `count` round trips of `bytes` each.
    pub fn play(self, lab: &Lab, bytes: usize, count: u64) -> anyhow::Result<Histogram> {
        let (bound, stop) = (Barrier::new(2), AtomicBool::new(false));
        let (asked, answered) = std::thread::scope(|scope| {
            let answering = scope.spawn(|| self.answer(lab, bytes, &bound, &stop));
            let asking = scope.spawn(|| {
                let result = self.ask(lab, bytes, count, &bound);
                stop.store(true, Ordering::Relaxed);
                result
            });
            (asking.join(), answering.join())
        });
        let panicked = |_| anyhow::anyhow!("a thread of the benchmark panicked");
        answered.map_err(panicked)??;
        asked.map_err(panicked)?
    }

    fn ask(self, lab: &Lab, bytes: usize, count: u64, bound: &Barrier) -> anyhow::Result<Histogram> {
        let entered = enter(lab, "a", 0);
        bound.wait();
        entered?;
        let mut socket = if self.tcp {
            Socket::Tcp(TcpStream::connect(SocketAddr::from(B))?)
        } else {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect(SocketAddr::from(B))?;
            Socket::Udp { socket, connected: true }
        };
        socket.prepare(self.spin)?;
        let (question, mut answer) = (vec![0x5A; bytes], vec![0; bytes]);
        let mut rtt = Histogram::new();
        for round in 0..self.warm_up + count {
            let start = Instant::now();
            socket.send(&question)?;
            ensure!(socket.receive(&mut answer, || start.elapsed() > LOST)?, "an answer did not come in {LOST:?}");
            let elapsed = start.elapsed();
            if round >= self.warm_up {
                rtt.record(elapsed.as_nanos() as u64);
            }
        }
        Ok(rtt)
    }

    fn answer(self, lab: &Lab, bytes: usize, bound: &Barrier, stop: &AtomicBool) -> anyhow::Result<()> {
        let opened = enter(lab, "b", 1).and_then(|()| self.open());
        bound.wait();
        let mut socket = match opened? {
            Opened::Tcp(listener) => Socket::Tcp(listener.accept()?.0),
            Opened::Udp(socket) => Socket::Udp { socket, connected: false },
        };
        socket.prepare(self.spin)?;
        let mut buffer = vec![0; bytes];
        while socket.receive(&mut buffer, || stop.load(Ordering::Relaxed))? {
            socket.send(&buffer)?;
        }
        Ok(())
    }

    fn open(self) -> anyhow::Result<Opened> {
        let address = SocketAddr::from(B);
        Ok(if self.tcp { Opened::Tcp(TcpListener::bind(address)?) } else { Opened::Udp(UdpSocket::bind(address)?) })
    }
}

impl Socket {
    fn prepare(&self, spin: bool) -> anyhow::Result<()> {
        // Blocking reads come back now and then to see whether the game is over.
        let timeout = Some(Duration::from_millis(100)).filter(|_| !spin);
        match self {
            Socket::Udp { socket, .. } => {
                socket.set_nonblocking(spin)?;
                socket.set_read_timeout(timeout)?;
            }
            Socket::Tcp(socket) => {
                socket.set_nodelay(true)?;
                socket.set_nonblocking(spin)?;
                socket.set_read_timeout(timeout)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Socket::Udp { socket, .. } => socket.send(bytes).map(drop)?,
            Socket::Tcp(socket) => socket.write_all(bytes)?,
        }
        Ok(())
    }

    /// Fills `buffer`; false if `over` said so first, or the other end is gone.
    fn receive(&mut self, buffer: &mut [u8], over: impl Fn() -> bool) -> anyhow::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            let got = match self {
                Socket::Udp { socket, connected: true } => socket.recv(&mut buffer[filled..]),
                Socket::Udp { socket, connected } => first(socket, connected, &mut buffer[filled..]),
                Socket::Tcp(socket) => socket.read(&mut buffer[filled..]),
            };
            match got {
                Ok(0) => return Ok(false),
                Ok(count) => filled += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if over() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// The first question: from now on both ends use the same calls.
fn first(socket: &UdpSocket, connected: &mut bool, buffer: &mut [u8]) -> std::io::Result<usize> {
    let (count, from) = socket.recv_from(buffer)?;
    socket.connect(from)?;
    *connected = true;
    Ok(count)
}

fn enter(lab: &Lab, host: &str, core: usize) -> anyhow::Result<()> {
    setns(lab.namespace(host), CloneFlags::CLONE_NEWNET).context("entering a network namespace needs root")?;
    ensure!(core_affinity::set_for_current(core_affinity::CoreId { id: core }), "core {core} is not there");
    Ok(())
}
