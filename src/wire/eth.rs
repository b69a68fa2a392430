//! The Ethernet header, with one 802.1Q tag or none.

use pnet::packet::Packet;
use pnet::packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::vlan::{ClassOfService, MutableVlanPacket, VlanPacket};

use super::{ETHERNET_LEN, VLAN_TAG_LEN};
use crate::base::MacAddr;

/// The highest VLAN id that may be used (0xFFF is reserved).
pub const MAX_VLAN_ID: u16 = 0xFFE;

/// The Ethernet header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ethernet {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// The 802.1Q tag, if there is one.
    pub vlan: Option<Vlan>,
    /// What the frame carries (behind the tag).
    pub ethertype: u16,
}

/// An 802.1Q tag (the drop-eligible bit is ignored in parsing and never set).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vlan {
    /// VLAN id, 12 bits; 0 for a tag that only carries a priority.
    pub id: u16,
    /// Priority code point, 3 bits.
    pub pcp: u8,
}

impl Ethernet {
    /// The header and its length in bytes; `None` if the frame is shorter. A second tag is not looked behind.
    pub fn parse(frame: &[u8]) -> Option<(Ethernet, usize)> {
        let outer = EthernetPacket::new(frame)?;
        let (dst, src, ethertype) = (outer.get_destination(), outer.get_source(), outer.get_ethertype());
        if ethertype != EtherTypes::Vlan {
            return Some((Ethernet { dst, src, vlan: None, ethertype: ethertype.0 }, ETHERNET_LEN));
        }
        let tag = VlanPacket::new(outer.payload())?;
        let vlan = Vlan { id: tag.get_vlan_identifier(), pcp: tag.get_priority_code_point().0 };
        let ethertype = tag.get_ethertype().0;
        Some((Ethernet { dst, src, vlan: Some(vlan), ethertype }, ETHERNET_LEN + VLAN_TAG_LEN))
    }

    /// Writes the header to the front of `out` and returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than [`Ethernet::len`]: the frame is ours.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let len = self.len();
        let room = out.len();
        let header = out.get_mut(..len);
        let Some(mut outer) = header.and_then(MutableEthernetPacket::new) else {
            panic!("an Ethernet header of {len} bytes does not fit {room}");
        };
        outer.set_destination(self.dst);
        outer.set_source(self.src);
        let Some(vlan) = self.vlan else {
            outer.set_ethertype(EtherType(self.ethertype));
            return len;
        };
        outer.set_ethertype(EtherTypes::Vlan);
        let mut bytes = [0; VLAN_TAG_LEN];
        if let Some(mut tag) = MutableVlanPacket::new(&mut bytes) {
            tag.set_priority_code_point(ClassOfService(vlan.pcp & 7));
            tag.set_vlan_identifier(vlan.id & 0xFFF);
            tag.set_ethertype(EtherType(self.ethertype));
        }
        outer.set_payload(&bytes);
        len
    }

    /// Bytes that the header takes: 14, or 18 with a tag.
    #[allow(clippy::len_without_is_empty)] // a header is never empty
    pub fn len(&self) -> usize {
        ETHERNET_LEN + if self.vlan.is_some() { VLAN_TAG_LEN } else { 0 }
    }
}

/// Whether two addresses are equal, compared as one number: this runs for each packet, and the derived comparison
/// takes a branch for each byte.
#[inline]
pub fn same_mac(a: MacAddr, b: MacAddr) -> bool {
    let number = |MacAddr(a, b, c, d, e, f): MacAddr| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    number(a) == number(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DST: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
    const SRC: MacAddr = MacAddr(2, 0, 0, 0, 0, 2);

    #[test]
    fn a_tag_keeps_its_id_and_priority() {
        let header = Ethernet { dst: DST, src: SRC, vlan: Some(Vlan { id: 0xABC, pcp: 5 }), ethertype: 0x88B5 };
        let mut out = [0xFF; 20];
        assert_eq!(header.emit(&mut out), 18);
        assert_eq!(out[12..], [0x81, 0x00, 0xAA, 0xBC, 0x88, 0xB5, 0xFF, 0xFF]);
        assert_eq!(Ethernet::parse(&out), Some((header, 18)));
    }

    #[test]
    fn a_runt_is_none() {
        let header = Ethernet { dst: DST, src: SRC, vlan: None, ethertype: 0x88B5 };
        let mut out = [0; 14];
        assert_eq!(header.emit(&mut out), 14);
        for len in 0..14 {
            assert_eq!(Ethernet::parse(&out[..len]), None);
        }
        out[12..].copy_from_slice(&[0x81, 0x00]);
        assert_eq!(Ethernet::parse(&out), None);
    }
}
