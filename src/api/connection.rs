//! A connection: streams both ways, until both sides have finished or one closes it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::config::nanos;
use super::endpoint::Remote;
use super::rx::RecvStream;
use super::tx::SendStream;
use super::wait;
use crate::base::MacAddr;
use crate::crypto::{Cipher, NamedKey};
use crate::engine::port::{Command, ConnKey, ConnPort, ConnShared, PingReport, PingRun, Snapshot, StreamPort};
use crate::proto::error::CloseReason;
use crate::worker::clock;

use super::error::ConnectionError;

/// Several threads may wait for the end of one connection, but only one of them is woken by it: the others look this
/// often. Nobody waits for this in a hurry.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A connection. Clones are the same connection; when the last one is dropped, the connection finishes: what its
/// streams still have to send is sent.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    key: ConnKey,
    peer: MacAddr,
    seal: Option<(Arc<NamedKey>, Cipher)>,
    streams: Receiver<StreamPort>,
    shared: Arc<ConnShared>,
    remote: Remote,
}

impl Connection {
    pub(super) fn new(port: ConnPort, remote: Remote) -> Connection {
        let ConnPort { key, peer, seal, streams, shared } = port;
        Connection { inner: Arc::new(Inner { key, peer, seal, streams, shared, remote }) }
    }

    /// The other side's address.
    pub fn peer(&self) -> MacAddr {
        self.inner.peer
    }

    /// The name of the key that the connection was opened with: whose it is, if each peer has a key of its own. `None`
    /// on an insecure endpoint.
    pub fn key_name(&self) -> Option<&str> {
        self.inner.seal.as_ref().map(|(key, _)| key.name.as_str())
    }

    /// What its packets are sealed with; `None` on an insecure endpoint.
    pub fn cipher(&self) -> Option<Cipher> {
        self.inner.seal.as_ref().map(|(_, cipher)| *cipher)
    }

    /// Opens a stream, both ways. Waits while the peer allows no more of them. The peer learns of the stream with the
    /// first bytes (or the end) that are sent on it.
    ///
    /// # Errors
    /// When the connection has ended or is finished.
    pub fn open_stream(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let conn = self.inner.key;
        let port = self.request(|reply| Command::OpenStream { conn, reply });
        // A connection that goes on refuses because we have finished it.
        let port = port.map_err(|_| self.closed().map_or(ConnectionError::Finished, ConnectionError::Closed))?;
        Ok(self.stream(port))
    }

    /// The next stream that the peer has opened.
    ///
    /// # Errors
    /// When the connection has ended, or the peer has finished and will open no more.
    pub fn accept_stream(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let port = self.inner.streams.recv().map_err(|_| self.no_more_streams())?;
        Ok(self.stream(port))
    }

    /// The same, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// When none was opened in time, and as for `accept_stream`.
    pub fn accept_stream_timeout(&self, timeout: Duration) -> Result<(SendStream, RecvStream), ConnectionError> {
        match self.inner.streams.recv_timeout(timeout) {
            Ok(port) => Ok(self.stream(port)),
            Err(RecvTimeoutError::Timeout) => Err(ConnectionError::Timeout),
            Err(RecvTimeoutError::Disconnected) => Err(self.no_more_streams()),
        }
    }

    /// We open no more streams; the connection ends when our streams are done and the peer has finished as well.
    pub fn finish(&self) {
        self.inner.remote.send(Command::Finish { conn: self.inner.key });
    }

    /// Ends the connection now. What was not acknowledged is lost; the peer is told
    /// [`APPLICATION_CODES`](super::APPLICATION_CODES)` + code`, and `reason`.
    pub fn close(&self, code: u32, reason: &str) {
        self.inner.remote.send(Command::Close { conn: self.inner.key, code, reason: reason.to_owned() });
    }

    /// How the connection ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        self.inner.shared.closed.get().cloned()
    }

    /// Waits until the connection has ended, but no longer than `timeout`.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub fn wait_closed(&self, timeout: Duration) -> Result<CloseReason, ConnectionError> {
        let deadline_ns = clock::now().saturating_add(nanos(timeout));
        let waker = &self.inner.shared.closed_waker;
        wait::wait_until(waker, deadline_ns, LOOK_EVERY, || self.closed()).ok_or(ConnectionError::Timeout)
    }

    /// Measures round trips to the peer's engine and back.
    ///
    /// # Errors
    /// When the connection ends before the measurement.
    pub fn ping(&self, run: PingRun) -> Result<PingReport, ConnectionError> {
        let conn = self.inner.key;
        self.request(|reply| Command::Ping { conn, run, reply })
    }

    /// How the connection and its engine are.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub fn snapshot(&self) -> Result<Snapshot, ConnectionError> {
        let conn = Some(self.inner.key);
        self.request(|reply| Command::Snapshot { conn, reply })
    }

    /// Sends a command and waits for its answer; a dropped reply means that the connection has ended.
    fn request<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, ConnectionError> {
        let (reply, answer) = bounded(1);
        self.inner.remote.send(command(reply));
        answer.recv().map_err(|_| ConnectionError::Closed(self.end()))
    }

    fn no_more_streams(&self) -> ConnectionError {
        match self.closed() {
            Some(CloseReason::Finished) | None => ConnectionError::PeerFinished,
            Some(reason) => ConnectionError::Closed(reason),
        }
    }

    /// How it ended. An engine that is gone without a word was shut down.
    fn end(&self) -> CloseReason {
        self.closed().unwrap_or(CloseReason::Shutdown)
    }

    fn stream(&self, port: StreamPort) -> (SendStream, RecvStream) {
        let conn = &self.inner.shared;
        (SendStream::new(port.id, port.send, conn.clone()), RecvStream::new(port.id, port.recv, conn.clone()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.shared.closed.get().is_none() {
            self.remote.send(Command::Finish { conn: self.key });
        }
    }
}
