//! ACKs as bitmaps.

/// Most 64-packet words in one ACK item: what fits a 1500-byte frame beside everything else, with 11,264 packets covered.
pub const MAX_ACK_WORDS: usize = 176;

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
            AckWords::Bytes(bytes) => bytes
                .get(index * 8..index * 8 + 8)
                .map_or(0, |word| u64::from_be_bytes(word.try_into().unwrap_or_default())),
        }
    }
}

impl PartialEq for AckWords<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (0..self.len()).all(|index| self.get(index) == other.get(index))
    }
}

impl Eq for AckWords<'_> {}
