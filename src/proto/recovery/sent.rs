//! What is in flight: a ring of records indexed by packet number, with bit words beside it.

use crate::base::Nanos;
use crate::base::size::wire_bytes;

/// Most packet numbers between the lowest one in flight and the next: what the peer's bitmap holds as well
/// (100 Gbit/s × 300 ms in 1500-byte frames is 2.5 million).
pub const MAX_SPAN: u64 = 1 << 22;
/// Records of a new ring (8 KiB): an idle or receiving connection never needs more; a sender doubles it as it goes.
const FIRST_RECORDS: usize = 256;

/// One packet in flight: what its sender must know to send the content again. 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SentPacket {
    /// When it was sent (set by [`Recovery::on_sent`](super::Recovery::on_sent)).
    pub sent_ns: Nanos,
    /// Data: offset of the payload in its stream.
    pub offset: u64,
    /// Data: the stream.
    pub stream: u32,
    /// Data: the frame that holds the payload.
    pub frame: u32,
    /// Bytes of the frame as the link is given it: Ethernet header included, FCS not.
    pub len: u16,
    /// Data: bytes of payload.
    pub payload: u16,
    /// [`SentPacket::DATA`] and friends.
    pub flags: u16,
    /// Which control items the packet carried; not looked at here.
    pub control: u16,
}

const _: () = assert!(size_of::<SentPacket>() <= 32);

impl SentPacket {
    /// The packet carries a segment.
    pub const DATA: u16 = 1;
    /// The segment is its stream's last.
    pub const FIN: u16 = 1 << 1;
    /// A tail probe.
    pub const PROBE: u16 = 1 << 2;
    /// The content was sent before under another number.
    pub const RETRANSMISSION: u16 = 1 << 3;

    /// What the packet occupies on the wire: padding, preamble, FCS and gap included.
    pub fn wire_bytes(&self) -> u64 {
        wire_bytes(usize::from(self.len))
    }
}

/// A packet that has left the ring, or is remembered, with its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Packet number.
    pub number: u64,
    /// Its record.
    pub packet: SentPacket,
}

/// State of 64 packets: at most one of the three bits of a packet is set.
#[derive(Clone, Copy, Default, Debug)]
struct Word {
    outstanding: u64,
    acked: u64,
    lost: u64,
}

/// The ring. Invariant: `lowest` is the lowest outstanding number (or `next`), and its word is still in reach.
#[derive(Debug)]
pub struct SentRing {
    records: Vec<SentPacket>,
    words: Vec<Word>,
    next: u64,
    lowest: u64,
    packets: u64,
    bytes: u64,
    /// Records that it may have at most; a power of two.
    most: u64,
    /// Records that had to leave because the span grew beyond that; lost, not yet told.
    overrun: Vec<Sent>,
    /// Words looked at so far, by anybody: the measure of the ring's cost.
    examined: u64,
}

impl SentRing {
    /// Most packet numbers between the lowest outstanding one and the next.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// It may have so many records, a power of two of at most [`MAX_SPAN`].
    pub fn set_most(&mut self, most: u64) {
        self.most = most.next_power_of_two().clamp(FIRST_RECORDS as u64, MAX_SPAN);
    }

    /// What it takes.
    pub fn memory_bytes(&self) -> usize {
        self.records.capacity() * size_of::<SentPacket>() + self.words.capacity() * size_of::<Word>()
    }

    /// The number of the next packet.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The lowest outstanding number, [`next`](Self::next) where there is none.
    pub fn lowest(&self) -> u64 {
        self.lowest
    }

    /// Outstanding packets.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Their wire bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bit words looked at since the start.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// The lowest outstanding packet.
    pub fn first(&self) -> Option<Sent> {
        (self.lowest < self.next).then(|| self.at(self.lowest))
    }

    /// Tracks the next packet.
    pub fn push(&mut self, packet: SentPacket) {
        let number = self.open_number();
        let slot = self.slot(number);
        self.records[slot] = packet;
        self.word_mut(number / 64).outstanding |= 1 << (number % 64);
        self.packets += 1;
        self.bytes += packet.wire_bytes();
    }

    /// Takes a number without tracking it: nobody will acknowledge it, nobody will miss it.
    pub fn skip(&mut self) {
        let number = self.open_number();
        if self.packets == 0 {
            self.lowest = number + 1;
        }
    }

    /// Of the 64 packets of word `index`, those in `bits` have arrived: the outstanding ones go to `acked`, those held
    /// for lost to `late`. Returns the wire bytes of the former. The caller ends with [`settle`](Self::settle).
    pub fn acknowledge(&mut self, index: u64, bits: u64, acked: &mut Vec<Sent>, late: &mut Vec<Sent>) -> u64 {
        self.examined += 1;
        if !self.in_reach(index) {
            return 0;
        }
        let word = self.word_mut(index);
        let newly = bits & word.outstanding;
        let mut found = bits & word.lost;
        if newly | found == 0 {
            return 0;
        }
        word.outstanding &= !newly;
        word.lost &= !found;
        word.acked |= newly | found;
        while found != 0 {
            late.push(self.at(index * 64 + u64::from(found.trailing_zeros())));
            found &= found - 1;
        }
        let mut bytes = 0;
        let mut rest = newly;
        while rest != 0 {
            let sent = self.at(index * 64 + u64::from(rest.trailing_zeros()));
            bytes += sent.packet.wire_bytes();
            acked.push(sent);
            rest &= rest - 1;
        }
        self.packets -= u64::from(newly.count_ones());
        self.bytes -= bytes;
        bytes
    }

    /// The outstanding packets among the 64 of word `index`.
    pub fn outstanding(&self, index: u64) -> u64 {
        if self.in_reach(index) { self.word(index).outstanding } else { 0 }
    }

    /// The packet of that number, if it is outstanding.
    pub fn get(&self, number: u64) -> Option<Sent> {
        (self.outstanding(number / 64) & (1 << (number % 64)) != 0).then(|| self.at(number))
    }

    /// Moves `lowest` up to what is still outstanding.
    pub fn settle(&mut self) {
        if self.packets == 0 {
            self.lowest = self.next;
            return;
        }
        let mut index = self.lowest / 64;
        let mut rest = self.word(index).outstanding & (!0 << (self.lowest % 64));
        while rest == 0 {
            self.examined += 1;
            index += 1;
            rest = self.word(index).outstanding;
        }
        self.lowest = index * 64 + u64::from(rest.trailing_zeros());
    }

    /// Takes the lowest outstanding packet for lost; it stays recognisable until its slot is used again.
    pub fn lose_first(&mut self) -> Option<Sent> {
        let sent = self.first()?;
        let bit = 1 << (sent.number % 64);
        let word = self.word_mut(sent.number / 64);
        word.outstanding &= !bit;
        word.lost |= bit;
        self.packets -= 1;
        self.bytes -= sent.packet.wire_bytes();
        self.settle();
        Some(sent)
    }

    /// Whether any packet with a number above `low` and below `high` has arrived; what is out of reach has.
    pub fn any_acked_between(&mut self, low: u64, high: u64) -> bool {
        let from = low + 1;
        if !self.in_reach(from / 64) {
            return true;
        }
        for index in from / 64..=high / 64 {
            self.examined += 1;
            let mut bits = self.word(index).acked;
            if index == from / 64 {
                bits &= !0 << (from % 64);
            }
            if index == high / 64 {
                bits &= (1 << (high % 64)) - 1;
            }
            if bits != 0 {
                return true;
            }
        }
        false
    }

    /// Whether packets wait for [`take_overrun`](Self::take_overrun).
    pub fn has_overrun(&self) -> bool {
        !self.overrun.is_empty()
    }

    /// Packets that left because the numbers ran too far ahead of them.
    pub fn take_overrun(&mut self, out: &mut Vec<Sent>) {
        out.append(&mut self.overrun);
    }

    fn open_number(&mut self) -> u64 {
        let number = self.next;
        if number.is_multiple_of(64) {
            self.open_word(number / 64);
        }
        self.next += 1;
        if self.packets == 0 {
            self.lowest = number;
        }
        number
    }

    fn open_word(&mut self, index: u64) {
        while index - self.lowest / 64 >= self.words.len() as u64 && self.packets > 0 {
            self.make_room();
        }
        *self.word_mut(index) = Word::default();
    }

    /// Doubles the ring, or where it has its full size gives up the lowest packet.
    fn make_room(&mut self) {
        if self.records.len() as u64 >= self.most {
            if let Some(sent) = self.lose_first() {
                self.overrun.push(sent);
            }
            return;
        }
        let old = self.words.len();
        let mut words = vec![Word::default(); old * 2];
        let mut records = vec![SentPacket::default(); old * 2 * 64];
        let end = self.next.div_ceil(64);
        for index in end.saturating_sub(old as u64)..end {
            let (from, to) = (index as usize & (old - 1), index as usize & (old * 2 - 1));
            words[to] = self.words[from];
            records[to * 64..to * 64 + 64].copy_from_slice(&self.records[from * 64..from * 64 + 64]);
        }
        self.words = words;
        self.records = records;
    }

    fn at(&self, number: u64) -> Sent {
        Sent { number, packet: self.records[self.slot(number)] }
    }

    fn slot(&self, number: u64) -> usize {
        number as usize & (self.records.len() - 1)
    }

    /// Whether word `index` is in the ring: begun, and its slot not yet used again.
    fn in_reach(&self, index: u64) -> bool {
        let end = self.next.div_ceil(64);
        index < end && index + self.words.len() as u64 >= end
    }

    fn word(&self, index: u64) -> Word {
        self.words[index as usize & (self.words.len() - 1)]
    }

    fn word_mut(&mut self, index: u64) -> &mut Word {
        let slot = index as usize & (self.words.len() - 1);
        &mut self.words[slot]
    }
}

impl Default for SentRing {
    /// An empty ring whose first packet is number 0.
    fn default() -> SentRing {
        SentRing {
            records: vec![SentPacket::default(); FIRST_RECORDS],
            words: vec![Word::default(); FIRST_RECORDS / 64],
            next: 0,
            lowest: 0,
            packets: 0,
            bytes: 0,
            most: MAX_SPAN,
            overrun: Vec::new(),
            examined: 0,
        }
    }
}
