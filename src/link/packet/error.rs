//! Why an interface can't be opened, and what to do about it.

use std::io;

/// Why an interface can't be opened for AF_PACKET.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No interface has that name.
    #[error("interface {interface}: there is none of that name here; there are {known}")]
    NoInterface {
        /// The name asked for.
        interface: String,
        /// The names that exist.
        known: String,
    },
    /// The interface carries no Ethernet frames that others could receive.
    #[error("interface {interface} is no Ethernet; name one that `ip link` shows as link/ether")]
    NoEthernet {
        /// Its name.
        interface: String,
    },
    /// The process may not open AF_PACKET sockets.
    #[error(
        "{interface}: opening AF_PACKET was refused (EPERM); run as root or give the program the capability: \
         tools/setup --caps, or setcap cap_net_raw+ep PROGRAM"
    )]
    NotPermitted {
        /// The interface's name.
        interface: String,
    },
    /// The system refused something else.
    #[error("{interface}: {operation} failed: {error}; `farwire doctor -i {interface}` may tell why")]
    Refused {
        /// The interface's name.
        interface: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The pool could not both send and receive.
    #[error(
        "{interface}: a pool of {frames} frames, {rx_reserve} of them kept for receiving; keep at least 1 and fewer \
         than all"
    )]
    Pool {
        /// The interface's name.
        interface: String,
        /// Frames asked for.
        frames: usize,
        /// Of these, kept for receiving.
        rx_reserve: usize,
    },
}
