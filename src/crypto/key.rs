//! A pre-shared key: what two hosts share, and what is derived from it.

use std::convert::Infallible;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use zeroize::Zeroize;

use super::mac::ReplyKey;
use super::{Secret, derive_into};
use crate::base::{KeyId, resident};

/// What a key's text begins with, so that nobody takes it for something else.
const PREFIX: &str = "farwire-key-1:";
/// Hexadecimal digits of a key.
const DIGITS: usize = 64;
/// Bytes of the stack that are overwritten once a key is made: several times what a parser and a hash, whose state is
/// 1,920 bytes, need there. Less could leave what they worked on; more costs time, and could be more than a thread has.
const DEPTH: usize = 16 << 10;

/// A secret that two hosts share. Shown nowhere but where it is asked for with [`Key::to_text`].
#[derive(Clone)]
pub struct Key {
    /// One place in memory, however often the key is cloned.
    material: Arc<Material>,
    id: KeyId,
}

/// What hosts share, and what is made of it: here, once and for all, so that no handshake has to touch the rest.
#[derive(Default)]
struct Material {
    shared: Secret,
    psk: Secret,
    reply: ReplyKey,
}

/// Why a text is no key. Never says what the text was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// It does not begin as a key does.
    #[error("it holds no farwire key (a line that begins with {PREFIX}); make one with `farwire keygen FILE`")]
    NoKey,
    /// It does not have the length of one.
    #[error("the key has {0} digits behind {PREFIX}, not {DIGITS}: a part of it is missing, or too much was pasted")]
    Length(usize),
    /// It has other characters than hexadecimal digits.
    #[error("the key's character {0} behind {PREFIX} is no hexadecimal digit")]
    Digit(usize),
    /// It is all the same byte: a placeholder.
    #[error("the key is one byte repeated: anybody can guess it; make one with `farwire keygen FILE`")]
    Weak,
    /// There is more than one.
    #[error("it holds more than one key; put each into a file of its own, in one directory")]
    Many,
}

impl Key {
    /// A key of these bytes, which must be random. The caller may have more copies of them; [`Key::fill`] needs none.
    pub fn from_bytes(mut bytes: [u8; 32]) -> Key {
        let Ok(key) = Key::fill(|shared| {
            shared.copy_from_slice(&bytes);
            Ok::<(), Infallible>(())
        });
        bytes.zeroize();
        key
    }

    /// A key of the bytes that `write` puts, which must be random, to the only place where they will be: kept out of
    /// swap, if the system allows that, and wiped with the last clone of the key.
    ///
    /// # Errors
    /// What `write` says.
    pub fn fill<E>(write: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Key, E> {
        let key = Key::make(write);
        wipe_stack();
        key
    }

    /// Not inlined, so that what is wiped then is below the caller's frame.
    #[inline(never)]
    fn make<E>(write: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Key, E> {
        let mut material = Arc::new(Material::default());
        let Material { shared, psk, reply } = Arc::get_mut(&mut material).expect("an Arc that was just made");
        for secret in [&*shared, &*psk, reply.secret()] {
            resident::keep(&secret[..]);
        }
        write(shared)?;
        derive_into("farwire 2026-11-21 v1 noise psk", &shared[..], psk);
        derive_into("farwire 2026-11-21 v1 replies", &shared[..], reply.secret_mut());
        let mut id = Secret::default();
        derive_into("farwire 2026-11-21 v1 key id", &shared[..], &mut id);
        let id = std::array::from_fn(|at| id[at]);
        Ok(Key { material, id: KeyId(id) })
    }

    /// The key in a key file's text: a byte order mark, empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// If there is none, or more than one, or it is not whole.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        // Some editors begin a file with the mark, and show it to nobody.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let digits = lines.next().and_then(|line| line.strip_prefix(PREFIX)).ok_or(KeyError::NoKey)?;
        if lines.next().is_some() {
            return Err(KeyError::Many);
        }
        if let Some(at) = digits.chars().position(|digit| !digit.is_ascii_hexdigit()) {
            return Err(KeyError::Digit(at + 1));
        }
        if digits.len() != DIGITS {
            return Err(KeyError::Length(digits.len()));
        }
        Key::fill(|bytes| {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| KeyError::Digit(2 * at + 1))?;
            }
            if bytes.iter().all(|byte| *byte == bytes[0]) { Err(KeyError::Weak) } else { Ok(()) }
        })
    }

    /// The line of a key file. Whoever has it has the key.
    pub fn to_text(&self) -> zeroize::Zeroizing<String> {
        let mut text = zeroize::Zeroizing::new(String::with_capacity(PREFIX.len() + DIGITS + 1));
        text.push_str(PREFIX);
        for byte in self.material.shared.iter() {
            text.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[usize::from(half)])));
        }
        text.push('\n');
        text
    }

    /// Its public name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What Noise mixes in.
    pub(super) fn psk(&self) -> &[u8; 32] {
        &self.material.psk
    }

    /// What packets outside of a connection are authenticated with.
    pub(super) fn reply(&self) -> &ReplyKey {
        &self.material.reply
    }
}

/// Overwrites the stack below the caller's frame, where functions that have returned may have left copies of what they
/// worked on: nothing in stable Rust keeps a compiler from making some.
#[inline(never)]
fn wipe_stack() {
    let mut dead = [0_u8; DEPTH];
    dead.zeroize();
    black_box(&dead);
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes(std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn a_text_comes_back() {
        let text = key().to_text();
        assert_eq!(text.len(), PREFIX.len() + DIGITS + 1);
        for written in [format!("# of the observatory\n\n  {}", *text), format!("\u{feff}{}", *text)] {
            let again = Key::parse(&written).unwrap();
            assert_eq!((again.id(), &again.to_text()), (key().id(), &text));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let good = key().to_text();
        let cases = [
            (String::new(), KeyError::NoKey),
            ("# nothing\n".into(), KeyError::NoKey),
            ("ssh-ed25519 AAAA".into(), KeyError::NoKey),
            (good[..good.len() - 2].to_owned(), KeyError::Length(63)),
            (format!("{}00", good.trim_end()), KeyError::Length(66)),
            (good.replace("0a", "0g"), KeyError::Digit(22)),
            (format!("{PREFIX}{}", "00".repeat(32)), KeyError::Weak),
            (format!("{}{}", *good, *good), KeyError::Many),
            (format!("{PREFIX}{}", "é".repeat(32)), KeyError::Digit(1)),
        ];
        for (text, error) in cases {
            assert_eq!(Key::parse(&text).map(|_| ()), Err(error), "{text}");
            assert!(!error.to_string().contains("0102030405"));
        }
    }

    #[test]
    fn a_key_does_not_show_itself_and_its_purposes_are_apart() {
        let key = key();
        let shown = format!("{key:?}");
        assert!(shown.len() < 24 && !shown.contains("00010203"), "{shown}");
        let other = Key::from_bytes([9; 32]);
        assert_ne!(key.id(), other.id());
        let Material { shared, psk, reply } = &*key.material;
        assert!(psk != shared && reply.secret() != shared && reply.secret() != psk);
        assert!([shared, psk, reply.secret()].iter().all(|secret| secret[..8] != key.id().0));
    }
}
