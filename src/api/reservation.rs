//! Frames to write into: what is committed leaves from where it was written.

use std::fmt;
use std::io::IoSliceMut;

use super::tx::SendStream;
use crate::link::Frame;

/// Room for a number of bytes, in the frames that they will leave in. Dropping it without a commit sends nothing.
pub struct Reservation<'a> {
    stream: &'a mut SendStream,
    len: usize,
}

impl<'a> Reservation<'a> {
    pub(super) fn new(stream: &'a mut SendStream, len: usize) -> Reservation<'a> {
        Reservation { stream, len }
    }

    /// Bytes that can be written: at least 1, and no more than was asked for.
    #[allow(clippy::len_without_is_empty)] // a reservation is never empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// The places to write to, in order. Every one but the last takes a full frame's payload.
    pub fn slices_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let (offset, most) = (self.stream.payload_offset(), self.stream.max_payload());
        let mut left = self.len;
        self.stream.spare_mut().iter_mut().map_while(move |frame| {
            let len = left.min(most);
            left -= len;
            (len > 0).then(|| area(frame, offset, len))
        })
    }

    /// The same for vectored reads (`preadv`, [`Read::read_vectored`](std::io::Read::read_vectored)).
    pub fn io_slices_mut(&mut self) -> Vec<IoSliceMut<'_>> {
        self.slices_mut().map(IoSliceMut::new).collect()
    }

    /// Copies from the front of `bytes` what fits, and says how much that was.
    pub fn copy_from(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        for area in self.slices_mut() {
            let len = area.len().min(bytes.len() - at);
            area[..len].copy_from_slice(&bytes[at..at + len]);
            at += len;
        }
        at
    }

    /// Sends the first `written` bytes. Frames that were not needed serve the next reservation.
    ///
    /// # Panics
    /// If more is said to be written than there was room for.
    pub fn commit(self, written: usize) {
        assert!(written <= self.len, "{written} bytes committed of a reservation of {}", self.len);
        self.stream.commit(written, false);
    }

    /// The same, and they are the stream's last ones.
    ///
    /// # Panics
    /// As [`Reservation::commit`].
    pub fn commit_last(self, written: usize) {
        assert!(written <= self.len, "{written} bytes committed of a reservation of {}", self.len);
        self.stream.commit(written, true);
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} bytes)", self.len)
    }
}

fn area(frame: &mut Frame, offset: usize, len: usize) -> &mut [u8] {
    &mut frame.room_mut()[offset..offset + len]
}
