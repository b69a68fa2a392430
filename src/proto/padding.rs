//! Trains of padding: what leaves while the link is measured, before the first bulk data.

use super::connection::{Connection, Cx};
use super::output::{Content, Transmit};
use super::recovery::{Measuring, SendPermit, SentPacket};
use crate::base::Nanos;
use crate::wire::{CRC_LEN, HEADER_LEN, Item, PacketType};

/// In a record of a sent packet, instead of the frame or the record of its items: it carries nothing to be sent again.
const NOTHING: u32 = u32::MAX;

impl Connection {
    /// Whether data may leave. If `bulk` data waits and the link is to be measured first, that begins now.
    pub(super) fn may_send_data(&mut self, now: Nanos, bulk: bool) -> bool {
        match self.recovery.measuring() {
            Measuring::Off | Measuring::Counted => true,
            Measuring::Wanted if bulk => {
                self.recovery.on_bulk(now);
                false
            }
            Measuring::Wanted => true,
            Measuring::Train | Measuring::Listening => false,
        }
    }

    /// The next packet of a train, if one may leave now: full-sized, so that it takes as long on the wire as data does.
    pub(super) fn poll_padding(&mut self, cx: &mut Cx<'_>, body: &mut [u8]) -> Option<Transmit> {
        if self.recovery.measuring() != Measuring::Train {
            return None;
        }
        match self.recovery.poll_send(cx.now) {
            SendPermit::Now { .. } => {}
            SendPermit::At(at) => {
                self.paced_until_ns = at;
                return None;
            }
            SendPermit::Blocked => return None,
        }
        let room = (self.mtu() - HEADER_LEN - CRC_LEN).min(body.len());
        let body = &mut body[..room];
        let lowest = Item::Lowest { number: self.recovery.lowest_in_flight() }.emit(body)?;
        let len = room - lowest - Item::Padding { len: 0 }.len();
        let padding = Item::Padding { len: len as u16 }.emit(&mut body[lowest..])?;
        let sent = SentPacket { frame: NOTHING, flags: SentPacket::PADDING, ..SentPacket::default() };
        let length = lowest + padding;
        let number = self.take_number(cx, sent, HEADER_LEN + length, true);
        cx.counters.padding_packets += 1;
        self.last_asked_ns = cx.now;
        Some(self.transmit(PacketType::Control, length, Content::Body, number))
    }
}
