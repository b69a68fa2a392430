//! What makes this endpoint this endpoint: its address, its secrets, the ids that it gives out.

use crate::base::time::SECOND;
use crate::base::{ConnId, MacAddr, Nanos};
use crate::crypto::{Drbg, Entropy};
use crate::wire::open::COOKIE_LEN;

/// Bits of a connection id that name the slot: 4,096 connections per worker.
const SLOT_BITS: u32 = 12;
/// Most connections that ids can name.
pub(super) const SLOTS: usize = 1 << SLOT_BITS;
/// Bits that name the slot's generation, so that a late packet of a former connection meets nobody.
const GENERATION_BITS: u32 = 14;
/// How long a cookie is good: the slowest path's round trip and a retry. Longer lets a recorded open be replayed for
/// longer, shorter refuses who is far away.
const COOKIE_LIFE_NS: Nanos = 10 * SECOND;

/// An endpoint's address and secrets.
pub(super) struct Identity {
    /// Our address.
    pub mac: MacAddr,
    /// What cookies are made with.
    seed: [u8; 32],
    /// Nonces, ids, and keys of one handshake each.
    pub rng: Drbg,
    /// Of the last connection's id.
    generation: u32,
}

impl Identity {
    pub fn new(mac: MacAddr, seed: [u8; 32], entropy: Entropy) -> Identity {
        let mut rng = Drbg::with_entropy(seed, entropy);
        let mut own = [0; 32];
        rng.fill(&mut own);
        let generation = rng.draw() as u32;
        Identity { mac, seed: own, rng, generation }
    }

    /// A number that nobody outside can guess.
    pub fn draw(&mut self) -> u64 {
        self.rng.draw()
    }

    /// What tells rate buckets apart, and nobody knows.
    pub fn salt(&mut self) -> [u8; 32] {
        let mut salt = [0; 32];
        self.rng.fill(&mut salt);
        salt
    }

    /// An id for a connection in `slot`. The first generation is drawn at random, so that a restart most likely names
    /// others; from there on they are counted, so that no id comes again for 16,383 connections: drawn each by itself,
    /// one of 150 connections in a slot would more likely than not have the id of a former one.
    pub fn conn_id(&mut self, slot: u32) -> ConnId {
        let mask = (1 << GENERATION_BITS) - 1;
        self.generation = (self.generation.wrapping_add(1) & mask).max(1);
        ConnId(slot << GENERATION_BITS | self.generation)
    }

    /// A cookie for an open from `peer`, made at `now`.
    pub fn cookie(&self, now: Nanos, peer: MacAddr, conn: ConnId, nonce: u64) -> [u8; COOKIE_LEN] {
        let mut text = [0; 26];
        text[..8].copy_from_slice(&now.to_be_bytes());
        text[8..14].copy_from_slice(&peer.octets());
        text[14..18].copy_from_slice(&conn.0.to_be_bytes());
        text[18..].copy_from_slice(&nonce.to_be_bytes());
        let hash = blake3::keyed_hash(&self.seed, &text);
        let mut cookie = [0; COOKIE_LEN];
        cookie[..8].copy_from_slice(&text[..8]);
        cookie[8..].copy_from_slice(&hash.as_bytes()[..COOKIE_LEN - 8]);
        cookie
    }

    /// Whether `cookie` is ours, for this open, and not too old.
    pub fn is_cookie(&self, now: Nanos, peer: MacAddr, open: (ConnId, u64), cookie: &[u8; COOKIE_LEN]) -> bool {
        let made = u64::from_be_bytes(cookie[..8].try_into().unwrap_or_default());
        let ours = self.cookie(made, peer, open.0, open.1);
        // Constant in time is not needed: a guess is one packet, and timing it across a link tells nothing of 16 bytes.
        made <= now && now - made <= COOKIE_LIFE_NS && ours == *cookie
    }
}

/// Which slot an id of ours names.
pub(super) fn slot_of(id: ConnId) -> u32 {
    id.0 >> GENERATION_BITS & ((1 << SLOT_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_open_only_and_not_for_long() {
        let identity = Identity::new(MacAddr::zero(), [7; 32], Entropy::NONE);
        let (peer, conn) = (MacAddr::new(2, 0, 0, 0, 0, 1), ConnId(5));
        let cookie = identity.cookie(1000, peer, conn, 9);
        assert!(identity.is_cookie(2000, peer, (conn, 9), &cookie));
        assert!(!identity.is_cookie(2000, peer, (conn, 10), &cookie));
        assert!(!identity.is_cookie(2000, MacAddr::new(2, 0, 0, 0, 0, 2), (conn, 9), &cookie));
        assert!(!identity.is_cookie(2000 + COOKIE_LIFE_NS, peer, (conn, 9), &cookie));
        assert!(!identity.is_cookie(999, peer, (conn, 9), &cookie));
    }

    #[test]
    fn ids_name_their_slot_and_are_never_nobody() {
        let mut identity = Identity::new(MacAddr::zero(), [1; 32], Entropy::NONE);
        for slot in [0, 1, 4095] {
            let id = identity.conn_id(slot);
            assert_eq!(slot_of(id), slot);
            assert_ne!(id, ConnId(0));
        }
    }

    #[test]
    fn no_id_comes_again_before_all_were_used() {
        let mut identity = Identity::new(MacAddr::zero(), [1; 32], Entropy::NONE);
        let mut seen = std::collections::BTreeSet::new();
        assert!((1..1 << GENERATION_BITS).all(|_| seen.insert(identity.conn_id(7).0)));
        assert_ne!(
            Identity::new(MacAddr::zero(), [2; 32], Entropy::NONE).conn_id(7),
            identity.conn_id(7),
            "another life, other ids"
        );
    }
}
