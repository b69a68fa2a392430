//! The two loops that all libraries with an asynchronous interface share, and their surroundings.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::contract::{Inbox, Outbox, PATIENCE, Send};

/// Kernel buffer of a UDP socket: 6,000 full packets, 65 ms at 1 Gbit/s, so that a receiver that does not get its core
/// for a scheduler's turn or a few loses nothing. Smaller loses packets that the link did not, larger adds delay.
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// How long a close may take to reach the other end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The receiving half of a library's stream.
pub trait Receive {
    /// Waits for bytes and counts them; `false` at the end of the stream.
    async fn receive(&mut self, inbox: &mut Inbox) -> anyhow::Result<bool>;
}

/// The sending half.
pub trait Transmit {
    /// Waits until the library takes something, and gives it that.
    async fn transmit(&mut self, outbox: &mut Outbox) -> anyhow::Result<()>;
}

/// Counts until the time is over. An error if the stream ends, fails, or nothing ever arrives.
pub async fn drain(stream: &mut impl Receive, inbox: &mut Inbox, stop: &mut Stop) -> anyhow::Result<()> {
    let mut timer = std::pin::pin!(tokio::time::sleep(PATIENCE));
    let mut began = false;
    loop {
        tokio::select! {
            more = stream.receive(inbox) => anyhow::ensure!(more?, "the sender ended its stream too early"),
            () = &mut timer => anyhow::ensure!(began, "nothing arrived within {PATIENCE:?}"),
            () = stop.asked() => return Ok(()),
        }
        if let Some(end) = inbox.end() {
            if Instant::now() >= end {
                return Ok(());
            }
            if !began {
                timer.as_mut().reset(end.into());
                began = true;
            }
        }
    }
}

/// Writes until the receiver is gone, or its time surely is over. An error if it goes before that can be.
pub async fn fill(stream: &mut impl Transmit, outbox: &mut Outbox, options: &Send) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let start = Instant::now();
    let mut timer = std::pin::pin!(tokio::time::sleep(options.most()));
    loop {
        tokio::select! {
            taken = stream.transmit(outbox) => match taken {
                Err(_) if start.elapsed() >= options.span() => return Ok(()),
                taken => taken?,
            },
            () = &mut timer => return Ok(()),
            () = stop.asked() => return Ok(()),
        }
    }
}

/// SIGTERM and SIGINT.
pub struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    pub fn listen() -> anyhow::Result<Stop> {
        Ok(Stop { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// One thread does all: two processes of two workers each on two cores only get into each other's way.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("tokio does not start")
}

/// A UDP socket with large buffers; as large as the machine allows where it is not root's.
pub fn socket(bind: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(bind).with_context(|| format!("{bind} cannot be bound to"))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER_BYTES).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER_BYTES)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER_BYTES).is_err() {
        setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER_BYTES)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The address that a sender binds to.
pub fn any_address(to: SocketAddr) -> SocketAddr {
    let any = if to.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, 0)
}

/// Says that the server can be connected to; from here on it ends with a report when it is asked to stop.
pub fn say_ready() -> anyhow::Result<Stop> {
    let stop = Stop::listen()?;
    eprintln!("ready");
    Ok(stop)
}

/// Waits for something that should happen soon, and not for ever.
pub async fn within<T>(what: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let waited = tokio::time::timeout(PATIENCE, work).await;
    waited.with_context(|| format!("{what}: not within {PATIENCE:?}"))?.with_context(|| what.to_owned())
}

/// Gives a close the time to reach the other end.
pub async fn farewell(closed: impl Future<Output = ()>) {
    let _ = tokio::time::timeout(FAREWELL, closed).await;
}
