//! The storm's programs: who writes, who reads, and what each may see.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::plan::{ReadPlan, WritePlan};
use crate::base::Nanos;
use crate::engine::port::{Commit, RecvPort, SendPort};
use crate::link::Frame;
use crate::proto::error::StreamError;

/// Commits at one look.
const COMMITS: usize = 32;
/// The code that goes with an end that is dropped midway.
const CODE: u32 = 7;

/// Writes one direction of a stream.
pub struct Writer {
    pub port: SendPort,
    pub plan: WritePlan,
    pub reader: ReadPlan,
    pub next_ns: Nanos,
    at: u64,
    finished: bool,
}

/// Reads one direction of a stream.
pub struct Reader {
    pub port: RecvPort,
    pub plan: ReadPlan,
    pub writer: WritePlan,
    pub next_ns: Nanos,
    at: u64,
    kept: VecDeque<Frame>,
}

/// What came of one look at an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    Nothing,
    Moved,
    /// The end may be dropped.
    Over,
}

impl Writer {
    pub fn new(port: SendPort, plan: WritePlan, reader: ReadPlan) -> Writer {
        port.shared.nagle.store(plan.nagle, Ordering::Release);
        Writer { port, plan, reader, next_ns: 0, at: 0, finished: false }
    }

    /// One look. `torn`: the connection may end at any time.
    pub fn act(&mut self, now: Nanos, torn: bool) -> Look {
        if let Some(error) = self.port.shared.send_error.get() {
            let asked = *error == StreamError::Stopped(CODE) && self.reader.stop.is_some();
            assert!(torn || asked, "writer at {} of {:?}: {error}", self.at, self.plan);
            return Look::Over;
        }
        if self.finished {
            let acked = self.port.shared.all_acked.load(Ordering::Acquire);
            return if acked || !self.plan.lingers { Look::Over } else { Look::Nothing };
        }
        if now < self.next_ns {
            return Look::Nothing;
        }
        let before = self.at;
        let goal = self.plan.cut.unwrap_or(self.plan.len);
        for _ in 0..COMMITS {
            if self.at == goal || !self.commit(goal) {
                break;
            }
        }
        if self.at == goal {
            return self.end();
        }
        if self.at == before {
            return Look::Nothing;
        }
        self.port.notify();
        self.next_ns = now + self.plan.pause_ns;
        Look::Moved
    }

    fn commit(&mut self, goal: u64) -> bool {
        let Ok(mut frame) = self.port.grants.pop() else {
            if self.port.shared.wanted.swap(self.plan.wanted, Ordering::AcqRel) == 0 {
                self.port.notify();
            }
            return false;
        };
        let len = (goal - self.at).min(self.plan.piece).min(self.port.max_payload as u64) as usize;
        let start = self.port.payload_offset;
        self.plan.fill(self.at, &mut frame.room_mut()[start..start + len]);
        self.at += len as u64;
        let fin = self.at == self.plan.len && self.plan.cut.is_none() && self.plan.end_along;
        self.finished = fin;
        self.port.commits.push(Commit { frame: Some(frame), len, fin, at_ns: 0 }).expect("as many as grants");
        true
    }

    fn end(&mut self) -> Look {
        if self.plan.cut.is_some() {
            self.port.shared.drop_code.store(CODE, Ordering::Release);
            return Look::Over;
        }
        if !self.finished {
            self.finished = self.port.commits.push(Commit { frame: None, len: 0, fin: true, at_ns: 0 }).is_ok();
        }
        self.port.notify();
        Look::Moved
    }
}

impl Reader {
    pub fn new(port: RecvPort, plan: ReadPlan, writer: WritePlan) -> Reader {
        Reader { port, plan, writer, next_ns: 0, at: 0, kept: VecDeque::new() }
    }

    /// One look. `torn`: the connection may end at any time.
    pub fn act(&mut self, now: Nanos, torn: bool) -> Look {
        if now < self.next_ns {
            return Look::Nothing;
        }
        let error = self.port.shared.recv_error.get().cloned();
        let mut read = 0;
        while read < self.plan.burst {
            if self.plan.stop.is_some_and(|stop| self.at >= stop) {
                self.port.shared.drop_code.store(CODE, Ordering::Release);
                return Look::Over;
            }
            let Ok(message) = self.port.messages.pop() else { break };
            read += 1;
            if let Some(frame) = message.frame {
                self.check(&frame.bytes()[message.payload]);
                self.kept.push_back(frame);
            }
            if message.fin {
                assert_eq!(
                    (self.at, self.writer.cut),
                    (self.writer.len, None),
                    "an end that is none: {:?}",
                    self.writer
                );
                return Look::Over;
            }
            if self.kept.len() > self.plan.keeps {
                self.kept.drain(..).for_each(|frame| self.port.returns.give(frame));
            }
        }
        if read > 0 {
            self.port.notify();
            self.next_ns = now + self.plan.pause_ns;
            return Look::Moved;
        }
        if !self.kept.is_empty() {
            // Who keeps all that the window holds waits for himself.
            self.kept.drain(..).for_each(|frame| self.port.returns.give(frame));
            self.port.notify();
            return Look::Moved;
        }
        match error {
            Some(error) => {
                let told = error == StreamError::Reset(CODE) && self.writer.cut.is_some();
                assert!(torn || told, "reader at {} of {:?}: {error}", self.at, self.writer);
                Look::Over
            }
            None => Look::Nothing,
        }
    }

    fn check(&mut self, bytes: &[u8]) {
        let mut expected = vec![0; bytes.len()];
        self.writer.fill(self.at, &mut expected);
        assert!(bytes == expected, "wrong bytes at {} of {:?}", self.at, self.writer);
        self.at += bytes.len() as u64;
        assert!(self.at <= self.writer.cut.unwrap_or(self.writer.len), "more bytes than were written");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.kept.drain(..).for_each(|frame| self.port.returns.give(frame));
    }
}
