//! A place in the payload slices of reserved frames, so that records can begin and end in the middle of one.

use std::io::IoSliceMut;

/// Most slices that one vectored call takes (Linux' `UIO_MAXIOV`).
pub const MAX_SLICES: usize = 1024;

/// Writes through a list of slices from front to back.
pub struct Cursor<'a> {
    slices: Vec<&'a mut [u8]>,
    at: Mark,
    written: usize,
    room: usize,
}

/// A place that was passed, to be written later.
#[derive(Clone, Copy)]
pub struct Mark {
    slice: usize,
    byte: usize,
}

impl<'a> Cursor<'a> {
    /// At the front of `slices`.
    pub fn new(slices: Vec<&'a mut [u8]>) -> Cursor<'a> {
        let room = slices.iter().map(|slice| slice.len()).sum();
        Cursor { slices, at: Mark { slice: 0, byte: 0 }, written: 0, room }
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Bytes up to here.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes as much of `bytes` as fits and says how much.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room);
        self.write_at(self.at, &bytes[..len]);
        self.skip(len);
        len
    }

    /// Passes `len` bytes, to be written through [`Cursor::write_at`].
    pub fn pass(&mut self, len: usize) -> Mark {
        let mark = self.at;
        self.skip(len);
        mark
    }

    /// Goes back to a mark with nothing written since.
    pub fn back(&mut self, mark: Mark, len: usize) {
        self.at = mark;
        self.written -= len;
        self.room += len;
    }

    /// Writes at a place that was passed before.
    pub fn write_at(&mut self, mark: Mark, mut bytes: &[u8]) {
        let (mut slice, mut byte) = (mark.slice, mark.byte);
        while !bytes.is_empty() {
            let room = &mut self.slices[slice][byte..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            (slice, byte, bytes) = (slice + 1, 0, later);
        }
    }

    /// The next up to `max` bytes as slices for a vectored read.
    pub fn vector(&mut self, max: usize) -> Vec<IoSliceMut<'_>> {
        let mut left = max;
        let mut first = self.at.byte;
        let mut vector = Vec::with_capacity((self.slices.len() - self.at.slice).min(MAX_SLICES));
        for slice in self.slices[self.at.slice..].iter_mut().take(MAX_SLICES) {
            let room = &mut slice[first..];
            let len = room.len().min(left);
            if len > 0 {
                vector.push(IoSliceMut::new(&mut room[..len]));
            }
            (first, left) = (0, left - len);
            if left == 0 {
                break;
            }
        }
        vector
    }

    /// Shows the next `len` bytes, just read, to `see`, and passes them.
    pub fn accept(&mut self, len: usize, mut see: impl FnMut(&[u8])) {
        let (mut slice, mut byte, mut left) = (self.at.slice, self.at.byte, len);
        while left > 0 {
            let room = &self.slices[slice][byte..];
            let now = room.len().min(left);
            see(&room[..now]);
            (slice, byte, left) = (slice + 1, 0, left - now);
        }
        self.skip(len);
    }

    fn skip(&mut self, len: usize) {
        debug_assert!(len <= self.room);
        self.written += len;
        self.room -= len;
        let mut left = len;
        while self.at.slice < self.slices.len() {
            let here = self.slices[self.at.slice].len() - self.at.byte;
            if left < here {
                self.at.byte += left;
                return;
            }
            left -= here;
            self.at = Mark { slice: self.at.slice + 1, byte: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_after_its_body_and_across_slices() {
        let mut memory = [0u8; 12];
        let mut cursor = Cursor::new(memory.chunks_mut(5).collect());
        assert_eq!(cursor.put(b"abc"), 3);
        let mark = cursor.pass(4);
        assert_eq!(cursor.room(), 5);
        let mut lens: Vec<usize> = cursor.vector(4).iter().map(|slice| slice.len()).collect();
        assert_eq!(lens.drain(..).sum::<usize>(), 4);
        for slice in &mut cursor.vector(4) {
            slice.fill(b'x');
        }
        let mut seen = Vec::new();
        cursor.accept(4, |bytes| seen.extend_from_slice(bytes));
        assert_eq!(seen, b"xxxx");
        cursor.write_at(mark, b"HEAD");
        assert_eq!((cursor.written(), cursor.put(b"yz")), (11, 1));
        assert_eq!(cursor.vector(10).len(), 0);
        drop(cursor);
        assert_eq!(&memory, b"abcHEADxxxxy");
    }

    #[test]
    fn going_back_gives_the_room_back() {
        let mut memory = [0u8; 6];
        let mut cursor = Cursor::new(memory.chunks_mut(3).collect());
        let mark = cursor.pass(4);
        cursor.back(mark, 4);
        assert_eq!((cursor.put(b"123456"), cursor.room()), (6, 0));
        drop(cursor);
        assert_eq!(&memory, b"123456");
    }
}
