//! Two interfaces over one pool of frames: what arrives on the one can leave by the other from where it lies.
//!
//! Each interface has a socket with four rings of its own; the second is bound to the memory of the first
//! (`XDP_SHARED_UMEM`, across devices since Linux 5.10). Every frame of either interface is steered here, not only
//! ours.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::config::XdpConfig;
use super::error::XdpError;
use super::guard::QueueGuard;
use super::nic::Nic;
use super::note::{Note, Notes};
use super::open;
use super::policy::Choice;
use super::program::{Hook, Program, Steers};
use super::rx::Rx;
use super::shared::{self, Attached};
use super::socket::{Bind, RING};
use super::tx::{LinkFacts, Tx};
use super::umem::{CHUNK, Pool, ROOM};
use super::{privilege, stats};
use crate::base::MacAddr;
use crate::link::{Caps, Frame, LinkError};

pub use super::umem::Side;

/// Both sides, in the order of their numbers.
pub const SIDES: [Side; 2] = [Side::First, Side::Second];

/// Longest frame that a pair can carry, from the destination address on, without the check sequence.
pub const FRAME_MOST: usize = ROOM;

/// The only receive queue of each of two interfaces, with one frame pool.
pub struct XdpPair {
    notes: Notes,
    // Dropped in this order: the rings (and with them the sockets), the memory they point into, programs and names.
    ports: [Port; 2],
    pool: Pool,
    claims: [Claim; 2],
}

/// One interface's rings.
struct Port {
    caps: Caps,
    facts: LinkFacts,
    skb_budget: bool,
    rx: Rx,
    tx: Tx,
}

/// What makes an interface ours: the program on it, and the queue's name.
struct Claim {
    program: Arc<Program>,
    _guard: QueueGuard,
}

impl XdpPair {
    /// Takes both interfaces, in one mode: zero-copy only where both drivers are trusted with it and grant it. The
    /// sizes and the mode are those of `first`. The calling thread's network namespace is the one that counts.
    ///
    /// # Errors
    /// Whatever is in the way, with the next step.
    pub fn open(first: &XdpConfig, second: &XdpConfig) -> Result<XdpPair, XdpError> {
        if first.interface == second.interface {
            return Err(XdpError::SameInterface { interface: first.interface.clone() });
        }
        let configs = [first, second];
        let nics = [interface(first)?, interface(second)?];
        if nics[0].mtu != nics[1].mtu {
            return Err(XdpError::MtusDiffer {
                first: first.interface.clone(),
                mtu: nics[0].mtu,
                second: second.interface.clone(),
                other: nics[1].mtu,
            });
        }
        let frames = (open::pool_bytes(first)? / CHUNK as u64) as u32;
        privilege::check(first)?;
        let guards = [QueueGuard::take(first)?, QueueGuard::take(second)?];
        let mut notes = Notes::default();
        let steers = Steers::Everything(FRAME_MOST as u32);
        let attached = [
            shared::attach(first, &nics[0], steers, &mut notes)?,
            shared::attach(second, &nics[1], steers, &mut notes)?,
        ];
        let (mut pool, ports) = bind_both(configs, &nics, &attached, frames, &mut notes)?;
        let [left, right] = attached.map(|attached| attached.program);
        let [mine, other] = guards;
        let claims = [Claim { program: left, _guard: mine }, Claim { program: right, _guard: other }];
        let mut ports = ports;
        for port in &mut ports {
            port.rx.stock(&mut pool);
        }
        let pair = XdpPair { notes, ports, pool, claims };
        for side in SIDES {
            pair.claims[side as usize].program.steer_to(0, pair.poll_fd(side)).map_err(|source| {
                open::system(configs[side as usize], "telling the XDP program of the socket", source)
            })?;
        }
        Ok(pair)
    }

    /// What was tried and given up on the way to the mode in force.
    pub fn notes(&self) -> &[Note] {
        &self.notes.0
    }

    /// What a side is and can do. The frames are both sides'.
    pub fn caps(&self, side: Side) -> &Caps {
        &self.ports[side as usize].caps
    }

    /// A free frame to write into, or `None` while all are in use or kept for receiving.
    pub fn alloc(&mut self) -> Option<Frame> {
        self.pool.alloc()
    }

    /// Takes a frame back, whichever side it came from.
    pub fn free(&mut self, frame: Frame) {
        self.pool.free(frame);
    }

    /// How many frames `alloc` would give out now.
    pub fn free_frames(&self) -> usize {
        self.pool.available()
    }

    /// Appends up to `max` frames that a side received to `out`, says how many, and restocks its fill ring.
    pub fn rx_burst(&mut self, side: Side, out: &mut Vec<Frame>, max: usize) -> usize {
        self.ports[side as usize].rx.burst(&mut self.pool, out, max)
    }

    /// Takes frames from the front of `frames` for transmission by a side and says how many. What did not fit stays.
    pub fn tx_burst(&mut self, side: Side, frames: &mut VecDeque<Frame>) -> usize {
        self.ports[side as usize].tx.burst(&mut self.pool, frames)
    }

    /// Appends the frames that a side has sent to `done` and says how many.
    pub fn reap(&mut self, side: Side, done: &mut Vec<Frame>) -> usize {
        self.ports[side as usize].tx.reap(&mut self.pool, done)
    }

    /// Makes the kernel send what `tx_burst` queued on a side, if it needs telling.
    ///
    /// # Errors
    /// When the interface can't be used any more; while it is merely down, frames wait and this is `Ok`.
    pub fn kick(&mut self, side: Side) -> Result<(), LinkError> {
        let port = &mut self.ports[side as usize];
        port.tx.kick(&self.pool, &port.facts)
    }

    /// Frames on a side's tx ring that the kernel has not taken: it had no room, and wants another kick.
    pub fn unsent(&mut self, side: Side) -> usize {
        self.ports[side as usize].tx.waiting() as usize
    }

    /// What to poll for readability before sleeping.
    pub fn poll_fd(&self, side: Side) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as `tx`, which this borrows, lives.
        unsafe { BorrowedFd::borrow_raw(self.ports[side as usize].tx.fd()) }
    }

    /// Counters of a side since the pair was opened, named as a single link's are.
    pub fn stats(&self, side: Side) -> Vec<(&'static str, u64)> {
        let port = &self.ports[side as usize];
        stats::collect(&port.rx, &port.tx, &self.pool, port.skb_budget, &self.claims[side as usize].program)
    }
}

impl Drop for XdpPair {
    fn drop(&mut self) {
        for claim in &self.claims {
            claim.program.steer_to_nobody(0);
        }
    }
}

/// An interface that can be one end of a pair: all its frames arrive on queue 0, and each fits one chunk.
fn interface(config: &XdpConfig) -> Result<Nic, XdpError> {
    let nic = open::interface(config)?;
    let interface = config.interface.clone();
    match nic.rx_queues {
        Some(queues) if queues > 1 => return Err(XdpError::ManyQueues { interface, queues }),
        _ => {}
    }
    if nic.mtu > open::MTU_MOST {
        return Err(XdpError::MtuBeyondChunk { interface, mtu: nic.mtu, most: open::MTU_MOST });
    }
    Ok(nic)
}

/// Makes the pool and binds both sockets to it, in the best mode that was asked for and that both drivers grant.
fn bind_both(
    configs: [&XdpConfig; 2],
    nics: &[Nic; 2],
    attached: &[Attached; 2],
    frames: u32,
    notes: &mut Notes,
) -> Result<(Pool, [Port; 2]), XdpError> {
    let native = attached.iter().all(|attached| attached.hook == Hook::Native);
    let choices = nics.each_ref().map(|nic| Choice::of(nic, nic.mtu));
    for (nic, choice) in nics.iter().zip(&choices) {
        open::tell_advice(configs[0].mode, &nic.name, choice, notes);
    }
    let ladder = open::ladder(configs[0].mode, native, choices.iter().all(|choice| choice.zerocopy));
    for (at, how) in ladder.iter().enumerate() {
        // A pool of its own for each rung: the mode of the first socket is the second one's too.
        let reserve = (frames as usize / 4).min(RING as usize);
        let config = configs[0];
        let mut pool = Pool::new((frames, CHUNK), RING, reserve, config.huge_pages)
            .map_err(|source| open::pool_error(config, source))?;
        pool.serve_both();
        match bind_sides(&mut pool, configs, nics, attached, *how) {
            Ok(ports) => return Ok((pool, ports)),
            Err((side, source)) if at + 1 < ladder.len() && !open::is_final(&source) => {
                let names = format!("{} and {}", configs[0].interface, configs[1].interface);
                notes.warn(open::refused(&names, &nics[side as usize], &source));
            }
            Err((side, source)) => {
                return Err(open::bind_error(configs[side as usize], &nics[side as usize], *how, source));
            }
        }
    }
    unreachable!("the last rung either binds or fails")
}

fn bind_sides(
    pool: &mut Pool,
    configs: [&XdpConfig; 2],
    nics: &[Nic; 2],
    attached: &[Attached; 2],
    how: Bind,
) -> Result<[Port; 2], (Side, io::Error)> {
    let one = |pool: &Pool, side: Side| {
        let (config, nic, hook) = (configs[side as usize], &nics[side as usize], attached[side as usize].hook);
        port(pool, side, config, nic, hook, how).map_err(|source| (side, source))
    };
    let first = one(pool, Side::First)?;
    // The first socket's descriptor is the memory's own.
    pool.bound_to(first.tx.fd());
    let second = one(pool, Side::Second)?;
    Ok([first, second])
}

fn port(pool: &Pool, side: Side, config: &XdpConfig, nic: &Nic, hook: Hook, how: Bind) -> io::Result<Port> {
    let bound = open::bind_whole(pool, nic, 0, nic.mtu, how)?;
    let caps = Caps {
        mac: nic.mac.unwrap_or_else(MacAddr::zero),
        name: config.name(),
        mode: open::mode_name(hook, bound.zerocopy),
        mtu: nic.mtu,
        frames: pool.frames(),
        rx_reserve: pool.reserve(),
        speed_bps: nic.speed_bps,
    };
    let facts = LinkFacts {
        name: config.name(),
        interface: config.interface.clone(),
        index: nic.index,
        zerocopy: bound.zerocopy,
    };
    let rx = Rx::new(side, bound.rx, bound.fill);
    let tx = Tx::new(side, bound.tx, bound.completions, RING);
    Ok(Port { caps, facts, skb_budget: bound.skb_budget, rx, tx })
}
