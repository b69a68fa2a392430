//! Packets that somebody made who has no key, though he has seen every packet and knows the protocol: none is believed,
//! and the true ones are, afterwards.

use super::sealed::{answer, give_up, key, opens, pair, with_keys};
use super::*;
use crate::base::time::MILLISECOND;
use crate::crypto::Subject;
use crate::wire::{CookieReply, SealedAccept, SealedCookie, SealedReset};

const PARAMS: Params = Params { mtu: 1500, streams: 9, idle_timeout_ms: 0, conn_credit: 999, stream_credit: 1 << 20 };

/// A packet from host b with a body of somebody's making.
fn from_b(kind: PacketType, seal: Option<u8>, ids: (ConnId, u64), emit: impl FnOnce(&mut [u8]) -> usize) -> Sent {
    let mut body = [0; 200];
    let length = emit(&mut body);
    let mut sent = Sent::new(mac(2), kind, ids, &body[..length]);
    sent.header.seal = seal;
    sent
}

/// An open connection between two endpoints with a key, seen from `a`.
fn connected() -> (Endpoint, Endpoint, u32) {
    let (mut a, mut b) = pair();
    let conn = a.connect(0, mac(2)).unwrap();
    talk(&mut a, &mut b, 0);
    events(&mut a);
    events(&mut b);
    (a, b, conn)
}

/// A reset without proof to a packet of `a`'s, as a restarted peer sends it.
fn unknown(a: &Endpoint, conn: u32) -> Sent {
    let conn = &a.conns[conn as usize];
    from_b(PacketType::Reset, None, (conn.peer_id, 0), |body| Reset::UnknownConnection.emit(body))
}

/// The heart of it: with a plain answer the initiator would go on without keys.
#[test]
fn a_plain_answer_to_a_sealed_open_is_nothing() {
    let (mut a, mut b) = pair();
    let open = opens(&mut a, 2, 0);
    let (conn, nonce) = Open::peek(&open.body).unwrap();
    let accept = Accept { conn: ConnId(5), nonce, params: PARAMS };
    let cookie = CookieReply { nonce, cookie: [5; 24] };
    hear(&mut a, 0, &from_b(PacketType::Accept, None, (conn, 0), |body| accept.emit(body)));
    hear(&mut a, 0, &from_b(PacketType::Cookie, None, (conn, 0), |body| cookie.emit(body)));
    assert_eq!(dropped(&mut a), [("drop_unsealed", 2)]);
    assert!(events(&mut a).is_empty() && poll(&mut a, 0).is_none(), "no connection, and no open with that cookie");
    hear(&mut b, 0, &open);
    talk(&mut a, &mut b, 0);
    assert!(matches!(events(&mut a)[..], [Event::Connected { .. }]));
    hear(&mut a, 0, &from_b(PacketType::Accept, None, (conn, 0), |body| accept.emit(body)));
    assert!(poll(&mut a, 0).is_none(), "nor is it confirmed again");
}

#[test]
fn a_sealed_answer_of_which_a_bit_was_changed_is_nothing() {
    for require_cookie in [false, true] {
        let (mut a, mut b) =
            (with_keys(1, &[7], Config::default()), with_keys(2, &[7], Config { require_cookie, ..Config::default() }));
        let open = opens(&mut a, 2, 0);
        let said = answer(&mut b, 0, &open).unwrap();
        for bit in 0..8 * said.body.len() {
            let mut forged = said.clone();
            forged.body[bit / 8] ^= 1 << (bit % 8);
            hear(&mut a, 0, &forged);
        }
        hear(&mut a, 0, &Sent { src: mac(3), ..said.clone() });
        assert!(events(&mut a).is_empty() && poll(&mut a, 0).is_none());
        let total: u64 = dropped(&mut a).iter().map(|(_, count)| count).sum();
        assert_eq!(total, 8 * said.body.len() as u64 + 1, "each is counted");
        hear(&mut a, 0, &said);
        talk(&mut a, &mut b, 0);
        assert!(matches!(events(&mut a)[..], [Event::Connected { .. }]), "the true one still counts");
    }
}

#[test]
fn a_refusal_is_believed_with_its_mac_and_without_it_is_a_hint() {
    for (listening, max_connections, words) in [(false, 9, "nothing there accepts"), (true, 0, "no room for another")] {
        let mut b = with_keys(2, &[7], Config { max_connections, ..Config::default() });
        b.set_listening(listening);
        let mut a = with_keys(1, &[7], Config::default());
        let open = opens(&mut a, 2, 0);
        let said = answer(&mut b, 0, &open).expect("a refusal");
        assert_eq!((said.header.kind, said.header.seal), (PacketType::Reset, Some(0)));
        let mut forged = said.clone();
        // Another reason, or another MAC.
        for (at, bit) in [(0, 0), (0, 1), (1, 0), (16, 7)] {
            forged.body.clone_from(&said.body);
            forged.body[at] ^= 1 << bit;
            hear(&mut a, 0, &forged);
        }
        let plain = Sent { header: Header { seal: None, length: 1, ..said.header }, body: vec![2], ..said.clone() };
        hear(&mut a, 0, &plain);
        assert!(events(&mut a).is_empty());
        assert_eq!(dropped(&mut a), [("drop_unauthentic", 4)]);
        hear(&mut a, 0, &said);
        let error = failure(&mut a);
        assert!(matches!(error, ConnectError::Refused { .. }) && error.to_string().contains(words), "{error}");
        // Recorded, it says nothing about the next attempt.
        let open = opens(&mut a, 2, 0);
        hear(&mut a, 0, &said);
        let ids = (open.header.conn, Open::peek(&open.body).unwrap().1);
        hear(&mut a, 0, &Sent { header: Header { conn: ids.0, number: ids.1, ..said.header }, ..said });
        assert!(events(&mut a).is_empty());
        assert!(matches!(give_up(&mut a), ConnectError::NoAnswer { .. }));
    }
}

#[test]
fn a_hint_is_forgotten_when_the_true_answer_comes() {
    let (mut a, mut b) = pair();
    let open = opens(&mut a, 2, 0);
    let (conn, nonce) = Open::peek(&open.body).unwrap();
    for why in [Reset::Full, Reset::UnknownKey, Reset::NotListening, Reset::UnknownConnection] {
        hear(&mut a, 0, &from_b(PacketType::Reset, None, (conn, nonce), |body| why.emit(body)));
    }
    hear(&mut b, 0, &open);
    talk(&mut a, &mut b, 0);
    assert!(matches!(events(&mut a)[..], [Event::Connected { .. }]));
}

#[test]
fn a_recorded_answer_means_nothing_to_another_open() {
    let (mut a, mut b) = pair();
    let open = opens(&mut a, 2, 0);
    let accept = answer(&mut b, 0, &open).unwrap();
    assert!(matches!(give_up(&mut a), ConnectError::NoAnswer { .. }));
    let open = opens(&mut a, 2, 6 * SECOND);
    let (conn, nonce) = Open::peek(&open.body).unwrap();
    hear(&mut a, 6 * SECOND, &accept);
    let mut body = SealedAccept::parse(&accept.body).unwrap();
    body.nonce = nonce;
    hear(&mut a, 6 * SECOND, &from_b(PacketType::Accept, Some(0), (conn, 0), |out| body.emit(out)));
    // Even under the right MAC, another handshake's message opens nothing.
    body.mac = key(7).reply().mac(Subject::Accept, (mac(2), mac(1)), &body.covered());
    hear(&mut a, 6 * SECOND, &from_b(PacketType::Accept, Some(0), (conn, 0), |out| body.emit(out)));
    assert!(events(&mut a).is_empty() && poll(&mut a, 6 * SECOND).is_none());
    assert_eq!(dropped(&mut a), [("drop_unauthentic", 2), ("drop_unasked", 1)]);
    // A cookie for it neither.
    let mut cookie = SealedCookie { nonce: nonce ^ 1, cookie: [1; 24], mac: [0; 16] };
    cookie.mac = key(7).reply().mac(Subject::Cookie, (mac(2), mac(1)), &cookie.covered());
    hear(&mut a, 6 * SECOND, &from_b(PacketType::Cookie, Some(0), (conn, 0), |out| cookie.emit(out)));
    assert!(poll(&mut a, 6 * SECOND).is_none());
}

#[test]
fn a_reset_without_proof_asks_the_peer_and_no_more_often_than_it_may() {
    let (mut a, mut b, conn) = connected();
    let reset = unknown(&a, conn);
    let mut asked = 0;
    for at in 0..1000u64 {
        hear(&mut a, at * MILLISECOND / 10, &reset);
        while let Some(ask) = poll(&mut a, at * MILLISECOND / 10) {
            assert_eq!(ask.header.kind, PacketType::Ask);
            assert!(answer(&mut b, at * MILLISECOND / 10, &ask).is_none(), "who knows the connection is silent");
            asked += 1;
        }
    }
    assert_eq!(asked, 5, "each 20 ms of 100");
    assert_eq!((dropped(&mut b), b.connections(), a.counters().tx_asks), (vec![("drop_unasked", 5)], 1, 5));
    assert!(events(&mut a).is_empty() && a.conns[conn as usize].state == State::Open);
    // Of a packet that was never sent it says nothing at all.
    let mut late = reset;
    late.header.number = 1 << 40;
    hear(&mut a, SECOND, &late);
    assert!(poll(&mut a, SECOND).is_none());
}

#[test]
fn only_the_answer_to_its_question_by_who_has_the_key_ends_a_connection() {
    let (mut a, _, conn) = connected();
    let mut restarted = with_keys(2, &[7], Config::default());
    let ask = |a: &mut Endpoint, now| {
        let reset = unknown(a, conn);
        hear(a, now, &reset);
        poll(a, now).expect("a question")
    };
    let first = ask(&mut a, 0);
    let said = answer(&mut restarted, 0, &first).expect("an answer");
    assert_eq!(
        (said.header.seal, SealedReset::parse(&said.body).map(|reset| reset.why)),
        (Some(0), Ok(Reset::UnknownConnection))
    );
    // More of what made us ask, while the answer is on its way: it stays the answer.
    for at in 1..10 {
        assert_eq!(ask(&mut a, at * 20 * MILLISECOND).body, first.body);
    }
    let renamed = Sent { header: Header { number: said.header.number ^ 1, ..said.header }, ..said.clone() };
    hear(&mut a, 0, &renamed);
    for bit in 0..8 * said.body.len() {
        let mut forged = said.clone();
        forged.body[bit / 8] ^= 1 << (bit % 8);
        hear(&mut a, 0, &forged);
    }
    hear(&mut a, 0, &Sent { src: mac(3), ..said.clone() });
    assert!(events(&mut a).is_empty());
    hear(&mut a, 0, &said);
    assert!(matches!(events(&mut a)[..], [Event::Closed { reason: CloseReason::Reset, .. }]));
}

#[test]
fn a_question_of_who_has_no_key_is_not_answered() {
    let (mut a, _, conn) = connected();
    let reset = unknown(&a, conn);
    hear(&mut a, 0, &reset);
    let ask = poll(&mut a, 0).expect("a question");
    let mut restarted = with_keys(2, &[7], Config::default());
    for bit in 0..8 * ask.body.len() {
        let mut forged = ask.clone();
        forged.body[bit / 8] ^= 1 << (bit % 8);
        assert!(answer(&mut restarted, 0, &forged).is_none(), "bit {bit}");
    }
    let other = Sent { header: Header { conn: ConnId(ask.header.conn.0 ^ 1), ..ask.header }, ..ask.clone() };
    assert!(answer(&mut restarted, 0, &other).is_none(), "about another connection");
    assert!(answer(&mut restarted, 0, &Sent { src: mac(3), ..ask.clone() }).is_none(), "from another address");
    assert!(answer(&mut with_keys(2, &[8], Config::default()), 0, &ask).is_none(), "another key");
    assert!(answer(&mut endpoint(2, Config::default()), 0, &ask).is_none(), "no keys");
    assert_eq!(dropped(&mut restarted), [("drop_unauthentic", 8 * 32 + 2)]);
    assert!(answer(&mut restarted, 0, &ask).is_some());
    let again = (1..100_000).filter(|at| answer(&mut restarted, at * MILLISECOND / 1000, &ask).is_some());
    assert_eq!(again.count(), 4, "recorded and sent a million times a second, one in 20 ms");
}

#[test]
fn packets_of_a_sealed_connection_that_are_not_sealed_or_not_its_own_are_nothing() {
    let (mut a, mut b, conn) = connected();
    let id = a.conns[conn as usize].id;
    for kind in [PacketType::Control, PacketType::Confirm, PacketType::Data, PacketType::Ping, PacketType::Pong] {
        let mut body = [0; 64];
        Item::Close { code: 2, reason: "forged" }.emit(&mut body);
        hear(&mut a, 0, &Sent::new(mac(2), kind, (id, 1 << 20), &body));
        let mut sealed = Sent::new(mac(2), kind, (id, 1 << 20), &[0; 80]);
        (sealed.header.seal, sealed.header.length) = (Some(0), 64);
        hear(&mut a, 0, &sealed);
    }
    assert_eq!(dropped(&mut a), [("drop_unauthentic", 5), ("drop_unsealed", 5)]);
    assert!(events(&mut a).is_empty() && poll(&mut a, 0).is_none());
    // A true packet is taken once, and not when it is sent back to its sender.
    b.finish(0, 0);
    let finish = poll(&mut b, 0).expect("a finish");
    hear(&mut b, 0, &Sent { src: mac(1), ..finish.clone() });
    hear(&mut a, 0, &finish);
    hear(&mut a, 0, &finish);
    assert_eq!(a.counters().drop_replayed, 1);
    assert_eq!(a.conns[conn as usize].state, State::PeerFinished);
}
