//! Why a queue could not be opened: each names the thing, the value and the next step.

use std::io;

use super::config::Mode;

/// Why [`XdpLink::open`](super::XdpLink::open) failed.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// No such interface in this network namespace.
    #[error("interface {interface} does not exist here; `ip link` lists those that do")]
    NoInterface {
        /// What was asked for.
        interface: String,
    },
    /// The interface is administratively down.
    #[error("interface {interface} is down; say `ip link set {interface} up`")]
    InterfaceDown {
        /// The interface.
        interface: String,
    },
    /// The interface has no Ethernet address, so it carries no Ethernet frames.
    #[error("interface {interface} has no Ethernet address (a loopback or tunnel?); pick an Ethernet interface")]
    NotEthernet {
        /// The interface.
        interface: String,
    },
    /// The interface has fewer queues.
    #[error(
        "queue {queue} of {interface}: the interface has {queues} queue(s), counted from 0; pick a lower one or say \
         `ethtool -L {interface} combined {wanted}`"
    )]
    NoQueue {
        /// The interface.
        interface: String,
        /// What was asked for.
        queue: u32,
        /// How many there are.
        queues: u32,
        /// How many would be needed.
        wanted: u32,
    },
    /// A frame of this MTU does not fit one chunk of the pool.
    #[error(
        "{interface}: an MTU of {mtu} does not fit one frame of the pool ({most} at most); say `--mtu {most}` on both \
         ends, or `ip link set {interface} mtu {most}`"
    )]
    MtuTooLarge {
        /// The interface.
        interface: String,
        /// Its MTU, or the one asked for.
        mtu: usize,
        /// The largest that fits.
        most: usize,
    },
    /// The MTU asked for is beyond the interface's own.
    #[error(
        "{interface}: --mtu {asked} is beyond the interface's MTU of {mtu}; ask for less, or say `ip link set \
         {interface} mtu {asked}`"
    )]
    MtuBeyondInterface {
        /// The interface.
        interface: String,
        /// What was asked for.
        asked: usize,
        /// The interface's MTU.
        mtu: usize,
    },
    /// The MTU asked for is too small to be of use.
    #[error("{interface}: an MTU of {mtu} is too small; {least} is the least")]
    MtuTooSmall {
        /// The interface.
        interface: String,
        /// Its MTU, or the one asked for.
        mtu: usize,
        /// The smallest allowed.
        least: usize,
    },
    /// Both ends of a pair are the same interface.
    #[error("{interface} is named twice; a pair needs two interfaces, one on each side")]
    SameInterface {
        /// The interface.
        interface: String,
    },
    /// An interface of a pair spreads its frames over several queues, and only one would be seen.
    #[error(
        "{interface} has {queues} receive queues, and everything must arrive on one; say `ethtool -L {interface} \
         combined 1` (veth: `rx 1`)"
    )]
    ManyQueues {
        /// The interface.
        interface: String,
        /// How many there are.
        queues: u32,
    },
    /// An interface of a pair may receive frames that do not fit one chunk of the pool.
    #[error(
        "{interface}: frames of MTU {mtu} do not fit one chunk of the frame pool ({most} at most); say `ip link set \
         {interface} mtu {most}`, on the host behind it as well"
    )]
    MtuBeyondChunk {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: usize,
        /// The largest that fits.
        most: usize,
    },
    /// What the one interface of a pair receives, the other could not send.
    #[error(
        "{first} has an MTU of {mtu} and {second} one of {other}; make them alike: `ip link set {second} mtu {mtu}`"
    )]
    MtusDiffer {
        /// The one interface.
        first: String,
        /// Its MTU.
        mtu: usize,
        /// The other one.
        second: String,
        /// Its MTU.
        other: usize,
    },
    /// The frame pool asked for is too small or too large.
    #[error("a frame pool of {bytes} bytes is out of range; say `--umem` with {least} to {most} bytes")]
    UmemSize {
        /// What was asked for.
        bytes: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// The process lacks capabilities.
    #[error(
        "{link}: {operation} is not permitted: {missing} missing; run as root, or give the binary what it needs: \
         `tools/setup --caps`, which says `setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep`"
    )]
    Privilege {
        /// The queue.
        link: String,
        /// What was tried.
        operation: &'static str,
        /// The capabilities that are missing, as far as the process can tell.
        missing: String,
    },
    /// The frame pool may not be pinned.
    #[error(
        "{link}: the frame pool of {bytes} bytes may not be locked in memory; grant CAP_IPC_LOCK, raise `ulimit -l`, \
         or ask for a smaller --umem"
    )]
    Memlock {
        /// The queue.
        link: String,
        /// The pool's size.
        bytes: u64,
    },
    /// Not enough memory, or not enough huge pages, for the frame pool.
    #[error("{link}: no memory for a frame pool of {bytes} bytes ({source}); {advice}")]
    UmemMemory {
        /// The queue.
        link: String,
        /// The pool's size.
        bytes: u64,
        /// What to do.
        advice: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another link of this process, holds the queue.
    #[error("{link} is in use by {holder}; stop it or pick another queue")]
    QueueInUse {
        /// The queue.
        link: String,
        /// Who holds it, for example `process 1234 (farwire)`.
        holder: String,
    },
    /// Another XDP program is attached to the interface.
    #[error(
        "interface {interface} already has an XDP program ({program}); stop its owner, or say `ip link set {interface} \
         xdp off` if nobody owns it"
    )]
    ProgramInUse {
        /// The interface.
        interface: String,
        /// Name and id of the other program.
        program: String,
    },
    /// A link of this process claimed another EtherType on the same interface.
    #[error(
        "interface {interface}: this process already claims EtherType {claimed:#06x} there, so {asked:#06x} can't be \
         claimed as well; use one EtherType per interface"
    )]
    OtherEtherType {
        /// The interface.
        interface: String,
        /// The EtherType in use.
        claimed: u16,
        /// The one asked for.
        asked: u16,
    },
    /// The driver or kernel refused a mode.
    #[error("{link}: {what} refused by driver {driver} ({source}); {advice}")]
    ModeRefused {
        /// The queue.
        link: String,
        /// What was refused, for example `zero-copy bind`.
        what: &'static str,
        /// The mode that was asked for.
        mode: Mode,
        /// The driver.
        driver: String,
        /// What to do.
        advice: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something else went wrong.
    #[error("{link}: {operation} failed: {source}; `farwire doctor -i {interface}` looks for the cause")]
    System {
        /// The queue.
        link: String,
        /// The interface.
        interface: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
