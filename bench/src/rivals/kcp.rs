//! KCP by the crate kcp, the protocol without sockets; the loop around it is ours. KCP's own congestion control is off,
//! as all who want speed run it: what keeps it from flooding the link is its window and, if the link's rate is told, a
//! pace for new data. Without either it sends a whole window at once.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::net::UdpSocket;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kcp::Kcp;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior};

use super::contract::{Inbox, Outbox, PATIENCE, Send, Sent, Serve, Served, Tuning};
use super::ends::{SOCKET_BUFFER_BYTES, Stop};
use super::{Rival, ends, versions};

/// How often each end reads its socket, acknowledges and sends. Every flush walks the whole window, so shorter costs
/// CPU time; longer makes bursts.
const TICK: Duration = Duration::from_millis(1);
/// KCP's own interval: the least it takes. It is also the least slack in its retransmission timeout.
const INTERVAL_MS: i32 = 10;
/// Acknowledgements of later packets after which one counts as lost. KCP's documents say 2 for speed.
const FAST_RESEND: i32 = 2;
/// Share of the link's rate, Ethernet's framing counted, at which new data may enter.
const PACE_SHARE: f64 = 0.97;
/// How much of a time without sending is made up for: a tick that came late, not a window that was closed. Longer
/// bursts overflow receivers' queues (1,000 packets in front of a plain socket), shorter ones lose goodput on a busy
/// machine.
const PACE_BURST: Duration = Duration::from_millis(8);
/// KCP's header, and what Ethernet adds to an IP packet: preamble, header, FCS and gap.
const KCP_BYTES: usize = 24;
const ETHERNET_BYTES: u16 = 38;
/// Both ends know the conversation: KCP has no handshake.
const CONVERSATION: u32 = 0x0A4D_0001;
/// Larger than any datagram.
const DATAGRAM_MOST: usize = 9000;

/// One end: a conversation over a connected socket.
struct End {
    kcp: Kcp<Output>,
    socket: Rc<UdpSocket>,
    dropped: Rc<Cell<u64>>,
    start: Instant,
    buffer: Vec<u8>,
}

pub async fn serve(rival: Rival, options: &Serve) -> anyhow::Result<Served> {
    let socket = ends::socket(options.bind)?;
    let mut stop = ends::say_ready()?;
    let mut inbox = Inbox::new(options);
    let mut end = End::new(socket, &options.tuning)?;
    let error = count(&mut end, &mut inbox, &mut stop).await.err().map(|error| format!("{error:#}"));
    Ok(inbox.report(rival.name(), Instant::now(), told(&options.tuning, &end), error))
}

async fn count(end: &mut End, inbox: &mut Inbox, stop: &mut Stop) -> anyhow::Result<()> {
    let mut ticks = ticks();
    let mut known = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.asked() => return Ok(()),
        }
        if !known {
            known = end.meet()?;
            ensure!(known || end.start.elapsed() < PATIENCE, "no sender within {PATIENCE:?}");
            continue;
        }
        end.take_time()?;
        end.input()?;
        while let Ok(count) = end.kcp.recv(&mut end.buffer) {
            inbox.on_payload(Instant::now(), &end.buffer[..count])?;
        }
        end.kcp.flush_ack()?;
        if inbox.end().is_some_and(|over| Instant::now() >= over) {
            return Ok(());
        }
    }
}

pub async fn send(rival: Rival, options: &Send) -> anyhow::Result<Sent> {
    let socket = ends::socket(ends::any_address(options.to))?;
    socket.connect(options.to)?;
    let mut end = End::new(socket, &options.tuning)?;
    let piece_bytes = usize::from(options.tuning.datagram_bytes()) - KCP_BYTES;
    let mut outbox = Outbox::new(piece_bytes, options.tuning.verify);
    let mut stop = Stop::listen()?;
    let error = match fill(&mut end, &mut outbox, options, &mut stop).await {
        Err(error) if end.start.elapsed() < options.span() => Some(format!("{error:#}")),
        _ => None,
    };
    let config = told(&options.tuning, &end);
    Ok(Sent { rival: rival.name(), role: "send", connect_ms: 0.0, bytes: outbox.bytes, config, error })
}

async fn fill(end: &mut End, outbox: &mut Outbox, options: &Send, stop: &mut Stop) -> anyhow::Result<()> {
    let mut ticks = ticks();
    let window = usize::from(window_packets(&options.tuning));
    let pace_bps = pace_bps(&options.tuning);
    let mut paced_until = Instant::now();
    while end.start.elapsed() < options.most() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.asked() => return Ok(()),
        }
        end.take_time()?;
        end.input()?;
        let now = Instant::now();
        paced_until = paced_until.max(now - PACE_BURST);
        while end.kcp.wait_snd() < window && paced_until < now {
            let taken = end.kcp.send(&outbox.next_piece())?;
            outbox.on_taken(taken);
            if let Some(bps) = pace_bps {
                paced_until += Duration::from_secs_f64(taken as f64 * 8.0 / bps);
            }
        }
        end.kcp.flush()?;
    }
    Ok(())
}

impl End {
    fn new(socket: UdpSocket, tuning: &Tuning) -> anyhow::Result<End> {
        let socket = Rc::new(socket);
        let dropped = Rc::default();
        let output = Output { socket: Rc::clone(&socket), dropped: Rc::clone(&dropped) };
        let mut kcp = Kcp::new_stream(CONVERSATION, output);
        kcp.set_mtu(tuning.datagram_bytes().into())?;
        kcp.set_nodelay(true, INTERVAL_MS, FAST_RESEND, true);
        let window = window_packets(tuning);
        kcp.set_wndsize(window, window.saturating_mul(2));
        Ok(End { kcp, socket, dropped, start: Instant::now(), buffer: vec![0; DATAGRAM_MOST] })
    }

    /// Tells KCP what time it is.
    fn take_time(&mut self) -> anyhow::Result<()> {
        self.kcp.update(self.start.elapsed().as_millis() as u32)?;
        Ok(())
    }

    /// Takes the first sender that shows for the only one; its packet stays, and comes again.
    fn meet(&mut self) -> anyhow::Result<bool> {
        match self.socket.peek_from(&mut self.buffer) {
            Ok((_, from)) => self.socket.connect(from).context("connect").map(|()| true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that has arrived.
    fn input(&mut self) -> anyhow::Result<()> {
        loop {
            match self.socket.recv(&mut self.buffer) {
                // What is not KCP's, or of another conversation, is nobody's business.
                Ok(count) => _ = self.kcp.input(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the other end is gone"),
            }
        }
    }
}

/// Where KCP writes its datagrams.
struct Output {
    socket: Rc<UdpSocket>,
    dropped: Rc<Cell<u64>>,
}

impl Write for Output {
    fn write(&mut self, datagram: &[u8]) -> std::io::Result<usize> {
        match self.socket.send(datagram) {
            // The kernel's buffer is full: KCP takes it for lost and sends it again.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.dropped.set(self.dropped.get() + 1);
                Ok(datagram.len())
            }
            result => result,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn window_packets(tuning: &Tuning) -> u16 {
    let payload = u64::from(tuning.datagram_bytes()) - KCP_BYTES as u64;
    tuning.window_bytes().div_ceil(payload).min(u16::MAX.into()) as u16
}

/// Payload bits per second.
fn pace_bps(tuning: &Tuning) -> Option<f64> {
    let payload = f64::from(tuning.datagram_bytes()) - KCP_BYTES as f64;
    Some(tuning.rate_bps? as f64 * PACE_SHARE * payload / f64::from(tuning.mtu + ETHERNET_BYTES))
}

/// The configuration as the report prints it.
fn told(tuning: &Tuning, end: &End) -> Value {
    json!({
        "library": versions::of("kcp"),
        "congestion_control": "off (nc = 1)",
        "nodelay": true,
        "interval_ms": INTERVAL_MS,
        "flush_ms": TICK.as_millis() as u64,
        "fast_resend": FAST_RESEND,
        "window_packets": window_packets(tuning),
        "pace_payload_bps": pace_bps(tuning).map(f64::round),
        "mtu_bytes": tuning.datagram_bytes(),
        "stream_mode": true,
        "socket_buffer_bytes": SOCKET_BUFFER_BYTES,
        "datagrams_that_the_socket_did_not_take": end.dropped.get(),
        "encrypted": false,
    })
}
