//! The frame pool: one mapping, split into chunks, each owned by exactly one place.
//!
//! This is the audit point for `unsafe`. A [`Frame`] token is minted from the mapping when a chunk leaves the kernel or
//! the free list, and ends when it comes back: no token (and so no `&mut`) exists for bytes that the kernel may touch.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::{FrameDesc, Umem};

use crate::base::FrameId;
use crate::link::Frame;

/// Size of a chunk that every driver takes (the kernel has 2048 and 4096, a page, and no more).
pub(super) const CHUNK: usize = 4096;
/// The same where no driver writes into it but the kernel copies: twice the frames in the same memory. Drivers of real
/// NICs count receive buffers in units of their own; igb and igc cut frames at 1024 bytes.
pub(super) const COPY_CHUNK: usize = 2048;
/// Where frames start in their chunk: what the kernel keeps before each for XDP programs (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;
/// Bytes of a frame that one chunk can hold.
pub(super) const ROOM: usize = CHUNK - HEADROOM;
pub(super) const COPY_ROOM: usize = COPY_CHUNK - HEADROOM;

/// Pools that stayed mapped when their link was closed, because tokens had not come back.
static LEAKED_POOLS: AtomicU64 = AtomicU64::new(0);

/// How many frame pools stayed mapped after their links were closed, because frames were still held somewhere.
pub fn leaked_pools() -> u64 {
    LEAKED_POOLS.load(Ordering::Relaxed)
}

/// Which of the sockets that share a pool: an index into what the pool keeps for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The only one, or the one that was bound first.
    First,
    /// The one that was bound to the first one's memory.
    Second,
}

/// Sockets that one pool can serve.
const SIDES: usize = 2;

/// Who owns a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    /// On the free list.
    Free,
    /// On that socket's fill ring, its rx ring, or in between: the kernel may write it.
    Fill(Side),
    /// On that socket's tx ring, its completion ring, or in between: the kernel may read it.
    Tx(Side),
    /// Whoever holds the token.
    Token,
}

#[derive(Clone, Copy)]
struct Slot {
    owner: Owner,
    /// Length of the frame under transmission: completions tell only the address.
    len: u16,
}

/// What the kernel holds for one socket.
#[derive(Clone, Copy, Default)]
struct Share {
    filled: usize,
    sending: usize,
    reserve: usize,
}

impl Share {
    fn deficit(&self) -> usize {
        self.reserve.saturating_sub(self.filled)
    }
}

/// The chunks and who owns each. Two sockets may share them: then a frame that one received the other can send from
/// where it lies, and whoever gives it back, it comes to the same free list.
pub(super) struct Pool {
    /// `None` only while dropping.
    umem: Option<Umem>,
    /// Address of the mapping, and the size of a chunk.
    base: usize,
    chunk: usize,
    descs: Vec<FrameDesc>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    shares: [Share; SIDES],
    moved: u64,
    /// Descriptor of the socket bound first, which only deleting the UMEM would close.
    socket: Option<RawFd>,
}

impl Pool {
    /// Maps and registers `frames` chunks of `chunk` bytes, with `ring` descriptors in the fill and completion rings,
    /// and keeps `reserve` frames for the fill ring.
    pub(super) fn new((frames, chunk): (u32, usize), ring: u32, reserve: usize, huge_pages: bool) -> io::Result<Pool> {
        let size = QueueSize::new(ring).map_err(io::Error::other)?;
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(chunk as u32).map_err(io::Error::other)?)
            .fill_queue_size(size)
            .comp_queue_size(size)
            .build()
            .map_err(io::Error::other)?;
        let count = NonZeroU32::new(frames).ok_or(io::ErrorKind::InvalidInput)?;
        let (umem, descs) = Umem::new(config, count, huge_pages).map_err(|error| super::socket::cause(&error))?;
        // SAFETY: the descriptor is this UMEM's own, its length is 0, and nobody writes the chunk yet.
        let start = unsafe { umem.data(&descs[0]) }.contents().as_ptr().addr();
        let slots = vec![Slot { owner: Owner::Free, len: 0 }; descs.len()];
        Ok(Pool {
            umem: Some(umem),
            base: start - HEADROOM,
            chunk,
            descs,
            slots,
            // Reversed, so that low addresses are used first: memory that a short link never needs stays cold.
            free: (0..frames).rev().collect(),
            shares: [Share { reserve, ..Share::default() }, Share::default()],
            moved: 0,
            socket: None,
        })
    }

    /// The registered memory, to bind a socket to.
    pub(super) fn umem(&self) -> &Umem {
        self.umem.as_ref().expect("only dropping takes the UMEM")
    }

    /// Says which socket was bound to the pool.
    pub(super) fn bound_to(&mut self, socket: RawFd) {
        self.socket = Some(socket);
    }

    /// Chunks in the pool.
    pub(super) fn frames(&self) -> usize {
        self.slots.len()
    }

    /// Keeps no more than `most` frames for the fill ring. To be said before the ring is stocked.
    pub(super) fn limit_reserve(&mut self, most: usize) {
        let share = &mut self.shares[Side::First as usize];
        share.reserve = share.reserve.min(most);
    }

    /// Keeps as many frames for the second socket's fill ring as for the first one's.
    pub(super) fn serve_both(&mut self) {
        self.shares[Side::Second as usize].reserve = self.shares[Side::First as usize].reserve;
    }

    /// Chunks kept for the fill rings.
    pub(super) fn reserve(&self) -> usize {
        self.shares.iter().map(|share| share.reserve).sum()
    }

    /// Frames that the kernel has taken for transmission by that socket and not yet given back.
    pub(super) fn sending(&self, side: Side) -> usize {
        self.shares[side as usize].sending
    }

    /// Frames of a socket's reserve that are neither on its fill ring nor received and waiting.
    pub(super) fn fill_deficit(&self, side: Side) -> usize {
        self.shares[side as usize].deficit().min(self.free.len())
    }

    /// Whether a socket's fill ring is short because frames are held elsewhere.
    pub(super) fn fill_short(&self, side: Side) -> bool {
        self.shares[side as usize].deficit() > 0 && self.free.is_empty()
    }

    /// Frames that [`alloc`](Self::alloc) would give out now.
    pub(super) fn available(&self) -> usize {
        self.free.len().saturating_sub(self.shares.iter().map(Share::deficit).sum())
    }

    /// Frames whose tokens are out: in an engine's or an application's hands.
    pub(super) fn held(&self) -> usize {
        let kernels: usize = self.shares.iter().map(|share| share.filled + share.sending).sum();
        self.slots.len() - self.free.len() - kernels
    }

    /// Frames that had to be moved within their chunk before they were sent.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// A free frame, unless only the reserve is left.
    pub(super) fn alloc(&mut self) -> Option<Frame> {
        if self.available() == 0 {
            return None;
        }
        let chunk = self.free.pop()?;
        Some(self.mint(chunk))
    }

    /// Takes a frame, or a chain of them, back.
    pub(super) fn free(&mut self, mut frame: Frame) {
        let mut rest = frame.take_more();
        self.free_one(frame);
        while let Some(mut next) = rest {
            rest = next.take_more();
            self.free_one(*next);
        }
    }

    /// Takes a free chunk for the fill ring.
    pub(super) fn give_to_fill(&mut self, side: Side) -> Option<FrameDesc> {
        let chunk = self.free.pop()?;
        self.slots[chunk as usize].owner = Owner::Fill(side);
        self.shares[side as usize].filled += 1;
        Some(self.descs[chunk as usize])
    }

    /// The frame that a descriptor of a socket's rx ring tells of; `None` if it tells nonsense, which only a broken
    /// driver does.
    pub(super) fn take_received(&mut self, side: Side, desc: &FrameDesc) -> Option<Frame> {
        let (chunk, offset) = (desc.addr() / self.chunk, desc.addr() % self.chunk);
        let len = desc.lengths().data();
        if self.slots.get(chunk)?.owner != Owner::Fill(side) {
            return None;
        }
        self.shares[side as usize].filled -= 1;
        let start = offset.checked_sub(HEADROOM).filter(|start| start + len <= self.room() && !desc.has_more_frames());
        let Some(start) = start else {
            self.slots[chunk].owner = Owner::Free;
            self.free.push(chunk as u32);
            return None;
        };
        let mut frame = self.mint(chunk as u32);
        frame.set_range(start, len);
        Some(frame)
    }

    /// Takes a frame for a socket's tx ring.
    ///
    /// # Panics
    /// If the frame is not of this pool, empty (the kernel would never complete it), or a chain (the MTU allows none).
    pub(super) fn give_to_tx(&mut self, side: Side, mut frame: Frame) -> FrameDesc {
        let len = frame.len();
        assert!(len > 0 && frame.more().is_none(), "{frame:?}: only whole frames of one chunk can be sent");
        let start = frame.bytes().as_ptr().addr();
        let chunk = self.own(&mut frame);
        let shift = start - self.address(chunk);
        if shift != 0 {
            // A received frame sent on that does not start where the kernel was asked to put it, as only an XDP program
            // that moves its head makes it; ours does not, and the kernel's own headroom is the same in every mode. The
            // descriptor of a chunk has a fixed start (xsk-rs makes no other), so the bytes must move there.
            self.moved += 1;
            frame.set_range(0, shift + len);
            frame.bytes_mut().copy_within(shift.., 0);
        }
        // The token ends here: from now on the kernel may read the chunk.
        drop(frame);
        self.slots[chunk] = Slot { owner: Owner::Tx(side), len: len as u16 };
        self.shares[side as usize].sending += 1;
        let umem = self.umem.as_ref().expect("only dropping takes the UMEM");
        let desc = &mut self.descs[chunk];
        // SAFETY: the descriptor is of this UMEM, and its chunk has no other reference: its token has just ended, and
        // the kernel has not got it yet. (The slice that this makes stays unused: the cursor is how to set a length.)
        unsafe { umem.data_mut(desc) }.cursor().set_pos(len);
        *desc
    }

    /// The frame that a completion tells of; `None` if it tells nonsense, which only a broken driver does.
    pub(super) fn take_completed(&mut self, side: Side, desc: &FrameDesc) -> Option<Frame> {
        let chunk = desc.addr() / self.chunk;
        let slot = *self.slots.get(chunk)?;
        if slot.owner != Owner::Tx(side) {
            return None;
        }
        self.shares[side as usize].sending -= 1;
        let mut frame = self.mint(chunk as u32);
        frame.set_len(usize::from(slot.len));
        Some(frame)
    }

    fn free_one(&mut self, mut frame: Frame) {
        let chunk = self.own(&mut frame);
        drop(frame);
        self.slots[chunk].owner = Owner::Free;
        self.free.push(chunk as u32);
    }

    /// The chunk of a token that comes back. A token of another link must not get in: it could name a chunk whose own
    /// token is somewhere else.
    fn own(&self, frame: &mut Frame) -> usize {
        let (chunk, len) = (frame.id().0 as usize, frame.len());
        frame.set_range(0, 0);
        let ours = chunk < self.slots.len()
            && self.slots[chunk].owner == Owner::Token
            && frame.room_mut().as_ptr().addr() == self.address(chunk);
        frame.set_range(0, len);
        assert!(ours, "{frame:?} is not of this pool");
        chunk
    }

    /// Where the chunk's frame starts.
    fn address(&self, chunk: usize) -> usize {
        self.base + chunk * self.chunk + HEADROOM
    }

    /// Bytes of a frame that a chunk can hold.
    fn room(&self) -> usize {
        self.chunk - HEADROOM
    }

    /// Makes the token of a chunk that has none.
    fn mint(&mut self, chunk: u32) -> Frame {
        self.slots[chunk as usize].owner = Owner::Token;
        let start = std::ptr::with_exposed_provenance_mut(self.address(chunk as usize));
        // SAFETY: the range lies within the mapping (chunk < frames: it comes from the free list or was looked up in
        // `slots`); it is initialised (anonymous memory); and it is disjoint from every other token's: a chunk is
        // minted only when its owner was not `Token`, and its owner is `Token` until the token itself comes back
        // (`own` checks that). The kernel touches it only while its owner is `Fill` or `Tx`. The mapping is unmapped
        // only when no chunk is owned by a token (see `drop`), so `'static` holds. Its address was exposed to C.
        let bytes: &'static mut [u8] = unsafe { std::slice::from_raw_parts_mut(start, self.room()) };
        Frame::in_region(FrameId(chunk), bytes)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let tokens = self.held();
        if tokens == 0 {
            return;
        }
        // Somebody still holds frames: their memory must stay. The kernel's side ends all the same: closing the
        // descriptor frees the queue, which deleting the UMEM would otherwise have done.
        std::mem::forget(self.umem.take());
        LEAKED_POOLS.fetch_add(1, Ordering::Relaxed);
        let frames = self.slots.len();
        tracing::debug!("{tokens} of {frames} frames are still held: their pool stays mapped");
        if let Some(socket) = self.socket {
            // SAFETY: the descriptor is the UMEM's, which has just been forgotten, so nobody else closes it; the rings
            // that use it are dropped before the pool (field order of `XdpLink` and `XdpPair`).
            unsafe { libc::close(socket) };
        }
    }
}
