//! What the transport knows of each frame in its care, indexed by frame id: two flat tables, no allocation per packet.

use crate::base::FrameId;

/// No frame: ends a chain.
pub const NO_FRAME: u32 = u32::MAX;

/// A segment to be sent, or sent and not yet acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct TxSegment {
    /// Where its payload begins in the stream.
    pub offset: u64,
    /// The packet number it first left under: ACKs of lower ones belong to the frame's former content.
    pub first_number: u64,
    /// The packet number it last left under.
    pub number: u64,
    /// Slot of its stream in the connection.
    pub stream: u32,
    /// Payload bytes.
    pub len: u16,
    /// The stream ends with it.
    pub fin: bool,
    /// Where it is.
    pub state: TxState,
}

/// Where a segment to be sent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxState {
    /// Not the transport's.
    Free,
    /// In its stream's queue, never sent.
    Queued,
    /// Sent; its packet is in flight.
    InFlight,
    /// Its packet was lost; in the retransmission queue.
    Lost,
}

/// A received segment that waits for earlier bytes.
#[derive(Clone, Copy, Debug)]
pub struct RxSegment {
    /// The next segment of the same run, or [`NO_FRAME`].
    pub next: u32,
    /// Payload bytes.
    pub len: u16,
    /// The stream ends with it.
    pub fin: bool,
}

/// Both tables of one endpoint.
#[derive(Debug)]
pub struct SegmentTable {
    tx: Vec<TxSegment>,
    rx: Vec<RxSegment>,
}

impl SegmentTable {
    /// Tables for a pool of `frames`.
    pub fn new(frames: usize) -> SegmentTable {
        let tx =
            TxSegment { offset: 0, first_number: 0, number: 0, stream: 0, len: 0, fin: false, state: TxState::Free };
        let rx = RxSegment { next: NO_FRAME, len: 0, fin: false };
        SegmentTable { tx: vec![tx; frames], rx: vec![rx; frames] }
    }

    /// What both take.
    pub fn memory_bytes(&self) -> usize {
        self.tx.capacity() * size_of::<TxSegment>() + self.rx.capacity() * size_of::<RxSegment>()
    }

    /// The segment to be sent in `frame`.
    pub fn tx(&mut self, frame: FrameId) -> &mut TxSegment {
        &mut self.tx[frame.0 as usize]
    }

    /// Frees the frames of sent segments of these streams (sorted slots). Looks at every frame of the pool, which is
    /// right for the end of a connection and nothing else.
    pub fn release_sent(&mut self, streams: &[u32], released: &mut Vec<FrameId>) {
        for (frame, segment) in self.tx.iter_mut().enumerate() {
            let sent = matches!(segment.state, TxState::InFlight | TxState::Lost);
            if sent && streams.binary_search(&segment.stream).is_ok() {
                segment.state = TxState::Free;
                released.push(FrameId(frame as u32));
            }
        }
    }

    /// Segments to be sent or to be acknowledged.
    pub fn in_use(&self) -> usize {
        self.tx.iter().filter(|segment| segment.state != TxState::Free).count()
    }

    /// The held segment in `frame`.
    pub fn rx(&mut self, frame: FrameId) -> &mut RxSegment {
        &mut self.rx[frame.0 as usize]
    }
}
