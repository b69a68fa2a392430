//! A peer with every right to be here that wants to exhaust us: what it can make us hold, in sum.

use super::*;
use crate::proto::stream::StreamBudget;
use crate::wire::StreamHeader;

/// A victim and its hostile peers: each has a connection, and says what it likes.
struct Siege {
    victim: Endpoint,
    peers: Vec<Peer>,
    now: Nanos,
}

struct Peer {
    mac: MacAddr,
    /// The victim's id and slot of the connection.
    id: ConnId,
    slot: u32,
    next: u64,
    /// Streams that the peer may open, as it was told, and how many it has.
    allowed: u64,
    opened: u64,
}

impl Siege {
    fn new(config: Config, peers: u8) -> Siege {
        let mut victim = endpoint(0, config);
        let peers = (1..=peers).map(|last| Peer::new(&mut victim, last)).collect();
        Siege { victim, peers, now: 0 }
    }

    fn say(&mut self, peer: usize, kind: PacketType, body: &[u8]) -> Verdict {
        let Peer { mac, id, next, .. } = &mut self.peers[peer];
        *next += 1;
        let sent = Sent::new(*mac, kind, (*id, *next), body);
        let packet = Packet { src: sent.src, header: sent.header, body, frame: FrameId(*next as u32 % 200) };
        self.victim.on_packet(self.now, &packet)
    }

    fn say_items<'a>(&mut self, peer: usize, items: impl IntoIterator<Item = Item<'a>>) {
        let (mut body, mut len) = ([0; 1460], 0);
        for item in items {
            len += item.emit(&mut body[len..]).unwrap_or(0);
        }
        assert_eq!(self.say(peer, PacketType::Control, &body[..len]), Verdict::Free);
    }

    fn say_data(&mut self, peer: usize, stream: u32, offset: u64, payload: &[u8]) -> Verdict {
        let header = StreamHeader { stream: StreamId(stream), lowest_distance: 0, offset };
        self.say(peer, PacketType::Data, &[&header.to_bytes()[..], payload].concat())
    }

    /// What the victim has to say, of which the peers note how many streams they may open.
    fn hear(&mut self) -> Vec<Sent> {
        let said: Vec<Sent> = std::iter::from_fn(|| poll(&mut self.victim, self.now)).collect();
        for sent in said.iter().filter(|sent| sent.header.kind == PacketType::Control) {
            let Some(peer) = self.peers.iter_mut().find(|peer| peer.mac == sent.dst) else { continue };
            for item in Items::new(&sent.body) {
                if let Ok(Item::StreamsLimit { streams }) = item {
                    peer.allowed = peer.allowed.max(streams);
                }
            }
        }
        said
    }

    fn violation(&mut self) -> Option<&'static str> {
        events(&mut self.victim).into_iter().find_map(|event| match event {
            Event::Closed { reason: CloseReason::Violation(what), .. } => Some(what),
            _ => None,
        })
    }
}

impl Peer {
    fn new(victim: &mut Endpoint, last: u8) -> Peer {
        let mut honest = endpoint(last, Config::default());
        honest.connect(0, mac(0)).unwrap();
        talk(&mut honest, victim, 0);
        let (slot, conn) = victim.conns.iter().find(|(_, conn)| conn.peer == mac(last)).unwrap();
        let allowed = u64::from(conn.local.streams);
        Peer { mac: mac(last), id: conn.id, slot: slot as u32, next: 100, allowed, opened: 0 }
    }
}

/// All that it may, each by the last id alone, as often as it is told that it may open more.
#[test]
fn streams_of_all_peers_together_are_bounded_and_each_peer_has_some() {
    let config = Config { max_connections: 4, max_streams: 64, max_streams_total: 100, ..Config::default() };
    let before = StreamBudget::new(64, 100, 4).free();
    let mut siege = Siege::new(config, 4);
    for _ in 0..10 {
        for peer in 0..4 {
            let last = siege.peers[peer].allowed - 1;
            siege.say_data(peer, last as u32 * 2, 0, b"x");
            siege.peers[peer].opened = last + 1;
            siege.hear();
        }
        assert!(siege.victim.streams.len() <= 100, "{} streams", siege.victim.streams.len());
    }
    let windows: Vec<u64> = siege.peers.iter().map(|peer| peer.opened).collect();
    assert!(windows.iter().all(|window| (8..=64).contains(window)), "{windows:?}");
    assert!(windows.iter().sum::<u64>() > 90 && siege.victim.streams.len() as u64 == windows.iter().sum::<u64>());
    assert_eq!(siege.violation(), None);
    // One more than it was told ends it, and what it had goes to others.
    let beyond = siege.peers[0].allowed as u32 * 2;
    siege.say_data(0, beyond, 0, b"x");
    assert_eq!(siege.violation(), Some("it opened more streams than it was allowed"));
    siege.victim.close_all(siege.now, &CloseReason::Shutdown);
    siege.hear();
    siege.victim.on_timeout(2 * SECOND);
    assert_eq!((siege.victim.streams.len(), siege.victim.stream_budget.free()), (0, before));
}

#[test]
fn one_packet_opens_no_more_streams_than_were_offered() {
    let config = Config { max_connections: 4, max_streams_total: 32, ..Config::default() };
    let mut siege = Siege::new(config, 1);
    assert_eq!(siege.peers[0].allowed, 4 + 8);
    siege.say_data(0, 22, 0, b"x");
    assert_eq!((siege.victim.streams.len(), siege.violation()), (12, None));
    siege.say_data(0, 2 * 1023, 0, b"x");
    assert_eq!(siege.violation(), Some("it opened more streams than it was allowed"));
    assert!(siege.victim.streams.is_empty());
}

/// Streams are opened and given up as fast as it may: of each one answer waits at most, and none is left.
#[test]
fn streams_that_are_given_up_at_once_leave_nothing_behind() {
    let mut siege = Siege::new(Config::default(), 1);
    for _ in 0..200 {
        let Peer { opened, allowed, .. } = siege.peers[0];
        let ids = (opened..allowed.min(opened + 80)).map(|index| StreamId(index as u32 * 2));
        let items: Vec<Item<'_>> =
            ids.clone().map(|stream| Item::StreamReset { stream, code: 1, segments: 0 }).collect();
        siege.say_items(0, items);
        siege.say_items(0, ids.clone().map(|stream| Item::StreamStop { stream, code: 1 }));
        siege.peers[0].opened = allowed.min(opened + 80);
        let slot = siege.peers[0].slot as usize;
        let control = &siege.victim.conns[slot].control;
        assert!(control.streams.len() <= 1024 && siege.victim.streams.len() <= 1024);
        // It never acknowledges, so that our resets are told again and their streams stay: its own limit.
        siege.hear();
    }
    assert!(siege.peers[0].opened <= 1024, "{}", siege.peers[0].opened);
    assert_eq!(siege.violation(), None);
}

/// A peer that reads all and acknowledges nothing makes us remember what we have said, up to a limit.
#[test]
fn what_silence_makes_us_remember_is_bounded() {
    let mut siege = Siege::new(Config::default(), 1);
    let (id, slot) = (siege.peers[0].id, siege.peers[0].slot as usize);
    for offset in 0..300_000 {
        siege.now += 10;
        assert_eq!(siege.say_data(0, 0, offset, b"x"), Verdict::Kept);
        assert_eq!(siege.violation(), None);
        siege.victim.on_consumed(siege.now, id, (0, StreamId(0)), 1, 1);
        if offset % 7 == 6 {
            siege.victim.poll_transmit(siege.now, &|_| false, &mut [0; 1500]);
        }
        // Once it remembers all that it may, nothing more is granted.
        let conn = &siege.victim.conns[slot];
        assert!(conn.control.in_flight() <= (1 << 14) + 200);
        if conn.rx_credit.is_spent() {
            assert!(conn.control.in_flight() >= 1 << 14, "at {offset}");
            return;
        }
    }
    panic!("granted without end");
}

#[test]
fn a_packet_of_nothing_but_finishes_is_told_once() {
    let mut siege = Siege::new(Config::default(), 1);
    events(&mut siege.victim);
    siege.say_items(0, [Item::Finish; 1400]);
    assert_eq!(events(&mut siege.victim).len(), 1);
}

/// 2^60 ahead is nowhere; as far as it may be it takes half a megabyte, once.
#[test]
fn numbers_that_run_ahead_cost_half_a_megabyte_and_a_few_acks() {
    let mut siege = Siege::new(Config::default(), 1);
    let slot = siege.peers[0].slot as usize;
    siege.peers[0].next = 1 << 60;
    siege.say_items(0, [Item::Probe]);
    assert_eq!(siege.victim.counters_now().drop_replayed, 1);
    siege.peers[0].next = (1 << 22) - 1000;
    siege.say_items(0, [Item::Probe]);
    assert!(siege.hear().len() <= 9, "ACKs for one packet");
    assert_eq!(siege.victim.conns[slot].received.largest(), Some((1 << 22) - 999));
}
