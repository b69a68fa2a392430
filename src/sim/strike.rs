//! Faults, as they strike.

use super::host::Host;
use super::net::{Net, mac_of};
use super::scenario::Fault;
use super::world::World;
use crate::base::time::{NEVER, SECOND};
use crate::base::{ConnId, Dice, MacAddr, Nanos};
use crate::wire::eth::Ethernet;
use crate::wire::{CRC_LEN, ETHERTYPE, HEADER_LEN, Header, Open, PacketType, Params, crc};

/// A fault strikes at `now`.
pub(super) fn strike(world: &mut World<'_>, now: Nanos, fault: Fault) {
    world.net().trace.note(now, &[5], || format!("{fault:?}"));
    match fault {
        Fault::Jam { host, for_ns } => {
            world.net().jam(host, true);
            world.jams.push((now + for_ns, host));
        }
        Fault::Stop { host, for_ns } => {
            let until = &mut world.hosts[host].stopped_until;
            *until = (*until).max(now + for_ns);
        }
        Fault::Die { host } => {
            world.hosts[host].stopped_until = NEVER;
            tear(world, host);
        }
        Fault::Crash { host } => crash(world, host),
        Fault::Jump { host, by_ns } => {
            // A connection being opened has one deadline only, which tells nobody that its host was away.
            let audit = world.hosts[host].engine.audit();
            let opens = audit.half_open + audit.connecting > 0;
            world.hosts[host].jump(if opens { by_ns.min(SECOND) } else { by_ns });
        }
        Fault::Replay { place } => {
            let mut net = world.net();
            if let Some((from, bytes)) = net.recall(place) {
                net.send_again(from, &bytes);
            }
        }
        Fault::Forge { dice } => forge(&mut world.net(), dice),
        Fault::Tamper { dice } => {
            if !world.scenario.sealed {
                world.tampered = true;
                (0..world.hosts.len()).for_each(|host| tear(world, host));
            }
            tamper(&mut world.net(), dice);
        }
        Fault::Flood { host, opens } => flood(&mut world.net(), host, opens),
    }
}

/// Whatever a host has to do with may end at any time.
fn tear(world: &mut World<'_>, host: usize) {
    for session in world.sessions.iter_mut().filter(|session| session.plan.hosts.contains(&host)) {
        session.torn = true;
    }
    let peer = mac_of(host);
    for side in &mut world.sides {
        side.torn |= side.host == host || side.peer() == peer;
    }
}

fn crash(world: &mut World<'_>, host: usize) {
    if world.hosts[host].stopped_until == NEVER {
        return;
    }
    tear(world, host);
    world.sides.retain(|side| side.host != host);
    world.net().on_crash(host);
    let (plan, life) = (&world.scenario.hosts[host], world.hosts[host].life + 1);
    let reborn = Host::boot(&world.net.clone(), host, plan, world.scenario.seed, life);
    world.hosts[host] = reborn;
}

/// A frame that nobody may believe.
fn forge(net: &mut Net, seed: u64) {
    let mut dice = Dice::new(seed);
    let Some((from, mut bytes)) = net.recall(dice.draw()) else { return };
    let Some((ethernet, at)) = Ethernet::parse(&bytes) else { return };
    match dice.below(3) {
        0 => bytes[at..].iter_mut().for_each(|byte| *byte = dice.draw() as u8),
        1 => change(&mut dice, &mut bytes[at..]),
        _ => {
            // A stranger may say anything, with a good checksum.
            change(&mut dice, &mut bytes[at..]);
            Ethernet { src: stranger(dice.draw()), ..ethernet }.emit(&mut bytes);
            mend(&mut bytes[at..]);
        }
    }
    net.send_again(from, &bytes);
}

/// A frame that was sent before, with bytes changed and its checksum made right.
fn tamper(net: &mut Net, seed: u64) {
    let mut dice = Dice::new(seed);
    let Some((from, mut bytes)) = net.recall(dice.draw()) else { return };
    let Some((_, at)) = Ethernet::parse(&bytes) else { return };
    change(&mut dice, &mut bytes[at..]);
    mend(&mut bytes[at..]);
    net.send_again(from, &bytes);
}

/// Changes up to four bytes of a packet.
fn change(dice: &mut Dice, packet: &mut [u8]) {
    for _ in 0..1 + dice.below(4) {
        let place = dice.below(packet.len() as u64) as usize;
        packet[place] ^= 1 + dice.below(255) as u8;
    }
}

/// An address that no host has.
fn stranger(number: u64) -> MacAddr {
    MacAddr::new(6, 6, 6, 6, (number >> 8) as u8, number as u8)
}

/// Makes a packet's checksum right, if its length lets it have one.
fn mend(packet: &mut [u8]) {
    if let Ok(header) = Header::parse(packet)
        && packet.len() >= header.end() + CRC_LEN
    {
        crc::emit(packet, header.end());
    }
}

/// Strangers that ask for connections, each from an address of its own.
fn flood(net: &mut Net, host: usize, opens: u64) {
    for index in 0..opens {
        let ethernet = Ethernet { dst: mac_of(host), src: stranger(index), vlan: None, ethertype: ETHERTYPE };
        let mut frame = vec![0; 14 + HEADER_LEN + crate::wire::open::OPEN_LEN + CRC_LEN];
        let at = ethernet.emit(&mut frame);
        let params =
            Params { mtu: 1500, streams: 8, idle_timeout_ms: 30_000, conn_credit: 100, stream_credit: 100_000 };
        let open = Open { conn: ConnId(index as u32 + 1), nonce: index, params, cookie: None };
        let length = open.emit(&mut frame[at + HEADER_LEN..]);
        let header = Header {
            kind: PacketType::Open,
            fin: false,
            trailer: false,
            seal: None,
            length: length as u16,
            conn: ConnId(0),
            number: 0,
        };
        header.emit(&mut frame[at..]);
        crc::emit(&mut frame[at..], header.end());
        let now = net.now;
        net.inject(host, now, &frame);
    }
}
