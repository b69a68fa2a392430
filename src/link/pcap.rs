//! A tee around any link: what passes goes into a pcapng capture as well, with nanoseconds and directions.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::{BURST, Caps, Frame, Link, LinkError};
use crate::base::Nanos;

/// Where time stamps come from: nanoseconds since 1970 if the capture is to show the time of day.
pub type CaptureClock = Box<dyn Fn() -> Nanos + Send>;

/// A link that records what passes through another one.
///
/// The capture never stops the link: after the first write that fails nothing more is written (the file could not be
/// read behind a torn block anyway), and every packet left out is counted as `pcap_lost`.
pub struct PcapTee<L: Link> {
    inner: L,
    out: Box<dyn Write + Send>,
    clock: CaptureClock,
    /// Bytes of each frame to keep; `u32::MAX` for all.
    snaplen: u32,
    /// Blocks of the current burst.
    blocks: Vec<u8>,
    unflushed: bool,
    broken: bool,
    captured: u64,
    lost: u64,
}

/// Which way a packet went, as the two lowest bits of pcapng's packet flags say it.
#[derive(Clone, Copy)]
enum Direction {
    Received = 1,
    Sent = 2,
}

impl<L: Link> PcapTee<L> {
    /// Records `inner` into a new file, whole frames.
    ///
    /// # Errors
    /// If the file can't be created.
    pub fn create(inner: L, path: &Path, clock: CaptureClock) -> io::Result<PcapTee<L>> {
        let file = File::create(path)?;
        Ok(PcapTee::new(inner, Box::new(BufWriter::new(file)), clock, 0))
    }

    /// Records `inner` into `out`, at most `snaplen` bytes of each frame (0: all of them).
    ///
    /// Blocks are written once per burst and flushed once per kick; give it a buffered writer.
    pub fn new(inner: L, out: Box<dyn Write + Send>, clock: CaptureClock, snaplen: u32) -> PcapTee<L> {
        let mut tee = PcapTee {
            inner,
            out,
            clock,
            snaplen: if snaplen == 0 { u32::MAX } else { snaplen },
            blocks: Vec::new(),
            unflushed: false,
            broken: false,
            captured: 0,
            lost: 0,
        };
        section_header(&mut tee.blocks);
        interface_description(&mut tee.blocks, tee.inner.caps(), snaplen);
        tee.write(tee.blocks.len(), 0);
        tee
    }

    /// Writes the first `bytes` of the encoded blocks, which hold `packets` packets, and forgets all of them.
    fn write(&mut self, bytes: usize, packets: u64) {
        if !self.broken {
            self.broken = self.out.write_all(&self.blocks[..bytes]).is_err();
            self.unflushed |= bytes > 0;
        }
        *if self.broken { &mut self.lost } else { &mut self.captured } += packets;
        self.blocks.clear();
    }
}

impl<L: Link> Link for PcapTee<L> {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn alloc(&mut self) -> Option<Frame> {
        self.inner.alloc()
    }

    fn free(&mut self, frame: Frame) {
        self.inner.free(frame);
    }

    fn free_frames(&self) -> usize {
        self.inner.free_frames()
    }

    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        let count = self.inner.rx_burst(out, max);
        if count > 0 {
            let now = (self.clock)();
            for frame in &out[out.len() - count..] {
                enhanced_packet(&mut self.blocks, frame, now, Direction::Received, self.snaplen);
            }
            self.write(self.blocks.len(), count as u64);
        }
        count
    }

    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        let mut total = 0;
        while !frames.is_empty() {
            // The inner link takes frames away, so they are encoded before it says how many it takes.
            let now = (self.clock)();
            let mut burst: VecDeque<Frame> = frames.drain(..frames.len().min(BURST)).collect();
            let mut ends = [0; BURST + 1];
            for (at, frame) in burst.iter().enumerate() {
                enhanced_packet(&mut self.blocks, frame, now, Direction::Sent, self.snaplen);
                ends[at + 1] = self.blocks.len();
            }
            let taken = self.inner.tx_burst(&mut burst);
            self.write(ends[taken], taken as u64);
            total += taken;
            if !burst.is_empty() {
                burst.into_iter().rev().for_each(|frame| frames.push_front(frame));
                break;
            }
        }
        total
    }

    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        self.inner.reap(done)
    }

    fn kick(&mut self) -> Result<(), LinkError> {
        if self.unflushed {
            self.unflushed = false;
            self.broken |= self.out.flush().is_err();
        }
        self.inner.kick()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let mut stats = self.inner.stats();
        stats.extend([("pcap_captured", self.captured), ("pcap_lost", self.lost)]);
        stats
    }
}

impl<L: Link> Drop for PcapTee<L> {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.out.flush();
    }
}

// Block types and options of pcapng (draft-ietf-opsawg-pcapng). Blocks are padded to 4 bytes, all in little endian.

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;
const LINKTYPE_ETHERNET: u32 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_MACADDR: u16 = 6;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

fn section_header(out: &mut Vec<u8>) {
    block(out, SECTION_HEADER, |out| {
        word(out, BYTE_ORDER_MAGIC);
        // Version 1.0, and a section whose length nobody knows yet.
        out.extend([1, 0, 0, 0]);
        out.extend([0xFF; 8]);
        option(out, SHB_USERAPPL, concat!("farwire ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(out, 0, &[]);
    });
}

fn interface_description(out: &mut Vec<u8>, caps: &Caps, snaplen: u32) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        word(out, LINKTYPE_ETHERNET);
        word(out, snaplen);
        option(out, IF_NAME, caps.name.as_bytes());
        option(out, IF_MACADDR, &caps.mac.octets());
        // Ten to the minus nine.
        option(out, IF_TSRESOL, &[9]);
        option(out, 0, &[]);
    });
}

fn enhanced_packet(out: &mut Vec<u8>, frame: &Frame, now: Nanos, direction: Direction, snaplen: u32) {
    let length: usize = frame.chain().map(Frame::len).sum();
    let captured = length.min(snaplen as usize);
    block(out, ENHANCED_PACKET, |out| {
        // The only interface of the section; its time stamp's upper half comes first.
        for value in [0, (now >> 32) as u32, now as u32, captured as u32, length as u32] {
            word(out, value);
        }
        let end = out.len() + captured;
        for chunk in frame.chain() {
            let bytes = chunk.bytes();
            out.extend(&bytes[..bytes.len().min(end - out.len())]);
        }
        pad(out);
        option(out, EPB_FLAGS, &(direction as u32).to_le_bytes());
        option(out, 0, &[]);
    });
}

/// One block: type, length, body, length again.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    word(out, kind);
    word(out, 0);
    body(out);
    let length = (out.len() + 4 - start) as u32;
    word(out, length);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
    pad(out);
}

/// Pads to 4 bytes; every block begins at a multiple of 4.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn word(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

#[cfg(test)]
mod tests;
