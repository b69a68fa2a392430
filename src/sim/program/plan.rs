//! What a program means to do, drawn from the key of its stream alone, so that both ends know it.

use crate::base::time::{MICROSECOND, MILLISECOND};
use crate::base::{Dice, Nanos};

/// Bytes that say what follows.
pub const KEY_LEN: u64 = 8;

/// One direction of one stream of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StreamKey {
    /// Which session.
    pub session: u16,
    /// The stream's place among those of its opener.
    pub ordinal: u16,
    /// Opened by the session's accepting side.
    pub by_acceptor: bool,
    /// Written by the session's accepting side.
    pub from_acceptor: bool,
}

/// One direction of a stream, by its writer.
#[derive(Clone, Debug)]
pub struct WritePlan {
    /// Bytes, those that say what it is included.
    pub len: u64,
    /// Bytes in one commit at most.
    pub piece: u64,
    /// Holds small segments back.
    pub nagle: bool,
    /// Gives up after this many bytes.
    pub cut: Option<u64>,
    /// The end travels with the last bytes.
    pub end_along: bool,
    /// Keeps its end until all is acknowledged.
    pub lingers: bool,
    /// From one look to the next.
    pub pause_ns: Nanos,
    /// Frames that it asks for.
    pub wanted: u32,
    /// Payload is zeros, so that the world can leave it out.
    pub zeros: bool,
    /// Neither end gives it up.
    whole: bool,
    key: u64,
}

/// The same, by its reader.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// Wants no more after this many bytes.
    pub stop: Option<u64>,
    /// From one look to the next.
    pub pause_ns: Nanos,
    /// Messages in one look at most.
    pub burst: usize,
    /// Messages that it keeps before it gives the first of them back.
    pub keeps: usize,
}

impl StreamKey {
    /// As the first bytes of the stream.
    pub fn to_bytes(self) -> [u8; KEY_LEN as usize] {
        let [a, b] = self.session.to_be_bytes();
        let [c, d] = self.ordinal.to_be_bytes();
        [b'k', a, b, c, d, self.by_acceptor.into(), self.from_acceptor.into(), b'.']
    }

    /// The reverse; `None` if these bytes are no key.
    pub fn parse(bytes: [u8; KEY_LEN as usize]) -> Option<StreamKey> {
        let [b'k', a, b, c, d, by @ 0..=1, from @ 0..=1, b'.'] = bytes else { return None };
        let (session, ordinal) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Some(StreamKey { session, ordinal, by_acceptor: by == 1, from_acceptor: from == 1 })
    }

    fn number(self) -> u64 {
        u64::from_le_bytes(self.to_bytes())
    }
}

impl WritePlan {
    /// What the writer of this direction does in the world of `seed`; `bulk` bytes if it is to fill a link.
    pub fn draw(seed: u64, key: StreamKey, bulk: Option<u64>) -> WritePlan {
        // An accepting side knows from the first stream what it has accepted, so nobody gives that one up.
        let tells = key.ordinal == 0 && !key.by_acceptor && !key.from_acceptor;
        let key = seed.rotate_left(32) ^ key.number();
        let mut dice = Dice::new(key);
        let (most, piece) = dice.pick(&[(0, 1), (1, 1), (500, 1), (2_000, 7), (20_000, 100), (300_000, 100_000)]);
        let drawn = if most == 300_000 { dice.below(most) } else { most };
        let len = KEY_LEN + bulk.unwrap_or(drawn);
        let whole = bulk.is_some() || tells;
        WritePlan {
            len,
            piece: if bulk.is_some() { u64::MAX } else { piece },
            nagle: dice.hits(500),
            cut: (dice.hits(150) && !whole).then(|| dice.below(len + 1)),
            end_along: dice.hits(500),
            lingers: dice.hits(500),
            pause_ns: if dice.hits(300) && bulk.is_none() { dice.below(200 * MICROSECOND) } else { 0 },
            wanted: dice.pick(&[1, 8, 64, 256]),
            zeros: bulk.is_some(),
            whole,
            key,
        }
    }

    /// Bytes `at..` of the stream: no shifted or repeated piece of it equals it.
    pub fn fill(&self, key: StreamKey, at: u64, out: &mut [u8]) {
        let head = key.to_bytes();
        let mut word = (u64::MAX, [0; 8]);
        for (index, byte) in out.iter_mut().enumerate() {
            let place = at + index as u64;
            *byte = match head.get(place as usize) {
                Some(byte) => *byte,
                None if self.zeros => 0,
                None => {
                    if word.0 != place / 8 {
                        word = (place / 8, Dice::new(self.key ^ (place / 8) << 32).draw().to_le_bytes());
                    }
                    word.1[(place % 8) as usize]
                }
            };
        }
    }
}

impl ReadPlan {
    /// What the reader of a direction does.
    pub fn draw(plan: &WritePlan) -> ReadPlan {
        let mut dice = Dice::new(plan.key ^ 1 << 60);
        let bulk = plan.zeros;
        ReadPlan {
            stop: (dice.hits(150) && !plan.whole).then(|| dice.below(plan.len + 1)),
            pause_ns: if dice.hits(400) && !bulk { dice.below(MILLISECOND) } else { 0 },
            burst: if bulk { 256 } else { dice.pick(&[1, 8, 64]) },
            keeps: dice.pick(&[0, 0, 3]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_bytes() {
        let key = StreamKey { session: 300, ordinal: 7, by_acceptor: true, from_acceptor: false };
        assert_eq!(StreamKey::parse(key.to_bytes()), Some(key));
        assert_eq!(StreamKey::parse([0; 8]), None);
    }

    #[test]
    fn pieces_are_parts_of_the_whole() {
        let key = StreamKey { session: 1, ordinal: 2, by_acceptor: false, from_acceptor: false };
        let plan = WritePlan { zeros: false, ..WritePlan::draw(5, key, None) };
        let mut whole = [0; 100];
        plan.fill(key, 0, &mut whole);
        for from in [0, 1, 7, 8, 9, 50] {
            let mut piece = [0; 30];
            plan.fill(key, from as u64, &mut piece);
            assert_eq!(piece, whole[from..from + 30]);
        }
        assert_ne!(whole[8..50], whole[50..92]);
    }
}
