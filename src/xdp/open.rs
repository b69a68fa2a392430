//! Opening a queue: what must hold first, in which order things are made, and what each refusal means.

use std::io;

use super::XdpLink;
use super::carrier;
use super::config::{Mode, XdpConfig};
use super::error::XdpError;
use super::guard::QueueGuard;
use super::nic::Nic;
use super::note::Notes;
use super::policy::{self, Choice};
use super::privilege;
use super::program::{Hook, Steers};
use super::rx::Rx;
use super::shared;
use super::socket::{Bind, Bound, RING, bind};
use super::tx::{LinkFacts, Tx};
use super::umem::{CHUNK, COPY_CHUNK, COPY_ROOM, Pool, ROOM, Side};
use crate::base::MacAddr;
use crate::link::{Caps, Link};

/// Largest MTU of one chunk that is safe with every driver: mlx5 receives 3498 bytes at most into 4096 in zero-copy,
/// and kernels from 7.2 on keep 320 of them. Lower: jumbo links waste themselves. Higher: drivers refuse, or cut.
pub(super) const MTU_MOST: usize = 3400;
/// Ethernet header and one 802.1Q tag.
const LINK_HEADER: usize = 18;
const _: () = assert!(MTU_MOST + LINK_HEADER <= ROOM);
/// IPv4's least MTU, and Ethernet's in Linux: below it a packet is mostly header.
const MTU_LEAST: usize = 256;

/// Fewest frames in a pool: bursts of 64 in each of four rings. Lower: rings run dry between two turns.
const FRAMES_LEAST: u64 = 256;
/// Largest pool, beyond any product of bandwidth and delay that the protocol can fill.
const BYTES_MOST: u64 = 64 << 30;
/// Frames on the fill ring in copy mode, where no hardware ring lives on them: they bridge a receiver that is late,
/// 4 ms at half a million frames a second. The kernel goes through all of them in turn, so more of them fall out of the
/// cache: with 4096 a sender over veth, whose core writes them, is a tenth slower. With 1024 each preemption of the
/// receiver lost some frames.
const COPY_RESERVE: usize = 2048;
const HUGE_PAGE: u64 = 2 << 20;

/// Opens the queue that `config` names.
pub(super) fn open(config: &XdpConfig) -> Result<XdpLink, XdpError> {
    let nic = interface(config)?;
    let mtu = mtu(config, &nic)?;
    let bytes = pool_bytes(config)?;
    privilege::check(config)?;
    let guard = QueueGuard::take(config)?;
    let mut notes = Notes::default();
    let carrier = Nic::carrier(&config.interface);
    // Before the socket: attaching resets some NICs, and zero-copy wants the program there.
    let attached = shared::attach(config, &nic, Steers::EtherType(config.ethertype), &mut notes)?;
    let choice = Choice::of(&nic, mtu);
    let ladder = ladder(config.mode, attached.hook == Hook::Native, choice.zerocopy);
    let chunk = chunk(ladder, mtu);
    let frames = (bytes / chunk as u64) as u32;
    let reserve = (frames as usize / 2).min(RING as usize);
    let mut pool =
        Pool::new((frames, chunk), RING, reserve, config.huge_pages).map_err(|source| pool_error(config, source))?;
    tell_advice(config.mode, &config.name(), &choice, &mut notes);
    let bound = bind_best(config, &nic, &pool, ladder, mtu, &mut notes)?;
    carrier::wait(&config.interface, carrier, &mut notes);
    let (zerocopy, skb_budget) = (bound.zerocopy, bound.skb_budget);
    let tx = Tx::new(Side::First, bound.tx, bound.completions, RING);
    let mut rx = Rx::new(Side::First, bound.rx, bound.fill);
    pool.bound_to(tx.fd());
    if !zerocopy {
        pool.limit_reserve(COPY_RESERVE);
    }
    // Frames first, then the entry: nothing that arrives from now on finds the fill ring empty.
    rx.stock(&mut pool);
    let caps = Caps {
        mac: nic.mac.unwrap_or_else(MacAddr::zero),
        name: config.name(),
        mode: mode_name(attached.hook, zerocopy),
        mtu,
        frames: pool.frames(),
        rx_reserve: pool.reserve(),
        speed_bps: nic.speed_bps,
    };
    let (name, interface, index) = (config.name(), config.interface.clone(), nic.index);
    let facts = LinkFacts { name, interface, index, zerocopy };
    let (program, queue) = (attached.program, config.queue);
    let link = XdpLink { caps, notes, facts, queue, skb_budget, rx, tx, pool, program, _guard: guard };
    link.program
        .steer_to(queue, link.socket())
        .map_err(|source| system(config, "telling the XDP program of the socket", source))?;
    tracing::debug!("{}: {} mode, {} frames, {:?}", link.caps.name, link.caps.mode, frames, link.stats());
    Ok(link)
}

/// What the mode really in force is called.
pub(super) fn mode_name(hook: Hook, zerocopy: bool) -> &'static str {
    match (hook, zerocopy) {
        (_, true) => "zerocopy",
        (Hook::Native, false) => "copy",
        (Hook::Generic, false) => "skb",
    }
}

pub(super) fn interface(config: &XdpConfig) -> Result<Nic, XdpError> {
    let interface = config.interface.clone();
    let nic = Nic::query(&interface).map_err(|source| system(config, "asking for the interface's facts", source))?;
    let Some(nic) = nic else { return Err(XdpError::NoInterface { interface }) };
    if nic.mac.is_none() {
        return Err(XdpError::NotEthernet { interface });
    }
    if !nic.up {
        return Err(XdpError::InterfaceDown { interface });
    }
    match nic.queues() {
        Some(queues) if config.queue >= queues => {
            Err(XdpError::NoQueue { interface, queue: config.queue, queues, wanted: config.queue + 1 })
        }
        _ => Ok(nic),
    }
}

fn mtu(config: &XdpConfig, nic: &Nic) -> Result<usize, XdpError> {
    let interface = config.interface.clone();
    let asked = config.mtu.map(usize::from);
    if let Some(asked) = asked.filter(|asked| *asked > nic.mtu) {
        return Err(XdpError::MtuBeyondInterface { interface, asked, mtu: nic.mtu });
    }
    match asked.unwrap_or(nic.mtu) {
        mtu if mtu > MTU_MOST => Err(XdpError::MtuTooLarge { interface, mtu, most: MTU_MOST }),
        mtu if mtu < MTU_LEAST => Err(XdpError::MtuTooSmall { interface, mtu, least: MTU_LEAST }),
        mtu => Ok(mtu),
    }
}

/// What is tried, best first, where `auto` does or does not trust the drivers with zero-copy.
pub(super) fn ladder(mode: Mode, native: bool, trusted: bool) -> &'static [Bind] {
    match mode {
        Mode::Auto if native && trusted => &[Bind::Zerocopy, Bind::Copy],
        Mode::Zerocopy => &[Bind::Zerocopy],
        _ => &[Bind::Copy],
    }
}

/// How large chunks are to be: small ones where frames fit into them and are copied for sure.
fn chunk(ladder: &[Bind], mtu: usize) -> usize {
    if ladder.contains(&Bind::Zerocopy) { CHUNK } else { copied_chunk(mtu) }
}

/// Bytes of a pool that a frame takes at this MTU where frames are copied.
pub fn copied_chunk(mtu: usize) -> usize {
    if mtu + LINK_HEADER <= COPY_ROOM { COPY_CHUNK } else { CHUNK }
}

/// Size of the pool: whole pages, or whole huge pages.
pub(super) fn pool_bytes(config: &XdpConfig) -> Result<u64, XdpError> {
    let grain = if config.huge_pages { HUGE_PAGE } else { CHUNK as u64 };
    let (least, most) = ((FRAMES_LEAST * CHUNK as u64).max(grain), BYTES_MOST);
    if (least..=most).contains(&config.umem_bytes) {
        return Ok(config.umem_bytes / grain * grain);
    }
    Err(XdpError::UmemSize { bytes: config.umem_bytes, least, most })
}

/// Says why `auto` copies, or what it thinks of a zero-copy that the user asked for.
pub(super) fn tell_advice(mode: Mode, name: &str, choice: &Choice, notes: &mut Notes) {
    match mode {
        Mode::Auto if choice.possible => tracing::info!("{name}: {}", choice.why),
        Mode::Zerocopy if !choice.zerocopy => {
            notes.say(format!("{name}: zero-copy as asked for, where `--mode auto` would copy: {}", choice.why));
        }
        _ => {}
    }
}

/// Binds in the best mode that was asked for and is granted.
fn bind_best(
    config: &XdpConfig,
    nic: &Nic,
    pool: &Pool,
    ladder: &[Bind],
    mtu: usize,
    notes: &mut Notes,
) -> Result<Bound, XdpError> {
    for (at, how) in ladder.iter().enumerate() {
        match bind_whole(pool, nic, config.queue, mtu, *how) {
            Ok(bound) => return Ok(bound),
            Err(source) if at + 1 < ladder.len() && !is_final(&source) => {
                notes.warn(refused(&config.name(), nic, &source));
            }
            Err(source) => return Err(bind_error(config, nic, *how, source)),
        }
    }
    unreachable!("the last rung either binds or fails")
}

/// Binds, unless the driver would cut frames of this MTU.
pub(super) fn bind_whole(pool: &Pool, nic: &Nic, queue: u32, mtu: usize, how: Bind) -> io::Result<Bound> {
    match how {
        Bind::Zerocopy if mtu > zerocopy_mtu(nic) => {
            Err(io::Error::other(format!("MTU {mtu} is beyond the {} that it receives whole", zerocopy_mtu(nic))))
        }
        how => bind(pool, &nic.name, queue, how),
    }
}

/// That `auto` copies although it trusted the driver: the thing, the value and the next step.
pub(super) fn refused(names: &str, nic: &Nic, source: &io::Error) -> String {
    format!("{names}: zero-copy bind refused by driver {} ({source}); copying instead{}", nic.driver, needs(nic))
}

/// The next step where a driver refuses zero-copy, as the end of a sentence.
fn needs(nic: &Nic) -> String {
    policy::needs(nic).map_or(String::new(), |needs| format!("; zero-copy needs {needs}"))
}

fn zerocopy_mtu(nic: &Nic) -> usize {
    policy::mtu_most(&nic.driver).unwrap_or(MTU_MOST)
}

/// Whether another mode would be refused for the same reason.
pub(super) fn is_final(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENODEV | libc::ENETDOWN)) || privilege::is_refusal(error)
}

pub(super) fn bind_error(config: &XdpConfig, nic: &Nic, how: Bind, source: io::Error) -> XdpError {
    let (link, interface) = (config.name(), config.interface.clone());
    match source.raw_os_error() {
        Some(libc::EBUSY) => XdpError::QueueInUse { link, holder: "another program's AF_XDP socket".into() },
        Some(libc::ENODEV) => XdpError::NoInterface { interface },
        Some(libc::ENETDOWN) => XdpError::InterfaceDown { interface },
        _ if privilege::is_refusal(&source) => privilege::refused(config, "binding the AF_XDP socket"),
        _ => {
            let (what, advice) = match how {
                Bind::Zerocopy => ("zero-copy bind", format!("try --mode copy{}", needs(nic))),
                Bind::Copy => ("copy bind", format!("see `ethtool -l {interface}` for queues, or try --link packet")),
            };
            XdpError::ModeRefused { link, what, mode: config.mode, driver: nic.driver.clone(), advice, source }
        }
    }
}

pub(super) fn pool_error(config: &XdpConfig, source: io::Error) -> XdpError {
    let (link, bytes) = (config.name(), config.umem_bytes);
    match source.raw_os_error() {
        Some(libc::ENOBUFS) => XdpError::Memlock { link, bytes },
        Some(libc::ENOMEM) => {
            let advice = if config.huge_pages {
                format!("say `sysctl vm.nr_hugepages={}`, or leave huge pages out", bytes.div_ceil(HUGE_PAGE))
            } else {
                "ask for a smaller --umem".into()
            };
            XdpError::UmemMemory { link, bytes, advice, source }
        }
        _ if privilege::is_refusal(&source) => privilege::refused(config, "making an AF_XDP socket"),
        Some(libc::EAFNOSUPPORT) => {
            let source = io::Error::other("the kernel has no AF_XDP (CONFIG_XDP_SOCKETS); use --link packet");
            system(config, "making an AF_XDP socket", source)
        }
        _ => system(config, "making the frame pool", source),
    }
}

pub(super) fn system(config: &XdpConfig, operation: &'static str, source: io::Error) -> XdpError {
    XdpError::System { link: config.name(), interface: config.interface.clone(), operation, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_whole_chunks_within_bounds() {
        let sized = |umem_bytes, huge_pages| {
            pool_bytes(&XdpConfig { umem_bytes, huge_pages, ..XdpConfig::new("eth1") })
                .map(|bytes| bytes / CHUNK as u64)
                .map_err(|error| error.to_string())
        };
        assert_eq!(sized(64 << 20, false), Ok(16_384));
        assert_eq!(sized((1 << 20) + 5000, false), Ok(257));
        assert_eq!(sized((5 << 20) + 1, true), Ok(1024));
        assert!(sized(4096, false).unwrap_err().contains("say `--umem` with 1048576"));
        assert!(sized(1 << 20, true).unwrap_err().contains("2097152"));
        assert!(sized(u64::MAX, false).is_err());
    }

    fn nic(driver: &str, mtu: usize) -> Nic {
        Nic {
            name: "eth1".into(),
            index: 1,
            mac: None,
            up: true,
            mtu,
            driver: driver.into(),
            driver_version: String::new(),
            rx_queues: None,
            tx_queues: None,
            speed_bps: None,
        }
    }

    #[test]
    fn chunks_are_small_only_where_frames_are_copied_for_sure() {
        let with = |mode, native, trusted, mtu| chunk(ladder(mode, native, trusted), mtu);
        assert_eq!(with(Mode::Auto, true, false, 1500), COPY_CHUNK);
        assert_eq!(with(Mode::Copy, true, true, 1500), COPY_CHUNK);
        assert_eq!(with(Mode::Skb, false, true, 1500), COPY_CHUNK);
        assert_eq!(with(Mode::Auto, false, true, 1500), COPY_CHUNK);
        assert_eq!(with(Mode::Auto, true, true, 1500), CHUNK);
        assert_eq!(with(Mode::Zerocopy, true, false, 1500), CHUNK);
        assert_eq!(with(Mode::Auto, true, false, COPY_ROOM), CHUNK, "with a header it does not fit");
    }

    #[test]
    fn zero_copy_is_tried_where_it_is_trusted_or_asked_for() {
        assert_eq!(ladder(Mode::Auto, true, true), [Bind::Zerocopy, Bind::Copy]);
        assert_eq!(ladder(Mode::Auto, true, false), [Bind::Copy]);
        assert_eq!(ladder(Mode::Zerocopy, true, false), [Bind::Zerocopy]);
        let advice = |mode, driver| {
            let mut notes = Notes::default();
            tell_advice(mode, "eth1 queue 0", &Choice::of(&nic(driver, 1500), 1500), &mut notes);
            notes.0.pop().map(|note| note.text)
        };
        let note = advice(Mode::Zerocopy, "ice").unwrap();
        assert!(note.starts_with("eth1 queue 0: zero-copy as asked for") && note.contains("driver ice"), "{note}");
        assert_eq!(advice(Mode::Auto, "ice"), None, "the doctor says it");
        let refusal = refused("eth1 queue 0", &nic("virtio_net", 1500), &io::Error::from_raw_os_error(libc::EINVAL));
        for words in ["eth1 queue 0", "driver virtio_net (Invalid argument", "copying instead", "iommu_platform=on"] {
            assert!(refusal.contains(words), "{words}: {refusal}");
        }
    }

    #[test]
    fn an_mtu_must_fit_interface_and_chunk() {
        let nic = |mtu| nic("igb", mtu);
        let with = |asked, has| mtu(&XdpConfig { mtu: asked, ..XdpConfig::new("eth1") }, &nic(has));
        assert_eq!(with(None, 1500).unwrap(), 1500);
        assert_eq!(with(Some(3400), 9000).unwrap(), 3400);
        assert!(with(None, 9000).unwrap_err().to_string().contains("say `--mtu 3400`"));
        assert!(matches!(with(Some(3000), 1500), Err(XdpError::MtuBeyondInterface { .. })));
        assert!(matches!(with(Some(100), 1500), Err(XdpError::MtuTooSmall { .. })));
        assert_eq!(zerocopy_mtu(&nic(1500)), 3054);
    }
}
