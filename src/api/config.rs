//! How an endpoint is set up: one value, each setting with its default.

use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::base::{Nanos, Rate};
use crate::crypto::{Cipher, Entropy, Keyring};
use crate::engine::EngineConfig;
use crate::engine::port::ConnPort;
use crate::proto::config::{Config, Security};
use crate::proto::recovery::Algorithm;
use crate::wire::eth::Vlan;
use crate::worker::{Idle, WorkerConfig};

/// Settings of an endpoint. Begin with [`EndpointConfig::sealed`], or, where anybody may read and change everything,
/// with [`EndpointConfig::insecure`]; then change what should differ.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    pub(super) worker: WorkerConfig,
    pub(super) proto: Config,
    pub(super) vlan: Option<Vlan>,
    pub(super) listening: bool,
    pub(super) capture: Option<PathBuf>,
    pub(super) once_open: Option<Step>,
}

/// Something to do, which may fail for the reason that it tells.
#[derive(Clone)]
pub(super) struct Step(pub Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl Debug for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}

impl EndpointConfig {
    /// Connections with who holds one of these keys; we open them with the first one. The defaults otherwise: adaptive
    /// idling on any core, BBR, EtherType 0x88B5, no VLAN.
    pub fn sealed(keys: Keyring) -> EndpointConfig {
        EndpointConfig::with(Security::Keys(keys))
    }

    /// The same without keys: whoever is on the link can read and change everything, and end every connection.
    pub fn insecure() -> EndpointConfig {
        EndpointConfig::with(Security::Insecure)
    }

    fn with(security: Security) -> EndpointConfig {
        EndpointConfig {
            worker: WorkerConfig::default(),
            proto: Config { security, entropy: Entropy(randomness), ..Config::default() },
            vlan: None,
            listening: false,
            capture: None,
            once_open: None,
        }
    }

    /// What the worker does when there is nothing to do.
    #[must_use]
    pub fn idle(mut self, idle: Idle) -> EndpointConfig {
        self.worker.idle = idle;
        self
    }

    /// Records every frame that comes or goes into this file, as pcapng. Costs a copy of each frame and the writing.
    #[must_use]
    pub fn capture(mut self, path: impl Into<PathBuf>) -> EndpointConfig {
        self.capture = Some(path.into());
        self
    }

    /// What to do on the opening thread when link and capture are open and no worker runs yet. Threads inherit
    /// capabilities: here a program gives up those that only opening needed. An error ends the opening.
    #[must_use]
    pub fn once_open(mut self, step: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> EndpointConfig {
        self.once_open = Some(Step(Arc::new(step)));
        self
    }

    /// Pins the worker to a core.
    #[must_use]
    pub fn cpu(mut self, cpu: usize) -> EndpointConfig {
        self.worker.cpu = Some(cpu);
        self
    }

    /// Who decides how fast to send.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> EndpointConfig {
        self.proto.algorithm = algorithm;
        self
    }

    /// The link is ours at this rate: [`Algorithm::Fixed`].
    #[must_use]
    pub fn rate(self, rate: Rate) -> EndpointConfig {
        self.algorithm(Algorithm::Fixed(rate))
    }

    /// The link is ours at the rate that is measured with the first data: [`Algorithm::Auto`].
    #[must_use]
    pub fn measured_rate(self) -> EndpointConfig {
        self.algorithm(Algorithm::Auto)
    }

    /// The EtherType of our frames.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> EndpointConfig {
        self.proto.ethertype = ethertype;
        self
    }

    /// Takes connections as soon as the link is open: who asks between that and [`Endpoint::listen`] is refused
    /// otherwise.
    ///
    /// [`Endpoint::listen`]: super::Endpoint::listen
    #[must_use]
    pub fn listening(mut self) -> EndpointConfig {
        self.listening = true;
        self
    }

    /// Sends with an 802.1Q tag and expects one: VLAN `id` (0 to 4094) and priority `pcp` (0 to 7).
    #[must_use]
    pub fn vlan(mut self, id: u16, pcp: u8) -> EndpointConfig {
        self.vlan = Some(Vlan { id, pcp });
        self
    }

    /// How long a silent peer is waited for; zero for ever. An idle connection is probed at a third of it.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> EndpointConfig {
        self.proto.idle_timeout_ns = nanos(timeout);
        if !timeout.is_zero() {
            self.proto.keep_alive_ns = nanos(timeout / 3);
        }
        self
    }

    /// How long `connect` tries.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> EndpointConfig {
        self.proto.connect_timeout_ns = nanos(timeout);
        self
    }

    /// Most connections at a time.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> EndpointConfig {
        self.proto.max_connections = most;
        self
    }

    /// Most streams that a peer may have open on one connection.
    #[must_use]
    pub fn max_streams(mut self, most: u32) -> EndpointConfig {
        self.proto.max_streams = most;
        self
    }

    /// Most streams that all peers together may have open; each connection may have one, whatever it says.
    #[must_use]
    pub fn max_streams_total(mut self, most: usize) -> EndpointConfig {
        self.proto.max_streams_total = most;
        self
    }

    /// Asks every peer for a cookie before keeping any state for it: one more round trip, nothing to exhaust.
    #[must_use]
    pub fn require_cookie(mut self, require: bool) -> EndpointConfig {
        self.proto.require_cookie = require;
        self
    }

    /// Prefers this cipher to the one that this CPU is faster at. Both sides must prefer AES for it to be used.
    #[must_use]
    pub fn cipher(mut self, cipher: Cipher) -> EndpointConfig {
        self.proto.cipher = cipher;
        self
    }

    /// Whether connections are sealed.
    pub fn is_sealed(&self) -> bool {
        matches!(self.proto.security, Security::Keys(_))
    }

    /// What the engine gets to know, with fresh randomness.
    pub(super) fn engine(&self, incoming: Option<Sender<ConnPort>>) -> EngineConfig {
        let mut seed = [0; 32];
        randomness(&mut seed);
        EngineConfig { proto: self.proto.clone(), vlan: self.vlan, incoming, seed }
    }
}

/// The system's.
fn randomness(fresh: &mut [u8; 32]) {
    // Without it there would be keys and cookies that anyone can guess.
    getrandom::fill(fresh).expect("the system has no randomness: getrandom(2) failed");
}

/// Whether our frames may bear this EtherType: not one whose frames the kernel would miss.
///
/// # Errors
/// What the value means, and what to say instead.
pub fn check_ethertype(ethertype: u16) -> Result<(), String> {
    let taken = match ethertype {
        0..0x0600 => {
            return Err(format!("{ethertype:#06x} is a length in Ethernet, not a type; say for example 0x88b5"));
        }
        0x0800 => "IPv4",
        0x0806 => "ARP",
        0x86DD => "IPv6",
        0x8100 => "VLAN tags (--vlan)",
        0x88A8 => "service VLAN tags",
        _ => return Ok(()),
    };
    Err(format!("{ethertype:#06x} is the EtherType of {taken}, which would not reach the kernel any more; say 0x88b5"))
}

pub(super) fn nanos(span: Duration) -> Nanos {
    span.as_nanos().try_into().unwrap_or(Nanos::MAX)
}
