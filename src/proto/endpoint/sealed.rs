//! Admission where there are keys: who can't prove that it holds one costs a hash, and gets nothing.
//!
//! In this order, each step costing more than the last: is the key ours, is the open's MAC right, is a cookie needed,
//! is the rate kept, is the Noise message authentic; then a connection is made.

use std::sync::Arc;

use super::super::config::Security;
use super::super::connection::Side;
use super::super::error::{CloseReason, ConnectError};
use super::super::lifecycle::{Event as Life, State};
use super::super::rx::code;
use super::super::sealing::{Hello, Sealing};
use super::open::{MIN_MTU, refusal};
use super::replies::Reply;
use super::{Endpoint, Packet, Verdict};
use crate::base::{ConnId, MacAddr, Nanos};
use crate::crypto::{Cipher, HandshakeError, Initiation, Keyring, NamedKey, Protection, Response, Subject};
use crate::wire::sealed::{ANSWER_LEN, NOISE_LEN, OFFER_LEN};
use crate::wire::{Answer, Ask, Header, Offer, Reset, SealedAccept, SealedCookie, SealedOpen, SealedReset, VERSION};

impl Endpoint {
    /// The keys that a sealed packet of a connection is to be opened with. `None` if it is not to be looked at further:
    /// it is counted, and answered if that is due.
    #[inline]
    pub fn opener(&mut self, now: Nanos, src: MacAddr, header: &Header) -> Option<&mut Protection> {
        let packet = Packet { src, header: *header, body: &[], frame: crate::base::FrameId(0) };
        let slot = self.route(now, &packet)?;
        let sealing = self.conns[slot as usize].sealing.as_mut();
        let protection = sealing.and_then(|sealing| sealing.protection.as_mut());
        self.counters.drop_unknown_connection += u64::from(protection.is_none());
        protection
    }

    /// The keys that a packet of ours is to be sealed with.
    #[inline]
    pub fn sealer(&self, conn: u32) -> Option<&Protection> {
        self.conns.get(conn as usize)?.sealing.as_ref()?.protection.as_ref()
    }

    /// A frame that was to be sent again could not be unsealed: its memory was changed. The stream can't go on.
    pub fn on_spoiled(&mut self, now: Nanos, conn: u32) {
        self.counters.tx_spoiled += 1;
        self.with(now, conn, |conn, cx| conn.abort(cx, code::KEY, "a frame was spoiled", CloseReason::Spoiled));
        self.mark_ready(conn);
    }

    /// These keys are taken from now on, and no others: connections under a key that is not among them end.
    pub fn set_keys(&mut self, now: Nanos, keys: Keyring) {
        let gone = |sealing: &Sealing| keys.get(sealing.key.key.id()).is_none();
        let conns = self.conns.iter().filter(|(_, conn)| conn.sealing.as_deref().is_none_or(gone));
        let revoked: Vec<u32> = conns.map(|(slot, _)| slot as u32).collect();
        for slot in revoked {
            self.with(now, slot, |conn, cx| {
                let name = conn.sealing.as_ref().map_or(String::new(), |sealing| sealing.key.name.clone());
                let why = CloseReason::Revoked { name };
                match conn.state {
                    State::OpenSent | State::AcceptSent => conn.apply(cx, Life::TimedOut, why),
                    _ => conn.abort(cx, code::KEY, "the key was removed", why),
                }
            });
            self.mark_ready(slot);
        }
        self.config.security = Security::Keys(keys);
    }

    /// Begins the handshake of a connection that we open, if there are keys.
    pub(super) fn begin_sealed(&mut self, slot: u32) {
        let Security::Keys(keys) = &self.config.security else { return };
        let Some(key) = keys.own().cloned() else { return };
        let conn = &mut self.conns[slot as usize];
        let way = (self.identity.mac, conn.peer);
        let (id, message) = (key.key.id(), [0; NOISE_LEN + OFFER_LEN]);
        let mut open = SealedOpen { conn: conn.id, nonce: conn.nonce, key: id, message, cookie: None, mac: [0; 16] };
        let offer = Offer { params: conn.local, ciphers: Cipher::ALL, prefers: self.config.cipher as u8 };
        let (prologue, offer) = (prologue(self.config.ethertype, way, &open), offer.to_bytes());
        let begun = Initiation::begin(&key.key, &prologue, &offer, &mut self.identity.rng, &mut open.message);
        // The message has the room that it takes, which is the only thing that can be wrong.
        let Ok(initiation) = begun else { unreachable!("a Noise message of another length") };
        conn.sealing = Some(Box::new(Sealing::new(key, way, Hello::Opening(Box::new((initiation, open))))));
    }

    pub(super) fn on_sealed_open(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let src = packet.src;
        match SealedOpen::parse(packet.body) {
            Ok(open) if open.conn != ConnId(0) && self.why_no_peer(src).is_none() => self.consider(now, src, &open),
            _ => self.counters.drop_malformed += 1,
        }
        Verdict::Free
    }

    fn consider(&mut self, now: Nanos, src: MacAddr, open: &SealedOpen) {
        let (dst, conn, number) = (src, open.conn, open.nonce);
        let Security::Keys(keys) = &self.config.security else {
            self.counters.drop_unsealed += 1;
            return self.hint(now, Reply::Reset { dst, conn, number, why: Reset::PlainOnly });
        };
        let Some(key) = keys.get(open.key).cloned() else {
            self.counters.drop_unauthentic += 1;
            return self.hint(now, Reply::Reset { dst, conn, number, why: Reset::UnknownKey });
        };
        let way = (src, self.identity.mac);
        if !key.reply().is_mac(Subject::Open, way, &open.covered(), &open.mac) {
            self.counters.drop_unauthentic += 1;
        } else if let Some(slot) = self.half_open_by(src, (conn, number)) {
            self.answer(now, &open.mac, Reply::Accept { slot });
        } else if self.is_taken(src, (conn, number)) {
            self.counters.drop_replayed += 1;
        } else if !self.listening {
            self.refuse_sealed(now, &key, src, open, Reset::NotListening);
        } else if self.must_ask_cookie() && !self.proves(now, src, (conn, number), open.cookie) {
            let cookie = self.identity.cookie(now, src, conn, number);
            let mut reply = SealedCookie { nonce: number, cookie, mac: [0; 16] };
            reply.mac = key.reply().mac(Subject::Cookie, (self.identity.mac, src), &reply.covered());
            self.answer(now, &open.mac, Reply::SealedCookie { dst, conn, reply });
        } else if !self.rates.admit(now, src, &self.config) {
            self.counters.drop_open_rate += 1;
        } else if let Err(why) = self.admit_sealed(now, src, open, &key) {
            self.counters.refused_connections += 1;
            self.refuse_sealed(now, &key, src, open, why);
        }
    }

    /// The half-open connection that this open made.
    fn half_open_by(&self, src: MacAddr, open: (ConnId, u64)) -> Option<u32> {
        self.known_open(src, open).filter(|&slot| self.conns[slot as usize].state == State::AcceptSent)
    }

    /// Whether a connection that was proved bears this id of its peer's. An open of another nonce under it is from
    /// another life of the peer: one that was recorded, or of a restarted peer that drew an id again (1 in 2^26), which
    /// comes in when the old connection is over. It must not take that one's place, where resets are looked up.
    fn is_taken(&self, src: MacAddr, open: (ConnId, u64)) -> bool {
        let slot = self.by_peer.get(&(src.octets(), open.0.0));
        let proved = slot.is_some_and(|&slot| self.conns[slot as usize].state.is_established());
        proved || self.known_open(src, open).is_some()
    }

    fn admit_sealed(&mut self, now: Nanos, src: MacAddr, open: &SealedOpen, key: &Arc<NamedKey>) -> Result<(), Reset> {
        if self.conns.len() >= self.config.max_connections {
            return Err(Reset::Full);
        }
        let mut offer = [0; OFFER_LEN];
        let prologue = prologue(self.config.ethertype, (src, self.identity.mac), open);
        let response = Response::read(&key.key, &prologue, &open.message, &mut self.identity.rng, &mut offer);
        let (Ok(response), Ok(offer)) = (response, Offer::parse(&offer)) else {
            self.counters.drop_unauthentic += 1;
            return Ok(());
        };
        let cipher = Cipher::agree(offer.ciphers, offer.prefers, self.config.cipher);
        let (Some(cipher), true) = (cipher, offer.params.mtu >= MIN_MTU) else {
            self.counters.drop_malformed += 1;
            return Ok(());
        };
        let window = self.budget.open_window().ok_or(Reset::Full)?;
        let local = self.params(window);
        let slot = self.insert(now, (src, open.conn), (Side::Responder, Some(open.nonce)), (local, offer.params));
        let conn = &mut self.conns[slot as usize];
        let answer = Answer { params: local, conn: conn.id, cipher: cipher as u8 };
        let way = (self.identity.mac, src);
        let mut accept = SealedAccept { nonce: open.nonce, message: [0; NOISE_LEN + ANSWER_LEN], mac: [0; 16] };
        let Ok(secrets) = response.answer(&answer.to_bytes(), &mut accept.message) else {
            unreachable!("a Noise message of another length")
        };
        accept.mac = key.reply().mac(Subject::Accept, way, &accept.covered());
        let mut sealing = Sealing::new(key.clone(), way, Hello::Accepted(Box::new(accept)));
        sealing.protection = Some(Protection::new(secrets, cipher, false, self.config.rekey, now));
        conn.sealing = Some(Box::new(sealing));
        self.admitted(slot, src, open.conn);
        self.answer(now, &open.mac, Reply::Accept { slot });
        Ok(())
    }

    pub(super) fn on_sealed_cookie(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Ok(reply) = SealedCookie::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        match self.opening(packet, reply.nonce) {
            None => self.counters.drop_unasked += 1,
            Some(slot) if self.is_of_peer(slot, Subject::Cookie, &reply.covered(), &reply.mac) => {
                self.come_again(now, slot, reply.cookie);
            }
            Some(_) => self.counters.drop_unauthentic += 1,
        }
        Verdict::Free
    }

    pub(super) fn on_sealed_accept(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Ok(accept) = SealedAccept::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let Some(slot) = self.find(packet.header.conn) else {
            self.counters.drop_unasked += 1;
            return Verdict::Free;
        };
        if !self.is_of_peer(slot, Subject::Accept, &accept.covered(), &accept.mac) {
            self.counters.drop_unauthentic += 1;
        } else if self.opening(packet, accept.nonce).is_none() {
            self.confirm_again(packet, accept.nonce);
        } else if let Ok(answer) = self.finish_handshake(now, slot, &accept) {
            self.accepted(now, slot, answer.conn, answer.params);
        } else {
            self.counters.drop_unauthentic += 1;
        }
        Verdict::Free
    }

    fn finish_handshake(&mut self, now: Nanos, slot: u32, accept: &SealedAccept) -> Result<Answer, HandshakeError> {
        let sealing = self.conns[slot as usize].sealing.as_mut().ok_or(HandshakeError)?;
        let Hello::Opening(opening) = &mut sealing.hello else { return Err(HandshakeError) };
        let mut answer = [0; ANSWER_LEN];
        let secrets = opening.0.finish(&accept.message, &mut answer)?;
        let answer = Answer::parse(&answer).map_err(|_| HandshakeError)?;
        let cipher = Cipher::from_bit(answer.cipher).ok_or(HandshakeError)?;
        if answer.params.mtu < MIN_MTU || answer.conn == ConnId(0) {
            return Err(HandshakeError);
        }
        sealing.protection = Some(Protection::new(secrets, cipher, true, self.config.rekey, now));
        sealing.hello = Hello::Done;
        Ok(answer)
    }

    pub(super) fn on_sealed_reset(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Ok(reset) = SealedReset::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let Header { conn, number, .. } = packet.header;
        let covered = about(reset.why, conn, number);
        if let Some(slot) = self.opening(packet, number) {
            if self.is_of_peer(slot, Subject::Refusal, &covered, &reset.mac) {
                let reason = refusal(reset.why).to_owned();
                self.fail_open(slot, ConnectError::Refused { peer: packet.src, reason });
            } else {
                self.counters.drop_unauthentic += 1;
            }
            return Verdict::Free;
        }
        let asked = self.by_peer.get(&(packet.src.octets(), conn.0)).copied().filter(|&slot| {
            let conn = &self.conns[slot as usize];
            let question = conn.sealing.as_ref().map_or(0, |sealing| sealing.ask.nonce);
            conn.state.is_established() && question == number && number != 0
        });
        match asked {
            None => self.counters.drop_unasked += 1,
            Some(slot) if self.is_of_peer(slot, Subject::Gone, &covered, &reset.mac) => self.forgotten(now, slot),
            Some(_) => self.counters.drop_unauthentic += 1,
        }
        Verdict::Free
    }

    /// Somebody asks whether we still know a connection. Only a "no" is answered: who has it need not be told.
    pub(super) fn on_ask(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Ok(ask) = Ask::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let (dst, conn, number) = (packet.src, packet.header.conn, ask.nonce);
        let known = self.find(conn).is_some_and(|slot| self.conns[slot as usize].peer == dst);
        let key = match &self.config.security {
            Security::Keys(keys) => keys.get(ask.key).cloned(),
            Security::Insecure => None,
        };
        let ways = ((dst, self.identity.mac), (self.identity.mac, dst));
        let authentic =
            |key: &Arc<NamedKey>| key.reply().is_mac(Subject::Ask, ways.0, &Ask::covered(conn, number), &ask.mac);
        match key.filter(authentic) {
            None => self.counters.drop_unauthentic += 1,
            Some(_) if known => self.counters.drop_unasked += 1,
            Some(key) => {
                let why = Reset::UnknownConnection;
                let mac = key.reply().mac(Subject::Gone, ways.1, &about(why, conn, number));
                self.answer(now, &ask.mac, Reply::SealedReset { dst, conn, number, reset: SealedReset { why, mac } });
            }
        }
        Verdict::Free
    }

    fn refuse_sealed(&mut self, now: Nanos, key: &NamedKey, dst: MacAddr, open: &SealedOpen, why: Reset) {
        let (conn, number) = (open.conn, open.nonce);
        let mac = key.reply().mac(Subject::Refusal, (self.identity.mac, dst), &about(why, conn, number));
        self.answer(now, &open.mac, Reply::SealedReset { dst, conn, number, reset: SealedReset { why, mac } });
    }

    /// Whether a connection's peer made this MAC, or who else holds its key.
    fn is_of_peer(&self, slot: u32, subject: Subject, covered: &[u8], mac: &[u8; 16]) -> bool {
        let sealing = self.conns[slot as usize].sealing.as_ref();
        sealing.is_some_and(|sealing| {
            let (ours, theirs) = sealing.way;
            sealing.key.reply().is_mac(subject, (theirs, ours), covered, mac)
        })
    }
}

/// What a handshake binds: our protocol and its version, the EtherType, both addresses, and all of the open that is not
/// in its message. No VLAN: a switch may give the tag on one side of it only.
fn prologue(ethertype: u16, (from, to): (MacAddr, MacAddr), open: &SealedOpen) -> Vec<u8> {
    let mut prologue = b"farwire".to_vec();
    prologue.push(VERSION);
    prologue.extend(ethertype.to_be_bytes());
    prologue.extend(from.octets());
    prologue.extend(to.octets());
    prologue.extend(open.head());
    prologue
}

/// What the MAC of a reset covers.
fn about(why: Reset, conn: ConnId, number: u64) -> [u8; 13] {
    let mut out = [why as u8; 13];
    out[1..].copy_from_slice(&Ask::covered(conn, number));
    out
}
