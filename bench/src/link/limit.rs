//! The goodput limit: what a link can carry for an application, whatever the protocol does.
//!
//! limit = link rate × payload share of the wire bytes × (1 − loss). On the wire a full frame takes its MTU, the
//! Ethernet header, FCS, preamble and gap; of that the protocol's headers are taken off.

use farwire::proto::max_payload;
use farwire::wire::CRC_LEN;

use super::cell::Cell;

/// Ethernet header, FCS, preamble with start delimiter, and the gap between two frames (IEEE 802.3).
const AROUND_MTU: u64 = 14 + 4 + 8 + 12;
/// IPv4 and TCP headers, and the timestamp option that Linux always sends (RFC 7323).
const TCP_HEADERS: u64 = 20 + 20 + 12;
/// IPv4 and UDP headers, which every rival in user space carries before its own.
const UDP_HEADERS: u64 = 20 + 8;

/// Bytes that a frame with an Ethernet payload of `len` takes on the wire.
pub fn wire_bytes(len: u64) -> u64 {
    len + AROUND_MTU
}

/// The limit of a cell by farwire's header: what every "of the limit" in a report refers to.
pub fn goodput_bps(cell: &Cell) -> f64 {
    by_payload(cell, max_payload(usize::from(cell.mtu), CRC_LEN) as u64)
}

/// The same by TCP's headers.
pub fn tcp_goodput_bps(cell: &Cell) -> f64 {
    by_payload(cell, u64::from(cell.mtu) - TCP_HEADERS)
}

/// The same for a datagram's payload, before a user-space protocol takes its own header off.
pub fn udp_goodput_bps(cell: &Cell) -> f64 {
    by_payload(cell, u64::from(cell.mtu) - UDP_HEADERS)
}

/// What full frames of the link's MTU would come to, in bits per second of Ethernet frames without FCS: what a
/// link emulator counts as delivered.
pub fn frames_bps(cell: &Cell) -> f64 {
    by_payload(cell, u64::from(cell.mtu) + 14)
}

fn by_payload(cell: &Cell, payload: u64) -> f64 {
    let share = payload as f64 / wire_bytes(u64::from(cell.mtu)) as f64;
    cell.rate_bps as f64 * share * (1.0 - cell.loss.share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_a_gigabit() {
        let cell = |loss: &str| Cell {
            rate_bps: 1_000_000_000,
            mtu: 1500,
            rtt_ms: 100.0,
            loss: loss.parse().unwrap(),
            queue_bdp: 1.0,
        };
        let mbit = |bps: f64| (bps / 1e5).round() / 10.0;
        // 1464, 1448, 1472 and 1514 bytes of 1538.
        assert_eq!(mbit(goodput_bps(&cell("0"))), 951.9);
        assert_eq!(mbit(tcp_goodput_bps(&cell("0"))), 941.5);
        assert_eq!(mbit(udp_goodput_bps(&cell("0"))), 957.1);
        assert_eq!(mbit(frames_bps(&cell("0"))), 984.4);
        assert_eq!(mbit(goodput_bps(&cell("5%"))), 904.3);
        assert_eq!(mbit(goodput_bps(&cell("1%/20"))), 942.4);
    }
}
