//! QUIC by the crate quinn: one unidirectional stream, TLS 1.3 with AES-128-GCM, CUBIC or BBR.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::crypto::{CryptoProvider, ring};
use quinn::rustls::pki_types::pem::PemObject;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use quinn::rustls::version::TLS13;
use quinn::rustls::{self, RootCertStore};
use quinn::{ClientConfig, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime};
use quinn::{TransportConfig, VarInt};
use serde_json::{Value, json};

use super::contract::{Inbox, Outbox, Send, Sent, Serve, Served, Tuning};
use super::ends::{Receive, SOCKET_BUFFER_BYTES, Transmit};
use super::{Rival, certificate, ends};

/// How many windows the receiver lets the sender write ahead. A lost packet holds the stream back for a round trip or
/// two in which the sender goes on; with one window it would stand still after each loss. More only costs memory.
pub const RECEIVE_WINDOWS: u64 = 4;
/// One write: a few datagram trains. Smaller costs calls, larger makes the loop look at its timer less often.
pub const WRITE_BYTES: usize = 64 << 10;
/// Chunks of the stream (a packet each, mostly) that one read may return.
const READ_CHUNKS: usize = 64;

/// Which congestion control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    Cubic,
    Bbr,
}

pub async fn serve(rival: Rival, control: Control, options: &Serve) -> anyhow::Result<Served> {
    let transport = transport(control, &options.tuning)?;
    let key = PrivateKeyDer::from_pem_slice(certificate::KEY.as_bytes())?;
    let tls = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let tls = tls.with_no_client_auth().with_single_cert(chain()?, key)?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    let socket = ends::socket(options.bind)?;
    let endpoint = Endpoint::new(endpoint_config(&options.tuning)?, Some(config), socket, Arc::new(TokioRuntime))?;
    let mut stop = ends::say_ready()?;
    let mut inbox = Inbox::new(options);
    let ended = async {
        let opened = ends::within("waiting for a sender", async {
            let connection = endpoint.accept().await.context("the endpoint is closed")?.await?;
            let stream = connection.accept_uni().await?;
            Ok((connection, stream))
        });
        let (connection, stream) = tokio::select! {
            opened = opened => opened?,
            () = stop.asked() => return Ok(()),
        };
        let ended = ends::drain(&mut Incoming(stream), &mut inbox, &mut stop).await;
        connection.close(VarInt::from_u32(0), b"enough");
        ended
    };
    let error = ended.await.err().map(|error: anyhow::Error| format!("{error:#}"));
    let report = inbox.report(rival.name(), Instant::now(), told(control, &options.tuning), error);
    ends::farewell(endpoint.wait_idle()).await;
    Ok(report)
}

pub async fn send(rival: Rival, control: Control, options: &Send) -> anyhow::Result<Sent> {
    let transport = transport(control, &options.tuning)?;
    let mut roots = RootCertStore::empty();
    for certificate in chain()? {
        roots.add(certificate)?;
    }
    let tls = rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    let socket = ends::socket(ends::any_address(options.to))?;
    let endpoint = Endpoint::new(endpoint_config(&options.tuning)?, None, socket, Arc::new(TokioRuntime))?;

    let start = Instant::now();
    let connection =
        ends::within("connecting", async { Ok(endpoint.connect_with(config, options.to, certificate::NAME)?.await?) });
    let connection = connection.await?;
    let stream = connection.open_uni().await?;
    let connect_ms = start.elapsed().as_secs_f64() * 1e3;

    let mut outbox = Outbox::new(WRITE_BYTES, options.tuning.verify);
    let error = ends::fill(&mut Outgoing(stream), &mut outbox, options).await.err().map(|error| format!("{error:#}"));
    let config = told(control, &options.tuning);
    connection.close(VarInt::from_u32(0), b"done");
    ends::farewell(endpoint.wait_idle()).await;
    Ok(Sent { rival: rival.name(), role: "send", connect_ms, bytes: outbox.bytes, config, error })
}

struct Incoming(RecvStream);

impl Receive for Incoming {
    async fn receive(&mut self, inbox: &mut Inbox) -> anyhow::Result<bool> {
        let mut chunks = [const { bytes::Bytes::new() }; READ_CHUNKS];
        let Some(count) = self.0.read_chunks(&mut chunks).await? else { return Ok(false) };
        let now = Instant::now();
        chunks[..count].iter().try_for_each(|chunk| inbox.on_payload(now, chunk))?;
        Ok(true)
    }
}

struct Outgoing(SendStream);

impl Transmit for Outgoing {
    async fn transmit(&mut self, outbox: &mut Outbox) -> anyhow::Result<()> {
        let piece = outbox.next_piece();
        let count = piece.len();
        self.0.write_chunk(piece).await?;
        outbox.on_taken(count);
        Ok(())
    }
}

fn transport(control: Control, tuning: &Tuning) -> anyhow::Result<TransportConfig> {
    let window = tuning.window_bytes();
    let receive = VarInt::from_u64(RECEIVE_WINDOWS * window)?;
    let mut config = TransportConfig::default();
    config
        .send_window(window)
        .receive_window(receive)
        .stream_receive_window(receive)
        .initial_mtu(tuning.datagram_bytes())
        .min_mtu(tuning.datagram_bytes())
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false);
    match control {
        Control::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
        Control::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
    };
    Ok(config)
}

fn endpoint_config(tuning: &Tuning) -> anyhow::Result<EndpointConfig> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(tuning.datagram_bytes())?;
    Ok(config)
}

/// One suite, the cheapest on a CPU with AES instructions, so that both ends take it.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

fn chain() -> anyhow::Result<Vec<CertificateDer<'static>>> {
    Ok(vec![CertificateDer::from_pem_slice(certificate::CERTIFICATE.as_bytes())?])
}

/// The configuration as the report prints it.
fn told(control: Control, tuning: &Tuning) -> Value {
    json!({
        "library": super::versions::of("quinn"),
        "proto": super::versions::of("quinn-proto"),
        "tls": format!("{} with ring, TLS 1.3, AES-128-GCM", super::versions::of("rustls")),
        "congestion_control": match control { Control::Cubic => "cubic", Control::Bbr => "bbr (version 1)" },
        "send_window_bytes": tuning.window_bytes(),
        "receive_window_bytes": RECEIVE_WINDOWS * tuning.window_bytes(),
        "udp_payload_bytes": tuning.datagram_bytes(),
        "streams": 1,
        "segmentation_offload": false,
        "socket_buffer_bytes": SOCKET_BUFFER_BYTES,
        "runtime": "tokio, current thread",
    })
}
