//! Where keys are in memory: in one place, and in none once they have been taken back.

#[path = "faults/memory.rs"]
mod memory;

use std::hint::black_box;
use std::time::Duration;

use farwire::api::{Endpoint, EndpointConfig, Key, Keyring, NamedKey};
use memory::Needle;

/// The digits of a new key. Its bytes are nowhere yet.
fn digits() -> String {
    let mut random = [0; 64];
    getrandom::fill(&mut random).unwrap();
    random.iter().map(|byte| char::from(b"0123456789abcdef"[usize::from(byte & 15)])).collect()
}

fn ring(digits: &str, name: &str) -> Keyring {
    Keyring::new(NamedKey::new(name, Key::parse(&format!("farwire-key-1:{digits}\n")).unwrap()))
}

/// Does something where the stack is not used again, so that what is left there is seen.
#[inline(never)]
fn far_down<T>(something: impl FnOnce() -> T) -> T {
    let room = black_box([0_u8; 256 << 10]);
    let done = something();
    black_box(&room);
    done
}

/// One test, since all tests of a program share its memory.
#[test]
fn a_key_is_in_one_place_and_in_none_when_it_was_taken_back() {
    let [alices, bobs] = [digits(), digits()];
    let [alice, bob] = [&alices, &bobs].map(|digits| Needle::of_digits(digits));
    let us = std::process::id();
    assert_eq!((alice.places(us), bob.places(us)), (0, 0), "the search itself leaves what it looks for");

    let alices_ring = far_down(|| ring(&alices, "alice"));
    assert_eq!(alice.places(us), 1, "making a key leaves copies");
    let (ours, theirs) = Endpoint::memory_pair(EndpointConfig::sealed(alices_ring)).unwrap();
    theirs.listen().unwrap();
    let connection = ours.connect(theirs.mac()).unwrap();
    let accepted = theirs.accept_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(accepted.key_name(), Some("alice"));
    assert_eq!(alice.places(us), 1, "a key is copied where it is read or used");

    for endpoint in [&ours, &theirs] {
        endpoint.set_keys(ring(&bobs, "bob")).unwrap();
    }
    // Who asks under which key it was still can.
    assert_eq!(alice.places(us), 1);
    drop((connection, accepted));
    let patience = std::time::Instant::now();
    while alice.places(us) > 0 {
        assert!(patience.elapsed() < Duration::from_secs(30), "a key that was taken back stays in memory");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(bob.places(us), 2, "each endpoint has its own");
}
