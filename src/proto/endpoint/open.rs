//! Admission in plain mode: the three-way open with its cookie round, and the replies that keep no state. What a sealed
//! open needs besides is in `sealed`.

use super::super::config::Security;
use super::super::connection::{Birth, Connection, Side};
use super::super::error::{CloseReason, ConnectError};
use super::super::lifecycle::{Event as Life, State};
use super::super::max_payload;
use super::super::output::Event;
use super::replies::Reply;
use super::{Endpoint, Packet, Verdict};
use crate::base::time::MILLISECOND;
use crate::base::{ConnId, MacAddr, Nanos};
use crate::wire::open::COOKIE_LEN;
use crate::wire::version::parse_version;
use crate::wire::{Accept, CRC_LEN, CookieReply, Open, Params, Reset, TAG_LEN, VERSION};

/// Segments that a stream may have in the receiver's hands at first, at least. An application may return up to seven
/// without a word (it would wake a sleeping engine for each): a window no larger than that could run dry unnoticed.
const MIN_STREAM_SEGMENTS: u64 = 12;
/// Smallest MTU that a peer may name: Ethernet's smallest payload holds no segment worth sending.
pub(super) const MIN_MTU: u16 = 256;

impl Endpoint {
    /// Asks `peer` for a connection. Its slot, under which `Connected` or `ConnectFailed` will come.
    ///
    /// # Errors
    /// If the address can't be a peer's, or there is no room.
    pub fn connect(&mut self, now: Nanos, peer: MacAddr) -> Result<u32, ConnectError> {
        if let Some(why) = self.why_no_peer(peer) {
            return Err(ConnectError::BadPeer { peer, why });
        }
        if matches!(&self.config.security, Security::Keys(keys) if keys.own().is_none()) {
            return Err(ConnectError::NoKey);
        }
        let limit = self.config.max_connections;
        if self.conns.len() >= limit {
            return Err(ConnectError::TooMany { limit });
        }
        let Some(window) = self.budget.open_window() else {
            return Err(ConnectError::NoFrames { frames: self.frames, connections: self.conns.len() });
        };
        let local = self.params(window);
        // What the peer's terms are is known with its accept.
        let remote = Params { mtu: local.mtu, streams: 0, conn_credit: 0, stream_credit: 0, idle_timeout_ms: 0 };
        let slot = self.insert(now, (peer, ConnId(0)), (Side::Initiator, None), (local, remote));
        self.begin_sealed(slot);
        self.mark_ready(slot);
        Ok(slot)
    }

    pub(super) fn on_open(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        if packet.header.seal.is_some() {
            return self.on_sealed_open(now, packet);
        }
        let Ok(open) = Open::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let src = packet.src;
        if open.params.mtu < MIN_MTU || open.conn == ConnId(0) || self.why_no_peer(src).is_some() {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        }
        if matches!(self.config.security, Security::Keys(_)) {
            self.counters.drop_unsealed += 1;
            let (dst, conn, number) = (src, open.conn, open.nonce);
            self.hint(now, Reply::Reset { dst, conn, number, why: Reset::KeyRequired });
        } else if let Some(slot) = self.known_open(src, (open.conn, open.nonce)) {
            self.accept_again(slot);
        } else if !self.listening {
            self.refuse(src, &open, Reset::NotListening);
        } else if self.must_ask_cookie() && !self.proves(now, src, (open.conn, open.nonce), open.cookie) {
            let cookie = self.identity.cookie(now, src, open.conn, open.nonce);
            let reply = CookieReply { nonce: open.nonce, cookie };
            self.reply(Reply::Cookie { dst: src, conn: open.conn, reply });
        } else if !self.rates.admit(now, src, &self.config) {
            self.counters.drop_open_rate += 1;
        } else if !self.admit(now, src, &open) {
            self.counters.refused_connections += 1;
            self.refuse(src, &open, Reset::Full);
        }
        Verdict::Free
    }

    /// The connection that this open made, when it came before.
    pub(super) fn known_open(&self, src: MacAddr, (conn, nonce): (ConnId, u64)) -> Option<u32> {
        let slot = *self.by_peer.get(&(src.octets(), conn.0))?;
        (self.conns[slot as usize].nonce == nonce).then_some(slot)
    }

    /// The answer again, if it is waited for.
    fn accept_again(&mut self, slot: u32) {
        if self.conns[slot as usize].state == State::AcceptSent {
            self.reply(Reply::Accept { slot });
        } else {
            self.counters.drop_replayed += 1;
        }
    }

    pub(super) fn on_cookie(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        if packet.header.seal.is_some() {
            return self.on_sealed_cookie(now, packet);
        }
        if self.is_unsealed(packet) {
            return Verdict::Free;
        }
        let Ok(reply) = CookieReply::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        match self.opening(packet, reply.nonce) {
            Some(slot) => self.come_again(now, slot, reply.cookie),
            None => self.counters.drop_unasked += 1,
        }
        Verdict::Free
    }

    /// Opens again with the responder's cookie: at once with the first one. Another one for the same open answers an
    /// earlier copy of it, or was recorded; it is for the next try.
    pub(super) fn come_again(&mut self, now: Nanos, slot: u32, cookie: [u8; COOKIE_LEN]) {
        let conn = &mut self.conns[slot as usize];
        if conn.cookie.replace(cookie).is_none() {
            conn.open_retry_ns = now;
        }
        self.mark_ready(slot);
    }

    pub(super) fn on_accept(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        if packet.header.seal.is_some() {
            return self.on_sealed_accept(now, packet);
        }
        if self.is_unsealed(packet) {
            return Verdict::Free;
        }
        let Ok(accept) = Accept::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let Some(slot) = self.opening(packet, accept.nonce) else {
            self.confirm_again(packet, accept.nonce);
            return Verdict::Free;
        };
        if accept.params.mtu < MIN_MTU || accept.conn == ConnId(0) {
            self.counters.drop_malformed += 1;
        } else {
            self.accepted(now, slot, accept.conn, accept.params);
        }
        Verdict::Free
    }

    /// The peer's part of an open of ours is known: the connection is open.
    pub(super) fn accepted(&mut self, now: Nanos, slot: u32, peer_id: ConnId, terms: Params) {
        self.with(now, slot, |conn, cx| {
            // After a repeated open the answer may be to any of them: no sample.
            let rtt_ns = (conn.open_tries == 1).then(|| now.saturating_sub(conn.opened_ns));
            conn.peer_id = peer_id;
            conn.on_terms(cx, terms, rtt_ns);
            conn.confirm_due = true;
            // The probe makes sure that the confirm's meaning arrives, even if the confirm does not.
            conn.control.pending.probe = true;
            conn.last_heard_ns = now;
            conn.apply(cx, Life::Accepted, CloseReason::Finished);
        });
        let conn = &self.conns[slot as usize];
        self.by_peer.insert((conn.peer.octets(), conn.peer_id.0), slot);
        self.out.events.push_back(Event::Connected { conn: slot });
        self.mark_ready(slot);
    }

    pub(super) fn on_reset(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        if packet.header.seal.is_some() {
            return self.on_sealed_reset(now, packet);
        }
        let number = packet.header.number;
        let Ok(reset) = Reset::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        if let Some(slot) = self.opening(packet, number) {
            let reason = refusal(reset).to_owned();
            match &mut self.conns[slot as usize].sealing {
                // Anybody could have said so.
                Some(sealing) => sealing.hint = Some(reason),
                None => self.fail_open(slot, ConnectError::Refused { peer: packet.src, reason }),
            }
            return Verdict::Free;
        }
        // The packet names the id that its sender does not know, which is our name for the peer's end.
        let key = (packet.src.octets(), packet.header.conn.0);
        if let Some(&slot) = self.by_peer.get(&key) {
            let conn = &self.conns[slot as usize];
            let plausible = number < conn.recovery.next_number();
            if plausible && conn.state.is_established() && conn.sealing.is_some() {
                let nonce = self.identity.draw();
                self.conns[slot as usize].doubt(now, nonce);
                self.mark_ready(slot);
                return Verdict::Free;
            }
            if plausible && conn.state.is_established() {
                self.forgotten(now, slot);
                return Verdict::Free;
            }
        }
        self.counters.drop_unasked += 1;
        Verdict::Free
    }

    /// The peer knows the connection no longer.
    pub(super) fn forgotten(&mut self, now: Nanos, slot: u32) {
        let conn = &self.conns[slot as usize];
        // Both sides had finished, and the peer has drained while its last ACK was lost again and again.
        let both = matches!(conn.state, State::LastAck | State::Closing);
        let why = if both { CloseReason::Finished } else { CloseReason::Reset };
        self.with(now, slot, |conn, cx| conn.apply(cx, Life::PeerClosed, why));
        self.mark_ready(slot);
    }

    pub(super) fn on_version(&mut self, _now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Ok(versions) = parse_version(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        match (self.opening(packet, packet.header.number), versions.iter().max()) {
            (Some(slot), Some(&theirs)) if !versions.contains(&VERSION) => {
                let error = ConnectError::Version { peer: packet.src, theirs, ours: VERSION };
                match &mut self.conns[slot as usize].sealing {
                    Some(sealing) => sealing.hint = Some(error.to_string()),
                    None => self.fail_open(slot, error),
                }
            }
            _ => self.counters.drop_unasked += 1,
        }
        Verdict::Free
    }

    /// An open of another version arrived; `packet` begins with its outer header.
    pub fn on_foreign_open(&mut self, now: Nanos, src: MacAddr, body: &[u8]) {
        self.counters.drop_version += 1;
        if let Some((conn, nonce)) = Open::peek(body)
            && self.why_no_peer(src).is_none()
        {
            self.hint(now, Reply::Version { dst: src, conn, nonce });
        }
    }

    /// The connection of ours whose open this packet answers.
    pub(super) fn opening(&self, packet: &Packet<'_>, nonce: u64) -> Option<u32> {
        let slot = self.find(packet.header.conn)?;
        let conn = &self.conns[slot as usize];
        (conn.state == State::OpenSent && conn.peer == packet.src && conn.nonce == nonce).then_some(slot)
    }

    /// An accept came again: the confirm was lost.
    pub(super) fn confirm_again(&mut self, packet: &Packet<'_>, nonce: u64) {
        if let Some(slot) = self.find(packet.header.conn) {
            let conn = &mut self.conns[slot as usize];
            if conn.side == Side::Initiator && conn.peer == packet.src && conn.nonce == nonce {
                conn.confirm_due = conn.state.is_established();
                self.mark_ready(slot);
                return;
            }
        }
        self.counters.drop_unasked += 1;
    }

    /// Half-open connections hold windows. While some do and little is left, none goes to who can't hear us, nor, in
    /// sealed mode, to who says again what others have said.
    pub(super) fn must_ask_cookie(&self) -> bool {
        let scarce = self.half_open > 0 && self.budget.is_scarce();
        // Where there are few slots, fewer half-open connections take what others need; one may be, at any rate.
        let most = self.config.max_half_open.min((self.config.max_connections / 4).max(1));
        self.config.require_cookie || self.half_open >= most || scarce
    }

    pub(super) fn proves(
        &mut self,
        now: Nanos,
        src: MacAddr,
        open: (ConnId, u64),
        cookie: Option<[u8; COOKIE_LEN]>,
    ) -> bool {
        let Some(cookie) = cookie else { return false };
        let good = self.identity.is_cookie(now, src, open, &cookie);
        self.counters.drop_bad_cookie += u64::from(!good);
        good
    }

    fn admit(&mut self, now: Nanos, src: MacAddr, open: &Open) -> bool {
        if self.conns.len() >= self.config.max_connections {
            return false;
        }
        let Some(window) = self.budget.open_window() else { return false };
        let local = self.params(window);
        let side = (Side::Responder, Some(open.nonce));
        let slot = self.insert(now, (src, open.conn), side, (local, open.params));
        self.admitted(slot, src, open.conn);
        self.reply(Reply::Accept { slot });
        true
    }

    /// A half-open connection is in its slot, to be answered.
    pub(super) fn admitted(&mut self, slot: u32, src: MacAddr, conn: ConnId) {
        self.by_peer.insert((src.octets(), conn.0), slot);
        let half = &mut self.conns[slot as usize];
        let window = half.local.conn_credit;
        half.half_open_window = Some(window);
        self.half_open += 1;
        self.budget.on_half_open(window);
        self.mark_ready(slot);
    }

    pub(super) fn insert(
        &mut self,
        now: Nanos,
        peer: (MacAddr, ConnId),
        side: (Side, Option<u64>),
        params: (Params, Params),
    ) -> u32 {
        let slot = self.conns.vacant_key() as u32;
        let id = self.identity.conn_id(slot);
        let nonce = side.1.unwrap_or_else(|| self.identity.draw());
        let (local, remote) = params;
        self.stream_budget.on_offered(local.streams);
        let birth = Birth { slot, id, peer_id: peer.1, peer: peer.0, side: side.0, nonce, local, remote };
        self.conns.insert(Connection::new(birth, now, &self.config, self.frames));
        slot
    }

    /// What we offer with a receive window of `window` segments.
    pub(super) fn params(&self, window: u64) -> Params {
        let tail_len = if matches!(self.config.security, Security::Keys(_)) { TAG_LEN } else { CRC_LEN };
        let payload = max_payload(usize::from(self.mtu), tail_len) as u64;
        let (bytes, least) = (window * payload, MIN_STREAM_SEGMENTS * payload);
        // A quarter, so that streams that nobody reads do not take all of the connection; it grows with what is read.
        let stream_credit = (bytes / 4).min(self.config.max_stream_window_bytes).max(least);
        Params {
            mtu: self.mtu,
            streams: self.stream_budget.offer(),
            conn_credit: window,
            stream_credit,
            idle_timeout_ms: (self.config.idle_timeout_ns / MILLISECOND).min(u64::from(u32::MAX)) as u32,
        }
    }

    fn refuse(&mut self, src: MacAddr, open: &Open, why: Reset) {
        self.reply(Reply::Reset { dst: src, conn: open.conn, number: open.nonce, why });
    }

    /// An initiator that got no answer in time.
    pub(super) fn expire_open(&mut self, now: Nanos, slot: u32) {
        let Some(conn) = self.conns.get(slot as usize) else { return };
        let waited = now.saturating_sub(conn.opened_ns);
        if conn.state == State::OpenSent && waited >= conn.connect_timeout_ns {
            let (peer, waited_ms) = (conn.peer, waited / MILLISECOND);
            let hint = conn.sealing.as_ref().and_then(|sealing| sealing.hint.clone());
            self.fail_open(
                slot,
                match hint {
                    Some(hint) => ConnectError::NoProof { peer, waited_ms, hint },
                    None => ConnectError::NoAnswer { peer, waited_ms },
                },
            );
        }
    }

    pub(super) fn fail_open(&mut self, slot: u32, error: ConnectError) {
        self.out.events.push_back(Event::ConnectFailed { conn: slot, error });
        self.forget(slot);
    }

    pub(super) fn why_no_peer(&self, mac: MacAddr) -> Option<&'static str> {
        match mac {
            mac if mac == self.identity.mac => Some("it is our own"),
            mac if mac.is_multicast() || mac.is_broadcast() => Some("it is a group address"),
            mac if mac.is_zero() => Some("it is all zeros"),
            _ => None,
        }
    }
}

/// Why an open was refused, in words.
pub(super) fn refusal(why: Reset) -> &'static str {
    match why {
        Reset::Full => "it has no room for another connection; try again later",
        Reset::KeyRequired => "it takes sealed connections only; say --key FILE, with a key that it has",
        Reset::PlainOnly => "it has no keys (--insecure); give it a key, or say --insecure here, too",
        Reset::UnknownKey => "it does not have our key; put the key file there as well, or use one that it has",
        Reset::UnknownConnection | Reset::NotListening => {
            "nothing there accepts connections; start `farwire recv` or `farwire perf server`"
        }
    }
}

// A request for a cookie is never longer than the open that caused it.
const _: () = assert!(COOKIE_LEN + 8 <= crate::wire::open::OPEN_LEN);
