//! What a program sees: endpoints, connections, streams. Blocking; every wait ends when the endpoint does.
//!
//! Decides: what is a comfortable handle. Does not: touch the protocol, descriptors or the link.
//! Called by: users of the crate, `apps`. Invariant: a frame that was lent to the program comes back, however the
//! program lets go of it.

mod config;
mod connection;
mod discovery;
mod endpoint;
mod error;
mod message;
mod reservation;
mod rx;
mod tx;
mod wait;

pub use config::{EndpointConfig, check_ethertype};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use error::{AcceptError, ConnectionError, EndpointStopped, OpenError, ResolveError};
pub use message::Message;
pub use reservation::Reservation;
pub use rx::RecvStream;
pub use tx::SendStream;

pub use crate::base::{KeyId, MacAddr, Nanos, Rate, StreamId};
pub use crate::crypto::{Cipher, Key, KeyError, Keyring, NamedKey};
pub use crate::engine::port::{Found, PingReport, PingRun, Snapshot};
pub use crate::link::Caps;
pub use crate::link::memory::MemoryConfig;
pub use crate::link::packet::{OpenError as PacketError, PacketConfig};
pub use crate::proto::error::{APPLICATION_CODES, CloseReason, ConnectError, StreamError};
pub use crate::proto::recovery::Algorithm;
pub use crate::worker::{Idle, WorkerTimes};
pub use crate::xdp::nic::Nic;
pub use crate::xdp::policy::Choice as ZerocopyChoice;
pub use crate::xdp::privilege::missing as missing_capabilities;
pub use crate::xdp::{Mode, Note, XdpConfig, XdpError, copied_chunk, default_umem_bytes};
