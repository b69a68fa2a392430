//! Deficit round robin between the streams of a connection: every stream that has something to send gets the same
//! share of bytes, whatever the size of its segments.

use std::collections::VecDeque;

use slab::Slab;

use super::stream::Stream;

/// Full segments that a stream may send per round. Less makes streams alternate packet by packet, which costs cache
/// misses; more makes short answers wait longer behind bulk streams. Below one, a debt would grow with every packet.
const QUANTUM_SEGMENTS: usize = 4;

/// The streams that may have something to send, in turn.
#[derive(Debug)]
pub struct Scheduler {
    ring: VecDeque<u32>,
    quantum_bytes: i64,
}

impl Scheduler {
    /// For streams whose full segments have `max_payload` bytes.
    pub fn new(max_payload: usize) -> Scheduler {
        Scheduler { ring: VecDeque::new(), quantum_bytes: (QUANTUM_SEGMENTS * max_payload) as i64 }
    }

    /// The stream may have something to send.
    pub fn add(&mut self, slot: u32, stream: &mut Stream) {
        if !stream.send.scheduled {
            stream.send.scheduled = true;
            stream.send.deficit = self.quantum_bytes;
            self.ring.push_back(slot);
        }
    }

    /// The stream whose turn it is.
    pub fn current(&self) -> Option<u32> {
        self.ring.front().copied()
    }

    /// The current stream sent `bytes`.
    pub fn on_sent(&mut self, streams: &mut Slab<Stream>, bytes: usize) {
        let Some(slot) = self.current() else { return };
        let Some(stream) = streams.get_mut(slot as usize) else { return };
        stream.send.deficit -= bytes as i64;
        if stream.send.deficit <= 0 {
            stream.send.deficit += self.quantum_bytes;
            self.ring.rotate_left(1);
        }
    }

    /// The current stream has nothing that it may send.
    pub fn drop_current(&mut self, streams: &mut Slab<Stream>) {
        if let Some(slot) = self.ring.pop_front()
            && let Some(stream) = streams.get_mut(slot as usize)
        {
            stream.send.scheduled = false;
        }
    }

    /// The stream is gone.
    pub fn remove(&mut self, slot: u32) {
        self.ring.retain(|&other| other != slot);
    }

    /// All streams are gone.
    pub fn clear(&mut self) {
        self.ring.clear();
    }

    /// Nobody has anything to send.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StreamId;
    use crate::proto::stream::{RecvHalf, SendHalf};

    fn streams(count: usize) -> Slab<Stream> {
        let mut slab = Slab::new();
        for index in 0..count {
            slab.insert(Stream {
                id: StreamId(index as u32),
                conn: 0,
                send: SendHalf::new(0),
                recv: RecvHalf::new(0),
                pending: Default::default(),
            });
        }
        slab
    }

    #[test]
    fn bytes_are_shared_fairly_whatever_the_segment_size() {
        for max_payload in [1464, 8964] {
            let mut streams = streams(3);
            let mut sched = Scheduler::new(max_payload);
            for slot in 0..3 {
                sched.add(slot, &mut streams[slot as usize]);
            }
            let segment = [max_payload, 100, 700];
            let mut sent = [0usize; 3];
            for _ in 0..20_000 {
                let slot = sched.current().unwrap() as usize;
                sent[slot] += segment[slot];
                sched.on_sent(&mut streams, segment[slot]);
            }
            let (low, high) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
            assert!((*high - *low) < 2 * QUANTUM_SEGMENTS * max_payload, "{sent:?}");
        }
    }

    #[test]
    fn a_stream_is_listed_once() {
        let mut streams = streams(1);
        let mut sched = Scheduler::new(1464);
        sched.add(0, &mut streams[0]);
        sched.add(0, &mut streams[0]);
        sched.drop_current(&mut streams);
        assert!(sched.is_empty());
    }
}
