//! What a caller says about the queue that it wants.

use std::fmt;
use std::str::FromStr;

use nix::sys::sysinfo::sysinfo;

use super::umem::CHUNK;

/// How frames pass between the driver and the UMEM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Zero-copy where driver and kernel are trusted with it (`policy.rs`) and grant it, else copy, else generic.
    #[default]
    Auto,
    /// The NIC reads and writes the UMEM itself; an error where the driver can't.
    Zerocopy,
    /// Native XDP, and one copy between driver and UMEM.
    Copy,
    /// Generic XDP, after the kernel has built an skb: slow, and works with every driver.
    Skb,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "auto" => Ok(Mode::Auto),
            "zerocopy" => Ok(Mode::Zerocopy),
            "copy" => Ok(Mode::Copy),
            "skb" => Ok(Mode::Skb),
            _ => Err(format!("mode {text:?} is unknown; say auto, zerocopy, copy or skb")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Auto => "auto",
            Mode::Zerocopy => "zerocopy",
            Mode::Copy => "copy",
            Mode::Skb => "skb",
        })
    }
}

/// One queue of one interface, and how to use it.
#[derive(Clone, Debug)]
pub struct XdpConfig {
    /// The interface's name.
    pub interface: String,
    /// The queue, counted from 0.
    pub queue: u32,
    /// Zero-copy, copy or generic.
    pub mode: Mode,
    /// Size of the frame pool; rounded down to whole chunks.
    pub umem_bytes: u64,
    /// The EtherType that the XDP program steers to us.
    pub ethertype: u16,
    /// Longest Ethernet payload to use, if it should be less than the interface's MTU.
    pub mtu: Option<u16>,
    /// Back the frame pool with 2 MiB pages.
    pub huge_pages: bool,
}

impl XdpConfig {
    /// Queue 0 of `interface` with the defaults: mode auto, [`default_umem_bytes`], EtherType 0x88B5.
    pub fn new(interface: impl Into<String>) -> XdpConfig {
        XdpConfig {
            interface: interface.into(),
            queue: 0,
            mode: Mode::Auto,
            umem_bytes: default_umem_bytes(),
            ethertype: DEFAULT_ETHERTYPE,
            mtu: None,
            huge_pages: false,
        }
    }

    /// The queue's name in messages: `eth1 queue 0`.
    pub fn name(&self) -> String {
        format!("{} queue {}", self.interface, self.queue)
    }
}

/// Size of the frame pool where none is asked for: a share of the machine's memory within bounds. Half of the frames
/// are for receiving, and where packets are lost a receiver holds several bandwidth-delay products.
pub fn default_umem_bytes() -> u64 {
    let memory = sysinfo().map_or(0, |machine| machine.ram_total());
    (memory / UMEM_SHARE / CHUNK as u64 * CHUNK as u64).clamp(UMEM_LEAST, UMEM_MOST)
}

/// Share of memory that a pool takes by default: a sixty-fourth is 384 MiB of 24 GiB. Lower: a long link can't be
/// filled. Higher: memory is pinned that is missing elsewhere, and pinning takes about 1 ms for each MiB.
const UMEM_SHARE: u64 = 64;
/// 64 MiB are 16,384 frames (twice as many where frames are copied and shorter than 1775 bytes): 24 MB of payload at
/// MTU 1500, the product of 1 Gbit/s and 190 ms. Lower: that is all.
const UMEM_LEAST: u64 = 64 << 20;
/// Eight times that. Whoever has 10 Gbit/s over 100 ms, or 5 % of loss over 200 ms (a hole is filled at the fourth
/// attempt, and the receiver holds what came behind it), asks for more. Higher: half a second and more to start.
const UMEM_MOST: u64 = 512 << 20;

/// IEEE 802 local experimental EtherType 1.
const DEFAULT_ETHERTYPE: u16 = 0x88B5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pool_is_a_possible_one() {
        let bytes = default_umem_bytes();
        assert!((UMEM_LEAST..=UMEM_MOST).contains(&bytes) && bytes.is_multiple_of(CHUNK as u64), "{bytes}");
    }

    #[test]
    fn a_mode_reads_as_it_is_shown() {
        for mode in [Mode::Auto, Mode::Zerocopy, Mode::Copy, Mode::Skb] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("native".parse::<Mode>().unwrap_err().contains("say auto, zerocopy, copy or skb"));
    }
}
