//! What an ACK says, and whether it can be true.

use super::{AckError, Outcome, Recovery, Sent};
use crate::wire::Ack;

/// What an ACK acknowledged for the first time.
#[derive(Clone, Copy, Default)]
pub(super) struct Newly {
    pub bytes: u64,
    /// The one with the highest number.
    pub newest: Option<Sent>,
}

impl Recovery {
    /// Whether an honest receiver could have sent it.
    pub(super) fn check(&self, ack: &Ack<'_>) -> Result<(), AckError> {
        let next = self.ring.next();
        let words = ack.words.len() as u64;
        if ack.largest >= next || ack.floor > next || ack.first_word > ack.largest / 64 {
            let number = ack.largest.max(ack.floor.saturating_sub(1)).max(ack.first_word.saturating_mul(64));
            return Err(AckError::NeverSent { number, next });
        }
        let last = ack.largest / 64 - ack.first_word;
        let beyond = !0_u64 << (ack.largest % 64) << 1;
        if ack.words.get(last as usize) & beyond != 0
            || (last + 1..words).any(|index| ack.words.get(index as usize) != 0)
        {
            return Err(AckError::BeyondLargest { largest: ack.largest });
        }
        match self.decoys.named_by(ack, self.ring.lowest()) {
            Some(number) => Err(AckError::LeftOut { number }),
            None => Ok(()),
        }
    }

    /// Takes out of the ring what the ACK names. The floor speaks of what we wait for, not of what we gave up:
    /// only a bit says that a packet held for lost has arrived.
    pub(super) fn take(&mut self, ack: &Ack<'_>, out: &mut Outcome) -> Newly {
        let begin = out.acked.len();
        let mut newly = Newly::default();
        let Outcome { acked, spurious, .. } = out;
        if ack.floor > self.ring.lowest() {
            for index in self.ring.lowest() / 64..=(ack.floor - 1) / 64 {
                let below = if index == ack.floor / 64 { (1 << (ack.floor % 64)) - 1 } else { !0 };
                newly.bytes += self.ring.acknowledge(index, below & self.ring.outstanding(index), acked, spurious);
            }
        }
        let below_floor = acked[begin..].last().copied();
        for index in 0..ack.words.len() {
            let bits = ack.words.get(index);
            newly.bytes += self.ring.acknowledge(ack.first_word + index as u64, bits, acked, spurious);
        }
        newly.bytes += self.ring.acknowledge(ack.largest / 64, 1 << (ack.largest % 64), acked, spurious);
        let last = acked[begin..].last().copied();
        newly.newest =
            if below_floor.map(|sent| sent.number) > last.map(|sent| sent.number) { below_floor } else { last };
        newly
    }
}
