//! How a command ends: its exit code and what it says last.

use crate::api::{CloseReason, ConnectError, ConnectionError, OpenError, ResolveError, StreamError};
use crate::apps::perf::PerfError;
use crate::apps::transfer::TransferError;

/// Everything was done.
pub const OK: u8 = 0;
/// A transfer or measurement failed, wholly or in part, or the peer refused.
pub const FAILED: u8 = 1;
/// The command line makes no sense (clap uses the same).
pub const USAGE: u8 = 2;
/// No such peer, or no answer from it.
pub const NO_PEER: u8 = 3;
/// Something on this machine: the interface, privileges, a directory, a key file.
pub const LOCAL: u8 = 4;
/// The user stopped it before it was done.
pub const INTERRUPTED: u8 = 5;

/// The codes, for `--help`.
pub const HELP: &str = "\
Exit codes:
  0  done: everything was sent, received, confirmed or found to be in order
  1  it failed, wholly or in part, or the peer refused; what failed is named
  2  the command line makes no sense
  3  no such peer, or no answer from it that our key proves
  4  something on this machine: interface, privileges, queue, directory, key file
  5  stopped by Ctrl-C or SIGTERM before it was done";

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What to say; nothing if all has been said.
    pub message: String,
}

impl Failure {
    /// A failure with something to say.
    pub fn new(code: u8, message: impl ToString) -> Failure {
        Failure { code, message: message.to_string() }
    }

    /// A failure about which everything has been said.
    pub fn silent(code: u8) -> Failure {
        Failure { code, message: String::new() }
    }

    /// The work itself failed.
    pub fn failed(error: impl ToString) -> Failure {
        Failure::new(FAILED, error)
    }

    /// Something on this machine is in the way.
    pub fn local(error: impl ToString) -> Failure {
        Failure::new(LOCAL, error)
    }

    /// The command line makes no sense.
    pub fn usage(error: impl ToString) -> Failure {
        Failure::new(USAGE, error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let code = match error {
            OpenError::RateBeyondLink { .. } | OpenError::Vlan { .. } | OpenError::EtherType { .. } => USAGE,
            _ => LOCAL,
        };
        Failure::new(code, error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        let code = match error {
            ConnectError::NoAnswer { .. } | ConnectError::NoProof { .. } | ConnectError::Version { .. } => NO_PEER,
            ConnectError::BadPeer { .. } => USAGE,
            ConnectError::Link(_) | ConnectError::Shutdown => LOCAL,
            _ => FAILED,
        };
        Failure::new(code, error)
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Failure {
        let code = match error {
            ResolveError::BadName { .. } | ResolveError::BadAddress { .. } => USAGE,
            ResolveError::Stopped(_) => LOCAL,
            _ => NO_PEER,
        };
        Failure::new(code, error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Failure {
        let code = match &error {
            TransferError::Connection(error) => of_connection(error),
            TransferError::Stream(error) => of_stream(error),
            TransferError::Local(_) => LOCAL,
            _ => FAILED,
        };
        Failure::new(code, error)
    }
}

impl From<PerfError> for Failure {
    fn from(error: PerfError) -> Failure {
        let code = match &error {
            PerfError::Connection(error) => of_connection(error),
            PerfError::Stream(error) => of_stream(error),
            PerfError::Local(_) => LOCAL,
            _ => FAILED,
        };
        Failure::new(code, error)
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Failure {
        Failure::new(of_connection(&error), error)
    }
}

/// A link that fails under us is a matter of this machine.
fn of_connection(error: &ConnectionError) -> u8 {
    match error {
        ConnectionError::Closed(CloseReason::Link(_)) => LOCAL,
        _ => FAILED,
    }
}

fn of_stream(error: &StreamError) -> u8 {
    match error {
        StreamError::Closed(CloseReason::Link(_)) => LOCAL,
        _ => FAILED,
    }
}
