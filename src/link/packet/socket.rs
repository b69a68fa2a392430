//! The AF_PACKET socket: bound and written through pnet, read through a duplicate of its descriptor.

use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, recvmsg, setsockopt, socket, sockopt,
};
use pnet::datalink::{self, Channel, ChannelType, DataLinkSender, NetworkInterface};

use super::OpenError;

/// Socket buffer in each direction. The kernel counts a 1500-byte frame as about 2.3 KB, so its default of 208 KB
/// holds 90 frames, 0.1 ms at 10 Gbit/s: a receiver that is away for one scheduling slice would lose some. Much more
/// would only queue for longer than a round trip.
const SOCKET_BUFFER: usize = 4 << 20;

/// A socket bound to one interface and one EtherType.
pub(super) struct PacketSocket {
    sender: Box<dyn DataLinkSender>,
    /// A duplicate of the descriptor that `sender` owns.
    receiver: OwnedFd,
    /// Room for the socket's drop count beside each frame.
    control: Vec<u8>,
    /// Frames that the kernel dropped because the socket's buffer was full.
    pub dropped: u64,
}

/// What became of a frame handed to the kernel.
pub(super) enum Sent {
    /// The kernel has it.
    Yes,
    /// No room now.
    Busy,
    /// The interface is down or gone.
    Down,
    /// Longer than the interface's MTU.
    TooLong,
    /// Refused for another reason.
    Refused,
}

/// What came out of the socket.
pub(super) enum Received {
    /// A frame of that many bytes.
    Frame(usize),
    /// A frame for another host, of a VLAN, or our own.
    Foreign,
    /// A frame longer than the buffer.
    TooLong,
    /// Nothing more.
    Empty,
    /// The interface went down.
    Down,
    /// Another error.
    Failed,
}

impl PacketSocket {
    /// Binds to `ethertype` on `interface`, promiscuous mode off.
    pub(super) fn bind(interface: &NetworkInterface, ethertype: u16) -> Result<PacketSocket, OpenError> {
        let refused = |operation, error| refused(&interface.name, operation, error);
        // Protocol 0: nothing arrives before the bind says which EtherType.
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)
            .map_err(|errno| refused("socket", errno.into()))?;
        enlarge(&socket);
        setsockopt(&socket, sockopt::RxqOvfl, &1).map_err(|errno| refused("SO_RXQ_OVFL", errno.into()))?;
        let receiver = socket.try_clone().map_err(|error| refused("dup", error))?;
        let config = datalink::Config {
            // What to bind to. The socket is ours, so its frames keep their Ethernet headers all the same.
            channel_type: ChannelType::Layer3(ethertype),
            // pnet polls before it sends: without a limit it would wait for room in the middle of a turn.
            write_timeout: Some(Duration::ZERO),
            promiscuous: false,
            socket_fd: Some(socket.into_raw_fd()),
            ..datalink::Config::default()
        };
        match datalink::channel(interface, config) {
            Ok(Channel::Ethernet(sender, _)) => {
                Ok(PacketSocket { sender, receiver, control: nix::cmsg_space!(u32), dropped: 0 })
            }
            Ok(_) => Err(refused("bind", ErrorKind::Unsupported.into())),
            Err(error) => Err(refused("bind", error)),
        }
    }

    /// Sends one Ethernet frame.
    pub(super) fn send(&mut self, frame: &[u8]) -> Sent {
        let Some(Err(error)) = self.sender.send_to(frame, None) else { return Sent::Yes };
        match error.raw_os_error() {
            Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => Sent::Down,
            Some(libc::EMSGSIZE) => Sent::TooLong,
            // ENOBUFS: the interface's queue refused it. No number at all: pnet polled and there was no room.
            Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR) | None => Sent::Busy,
            Some(_) => Sent::Refused,
        }
    }

    /// Receives one Ethernet frame, without waiting.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        let mut slices = [IoSliceMut::new(buffer)];
        let (fd, control) = (self.receiver.as_raw_fd(), Some(self.control.as_mut_slice()));
        let message = match recvmsg::<LinkAddr>(fd, &mut slices, control, MsgFlags::MSG_DONTWAIT) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Received::Empty,
            Err(Errno::ENETDOWN | Errno::ENODEV) => return Received::Down,
            Err(_) => return Received::Failed,
        };
        for control in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::RxqOvfl(total) = control {
                // 32 bits since the socket was opened, which may wrap.
                self.dropped += u64::from(total.wrapping_sub(self.dropped as u32));
            }
        }
        let kind = message.address.map_or(libc::PACKET_HOST, |address| address.pkttype());
        if !matches!(kind, libc::PACKET_HOST | libc::PACKET_BROADCAST | libc::PACKET_MULTICAST) {
            return Received::Foreign;
        }
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            return Received::TooLong;
        }
        Received::Frame(message.bytes)
    }

    /// Readable when a frame waits.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

/// Puts what the system said beside what was tried.
pub(super) fn refused(interface: &str, operation: &'static str, error: io::Error) -> OpenError {
    let interface = interface.to_owned();
    match error.kind() {
        ErrorKind::PermissionDenied => OpenError::NotPermitted { interface },
        _ => OpenError::Refused { interface, operation, error },
    }
}

/// Asks for large buffers: beyond the system's limit if we may, else as far as it goes.
fn enlarge(socket: &OwnedFd) {
    if setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
        // Even a refusal leaves a socket that works, only with more drops under load, which are counted.
        let _ = setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER);
    }
    if setsockopt(socket, sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &SOCKET_BUFFER);
    }
}
