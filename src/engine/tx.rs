//! The way out: packets that the transport wants sent, written in place, to the link.

use super::Engine;
use crate::base::size::MIN_FRAME_LEN;
use crate::base::{FrameId, Nanos};
use crate::link::{BURST, Frame, Link};
use crate::proto::{Content, Transmit};
use crate::wire::header::{TRAILER_LEN, emit_data, emit_trailer};
use crate::wire::{HEADER_LEN, Header, Ping, STREAM_HEADER_LEN, StreamHeader, TAG_LEN, crc};

/// Frames that may wait for the link when an echo is added: a burst of echoes beside a burst of our own. More would let
/// pings take the pool while an interface is down.
const MAX_WAITING: usize = 2 * BURST;

impl<L: Link> Engine<L> {
    /// Sends one burst.
    pub(super) fn transmit(&mut self, now: Nanos) -> usize {
        let mut sent = 0;
        while self.tx.len() < BURST && self.has_spare() {
            let (frames, body) = (&self.frames, &mut self.body);
            let busy = |frame: FrameId| frames.is_in_link(frame);
            let Some(transmit) = self.endpoint.poll_transmit(now, &busy, body) else { break };
            self.put(now, &transmit);
            sent += 1;
        }
        self.endpoint.next_connection();
        if !self.tx.is_empty() {
            let taken = self.link.tx_burst(&mut self.tx);
            self.in_link += taken;
            sent = sent.max(taken);
        }
        sent
    }

    /// A frame for a packet of our own is at hand. Without one nothing is asked of the transport, so nothing is lost.
    fn has_spare(&mut self) -> bool {
        if self.spare.is_empty() {
            while self.spare.len() < BURST / 4 {
                let Some(frame) = self.link.alloc() else { break };
                self.spare.push(frame);
            }
            if self.spare.is_empty() {
                self.endpoint.counters().tx_no_frame += 1;
            }
        }
        !self.spare.is_empty()
    }

    fn put(&mut self, now: Nanos, transmit: &Transmit) {
        let frame = match transmit.content {
            Content::Segment { frame, first, .. } => {
                if first {
                    let queued_ns = now.saturating_sub(self.frames.committed_ns(frame));
                    self.latencies.queueing.record(queued_ns);
                }
                self.frames.take_for_link(frame)
            }
            Content::Body | Content::Ping(_) => self.spare.pop(),
        };
        let Some(mut frame) = frame else { return };
        match &transmit.content {
            Content::Segment { first: false, .. }
                if transmit.header.seal.is_some() && !self.unseal(&mut frame, transmit) =>
            {
                self.spoiled(now, frame, transmit);
                return;
            }
            Content::Segment { stream, payload_len, items_len, .. } => {
                self.put_segment(&mut frame, transmit, stream, *payload_len, *items_len);
            }
            Content::Body => self.put_body(&mut frame, transmit),
            Content::Ping(ping) => self.put_ping(&mut frame, transmit, ping),
        }
        self.queue(frame);
    }

    /// Sends a received frame back to where it came from: the echo of a ping.
    pub(super) fn echo(&mut self, mut frame: Frame, transmit: &Transmit) {
        let Content::Ping(ping) = transmit.content else { return self.free(frame) };
        if self.tx.len() >= MAX_WAITING {
            self.endpoint.counters().tx_answers_dropped += 1;
            return self.free(frame);
        }
        self.put_ping(&mut frame, transmit, &ping);
        self.queue(frame);
    }

    fn queue(&mut self, frame: Frame) {
        let counters = self.endpoint.counters();
        counters.tx_frames += 1;
        counters.tx_bytes += frame.len() as u64;
        self.tx.push_back(frame);
    }

    /// Decrypts a segment that was sent before, in place: its frame holds it as it left last, header and tag included.
    fn unseal(&self, frame: &mut Frame, transmit: &Transmit) -> bool {
        let offset = self.ethernet.len();
        let Some(protection) = transmit.conn.and_then(|conn| self.endpoint.sealer(conn)) else { return false };
        let Ok(header) = Header::parse(&frame.bytes()[offset..]) else { return false };
        let Some(packet) = frame.bytes_mut().get_mut(offset..offset + header.end() + TAG_LEN) else { return false };
        let (head, sealed) = packet.split_at_mut(HEADER_LEN);
        header.seal.is_some_and(|phase| protection.unseal(phase, header.number, head, sealed))
    }

    /// A segment can't be sent again: its connection ends, since it can't be completed.
    fn spoiled(&mut self, now: Nanos, frame: Frame, transmit: &Transmit) {
        if let Some(frame) = self.frames.on_reaped(frame) {
            self.free(frame);
        }
        if let Some(conn) = transmit.conn {
            self.endpoint.on_spoiled(now, conn);
        }
    }

    /// Both headers, the items and the tag or CRC around a payload that is in place.
    fn put_segment(
        &mut self,
        frame: &mut Frame,
        transmit: &Transmit,
        stream: &StreamHeader,
        payload_len: usize,
        items_len: usize,
    ) {
        let offset = self.put_ethernet(frame, transmit);
        let packet = &mut frame.room_mut()[offset..];
        emit_data(packet, &transmit.header, stream);
        if items_len > 0 {
            let items = HEADER_LEN + STREAM_HEADER_LEN + payload_len;
            packet[items..items + items_len].copy_from_slice(&self.body[..items_len]);
            emit_trailer(&mut packet[items + items_len..items + items_len + TRAILER_LEN], items_len as u16);
        }
        self.seal(frame, offset, transmit);
    }

    fn put_body(&mut self, frame: &mut Frame, transmit: &Transmit) {
        let offset = self.put_ethernet(frame, transmit);
        let packet = &mut frame.room_mut()[offset..];
        transmit.header.emit(packet);
        let length = usize::from(transmit.header.length);
        packet[HEADER_LEN..HEADER_LEN + length].copy_from_slice(&self.body[..length]);
        self.seal(frame, offset, transmit);
    }

    fn put_ping(&mut self, frame: &mut Frame, transmit: &Transmit, ping: &Ping) {
        let offset = self.put_ethernet(frame, transmit);
        let packet = &mut frame.room_mut()[offset..];
        transmit.header.emit(packet);
        ping.emit(&mut packet[HEADER_LEN..], usize::from(transmit.header.length));
        self.seal(frame, offset, transmit);
    }

    fn put_ethernet(&mut self, frame: &mut Frame, transmit: &Transmit) -> usize {
        self.ethernet.dst = transmit.dst;
        self.ethernet.emit(frame.room_mut())
    }
    /// Ends the packet at `offset` with its tag, everything behind its header encrypted, or with its CRC; and the frame
    /// with padding if it is too short.
    fn seal(&self, frame: &mut Frame, offset: usize, transmit: &Transmit) {
        let (header, room) = (&transmit.header, frame.room_mut());
        let (packet, end) = (&mut room[offset..], header.end());
        let protection = transmit.conn.filter(|_| header.has_tag()).and_then(|conn| self.endpoint.sealer(conn));
        let len = offset + end + header.tail_len();
        match (protection, header.seal) {
            (Some(protection), Some(phase)) => {
                let (head, body) = packet[..end].split_at_mut(HEADER_LEN);
                // A body that can't be sealed must not leave readable: without a tag it is refused, and its body is
                // gone.
                match protection.seal(phase, header.number, head, body) {
                    Some(tag) => packet[end..end + TAG_LEN].copy_from_slice(&tag),
                    None => packet[HEADER_LEN..end + TAG_LEN].fill(0),
                }
            }
            // Sealed, and its connection gone since: nothing of it leaves.
            _ if header.has_tag() => packet[HEADER_LEN..end + TAG_LEN].fill(0),
            _ => drop(crc::emit(packet, end)),
        }
        // Some drivers drop what is shorter instead of padding it.
        if len < MIN_FRAME_LEN {
            room[len..MIN_FRAME_LEN].fill(0);
        }
        frame.set_len(len.max(MIN_FRAME_LEN));
    }
}
