//! The wires between the hosts: from each to each other a path with trouble of its own.

use std::collections::{BTreeMap, VecDeque};

use super::trace::Trace;
use crate::base::time::NEVER;
use crate::base::{MacAddr, Nanos};
use crate::link::impair::{Counters, Fate, Impairment, Profile};
use crate::obs::hist::Histogram;
use crate::wire::eth::Ethernet;
use crate::wire::{ETHERTYPE, Header, PacketType, pretty};

/// Frames of at least this length are kept without their middle where the world says that payloads are zeros.
const ELIDED_FROM: usize = 1024;
/// Frames that are remembered, to be replayed: longer than most connections of a scenario.
const REMEMBERED: usize = 4096;
/// What is kept of their beginning: every header.
const HEAD: usize = 64;
/// Fewer zeros than this are kept as they are.
const ZEROS_FROM: usize = 256;

/// All wires, the frames on them, and the time.
pub struct Net {
    /// The time on every wire.
    pub now: Nanos,
    /// What has happened.
    pub trace: Trace,
    paths: BTreeMap<(usize, usize), Impairment>,
    /// What is on its way to each host, by arrival; frames that are late on purpose are overtaken.
    inboxes: Vec<BTreeMap<(Nanos, u64), Packet>>,
    count: u64,
    begin_ns: Nanos,
    elides: bool,
    jammed: Vec<bool>,
    /// The highest packet number so far, by sender, receiver, and the receiver's id of the connection.
    numbers: BTreeMap<(usize, MacAddr, u32), u64>,
    /// Some of the frames that were sent, for those who send them again, if anybody will.
    seen: VecDeque<(usize, Vec<u8>)>,
    remembers: bool,
    /// How long frames waited for the wire of one path.
    watched: Option<((usize, usize), Histogram)>,
    /// What no engine and no card may do, and one did.
    blame: Option<String>,
}

/// A frame on its way.
pub struct Packet {
    bytes: Vec<u8>,
    /// Zeros that are left out between [`HEAD`] bytes of beginning and the rest.
    middle: usize,
}

/// The address of a host.
pub fn mac_of(host: usize) -> MacAddr {
    MacAddr::new(2, 0, 0, 0, (host >> 8) as u8, host as u8 + 1)
}

impl Net {
    /// Wires between so many hosts, without any trouble. The paths' clocks begin at `now`.
    pub fn new(hosts: usize, now: Nanos, elides: bool, trace: Trace) -> Net {
        let inboxes = (0..hosts).map(|_| BTreeMap::new()).collect();
        Net {
            now,
            trace,
            paths: BTreeMap::new(),
            inboxes,
            count: 0,
            begin_ns: now,
            elides,
            jammed: vec![false; hosts],
            numbers: BTreeMap::new(),
            seen: VecDeque::new(),
            remembers: false,
            watched: None,
            blame: None,
        }
    }

    /// From now on the path between these two meets this trouble; what is under way arrives as it would have.
    ///
    /// # Panics
    /// Where a profile can't be: whoever draws one draws it so that it can.
    pub fn lay(&mut self, from: usize, to: usize, profile: &Profile, seed: u64) {
        let path = Impairment::new(profile, seed).expect("a profile that can be");
        self.paths.insert((from, to), path);
    }

    /// Frames are remembered from now on, so that they can be sent again.
    pub fn remember_frames(&mut self) {
        self.remembers = true;
    }

    /// From now on measures how long frames wait for the wire of this path.
    pub fn watch(&mut self, from: usize, to: usize) {
        self.watched = Some(((from, to), Histogram::new()));
    }

    /// How long frames waited for the wire of the path that is watched.
    pub fn queued(&self) -> Option<&Histogram> {
        self.watched.as_ref().map(|(_, queued)| queued)
    }

    /// What a path has done with what came to it since it was laid.
    pub fn path(&self, from: usize, to: usize) -> Option<&Counters> {
        self.paths.get(&(from, to)).map(Impairment::counters)
    }

    /// Whether a host's interface is down: it takes no frames and lets none in.
    pub fn is_jammed(&self, host: usize) -> bool {
        self.jammed[host]
    }

    /// Takes a host's interface down, or up again.
    pub fn jam(&mut self, host: usize, jammed: bool) {
        self.jammed[host] = jammed;
    }

    /// Somebody did what must never be.
    pub fn blame(&mut self, what: String) {
        self.blame.get_or_insert(what);
    }

    /// The first of that, once.
    pub fn take_blame(&mut self) -> Option<String> {
        self.blame.take()
    }

    /// A host forgot everything: its connections' packet numbers may begin anew.
    pub fn on_crash(&mut self, host: usize) {
        self.numbers.retain(|(from, to, _), _| *from != host && *to != mac_of(host));
    }

    /// One of the frames of the last while, with its sender; the dice's `place` picks it.
    pub fn recall(&self, place: u64) -> Option<(usize, Vec<u8>)> {
        let index = (place as usize).checked_rem(self.seen.len())?;
        self.seen.get(index).cloned()
    }

    /// When the next frame for a host arrives.
    pub fn next(&self, host: usize) -> Nanos {
        self.inboxes[host].first_key_value().map_or(NEVER, |((at, _), _)| *at)
    }

    /// The next frame that has arrived at a host.
    pub fn take(&mut self, host: usize) -> Option<Packet> {
        if self.next(host) > self.now {
            return None;
        }
        self.inboxes[host].pop_first().map(|(_, packet)| packet)
    }

    /// A host sends: to whom the frame says, or to everybody else.
    pub fn send(&mut self, from: usize, bytes: &[u8]) {
        let Some((ethernet, at)) = Ethernet::parse(bytes) else { return };
        self.check_number(from, ethernet.dst, &bytes[at..]);
        if self.remembers {
            self.remember(from, bytes);
        }
        for to in 0..self.inboxes.len() {
            if to != from && (ethernet.dst == mac_of(to) || ethernet.dst.is_broadcast()) {
                self.carry(from, to, bytes);
            }
        }
    }

    /// A frame that was sent before is sent again by somebody in the middle, changed or not.
    pub fn send_again(&mut self, from: usize, bytes: &[u8]) {
        let Some((ethernet, _)) = Ethernet::parse(bytes) else { return };
        for to in 0..self.inboxes.len() {
            if to != from && ethernet.dst == mac_of(to) {
                let now = self.now;
                self.inject(to, now, bytes);
            }
        }
    }

    /// Something that no host sent arrives at one at `at`, as if it came from there.
    pub fn inject(&mut self, to: usize, at: Nanos, bytes: &[u8]) {
        self.trace.note(self.now, &[9, to as u64, at, bytes.len() as u64], || {
            format!("injected for host {to}: {}", pretty::frame(bytes, ETHERTYPE))
        });
        self.put(to, at.max(self.now), bytes);
    }

    /// A packet number only rises, whatever is sent again.
    fn check_number(&mut self, from: usize, to: MacAddr, packet: &[u8]) {
        let Ok(header) = Header::parse(packet) else {
            return self.blame(format!("host {from} sent what is no packet"));
        };
        // Of what is sealed, each packet has a nonce of its own.
        if !header.has_tag() && !matches!(header.kind, PacketType::Data | PacketType::Control) {
            return;
        }
        match self.numbers.insert((from, to, header.conn.0), header.number) {
            Some(before) if before >= header.number => {
                let conn = header.conn.0;
                self.blame(format!("host {from} sent #{} after #{before} on {conn:#010x}", header.number));
            }
            _ => {}
        }
    }

    fn remember(&mut self, from: usize, bytes: &[u8]) {
        self.seen.push_back((from, bytes.to_vec()));
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
    }

    fn carry(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let (now, since) = (self.now, self.now - self.begin_ns);
        let fate = match self.paths.get_mut(&(from, to)) {
            Some(path) => path.on_frame(since, bytes.len()),
            None => return,
        };
        let ends = [from as u64, to as u64, bytes.len() as u64];
        let words = |fate: &str| format!("{from} > {to} {fate}: {}", pretty::frame(bytes, ETHERTYPE));
        match fate {
            Fate::Dropped(cause) => {
                self.trace.note(now, &[1, ends[0], ends[1], ends[2], cause as u64], || {
                    words(&format!("dropped ({cause:?})"))
                });
            }
            Fate::Passed(delivery) => {
                let at = self.begin_ns + delivery.at_ns;
                if let Some((_, queued)) = self.watched.as_mut().filter(|(path, _)| *path == (from, to)) {
                    queued.record(delivery.queued_ns);
                }
                let corrupt = delivery.corrupt_bit.map_or(0, |bit| u64::from(bit) + 1);
                self.trace.note(now, &[2, ends[0], ends[1], ends[2], at, corrupt, head_of(bytes)], || {
                    words(&format!("arrives {:.9}{}", at as f64 / 1e9, if corrupt > 0 { " broken" } else { "" }))
                });
                if let Some(copy_ns) = delivery.copy_at_ns {
                    self.put(to, self.begin_ns + copy_ns, bytes);
                }
                match delivery.corrupt_bit {
                    None => self.put(to, at, bytes),
                    Some(bit) => {
                        let mut broken = bytes.to_vec();
                        broken[bit as usize / 8] ^= 1 << (bit % 8);
                        self.put(to, at, &broken);
                    }
                }
            }
        }
    }

    fn put(&mut self, to: usize, at: Nanos, bytes: &[u8]) {
        self.count += 1;
        let packet = Packet::of(bytes, self.elides);
        self.inboxes[to].insert((at, self.count), packet);
    }
}

/// What tells most frames apart, as one fact.
fn head_of(bytes: &[u8]) -> u64 {
    let words = bytes[..bytes.len().min(HEAD)].chunks(8);
    words.fold(0, |all, word| {
        let mut eight = [0; 8];
        eight[..word.len()].copy_from_slice(word);
        (all ^ u64::from_le_bytes(eight)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    })
}

impl Packet {
    fn of(bytes: &[u8], elides: bool) -> Packet {
        if elides && bytes.len() >= ELIDED_FROM {
            let zeros = bytes[HEAD..].iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - HEAD);
            if zeros >= ZEROS_FROM {
                return Packet { bytes: [&bytes[..HEAD], &bytes[HEAD + zeros..]].concat(), middle: zeros };
            }
        }
        Packet { bytes: bytes.to_vec(), middle: 0 }
    }

    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.middle
    }

    /// Writes the frame to the front of `room`, which is long enough.
    pub fn write(&self, room: &mut [u8]) {
        if self.middle == 0 {
            room[..self.bytes.len()].copy_from_slice(&self.bytes);
            return;
        }
        let (head, tail) = self.bytes.split_at(HEAD);
        room[..HEAD].copy_from_slice(head);
        room[HEAD..HEAD + self.middle].fill(0);
        room[HEAD + self.middle..self.len()].copy_from_slice(tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_comes_back() {
        for (len, at) in [(60, 10), (1024, 0), (1024, 63), (1024, 64), (1514, 1513), (9000, 8999), (9000, 500)] {
            let mut bytes = vec![0; len];
            bytes[at] = 7;
            let packet = Packet::of(&bytes, true);
            let mut room = vec![0xEE; len + 3];
            packet.write(&mut room);
            assert!(packet.len() == len && room[..len] == bytes, "{len} {at}");
        }
        assert!(Packet::of(&[0; 9000], true).bytes.len() == HEAD);
    }
}
