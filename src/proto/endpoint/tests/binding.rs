//! What an opening is bound to. The MAC in front of it would notice each of these changes; here it is made right, by
//! who holds the key, so that the handshake itself has to.

use super::sealed::{answer, key, opens, with_keys};
use super::*;
use crate::crypto::Subject;
use crate::proto::lifecycle::State;
use crate::wire::SealedOpen;

/// The open with a change, and a MAC for who hears it.
fn changed(sent: &Sent, to: u8, change: impl FnOnce(&mut SealedOpen, &mut Sent)) -> Sent {
    let (mut out, mut open) = (sent.clone(), SealedOpen::parse(&sent.body).unwrap());
    change(&mut open, &mut out);
    open.mac = key(7).reply().mac(Subject::Open, (out.src, mac(to)), &open.covered());
    open.emit(&mut out.body);
    out
}

/// What a listener makes of it, and how many connections that gave.
fn met(to: &mut Endpoint, sent: &Sent) -> (Option<PacketType>, usize, Vec<(&'static str, u64)>) {
    let said = answer(to, 0, sent).map(|said| said.header.kind);
    (said, to.connections(), dropped(to))
}

#[test]
fn an_opening_is_good_for_nothing_else_even_with_a_right_mac() {
    let unauthentic = || (None, 0, vec![("drop_unauthentic", 1)]);
    let listener = |last| with_keys(last, &[7], Config::default());
    let open = opens(&mut listener(1), 2, 0);
    let same = changed(&open, 2, |_, _| ());
    assert_eq!(met(&mut listener(2), &same), (Some(PacketType::Accept), 1, vec![]), "the MAC of this test is right");
    let nonce = changed(&open, 2, |open, _| open.nonce ^= 1);
    assert_eq!(met(&mut listener(2), &nonce), unauthentic());
    let id = changed(&open, 2, |open, _| open.conn.0 ^= 1);
    assert_eq!(met(&mut listener(2), &id), unauthentic());
    let initiator = changed(&open, 2, |_, sent| sent.src = mac(9));
    assert_eq!(met(&mut listener(2), &initiator), unauthentic());
    let responder = changed(&open, 3, |_, sent| sent.dst = mac(3));
    assert_eq!(met(&mut listener(3), &responder), unauthentic());
    for at in [0, 40, open.body.len() - 17] {
        let message = changed(&open, 2, |open, _| open.message[at % open.message.len()] ^= 1);
        assert_eq!(met(&mut listener(2), &message), unauthentic(), "terms and ciphers are in the message");
    }
    let mut service = with_keys(2, &[7], Config { ethertype: 0x88B6, ..Config::default() });
    assert_eq!(met(&mut service, &same), unauthentic(), "another EtherType is another service");
}

#[test]
fn an_opening_of_another_life_takes_no_connections_place() {
    let (mut a, mut b) = sealed::pair();
    let open = opens(&mut a, 2, 0);
    let accept = answer(&mut b, 0, &open).expect("an accept");
    hear(&mut a, 0, &accept);
    talk(&mut a, &mut b, 0);
    let place = *b.by_peer.values().next().unwrap();
    assert!(b.conns[place as usize].state.is_established());
    let earlier = changed(&open, 2, |open, _| open.nonce ^= 1);
    assert_eq!(met(&mut b, &earlier), (None, 1, vec![("drop_replayed", 1)]));
    assert_eq!(b.by_peer.values().collect::<Vec<_>>(), [&place]);
    assert_eq!(b.conns[place as usize].state, State::Open);
}
