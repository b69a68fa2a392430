//! Which application a connection is for: the first bytes of its first stream, so that `perf` does not talk to `recv`.

use std::io::Read;

use crate::api::{APPLICATION_CODES, Connection, ConnectionError, RecvStream, SendStream};

/// Close code: the application on the other side is another one.
pub const WRONG_SERVICE: u32 = APPLICATION_CODES;
/// Close code: the user stopped the program.
pub const INTERRUPTED: u32 = APPLICATION_CODES + 1;
/// Close code: the application can't go on.
pub const GAVE_UP: u32 = APPLICATION_CODES + 2;

/// Bytes of a greeting.
pub const GREETING_LEN: usize = 8;
/// What every greeting begins with.
const MAGIC: &[u8; 6] = b"fwapp\x01";

/// What runs over a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// Files, to `farwire recv`.
    Transfer,
    /// Measurement, with `farwire perf server`.
    Perf,
}

/// Why a connection is for nobody here.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// It ended before it said what it wants.
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    /// It wants something else.
    #[error("the peer wants {wanted}, and this is {here}")]
    Other {
        /// What it wants.
        wanted: &'static str,
        /// What is here.
        here: &'static str,
    },
    /// What it said is no greeting.
    #[error("the peer's first words are no greeting of ours; update the older of the two")]
    Unknown,
}

impl Service {
    /// The command that serves it.
    pub fn command(self) -> &'static str {
        match self {
            Service::Transfer => "`farwire recv`",
            Service::Perf => "`farwire perf server`",
        }
    }

    /// What the opener of the connection says first.
    pub fn greeting(self) -> [u8; GREETING_LEN] {
        let [a, b, c, d, e, version] = *MAGIC;
        [a, b, c, d, e, version, self as u8, 0]
    }

    fn parse(bytes: &[u8; GREETING_LEN]) -> Option<Service> {
        [Service::Transfer, Service::Perf].into_iter().find(|service| service.greeting() == *bytes)
    }
}

/// Takes the first stream of a new connection, if it is for `here`; otherwise closes the connection and says why.
///
/// # Errors
/// If the connection ended first, or is for something else.
pub fn accept(connection: &Connection, here: Service) -> Result<(SendStream, RecvStream), GreetingError> {
    let (send, mut recv) = connection.accept_stream()?;
    let mut bytes = [0; GREETING_LEN];
    let wanted = match recv.read_exact(&mut bytes) {
        Ok(()) => Service::parse(&bytes),
        Err(_) => None,
    };
    match wanted {
        Some(wanted) if wanted == here => Ok((send, recv)),
        Some(wanted) => {
            let reason = format!("{} runs here, and {} is needed", here.command(), wanted.command());
            connection.close(WRONG_SERVICE, &reason);
            Err(GreetingError::Other { wanted: wanted.command(), here: here.command() })
        }
        None => {
            connection.close(WRONG_SERVICE, &format!("{} runs here and does not know this greeting", here.command()));
            Err(GreetingError::Unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_says_which_service() {
        for service in [Service::Transfer, Service::Perf] {
            assert_eq!(Service::parse(&service.greeting()), Some(service));
        }
        assert_eq!(Service::parse(b"GET / HT"), None);
    }
}
