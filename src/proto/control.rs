//! Control items that wait to be sent, and what each sent control packet carried, so that a loss brings them back.

use std::collections::VecDeque;

/// Connection-wide items that wait to be sent.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PendingControl {
    /// A new connection credit.
    pub conn_credit: bool,
    /// A new limit of streams.
    pub streams_limit: bool,
    /// Our finish.
    pub finish: bool,
    /// Something to be acknowledged, whatever it is.
    pub probe: bool,
}

impl PendingControl {
    /// Anything at all?
    pub fn any(&self) -> bool {
        *self != PendingControl::default()
    }
}

/// One stream's item in a sent control packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamItem {
    /// The stream's slot.
    pub stream: u32,
    /// The stream's number, since the slot may have been used anew.
    pub id: u32,
    /// Which item.
    pub kind: StreamItemKind,
}

/// Which item of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamItemKind {
    /// Credit.
    Credit,
    /// Our reset, with its code.
    Reset(u32),
    /// Our stop, with its code.
    Stop(u32),
}

/// What one control packet carried.
#[derive(Clone, Default, Debug)]
pub struct Record {
    /// Connection-wide items.
    pub conn: PendingControl,
    /// Stream items.
    pub streams: Vec<StreamItem>,
}

/// The records of the control packets in flight, by index, and the streams that have items to send.
#[derive(Debug, Default)]
pub struct ControlBook {
    records: Vec<Record>,
    free: Vec<u32>,
    /// Stream items in them.
    items: usize,
    /// Streams with items to send; each is in it at most once (its `pending.listed`).
    pub streams: VecDeque<u32>,
    /// Connection-wide items to send.
    pub pending: PendingControl,
}

impl ControlBook {
    /// Keeps a record until its packet is acknowledged or lost; tells its index.
    pub fn keep(&mut self, record: Record) -> u32 {
        self.items += record.streams.len();
        match self.free.pop() {
            Some(index) => {
                self.records[index as usize] = record;
                index
            }
            None => {
                self.records.push(record);
                (self.records.len() - 1) as u32
            }
        }
    }

    /// The record of a packet that was acknowledged or lost; its index is free again.
    pub fn take(&mut self, index: u32) -> Record {
        let Some(record) = self.records.get_mut(index as usize) else { return Record::default() };
        self.free.push(index);
        self.items -= record.streams.len();
        std::mem::take(record)
    }

    /// Records that are kept, and the items in them.
    pub fn in_flight(&self) -> usize {
        self.records.len() - self.free.len() + self.items
    }

    /// Something waits to be sent.
    pub fn any(&self) -> bool {
        self.pending.any() || !self.streams.is_empty()
    }
}
