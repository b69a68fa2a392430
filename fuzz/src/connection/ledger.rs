//! Who wrote what to whom, so that what arrives can be held against it.

use std::collections::BTreeMap;

use farwire::base::{ConnId, StreamId};

/// A connection, by the host that opened it and that host's id of it.
pub type ConnName = (usize, ConnId);

/// One direction of a stream: its connection, its number, who sends.
pub type Direction = (ConnName, StreamId, usize);

/// What a direction's sender has written, and what has come out at the other end.
#[derive(Default)]
struct Flow {
    written: u64,
    fin: bool,
    delivered: u64,
    ended: bool,
    /// It need not arrive: its receiver wants no more, or its sender had finished the connection before.
    unwanted: bool,
}

/// All of it.
#[derive(Default)]
pub struct Ledger {
    flows: BTreeMap<Direction, Flow>,
    /// By responder and its own id: the initiator's name of the connection.
    names: BTreeMap<(usize, ConnId), ConnName>,
}

impl Ledger {
    /// An accept leaves `responder` for the other host.
    pub fn on_accept(&mut self, responder: usize, own: ConnId, initiators: ConnId) {
        self.names.insert((responder, own), (1 - responder, initiators));
    }

    /// The name of a connection that `host` calls `own`.
    pub fn name(&self, host: usize, own: ConnId, initiated: bool) -> ConnName {
        if initiated { (host, own) } else { self.names[&(host, own)] }
    }

    /// So much was written; the stream ends here if `fin`.
    pub fn write(&mut self, direction: Direction, len: usize, fin: bool) {
        let flow = self.flows.entry(direction).or_default();
        flow.written += len as u64;
        flow.fin |= fin;
    }

    /// Bytes written so far.
    pub fn written(&self, direction: Direction) -> u64 {
        self.flows.get(&direction).map_or(0, |flow| flow.written)
    }

    /// What was finished need not arrive.
    pub fn give_up(&mut self, direction: Direction) {
        self.flows.entry(direction).or_default().unwanted = true;
    }

    /// A segment was delivered.
    pub fn deliver(&mut self, direction: Direction, payload: &[u8], fin: bool) {
        let flow = self.flows.get_mut(&direction).expect("a stream that somebody writes");
        assert!(!flow.ended, "{direction:?}: bytes behind the end");
        let expected: Vec<u8> = (flow.delivered..).map(|at| byte_at(direction, at)).take(payload.len()).collect();
        assert_eq!(payload, expected, "{direction:?} at {}", flow.delivered);
        flow.delivered += payload.len() as u64;
        flow.ended = fin;
        assert!(flow.delivered <= flow.written, "{direction:?}: more than was written");
        assert!(!fin || (flow.fin && flow.delivered == flow.written), "{direction:?}: ends at {}", flow.delivered);
    }

    /// Everything was acknowledged: so everything is there.
    pub fn check_done(&self, direction: Direction) {
        assert!(self.flows[&direction].ended, "{direction:?}: acknowledged, and not there");
    }

    /// Directions of a connection that were finished and did not come out whole.
    pub fn unfinished(&self, name: ConnName) -> Vec<Direction> {
        let of_it = self.flows.iter().filter(|(direction, _)| direction.0 == name);
        of_it.filter(|(_, flow)| flow.fin && !flow.ended && !flow.unwanted).map(|(direction, _)| *direction).collect()
    }
}

/// The byte at an offset of a direction: others at other places, streams and hosts.
pub fn byte_at(direction: Direction, at: u64) -> u8 {
    let ((host, conn), stream, sender) = direction;
    let salt = (host as u64 * 2 + sender as u64) * 59 + u64::from(conn.0) * 13 + u64::from(stream.0) * 17;
    (at * 31 + at / 251 + salt) as u8
}
