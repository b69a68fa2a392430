//! What the application asks, carried out.

use super::Engine;
use super::ends::ConnectReply;
use super::port::{Command, ConnKey, ConnectOptions, Snapshot};
use crate::base::Nanos;
use crate::link::Link;
use std::sync::atomic::Ordering;

impl<L: Link> Engine<L> {
    /// Does what the application asks: commands, streams that rang, frames that came back.
    pub(super) fn on_application(&mut self, now: Nanos) -> usize {
        let mut count = self.take_returns(now);
        while let Ok(command) = self.commands.try_recv() {
            self.on_command(now, command);
            count += 1;
        }
        if !self.pending_ends.is_empty() {
            self.retry_ends(now);
        }
        while let Some(key) = self.doorbell.poll_stream() {
            let index = key.slot as usize;
            let Some(end) = self.streams.get(index).filter(|end| end.key == key) else { continue };
            end.shared.listed.swap(false, Ordering::AcqRel);
            self.on_rung(now, index);
            count += 1;
        }
        count
    }

    fn on_command(&mut self, now: Nanos, command: Command) {
        match command {
            Command::Connect { options, reply } => self.connect(now, &options, reply),
            Command::Listen { incoming } => {
                self.incoming = Some(incoming);
                self.endpoint.set_listening(true);
            }
            Command::Announce { name, service } => self.endpoint.announce(name, service),
            Command::Query { name, reply } => {
                self.queries = Some(reply);
                self.endpoint.start_query(now, name);
            }
            Command::StopQuery => {
                self.queries = None;
                self.endpoint.stop_query();
            }
            Command::OpenStream { conn, reply } => {
                if let Some(slot) = self.slot(conn) {
                    if let Some(end) = self.conns.get_mut(&slot).filter(|end| !end.finished) {
                        end.waiting.push_back(reply);
                    }
                    self.allowed.push(slot);
                    self.drain_output(now);
                }
            }
            Command::Finish { conn } => {
                if let Some(slot) = self.slot(conn) {
                    if let Some(end) = self.conns.get_mut(&slot) {
                        end.finished = true;
                        // They would wait for as long as the peer goes on.
                        end.waiting.clear();
                    }
                    self.endpoint.finish(now, slot);
                }
            }
            Command::Close { conn, code, reason } => {
                if let Some(slot) = self.slot(conn) {
                    self.endpoint.close(now, slot, code, &reason);
                }
            }
            Command::SetKeys { keys } => self.endpoint.set_keys(now, keys),
            Command::Ping { conn, run, reply } => {
                if let Some(slot) = self.slot(conn)
                    && self.endpoint.ping(now, slot, run)
                    && let Some(end) = self.conns.get_mut(&slot)
                {
                    end.ping = Some(reply);
                }
            }
            Command::Snapshot { conn, reply } => {
                let _ = reply.send(self.snapshot(conn));
            }
        }
    }

    fn connect(&mut self, now: Nanos, options: &ConnectOptions, reply: ConnectReply) {
        // What is still to be told of the slot's last user must be told first.
        self.drain_output(now);
        match self.endpoint.connect(now, options.peer) {
            Ok(conn) => {
                self.endpoint.set_connect_timeout(conn, options.timeout_ns);
                self.connecting.insert(conn, reply);
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn snapshot(&mut self, conn: Option<ConnKey>) -> Snapshot {
        let recovery = conn.and_then(|conn| self.recovery(conn));
        let (recovery, controller, notices) = match recovery {
            Some((stats, name, notices)) => (Some(stats), Some(name), notices),
            None => (None, None, Vec::new()),
        };
        let mut latencies = self.latencies.clone();
        latencies.rtt.merge(self.endpoint.rtt());
        Snapshot {
            counters: self.endpoint.counters().clone(),
            link: self.link.stats(),
            latencies,
            recovery,
            controller,
            notices,
            frames: (self.link.caps().frames, self.link.free_frames() + self.spare.len()),
            connections: self.endpoint.connections(),
        }
    }

    /// The transport's slot of a connection that the application still has an end of.
    pub(super) fn slot(&self, conn: ConnKey) -> Option<u32> {
        self.endpoint.find(conn).filter(|slot| self.conns.contains_key(slot))
    }
}
