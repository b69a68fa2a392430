//! The handshake: Noise `NNpsk0` over X25519. Two messages, forward secret; who knows the shared key is who it is.

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

use super::{Drbg, Key, Secret};

/// BLAKE2s and ChaCha20-Poly1305 are fast everywhere, and this is done once a connection: nothing to negotiate.
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// What both sides know after the handshake and nobody else does: where the packet keys of each direction come from.
pub struct Secrets {
    pub(super) to_responder: Secret,
    pub(super) to_initiator: Secret,
}

/// The message is not one of this handshake under this key, or was changed on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the handshake message is not authentic")]
pub struct HandshakeError;

/// The initiator's side, from its message to the answer.
pub struct Initiation(HandshakeState);

/// The responder's side, from the initiator's message to its own.
pub struct Response(HandshakeState);

impl Initiation {
    /// Begins a handshake that binds `prologue`, and writes the first message with `payload` in it to `message`.
    ///
    /// # Errors
    /// If `message` has not exactly the room that it takes.
    pub fn begin(
        key: &Key,
        prologue: &[u8],
        payload: &[u8],
        rng: &mut Drbg,
        message: &mut [u8],
    ) -> Result<Initiation, HandshakeError> {
        let builder = builder(rng).psk(0, key.psk()).and_then(|builder| builder.prologue(prologue));
        let mut noise = builder.and_then(Builder::build_initiator).map_err(|_| HandshakeError)?;
        match noise.write_message(payload, message) {
            Ok(len) if len == message.len() => Ok(Initiation(noise)),
            _ => Err(HandshakeError),
        }
    }

    /// Reads the answer: its payload, and the secrets. An answer that is not authentic changes nothing.
    ///
    /// # Errors
    /// If it is not authentic, or its payload does not fill `payload` exactly.
    pub fn finish(&mut self, message: &[u8], payload: &mut [u8]) -> Result<Secrets, HandshakeError> {
        read(&mut self.0, message, payload)?;
        Ok(secrets(&mut self.0))
    }
}

impl Response {
    /// Reads an initiator's message that binds `prologue`: its payload.
    ///
    /// # Errors
    /// If it is not authentic, or its payload does not fill `payload` exactly.
    pub fn read(
        key: &Key,
        prologue: &[u8],
        message: &[u8],
        rng: &mut Drbg,
        payload: &mut [u8],
    ) -> Result<Response, HandshakeError> {
        let builder = builder(rng).psk(0, key.psk()).and_then(|builder| builder.prologue(prologue));
        let mut noise = builder.and_then(Builder::build_responder).map_err(|_| HandshakeError)?;
        read(&mut noise, message, payload)?;
        Ok(Response(noise))
    }

    /// Writes the answer with `payload` in it to `message`; the secrets.
    ///
    /// # Errors
    /// If `message` has not exactly the room that it takes.
    pub fn answer(mut self, payload: &[u8], message: &mut [u8]) -> Result<Secrets, HandshakeError> {
        match self.0.write_message(payload, message) {
            Ok(len) if len == message.len() => Ok(secrets(&mut self.0)),
            _ => Err(HandshakeError),
        }
    }
}

fn read(noise: &mut HandshakeState, message: &[u8], payload: &mut [u8]) -> Result<(), HandshakeError> {
    match noise.read_message(message, payload) {
        Ok(len) if len == payload.len() => Ok(()),
        _ => Err(HandshakeError),
    }
}

fn secrets(noise: &mut HandshakeState) -> Secrets {
    let (to_responder, to_initiator) = noise.dangerously_get_raw_split();
    Secrets { to_responder: Secret::new(to_responder), to_initiator: Secret::new(to_initiator) }
}

fn builder<'a>(rng: &mut Drbg) -> Builder<'a> {
    // The pattern is a constant that a test parses.
    let params: NoiseParams = PATTERN.parse().expect("a Noise pattern");
    let mut seed = Secret::default();
    rng.fork().fill(seed.as_mut());
    Builder::with_resolver(params, Box::new(Seeded(seed)))
}

/// The crate's own primitives, with our random numbers: the same ones in each run of a seed.
struct Seeded(Secret);

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Numbers(Drbg::new(*self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

struct Numbers(Drbg);

impl Random for Numbers {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERHEAD: usize = 48;

    fn key(n: u8) -> Key {
        Key::from_bytes([n; 32])
    }

    struct Opened {
        initiation: Initiation,
        first: [u8; OVERHEAD + 5],
    }

    fn open(seed: u8) -> Opened {
        let mut first = [0; OVERHEAD + 5];
        let initiation =
            Initiation::begin(&key(1), b"prologue", b"offer", &mut Drbg::new([seed; 32]), &mut first).unwrap();
        Opened { initiation, first }
    }

    fn respond(key: &Key, prologue: &[u8], first: &[u8]) -> Result<Response, HandshakeError> {
        let mut offer = [0; 5];
        let response = Response::read(key, prologue, first, &mut Drbg::new([99; 32]), &mut offer)?;
        assert_eq!(&offer, b"offer");
        Ok(response)
    }

    #[test]
    fn both_sides_come_to_the_same_secrets() {
        let mut opened = open(1);
        let mut second = [0; OVERHEAD + 6];
        let theirs = respond(&key(1), b"prologue", &opened.first).unwrap().answer(b"answer", &mut second).unwrap();
        let mut answer = [0; 6];
        let ours = opened.initiation.finish(&second, &mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        assert_eq!(*ours.to_initiator, *theirs.to_initiator);
        assert_eq!(*ours.to_responder, *theirs.to_responder);
        assert_ne!(*ours.to_responder, *ours.to_initiator, "each direction has its own");
    }

    #[test]
    fn another_key_or_prologue_or_a_changed_message_is_refused() {
        let opened = open(1);
        assert!(respond(&key(2), b"prologue", &opened.first).is_err());
        assert!(respond(&key(1), b"another.", &opened.first).is_err());
        for at in 0..opened.first.len() {
            let mut first = opened.first;
            first[at] ^= 0x20;
            assert!(respond(&key(1), b"prologue", &first).is_err(), "byte {at}");
        }
        assert!(respond(&key(1), b"prologue", &opened.first[1..]).is_err());
    }

    #[test]
    fn forged_answers_do_not_spoil_the_true_one() {
        let mut opened = open(1);
        let mut second = [0; OVERHEAD + 6];
        let theirs = respond(&key(1), b"prologue", &opened.first).unwrap().answer(b"answer", &mut second).unwrap();
        let mut answer = [0; 6];
        for at in 0..second.len() {
            let mut forged = second;
            forged[at] ^= 1;
            // The highest bit of an X25519 key is ignored, but the message's hash covers it.
            assert!(opened.initiation.finish(&forged, &mut answer).is_err(), "byte {at}");
        }
        assert!(opened.initiation.finish(&[0; OVERHEAD + 6], &mut answer).is_err());
        assert!(opened.initiation.finish(&[], &mut answer).is_err());
        let ours = opened.initiation.finish(&second, &mut answer).unwrap();
        assert_eq!(*ours.to_initiator, *theirs.to_initiator);
    }

    #[test]
    fn each_handshake_has_its_own_secrets() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..10 {
            let opened = open(seed);
            let mut second = [0; OVERHEAD + 6];
            let secrets = respond(&key(1), b"prologue", &opened.first).unwrap().answer(b"answer", &mut second).unwrap();
            assert!(seen.insert(*secrets.to_initiator));
        }
    }
}
