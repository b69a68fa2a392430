//! One key of one direction: seals and opens packets in place.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::{Secret, derive};

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// What packets are sealed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cipher {
    /// Fast where the CPU has instructions for it.
    Aes256Gcm = 1,
    /// Fast enough everywhere.
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    /// All that we can use, as bits.
    pub const ALL: u8 = Cipher::Aes256Gcm as u8 | Cipher::ChaCha20Poly1305 as u8;

    /// The one that this CPU is faster at: on one with instructions for AES and carry-less multiplication, AES-256-GCM
    /// takes a third of the other's time for a packet of 1,500 bytes.
    pub fn preferred() -> Cipher {
        #[cfg(target_arch = "x86_64")]
        let fast = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let fast = std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let fast = false;
        if fast { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 }
    }

    /// What two sides use, given what the initiator offers and prefers and what we prefer: AES only if both are fast at
    /// it, since the slower side sets the pace. `None` if there is nothing that both can use.
    pub fn agree(offered: u8, prefers: u8, ours: Cipher) -> Option<Cipher> {
        let both = prefers == Cipher::Aes256Gcm as u8 && ours == Cipher::Aes256Gcm;
        let first = if both { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 };
        [first, Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm].into_iter().find(|cipher| offered & *cipher as u8 != 0)
    }

    /// The cipher of this bit.
    pub fn from_bit(bit: u8) -> Option<Cipher> {
        [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305].into_iter().find(|cipher| *cipher as u8 == bit)
    }

    /// Its name, as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes256Gcm => "AES-256-GCM",
            Cipher::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        }
    }
}

/// The key of one direction and epoch, and what its nonces are made with.
pub(super) struct PacketKey {
    aead: LessSafeKey,
    iv: [u8; 12],
}

impl PacketKey {
    /// The key that an epoch's secret gives.
    pub fn new(cipher: Cipher, secret: &Secret) -> PacketKey {
        let key = derive("farwire 2026-11-21 v1 packet key", &**secret);
        let algorithm = match cipher {
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        // Both take keys of 32 bytes, and this is one.
        let unbound = UnboundKey::new(algorithm, &*key).expect("a key of 32 bytes");
        let mut iv = [0; 12];
        iv.copy_from_slice(&derive("farwire 2026-11-21 v1 packet iv", &**secret)[..12]);
        PacketKey { aead: LessSafeKey::new(unbound), iv }
    }

    /// Encrypts `body` in place; the tag over it and `header`.
    #[inline]
    pub fn seal(&self, number: u64, header: &[u8], body: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        let tag = self.aead.seal_in_place_separate_tag(self.nonce(number), Aad::from(header), body).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts `sealed`, a body and its tag, in place. False, and rubbish in the body, if anything was changed.
    #[inline]
    pub fn open(&self, number: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        self.aead.open_in_place(self.nonce(number), Aad::from(header), sealed).is_ok()
    }

    #[inline]
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, of_number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= of_number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cipher: Cipher, n: u8) -> PacketKey {
        PacketKey::new(cipher, &Secret::new([n; 32]))
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
            let (header, plain) = ([3u8; 16], b"forty bytes of what nobody else may read".to_owned());
            let mut sealed = plain.to_vec();
            let tag = key(cipher, 1).seal(7, &header, &mut sealed).unwrap();
            sealed.extend(tag);
            assert_ne!(sealed[..40], plain);
            let opens = |with: PacketKey, number, header: &[u8], bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                with.open(number, header, &mut bytes) && bytes[..40] == plain
            };
            assert!(opens(key(cipher, 1), 7, &header, &sealed));
            assert!(!opens(key(cipher, 2), 7, &header, &sealed), "another key");
            assert!(!opens(key(cipher, 1), 8, &header, &sealed), "another number");
            for bit in 0..8 * 16 {
                let mut header = header;
                header[bit / 8] ^= 1 << (bit % 8);
                assert!(!opens(key(cipher, 1), 7, &header, &sealed), "header bit {bit}");
            }
            for bit in 0..8 * sealed.len() {
                let mut sealed = sealed.clone();
                sealed[bit / 8] ^= 1 << (bit % 8);
                assert!(!opens(key(cipher, 1), 7, &header, &sealed), "bit {bit}");
            }
            for len in 0..sealed.len() {
                assert!(!key(cipher, 1).open(7, &header, &mut sealed[..len].to_vec()), "cut to {len}");
            }
        }
    }

    #[test]
    fn the_slower_side_chooses() {
        use Cipher::{Aes256Gcm as Aes, ChaCha20Poly1305 as ChaCha};
        assert_eq!(Cipher::agree(Cipher::ALL, Aes as u8, Aes), Some(Aes));
        assert_eq!(Cipher::agree(Cipher::ALL, Aes as u8, ChaCha), Some(ChaCha));
        assert_eq!(Cipher::agree(Cipher::ALL, ChaCha as u8, Aes), Some(ChaCha));
        assert_eq!(Cipher::agree(Aes as u8, ChaCha as u8, ChaCha), Some(Aes));
        assert_eq!(Cipher::agree(0x80, Aes as u8, Aes), None);
        assert_eq!(Cipher::from_bit(2), Some(ChaCha));
        assert_eq!(Cipher::from_bit(3), None);
    }
}
