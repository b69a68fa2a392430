//! What a world is like, and what happens in it: all of it drawn from the seed, before anything moves.

mod draw;

use std::fmt;

use super::host::HostPlan;
use crate::base::Nanos;
use crate::base::time::SECOND;
use crate::link::impair::Profile;

/// The whole scene.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// The hosts.
    pub hosts: Vec<HostPlan>,
    /// The paths: from, to, what it is like during the trouble, and afterwards.
    pub paths: Vec<PathPlan>,
    /// When the trouble ends.
    pub trouble_ns: Nanos,
    /// Who talks to whom.
    pub sessions: Vec<SessionPlan>,
    /// What else happens, and when.
    pub faults: Vec<(Nanos, Fault)>,
    /// There are keys: who changes packets on their way can at most make them be lost.
    pub sealed: bool,
    /// Time from the end of the trouble until everything must be done.
    pub patience_ns: Nanos,
}

/// One direction between two hosts.
#[derive(Clone, Debug)]
pub struct PathPlan {
    /// Who sends into it.
    pub from: usize,
    /// Who receives from it.
    pub to: usize,
    /// What it is like until the trouble ends.
    pub trouble: Profile,
    /// What it is like from then on.
    pub calm: Profile,
}

/// One connection: `hosts[0]` opens it; each opens streams; perhaps one closes it midway.
#[derive(Clone, Debug)]
pub struct SessionPlan {
    /// Who opens it, and who accepts it.
    pub hosts: [usize; 2],
    /// When.
    pub at_ns: Nanos,
    /// When each side opens its streams, from the connection on; the opener opens one at least.
    pub opens: [Vec<Nanos>; 2],
    /// Who closes it and when, whatever is under way.
    pub rude: Option<(usize, Nanos)>,
    /// Each side finishes as soon as all streams are there, not when they are done …
    pub early: [bool; 2],
    /// … but not before it has been open for so long.
    pub stays_ns: Nanos,
    /// The opener's first stream carries so many bytes, as fast as it goes.
    pub bulk: Option<u64>,
}

/// Something that is done to a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its interface is down.
    Jam {
        /// Whose.
        host: usize,
        /// For so long.
        for_ns: Nanos,
    },
    /// Its worker gets no core.
    Stop {
        /// Whose.
        host: usize,
        /// For so long.
        for_ns: Nanos,
    },
    /// It falls silent for ever.
    Die {
        /// Who.
        host: usize,
    },
    /// It forgets everything and starts anew with the same address.
    Crash {
        /// Who.
        host: usize,
    },
    /// Its clock jumps ahead, as after a suspend.
    Jump {
        /// Whose.
        host: usize,
        /// By so much.
        by_ns: Nanos,
    },
    /// A frame that was sent before arrives again.
    Replay {
        /// Which of those that are remembered.
        place: u64,
    },
    /// A frame that no host sent arrives at one: rubbish, a frame that was sent before with bytes changed, or one of a
    /// stranger who says that it belongs to a connection of others. Nobody may believe it.
    Forge {
        /// What it is.
        dice: u64,
    },
    /// The same by somebody who writes another's address and makes the checksum right. Without keys that is believed,
    /// so from here on only safety is asked for; with keys it is as if nothing had happened.
    Tamper {
        /// What is changed, and in which frame.
        dice: u64,
    },
    /// Many strangers ask a host for connections.
    Flood {
        /// Whom.
        host: usize,
        /// How many.
        opens: u64,
    },
}

impl Scenario {
    /// Whether such a thing happens in it.
    pub fn has(&self, kind: fn(&Fault) -> bool) -> bool {
        self.faults.iter().any(|(_, fault)| kind(fault))
    }

    /// The longest round trip between any two hosts.
    pub fn longest_rtt_ns(&self) -> Nanos {
        self.paths.iter().map(|path| path.calm.delay_ns).max().unwrap_or(0) * 2
    }

    /// The slowest path or card, in bits per second.
    pub fn slowest_bps(&self) -> u64 {
        let paths = self.paths.iter().filter_map(|path| Some(path.calm.rate?.bps()));
        let cards = self.hosts.iter().map(|host| host.nic.slowest_bps());
        paths.chain(cards).min().unwrap_or(u64::MAX)
    }
}

/// All of it, so that a failure can be read without running it.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: trouble for {:.3} s", self.seed, self.trouble_ns as f64 / SECOND as f64)?;
        for (index, host) in self.hosts.iter().enumerate() {
            writeln!(f, "host {index}: turn {} ns, {:?}", host.turn_ns, host.nic)?;
            writeln!(f, "        {:?}", host.proto)?;
        }
        for path in &self.paths {
            writeln!(f, "path {} > {}: {}; then {}", path.from, path.to, path.trouble, path.calm)?;
        }
        for (index, session) in self.sessions.iter().enumerate() {
            writeln!(f, "session {index}: {session:?}")?;
        }
        for (at_ns, fault) in &self.faults {
            writeln!(f, "at {:.6} s: {fault:?}", *at_ns as f64 / SECOND as f64)?;
        }
        Ok(())
    }
}
