//! Frames that were lost for the emulator's own sake, not the profile's.

use farwire::xdp::XdpPair;
use farwire::xdp::pair::Side;

/// Counters of an interface that no frame should have moved, with what it means if one did.
const ON_ARRIVAL: [(&str, &str); 5] = [
    ("kernel_rx_dropped", "nothing to receive into: the emulator was held up, or needs more --umem"),
    ("kernel_rx_ring_full", "the rx ring was full: the machine is too busy"),
    (
        "steer_too_long",
        "longer than fits: switch segmentation offload off at the neighbour (ethtool -K IF tso off gso off)",
    ),
    ("steer_no_socket", "arrived on another queue than 0: let the interface have one (ethtool -L)"),
    ("xdp_invalid_received", "descriptors that made no sense"),
];

const ON_DEPARTURE: [(&str, &str); 3] = [
    ("xdp_tx_dropped_by_driver", "the driver dropped them: the neighbour has a smaller MTU, or did not keep up"),
    ("interface_tx_dropped", "the interface dropped them: the neighbour is down, or did not keep up"),
    ("kernel_tx_invalid_descs", "the kernel refused them"),
];

/// One kind of loss: the counter's name, how many, what it means.
pub type Loss = (&'static str, u64, &'static str);

/// What an interface's counters said when the run began.
pub struct Baseline([Vec<(&'static str, u64)>; 2]);

impl Baseline {
    /// What they say now.
    pub fn of(pair: &XdpPair) -> Baseline {
        Baseline([Side::First, Side::Second].map(|side| counters(pair, side)))
    }

    /// What was lost since then on the way from one side to the other, by kind; also those kinds that took none.
    pub fn losses(&self, pair: &XdpPair, from: Side, to: Side) -> Vec<Loss> {
        let (arrival, departure) = (counters(pair, from), counters(pair, to));
        let lost = |now: &[(&str, u64)], side: Side, name: &str| {
            let value =
                |all: &[(&str, u64)]| all.iter().find(|(known, _)| *known == name).map_or(0, |counter| counter.1);
            value(now).saturating_sub(value(&self.0[side as usize]))
        };
        let arrival = ON_ARRIVAL.map(|(name, why)| (name, lost(&arrival, from, name), why));
        let mut departure = ON_DEPARTURE.map(|(name, why)| (name, lost(&departure, to, name), why));
        // The interface counts what its driver dropped as well.
        departure[1].1 = departure[1].1.saturating_sub(departure[0].1);
        arrival.into_iter().chain(departure).collect()
    }
}

fn counters(pair: &XdpPair, side: Side) -> Vec<(&'static str, u64)> {
    let mut counters = pair.stats(side);
    let interface = pair.caps(side).name.split(' ').next().unwrap_or_default();
    counters.extend(interface_tx_dropped(interface).map(|dropped| ("interface_tx_dropped", dropped)));
    counters
}

/// What the kernel's own statistics say; veth counts here what its other end had no room for.
fn interface_tx_dropped(interface: &str) -> Option<u64> {
    // Not from sysfs, which shows the network namespace that it was mounted in.
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    let (_, row) = table.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == interface)?;
    // Eight columns of receiving come first; of sending: bytes, packets, errors, dropped.
    row.split_whitespace().nth(8 + 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_each_interface() {
        assert_eq!(interface_tx_dropped("lo"), Some(0));
        assert_eq!(interface_tx_dropped("nosuch"), None);
    }
}
