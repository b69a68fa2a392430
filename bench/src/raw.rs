//! What both raw benchmarks share: pinned threads inside hosts, links, and a frame to send.

use anyhow::{Context, ensure};
use farwire::base::MacAddr;
use farwire::link::Frame;
use farwire::xdp::{XdpConfig, XdpLink};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{UsageWho, getrusage};

use crate::lab::Lab;

/// MACs of the two hosts that `tools/netlab` makes.
pub const MAC_A: MacAddr = MacAddr(2, 0, 10, 77, 0, 1);
/// The other one.
pub const MAC_B: MacAddr = MacAddr(2, 0, 10, 77, 0, 2);

/// Bytes of an Ethernet header.
const ETHERNET_LEN: usize = 14;
/// What the XDP program must see behind it: a header of 16 bytes whose length fits, and 4 bytes of CRC.
const LEAST: usize = ETHERNET_LEN + 16 + 4;

/// Moves the calling thread into a host and onto a core, and opens the queue there.
pub fn enter(lab: &Lab, host: &str, core: usize, umem_bytes: u64) -> anyhow::Result<XdpLink> {
    setns(lab.namespace(host), CloneFlags::CLONE_NEWNET).context("entering a network namespace needs root")?;
    let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: core });
    ensure!(pinned, "core {core} is not there, or not allowed; see `taskset -p $$`");
    Ok(XdpLink::open(&XdpConfig { umem_bytes, ..XdpConfig::new("eth1") })?)
}

/// Makes `frame` one of ours of `len` bytes, Ethernet header included.
pub fn write(frame: &mut Frame, from: MacAddr, to: MacAddr, len: usize) {
    assert!(len >= LEAST);
    frame.set_len(len);
    let bytes = frame.bytes_mut();
    bytes.fill(0);
    bytes[..6].copy_from_slice(&to.octets());
    bytes[6..12].copy_from_slice(&from.octets());
    bytes[12..14].copy_from_slice(&farwire::wire::ETHERTYPE.to_be_bytes());
    bytes[14] = 0x16;
    bytes[16..18].copy_from_slice(&((len - LEAST) as u16).to_be_bytes());
}

/// CPU time of the calling thread so far, in seconds.
pub fn cpu_seconds() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return f64::NAN };
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// A link's counters that are not 0, for a report.
pub fn moved(stats: Vec<(&'static str, u64)>) -> serde_json::Map<String, serde_json::Value> {
    stats.into_iter().filter(|(_, value)| *value > 0).map(|(name, value)| (name.into(), value.into())).collect()
}
