//! Endpoints with keys: who is let in, what it costs them to say no, and how long a key is good for.

use super::super::super::config::Security;
use super::super::super::tx::HALF_OPEN_NS;
use super::*;
use crate::base::size::MIN_FRAME_LEN;
use crate::crypto::{Cipher, Key, Keyring, NamedKey};
use crate::wire::sealed::SEALED_OPEN_LEN;
use crate::wire::{ETHERNET_LEN, SealedCookie, SealedOpen};

pub(super) fn key(n: u8) -> NamedKey {
    NamedKey::new(format!("key {n}"), Key::from_bytes([n; 32]))
}

/// An endpoint that takes these keys, and opens connections with the first one.
pub(super) fn with_keys(last: u8, keys: &[u8], config: Config) -> Endpoint {
    endpoint(last, Config { security: Security::Keys(ring(keys)), ..config })
}

fn ring(keys: &[u8]) -> Keyring {
    let mut ring = Keyring::new(key(keys[0]));
    keys[1..].iter().for_each(|n| ring.add(key(*n)).unwrap());
    ring
}

/// Two endpoints that share a key.
pub(super) fn pair() -> (Endpoint, Endpoint) {
    (with_keys(1, &[7], Config::default()), with_keys(2, &[7], Config::default()))
}

/// The first packet of a connection that `from` opens to `to`.
pub(super) fn opens(from: &mut Endpoint, to: u8, now: Nanos) -> Sent {
    from.connect(now, mac(to)).unwrap();
    let open = poll(from, now).expect("an open");
    assert!(poll(from, now).is_none());
    open
}

/// What an endpoint says to a packet: at most one packet, no longer on the wire than that one was.
pub(super) fn answer(to: &mut Endpoint, now: Nanos, sent: &Sent) -> Option<Sent> {
    let on_wire = |sent: &Sent| (ETHERNET_LEN + sent.header.end() + sent.header.tail_len()).max(MIN_FRAME_LEN);
    assert!(poll(to, now).is_none(), "something else was to be said");
    hear(to, now, sent);
    let answer = poll(to, now)?;
    assert!(on_wire(&answer) <= on_wire(sent), "{:?} to {:?}", answer.header, sent.header);
    assert_eq!(answer.dst, sent.src);
    assert!(poll(to, now).is_none(), "two answers to one {:?}", sent.header);
    Some(answer)
}

/// Waits until an endpoint gives up opening a connection; why.
pub(super) fn give_up(endpoint: &mut Endpoint) -> ConnectError {
    endpoint.on_timeout(6 * SECOND);
    failure(endpoint)
}

fn is_incoming(endpoint: &mut Endpoint) -> bool {
    matches!(events(endpoint)[..], [Event::Incoming { .. }])
}

#[test]
fn who_shares_a_key_is_let_in_in_one_round_trip() {
    let ring: Vec<u8> = (5..9).collect();
    let (mut a, mut b) = (with_keys(1, &[7], Config::default()), with_keys(2, &ring, Config::default()));
    let open = opens(&mut a, 2, 0);
    assert_eq!((open.header.kind, open.header.seal), (PacketType::Open, Some(0)));
    let accept = answer(&mut b, 0, &open).expect("an answer");
    assert_eq!((accept.header.kind, accept.header.seal), (PacketType::Accept, Some(0)));
    hear(&mut a, 0, &accept);
    assert!(matches!(events(&mut a)[..], [Event::Connected { conn: 0 }]), "data may go now");
    assert!(events(&mut b).is_empty(), "the initiator has not shown that it got the answer");
    talk(&mut a, &mut b, 0);
    assert!(is_incoming(&mut b));
    for side in [&a, &b] {
        let (key, cipher) = side.seal(0).expect("a key and a cipher");
        assert_eq!((&key.name[..], cipher), ("key 7", Cipher::preferred()));
    }
    assert_eq!((dropped(&mut a), dropped(&mut b)), (vec![], vec![]));
}

#[test]
fn an_unknown_key_is_a_hint_and_the_error_has_its_words() {
    let (mut a, mut b) = (with_keys(1, &[7], Config::default()), with_keys(2, &[8], Config::default()));
    let open = opens(&mut a, 2, 0);
    let said = answer(&mut b, 0, &open).expect("a hint");
    assert_eq!((said.header.seal, Reset::parse(&said.body)), (None, Ok(Reset::UnknownKey)));
    assert_eq!((b.connections(), dropped(&mut b)), (0, vec![("drop_unauthentic", 1)]));
    hear(&mut a, 0, &said);
    assert!(events(&mut a).is_empty() && a.connections() == 1, "anybody could have said so");
    let error = give_up(&mut a);
    assert!(matches!(&error, ConnectError::NoProof { peer, waited_ms: 6000, .. } if *peer == mac(2)), "{error:?}");
    assert!(error.to_string().contains("does not have our key"), "{error}");
    assert_eq!(a.connections(), 0);
}

#[test]
fn plain_and_sealed_do_not_meet_and_both_say_why() {
    let (mut plain, mut keyed) = (endpoint(1, Config::default()), with_keys(2, &[7], Config::default()));
    let said = {
        let open = opens(&mut plain, 2, 0);
        answer(&mut keyed, 0, &open).expect("a refusal")
    };
    assert_eq!((said.header.seal, Reset::parse(&said.body)), (None, Ok(Reset::KeyRequired)));
    hear(&mut plain, 0, &said);
    assert!(failure(&mut plain).to_string().contains("--key FILE"), "in plain mode who answers is believed");

    let said = {
        let open = opens(&mut keyed, 1, 0);
        answer(&mut plain, 0, &open).expect("a hint")
    };
    assert_eq!((said.header.seal, Reset::parse(&said.body)), (None, Ok(Reset::PlainOnly)));
    hear(&mut keyed, 0, &said);
    assert!(give_up(&mut keyed).to_string().contains("--insecure"));
    assert_eq!((dropped(&mut plain), dropped(&mut keyed)), (vec![("drop_unsealed", 1)], vec![("drop_unsealed", 1)]));
}

#[test]
fn another_version_is_a_hint_too() {
    let (mut a, mut b) = pair();
    let open = opens(&mut a, 2, 0);
    b.on_foreign_open(0, mac(1), &open.body);
    let mut said = poll(&mut b, 0).expect("the versions that it speaks");
    assert!(said.body.len() < open.body.len());
    let length = emit_version(&mut said.body, &[VERSION + 1]);
    said.body.truncate(length);
    hear(&mut a, 0, &said);
    assert!(events(&mut a).is_empty());
    let error = give_up(&mut a);
    assert!(matches!(error, ConnectError::NoProof { .. }) && error.to_string().contains("version 2"), "{error}");
}

/// Nothing of an open can be changed, not even who sends it: without the key that costs a hash and gets nothing.
#[test]
fn an_open_that_was_changed_is_nothing() {
    let (mut a, mut b) = pair();
    let open = opens(&mut a, 2, 0);
    for bit in 0..8 * SEALED_OPEN_LEN {
        let mut changed = open.clone();
        changed.body[bit / 8] ^= 1 << (bit % 8);
        let said = answer(&mut b, 0, &changed);
        // The key's name stands behind conn, nonce and flags: another name is an unknown one.
        let named = (16..24).contains(&(bit / 8));
        assert_eq!(said.map(|said| Reset::parse(&said.body)), named.then_some(Ok(Reset::UnknownKey)), "bit {bit}");
    }
    assert!(answer(&mut b, 0, &Sent { src: mac(3), ..open.clone() }).is_none(), "from another address");
    let mut c = with_keys(3, &[7], Config::default());
    assert!(answer(&mut c, 0, &open).is_none(), "to another address");
    assert_eq!((b.connections(), c.connections()), (0, 0));
    assert_eq!(dropped(&mut c), [("drop_unauthentic", 1)]);
    assert!(answer(&mut b, 0, &open).is_some());
}

#[test]
fn a_cookie_goes_round_and_only_the_initiator_can_put_it_to_its_open() {
    let (mut a, mut b) = (
        with_keys(1, &[7], Config::default()),
        with_keys(2, &[7], Config { require_cookie: true, ..Config::default() }),
    );
    let open = opens(&mut a, 2, 0);
    let asked = answer(&mut b, 0, &open).expect("a cookie");
    assert_eq!((asked.header.kind, b.connections()), (PacketType::Cookie, 0));
    // Somebody who recorded the open, and has a cookie for it: its MAC is over "no cookie".
    let (mut recorded, cookie) = (SealedOpen::parse(&open.body).unwrap(), SealedCookie::parse(&asked.body).unwrap());
    recorded.cookie = Some(cookie.cookie);
    let mut forged = open.clone();
    recorded.emit(&mut forged.body);
    assert!(answer(&mut b, 0, &forged).is_none());
    assert_eq!((b.connections(), dropped(&mut b)), (0, vec![("drop_unauthentic", 1)]));

    hear(&mut a, 0, &asked);
    let again = poll(&mut a, 0).expect("the open again, with the cookie");
    assert_eq!(SealedOpen::parse(&again.body).unwrap().cookie, Some(cookie.cookie));
    // A twin that has slept.
    let mut late = with_keys(2, &[7], Config { require_cookie: true, ..Config::default() });
    assert!(
        answer(&mut late, 11 * SECOND, &again).is_some_and(|sent| sent.header.kind == PacketType::Cookie),
        "too old"
    );
    hear(&mut b, 0, &again);
    talk(&mut a, &mut b, 0);
    assert!(is_incoming(&mut b) && matches!(events(&mut a)[..], [Event::Connected { .. }]));
}

#[test]
fn half_open_connections_are_bounded_and_end() {
    half_open_are_at_most(1, 1);
    // However many may be, when they hold half of all windows it is enough.
    half_open_are_at_most(32, 2);
}

fn half_open_are_at_most(max_half_open: usize, most: usize) {
    let mut b = with_keys(2, &[7], Config { max_half_open, ..Config::default() });
    let mut recorded = Vec::new();
    for last in 10..30 {
        let mut a = with_keys(last, &[7], Config::default());
        recorded.push(opens(&mut a, 2, 0));
    }
    let kinds: Vec<_> = recorded.iter().map(|open| answer(&mut b, 0, open).map(|said| said.header.kind)).collect();
    assert!(kinds[..most].iter().all(|kind| *kind == Some(PacketType::Accept)), "{kinds:?}");
    assert!(kinds[most..].iter().all(|kind| *kind == Some(PacketType::Cookie)), "{kinds:?}");
    assert_eq!(b.connections(), most);
    // Replayed, an open is answered as it was, and is no second connection; not as often as it comes, though.
    assert!((0..1000).all(|ns| answer(&mut b, ns, &recorded[0]).is_none()));
    let answered = |said: Sent| said.header.kind == PacketType::Accept;
    assert!(answer(&mut b, super::super::replies::SAME_EVERY_NS, &recorded[0]).is_some_and(answered));
    assert_eq!(b.connections(), most);
    b.on_timeout(HALF_OPEN_NS);
    assert_eq!(b.connections(), 0);
    // Recorded packets open nothing: who replays them can't seal a confirm, and is asked for a cookie after a few.
    for round in 1..10 {
        let now = round * (HALF_OPEN_NS + SECOND);
        recorded.iter().for_each(|open| drop(answer(&mut b, now, open)));
        assert_eq!(b.connections(), most);
        b.on_timeout(now + HALF_OPEN_NS);
    }
    assert!(!is_incoming(&mut b) && b.connections() == 0);
}

#[test]
fn opens_come_at_a_rate_in_all_and_from_one() {
    let config = Config { require_cookie: true, max_connections: 4096, ..Config::default() };
    let [mut a, mut b] = [1, 2].map(|last| {
        let mut endpoint = Endpoint::new(config.clone(), mac(last), 1500, (1 << 17, 1 << 16), [last; 32]);
        endpoint.set_listening(true);
        endpoint.set_keys(0, ring(&[7]));
        endpoint
    });
    for _ in 0..100 {
        let open = opens_with_cookie(&mut a, &mut b);
        answer(&mut b, 0, &open);
    }
    assert_eq!((b.connections(), dropped(&mut b)), (64, vec![("drop_open_rate", 36)]));
    let open = opens_with_cookie(&mut with_keys(3, &[7], Config::default()), &mut b);
    assert!(answer(&mut b, 0, &open).is_none(), "of all there were 64 at once, too");
    assert!(answer(&mut b, 100_000, &open).is_some(), "but another host waits 100 µs, not a millisecond");
    let open = opens_with_cookie(&mut a, &mut b);
    assert!(answer(&mut b, 100_000, &open).is_none());
    assert!(answer(&mut b, 1_000_000, &open).is_some());
}

/// The second try of an open that is asked for a cookie.
fn opens_with_cookie(from: &mut Endpoint, to: &mut Endpoint) -> Sent {
    let open = opens(from, 2, 0);
    let cookie = answer(to, 0, &open).filter(|said| said.header.kind == PacketType::Cookie).expect("a cookie");
    hear(from, 0, &cookie);
    poll(from, 0).expect("the open again")
}

#[test]
fn without_any_key_left_nobody_gets_in_or_out() {
    let (mut a, mut b) = pair();
    a.connect(0, mac(2)).unwrap();
    talk(&mut a, &mut b, 0);
    assert!(is_incoming(&mut b));
    b.set_keys(0, Keyring::none());
    assert!(matches!(events(&mut b)[..], [Event::Closed { reason: CloseReason::Revoked { .. }, .. }]));
    assert_eq!(b.connect(0, mac(1)), Err(ConnectError::NoKey));
    let open = opens(&mut with_keys(3, &[7], Config::default()), 2, 0);
    let said = std::iter::from_fn(|| poll(&mut b, 0)).count();
    assert!(said > 0, "the peer is told");
    assert!(answer(&mut b, 0, &open).is_some_and(|said| said.header.kind == PacketType::Reset));
}

#[test]
fn a_removed_key_ends_its_connections_and_opens_no_more() {
    let (mut a, mut b) = (with_keys(1, &[7], Config::default()), with_keys(2, &[9, 7, 8], Config::default()));
    let mut c = with_keys(3, &[8], Config::default());
    for peer in [&mut a, &mut c] {
        peer.connect(0, mac(2)).unwrap();
        talk(peer, &mut b, 0);
        events(peer);
    }
    let half = opens(&mut a, 2, 0);
    assert!(answer(&mut b, 0, &half).is_some());
    events(&mut b);
    b.set_keys(0, ring(&[8, 5]));
    let gone = events(&mut b);
    let revoked =
        |event: &Event| matches!(event, Event::Closed { reason: CloseReason::Revoked { name }, .. } if name == "key 7");
    assert!(gone.len() == 2 && gone.iter().all(revoked), "{gone:?}");
    let told: Vec<Sent> = std::iter::from_fn(|| poll(&mut b, 0)).collect();
    assert!(told.iter().all(|sent| sent.dst == mac(1)));
    told.iter().for_each(|sent| hear(&mut a, 0, sent));
    let ended = events(&mut a);
    assert!(matches!(&ended[..], [Event::Closed { reason: CloseReason::Peer { code: 3, .. }, .. }]), "{ended:?}");
    let said = {
        let open = opens(&mut a, 2, 0);
        answer(&mut b, 0, &open).expect("a hint")
    };
    assert_eq!(Reset::parse(&said.body), Ok(Reset::UnknownKey));
    c.connect(0, mac(2)).unwrap();
    talk(&mut c, &mut b, 0);
    assert!(is_incoming(&mut b), "who has the other key goes on");
    // An initiator whose own key is taken away while it waits for an answer is told, and says nothing more.
    opens(&mut a, 2, 0);
    events(&mut a);
    a.set_keys(0, ring(&[5]));
    assert!(events(&mut a).iter().all(revoked) && poll(&mut a, 0).is_none() && a.connections() == 0);
}

#[test]
fn a_spoiled_frame_ends_the_connection_and_the_peer_hears_why() {
    let (mut a, mut b) = pair();
    let conn = a.connect(0, mac(2)).unwrap();
    talk(&mut a, &mut b, 0);
    events(&mut a);
    events(&mut b);
    a.on_spoiled(0, conn);
    assert!(matches!(&events(&mut a)[..], [Event::Closed { reason: CloseReason::Spoiled, .. }]));
    talk(&mut a, &mut b, 0);
    assert!(matches!(&events(&mut b)[..], [Event::Closed { reason: CloseReason::Peer { code: 3, .. }, .. }]));
    assert_eq!(a.counters().tx_spoiled, 1);
}

/// Whatever arrives from whomever, at an endpoint with keys and at one without: `answer` asserts the lengths.
#[test]
fn no_answer_is_longer_than_its_cause() {
    let config = || Config { max_connections: 2, ..Config::default() };
    let mut ends = vec![with_keys(2, &[7], config()), endpoint(2, config())];
    for (listening, require_cookie) in [(true, false), (true, true), (false, false)] {
        for mut end in [
            with_keys(2, &[7], Config { require_cookie, ..config() }),
            endpoint(2, Config { require_cookie, ..config() }),
        ] {
            end.set_listening(listening);
            end.announce("x".repeat(32), "y".repeat(32));
            ends.push(end);
        }
    }
    let (mut answers, mut now) = (std::collections::BTreeSet::new(), 0);
    for end in &mut ends {
        for last in 10..15 {
            let openers =
                [with_keys(last, &[7], config()), with_keys(last + 10, &[8], config()), endpoint(last + 20, config())];
            for mut from in openers {
                let open = opens(&mut from, 2, 0);
                answers.extend(answer(end, 0, &open).map(|said| (said.header.kind as u8, said.header.seal)));
            }
        }
        for kind in (0..16).filter_map(PacketType::from_nibble) {
            for (length, seal) in [0, 1, 8, 12, 24, 76, 200].into_iter().flat_map(|len| [(len, None), (len, Some(0))]) {
                let mut sent = Sent::new(mac(40), kind, (ConnId(0x4001), 5), &vec![0; length]);
                sent.header.seal = seal;
                // Strangers are answered now and then.
                now += super::super::replies::HINT_EVERY_NS;
                answers.extend(answer(end, now, &sent).map(|said| (said.header.kind as u8, said.header.seal)));
            }
        }
    }
    let kinds: Vec<u8> = answers.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [2, 2, 3, 3, 9, 9, 11], "plain and sealed cookies, accepts and refusals, and an announcement");
}
