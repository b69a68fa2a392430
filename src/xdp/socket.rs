//! The socket: bound in the best mode that the driver grants, and its options.

use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::str::FromStr;

use nix::sys::socket::{setsockopt, sockopt::SndBufForce};
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue};

use super::patience::until_free;
use super::umem::Pool;

/// Descriptors in each of the four rings. 4096 frames of 1500 bytes are 0.5 ms at 100 Gbit/s: how long the worker may
/// be away. Lower: frames are lost while it is. Higher: no driver takes more without being told, and the fill ring
/// walks through more memory than the caches hold.
pub(super) const RING: u32 = 4096;

/// How often a bind that finds the queue busy is tried again, every 20 ms: the kernel frees the queue of a closed
/// socket from a work queue, a little later. Lower: a restart fails. Higher: so does one that should, but later.
const BUSY_RETRIES: u32 = 50;

/// Most bytes of packets under way that the socket is charged for; half of what an int can say, since the kernel
/// doubles it. Lower (the default is 212,992, some 90 frames): sending stalls with EAGAIN.
const SEND_BUFFER_MOST: usize = 1 << 30;

/// `SOL_XDP` options that libc does not name: from `linux/if_xdp.h`.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// How the driver's and the socket's memory meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bind {
    Zerocopy,
    Copy,
}

/// A bound socket.
pub(super) struct Bound {
    pub(super) tx: TxQueue,
    pub(super) rx: RxQueue,
    pub(super) fill: FillQueue,
    pub(super) completions: CompQueue,
    /// Whether the kernel says that it does not copy.
    pub(super) zerocopy: bool,
    /// Whether the kernel took a budget of a whole ring per system call (since 6.17).
    pub(super) skb_budget: bool,
}

/// Binds the pool to a queue, waiting for one that was just closed.
pub(super) fn bind(pool: &Pool, interface: &str, queue: u32, how: Bind) -> io::Result<Bound> {
    let busy = |error: &io::Error| error.raw_os_error() == Some(libc::EBUSY);
    until_free(BUSY_RETRIES, busy, || bind_once(pool, interface, queue, how))
}

fn bind_once(pool: &Pool, interface: &str, queue: u32, how: Bind) -> io::Result<Bound> {
    let size = QueueSize::new(RING).map_err(io::Error::other)?;
    let mode = match how {
        Bind::Zerocopy => BindFlags::XDP_ZEROCOPY,
        Bind::Copy => BindFlags::XDP_COPY,
    };
    let config = SocketConfig::builder()
        .rx_queue_size(size)
        .tx_queue_size(size)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let interface = Interface::from_str(interface).map_err(io::Error::other)?;
    // SAFETY: a pool has at most one socket per queue of an interface (the queue's name is taken only once), and
    // libxdp's own program is inhibited all the same.
    let queues = unsafe { Socket::new(config, pool.umem(), &interface, queue) };
    let (tx, rx, rings) = queues.map_err(|error| cause(&error))?;
    let (fill, completions) = rings.ok_or_else(|| io::Error::other("libxdp made no fill ring"))?;
    let fd = tx.fd().as_raw_fd();
    widen_send_buffer(fd, pool.frames())?;
    let skb_budget = set_skb_budget(fd);
    let zerocopy = is_zerocopy(fd)?;
    Ok(Bound { tx, rx, fill, completions, zerocopy, skb_budget })
}

/// Lets the whole pool be under way at once: by default the kernel stops at some 90 frames.
fn widen_send_buffer(fd: RawFd, frames: usize) -> io::Result<()> {
    // Twice a chunk: what the kernel charges for a frame is its skb, which is larger.
    let bytes = (frames * 2 * super::umem::CHUNK).min(SEND_BUFFER_MOST);
    // SAFETY: the descriptor is the caller's socket, open for the whole call.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(setsockopt(&socket, SndBufForce, &bytes)?)
}

/// Lets one system call send a ring full of frames instead of 32; false where the kernel does not know the option.
fn set_skb_budget(fd: RawFd) -> bool {
    let budget: u32 = RING;
    // SAFETY: the option's value is a u32 that outlives the call, and its size is told.
    let status = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const budget).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    status == 0
}

fn is_zerocopy(fd: RawFd) -> io::Result<bool> {
    let mut options = libc::xdp_options { flags: 0 };
    let mut len = size_of::<libc::xdp_options>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `options`, and both outlive the call.
    let status =
        unsafe { libc::getsockopt(fd, libc::SOL_XDP, libc::XDP_OPTIONS, (&raw mut options).cast(), &raw mut len) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0) }
}

/// The system error behind one of xsk-rs' errors, whose own text does not tell it.
pub(super) fn cause(error: &(dyn Error + 'static)) -> io::Error {
    let code = error.source().and_then(|source| source.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
    code.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}
