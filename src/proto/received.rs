//! The receiver's side of ACKs: what has arrived, when to say so, and with which words.
//!
//! Decides: duplicate or new; when an ACK is due; which part of the bitmap it shows. Does not: choose the packet that
//! carries it. Called by: the connection, once per packet received, and once per turn. Invariant: memory is bounded by
//! [`MAX_SPAN`] bits, an ACK costs its words, and every number that an ACK covers for the first time is covered again
//! by the next ones, so that lost ACKs cost nothing.

use crate::base::Nanos;
use crate::base::bitmap::SeqBitmap;
use crate::base::time::MICROSECOND;
use crate::proto::recovery::MAX_SPAN;
use crate::wire::ack::MAX_ACK_WORDS;
use crate::wire::{Ack, AckWords};

/// Packets that make an ACK due: one NIC batch. A receiver on veth sees bursts of 1 to 4 frames; an ACK for each would
/// take a third of the data sender's core, which is what limits the transfer. Lower: that. Higher: the sender gets its
/// window back in pieces larger than its own bursts.
const ACK_PACKETS: u32 = 64;
/// Longest that an ACK is held back, on short paths; on longer ones, twice the path's patience. 64 packets of 1500
/// bytes take 77 µs at 10 Gbit/s. Lower: more ACKs than one per 64 packets below that rate. Higher: slow start at LAN
/// round trips waits for us.
pub const ACK_DELAY_NS: Nanos = 100 * MICROSECOND;
/// Nothing has arrived for this long (on longer paths: for the path's patience): the peer has come to the end of what
/// it may send, so answer. A paced sender is silent for up to 40 µs between its bursts. Lower: an ACK for each of those
/// bursts. Higher: added to each round trip of a window that is smaller than [`ACK_PACKETS`].
const IDLE_NS: Nanos = 50 * MICROSECOND;
/// The path's patience counts from this packet on: the ACKs of a connection's first packets show its sender how the
/// bottleneck spread them. Lower: the sender doubles its window for a round trip more. Higher: CPU time.
const PATIENT_FROM: u64 = 512;
/// A gap is told at once, but not more often than this (or the path's patience). 5% loss at 1 Mpps are 50 gaps per ms.
/// Lower: an ACK for each of them. Higher: losses on 50 µs links are repaired later.
const GAP_SPACING_NS: Nanos = 20 * MICROSECOND;
/// How many ACKs tell about a number: the first and 15 more, 1.6 ms of them. At 64 packets each that is a word or two
/// (8 to 16 bytes) apiece. Lower: a burst of lost ACKs leaves a hole that only the sweep fills. Higher: longer ACKs.
const REPEATS: usize = 16;
/// Every so many ACKs an extra one sweeps over what is older than the repetition reaches and not yet settled.
const SWEEP_EVERY: u32 = 16;
/// Packets overtaken by more than this are told by ACKs of their own. Half of what an ACK covers. Lower: needless extra
/// ACKs. Higher: the news since such a packet would take several ACKs.
const LATE: u64 = MAX_ACK_WORDS as u64 * 32;
/// Most words that are told at one time, in eight ACKs: of more than 90,000 numbers the lowest are left to the sweep,
/// and to the sender's own timer. 100 Gbit/s have as many in 11 ms. Lower: longer bursts of losses are repaired later.
/// Higher: a peer that leaves out numbers on purpose, or comes back to them, gets so many packets for one.
const NEWS_WORDS: u64 = 8 * MAX_ACK_WORDS as u64;
/// First window in packets: a kilobyte. It doubles where the peer's numbers need it.
const FIRST_WINDOW: u64 = 8192;

/// What a packet number turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Not seen before.
    New,
    /// Seen before: to be dropped.
    Duplicate,
    /// So old that nobody remembers: to be dropped.
    TooOld,
    /// Further ahead than any honest peer may be: to be dropped.
    TooFar,
}

/// What has been received of one direction of a connection.
#[derive(Debug)]
pub struct Received {
    bitmap: SeqBitmap,
    max_window: u64,
    /// One past the highest number received.
    end: u64,
    largest_at_ns: Nanos,
    /// Every number below has arrived or is no longer waited for.
    floor: u64,
    pending: Pending,
    /// One past the highest number that an ACK has covered.
    covered_end: u64,
    /// Where each of the last ACKs began to tell news.
    history: [u64; REPEATS],
    acks: u64,
    last_ack_ns: Nanos,
    /// How long the path lets things wait ([`Rtt::patience_ns`](super::recovery::Rtt::patience_ns)).
    patience_ns: Nanos,
    /// Next word of the sweep.
    sweep_word: u64,
    sweep_wanted: bool,
    words: Box<[u64; MAX_ACK_WORDS]>,
}

/// What has happened since the last ACK.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// Packets that ask for an acknowledgement.
    eliciting: u32,
    /// When the first and the last of them arrived.
    first_ns: Nanos,
    last_ns: Nanos,
    /// Lowest number that has newly arrived; `u64::MAX` for none.
    lowest: u64,
    /// Words of the numbers that arrived so late that the next ACK's range would not reach them: first and last.
    late: Option<(u64, u64)>,
    gap: bool,
    urgent: bool,
}

impl Pending {
    const NONE: Pending =
        Pending { eliciting: 0, first_ns: 0, last_ns: 0, lowest: u64::MAX, late: None, gap: false, urgent: false };
}

impl Received {
    /// Nothing received yet; remembers up to `max_window` numbers (at most [`MAX_SPAN`], rounded up to a power of two).
    pub fn new(max_window: u64) -> Received {
        let max_window = max_window.clamp(128, MAX_SPAN).next_power_of_two();
        Received {
            bitmap: SeqBitmap::new(FIRST_WINDOW.min(max_window) as usize),
            max_window,
            end: 0,
            largest_at_ns: 0,
            floor: 0,
            pending: Pending::NONE,
            covered_end: 0,
            history: [0; REPEATS],
            acks: 0,
            last_ack_ns: 0,
            patience_ns: 0,
            sweep_word: 0,
            sweep_wanted: false,
            words: Box::new([0; MAX_ACK_WORDS]),
        }
    }

    /// The path's patience, as far as it is known.
    pub fn set_patience(&mut self, patience_ns: Nanos) {
        self.patience_ns = patience_ns;
    }

    /// The peer no longer waits for packets below `number`. To be told before the packet that carries it.
    pub fn on_lowest(&mut self, number: u64) {
        // More than a window ahead of everything is no honest peer's number.
        if number > self.floor && number <= self.end + self.max_window {
            self.floor = number;
        }
    }

    /// A packet arrived. `eliciting`: it asks for an acknowledgement.
    pub fn on_packet(&mut self, now: Nanos, number: u64, eliciting: bool) -> Seen {
        match self.bitmap.insert(number) {
            Some(true) => {}
            Some(false) => return Seen::Duplicate,
            None if number < self.bitmap.start() => return Seen::TooOld,
            None if !self.make_room(number) => return Seen::TooFar,
            None => {
                self.bitmap.insert(number);
            }
        }
        let in_order = number == self.end;
        if number >= self.end {
            self.end = number + 1;
            self.largest_at_ns = now;
            self.pending.lowest = self.pending.lowest.min(number);
        } else {
            self.note_overtaken(number);
        }
        let pending = &mut self.pending;
        if eliciting {
            if pending.eliciting == 0 {
                pending.first_ns = now;
            }
            pending.eliciting += 1;
            pending.last_ns = now;
            pending.gap |= !in_order;
        }
        Seen::New
    }

    /// Acknowledge at the end of this burst: the packet was a probe or a stream's last.
    pub fn on_urgent(&mut self) {
        self.pending.urgent = true;
    }

    /// Whether an ACK should leave now, in a packet of its own if need be. To be asked after each receive burst.
    pub fn is_due(&self, now: Nanos) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// Whether an ACK would tell anything that the peer asked for: worth a ride on a data packet that leaves anyway.
    pub fn has_pending(&self) -> bool {
        self.pending.eliciting > 0 || self.sweep_wanted
    }

    /// When an ACK becomes due; 0 for at once.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let pending = &self.pending;
        if pending.eliciting == 0 {
            return self.sweep_wanted.then_some(0);
        }
        if pending.eliciting >= ACK_PACKETS || pending.urgent || self.sweep_wanted {
            return Some(0);
        }
        let patience_ns = if self.end > PATIENT_FROM { self.patience_ns } else { 0 };
        let due =
            (pending.first_ns + ACK_DELAY_NS.max(2 * patience_ns)).min(pending.last_ns + IDLE_NS.max(patience_ns));
        Some(if pending.gap { due.min(self.last_ack_ns + GAP_SPACING_NS.max(patience_ns)) } else { due })
    }

    /// The next ACK, with at most `max_words` words; to be asked again until `None`, as one may not hold all the news.
    pub fn poll_ack(&mut self, now: Nanos, max_words: usize) -> Option<Ack<'_>> {
        let max_words = max_words.min(MAX_ACK_WORDS) as u64;
        let largest = self.largest()?;
        if max_words == 0 || !self.has_pending() {
            return None;
        }
        self.raise_floor();
        let (first, count) = match self.pending.late.take() {
            Some((first, last)) => {
                let count = max_words.min(last - first + 1);
                self.pending.late = (first + count <= last).then_some((first + count, last));
                (first, count)
            }
            None if self.pending.eliciting > 0 => self.news(now, largest, max_words),
            None => self.sweep(largest, max_words)?,
        };
        for (slot, index) in self.words.iter_mut().zip(first..first + count) {
            *slot = self.bitmap.word(index);
        }
        Some(Ack {
            largest,
            delay_ns: u32::try_from(now.saturating_sub(self.largest_at_ns)).unwrap_or(u32::MAX),
            floor: self.floor.min(largest + 1),
            first_word: first,
            words: AckWords::Native(&self.words[..count as usize]),
        })
    }

    /// The highest number received.
    pub fn largest(&self) -> Option<u64> {
        self.end.checked_sub(1)
    }

    /// Every number below has arrived or is no longer waited for.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Moves or doubles the window until it holds `number`. What lies below the floor is forgotten only when its room
    /// is needed: until then a packet that comes very late is still known for new, and its arrival told.
    fn make_room(&mut self, number: u64) -> bool {
        if number.saturating_sub(self.floor) >= self.max_window - 64 {
            return false;
        }
        loop {
            let start = (number + 64).saturating_sub(self.bitmap.capacity());
            if start <= self.floor {
                self.bitmap.advance_to(start);
                return true;
            }
            if self.bitmap.capacity() >= self.max_window {
                return false;
            }
            self.bitmap.grow(self.bitmap.capacity() * 2);
        }
    }

    /// A packet arrived behind a higher number.
    fn note_overtaken(&mut self, number: u64) {
        let pending = &mut self.pending;
        if self.end - number > LATE || number < self.floor {
            let word = number / 64;
            let range = pending.late.map_or((word, word), |(first, last)| (first.min(word), last.max(word)));
            pending.late = Some(if range.1 - range.0 < NEWS_WORDS { range } else { (word, word) });
        } else {
            pending.lowest = pending.lowest.min(number);
        }
    }

    /// The range of an ordinary ACK: all the news, and as much of the ACKs before as there is room for. Where the news
    /// alone exceed the room, their oldest part, and the rest remains pending.
    fn news(&mut self, now: Nanos, largest: u64, max_words: u64) -> (u64, u64) {
        // Where all that has arrived was late and told already, nothing is above what was covered.
        // What lies below the floor the floor tells.
        let covered = self.covered_end.max(self.floor);
        let last = largest / 64;
        let reach = self.bitmap.start().max((last + 1).saturating_sub(NEWS_WORDS) * 64);
        let lowest = self.pending.lowest.min(covered).min(largest).max(reach);
        let first = lowest / 64;
        if last - first >= max_words {
            self.pending.lowest = u64::MAX;
            self.covered_end = (first + max_words) * 64;
            return (first, max_words);
        }
        let oldest = self.history.iter().copied().min().unwrap_or(lowest).max(self.floor).min(lowest) / 64;
        let first = oldest.max((last + 1).saturating_sub(max_words));
        self.history[self.acks as usize % REPEATS] = lowest;
        self.acks += 1;
        self.covered_end = largest + 1;
        self.last_ack_ns = now;
        self.pending = Pending::NONE;
        self.sweep_wanted = self.acks.is_multiple_of(u64::from(SWEEP_EVERY)) && self.floor / 64 < first;
        (first, last - first + 1)
    }

    /// The next piece of what lies between the floor and the repetition's reach.
    fn sweep(&mut self, largest: u64, max_words: u64) -> Option<(u64, u64)> {
        self.sweep_wanted = false;
        let begin = self.floor / 64;
        let end = self.history.iter().copied().min().unwrap_or(0).min(largest) / 64;
        if begin >= end {
            return None;
        }
        let first = if (begin..end).contains(&self.sweep_word) { self.sweep_word } else { begin };
        let count = max_words.min(end - first);
        // At the end it begins anew: following the end as it moves on would never come back to what is old.
        self.sweep_word = if first + count == end { 0 } else { first + count };
        Some((first, count))
    }

    /// Raises the floor over what has arrived without a gap: each word is passed once.
    fn raise_floor(&mut self) {
        loop {
            let missing = !self.bitmap.word(self.floor / 64) >> (self.floor % 64);
            if missing != 0 {
                self.floor += u64::from(missing.trailing_zeros());
                return;
            }
            self.floor = (self.floor / 64 + 1) * 64;
        }
    }
}

#[cfg(test)]
mod tests;
