//! Keys, the handshake that turns one into a connection's secrets, and the sealing of packets.
//!
//! Decides: how secrets are derived, which cipher, when a key has served. Does not: know connections, packets' layout,
//! files or clocks. Called by: `proto` (opening, rekeying), `engine` (each packet), `api` (keys).
//! Invariant: no nonce is used twice under one key; secrets are wiped when dropped and never shown.

mod drbg;
mod handshake;
mod key;
mod keyring;
mod mac;
mod packet;
mod protection;

pub use drbg::{Drbg, Entropy};
pub use handshake::{HandshakeError, Initiation, Response, Secrets};
pub use key::{Key, KeyError};
pub use keyring::{Keyring, NamedKey};
pub use mac::{Mac, ReplyKey, Subject};
pub use packet::{Cipher, TAG_LEN};
pub use protection::{Protection, Rekey};

/// A secret of 32 bytes, wiped when dropped.
type Secret = zeroize::Zeroizing<[u8; 32]>;

/// A secret derived from another one, for one purpose, which `context` names.
fn derive(context: &str, from: &[u8]) -> Secret {
    let mut out = Secret::default();
    derive_into(context, from, &mut out);
    out
}

/// The same where it is to be: a secret that is moved stays behind where it was.
fn derive_into(context: &str, from: &[u8], out: &mut Secret) {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(from);
    let mut stream = hasher.finalize_xof();
    stream.fill(out.as_mut());
    zeroize::Zeroize::zeroize(&mut hasher);
    zeroize::Zeroize::zeroize(&mut stream);
}
