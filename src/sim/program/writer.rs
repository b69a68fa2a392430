//! Writes one direction of a stream.

use std::sync::atomic::Ordering;

use super::{CODE, Look, ReadPlan, StreamKey, WritePlan};
use crate::base::Nanos;
use crate::engine::port::{Commit, SendPort};
use crate::proto::error::StreamError;

/// Commits at one look.
const COMMITS: usize = 64;

/// The writer.
pub struct Writer {
    port: SendPort,
    key: StreamKey,
    plan: WritePlan,
    reader: ReadPlan,
    /// When it looks again.
    pub next_ns: Nanos,
    at: u64,
    finished: bool,
}

impl Writer {
    /// A writer that has written nothing yet.
    pub fn new(port: SendPort, key: StreamKey, plan: WritePlan) -> Writer {
        port.shared.nagle.store(plan.nagle, Ordering::Release);
        let reader = ReadPlan::draw(&plan);
        Writer { port, key, plan, reader, next_ns: 0, at: 0, finished: false }
    }

    /// One look. `torn`: the connection may end at any time.
    ///
    /// # Errors
    /// What it saw and must not see.
    pub fn act(&mut self, now: Nanos, torn: bool) -> Result<Look, String> {
        if let Some(error) = self.port.shared.send_error.get() {
            let asked = *error == StreamError::Stopped(CODE) && self.reader.stop.is_some();
            return if torn || asked { Ok(Look::Over) } else { Err(format!("{self}: {error}")) };
        }
        if self.finished {
            let acked = self.port.shared.all_acked.load(Ordering::Acquire);
            return Ok(if acked || !self.plan.lingers { Look::Over } else { Look::More });
        }
        if now < self.next_ns {
            return Ok(Look::More);
        }
        let before = self.at;
        let goal = self.plan.cut.unwrap_or(self.plan.len);
        for _ in 0..COMMITS {
            if self.at == goal || !self.commit(goal)? {
                break;
            }
        }
        if self.at == goal {
            return Ok(self.end());
        }
        if self.at == before {
            return Ok(Look::More);
        }
        self.port.notify();
        self.next_ns = now + self.plan.pause_ns;
        Ok(Look::More)
    }

    fn commit(&mut self, goal: u64) -> Result<bool, String> {
        let Ok(mut frame) = self.port.grants.pop() else {
            if self.port.shared.wanted.swap(self.plan.wanted, Ordering::AcqRel) == 0 {
                self.port.notify();
            }
            return Ok(false);
        };
        let len = (goal - self.at).min(self.plan.piece).min(self.port.max_payload as u64) as usize;
        let start = self.port.payload_offset;
        self.plan.fill(self.key, self.at, &mut frame.room_mut()[start..start + len]);
        self.at += len as u64;
        let fin = self.at == self.plan.len && self.plan.cut.is_none() && self.plan.end_along;
        self.finished = fin;
        let commit = Commit { frame: Some(frame), len, fin, at_ns: 0 };
        match self.port.commits.push(commit) {
            Ok(()) => Ok(true),
            Err(_) => Err(format!("{self}: more grants than commits fit")),
        }
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
        Look::More
    }
}

impl std::fmt::Display for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "writer of {:?} at {} of {:?}", self.key, self.at, self.plan)
    }
}
