//! The way in: frames from the link, checked and opened, to the transport; completions back to their places.

use super::Engine;
use crate::base::{MacAddr, Nanos};
use crate::link::{BURST, Frame, Link};
use crate::proto::{Packet, Verdict};
use crate::wire::eth::{Ethernet, same_mac};
use crate::wire::{HEADER_LEN, Header, PacketType, ParseError, TAG_LEN, crc};

/// Why a frame is not looked at any further.
enum Drop {
    NotOurs,
    Truncated,
    Malformed,
    Checksum,
    /// Another version; with the offset of the packet in the frame.
    Version(usize),
    /// For a connection that we don't know, or not to be believed: counted already.
    Told,
}

/// Where a frame's packet stands, and what it says of itself.
struct Envelope {
    src: MacAddr,
    offset: usize,
    header: Header,
}

impl<L: Link> Engine<L> {
    /// Takes back frames whose transmission has ended.
    pub(super) fn reap(&mut self) -> usize {
        let mut reaped = std::mem::take(&mut self.reaped);
        let count = self.link.reap(&mut reaped);
        self.in_link = self.in_link.saturating_sub(count);
        for frame in reaped.drain(..) {
            let id = frame.id();
            match self.frames.on_reaped(frame) {
                Some(frame) => self.free(frame),
                None => self.endpoint.on_completed(id),
            }
        }
        self.reaped = reaped;
        count
    }

    /// Passes one burst of received frames to the transport.
    pub(super) fn receive(&mut self, now: Nanos) -> usize {
        let mut burst = std::mem::take(&mut self.rx);
        let count = self.link.rx_burst(&mut burst, BURST);
        if count > 0 {
            self.latencies.burst_size.record(count as u64);
        }
        for frame in burst.drain(..) {
            self.on_frame(now, frame);
        }
        self.rx = burst;
        self.drain_output(now);
        count
    }

    fn on_frame(&mut self, now: Nanos, mut frame: Frame) {
        let counters = self.endpoint.counters();
        counters.rx_frames += 1;
        counters.rx_bytes += frame.len() as u64;
        let opened = self.parse(&frame).and_then(|envelope| self.open(now, &mut frame, envelope));
        let verdict = match opened {
            Ok(Envelope { src, offset, header }) => {
                let body = &frame.bytes()[offset + HEADER_LEN..offset + header.end()];
                self.endpoint.on_packet(now, &Packet { src, header, body, frame: frame.id() })
            }
            Err(drop) => {
                self.on_drop(now, &frame, drop);
                Verdict::Free
            }
        };
        match verdict {
            Verdict::Kept => self.frames.retain(frame, now),
            Verdict::Free => self.free(frame),
            Verdict::Echo(transmit) => self.echo(frame, &transmit),
        }
    }

    /// Checks everything about a frame that can be checked without knowing a connection.
    fn parse(&self, frame: &Frame) -> Result<Envelope, Drop> {
        let bytes = frame.bytes();
        let (ethernet, offset) = Ethernet::parse(bytes).ok_or(Drop::Truncated)?;
        if !self.is_ours(&ethernet) {
            return Err(Drop::NotOurs);
        }
        let packet = &bytes[offset..];
        let header = Header::parse(packet).map_err(|error| match error {
            ParseError::Truncated => Drop::Truncated,
            ParseError::Version(_) => Drop::Version(offset),
            ParseError::Malformed(_) => Drop::Malformed,
        })?;
        if header.kind != PacketType::Query && ethernet.dst.is_broadcast() {
            return Err(Drop::NotOurs);
        }
        if packet.len() < header.end() + header.tail_len() {
            return Err(Drop::Truncated);
        }
        if !header.has_tag() && !crc::check(packet, header.end()) {
            return Err(Drop::Checksum);
        }
        Ok(Envelope { src: ethernet.src, offset, header })
    }

    /// Decrypts a sealed packet in place, with its connection's keys; others pass as they are.
    fn open(&mut self, now: Nanos, frame: &mut Frame, envelope: Envelope) -> Result<Envelope, Drop> {
        let Envelope { src, offset, header } = envelope;
        let Some(phase) = header.seal.filter(|_| header.has_tag()) else { return Ok(envelope) };
        let Some(protection) = self.endpoint.opener(now, src, &header) else { return Err(Drop::Told) };
        let packet = &mut frame.bytes_mut()[offset..offset + header.end() + TAG_LEN];
        let (head, sealed) = packet.split_at_mut(HEADER_LEN);
        if !protection.open(phase, header.number, head, sealed) {
            self.endpoint.counters().drop_unauthentic += 1;
            return Err(Drop::Told);
        }
        Ok(envelope)
    }

    fn is_ours(&self, ethernet: &Ethernet) -> bool {
        ethernet.ethertype == self.ethernet.ethertype
            // A tag with VLAN 0 is one all the same: with it, everything behind it stands four bytes later.
            && ethernet.vlan.map(|vlan| vlan.id) == self.ethernet.vlan.map(|vlan| vlan.id)
            && (same_mac(ethernet.dst, self.ethernet.src) || ethernet.dst.is_broadcast())
            && !same_mac(ethernet.src, self.ethernet.src)
    }

    fn on_drop(&mut self, now: Nanos, frame: &Frame, drop: Drop) {
        let counters = self.endpoint.counters();
        match drop {
            Drop::NotOurs => counters.drop_not_ours += 1,
            Drop::Truncated => counters.drop_truncated += 1,
            Drop::Malformed => counters.drop_malformed += 1,
            Drop::Checksum => counters.drop_checksum += 1,
            Drop::Version(offset) => self.on_foreign(now, frame.bytes(), offset),
            Drop::Told => {}
        }
    }

    /// A packet of another version: an open is answered with the versions that we speak.
    fn on_foreign(&mut self, now: Nanos, bytes: &[u8], offset: usize) {
        let packet = &bytes[offset..];
        let kind = Header::peek(packet).map(|(_, kind, _)| kind);
        match (Ethernet::parse(bytes), kind, packet.get(HEADER_LEN..)) {
            (Some((ethernet, _)), Some(kind), Some(body)) if kind == PacketType::Open as u8 => {
                self.endpoint.on_foreign_open(now, ethernet.src, body);
            }
            _ => self.endpoint.counters().drop_version += 1,
        }
    }
}
