//! Items: what a control packet consists of and what may follow a data packet's payload.

use super::ParseError;
use super::ack::Ack;
use super::cursor::{Reader, Writer};
use crate::base::StreamId;

/// Longest reason text of a close, in bytes.
pub const MAX_REASON_LEN: usize = 256;

/// One item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// What we received.
    Ack(Ack<'a>),
    /// The peer may send this many data segments in all (first transmissions, cumulative over the connection).
    ConnCredit {
        /// Cumulative limit in segments.
        segments: u64,
    },
    /// The peer may send this stream up to this offset.
    StreamCredit {
        /// The stream.
        stream: StreamId,
        /// Limit as an offset in bytes.
        limit: u64,
    },
    /// The sender gives this stream up.
    StreamReset {
        /// The stream.
        stream: StreamId,
        /// Why, in the application's words.
        code: u32,
        /// Segments sent for the first time in all: the receiver learns how much credit will never be used.
        segments: u64,
    },
    /// The receiver wants no more of this stream.
    StreamStop {
        /// The stream.
        stream: StreamId,
        /// Why, in the application's words.
        code: u32,
    },
    /// The peer may have opened this many streams in all.
    StreamsLimit {
        /// Cumulative limit.
        streams: u64,
    },
    /// The lowest packet number that the sender still waits for.
    Lowest {
        /// Packet number.
        number: u64,
    },
    /// I shall open no more streams and all of mine are finished: my direction of the connection is done.
    Finish,
    /// The connection ends now.
    Close {
        /// Why: a number of `proto::error`, or the application's from 0x1_0000 on.
        code: u32,
        /// Why, in words; at most [`MAX_REASON_LEN`] bytes.
        reason: &'a str,
    },
    /// Nothing to say but "acknowledge me" (tail probe, keep-alive).
    Probe,
}

const ACK: u8 = 1;
const CONN_CREDIT: u8 = 2;
const STREAM_CREDIT: u8 = 3;
const STREAM_RESET: u8 = 4;
const STREAM_STOP: u8 = 5;
const STREAMS_LIMIT: u8 = 6;
const LOWEST: u8 = 7;
const FINISH: u8 = 8;
const CLOSE: u8 = 9;
const PROBE: u8 = 10;

impl<'a> Item<'a> {
    /// Bytes that the item takes.
    #[allow(clippy::len_without_is_empty)] // an item is never empty
    pub fn len(&self) -> usize {
        1 + match self {
            Item::Ack(ack) => ack.len(),
            Item::ConnCredit { .. } | Item::StreamsLimit { .. } | Item::Lowest { .. } => 8,
            Item::StreamCredit { .. } => 12,
            Item::StreamReset { .. } => 16,
            Item::StreamStop { .. } => 8,
            Item::Finish | Item::Probe => 0,
            Item::Close { reason, .. } => 6 + clip(reason).len(),
        }
    }

    /// Writes the item to the front of `out` and returns its length; `None`, and nothing written, if it does not fit or
    /// is an ACK that could not be parsed (too many words). A reason that is too long is cut at a character.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let len = self.len();
        if let Item::Ack(ack) = self
            && !ack.is_valid()
        {
            return None;
        }
        let writer = Writer::new(out, len)?;
        match *self {
            Item::Ack(ack) => ack.emit(writer.u8(ACK)),
            Item::ConnCredit { segments } => _ = writer.u8(CONN_CREDIT).u64(segments),
            Item::StreamCredit { stream, limit } => _ = writer.u8(STREAM_CREDIT).u32(stream.0).u64(limit),
            Item::StreamReset { stream, code, segments } => {
                writer.u8(STREAM_RESET).u32(stream.0).u32(code).u64(segments);
            }
            Item::StreamStop { stream, code } => _ = writer.u8(STREAM_STOP).u32(stream.0).u32(code),
            Item::StreamsLimit { streams } => _ = writer.u8(STREAMS_LIMIT).u64(streams),
            Item::Lowest { number } => _ = writer.u8(LOWEST).u64(number),
            Item::Finish => _ = writer.u8(FINISH),
            Item::Close { code, reason } => {
                let reason = clip(reason);
                writer.u8(CLOSE).u32(code).u16(reason.len() as u16).bytes(reason.as_bytes());
            }
            Item::Probe => _ = writer.u8(PROBE),
        }
        Some(len)
    }

    fn parse(reader: &mut Reader<'a>) -> Result<Item<'a>, ParseError> {
        Ok(match reader.u8()? {
            ACK => Item::Ack(Ack::parse(reader)?),
            CONN_CREDIT => Item::ConnCredit { segments: reader.u64()? },
            STREAM_CREDIT => Item::StreamCredit { stream: StreamId(reader.u32()?), limit: reader.u64()? },
            STREAM_RESET => {
                Item::StreamReset { stream: StreamId(reader.u32()?), code: reader.u32()?, segments: reader.u64()? }
            }
            STREAM_STOP => Item::StreamStop { stream: StreamId(reader.u32()?), code: reader.u32()? },
            STREAMS_LIMIT => Item::StreamsLimit { streams: reader.u64()? },
            LOWEST => Item::Lowest { number: reader.u64()? },
            FINISH => Item::Finish,
            CLOSE => Item::Close { code: reader.u32()?, reason: parse_reason(reader)? },
            PROBE => Item::Probe,
            _ => return Err(ParseError::Malformed("item type")),
        })
    }
}

/// The items in a control packet's body or behind a data packet's payload, one after another.
///
/// Ends behind the last one, or behind the first error: what follows a broken item can't be found.
#[derive(Clone)]
pub struct Items<'a>(Reader<'a>);

impl<'a> Items<'a> {
    /// The items in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Items<'a> {
        Items(Reader::new(bytes))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.rest().is_empty() {
            return None;
        }
        let item = Item::parse(&mut self.0);
        if item.is_err() {
            self.0 = Reader::new(&[]);
        }
        Some(item)
    }
}

impl std::iter::FusedIterator for Items<'_> {}

fn parse_reason<'a>(reader: &mut Reader<'a>) -> Result<&'a str, ParseError> {
    let len = usize::from(reader.u16()?);
    if len > MAX_REASON_LEN {
        return Err(ParseError::Malformed("close reason too long"));
    }
    reader.text(len, "close reason is not UTF-8")
}

/// As much of a reason as an item holds, cut where a character ends.
fn clip(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON_LEN);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::AckWords;
    use crate::wire::ack::MAX_ACK_WORDS;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let reason = "ü".repeat(128) + "x";
        let close = |reason| Item::Close { code: 1, reason };
        let odd = format!("x{reason}");
        let mut out = [0; 300];
        let len = close(&odd).emit(&mut out).unwrap();
        assert_eq!(len, 1 + 4 + 2 + 255);
        assert_eq!(Items::new(&out[..len]).next(), Some(Ok(close(&odd[..255]))));
    }

    #[test]
    fn an_ack_that_no_one_could_parse_is_not_emitted() {
        let words = [0; MAX_ACK_WORDS + 1];
        let ack = |first_word, count| {
            let words = AckWords::Native(&words[..count]);
            Item::Ack(Ack { largest: 0, delay_ns: 0, floor: 0, first_word, words })
        };
        let mut out = [0; 2000];
        assert_eq!(ack(0, MAX_ACK_WORDS).emit(&mut out), Some(1439));
        assert_eq!(ack(0, MAX_ACK_WORDS + 1).emit(&mut out), None);
        assert!(ack((1 << 58) - 1, 1).emit(&mut out).is_some());
        assert_eq!(ack(1 << 58, 1).emit(&mut out), None);
        assert_eq!(ack(u64::MAX, 1).emit(&mut out), None);
    }

    #[test]
    fn an_item_longer_than_any_that_is_sent_is_refused() {
        let mut ack = vec![ACK];
        ack.extend([0; 28]);
        ack.extend((MAX_ACK_WORDS as u16 + 1).to_be_bytes());
        ack.extend([0; 8 * (MAX_ACK_WORDS + 1)]);
        assert_eq!(Items::new(&ack).collect::<Vec<_>>(), [Err(ParseError::Malformed("ACK has too many words"))]);
        ack[30] -= 1;
        assert!(matches!(Items::new(&ack).next(), Some(Ok(Item::Ack(ack))) if ack.words.len() == MAX_ACK_WORDS));
        let mut close = vec![CLOSE, 0, 0, 0, 1];
        close.extend((MAX_REASON_LEN as u16 + 1).to_be_bytes());
        close.extend([b'x'; MAX_REASON_LEN + 1]);
        assert_eq!(Items::new(&close).collect::<Vec<_>>(), [Err(ParseError::Malformed("close reason too long"))]);
    }

    #[test]
    fn the_first_error_is_the_last_word() {
        let bytes = [FINISH, 0, PROBE];
        let seen: Vec<_> = Items::new(&bytes).collect();
        assert_eq!(seen, [Ok(Item::Finish), Err(ParseError::Malformed("item type"))]);
        assert_eq!(Items::new(&[LOWEST, 0]).collect::<Vec<_>>(), [Err(ParseError::Truncated)]);
    }
}
