//! QUIC by the crate s2n-quic: one unidirectional stream, TLS 1.3 by s2n-tls, CUBIC or BBR (version 2).

use std::time::{Duration, Instant};

use anyhow::Context;
use s2n_quic::client::Connect;
use s2n_quic::provider::congestion_controller::{Bbr, Cubic, Endpoint};
use s2n_quic::provider::io::tokio::Provider as Io;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::default as tls;
use s2n_quic::stream::{ReceiveStream, SendStream};
use s2n_quic::{Client, Connection, Server};
use serde_json::{Value, json};

use super::contract::{Inbox, Outbox, PATIENCE, Send, Sent, Serve, Served, Tuning};
use super::ends::{Receive, SOCKET_BUFFER_BYTES, Stop, Transmit};
use super::quinn::{Control, RECEIVE_WINDOWS, WRITE_BYTES};
use super::{Rival, certificate, ends, versions};

/// Ranges of received packets that one acknowledgement tells: the most that the library takes. With its own 10, losses
/// beyond the tenth hole of a round trip look like more losses.
const ACK_RANGES: u8 = 255;
/// Chunks of the stream that one read may return.
const READ_CHUNKS: usize = 64;
/// How long a close may take to reach the other end.
const FAREWELL: Duration = Duration::from_millis(200);

pub async fn serve(rival: Rival, control: Control, options: &Serve) -> anyhow::Result<Served> {
    match control {
        Control::Cubic => serve_with(rival, control, Cubic::default(), options).await,
        Control::Bbr => serve_with(rival, control, Bbr::default(), options).await,
    }
}

pub async fn send(rival: Rival, control: Control, options: &Send) -> anyhow::Result<Sent> {
    match control {
        Control::Cubic => send_with(rival, control, Cubic::default(), options).await,
        Control::Bbr => send_with(rival, control, Bbr::default(), options).await,
    }
}

async fn serve_with(
    rival: Rival,
    control: Control,
    controller: impl Endpoint,
    options: &Serve,
) -> anyhow::Result<Served> {
    let tls = tls::Server::builder().with_certificate(certificate::CERTIFICATE, certificate::KEY).map_err(told_by)?;
    let server = Server::builder()
        .with_tls(tls.build().map_err(told_by)?)?
        .with_io(io(ends::socket(options.bind)?, &options.tuning)?)?
        .with_limits(limits(&options.tuning)?)?
        .with_congestion_controller(controller)?;
    let mut server = server.start()?;
    let mut stop = ends::say_ready()?;
    let mut inbox = Inbox::new(options);
    let error = count(&mut server, &mut inbox, &mut stop).await.err().map(|error| format!("{error:#}"));
    let report = inbox.report(rival.name(), Instant::now(), told(control, &options.tuning), error);
    tokio::time::sleep(FAREWELL).await;
    Ok(report)
}

async fn count(server: &mut Server, inbox: &mut Inbox, stop: &mut Stop) -> anyhow::Result<()> {
    let opened = ends::within("waiting for a sender", async {
        let mut connection = server.accept().await.context("the endpoint is closed")?;
        let stream = connection.accept_receive_stream().await?.context("the connection is closed")?;
        Ok((connection, stream))
    });
    let (connection, stream) = tokio::select! {
        opened = opened => opened?,
        () = stop.asked() => return Ok(()),
    };
    let ended = ends::drain(&mut Incoming(stream), inbox, stop).await;
    connection.close(0u32.into());
    ended
}

async fn send_with(rival: Rival, control: Control, controller: impl Endpoint, options: &Send) -> anyhow::Result<Sent> {
    let tls = tls::Client::builder().with_certificate(certificate::CERTIFICATE).map_err(told_by)?;
    let client = Client::builder()
        .with_tls(tls.build().map_err(told_by)?)?
        .with_io(io(ends::socket(ends::any_address(options.to))?, &options.tuning)?)?
        .with_limits(limits(&options.tuning)?)?
        .with_congestion_controller(controller)?;
    let client = client.start()?;
    let start = Instant::now();
    let opened = ends::within("connecting", async {
        let mut connection = client.connect(Connect::new(options.to).with_server_name(certificate::NAME)).await?;
        let stream = connection.open_send_stream().await?;
        Ok((connection, stream))
    });
    let (connection, stream): (Connection, SendStream) = opened.await?;
    let connect_ms = start.elapsed().as_secs_f64() * 1e3;

    let mut outbox = Outbox::new(WRITE_BYTES, options.tuning.verify);
    let error = ends::fill(&mut Outgoing(stream), &mut outbox, options).await.err().map(|error| format!("{error:#}"));
    connection.close(0u32.into());
    tokio::time::sleep(FAREWELL).await;
    let config = told(control, &options.tuning);
    Ok(Sent { rival: rival.name(), role: "send", connect_ms, bytes: outbox.bytes, config, error })
}

struct Incoming(ReceiveStream);

impl Receive for Incoming {
    async fn receive(&mut self, inbox: &mut Inbox) -> anyhow::Result<bool> {
        let mut chunks = [const { bytes::Bytes::new() }; READ_CHUNKS];
        let (count, open) = self.0.receive_vectored(&mut chunks).await?;
        let now = Instant::now();
        chunks[..count].iter().try_for_each(|chunk| inbox.on_payload(now, chunk))?;
        Ok(open)
    }
}

struct Outgoing(SendStream);

impl Transmit for Outgoing {
    async fn transmit(&mut self, outbox: &mut Outbox) -> anyhow::Result<()> {
        let piece = outbox.next_piece();
        let count = piece.len();
        self.0.send(piece).await?;
        outbox.on_taken(count);
        Ok(())
    }
}

fn io(socket: std::net::UdpSocket, tuning: &Tuning) -> anyhow::Result<Io> {
    let io = Io::builder().with_rx_socket(socket)?.with_gso_disabled()?.with_gro_disabled()?;
    Ok(io.with_max_mtu(tuning.mtu)?.with_initial_mtu(tuning.mtu)?.with_base_mtu(tuning.mtu)?.build()?)
}

fn limits(tuning: &Tuning) -> anyhow::Result<Limits> {
    let window = tuning.window_bytes();
    let receive = RECEIVE_WINDOWS * window;
    Ok(Limits::new()
        .with_data_window(receive)?
        .with_unidirectional_data_window(receive)?
        .with_max_send_buffer_size(window.try_into()?)?
        .with_max_ack_ranges(ACK_RANGES)?
        .with_max_handshake_duration(PATIENCE)?)
}

/// The TLS provider's errors are no `std::error::Error`.
fn told_by(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("TLS: {error}")
}

/// The configuration as the report prints it.
fn told(control: Control, tuning: &Tuning) -> Value {
    json!({
        "library": versions::of("s2n-quic"),
        "tls": format!("{} with {}, TLS 1.3, default policy", versions::of("s2n-tls"), versions::of("aws-lc-rs")),
        "congestion_control": match control { Control::Cubic => "cubic", Control::Bbr => "bbr (version 2)" },
        "send_buffer_bytes": tuning.window_bytes(),
        "receive_window_bytes": RECEIVE_WINDOWS * tuning.window_bytes(),
        "ack_ranges": ACK_RANGES,
        "mtu_bytes": tuning.mtu,
        "streams": 1,
        "segmentation_offload": false,
        "socket_buffer_bytes": SOCKET_BUFFER_BYTES,
        "runtime": "tokio, current thread",
    })
}
