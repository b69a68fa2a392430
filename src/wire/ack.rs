//! ACKs as bitmaps.

use super::ParseError;
use super::cursor::{Reader, Writer};

/// Most 64-packet words in one ACK item: what fits a 1500-byte frame beside everything else. Covers 11,264 packets.
pub const MAX_ACK_WORDS: usize = 176;

/// Bytes of an ACK item before its words, without the item's type byte.
const FIXED_LEN: usize = 8 + 4 + 8 + 8 + 2;
/// Words that cover all packet numbers: beyond them `word * 64` would not fit a `u64`.
const WORDS_END: u64 = 1 << 58;

/// What the receiver has seen of one direction's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// The highest packet number received.
    pub largest: u64,
    /// From that packet's arrival to this ACK's departure, in nanoseconds (saturating).
    pub delay_ns: u32,
    /// Every packet below this was received, or is no longer waited for by its sender.
    pub floor: u64,
    /// Bit `b` of word `i` stands for packet `(first_word + i) * 64 + b`; set means received.
    pub first_word: u64,
    /// The words, at most [`MAX_ACK_WORDS`].
    pub words: AckWords<'a>,
}

impl<'a> Ack<'a> {
    /// Bytes that the item takes behind its type byte.
    pub(super) fn len(&self) -> usize {
        FIXED_LEN + self.words.len() * 8
    }

    /// Whether the words are few enough and all of their packets have numbers.
    pub(super) fn is_valid(&self) -> bool {
        let end = self.first_word.checked_add(self.words.len() as u64);
        self.words.len() <= MAX_ACK_WORDS && end.is_some_and(|end| end <= WORDS_END)
    }

    pub(super) fn emit(&self, writer: Writer<'_>) {
        let writer = writer.u64(self.largest).u32(self.delay_ns).u64(self.floor).u64(self.first_word);
        let mut writer = writer.u16(self.words.len() as u16);
        match self.words {
            AckWords::Bytes(bytes) => _ = writer.bytes(&bytes[..bytes.len() / 8 * 8]),
            AckWords::Native(words) => {
                for word in words {
                    writer = writer.u64(*word);
                }
            }
        }
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Ack<'a>, ParseError> {
        let (largest, delay_ns, floor, first_word) = (reader.u64()?, reader.u32()?, reader.u64()?, reader.u64()?);
        let count = usize::from(reader.u16()?);
        if count > MAX_ACK_WORDS {
            return Err(ParseError::Malformed("ACK has too many words"));
        }
        let words = AckWords::Bytes(reader.bytes(count * 8)?);
        let ack = Ack { largest, delay_ns, floor, first_word, words };
        if ack.is_valid() { Ok(ack) } else { Err(ParseError::Malformed("ACK beyond the last packet number")) }
    }
}

/// The words of an ACK, as numbers (to be emitted) or still as the bytes they arrived in.
#[derive(Clone, Copy, Debug)]
pub enum AckWords<'a> {
    /// Numbers in memory.
    Native(&'a [u64]),
    /// Big-endian bytes; the length is a multiple of 8.
    Bytes(&'a [u8]),
}

impl AckWords<'_> {
    /// How many words.
    pub fn len(&self) -> usize {
        match self {
            AckWords::Native(words) => words.len(),
            AckWords::Bytes(bytes) => bytes.len() / 8,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Word `index`, 0 beyond the end.
    pub fn get(&self, index: usize) -> u64 {
        match self {
            AckWords::Native(words) => words.get(index).copied().unwrap_or(0),
            AckWords::Bytes(bytes) => bytes.as_chunks().0.get(index).map_or(0, |word| u64::from_be_bytes(*word)),
        }
    }
}

impl PartialEq for AckWords<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (0..self.len()).all(|index| self.get(index) == other.get(index))
    }
}

impl Eq for AckWords<'_> {}
