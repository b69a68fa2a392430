//! The programs at the ends of streams, and what they tell each other. A writer's first two bytes say which writer it
//! is; all that follows depends on that, so bytes at a wrong place or of another stream are seen.

use std::sync::atomic::Ordering;

use farwire::base::StreamId;
use farwire::engine::port::{Commit, RecvPort, SendPort};

/// What one writer has written, and what of it has been read.
pub struct Flow {
    host: usize,
    stream: StreamId,
    pub written: u64,
    pub finished: bool,
    pub read: u64,
    pub ended: bool,
    claimed: bool,
    /// It need not arrive.
    pub unwanted: bool,
}

/// All flows, and the streams whose readers went before they knew whose they were.
#[derive(Default)]
pub struct Flows {
    pub all: Vec<Flow>,
    left: Vec<(usize, StreamId)>,
}

impl Flows {
    /// Flows that were finished, and did not arrive though they should have.
    pub fn missing(&self) -> Vec<String> {
        let due = |flow: &&Flow| flow.finished && !flow.unwanted && !self.left.contains(&(flow.host, flow.stream));
        let missing = self.all.iter().filter(due).filter(|flow| !flow.ended || flow.read != flow.written);
        missing
            .map(|flow| format!("{:?} of host {}: {} of {}", flow.stream, flow.host, flow.read, flow.written))
            .collect()
    }
}

/// Writes one direction.
pub struct Writer {
    pub port: SendPort,
    pub flow: usize,
}

/// Reads one direction.
pub struct Reader {
    stream: StreamId,
    /// The host that writes.
    from: usize,
    pub port: RecvPort,
    flow: Option<usize>,
    head: Vec<u8>,
}

impl Writer {
    pub fn new(host: usize, stream: StreamId, port: SendPort, flows: &mut Flows) -> Writer {
        let flow = flows.all.len();
        let fresh =
            Flow { host, stream, written: 0, finished: false, read: 0, ended: false, claimed: false, unwanted: false };
        flows.all.push(fresh);
        Writer { port, flow }
    }

    /// Writes up to so many bytes, as far as there are frames, and the end if it is wanted and there was room for all.
    pub fn write(&mut self, mut len: usize, fin: bool, now: u64, flows: &mut Flows) {
        let flow = &mut flows.all[self.flow];
        let port = &mut self.port;
        let rings = len > 0 || (fin && !flow.finished);
        while len > 0 && !flow.finished {
            let Ok(mut frame) = port.grants.pop() else {
                port.shared.wanted.store(64, Ordering::Release);
                break;
            };
            let count = len.min(port.max_payload);
            let room = &mut frame.room_mut()[port.payload_offset..port.payload_offset + count];
            room.iter_mut().zip(flow.written..).for_each(|(byte, at)| *byte = byte_at(self.flow, at));
            let commit = Commit { frame: Some(frame), len: count, fin: false, at_ns: now };
            port.commits.push(commit).expect("as many commits as grants fit");
            flow.written += count as u64;
            len -= count;
        }
        if fin && len == 0 && !flow.finished {
            let commit = Commit { frame: None, len: 0, fin: true, at_ns: now };
            flow.finished = port.commits.push(commit).is_ok();
        }
        if rings {
            port.notify();
        }
    }

    /// Nothing more can come of it.
    pub fn is_over(&self, flows: &Flows) -> bool {
        let acked = self.port.shared.all_acked.load(Ordering::Acquire);
        assert!(!acked || flows.all[self.flow].finished, "all is acknowledged, and the end was never written");
        acked || self.port.shared.send_error.get().is_some()
    }
}

impl Reader {
    pub fn new(host: usize, stream: StreamId, port: RecvPort) -> Reader {
        Reader { stream, from: 1 - host, port, flow: None, head: Vec::new() }
    }

    /// Reads up to so many segments. `honest`: nobody but the writer has made them. True at the end, or where no more
    /// will come.
    pub fn read(&mut self, most: usize, honest: bool, flows: &mut Flows) -> bool {
        let over = self.port.shared.recv_error.get().is_some();
        let (mut read, mut ended) = (0, false);
        while read < most
            && !ended
            && let Ok(message) = self.port.messages.pop()
        {
            read += 1;
            ended = message.fin;
            if let Some(frame) = message.frame {
                if honest {
                    self.check(&frame.bytes()[message.payload.clone()], flows);
                }
                self.port.returns.give(frame);
            }
        }
        if read > 0 {
            self.port.notify();
        }
        if ended && honest {
            self.end(flows);
        }
        ended || (over && read < most)
    }

    fn end(&mut self, flows: &mut Flows) {
        let Some(flow) = self.flow else {
            // A writer that wrote nothing at all, or next to it; which one, nobody knows.
            return flows.left.push((self.from, self.stream));
        };
        let flow = &mut flows.all[flow];
        flow.ended = true;
        assert!(flow.finished && flow.read == flow.written, "{:?} ends at {}", self.stream, flow.read);
    }

    /// The program has had enough.
    pub fn leave(self, flows: &mut Flows) {
        match self.flow {
            Some(flow) => flows.all[flow].unwanted = true,
            None => flows.left.push((self.from, self.stream)),
        }
    }

    fn check(&mut self, mut bytes: &[u8], flows: &mut Flows) {
        while self.flow.is_none() {
            let Some((&first, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.head.push(first);
            if let [high, low] = self.head[..] {
                let index = usize::from(high) << 8 | usize::from(low);
                let flow = flows.all.get_mut(index).expect("a flow that somebody writes");
                assert!((flow.host, flow.stream) == (self.from, self.stream), "{index} is another stream");
                assert!(!std::mem::replace(&mut flow.claimed, true), "{index} comes out twice");
                flow.read = 2;
                self.flow = Some(index);
            }
        }
        let Some(index) = self.flow else { return };
        let flow = &mut flows.all[index];
        for (byte, at) in bytes.iter().zip(flow.read..) {
            assert_eq!(*byte, byte_at(index, at), "flow {index} at {at}");
        }
        flow.read += bytes.len() as u64;
        assert!(flow.read <= flow.written, "flow {index}: more than was written");
    }
}

/// The byte at an offset of a flow.
fn byte_at(flow: usize, at: u64) -> u8 {
    match at {
        0 => (flow >> 8) as u8,
        1 => flow as u8,
        _ => (at * 31 + at / 251 + flow as u64 * 17) as u8,
    }
}
