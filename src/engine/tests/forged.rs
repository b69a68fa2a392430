//! Packets that no honest peer sends, well-formed down to the CRC: nothing panics, nothing is lost, and the connection
//! goes on or ends with a reason.

use super::*;
use crate::base::{ConnId, StreamId};
use crate::wire::{CRC_LEN, HEADER_LEN, Header, Item, Open, PacketType, Params, StreamHeader, crc};

/// A packet from `src` to host b.
pub(super) fn forge(world: &World, src: MacAddr, header: Header, body: &[u8]) -> Vec<u8> {
    forge_to(world.b.mac, src, header, body)
}

pub(super) fn forge_to(dst: MacAddr, src: MacAddr, header: Header, body: &[u8]) -> Vec<u8> {
    let ethernet = Ethernet { dst, src, vlan: None, ethertype: crate::wire::ETHERTYPE };
    let mut frame = vec![0; 1600];
    let offset = ethernet.emit(&mut frame);
    let header = Header { length: body.len() as u16, ..header };
    header.emit(&mut frame[offset..]);
    frame[offset + HEADER_LEN..offset + HEADER_LEN + body.len()].copy_from_slice(body);
    crc::emit(&mut frame[offset..], header.end());
    frame.truncate(offset + header.end() + CRC_LEN);
    frame
}

pub(super) fn header(kind: PacketType, conn: ConnId, number: u64) -> Header {
    Header { kind, fin: false, trailer: false, seal: None, length: 0, conn, number }
}

impl World {
    /// Host b receives a control packet of these items from host a's address.
    pub(super) fn forge_items(&mut self, conn: &ConnPort, number: u64, items: &[Item<'_>]) {
        let (mut body, mut len) = ([0; 1400], 0);
        for item in items {
            len += item.emit(&mut body[len..]).unwrap();
        }
        let frame = forge(self, self.a.mac, header(PacketType::Control, conn.key, number), &body[..len]);
        self.b.engine.link.forged.push_back(frame);
        self.step();
    }

    fn forge_data(&mut self, conn: &ConnPort, number: u64, at: (u32, u64), payload: &[u8], fin: bool) {
        let stream = StreamHeader { stream: StreamId(at.0), lowest_distance: 0, offset: at.1 };
        let body = [&stream.to_bytes()[..], payload].concat();
        let header = Header { fin, ..header(PacketType::Data, conn.key, number) };
        let frame = forge(self, self.a.mac, header, &body);
        self.b.engine.link.forged.push_back(frame);
        self.step();
    }
}

fn violation(port: &ConnPort) -> bool {
    matches!(port.shared.closed.get(), Some(CloseReason::Violation(_)))
}

#[test]
fn a_reset_of_more_segments_than_there_are_numbers_is_a_violation() {
    for segments in [u64::MAX, u64::MAX - 1, 1 << 40] {
        let mut world = World::new(MemoryConfig::default(), Config::default());
        let ([_ours, theirs], _stream, _peer) = world.connect_stream();
        world.forge_items(&theirs, 100, &[Item::StreamReset { stream: StreamId(2), code: 1, segments }]);
        assert!(violation(&theirs), "{segments}");
    }
}

#[test]
fn the_highest_stream_number_is_a_violation_like_any_beyond_the_limit() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([_ours, theirs], _stream, _peer) = world.connect_stream();
    world.forge_data(&theirs, 100, (u32::MAX, 0), b"x", false);
    assert!(theirs.shared.closed.get().is_none(), "ours to open, so a late packet's");
    world.forge_data(&theirs, 101, (u32::MAX - 1, 0), b"x", false);
    assert!(violation(&theirs));
}

#[test]
fn an_end_before_bytes_that_came_is_a_violation_and_costs_no_frame() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let free = all_frames(&world.b);
    let (_ours, theirs) = world.connect();
    world.forge_data(&theirs, 100, (0, 20), b"later", false);
    world.forge_data(&theirs, 101, (0, 0), b"sooner", true);
    assert!(violation(&theirs));
    drop(theirs);
    world.steps(2 * SECOND);
    assert_eq!(all_frames(&world.b), free);
}

#[test]
fn a_peer_that_starts_anew_under_its_old_id_has_one_connection() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let src = MacAddr::new(2, 9, 9, 9, 9, 9);
    let params = Params { mtu: 1500, streams: 1, idle_timeout_ms: 0, conn_credit: 1, stream_credit: 1 };
    let open = |world: &mut World, nonce| {
        let mut body = [0; crate::wire::open::OPEN_LEN];
        Open { conn: ConnId(77), nonce, params, cookie: None }.emit(&mut body);
        let frame = forge(world, src, header(PacketType::Open, ConnId(0), 0), &body);
        world.b.engine.link.forged.push_back(frame);
        world.step();
    };
    open(&mut world, 1);
    world.steps(2 * SECOND);
    open(&mut world, 2);
    assert_eq!(world.b.engine.endpoint.connections(), 2);
    world.steps(2 * SECOND);
    assert_eq!(world.b.engine.endpoint.connections(), 1, "the first one was never confirmed");
    open(&mut world, 2);
    assert_eq!(world.b.engine.endpoint.connections(), 1, "asked again, not asked for another");
}

#[test]
fn a_tag_that_we_do_not_use_is_not_ours() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([_ours, theirs], _stream, _peer) = world.connect_stream();
    let mut frame = forge(&world, world.a.mac, header(PacketType::Control, theirs.key, 100), &[]);
    frame.splice(12..12, [0x81, 0, 0, 0]);
    let before = world.b.engine.endpoint.counters().drop_not_ours;
    world.b.engine.link.forged.push_back(frame);
    world.step();
    assert_eq!(world.b.engine.endpoint.counters().drop_not_ours, before + 1);
}

fn dropped(world: &World) -> u64 {
    let counters = world.b.engine.endpoint.counters_now().iter();
    counters.filter(|(name, _)| name.starts_with("drop_")).map(|(_, value)| value).sum()
}

#[test]
fn every_packet_that_is_of_no_use_is_counted() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([_ours, theirs], _stream, _peer) = world.connect_stream();
    let kinds = [
        (PacketType::Cookie, [0, 32]),
        (PacketType::Accept, [0, 40]),
        (PacketType::Confirm, [0, 8]),
        (PacketType::Reset, [0, 1]),
        (PacketType::Version, [0, 1]),
        (PacketType::Announce, [0, 12]),
        (PacketType::Pong, [0, 3]),
        (PacketType::Ping, [0, 3]),
        (PacketType::Data, [0, 3]),
        (PacketType::Open, [0, 3]),
    ];
    for (kind, lengths) in kinds {
        for length in lengths {
            let before = dropped(&world);
            let frame = forge(&world, world.a.mac, header(kind, theirs.key, 1 << 40), &vec![1; length]);
            world.b.engine.link.forged.push_back(frame);
            world.step();
            assert_eq!(dropped(&world), before + 1, "{kind:?} of {length} bytes");
        }
    }
}

#[test]
fn pings_do_not_take_the_pool_of_a_link_that_takes_nothing() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([_ours, theirs], _stream, _peer) = world.connect_stream();
    world.b.engine.link.jammed = true;
    for number in 100..1000 {
        let frame = forge(&world, world.a.mac, header(PacketType::Ping, theirs.key, number), &[0; 12]);
        world.b.engine.link.forged.push_back(frame);
        world.step();
    }
    assert!(world.b.engine.tx.len() <= 4 * BURST);
    assert!(world.b.engine.endpoint.counters().tx_answers_dropped > 700);
}

/// Whoever exceeds the connection's credit, with segments in order or early, costs neither a frame nor the budget.
#[test]
fn segments_beyond_the_credit_are_a_violation_and_leave_nothing_behind() {
    let config = MemoryConfig { frames: 256, rx_reserve: 64, ..MemoryConfig::default() };
    for (early, reset) in [(false, false), (true, false), (true, true)] {
        let mut world = World::new(config.clone(), Config::default());
        let before = (all_frames(&world.b), world.b.engine.endpoint.inventory());
        let ([ours, theirs], stream, peer) = world.connect_stream();
        // In one burst: at an ACK of what it never sent, the honest peer would end the connection first.
        for at in 0..60 {
            if reset && at == 30 {
                let mut body = [0; 64];
                let len = Item::StreamReset { stream: StreamId(2), code: 1, segments: 1000 }.emit(&mut body).unwrap();
                let frame = forge(&world, world.a.mac, header(PacketType::Control, theirs.key, 99), &body[..len]);
                world.b.engine.link.forged.push_back(frame);
            }
            let offset = if early { 1 + 2 * at } else { at };
            let stream = StreamHeader { stream: StreamId(2), lowest_distance: 0, offset };
            let body = [&stream.to_bytes()[..], b"x"].concat();
            let frame = forge(&world, world.a.mac, header(PacketType::Data, theirs.key, 100 + at), &body);
            world.b.engine.link.forged.push_back(frame);
        }
        world.step();
        assert!(violation(&theirs), "early {early}, reset {reset}: {:?}", world.b.engine.endpoint);
        drop((ours, theirs, stream, peer));
        world.steps(5 * SECOND);
        let after = (all_frames(&world.b), world.b.engine.endpoint.inventory());
        assert_eq!(after, before, "early {early}, reset {reset}");
    }
}

/// Found by fuzzing: both left the stream's half over and its reader without a word.
#[test]
fn a_reader_hears_of_the_end_when_the_last_segment_or_a_reset_is_beyond_the_credit() {
    let mut world = World::new(MemoryConfig::default(), Config::default());
    let ([_ours, theirs], _stream, peer) = world.connect_stream();
    world.forge_items(&theirs, 100, &[Item::StreamReset { stream: StreamId(0), code: 1, segments: 1 << 40 }]);
    assert!(violation(&theirs) && peer.recv.shared.recv_error.get().is_some());
    let config = MemoryConfig { frames: 256, rx_reserve: 64, ..MemoryConfig::default() };
    let mut violations = 0;
    for count in 1..40 {
        let mut world = World::new(config.clone(), Config::default());
        let ([_ours, theirs], _stream, _peer) = world.connect_stream();
        for at in 0..count {
            let stream = StreamHeader { stream: StreamId(2), lowest_distance: 0, offset: at };
            let body = [&stream.to_bytes()[..], b"x"].concat();
            let header = Header { fin: at + 1 == count, ..header(PacketType::Data, theirs.key, 100 + at) };
            let frame = forge(&world, world.a.mac, header, &body);
            world.b.engine.link.forged.push_back(frame);
        }
        world.step();
        let port = theirs.streams.try_recv().expect("a stream");
        violations += u64::from(violation(&theirs));
        assert_eq!(port.recv.shared.recv_error.get().is_some(), violation(&theirs), "{count} segments");
    }
    assert!((1..39).contains(&violations), "{violations}");
}
