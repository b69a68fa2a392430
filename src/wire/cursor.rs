//! Reading and writing big-endian fields one after another.

use super::ParseError;

/// What is left of a body while it is parsed.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(ParseError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(ParseError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn text(&mut self, len: usize, what: &'static str) -> Result<&'a str, ParseError> {
        str::from_utf8(self.bytes(len)?).map_err(|_| ParseError::Malformed(what))
    }

    pub(super) fn u8(&mut self) -> Result<u8, ParseError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_be_bytes)
    }

    /// `N` bytes that must be zero in this version.
    pub(super) fn zeros<const N: usize>(&mut self, what: &'static str) -> Result<(), ParseError> {
        if self.array::<N>()? == [0; N] { Ok(()) } else { Err(ParseError::Malformed(what)) }
    }

    /// Nothing may be left.
    pub(super) fn end(&self, what: &'static str) -> Result<(), ParseError> {
        if self.0.is_empty() { Ok(()) } else { Err(ParseError::Malformed(what)) }
    }
}

/// A place for exactly as many bytes as were asked for, filled from the front.
pub(super) struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    /// `None` if `out` is shorter than `len`.
    pub(super) fn new(out: &'a mut [u8], len: usize) -> Option<Writer<'a>> {
        out.get_mut(..len).map(Writer)
    }

    /// For layouts whose length is known beforehand.
    ///
    /// # Panics
    /// If `out` is shorter than `len`: frames are ours and every fixed layout fits the smallest of them.
    pub(super) fn fixed(out: &'a mut [u8], len: usize) -> Writer<'a> {
        Writer(&mut out[..len])
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Writer<'a> {
        let (head, tail) = self.0.split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        Writer(tail)
    }

    pub(super) fn u8(self, value: u8) -> Writer<'a> {
        self.bytes(&[value])
    }

    pub(super) fn u16(self, value: u16) -> Writer<'a> {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Writer<'a> {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Writer<'a> {
        self.bytes(&value.to_be_bytes())
    }

    /// Zeros to the end.
    pub(super) fn zeros(self) {
        self.0.fill(0);
    }
}
