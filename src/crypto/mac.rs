//! MACs for packets outside of a connection: opens, cookie replies, refusals, and whether a connection still exists.

use std::fmt;

use super::Secret;
use crate::base::MacAddr;

/// Bytes of a MAC.
const MAC_LEN: usize = 16;

/// A MAC.
pub type Mac = [u8; MAC_LEN];

/// What a MAC is about. A MAC about one thing is none about another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Subject {
    /// An open.
    Open = 1,
    /// A cookie.
    Cookie = 2,
    /// An accept.
    Accept = 3,
    /// A refusal of an open.
    Refusal = 4,
    /// The question whether a connection is still known.
    Ask = 5,
    /// The answer that it is not.
    Gone = 6,
}

/// The key of these MACs, derived from a pre-shared key.
#[derive(Default)]
pub struct ReplyKey(Secret);

impl ReplyKey {
    pub(super) fn secret(&self) -> &Secret {
        &self.0
    }

    /// Where to put it, before it is used.
    pub(super) fn secret_mut(&mut self) -> &mut Secret {
        &mut self.0
    }

    /// The MAC over `bytes`, from one address to another.
    pub fn mac(&self, subject: Subject, (from, to): (MacAddr, MacAddr), bytes: &[u8]) -> Mac {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[subject as u8]);
        hasher.update(&from.octets());
        hasher.update(&to.octets());
        hasher.update(bytes);
        let mut mac = [0; MAC_LEN];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }

    /// Whether `mac` is the MAC over `bytes`, found out in constant time.
    pub fn is_mac(&self, subject: Subject, way: (MacAddr, MacAddr), bytes: &[u8], mac: &Mac) -> bool {
        let right = self.mac(subject, way, bytes);
        aws_lc_rs::constant_time::verify_slices_are_equal(&right, mac).is_ok()
    }
}

impl fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Key;

    #[test]
    fn a_mac_is_about_one_thing_one_way_under_one_key() {
        let (a, b) = (MacAddr::new(2, 0, 0, 0, 0, 1), MacAddr::new(2, 0, 0, 0, 0, 2));
        let [key, other] = [1, 2].map(|n| Key::from_bytes([n; 32]));
        let key = key.reply();
        let mac = key.mac(Subject::Cookie, (a, b), b"text");
        assert!(key.is_mac(Subject::Cookie, (a, b), b"text", &mac));
        assert!(!key.is_mac(Subject::Open, (a, b), b"text", &mac));
        assert!(!key.is_mac(Subject::Cookie, (b, a), b"text", &mac));
        assert!(!key.is_mac(Subject::Cookie, (a, b), b"texT", &mac));
        assert!(!other.reply().is_mac(Subject::Cookie, (a, b), b"text", &mac));
    }
}
