//! From the common flags to an endpoint: which interface, which link, and what is really in force.

use pnet::datalink::{self, NetworkInterface};

use super::exit::Failure;
use super::flags::{Cc, Common, LinkKind, OwnRate};
use super::keys::Protection;
use super::privilege::Rights;
use super::show;
use crate::api::{
    Algorithm, Endpoint, EndpointConfig, Mode, Nic, PacketConfig, XdpConfig, copied_chunk, default_umem_bytes,
};

/// What pings and questions need: the fill ring twice. Less leaves too few frames to send, more takes time to pin.
const SMALL_UMEM: u64 = 16 << 20;
/// Share of an AF_PACKET pool that is kept for receiving: what AF_XDP's fill ring keeps.
const RX_SHARE: usize = 4;

/// Opens an endpoint as the flags say, and tells on standard error what is in force. Without protection there are no
/// connections. From then on the process has those rights only.
///
/// # Errors
/// Whatever is in the way, with the next step.
pub fn endpoint(common: &Common, protection: Option<&Protection>, rights: Rights) -> Result<Endpoint, Failure> {
    with(common, protection, rights.at_open(config(common, protection)?))
}

/// The same for a server: whoever asks is let in as soon as the link is open.
///
/// # Errors
/// The same.
pub fn server(common: &Common, protection: &Protection, rights: Rights) -> Result<Endpoint, Failure> {
    with(common, Some(protection), rights.at_open(config(common, Some(protection))?.listening()))
}

fn with(common: &Common, protection: Option<&Protection>, config: EndpointConfig) -> Result<Endpoint, Failure> {
    let (interface, why) = interface(common)?;
    let endpoint = match common.link {
        LinkKind::Xdp => Endpoint::open_xdp(xdp(common, &interface), config)?,
        LinkKind::Packet => Endpoint::open_packet(packet(common, &interface)?, config)?,
    };
    for note in endpoint.notes() {
        match note.is_warning {
            true => show::status(&note.text),
            false => tracing::info!("{note}"),
        }
    }
    show::status(&format!("{}{why}", status(&endpoint, common, protection)));
    Ok(endpoint)
}

/// The line that says what is in force.
pub fn status(endpoint: &Endpoint, common: &Common, protection: Option<&Protection>) -> String {
    let caps = endpoint.caps();
    let link = match caps.mode {
        "packet" => "AF_PACKET (slower than AF_XDP)".to_owned(),
        mode => format!("AF_XDP {mode}"),
    };
    let vlan = common.vlan.map_or(String::new(), |(id, priority)| format!(", VLAN {id} priority {priority}"));
    let rate = match common.rate {
        None => String::new(),
        Some(OwnRate::At(rate)) => format!(", {rate}"),
        Some(OwnRate::Auto) => ", rate to be measured".to_owned(),
    };
    let protection = protection.map_or(String::new(), |protection| format!(", {}", protection.describe()));
    format!("{link} on {}, MTU {}, {}{vlan}{rate}{protection}", caps.name, caps.mtu, caps.mac)
}

/// What AF_XDP is to be opened with.
pub fn xdp(common: &Common, interface: &str) -> XdpConfig {
    XdpConfig {
        queue: common.queue.unwrap_or(0),
        mode: common.mode.unwrap_or(Mode::Auto),
        ethertype: common.ethertype,
        mtu: common.mtu,
        umem_bytes: umem(common),
        ..XdpConfig::new(interface)
    }
}

/// The same for a command that moves next to nothing: unless the user says otherwise, a small pool.
pub fn small(common: &Common) -> Common {
    Common { umem: common.umem.or(Some(SMALL_UMEM)), ..common.clone() }
}

/// The size of the frame pool.
pub fn umem(common: &Common) -> u64 {
    common.umem.unwrap_or_else(default_umem_bytes)
}

/// The interface to use, and a word on why if it was not named.
pub fn interface(common: &Common) -> Result<(String, String), Failure> {
    if let Some(named) = &common.interface {
        return Ok((named.clone(), String::new()));
    }
    choose(&datalink::interfaces(), default_route().as_deref()).map_err(Failure::local)
}

/// The transport's settings.
pub fn config(common: &Common, protection: Option<&Protection>) -> Result<EndpointConfig, Failure> {
    let algorithm = algorithm(common.cc, common.rate).map_err(Failure::usage)?;
    if common.link == LinkKind::Packet && (common.mode.is_some() || common.queue.is_some()) {
        return Err(Failure::usage("--mode and --queue are for --link xdp; leave them out, or --link packet"));
    }
    if let (LinkKind::Packet, Some((id, _))) = (common.link, common.vlan) {
        return Err(Failure::usage(format!(
            "--link packet can't see VLAN tags, since the kernel takes them off; make an interface for VLAN {id} \
             (`ip link add link IFACE name IFACE.{id} type vlan id {id}`) and use it with -i, without --vlan"
        )));
    }
    let config = protection.map_or_else(EndpointConfig::insecure, Protection::config);
    let mut config = config.idle(common.idle).algorithm(algorithm).ethertype(common.ethertype);
    if let Some(cpu) = common.cpu {
        config = config.cpu(cpu);
    }
    if let Some(path) = &common.pcap {
        config = config.capture(path);
    }
    if let Some((id, priority)) = common.vlan {
        config = config.vlan(id, priority);
    }
    Ok(config)
}

fn algorithm(cc: Option<Cc>, rate: Option<OwnRate>) -> Result<Algorithm, &'static str> {
    match (cc, rate) {
        (None | Some(Cc::Fixed), Some(OwnRate::At(rate))) => Ok(Algorithm::Fixed(rate)),
        (None, Some(OwnRate::Auto)) => Ok(Algorithm::Auto),
        (Some(Cc::Fixed), None) => Err("--cc fixed needs to know at which rate; say for example --rate 9.5gbit"),
        (Some(_), Some(OwnRate::Auto)) => Err("--rate auto is a congestion control by itself; leave out --cc"),
        (Some(_), Some(_)) => Err("--rate is for --cc fixed; leave out one of the two"),
        (None | Some(Cc::Bbr), None) => Ok(Algorithm::Bbr),
        (Some(Cc::Cubic), None) => Ok(Algorithm::Cubic),
        (Some(Cc::Reno), None) => Ok(Algorithm::Reno),
    }
}

fn packet(common: &Common, interface: &str) -> Result<PacketConfig, Failure> {
    let nic = Nic::query(interface).map_err(Failure::local)?;
    let most = nic.map_or(1500, |nic| nic.mtu);
    let mtu = common.mtu.map_or(most, usize::from);
    if mtu > most {
        return Err(Failure::local(format!(
            "{interface}: --mtu {mtu} is beyond the interface's MTU of {most}; ask for less, or say \
             `ip link set {interface} mtu {mtu}`"
        )));
    }
    // So that `--umem` means the same for both links.
    let frames = umem(common) as usize / copied_chunk(mtu);
    Ok(PacketConfig {
        interface: interface.to_owned(),
        ethertype: common.ethertype,
        mtu,
        frames,
        rx_reserve: (frames / RX_SHARE).max(1),
    })
}

/// The one sensible interface: up, Ethernet, and not the way to everywhere else if there is another.
fn choose(all: &[NetworkInterface], default_route: Option<&str>) -> Result<(String, String), String> {
    let usable =
        |nic: &&NetworkInterface| nic.is_up() && !nic.is_loopback() && nic.mac.is_some_and(|mac| !mac.is_zero());
    let mut candidates: Vec<&str> = all.iter().filter(usable).map(|nic| nic.name.as_str()).collect();
    if candidates.len() > 1 {
        candidates.retain(|name| Some(*name) != default_route);
    }
    match candidates[..] {
        [only] => Ok((only.to_owned(), " (the only sensible interface; -i says another)".to_owned())),
        [] => {
            let down: Vec<&str> =
                all.iter().filter(|nic| !nic.is_loopback() && !nic.is_up()).map(|nic| nic.name.as_str()).collect();
            Err(match down[..] {
                [] => "there is no Ethernet interface here; `ip link` lists what there is".to_owned(),
                _ => format!("no Ethernet interface is up; say `ip link set {} up`", down.join("` or `ip link set ")),
            })
        }
        _ => Err(format!("more than one interface could be meant; say which: -i {}", candidates.join(" or -i "))),
    }
}

/// The interface that holds the IPv4 default route, if any.
fn default_route() -> Option<String> {
    let routes = std::fs::read_to_string("/proc/thread-self/net/route").ok()?;
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use pnet::util::MacAddr;

    use super::*;
    use crate::base::Rate;

    fn nic(name: &str, up: bool) -> NetworkInterface {
        let loopback = name == "lo";
        let flags = if up { libc::IFF_UP } else { 0 } | if loopback { libc::IFF_LOOPBACK } else { 0 };
        let mac = Some(if loopback { MacAddr::zero() } else { MacAddr::new(2, 0, 0, 0, 0, 1) });
        NetworkInterface {
            name: name.into(),
            description: String::new(),
            index: 1,
            mac,
            ips: vec![],
            flags: flags as u32,
        }
    }

    #[test]
    fn the_only_sensible_interface_is_taken() {
        let name = |all: &[NetworkInterface], route| choose(all, route).map(|(name, _)| name);
        let (lo, one, two, down) = (nic("lo", true), nic("eth0", true), nic("eth1", true), nic("eth2", false));
        assert_eq!(name(&[lo.clone(), one.clone()], Some("eth0")), Ok("eth0".into()));
        assert_eq!(name(&[lo.clone(), one.clone(), two.clone(), down.clone()], Some("eth0")), Ok("eth1".into()));
        assert!(name(&[one.clone(), two.clone()], None).unwrap_err().contains("-i eth0 or -i eth1"));
        assert!(name(&[lo.clone(), down], None).unwrap_err().contains("ip link set eth2 up"));
        assert!(name(&[lo], None).unwrap_err().contains("no Ethernet"));
    }

    #[test]
    fn a_rate_means_fixed_and_fixed_needs_a_rate() {
        let rate = OwnRate::At(Rate::from_bps(1_000_000).unwrap());
        assert!(matches!(algorithm(None, Some(rate)), Ok(Algorithm::Fixed(_))));
        assert!(algorithm(Some(Cc::Fixed), None).unwrap_err().contains("--rate"));
        assert!(algorithm(Some(Cc::Reno), Some(rate)).is_err());
        assert!(matches!(algorithm(None, None), Ok(Algorithm::Bbr)));
        assert!(matches!(algorithm(Some(Cc::Cubic), None), Ok(Algorithm::Cubic)));
        assert!(matches!(algorithm(None, Some(OwnRate::Auto)), Ok(Algorithm::Auto)));
        assert!(algorithm(Some(Cc::Fixed), Some(OwnRate::Auto)).is_err());
    }
}
