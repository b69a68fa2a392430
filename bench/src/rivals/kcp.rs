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
/// KCP's own interval, in round trips and within bounds. Since both ends flush every tick it only is the least slack of
/// KCP's retransmission timeout. With the usual 10 ms a receiver that waits for its core makes the sender send a whole
/// window again (half of all datagrams at 1 Gbit/s and 100 ms); much longer and what is lost six times stops all.
const SLACK_ROUND_TRIPS: f64 = 2.0;
const SLACK_LEAST_MS: f64 = 40.0;
const SLACK_MOST_MS: f64 = 400.0;
/// Acknowledgements of later packets after which one counts as lost. KCP's documents say 2 for speed.
const FAST_RESEND: i32 = 2;
/// The window of a paced sender in bandwidth-delay products: it fills no queue, but what is lost again and again must
/// not hold up what follows. At 100 ms and 5 % loss 2 carry 0.4 of the limit, 4 carry 0.67, 6 carry 0.82.
const PACED_BDPS: f64 = 6.0;
/// And at least: where round trips are short the timeout is what the window must outlast.
const PACED_LEAST_BYTES: f64 = 8e6;
/// Share of the link's rate, Ethernet's framing counted, at which new data may enter.
const PACE_SHARE: f64 = 0.97;
/// How much of a time without sending is made up for: a tick that came late, not a window that was closed. Longer
/// bursts overflow short queues (8 ms into a queue of 10 ms: 0.22 of the limit at 100 ms and 1 % loss, 2 ms: 0.89),
/// shorter ones lose goodput on a busy machine.
const PACE_BURST: Duration = Duration::from_millis(2);
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
    sent: Rc<Cell<u64>>,
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
        end.kcp.flush()?;
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
    ends::within("waiting for the first acknowledgement", meet_receiver(&mut end)).await?;
    let mut stop = Stop::listen()?;
    let connected = Instant::now();
    let connect_ms = connected.duration_since(end.start).as_secs_f64() * 1e3;
    let error = match fill(&mut end, &mut outbox, options, &mut stop).await {
        Err(error) if connected.elapsed() < options.span() => Some(format!("{error:#}")),
        _ => None,
    };
    let config = told(&options.tuning, &end);
    Ok(Sent { rival: rival.name(), role: "send", connect_ms, bytes: outbox.bytes, config, error })
}

/// An empty message and its acknowledgement stand for a handshake: without a first round trip KCP would take 200 ms for
/// its timeout, and on a longer path send everything several times.
async fn meet_receiver(end: &mut End) -> anyhow::Result<()> {
    let mut ticks = ticks();
    end.kcp.send(&[])?;
    loop {
        ticks.tick().await;
        end.take_time()?;
        end.input()?;
        if end.kcp.wait_snd() == 0 {
            return Ok(());
        }
    }
}

async fn fill(end: &mut End, outbox: &mut Outbox, options: &Send, stop: &mut Stop) -> anyhow::Result<()> {
    let mut ticks = ticks();
    let window = usize::from(window_packets(&options.tuning));
    let datagram_time = datagram_time_s(&options.tuning);
    let start = Instant::now();
    let mut paced_until = start;
    while start.elapsed() < options.most() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.asked() => return Ok(()),
        }
        end.take_time()?;
        end.input()?;
        let now = Instant::now();
        paced_until = paced_until.max(now - PACE_BURST);
        let mut room = window.saturating_sub(end.kcp.wait_snd());
        if let Some(datagram_time) = datagram_time {
            room = room.min((now.saturating_duration_since(paced_until).as_secs_f64() / datagram_time) as usize);
        }
        for _ in 0..room {
            let taken = end.kcp.send(&outbox.next_piece())?;
            outbox.on_taken(taken);
        }
        let before = end.sent.get();
        end.kcp.flush()?;
        // What was sent again has taken its time on the link, too.
        let datagrams = (end.sent.get() - before) as f64;
        paced_until += Duration::from_secs_f64(datagrams * datagram_time.unwrap_or(0.0));
    }
    Ok(())
}

impl End {
    fn new(socket: UdpSocket, tuning: &Tuning) -> anyhow::Result<End> {
        let socket = Rc::new(socket);
        let (sent, dropped) = (Rc::default(), Rc::default());
        let output = Output { socket: Rc::clone(&socket), sent: Rc::clone(&sent), dropped: Rc::clone(&dropped) };
        let mut kcp = Kcp::new(CONVERSATION, output);
        kcp.set_mtu(tuning.datagram_bytes().into())?;
        kcp.set_nodelay(true, interval_ms(tuning), FAST_RESEND, true);
        let window = window_packets(tuning);
        kcp.set_wndsize(window, window);
        Ok(End { kcp, socket, sent, dropped, start: Instant::now(), buffer: vec![0; DATAGRAM_MOST] })
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
    sent: Rc<Cell<u64>>,
    dropped: Rc<Cell<u64>>,
}

impl Write for Output {
    fn write(&mut self, datagram: &[u8]) -> std::io::Result<usize> {
        self.sent.set(self.sent.get() + 1);
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

fn interval_ms(tuning: &Tuning) -> i32 {
    (SLACK_ROUND_TRIPS * tuning.rtt_ms.unwrap_or(0.0)).clamp(SLACK_LEAST_MS, SLACK_MOST_MS) as i32
}

/// The window as told where it is all that keeps the sender back; KCP's numbers of packets end at 65,535.
fn window_packets(tuning: &Tuning) -> u16 {
    let paced =
        |rate_bps: u64| (PACED_BDPS * rate_bps as f64 / 8.0 * tuning.rtt().as_secs_f64()).max(PACED_LEAST_BYTES);
    let bytes = tuning.rate_bps.map_or(tuning.window_bytes(), |rate_bps| paced(rate_bps) as u64);
    bytes.div_ceil(u64::from(tuning.datagram_bytes()) - KCP_BYTES as u64).min(u16::MAX.into()) as u16
}

/// Seconds that a full datagram may take at the pace.
fn datagram_time_s(tuning: &Tuning) -> Option<f64> {
    Some(f64::from(tuning.mtu + ETHERNET_BYTES) * 8.0 / (tuning.rate_bps? as f64 * PACE_SHARE))
}

/// The configuration as the report prints it.
fn told(tuning: &Tuning, end: &End) -> Value {
    json!({
        "library": versions::of("kcp"),
        "congestion_control": "off (nc = 1)",
        "nodelay": true,
        "interval_ms": interval_ms(tuning),
        "flush_ms": TICK.as_millis() as u64,
        "fast_resend": FAST_RESEND,
        "window_packets": window_packets(tuning),
        "pace_packets_per_second": datagram_time_s(tuning).map(|seconds| (1.0 / seconds).round()),
        "mtu_bytes": tuning.datagram_bytes(),
        "mode": "messages of one datagram each",
        "socket_buffer_bytes": SOCKET_BUFFER_BYTES,
        "datagrams_that_the_socket_did_not_take": end.dropped.get(),
        "encrypted": false,
    })
}
