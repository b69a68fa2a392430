//! One endpoint with what an engine and a program do around it.

use std::collections::{BTreeMap, VecDeque};

use farwire::base::{ConnId, FrameId, MacAddr, Nanos, StreamId};
use farwire::proto::config::Config;
use farwire::proto::error::CloseReason;
use farwire::proto::stream::send::Written;
use farwire::proto::{Content, Delivery, Endpoint, Event, Transmit, Verdict};
use farwire::wire::header::split_data;
use farwire::wire::{Accept, ETHERNET_LEN, PacketType};

use super::ledger::{ConnName, Direction, Ledger, byte_at};
use super::packet::Flying;
use super::pool::{Place, Pool};

/// Frames that are neither lent nor for the program to write into: one for what arrives, the others for good measure.
const SPARE: usize = 4;

/// A connection as its program sees it.
pub struct Conn {
    pub id: ConnId,
    pub name: ConnName,
    /// The program has said that it is done.
    finished: bool,
}

/// A stream as its program sees it.
pub struct End {
    pub conn: u32,
    pub id: StreamId,
    conn_id: ConnId,
    pub sends: Direction,
    receives: Direction,
    /// The program may write.
    pub open: bool,
    unread: Unread,
}

/// Segments that were delivered and not read: frame and length.
type Unread = VecDeque<(FrameId, usize)>;
/// A stream as its segments are given back: its connection, the slot that it has or had, its number.
type Former = (ConnId, (u32, StreamId));

/// The host.
pub struct Host {
    index: usize,
    pub mac: MacAddr,
    pub endpoint: Endpoint,
    pub pool: Pool,
    lendable: usize,
    pub conns: BTreeMap<u32, Conn>,
    /// By the transport's slot.
    pub ends: BTreeMap<u32, End>,
    /// What the program has not read of streams that are gone.
    left: Vec<(Former, Unread)>,
    pub reasons: Vec<(ConnName, CloseReason)>,
    /// The link keeps what it sends until it is told otherwise.
    pub holds: bool,
    numbers: BTreeMap<ConnId, u64>,
    body: Vec<u8>,
}

impl Host {
    pub fn new(index: usize, config: Config, frames: usize, mtu: usize) -> Host {
        let mac = MacAddr::new(2, 0, 0, 0, 0, index as u8 + 1);
        let lendable = frames / 2;
        Host {
            index,
            mac,
            endpoint: Endpoint::new(config, mac, mtu, (frames, lendable), [index as u8 + 1; 32]),
            pool: Pool::new(frames),
            lendable,
            conns: BTreeMap::new(),
            ends: BTreeMap::new(),
            left: Vec::new(),
            reasons: Vec::new(),
            holds: false,
            numbers: BTreeMap::new(),
            body: vec![0; mtu + ETHERNET_LEN],
        }
    }

    /// Opens a stream, if the peer lets us.
    pub fn open_stream(&mut self, now: Nanos, conn: u32) {
        if let Some(slot) = self.endpoint.open_stream(now, conn)
            && let Some((id, _)) = self.endpoint.stream(slot)
        {
            self.add_end(conn, slot, id);
        }
    }

    /// The program writes a segment, if it has a frame for it.
    pub fn write(&mut self, slot: u32, len: usize, fin: bool, ledger: &mut Ledger) {
        let most = self.lendable - SPARE;
        let Some(end) = self.ends.get_mut(&slot).filter(|end| end.open) else { return };
        let len = len.min(self.endpoint.max_payload(end.conn));
        if self.pool.count(Place::Written) >= most || (len == 0 && !fin) {
            return;
        }
        let Some(frame) = self.pool.find() else { return };
        let written = self.endpoint.on_write(slot, (frame, len, fin));
        if written == Written::Refused {
            return;
        }
        let from = ledger.written(end.sends);
        let bytes = (from..from + len as u64).map(|at| byte_at(end.sends, at));
        if let Written::Coalesce { into, at } = written {
            assert!(!self.pool.in_link()[into.0 as usize], "bytes are appended to what the link has");
            let payload = self.pool.payload_mut(into);
            payload.truncate(at);
            payload.extend(bytes);
        } else {
            self.pool.put(frame, Place::Free, Place::Written);
            *self.pool.payload_mut(frame) = bytes.collect();
        }
        ledger.write(end.sends, len, fin);
        end.open = !fin;
    }

    /// The program is done with a connection: nobody promises what it writes on streams that the peer opens later.
    pub fn finish(&mut self, now: Nanos, conn: u32) {
        self.conns.get_mut(&conn).expect("a connection").finished = true;
        self.endpoint.finish(now, conn);
    }

    /// The program wants no more of a stream.
    pub fn stop(&mut self, now: Nanos, slot: u32, ledger: &mut Ledger) {
        ledger.give_up(self.ends[&slot].receives);
        self.endpoint.stop_stream(now, slot, 8);
    }

    /// The program reads up to so many segments of a stream.
    pub fn read(&mut self, now: Nanos, slot: u32, most: usize) {
        let Some(end) = self.ends.get_mut(&slot) else { return };
        let most = most.min(end.unread.len());
        let read = end.unread.drain(..most).collect();
        let from = (end.conn_id, (slot, end.id));
        self.consume(now, from, read);
    }

    /// The program reads everything.
    pub fn read_all(&mut self, now: Nanos) {
        let slots: Vec<u32> = self.ends.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.read(now, slot, usize::MAX));
        for (former, unread) in std::mem::take(&mut self.left) {
            self.consume(now, former, unread);
        }
    }

    fn consume(&mut self, now: Nanos, from: Former, read: Unread) {
        let (conn, stream) = from;
        let bytes: usize = read.iter().map(|(_, len)| len).sum();
        if !read.is_empty() {
            self.endpoint.on_consumed(now, conn, stream, read.len() as u64, bytes as u64);
        }
        read.into_iter().for_each(|(frame, _)| self.pool.put(frame, Place::Lent, Place::Free));
    }

    /// What the transport wants sent, up to so many packets, and to whom.
    pub fn transmit(&mut self, now: Nanos, most: usize, ledger: &mut Ledger) -> Vec<(MacAddr, Flying)> {
        let mut out = Vec::new();
        for _ in 0..most {
            let in_link = self.pool.in_link();
            let busy = |frame: FrameId| in_link[frame.0 as usize];
            let Some(transmit) = self.endpoint.poll_transmit(now, &busy, &mut self.body) else { break };
            out.push((transmit.dst, self.emit(&transmit, ledger)));
            self.drain(ledger);
        }
        self.endpoint.next_connection();
        out
    }

    /// A packet arrived; perhaps an answer leaves at once.
    pub fn receive(&mut self, now: Nanos, flying: &Flying, ledger: &mut Ledger) -> Option<(MacAddr, Flying)> {
        let frame = self.pool.find().expect("as many frames as windows were lent, and one more");
        let packet = flying.packet(frame);
        let verdict = self.endpoint.on_packet(now, &packet);
        if verdict == Verdict::Kept {
            self.pool.put(frame, Place::Free, Place::Arrived);
            let (_, payload, _) = split_data(packet.body, packet.header.trailer).expect("it was parsed before");
            *self.pool.payload_mut(frame) = packet.body[payload].to_vec();
        }
        self.drain(ledger);
        match verdict {
            Verdict::Echo(transmit) => Some((transmit.dst, self.emit(&transmit, ledger))),
            _ => None,
        }
    }

    fn emit(&mut self, transmit: &Transmit, ledger: &mut Ledger) -> Flying {
        let header = &transmit.header;
        let mut payload = &[][..];
        if let Content::Segment { frame, .. } = transmit.content {
            self.pool.send(frame, self.holds);
            payload = self.pool.payload(frame);
        }
        let numbered = [PacketType::Data, PacketType::Control, PacketType::Ping, PacketType::Pong];
        if numbered.contains(&header.kind) {
            let before = self.numbers.insert(header.conn, header.number);
            assert!(before < Some(header.number), "packet number {} again: {header:?}", header.number);
        }
        if header.kind == PacketType::Accept {
            let accept = Accept::parse(&self.body[..usize::from(header.length)]).expect("an accept of our own");
            ledger.on_accept(self.index, accept.conn, header.conn);
            self.numbers.remove(&header.conn);
        }
        Flying::new(self.mac, transmit, &self.body, payload)
    }

    /// Takes what the transport has to tell.
    pub fn drain(&mut self, ledger: &mut Ledger) {
        loop {
            let out = self.endpoint.output();
            if let Some(event) = out.events.pop_front() {
                self.on_event(event, ledger);
            } else if let Some(frame) = out.released.pop() {
                self.pool.release(frame);
            } else {
                break;
            }
        }
        let held = self.pool.count(Place::Arrived) + self.pool.count(Place::Lent);
        assert!(held <= self.lendable, "{held} received segments, {} frames to lend", self.lendable);
    }

    fn on_event(&mut self, event: Event, ledger: &mut Ledger) {
        match event {
            Event::Deliver(delivery) => self.deliver(delivery, ledger),
            Event::Connected { conn } => self.add_conn(conn, true, ledger),
            Event::Incoming { conn } => self.add_conn(conn, false, ledger),
            Event::StreamOpened { conn, stream, id } => {
                self.add_end(conn, stream, id);
                if self.conns[&conn].finished {
                    ledger.give_up(self.ends[&stream].sends);
                }
            }
            Event::SendDone { stream } => ledger.check_done(self.ends[&stream].sends),
            Event::SendFailed { stream, .. } => self.ends.get_mut(&stream).expect("a stream").open = false,
            Event::StreamGone { stream } => {
                let end = self.ends.remove(&stream).expect("a stream that goes was there");
                self.left.push(((end.conn_id, (stream, end.id)), end.unread));
            }
            Event::Closed { conn, reason } => {
                assert!(!self.ends.values().any(|end| end.conn == conn), "a stream outlives its connection");
                if let Some(conn) = self.conns.remove(&conn) {
                    self.reasons.push((conn.name, reason));
                }
            }
            Event::ConnectFailed { .. } | Event::RecvFailed { .. } | Event::PeerFinished { .. } => {}
            Event::StreamsAllowed { .. } | Event::PingDone { .. } | Event::Found(_) => {}
        }
    }

    fn deliver(&mut self, delivery: Delivery, ledger: &mut Ledger) {
        let Delivery { stream, frame, len, fin } = delivery;
        self.pool.put(frame, Place::Arrived, Place::Lent);
        let end = self.ends.get_mut(&stream).expect("a stream that is delivered to is there");
        assert_eq!(self.pool.payload(frame).len(), usize::from(len));
        ledger.deliver(end.receives, self.pool.payload(frame), fin);
        end.unread.push_back((frame, usize::from(len)));
    }

    fn add_conn(&mut self, conn: u32, initiated: bool, ledger: &Ledger) {
        let (id, _) = self.endpoint.peer(conn).expect("a connection that was just opened");
        let before =
            self.conns.insert(conn, Conn { id, name: ledger.name(self.index, id, initiated), finished: false });
        assert!(before.is_none(), "a slot is given out twice");
    }

    fn add_end(&mut self, conn: u32, slot: u32, id: StreamId) {
        let Conn { id: conn_id, name, .. } = self.conns[&conn];
        let (sends, receives) = ((name, id, self.index), (name, id, 1 - self.index));
        let end = End { conn, id, conn_id, sends, receives, open: true, unread: VecDeque::new() };
        assert!(self.ends.insert(slot, end).is_none(), "a stream's slot is given out twice");
    }
}
