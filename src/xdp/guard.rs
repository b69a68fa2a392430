//! One process per queue: a name in the network namespace that says who holds it.
//!
//! The kernel refuses a second socket on a queue as well, but only with EBUSY, and not by whom.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::config::XdpConfig;
use super::error::XdpError;

/// Held while the queue is; the name goes away with the process, however it ends.
pub(super) struct QueueGuard {
    _listener: UnixListener,
}

impl QueueGuard {
    /// Takes the queue's name.
    pub(super) fn take(config: &XdpConfig) -> Result<QueueGuard, XdpError> {
        let address = SocketAddr::from_abstract_name(name(config)).map_err(|source| system(config, source))?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(QueueGuard { _listener: listener }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(XdpError::QueueInUse { link: config.name(), holder: holder(&address) })
            }
            Err(source) => Err(system(config, source)),
        }
    }
}

/// Abstract names are per network namespace, just as interface names are.
fn name(config: &XdpConfig) -> String {
    format!("farwire/{}/{}", config.interface, config.queue)
}

/// `process 1234 (farwire)`, or as much of it as can be found.
fn holder(address: &SocketAddr) -> String {
    let pid = UnixStream::connect_addr(address)
        .ok()
        .and_then(|stream| getsockopt(&stream, PeerCredentials).ok())
        .map(|credentials| credentials.pid());
    let Some(pid) = pid.filter(|pid| *pid > 0) else { return "another process".into() };
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(command) => format!("process {pid} ({})", command.trim()),
        Err(_) => format!("process {pid}"),
    }
}

fn system(config: &XdpConfig, source: io::Error) -> XdpError {
    XdpError::System {
        link: config.name(),
        interface: config.interface.clone(),
        operation: "taking the queue's name (abstract unix socket)",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_learns_who_the_first_is() {
        let config = XdpConfig::new(format!("fwguard{}", std::process::id()));
        let first = QueueGuard::take(&config).unwrap();
        let Err(error) = QueueGuard::take(&config) else { panic!("two holders of one queue") };
        let text = error.to_string();
        assert!(text.contains(&format!("queue 0 is in use by process {}", std::process::id())), "{text}");
        assert!(text.contains("pick another queue"), "{text}");
        drop(first);
        assert!(QueueGuard::take(&config).is_ok());
    }
}
