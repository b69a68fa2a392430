//! What the kernel says about an interface, without touching it.

use std::fs;
use std::process::Command;

use pnet::datalink;

use super::Finding;
use crate::api::{Nic, XdpConfig};

/// MTU beyond which a frame does not fit one chunk with every driver.
const ONE_CHUNK_MTU: usize = 3400;

/// Existence, state, address, MTU, driver and queues.
pub fn look(name: &str, xdp: &XdpConfig) -> (Vec<Finding>, Option<Nic>) {
    let nic = match Nic::query(name) {
        Ok(Some(nic)) => nic,
        Ok(None) => {
            return (vec![Finding::bad("interface", format!("{name} does not exist here"), "ip link")], None);
        }
        Err(error) => {
            let what = format!("{name}: the kernel can't be asked: {error}");
            return (vec![Finding::bad("interface", what, "run as root")], None);
        }
    };
    let findings = vec![state(&nic), mtu(&nic, xdp), driver(&nic), queues(&nic, xdp)];
    (findings, Some(nic))
}

fn state(nic: &Nic) -> Finding {
    let name = &nic.name;
    let Some(mac) = nic.mac else {
        let mend = "pick an interface that `ip link` shows as link/ether";
        return Finding::bad("interface", format!("{name} is no Ethernet"), mend);
    };
    if !nic.up {
        return Finding::bad("interface", format!("{name} is down"), format!("ip link set {name} up"));
    }
    let carrier = datalink::interfaces().iter().any(|other| other.name == *name && other.is_running());
    if !carrier {
        let mend = format!("look at the cable and the other end; ethtool {name}");
        return Finding::bad("interface", format!("{name} is up and has no carrier"), mend);
    }
    Finding::ok("interface", format!("{name} is up, {mac}"))
}

fn mtu(nic: &Nic, xdp: &XdpConfig) -> Finding {
    let (name, mtu) = (&nic.name, nic.mtu);
    let asked = xdp.mtu.map_or(mtu, usize::from);
    if asked > mtu {
        let mend = format!("ip link set {name} mtu {asked}, on both ends");
        return Finding::bad("mtu", format!("--mtu {asked} is beyond the interface's {mtu}"), mend);
    }
    if asked > ONE_CHUNK_MTU {
        let what = format!("{asked}: not every driver fits that into one frame of the pool");
        return Finding::warn("mtu", what, format!("if it is refused: ip link set {name} mtu {ONE_CHUNK_MTU}"));
    }
    if asked < ONE_CHUNK_MTU {
        let what = format!("{asked}; up to {ONE_CHUNK_MTU} would cost no more per frame, if the whole link takes it");
        return Finding::ok("mtu", what);
    }
    Finding::ok("mtu", asked.to_string())
}

fn driver(nic: &Nic) -> Finding {
    let speed = nic.speed_bps.and_then(crate::base::Rate::from_bps).map_or(String::new(), |rate| format!(", {rate}"));
    Finding::ok("driver", format!("{}{speed}", nic.driver))
}

fn queues(nic: &Nic, xdp: &XdpConfig) -> Finding {
    let (name, queue) = (&nic.name, xdp.queue);
    match nic.queues() {
        None => Finding::ok("queues", "the driver does not tell how many"),
        Some(count) if queue >= count => Finding::bad(
            "queues",
            format!("{count}, counted from 0: there is no queue {queue}"),
            format!("a lower --queue, or: ethtool -L {name} combined {}", queue + 1),
        ),
        Some(1) => Finding::ok("queues", "1: everything arrives on it"),
        // On a veth pair the sender's queue is the receiver's.
        Some(count) if nic.driver == "veth" => Finding::ok("queues", format!("{count}; both ends must use the same")),
        Some(count) => Finding::warn(
            "queues",
            format!("{count}: NICs do not spread unknown EtherTypes, so ours arrive on one of them, mostly queue 0"),
            format!("ethtool -L {name} combined 1, or: ethtool -N {name} flow-type ether proto 0x88b5 action {queue}"),
        ),
    }
}

/// Receiving on a kernel thread, which makes a veth's sender lose frames unless it has a queue.
pub fn threaded_napi(name: &str, driver: &str) -> Option<Finding> {
    let threaded = fs::read_to_string(format!("/sys/class/net/{name}/threaded")).ok()?;
    if threaded.trim() == "0" {
        return Some(Finding::ok("napi", "not threaded"));
    }
    if driver != "veth" {
        return Some(Finding::ok("napi", "threaded: receiving has kernel threads of its own"));
    }
    let queued = Command::new("tc").args(["qdisc", "show", "dev", name]).output().ok();
    let noqueue = queued.is_none_or(|output| String::from_utf8_lossy(&output.stdout).contains("noqueue"));
    Some(if noqueue {
        Finding::warn(
            "napi",
            "threaded on a veth without a queue: the other end's frames are dropped when this end is slow",
            format!("tc qdisc replace dev {name} root pfifo, on both ends"),
        )
    } else {
        Finding::ok("napi", "threaded, and the veth has a queue to push back with")
    })
}
