//! Names on the link: announce ours, ask for others.

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::config::nanos;
use super::endpoint::Endpoint;
use super::error::{EndpointStopped, ResolveError};
use crate::base::{MacAddr, Nanos};
use crate::engine::port::{Command, Found};
use crate::worker::clock;

/// After the first answer to a name, a second host has this much longer to object. The spread of answers on one link
/// is far less; higher makes every `farwire send` by name wait that much longer.
const OBJECTION: Duration = Duration::from_millis(50);

/// The longest name that fits the packet.
const LONGEST_NAME: usize = 32;
/// Answers that may wait to be looked at. Anybody on the link can answer a question that was asked aloud, as often as
/// it likes: more is memory for them, fewer lose answers of a link with many hosts.
const MOST_WAITING: usize = 1024;
/// Hosts that a list names at most: more than a link that is of use has, and few enough to be compared one by one.
const MOST_FOUND: usize = 4096;

impl Endpoint {
    /// Answers queries under this name from now on.
    ///
    /// # Errors
    /// When it can't be a name, or the endpoint is gone.
    pub fn announce(&self, name: &str, service: &str) -> Result<(), ResolveError> {
        if name.is_empty() || name.len() > LONGEST_NAME || name.parse::<MacAddr>().is_ok() {
            return Err(ResolveError::BadName { name: name.to_owned() });
        }
        self.remote().send(Command::Announce { name: name.to_owned(), service: service.to_owned() });
        // Commands are carried out in order: after this answer, queries are answered.
        self.snapshot()?;
        Ok(())
    }

    /// Everybody who answers within `timeout`, in the order of their addresses.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub fn discover(&self, timeout: Duration) -> Result<Vec<Found>, EndpointStopped> {
        let mut all: Vec<Found> = Vec::new();
        self.ask("", clock::now() + nanos(timeout), |found| {
            if all.len() < MOST_FOUND && !all.contains(&found) {
                all.push(found);
            }
            None
        })?;
        all.sort_by_key(|found| found.mac.octets());
        Ok(all)
    }

    /// The address of the host with this name. An address in text stands for itself.
    ///
    /// # Errors
    /// When nobody answers to the name, or more than one host does.
    pub fn resolve(&self, name: &str, timeout: Duration) -> Result<MacAddr, ResolveError> {
        if let Ok(mac) = name.parse() {
            return Ok(mac);
        }
        // Six groups are a mistyped address rather than somebody's name.
        if name.matches(':').count() == 5 {
            return Err(ResolveError::BadAddress { text: name.to_owned() });
        }
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(ResolveError::BadName { name: name.to_owned() });
        }
        let mut first = None;
        let mut second = None;
        self.ask(name, clock::now() + nanos(timeout), |found| {
            if found.name != name {
                return None;
            }
            match first {
                None => {
                    first = Some(found.mac);
                    Some(OBJECTION)
                }
                Some(mac) if mac == found.mac => None,
                Some(_) => {
                    second = Some(found.mac);
                    Some(Duration::ZERO)
                }
            }
        })?;
        match (first, second) {
            (None, _) => Err(ResolveError::Unknown { name: name.to_owned() }),
            (Some(mac), None) => Ok(mac),
            (Some(first), Some(second)) => Err(ResolveError::Ambiguous { name: name.to_owned(), first, second }),
        }
    }

    /// Asks until the deadline, or until what `heard` makes of it: the time still to listen. The engine repeats the
    /// question, since a broadcast can get lost, and has room for one question at a time.
    fn ask(
        &self,
        name: &str,
        mut deadline_ns: Nanos,
        mut heard: impl FnMut(Found) -> Option<Duration>,
    ) -> Result<(), EndpointStopped> {
        let _turn = self.asking();
        let (reply, answers) = bounded(MOST_WAITING);
        self.remote().send(Command::Query { name: name.to_owned(), reply });
        loop {
            let left = deadline_ns.saturating_sub(clock::now());
            // Answers that wait are handed out even when no time is left, and under a flood there are always some.
            let answer = match left {
                0 => Err(RecvTimeoutError::Timeout),
                left => answers.recv_timeout(Duration::from_nanos(left)),
            };
            match answer {
                Ok(found) => {
                    if let Some(left) = heard(found) {
                        deadline_ns = deadline_ns.min(clock::now() + nanos(left));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.remote().send(Command::StopQuery);
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.stopped()),
            }
        }
    }
}
