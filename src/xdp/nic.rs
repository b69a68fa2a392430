//! Facts about an interface, asked of the kernel by ioctl.
//!
//! Not from `/sys/class/net`: sysfs shows the network namespace that it was mounted in, ioctls the calling thread's.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::base::MacAddr;

/// What the kernel says about an interface.
#[derive(Clone, Debug)]
pub struct Nic {
    /// The interface's name.
    pub name: String,
    /// Its index in this network namespace.
    pub index: u32,
    /// Its Ethernet address; `None` if it has none (loopback, tunnels).
    pub mac: Option<MacAddr>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: usize,
    /// The driver's name, `unknown` if it tells none.
    pub driver: String,
    /// The version that the driver tells: for most of the kernel's own its release; empty if none.
    pub driver_version: String,
    /// Receive queues, if the driver tells.
    pub rx_queues: Option<u32>,
    /// Transmit queues, if the driver tells.
    pub tx_queues: Option<u32>,
    /// Nominal speed, if the driver tells one that means something.
    pub speed_bps: Option<u64>,
}

impl Nic {
    /// Asks for the facts about `name`; `Ok(None)` if there is no such interface.
    ///
    /// # Errors
    /// If the kernel can't be asked at all.
    pub fn query(name: &str) -> io::Result<Option<Nic>> {
        let Ok(index) = nix::net::if_::if_nametoindex(name) else { return Ok(None) };
        let Some(request) = Request::new(name)? else { return Ok(None) };
        let flags = request.flags()?;
        let (driver, driver_version) = request.driver().unwrap_or_else(|_| ("unknown".into(), String::new()));
        let (rx_queues, tx_queues) = request.queues().map_or((None, None), |(rx, tx)| (Some(rx), Some(tx)));
        Ok(Some(Nic {
            name: name.into(),
            index,
            mac: request.mac()?,
            up: flags & libc::IFF_UP != 0,
            mtu: request.mtu()?,
            speed_bps: if VIRTUAL_DRIVERS.contains(&driver.as_str()) { None } else { request.speed_bps() },
            driver,
            driver_version,
            rx_queues,
            tx_queues,
        }))
    }

    /// Whether the interface has a carrier now; `None` if it does not tell. Not by the interface's flags, which follow
    /// up to a second later.
    pub(super) fn carrier(name: &str) -> Option<bool> {
        let mut link = CarrierValue { command: ETHTOOL_GLINK, carrier: 0 };
        Request::new(name).ok()??.ethtool(&mut link).ok()?;
        Some(link.carrier != 0)
    }

    /// Queues that a socket can be bound to, if the driver tells.
    pub fn queues(&self) -> Option<u32> {
        self.rx_queues.max(self.tx_queues)
    }
}

/// Drivers whose nominal speed is made up (veth says 10 Gbit/s whatever the machine).
const VIRTUAL_DRIVERS: [&str; 5] = ["veth", "tun", "virtio_net", "bridge", "dummy"];

/// A socket to send ioctls through, and the name to send them about.
struct Request {
    socket: OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
}

impl Request {
    fn new(name: &str) -> io::Result<Option<Request>> {
        let mut bytes = [0; libc::IFNAMSIZ];
        if name.len() >= bytes.len() {
            return Ok(None);
        }
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        // Any family answers; this one is there without IP, and a service may be denied the others.
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Some(Request { socket, name: bytes }))
    }

    fn flags(&self) -> io::Result<i32> {
        let answer = self.ask(libc::SIOCGIFFLAGS, libc::__c_anonymous_ifr_ifru { ifru_flags: 0 })?;
        // SAFETY: SIOCGIFFLAGS writes this member; every bit pattern is a valid integer.
        Ok(i32::from(unsafe { answer.ifr_ifru.ifru_flags }))
    }

    fn mtu(&self) -> io::Result<usize> {
        let answer = self.ask(libc::SIOCGIFMTU, libc::__c_anonymous_ifr_ifru { ifru_mtu: 0 })?;
        // SAFETY: SIOCGIFMTU writes this member; every bit pattern is a valid integer.
        Ok(unsafe { answer.ifr_ifru.ifru_mtu } as usize)
    }

    fn mac(&self) -> io::Result<Option<MacAddr>> {
        let nobody = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
        let answer = self.ask(libc::SIOCGIFHWADDR, libc::__c_anonymous_ifr_ifru { ifru_hwaddr: nobody })?;
        // SAFETY: SIOCGIFHWADDR writes this member; every bit pattern is a valid address.
        let address = unsafe { answer.ifr_ifru.ifru_hwaddr };
        let [a, b, c, d, e, f, ..] = address.sa_data.map(|byte| byte as u8);
        Ok((address.sa_family == libc::ARPHRD_ETHER).then_some(MacAddr(a, b, c, d, e, f)))
    }

    /// Its name and its version.
    fn driver(&self) -> io::Result<(String, String)> {
        let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], version: [0; 32], rest: [0; 128] };
        self.ethtool(&mut info)?;
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        Ok((text(&info.driver), text(&info.version)))
    }

    /// Receive and transmit queues; combined ones count as both.
    fn queues(&self) -> io::Result<(u32, u32)> {
        let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
        self.ethtool(&mut channels)?;
        Ok((channels.rx + channels.combined, channels.tx + channels.combined))
    }

    fn speed_bps(&self) -> Option<u64> {
        let mut link = LinkSettings { command: ETHTOOL_GLINKSETTINGS, ..LinkSettings::default() };
        // The first call says, as a negative number, how many words of link modes must be made room for.
        self.ethtool(&mut link).ok()?;
        let words = -link.mask_words;
        if !(1..=MASK_WORDS_MOST).contains(&words) {
            return None;
        }
        link = LinkSettings { command: ETHTOOL_GLINKSETTINGS, mask_words: words, ..LinkSettings::default() };
        self.ethtool(&mut link).ok()?;
        let known = link.speed_mbps != 0 && link.speed_mbps != u32::MAX;
        known.then(|| u64::from(link.speed_mbps) * 1_000_000)
    }

    fn ask(&self, request: libc::c_ulong, value: libc::__c_anonymous_ifr_ifru) -> io::Result<libc::ifreq> {
        let mut message = libc::ifreq { ifr_name: self.name, ifr_ifru: value };
        // SAFETY: `message` is a whole ifreq that outlives the call, and every request used here reads and writes
        // nothing else, but for SIOCETHTOOL, whose pointer `ethtool` vouches for.
        let status = unsafe { libc::ioctl(self.socket.as_raw_fd(), request, &raw mut message) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(message) }
    }

    /// `T` is one of the structs below: each as long as the kernel's, or longer.
    fn ethtool<T>(&self, data: &mut T) -> io::Result<()> {
        let pointer = std::ptr::from_mut(data).cast();
        self.ask(SIOCETHTOOL, libc::__c_anonymous_ifr_ifru { ifru_data: pointer }).map(drop)
    }
}

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GLINK: u32 = 0x0a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
/// `nwords` is an `i8` in the kernel, and it writes three masks of that many words.
const MASK_WORDS_MOST: i8 = 32;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    rest: [u8; 128],
}
const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `struct ethtool_value`.
#[repr(C)]
struct CarrierValue {
    command: u32,
    carrier: u32,
}
const _: () = assert!(size_of::<CarrierValue>() == 8);

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}
const _: () = assert!(size_of::<Channels>() == 36);

/// `struct ethtool_link_settings` with room for its three masks.
#[repr(C)]
struct LinkSettings {
    command: u32,
    speed_mbps: u32,
    modes: [u8; 7],
    mask_words: i8,
    more_modes: [u8; 4],
    reserved: [u32; 7],
    masks: [u32; 3 * MASK_WORDS_MOST as usize],
}
const _: () = assert!(size_of::<LinkSettings>() == 48 + 12 * MASK_WORDS_MOST as usize);

impl Default for LinkSettings {
    fn default() -> LinkSettings {
        LinkSettings {
            command: 0,
            speed_mbps: 0,
            modes: [0; 7],
            mask_words: 0,
            more_modes: [0; 4],
            reserved: [0; 7],
            masks: [0; 3 * MASK_WORDS_MOST as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_ethernet() {
        let lo = Nic::query("lo").unwrap().unwrap();
        assert_eq!(lo.mac, None);
        assert!(lo.mtu > 1500);
        assert!(lo.index > 0);
        assert_eq!(Nic::carrier("lo"), Some(true));
    }

    #[test]
    fn what_does_not_exist_is_none() {
        assert!(Nic::query("fwnosuchnic").unwrap().is_none());
        assert_eq!(Nic::carrier("fwnosuchnic"), None);
        assert!(Nic::query("a-name-that-no-interface-can-have").unwrap().is_none());
    }
}
