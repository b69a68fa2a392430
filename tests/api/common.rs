//! What the tests of the public api share: data that can be checked, and bounded waits.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use farwire::api::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream};

/// Longer than anything here takes on a loaded machine, shorter than a person's patience.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Two endpoints, the second one listening, and one connection between them.
pub struct Pair {
    pub to: Connection,
    pub from: Connection,
    pub here: Endpoint,
    pub there: Endpoint,
}

pub fn pair() -> Pair {
    pair_of(EndpointConfig::insecure())
}

pub fn pair_of(config: EndpointConfig) -> Pair {
    join(Endpoint::memory_pair(config).unwrap())
}

pub fn join((here, there): (Endpoint, Endpoint)) -> Pair {
    there.listen().unwrap();
    let to = here.connect(there.mac()).unwrap();
    let from = there.accept_timeout(PATIENCE).unwrap();
    Pair { to, from, here, there }
}

/// Bytes `at..` of a stream that no shifted or repeated piece of itself equals.
pub fn fill(seed: u64, at: u64, out: &mut [u8]) {
    for (index, byte) in out.iter_mut().enumerate() {
        let place = at + index as u64;
        let word = (place / 8 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ seed.wrapping_mul(0xD134_2543_DE82_EF95));
        *byte = (word ^ word >> 29).to_le_bytes()[(place % 8) as usize];
    }
}

/// Sends `len` bytes straight into frames and finishes.
pub fn send_reserved(stream: &mut SendStream, seed: u64, len: u64) {
    let mut at = 0;
    while at < len {
        let wish = (len - at).min(300_000) as usize;
        let mut room = stream.reserve(wish).unwrap();
        let mut written = 0;
        for area in room.slices_mut() {
            fill(seed, at + written as u64, area);
            written += area.len();
        }
        room.commit(written);
        at += written as u64;
    }
    stream.finish().unwrap();
}

/// Sends `len` bytes through `Write` in pieces of changing sizes and finishes.
pub fn send_written(stream: &mut SendStream, seed: u64, len: u64) {
    let (mut at, mut piece) = (0, 1u64);
    while at < len {
        piece = piece * 7 % 4999 + 1;
        let mut bytes = vec![0; piece.min(len - at) as usize];
        fill(seed, at, &mut bytes);
        stream.write_all(&bytes).unwrap();
        at += bytes.len() as u64;
    }
    stream.finish().unwrap();
}

/// Receives messages until the end and checks every byte.
pub fn check_messages(stream: &mut RecvStream, seed: u64, len: u64) {
    let (mut at, mut expected, mut burst) = (0, Vec::new(), Vec::new());
    while stream.recv_burst(&mut burst, 64).unwrap() > 0 {
        for message in burst.drain(..) {
            expected.resize(message.len(), 0);
            fill(seed, at, &mut expected);
            assert!(*message == *expected, "stream {:?} differs at {at}", stream.id());
            at += message.len() as u64;
        }
    }
    assert_eq!(at, len, "stream {:?}", stream.id());
}

/// Reads with `Read`, in pieces of changing sizes, until the end and checks every byte.
pub fn check_read(stream: &mut RecvStream, seed: u64, len: u64) {
    let (mut at, mut size) = (0, 1usize);
    loop {
        size = size * 5 % 7919 + 1;
        let (mut got, mut expected) = (vec![0; size], vec![0; size]);
        let count = stream.read(&mut got).unwrap();
        if count == 0 {
            break;
        }
        fill(seed, at, &mut expected[..count]);
        assert!(got[..count] == expected[..count], "stream {:?} differs at {at}", stream.id());
        at += count as u64;
    }
    assert_eq!(at, len, "stream {:?}", stream.id());
}

/// Runs `work` on a thread of its own and fails loudly if it does not end in time, so that a hang is a failed test.
pub fn within<T: Send + 'static>(what: &str, patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = done.send(work());
    });
    match result.recv_timeout(patience) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: not done within {patience:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("{what}: ended without a result"),
        },
    }
}

/// Waits until `check` holds.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
