//! Endpoints that hear what a test hands them: who is let in, who is answered, and under which name the rest counts.

mod acks;
mod bounds;

use super::super::error::ConnectError;
use super::super::output::{Content, Found};
use super::*;
use crate::base::time::SECOND;
use crate::proto::output::Event;
use crate::wire::open::OPEN_LEN;
use crate::wire::version::emit_version;
use crate::wire::{Accept, Announce, Item, Items, Open, Params, Query, Reset, VERSION};

mod binding;
mod forged;
mod sealed;

fn mac(last: u8) -> MacAddr {
    MacAddr::new(2, 0, 0, 0, 0, last)
}

fn endpoint(last: u8, config: Config) -> Endpoint {
    let mut endpoint = Endpoint::new(config, mac(last), 1500, (256, 128), [last; 32]);
    endpoint.set_listening(true);
    endpoint
}

/// A packet that is on its way.
#[derive(Clone)]
struct Sent {
    src: MacAddr,
    dst: MacAddr,
    header: Header,
    body: Vec<u8>,
}

impl Sent {
    fn new(src: MacAddr, kind: PacketType, (conn, number): (ConnId, u64), body: &[u8]) -> Sent {
        let header = Header { kind, fin: false, trailer: false, seal: None, length: body.len() as u16, conn, number };
        Sent { src, dst: mac(0), header, body: body.to_vec() }
    }
}

/// The next packet that an endpoint sends, if it has one.
fn poll(from: &mut Endpoint, now: Nanos) -> Option<Sent> {
    let mut body = [0; 1500];
    let Transmit { dst, conn, header, content } = from.poll_transmit(now, &|_| false, &mut body)?;
    assert_eq!(content, Content::Body, "no stream is open here, and nobody pings");
    let mut body = body[..usize::from(header.length)].to_vec();
    if let Some(phase) = header.seal.filter(|_| header.has_tag()) {
        let sealer = from.sealer(conn.unwrap()).expect("keys, since its header says so");
        let tag = sealer.seal(phase, header.number, &header.to_bytes(), &mut body).unwrap();
        body.extend(tag);
    }
    Some(Sent { src: from.identity.mac, dst, header, body })
}

/// Passes a packet on as the engine does: if its connection's keys open it.
fn hear(to: &mut Endpoint, now: Nanos, sent: &Sent) {
    let (Sent { src, header, .. }, mut body) = (sent, sent.body.clone());
    if let Some(phase) = header.seal.filter(|_| header.has_tag()) {
        let Some(opener) = to.opener(now, *src, header) else { return };
        if !opener.open(phase, header.number, &header.to_bytes(), &mut body) {
            to.counters.drop_unauthentic += 1;
            return;
        }
        body.truncate(usize::from(header.length));
    }
    assert_eq!(
        to.on_packet(now, &Packet { src: *src, header: *header, body: &body, frame: FrameId(0) }),
        Verdict::Free
    );
}

/// All that both have to say, until neither says more.
fn talk(a: &mut Endpoint, b: &mut Endpoint, now: Nanos) {
    while let Some((sent, to)) = poll(a, now).map(|sent| (sent, 1)).or_else(|| poll(b, now).map(|sent| (sent, 0))) {
        hear(if to == 1 { b } else { a }, now, &sent);
    }
}

fn events(endpoint: &mut Endpoint) -> Vec<Event> {
    endpoint.output().events.drain(..).collect()
}

/// Why the only event is that a connection could not be opened.
fn failure(endpoint: &mut Endpoint) -> ConnectError {
    match &events(endpoint)[..] {
        [Event::ConnectFailed { error, .. }] => error.clone(),
        other => panic!("{other:?}"),
    }
}

fn dropped(endpoint: &mut Endpoint) -> Vec<(&'static str, u64)> {
    let counters = endpoint.counters_now();
    counters.iter().filter(|(name, count)| name.starts_with("drop_") && *count > 0).collect()
}

#[test]
fn a_connect_that_can_not_be_is_refused_at_once() {
    let mut a = endpoint(1, Config { max_connections: 1, ..Config::default() });
    for peer in [mac(1), MacAddr::broadcast(), MacAddr::new(3, 0, 0, 0, 0, 1), MacAddr::new(0, 0, 0, 0, 0, 0)] {
        let refused = a.connect(0, peer);
        assert!(matches!(refused, Err(ConnectError::BadPeer { peer: whom, .. }) if whom == peer), "{refused:?}");
    }
    assert_eq!(a.connect(0, mac(2)), Ok(0));
    assert_eq!(a.connect(0, mac(2)), Err(ConnectError::TooMany { limit: 1 }));
    let mut poor = Endpoint::new(Config::default(), mac(1), 1500, (256, 128), [1; 32]);
    let refused = (0..200).find_map(|_| poor.connect(0, mac(2)).err()).expect("windows come out of the pool");
    let connections = poor.connections();
    assert_eq!(refused, ConnectError::NoFrames { frames: 256, connections });
    assert!(connections > 0 && poll(&mut poor, 0).is_some(), "those before it go on");
}

#[test]
fn who_has_no_room_says_so() {
    let (mut a, mut b) =
        (endpoint(1, Config::default()), endpoint(2, Config { max_connections: 1, ..Config::default() }));
    a.connect(0, mac(2)).unwrap();
    talk(&mut a, &mut b, 0);
    assert!(matches!(events(&mut a)[..], [Event::Connected { .. }]));
    a.connect(0, mac(2)).unwrap();
    talk(&mut a, &mut b, 0);
    let error = failure(&mut a);
    assert!(matches!(&error, ConnectError::Refused { peer, .. } if *peer == mac(2)), "{error}");
    assert!(error.to_string().contains("no room for another connection"), "{error}");
    assert_eq!((b.counters().refused_connections, b.connections()), (1, 1));
}

#[test]
fn an_accept_with_terms_that_no_one_could_keep_is_not_believed() {
    let (mut a, mut b) = (endpoint(1, Config::default()), endpoint(2, Config::default()));
    a.connect(0, mac(2)).unwrap();
    let open = poll(&mut a, 0).unwrap();
    let asked = Open::parse(&open.body).unwrap();
    let params = Params { mtu: 255, streams: 1, idle_timeout_ms: 0, conn_credit: 9, stream_credit: 9 };
    let good = Params { mtu: 256, ..params };
    for (conn, params) in [(ConnId(7), params), (ConnId(0), good)] {
        let mut body = [0; 100];
        let length = Accept { conn, nonce: asked.nonce, params }.emit(&mut body);
        hear(&mut a, 0, &Sent::new(mac(2), PacketType::Accept, (asked.conn, 0), &body[..length]));
    }
    assert_eq!(dropped(&mut a), [("drop_malformed", 2)]);
    assert!(events(&mut a).is_empty());
    hear(&mut b, 0, &open);
    talk(&mut a, &mut b, 0);
    assert!(matches!(events(&mut a)[..], [Event::Connected { .. }]), "the right one is still waited for");
}

#[test]
fn two_versions_tell_each_other_what_they_speak() {
    let (mut a, mut b) = (endpoint(1, Config::default()), endpoint(2, Config::default()));
    a.connect(0, mac(2)).unwrap();
    let open = poll(&mut a, 0).unwrap();
    b.on_foreign_open(0, mac(1), &open.body);
    assert_eq!((dropped(&mut b), b.connections()), (vec![("drop_version", 1)], 0));
    let said = poll(&mut b, 0).expect("an answer");
    assert_eq!((said.dst, said.header.kind, &said.body[..]), (mac(1), PacketType::Version, &[1, VERSION][..]));
    assert!(said.body.len() < open.body.len());
    // We speak what it speaks: it can't have been an answer to our open.
    hear(&mut a, 0, &said);
    let mut body = [0; 16];
    let length = emit_version(&mut body, &[VERSION + 1, VERSION + 2]);
    let answer = |src, number| Sent::new(src, PacketType::Version, (said.header.conn, number), &body[..length]);
    hear(&mut a, 0, &answer(mac(2), said.header.number ^ 1));
    hear(&mut a, 0, &answer(mac(3), said.header.number));
    hear(&mut a, 0, &Sent::new(mac(2), PacketType::Version, (said.header.conn, said.header.number), &[0]));
    assert_eq!((dropped(&mut a), events(&mut a).len()), (vec![("drop_unasked", 4)], 0));
    hear(&mut a, 0, &answer(mac(2), said.header.number));
    assert_eq!(failure(&mut a), ConnectError::Version { peer: mac(2), theirs: VERSION + 2, ours: VERSION });
    assert_eq!(a.connections(), 0);
}

/// An answer to a group would reach everybody for one forged packet.
#[test]
fn an_open_of_another_version_from_a_group_is_not_answered() {
    let mut b = endpoint(2, Config::default());
    for src in [MacAddr::broadcast(), MacAddr::new(1, 0, 0x5E, 0, 0, 1), MacAddr::new(0, 0, 0, 0, 0, 0)] {
        b.on_foreign_open(0, src, &[1; OPEN_LEN]);
        assert!(poll(&mut b, 0).is_none(), "{src}");
    }
    b.on_foreign_open(0, mac(1), &[1; 3]);
    assert!(poll(&mut b, 0).is_none(), "too short to be an open of any version");
    assert_eq!(dropped(&mut b), [("drop_version", 4)]);
}

#[test]
fn a_flood_of_opens_is_answered_up_to_a_limit_a_turn() {
    let mut b = endpoint(2, Config::default());
    b.set_listening(false);
    let params = Params { mtu: 1500, streams: 1, idle_timeout_ms: 0, conn_credit: 1, stream_credit: 1 };
    for nonce in 0..70 {
        let mut body = [0; OPEN_LEN];
        Open { conn: ConnId(7), nonce, params, cookie: None }.emit(&mut body);
        hear(&mut b, 0, &Sent::new(mac(1), PacketType::Open, (ConnId(0), 0), &body));
    }
    let answers: Vec<Sent> = std::iter::from_fn(|| poll(&mut b, 0)).collect();
    assert!(answers.iter().all(|sent| Reset::parse(&sent.body) == Ok(Reset::NotListening)));
    let answered: Vec<u64> = answers.iter().map(|sent| sent.header.number).collect();
    assert_eq!(answered, (0..64).collect::<Vec<_>>());
    assert_eq!((b.counters().tx_answers_dropped, b.connections()), (6, 0));
}

#[test]
fn the_end_of_an_endpoint_is_told_to_whom_it_concerns() {
    let (mut a, mut b) = (endpoint(1, Config::default()), endpoint(2, Config::default()));
    let open = a.connect(0, mac(2)).unwrap();
    talk(&mut a, &mut b, 0);
    let opening = a.connect(0, mac(3)).unwrap();
    assert!(poll(&mut a, 0).is_some_and(|sent| sent.header.kind == PacketType::Open));
    events(&mut a);
    events(&mut b);
    a.close_all(SECOND, &CloseReason::Shutdown);
    let mut ended: Vec<u32> = Vec::new();
    for event in events(&mut a) {
        match event {
            Event::Closed { conn, reason: CloseReason::Shutdown } => ended.push(conn),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended, [open, opening]);
    let last: Vec<Sent> = std::iter::from_fn(|| poll(&mut a, SECOND)).collect();
    assert!(last.iter().all(|sent| sent.dst == mac(2)), "who never answered is told nothing");
    let closes = |sent: &Sent| Items::new(&sent.body).any(|item| matches!(item, Ok(Item::Close { code: 2, .. })));
    assert!(last.iter().any(closes));
    last.iter().for_each(|sent| hear(&mut b, SECOND, sent));
    let told = events(&mut b);
    assert!(matches!(&told[..], [Event::Closed { reason: CloseReason::Peer { code: 2, .. }, .. }]), "{told:?}");
}

#[test]
fn a_query_is_repeated_until_nobody_asks_any_more() {
    let (mut a, mut b) = (endpoint(1, Config::default()), endpoint(2, Config::default()));
    b.announce("backup".into(), "recv".into());
    a.start_query(0, "other".into());
    let asked = poll(&mut a, 0).expect("a query");
    assert_eq!((asked.dst, Query::parse(&asked.body)), (MacAddr::broadcast(), Ok(Query { name: "other" })));
    hear(&mut b, 0, &asked);
    assert!(poll(&mut b, 0).is_none(), "somebody else was called");

    a.start_query(0, String::new());
    let asked = poll(&mut a, 0).expect("a query");
    hear(&mut b, 0, &asked);
    let answer = poll(&mut b, 0).expect("everybody was called");
    hear(&mut a, 0, &answer);
    let found = Found { mac: mac(2), name: "backup".into(), service: "recv".into(), mtu: 1500 };
    assert!(matches!(&events(&mut a)[..], [Event::Found(host)] if **host == found));

    let due = a.poll_timeout();
    assert!(poll(&mut a, due - 1).is_none());
    assert!(poll(&mut a, due).is_some_and(|again| again.header.number == asked.header.number));
    let mut body = [0; 100];
    let announce = Announce { nonce: asked.header.number ^ 1, name: "x", service: "y", mtu: 1500 };
    let length = announce.emit(&mut body).unwrap();
    hear(&mut a, due, &Sent::new(mac(3), PacketType::Announce, (ConnId(0), announce.nonce), &body[..length]));
    assert_eq!((dropped(&mut a), events(&mut a).len()), (vec![("drop_unasked", 1)], 0));
    a.stop_query();
    assert!(poll(&mut a, due + SECOND).is_none() && a.poll_timeout() == NEVER);
    hear(&mut a, due, &answer);
    assert_eq!((dropped(&mut a), events(&mut a).len()), (vec![("drop_unasked", 2)], 0));
}
