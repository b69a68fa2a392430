//! What a sealed connection has beyond a plain one: the handshake, its packet keys, and questions about its existence.

use std::sync::Arc;

use super::connection::{Connection, Cx};
use super::error::CloseReason;
use super::output::{Content, Transmit};
use super::recovery::SentPacket;
use super::rx::code;
use crate::base::time::{MILLISECOND, SECOND};
use crate::base::{MacAddr, Nanos};
use crate::crypto::{Initiation, NamedKey, Protection, Subject};
use crate::wire::open::COOKIE_LEN;
use crate::wire::{Ask, HEADER_LEN, Item, PacketType, SealedAccept, SealedOpen};

/// From one question whether the peer still knows the connection to the next. Anybody can make us ask, with a reset
/// that proves nothing: shorter lets that cost more, longer notices a restarted peer later.
const ASK_EVERY_NS: Nanos = 20 * MILLISECOND;

/// From one question for a sign that the peer has our key to the next: several round trips of most paths. Shorter sends
/// probes for nothing, longer keeps a key that has served in use.
const SIGN_EVERY_NS: Nanos = SECOND;

/// What a sealed connection has.
pub(super) struct Sealing {
    /// The pre-shared key that it was opened with.
    pub key: Arc<NamedKey>,
    /// Our address and the peer's.
    pub way: (MacAddr, MacAddr),
    pub hello: Hello,
    /// Once both sides' parts of the handshake are known.
    pub protection: Option<Protection>,
    /// What a packet without proof said while we waited for an answer.
    pub hint: Option<String>,
    pub ask: Question,
    /// When the peer was asked last for a sign that it has our key.
    sign_asked_ns: Nanos,
}

/// Our part of the handshake.
pub(super) enum Hello {
    /// Initiator, until the answer.
    Opening(Box<(Initiation, SealedOpen)>),
    /// Responder: the answer, to be sent again when the open comes again.
    Accepted(Box<SealedAccept>),
    Done,
}

/// "Do you still know this connection?"
#[derive(Default)]
pub(super) struct Question {
    /// Echoed by the answer; 0 before anything was asked.
    pub nonce: u64,
    due: bool,
    asked_ns: Nanos,
}

impl Sealing {
    pub fn new(key: Arc<NamedKey>, way: (MacAddr, MacAddr), hello: Hello) -> Sealing {
        Sealing { key, way, hello, protection: None, hint: None, ask: Question::default(), sign_asked_ns: 0 }
    }

    /// Initiator: our open, with the responder's cookie if there is one.
    pub fn emit_open(&self, cookie: Option<[u8; COOKIE_LEN]>, body: &mut [u8]) -> Option<usize> {
        let Hello::Opening(opening) = &self.hello else { return None };
        let mut open = SealedOpen { cookie, ..opening.1 };
        open.mac = self.key.reply().mac(Subject::Open, self.way, &open.covered());
        Some(open.emit(body))
    }

    /// Responder: our answer.
    pub fn emit_accept(&self, body: &mut [u8]) -> Option<usize> {
        let Hello::Accepted(accept) = &self.hello else { return None };
        Some(accept.emit(body))
    }
}

impl Connection {
    /// Somebody says, without proof, that the peer has forgotten the connection: to be asked, if that was not just
    /// done. `nonce` is random. The first one stays: with a new one in each question, whoever sends such packets all
    /// the time would make the true answer, a round trip later, one to a question that is no longer asked. A peer that
    /// has forgotten a connection never knows it again, so one "no" is good for ever.
    pub(super) fn doubt(&mut self, now: Nanos, nonce: u64) {
        let Some(sealing) = &mut self.sealing else { return };
        let ask = &mut sealing.ask;
        if ask.nonce == 0 {
            *ask = Question { nonce: nonce.max(1), due: true, asked_ns: now };
        } else if now.saturating_sub(ask.asked_ns) >= ASK_EVERY_NS {
            (ask.due, ask.asked_ns) = (true, now);
        }
    }

    /// The question, if one is due.
    pub(super) fn poll_ask(&mut self, cx: &mut Cx<'_>, body: &mut [u8]) -> Option<Transmit> {
        let sealing = self.sealing.as_mut()?;
        if !std::mem::take(&mut sealing.ask.due) {
            return None;
        }
        cx.counters.tx_asks += 1;
        let (key, nonce) = (&sealing.key, sealing.ask.nonce);
        let mac = key.reply().mac(Subject::Ask, sealing.way, &Ask::covered(self.peer_id, nonce));
        let length = Ask { key: key.key.id(), nonce, mac }.emit(body);
        Some(self.transmit(PacketType::Ask, length, Content::Body, 0))
    }

    /// What the header of a packet of ours says about its seal.
    pub(super) fn seal_of(&self, kind: PacketType) -> Option<u8> {
        let sealing = self.sealing.as_ref()?;
        match kind {
            PacketType::Ask => None,
            // Without keys it can't be sealed, and so it can't leave.
            kind if kind.is_of_connection() => Some(sealing.protection.as_ref().map_or(0, Protection::phase)),
            _ => Some(0),
        }
    }

    /// Packet `number` is about to be sealed: under a new key, if it is time for one. The peer is then asked for a sign
    /// that it has followed, since a side that only acknowledges would never learn it.
    pub(super) fn choose_phase(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(sealing) = self.sealing.as_mut() else { return };
        let Some(protection) = sealing.protection.as_mut() else { return };
        // A lost segment still lies there as it was sealed when it left last, and must be unsealed to be sent again:
        // while there is one, all keys are kept. All others are in flight, and so were sealed not before the lowest of
        // these.
        let settled = if self.lost.is_empty() { self.recovery.settled() } else { 0 };
        let begins = protection.phase_of(cx.now, number, settled).1;
        cx.counters.rekeys += u64::from(begins);
        // Who only acknowledges hears nothing of what it sends, and could never tell that the peer has this key.
        let unheard = protection.is_served(cx.now, number) && cx.now >= sealing.sign_asked_ns + SIGN_EVERY_NS;
        if begins || unheard {
            sealing.sign_asked_ns = cx.now;
            self.control.pending.probe = true;
        }
    }

    /// A packet key has sealed, or has seen forged, as many packets as it may.
    pub(super) fn is_spent(&self) -> bool {
        let protection = self.sealing.as_ref().and_then(|sealing| sealing.protection.as_ref());
        let next = self.recovery.next_number();
        protection.is_some_and(|protection| protection.is_spent(next) || protection.is_worn())
    }

    /// Ends a connection whose key is spent, with a last word to the peer.
    pub(super) fn end_spent(&mut self, cx: &mut Cx<'_>, body: &mut [u8]) -> Option<Transmit> {
        if self.state.is_over() {
            return None;
        }
        let (why, words) = (CloseReason::KeySpent, "packet key spent");
        self.abort(cx, code::KEY, words, why);
        self.close_due = false;
        let length = Item::Close { code: code::KEY, reason: words }.emit(body)?;
        let number = self.take_number(cx, SentPacket::default(), HEADER_LEN + length, false);
        Some(self.transmit(PacketType::Control, length, Content::Body, number))
    }
}
