//! What the application asks of an engine, and how the answers come back.

use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender};

use super::stream::StreamPort;
use crate::base::{ConnId, MacAddr, Nanos};
use crate::crypto::{Cipher, Keyring, NamedKey};
use crate::obs::Counters;
use crate::obs::latency::Latencies;
pub use crate::proto::Found;
use crate::proto::error::{CloseReason, ConnectError};
pub use crate::proto::ping::{PingReport, PingRun};
use crate::proto::recovery::RecoveryStats;

/// A connection as the application names it to the engine: our own id of it.
pub type ConnKey = ConnId;

/// What to connect with.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The peer's address.
    pub peer: MacAddr,
    /// Give up after this long without an answer.
    pub timeout_ns: Nanos,
}

/// A request to the engine. Answers come through the channel that it carries; a dropped channel is no error.
pub enum Command {
    /// Open a connection.
    Connect {
        /// To whom.
        options: ConnectOptions,
        /// Where the answer goes.
        reply: Sender<Result<ConnPort, ConnectError>>,
    },
    /// Accept connections from now on; each arrives through `incoming`.
    Listen {
        /// Where they go. When its receiver is gone, opens are refused again.
        incoming: Sender<ConnPort>,
    },
    /// Answer discovery queries under this name from now on.
    Announce {
        /// Our name, at most 32 bytes.
        name: String,
        /// What runs here, for people.
        service: String,
    },
    /// Ask who is on the link; answers arrive until the receiver is dropped.
    Query {
        /// A name, or empty for everybody.
        name: String,
        /// Where the answers go.
        reply: Sender<Found>,
    },
    /// Ask no longer who is on the link.
    StopQuery,
    /// Open a stream. The answer may wait for the peer to allow another.
    OpenStream {
        /// On which connection.
        conn: ConnKey,
        /// Where the answer goes; closed without one if the connection ends or is finished.
        reply: Sender<StreamPort>,
    },
    /// Our direction is done once its streams are; the connection ends when the peer says so too.
    Finish {
        /// Which connection.
        conn: ConnKey,
    },
    /// End the connection now.
    Close {
        /// Which connection.
        conn: ConnKey,
        /// The application's code.
        code: u32,
        /// Why, in words.
        reason: String,
    },
    /// Take these keys from now on, and no others.
    SetKeys {
        /// The keys; connections under others end.
        keys: Keyring,
    },
    /// Measure round trips.
    Ping {
        /// On which connection.
        conn: ConnKey,
        /// How.
        run: PingRun,
        /// Where the result goes.
        reply: Sender<PingReport>,
    },
    /// Tell how things are.
    Snapshot {
        /// One connection, or only the engine as a whole.
        conn: Option<ConnKey>,
        /// Where the answer goes.
        reply: Sender<Snapshot>,
    },
}

/// A connection as the application gets it.
pub struct ConnPort {
    /// For commands.
    pub key: ConnKey,
    /// The other side's address.
    pub peer: MacAddr,
    /// The key that it was opened with, and what its packets are sealed with; `None` in plain mode.
    pub seal: Option<(Arc<NamedKey>, Cipher)>,
    /// Streams that the peer opens; disconnected when the connection has ended.
    pub streams: Receiver<StreamPort>,
    /// How it ended.
    pub shared: Arc<ConnShared>,
}

/// What both ends of a connection see.
#[derive(Debug, Default)]
pub struct ConnShared {
    /// Set once, when the connection has ended.
    pub closed: OnceLock<CloseReason>,
    /// Woken then.
    pub closed_waker: atomic_waker::AtomicWaker,
}

/// How an engine and one of its connections are.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The engine's counters.
    pub counters: Counters,
    /// The link's counters.
    pub link: Vec<(&'static str, u64)>,
    /// The engine's latency histograms.
    pub latencies: Latencies,
    /// The connection's recovery state, if it was asked for and lives.
    pub recovery: Option<RecoveryStats>,
    /// The controller's name, likewise.
    pub controller: Option<&'static str>,
    /// What the controller has to tell its user since the last snapshot.
    pub notices: Vec<String>,
    /// Frames in the pool and how many of them are free.
    pub frames: (usize, usize),
    /// Open connections.
    pub connections: usize,
}
