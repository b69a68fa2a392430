//! The frame token: one Ethernet frame, owned by exactly one place at a time.

use std::fmt;

use crate::base::FrameId;

/// One Ethernet frame in memory: a chunk of a link's pool, or a chain of chunks when the MTU exceeds one.
///
/// Not `Copy` and not `Clone`: whoever holds the token owns the bytes, and a call that can't take it hands it back.
/// A token that is dropped instead of being given to [`Link::free`](super::Link::free) takes its chunk out of the pool
/// for good.
pub struct Frame {
    id: FrameId,
    start: u32,
    len: u32,
    bytes: Storage,
    more: Option<Box<Frame>>,
}

/// Where a chunk's bytes are.
enum Storage {
    /// In a region that outlives every token (UMEM).
    Region(&'static mut [u8]),
    /// In memory of its own (in-memory and AF_PACKET links).
    Owned(Box<[u8]>),
}

impl Frame {
    /// A frame over a chunk of a region. The caller upholds that the region outlives the token and that no other
    /// token covers these bytes; `&'static mut` says just that.
    pub fn in_region(id: FrameId, bytes: &'static mut [u8]) -> Frame {
        Frame { id, start: 0, len: 0, bytes: Storage::Region(bytes), more: None }
    }

    /// A frame with `capacity` bytes of its own.
    pub fn owned(id: FrameId, capacity: usize) -> Frame {
        Frame { id, start: 0, len: 0, bytes: Storage::Owned(vec![0; capacity].into_boxed_slice()), more: None }
    }

    /// Which chunk of the pool this is (the first one of a chain).
    pub fn id(&self) -> FrameId {
        self.id
    }

    /// Bytes of the Ethernet frame in this chunk.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the frame holds no bytes yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes this chunk can hold from its start on.
    pub fn capacity(&self) -> usize {
        self.storage().len() - self.start as usize
    }

    /// Says where in the chunk the frame lies: `start` is nonzero only for received frames.
    ///
    /// # Panics
    /// If the range leaves the chunk: lengths come from the link, never unchecked from the wire.
    pub fn set_range(&mut self, start: usize, len: usize) {
        assert!(start + len <= self.storage().len(), "frame {:?}: {start}+{len} leaves its chunk", self.id);
        self.start = start as u32;
        self.len = len as u32;
    }

    /// Sets the frame's length, its start unchanged.
    ///
    /// # Panics
    /// If it leaves the chunk.
    pub fn set_len(&mut self, len: usize) {
        self.set_range(self.start as usize, len);
    }

    /// The frame's bytes, from the Ethernet destination address on.
    pub fn bytes(&self) -> &[u8] {
        &self.storage()[self.start as usize..(self.start + self.len) as usize]
    }

    /// The same, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start as usize, (self.start + self.len) as usize);
        &mut self.storage_mut()[start..end]
    }

    /// Everything from the frame's start to the chunk's end, whatever the length is.
    pub fn room_mut(&mut self) -> &mut [u8] {
        let start = self.start as usize;
        &mut self.storage_mut()[start..]
    }

    /// The next chunk of the chain, if the frame is longer than one chunk.
    pub fn more(&self) -> Option<&Frame> {
        self.more.as_deref()
    }

    /// The chunks of the chain, in order.
    pub fn chain(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |chunk| chunk.more())
    }

    /// Appends a chunk at the end of the chain.
    pub fn append(&mut self, chunk: Frame) {
        match &mut self.more {
            Some(next) => next.append(chunk),
            None => self.more = Some(Box::new(chunk)),
        }
    }

    /// Takes the rest of the chain off, leaving one chunk.
    pub fn take_more(&mut self) -> Option<Box<Frame>> {
        self.more.take()
    }

    /// Chunks in the chain, at least 1.
    pub fn chunks(&self) -> usize {
        self.chain().count()
    }

    fn storage(&self) -> &[u8] {
        match &self.bytes {
            Storage::Region(bytes) => bytes,
            Storage::Owned(bytes) => bytes,
        }
    }

    fn storage_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Storage::Region(bytes) => bytes,
            Storage::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}, {} bytes, {} chunks)", self.id.0, self.len, self.chunks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_keeps_its_order() {
        let mut frame = Frame::owned(FrameId(1), 64);
        frame.append(Frame::owned(FrameId(2), 64));
        frame.append(Frame::owned(FrameId(3), 64));
        assert_eq!(frame.chunks(), 3);
        assert_eq!(frame.chain().map(|chunk| chunk.id().0).collect::<Vec<_>>(), [1, 2, 3]);
        let rest = frame.take_more().unwrap();
        assert_eq!((rest.id(), rest.more().unwrap().id()), (FrameId(2), FrameId(3)));
        assert_eq!(frame.chunks(), 1);
    }

    #[test]
    #[should_panic(expected = "leaves its chunk")]
    fn a_range_stays_inside_the_chunk() {
        Frame::owned(FrameId(0), 64).set_range(60, 5);
    }
}
