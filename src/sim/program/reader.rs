//! Reads one direction of a stream, and holds what comes against what was written.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::{CODE, KEY_LEN, Look, ReadPlan, StreamKey, WritePlan};
use crate::base::Nanos;
use crate::engine::port::RecvPort;
use crate::link::Frame;
use crate::proto::error::StreamError;

/// The reader.
pub struct Reader {
    port: RecvPort,
    /// What is read, once that is known.
    stream: Option<(StreamKey, WritePlan, ReadPlan)>,
    /// Of its first bytes, those that have come.
    head: Vec<u8>,
    /// When it looks again.
    pub next_ns: Nanos,
    at: u64,
    kept: VecDeque<Frame>,
    scratch: Vec<u8>,
    /// The only stream that this may be, if that is known.
    expected: Option<StreamKey>,
    /// Bytes that were checked, and not yet asked for.
    checked: u64,
}

impl Reader {
    /// A reader that does not know yet what it reads; `expected` is the only stream that it may be.
    pub fn new(port: RecvPort, expected: Option<StreamKey>) -> Reader {
        let (head, kept, scratch) = (Vec::new(), VecDeque::new(), Vec::new());
        Reader { port, stream: None, head, next_ns: 0, at: 0, kept, scratch, expected, checked: 0 }
    }

    /// Bytes that were held against what was written since this was asked last.
    pub fn take_checked(&mut self) -> u64 {
        std::mem::take(&mut self.checked)
    }

    /// What it reads, as far as that is known.
    pub fn key(&self) -> Option<StreamKey> {
        self.stream.as_ref().map(|(key, _, _)| *key)
    }

    /// One look. `torn`: the connection may end at any time. `plan` tells what is written under a key.
    ///
    /// # Errors
    /// What it saw and must not see.
    pub fn act(
        &mut self,
        now: Nanos,
        torn: bool,
        plan: &dyn Fn(StreamKey) -> Option<WritePlan>,
    ) -> Result<Look, String> {
        if now < self.next_ns {
            return Ok(Look::More);
        }
        let error = self.port.shared.recv_error.get().cloned();
        let (burst, keeps) = self.stream.as_ref().map_or((1, 0), |(_, _, reads)| (reads.burst, reads.keeps));
        let mut read = 0;
        while read < burst {
            if self.is_sated() {
                self.port.shared.drop_code.store(CODE, Ordering::Release);
                return Ok(Look::Over);
            }
            let Ok(message) = self.port.messages.pop() else { break };
            read += 1;
            if let Some(frame) = message.frame {
                let checked = self.check(&frame.bytes()[message.payload], plan);
                self.kept.push_back(frame);
                checked?;
            }
            if message.fin {
                return self.on_end();
            }
            if self.kept.len() > keeps {
                self.give_back();
            }
        }
        if read > 0 {
            self.port.notify();
            self.next_ns = now + self.stream.as_ref().map_or(0, |(_, _, reads)| reads.pause_ns);
            return Ok(Look::More);
        }
        if !self.kept.is_empty() {
            // Who keeps all that the window holds waits for himself.
            self.give_back();
            self.port.notify();
            return Ok(Look::More);
        }
        match error {
            None => Ok(Look::More),
            Some(_) if torn => Ok(Look::Over),
            Some(StreamError::Reset(CODE)) if self.may_be_cut() => Ok(Look::Over),
            Some(error) => Err(format!("{self}: {error}")),
        }
    }

    fn is_sated(&self) -> bool {
        self.stream.as_ref().is_some_and(|(_, _, reads)| reads.stop.is_some_and(|stop| self.at >= stop))
    }

    /// A stream that was cut before its first bytes came may have been any.
    fn may_be_cut(&self) -> bool {
        self.stream.as_ref().is_none_or(|(_, writes, _)| writes.cut.is_some())
    }

    fn check(&mut self, bytes: &[u8], plan: &dyn Fn(StreamKey) -> Option<WritePlan>) -> Result<(), String> {
        let missing = (KEY_LEN as usize - self.head.len()).min(bytes.len());
        if self.stream.is_none() {
            self.head.extend(&bytes[..missing]);
        }
        if let (None, Ok(head)) = (&self.stream, <[u8; KEY_LEN as usize]>::try_from(&self.head[..])) {
            let known = StreamKey::parse(head).and_then(|key| Some((key, plan(key)?)));
            let Some((key, writes)) = known else { return Err(format!("{self}: it begins with {head:?}")) };
            if self.expected.is_some_and(|expected| expected != key) {
                return Err(format!("{self}: {key:?} came where {:?} was expected", self.expected));
            }
            let reads = ReadPlan::draw(&writes);
            self.stream = Some((key, writes, reads));
        }
        let before = self.at;
        self.at += bytes.len() as u64;
        let Some((key, writes, _)) = &self.stream else { return Ok(()) };
        self.scratch.resize(bytes.len(), 0);
        writes.fill(*key, before, &mut self.scratch);
        if self.scratch != bytes {
            return Err(format!("{self}: wrong bytes from {before} on"));
        }
        self.checked += bytes.len() as u64;
        if self.at > writes.cut.unwrap_or(writes.len) {
            return Err(format!("{self}: more bytes than were written"));
        }
        Ok(())
    }

    fn on_end(&mut self) -> Result<Look, String> {
        match &self.stream {
            Some((_, writes, _)) if (self.at, writes.cut) == (writes.len, None) => Ok(Look::Over),
            _ => Err(format!("{self}: an end that is none")),
        }
    }

    fn give_back(&mut self) {
        self.kept.drain(..).for_each(|frame| self.port.returns.give(frame));
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl std::fmt::Display for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "reader of {:?} at {}", self.stream, self.at)
    }
}
