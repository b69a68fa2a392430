//! Why the calls of this room fail, where the transport itself has no word for it.

use std::io;
use std::path::PathBuf;

use crate::base::{MacAddr, Rate};
use crate::link::packet;
use crate::proto::error::{CloseReason, StreamError};
use crate::worker::WorkerError;
use crate::xdp::XdpError;

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// AF_XDP can't be used there.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// AF_PACKET can't be used there.
    #[error(transparent)]
    Packet(#[from] packet::OpenError),
    /// The worker could not be started.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The capture can't be written.
    #[error("capture file {}: {error}; name a file that can be written", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// More was asked for than the link has.
    #[error("{link} runs at {speed}, so a rate of {rate} is beyond it; say `--rate {}` or less", speed.bps())]
    RateBeyondLink {
        /// The link.
        link: String,
        /// The rate asked for.
        rate: Rate,
        /// The link's own.
        speed: Rate,
    },
    /// No such VLAN.
    #[error("VLAN {id} with priority {pcp} does not exist; ids go from 0 to 4094, priorities from 0 to 7")]
    Vlan {
        /// What was asked for.
        id: u16,
        /// And its priority.
        pcp: u8,
    },
    /// That value is somebody else's, or none.
    #[error("{0}")]
    EtherType(String),
    /// What was to be done once the link is open ([`EndpointConfig::once_open`](super::EndpointConfig::once_open)).
    #[error("{0}")]
    Step(String),
}

/// The endpoint was shut down, or its worker ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct EndpointStopped {
    /// What ended it.
    pub why: String,
}

/// Why no connection was accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AcceptError {
    /// Nobody came in time.
    #[error("nobody connected in time")]
    Timeout,
    /// The endpoint is gone.
    #[error(transparent)]
    Stopped(#[from] EndpointStopped),
}

/// Why a connection did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It has ended.
    #[error("{0}")]
    Closed(CloseReason),
    /// The peer has finished its direction, so it opens no more streams.
    #[error("the peer opens no more streams: it has finished")]
    PeerFinished,
    /// We have finished our direction, so we open no more streams.
    #[error("no more streams are opened here: this side has finished the connection")]
    Finished,
    /// It did not happen in time.
    #[error("nothing happened in time")]
    Timeout,
}

/// Why a name could not be turned into an address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody answers to it.
    #[error(
        "nobody on the link answers to {name:?}; is `farwire recv --name {name}` running there? `farwire discover` \
         lists who answers"
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// More than one does.
    #[error("two hosts answer to {name:?}: {first} and {second}; say which by its address, or rename one")]
    Ambiguous {
        /// The name.
        name: String,
        /// One of them.
        first: MacAddr,
        /// The other.
        second: MacAddr,
    },
    /// It looks like an address and is none.
    #[error("{text:?} is no address: it takes six groups of two hexadecimal digits, as in 02:00:00:00:00:01")]
    BadAddress {
        /// What was asked for.
        text: String,
    },
    /// It can't be a name.
    #[error("{name:?} is neither an address (02:00:00:00:00:01) nor a name (1 to 32 bytes)")]
    BadName {
        /// What was asked for.
        name: String,
    },
    /// The endpoint is gone.
    #[error(transparent)]
    Stopped(#[from] EndpointStopped),
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> io::Error {
        let kind = match &error {
            StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
            StreamError::Stopped(_) | StreamError::Finished => io::ErrorKind::BrokenPipe,
            StreamError::Closed(CloseReason::IdleTimeout { .. }) => io::ErrorKind::TimedOut,
            StreamError::Closed(_) => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}
