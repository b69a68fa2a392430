//! A connection's packet keys, both directions, and when they are replaced.
//!
//! Each direction has a chain of secrets, one an epoch: the next one is derived from the last, which is wiped, so keys
//! of the past can't be had from those of today. A packet's header names its epoch by the lower two bits, its phase.
//! The sender begins an epoch when a key has served for long enough; the receiver follows with the first packet of it
//! that opens. Nobody waits for anybody: packets of the last epoch that are still under way open as before.

use super::handshake::Secrets;
use super::packet::{Cipher, PacketKey, TAG_LEN};
use super::{Secret, derive};
use crate::base::Nanos;
use crate::base::time::SECOND;

/// Keys at hand for each direction: as many as phases.
const PHASES: usize = 4;
/// Packets that one key may seal. AES-GCM gives an attacker an advantage of blocks²/2^129: at 9,000 bytes, 563 blocks,
/// this is 2^34.1 blocks and 2^-60. A sender whose peer does not follow for so long gives up.
const MOST_PACKETS: u64 = 1 << 25;
/// Forgeries after which a key is not to be trusted: ChaCha20-Poly1305's bound (RFC 9001, 6.6), the lower of the two. A
/// core refuses some 2^21 a second, so a key is long replaced by then, unless its owner sends nothing for nine hours.
const MOST_FORGERIES: u64 = 1 << 36;

/// When keys are replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rekey {
    /// After so many packets.
    pub packets: u64,
    /// Or after so long.
    pub after_ns: Nanos,
}

impl Default for Rekey {
    /// 2^24 packets: half of what a key may seal, and four times what can be in flight. Ten minutes bound what a key
    /// that gets known is good for; shorter costs nothing that could be measured, and gains as little.
    fn default() -> Rekey {
        Rekey { packets: 1 << 24, after_ns: 600 * SECOND }
    }
}

/// The packet keys of one connection.
pub struct Protection {
    cipher: Cipher,
    rekey: Rekey,
    tx: Chain,
    /// Its newest epoch is the one after the peer's: no packet needs to wait for a derivation.
    rx: Chain,
    /// The first packet number of our epoch, and when it began.
    began: (u64, Nanos),
    /// Packets under the peer's present key that did not open.
    forgeries: u64,
}

impl Protection {
    /// The keys of a connection from `now` on, for its initiator or its responder.
    pub fn new(secrets: Secrets, cipher: Cipher, initiator: bool, rekey: Rekey, now: Nanos) -> Protection {
        let Secrets { to_responder, to_initiator } = secrets;
        let (out, back) = if initiator { (to_responder, to_initiator) } else { (to_initiator, to_responder) };
        let (tx, mut rx) = (Chain::new(cipher, out), Chain::new(cipher, back));
        rx.advance();
        Protection { cipher, rekey, tx, rx, began: (0, now), forgeries: 0 }
    }

    /// What packets are sealed with.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Epochs that we have begun and the peer has, the first one included.
    pub fn epochs(&self) -> (u64, u64) {
        (self.tx.newest + 1, self.rx.newest)
    }

    /// The phase to seal packet `number` under, and whether an epoch begins with it. `settled` is the number below
    /// which the peer has answered for everything; an epoch begins only when that is true of a packet of the last one,
    /// so that the peer is never more than one behind, and no frame is sealed under a key that is gone.
    pub fn phase_of(&mut self, now: Nanos, number: u64, settled: u64) -> (u8, bool) {
        let first = self.began.0;
        let begins = self.is_served(now, number) && settled > first && number > first;
        if begins {
            self.tx.advance();
            self.began = (number, now);
        }
        (self.phase(), begins)
    }

    /// Our key has served for long enough to be replaced.
    pub fn is_served(&self, now: Nanos, number: u64) -> bool {
        let (first, since) = self.began;
        number - first >= self.rekey.packets || now.saturating_sub(since) >= self.rekey.after_ns
    }

    /// Our key has sealed all that it may, up to packet `number`, and the peer has not followed to the next one.
    pub fn is_spent(&self, number: u64) -> bool {
        number - self.began.0 >= MOST_PACKETS
    }

    /// The phase that we seal under now.
    pub fn phase(&self) -> u8 {
        (self.tx.newest % PHASES as u64) as u8
    }

    /// Encrypts the body of packet `number` in place, under `phase`; the tag over it and `header`.
    #[inline]
    pub fn seal(&self, phase: u8, number: u64, header: &[u8], body: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        self.tx.key(phase)?.seal(number, header, body)
    }

    /// Decrypts a packet of ours that is to be sealed anew: `sealed` is its body and tag. False if it is not as it was.
    pub fn unseal(&self, phase: u8, number: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        self.tx.key(phase).is_some_and(|key| key.open(number, header, sealed))
    }

    /// Decrypts a packet of the peer's in place: `sealed` is its body and tag. False if it is not authentic.
    #[inline]
    pub fn open(&mut self, phase: u8, number: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        let Some(key) = self.rx.key(phase) else { return false };
        let opened = key.open(number, header, sealed);
        if !opened {
            self.forgeries += 1;
        } else if u64::from(phase) == self.rx.newest % PHASES as u64 {
            self.rx.advance();
            self.forgeries = 0;
        }
        opened
    }

    /// The peer's key has been tried on more forgeries than it is good for.
    pub fn is_worn(&self) -> bool {
        self.forgeries >= MOST_FORGERIES
    }
}

/// The keys of one direction: the newest epoch's, and those before it as far as phases tell them apart.
struct Chain {
    cipher: Cipher,
    /// Of the epoch after the newest.
    next: Secret,
    newest: u64,
    keys: [Option<PacketKey>; PHASES],
}

impl Chain {
    fn new(cipher: Cipher, secret: Secret) -> Chain {
        let first = PacketKey::new(cipher, &secret);
        Chain { cipher, next: following(&secret), newest: 0, keys: [Some(first), None, None, None] }
    }

    /// Begins the next epoch. The key of the one before the last is wiped.
    fn advance(&mut self) {
        self.newest += 1;
        self.keys[(self.newest % PHASES as u64) as usize] = Some(PacketKey::new(self.cipher, &self.next));
        // Nothing is sealed or sent under a phase that is to come; and of the past, two epochs are enough.
        self.keys[((self.newest + 1) % PHASES as u64) as usize] = None;
        self.next = following(&self.next);
    }

    #[inline]
    fn key(&self, phase: u8) -> Option<&PacketKey> {
        self.keys.get(usize::from(phase))?.as_ref()
    }
}

/// The secret of the epoch after that of `secret`.
fn following(secret: &Secret) -> Secret {
    derive("farwire 2026-11-21 v1 next epoch", &**secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 16] = [5; 16];

    fn pair(rekey: Rekey) -> (Protection, Protection) {
        let secrets = || Secrets { to_responder: Secret::new([1; 32]), to_initiator: Secret::new([2; 32]) };
        let side = |initiator| Protection::new(secrets(), Cipher::ChaCha20Poly1305, initiator, rekey, 0);
        (side(true), side(false))
    }

    fn sealed(by: &Protection, phase: u8, number: u64) -> Vec<u8> {
        let mut body = b"body".to_vec();
        let tag = by.seal(phase, number, &HEADER, &mut body).unwrap();
        body.extend(tag);
        body
    }

    #[test]
    fn each_direction_has_keys_of_its_own() {
        let (mut a, mut b) = pair(Rekey::default());
        let packet = sealed(&a, 0, 1);
        assert!(b.open(0, 1, &HEADER, &mut packet.clone()));
        assert!(!a.open(0, 1, &HEADER, &mut packet.clone()), "sent back to its sender");
        assert!(a.unseal(0, 1, &HEADER, &mut packet.clone()));
        assert!(a.open(0, 1, &HEADER, &mut sealed(&b, 0, 1)));
    }

    #[test]
    fn keys_change_without_a_stall_and_the_past_is_wiped() {
        let (mut a, mut b) = pair(Rekey { packets: 10, after_ns: 1000 });
        let mut late = None;
        for number in 0..200 {
            // The peer has answered for all but the last three.
            let (phase, begins) = a.phase_of(0, number, u64::saturating_sub(number, 3));
            assert_eq!(begins, number > 0 && number % 10 == 0);
            assert_eq!(u64::from(phase), number / 10 % 4);
            let packet = sealed(&a, phase, number);
            if number % 10 == 9 {
                late = Some((phase, number, packet));
                continue;
            }
            assert!(b.open(phase, number, &HEADER, &mut packet.clone()), "{number}");
            if number % 10 == 5
                && let Some((phase, number, mut packet)) = late.take()
            {
                assert!(b.open(phase, number, &HEADER, &mut packet), "an epoch late: {number}");
            }
            // Three epochs back, the phase is another key's or nobody's.
            assert!(number < 40 || !b.open(phase, number - 40, &HEADER, &mut packet.clone()));
        }
        assert_eq!(a.epochs().0, b.epochs().1);
        let (c, _) = pair(Rekey::default());
        assert!(!b.open(0, 0, &HEADER, &mut sealed(&c, 0, 0)), "the first epoch's keys are gone");
    }

    #[test]
    fn time_changes_keys_too_but_never_ahead_of_the_peer() {
        let (mut a, _) = pair(Rekey { packets: 1 << 24, after_ns: 1000 });
        assert_eq!(a.phase_of(999, 5, 5), (0, false));
        assert_eq!(a.phase_of(1000, 6, 0), (0, false), "nothing was answered for so far");
        assert_eq!(a.phase_of(1000, 7, 1), (1, true));
        assert_eq!(a.phase_of(1999, 8, 8), (1, false));
        assert_eq!(a.phase_of(9000, 9, 7), (1, false), "nothing of this epoch was");
        assert_eq!(a.phase_of(9000, 10, 8), (2, true));
    }

    #[test]
    fn a_key_seals_no_more_than_it_may() {
        let (mut a, _) = pair(Rekey::default());
        assert_eq!(a.phase_of(0, MOST_PACKETS, 0), (0, false));
        assert!(!a.is_spent(MOST_PACKETS - 1) && a.is_spent(MOST_PACKETS));
        assert_eq!(a.phase_of(0, MOST_PACKETS, 1), (1, true));
        assert!(!a.is_spent(2 * MOST_PACKETS - 1));
    }

    #[test]
    fn forgeries_wear_a_key_and_a_new_one_is_fresh() {
        let (a, mut b) = pair(Rekey { packets: 10, after_ns: 1000 });
        assert!(!b.open(0, 1, &HEADER, &mut [0; 40]) && !b.open(1, 1, &HEADER, &mut [0; 40]));
        assert!(!b.open(3, 1, &HEADER, &mut [0; 40]), "no key has this phase: none is worn by it");
        assert_eq!(b.forgeries, 2);
        b.forgeries = MOST_FORGERIES;
        assert!(b.is_worn());
        let mut a = a;
        a.tx.advance();
        assert!(b.open(1, 10, &HEADER, &mut sealed(&a, 1, 10)));
        assert!(!b.is_worn());
    }
}
