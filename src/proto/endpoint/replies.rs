//! Replies that keep no state, and how many of them there may be: a stranger can make us say something with each frame.

use super::super::output::{Content, Transmit};
use super::rates::Bucket;
use super::{Endpoint, Packet};
use crate::base::time::MILLISECOND;
use crate::base::{ConnId, MacAddr, Nanos};
use crate::wire::sealed::MAC_LEN;
use crate::wire::version::emit_version;
use crate::wire::{Announce, CookieReply, Header, PacketType, Reset, SealedCookie, SealedReset, VERSION};

/// Stateless replies that wait at a time; beyond, requests go unanswered, and their senders try again. A flood can't
/// make us queue more, nor send more than this a turn.
const MAX_REPLIES: usize = 64;
/// The same with hints, of which three kinds may each come 64 at once ([`Hints`]): with less, one of them, or a burst
/// of openings, would shut out the others.
const MAX_REPLIES_AND_HINTS: usize = 256;
/// Replies that go before the connections' packets in a burst of 64; the rest has what these leave. More lets who
/// causes replies slow down who sends, fewer lets openings wait while connections are busy.
const REPLIES_FIRST: usize = 8;
/// From one reply to who has proved nothing to the next of its kind, on average. They only hint at something, so a lost
/// one costs time and no more. Shorter lets strangers have more of our sending, longer lets a host that comes back to
/// many peers at once be noticed later.
pub(super) const HINT_EVERY_NS: Nanos = MILLISECOND;

/// When the next replies may go to who has proved nothing. Each kind has a rate of its own: garbage of all types makes
/// far more resets than anything else, and would leave no announcement for who asks for a name meanwhile.
#[derive(Default)]
pub(super) struct Hints {
    resets: Bucket,
    versions: Bucket,
    announcements: Bucket,
}

/// From one answer to a packet that bears a right MAC to the next to the very same packet. Who sent it first repeats it
/// after 200 ms at the soonest; others may have recorded it. Shorter lets them have more answers, longer than the pause
/// between two tries would leave honest ones unanswered.
pub(super) const SAME_EVERY_NS: Nanos = 20 * MILLISECOND;
/// Answered packets that are remembered, so that a recorded one is not answered as often as it comes: more than there
/// are connections. Fewer forget sooner, more take memory.
const ANSWERED: usize = 1024;
/// Which packets with a right MAC were answered of late, and when, by the beginning of their MAC.
pub(super) struct Answered(Vec<(u64, Nanos)>);

impl Answered {
    pub fn new() -> Answered {
        Answered(vec![(0, 0); ANSWERED])
    }

    /// Whether the packet with this MAC may be answered now; if so, it counts.
    pub fn admit(&mut self, now: Nanos, mac: &[u8; MAC_LEN]) -> bool {
        let name = u64::from_le_bytes(*mac.first_chunk().unwrap_or(&[0; 8]));
        let (last, at) = &mut self.0[name as usize % ANSWERED];
        if *last == name && now.saturating_sub(*at) < SAME_EVERY_NS {
            return false;
        }
        (*last, *at) = (name, now);
        true
    }
}

/// An answer to be sent that needs no connection, or only its slot.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Cookie { dst: MacAddr, conn: ConnId, reply: CookieReply },
    SealedCookie { dst: MacAddr, conn: ConnId, reply: SealedCookie },
    SealedReset { dst: MacAddr, conn: ConnId, number: u64, reset: SealedReset },
    Accept { slot: u32 },
    Reset { dst: MacAddr, conn: ConnId, number: u64, why: Reset },
    Version { dst: MacAddr, conn: ConnId, nonce: u64 },
    Announce { dst: MacAddr, nonce: u64 },
}

impl Endpoint {
    /// Answers a packet for a connection that we don't know.
    pub(super) fn reply_reset(&mut self, now: Nanos, packet: &Packet<'_>) {
        let Header { conn, number, .. } = packet.header;
        if self.why_no_peer(packet.src).is_none() {
            self.hint(now, Reply::Reset { dst: packet.src, conn, number, why: Reset::UnknownConnection });
        }
    }

    /// Queues a reply to who has proved nothing, unless there were too many of its kind of late.
    pub(super) fn hint(&mut self, now: Nanos, reply: Reply) {
        let hints = &mut self.hints;
        let kind = match reply {
            Reply::Announce { .. } => &mut hints.announcements,
            Reply::Version { .. } => &mut hints.versions,
            _ => &mut hints.resets,
        };
        if kind.admit(now, HINT_EVERY_NS) {
            self.queue(reply, MAX_REPLIES_AND_HINTS);
        } else {
            self.counters.tx_answers_dropped += 1;
        }
    }

    /// Queues a reply to a packet with this MAC, which was right, unless that was just answered: others can send it
    /// again as often as they like.
    pub(super) fn answer(&mut self, now: Nanos, mac: &[u8; MAC_LEN], reply: Reply) {
        if self.answered.admit(now, mac) {
            self.reply(reply);
        } else {
            self.counters.tx_answers_dropped += 1;
        }
    }

    /// Queues a reply, unless too many wait.
    pub(super) fn reply(&mut self, reply: Reply) {
        self.queue(reply, MAX_REPLIES);
    }

    fn queue(&mut self, reply: Reply, most: usize) {
        if self.replies.len() < most {
            self.replies.push_back(reply);
        } else {
            self.counters.tx_answers_dropped += 1;
        }
    }

    /// The next reply that goes before the connections' packets.
    pub(super) fn poll_first_reply(&mut self, body: &mut [u8]) -> Option<Transmit> {
        if self.replied >= REPLIES_FIRST {
            return None;
        }
        self.replied += 1;
        self.poll_reply(body)
    }

    pub(super) fn poll_reply(&mut self, body: &mut [u8]) -> Option<Transmit> {
        loop {
            let reply = self.replies.pop_front()?;
            if let Some(transmit) = self.emit_reply(reply, body) {
                return Some(transmit);
            }
        }
    }

    fn emit_reply(&mut self, reply: Reply, body: &mut [u8]) -> Option<Transmit> {
        let seal = matches!(reply, Reply::SealedCookie { .. } | Reply::SealedReset { .. }).then_some(0);
        let (kind, dst, conn, number, length) = match reply {
            Reply::Accept { slot } => return Some(self.conns.get(slot as usize)?.accept(body)),
            Reply::Cookie { dst, conn, reply } => (PacketType::Cookie, dst, conn, 0, reply.emit(body)),
            Reply::Reset { dst, conn, number, why } => {
                self.counters.tx_resets += 1;
                (PacketType::Reset, dst, conn, number, why.emit(body))
            }
            Reply::SealedCookie { dst, conn, reply } => (PacketType::Cookie, dst, conn, 0, reply.emit(body)),
            Reply::SealedReset { dst, conn, number, reset } => {
                self.counters.tx_resets += 1;
                (PacketType::Reset, dst, conn, number, reset.emit(body))
            }
            Reply::Version { dst, conn, nonce } => {
                (PacketType::Version, dst, conn, nonce, emit_version(body, &[VERSION]))
            }
            Reply::Announce { dst, nonce } => {
                let (name, service) = self.discovery.identity()?;
                let announce = Announce { nonce, name, service, mtu: self.mtu };
                (PacketType::Announce, dst, ConnId(0), nonce, announce.emit(body)?)
            }
        };
        let header = Header { kind, fin: false, trailer: false, seal, length: length as u16, conn, number };
        Some(Transmit { dst, conn: None, header, content: Content::Body })
    }

    /// A plain answer to a sealed open: believed, it would make us go on without keys.
    pub(super) fn is_unsealed(&mut self, packet: &Packet<'_>) -> bool {
        let slot = self.find(packet.header.conn);
        let unsealed = slot.is_some_and(|slot| self.conns[slot as usize].sealing.is_some());
        self.counters.drop_unsealed += u64::from(unsealed);
        unsealed
    }
}
