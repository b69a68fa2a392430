//! What a worker does when a turn found nothing to do: the policy and its costs.

use std::fmt;
use std::str::FromStr;

use crate::base::Nanos;
use crate::base::time::MICROSECOND;

/// How a worker waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Idle {
    /// Never sleeps: the least latency, and a core of its own at 100 %.
    Spin,
    /// Spins for a short while after the last work, then sleeps until something arrives or a timer is due.
    #[default]
    Adaptive,
    /// Sleeps at once: the least CPU time, and a wake-up (5 to 60 µs) whenever something arrives.
    Sleep,
}

/// How long `adaptive` spins after the last work. Longer than the gaps between the bursts of a flow at full rate (64
/// frames of 1500 bytes take 77 µs at 10 Gbit/s) and than an application thread takes to come back with more: who
/// sleeps within a flow makes the sender's core pay a wake-up per burst, which cost a third of the goodput in raw
/// AF_XDP over veth. Higher burns CPU at every pause; 20 pauses a second cost 0.2 % of a core at this value.
const LINGER_NS: Nanos = 100 * MICROSECOND;

/// Deadlines nearer than this are spun for: the kernel takes 5 to 60 µs to give an idle core back, so a sleep would
/// miss them, and a pacer that wakes late sends bursts. Higher turns slow pacing into spinning.
const SPIN_BEFORE_NS: Nanos = 50 * MICROSECOND;

/// The least time of a sleep worth its system call.
const SHORTEST_SLEEP_NS: Nanos = 2 * MICROSECOND;

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Turn again at once.
    Spin,
    /// Sleep, at most for this long; `None`: until something arrives.
    Sleep(Option<Nanos>),
}

impl Idle {
    /// The step at `now`, when the last work was done at `worked_ns` and the next timer is due at `next_ns`.
    pub(super) fn step(self, now: Nanos, worked_ns: Nanos, next_ns: Option<Nanos>) -> Step {
        let ahead = next_ns.map(|at| at.saturating_sub(now));
        let (linger, margin) = match self {
            Idle::Spin => return Step::Spin,
            Idle::Adaptive => (LINGER_NS, SPIN_BEFORE_NS),
            Idle::Sleep => (0, 0),
        };
        if now.saturating_sub(worked_ns) < linger {
            return Step::Spin;
        }
        match ahead {
            None => Step::Sleep(None),
            Some(ahead) if ahead < margin + SHORTEST_SLEEP_NS => Step::Spin,
            Some(ahead) => Step::Sleep(Some(ahead - margin)),
        }
    }
}

impl FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Idle, String> {
        match text {
            "spin" => Ok(Idle::Spin),
            "adaptive" => Ok(Idle::Adaptive),
            "sleep" => Ok(Idle::Sleep),
            _ => Err(format!("idle policy {text:?} is unknown; say spin, adaptive or sleep")),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Idle::Spin => "spin",
            Idle::Adaptive => "adaptive",
            Idle::Sleep => "sleep",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{MILLISECOND, SECOND};

    #[test]
    fn a_policy_reads_as_it_is_shown() {
        for idle in [Idle::Spin, Idle::Adaptive, Idle::Sleep] {
            assert_eq!(idle.to_string().parse(), Ok(idle));
        }
        assert!("lazy".parse::<Idle>().unwrap_err().contains("say spin, adaptive or sleep"));
    }

    #[test]
    fn adaptive_lingers_then_sleeps_until_just_before_the_timer() {
        let now = SECOND;
        let step = |worked, next| Idle::Adaptive.step(now, worked, next);
        assert_eq!(step(now - LINGER_NS + 1, None), Step::Spin);
        assert_eq!(step(now - LINGER_NS, None), Step::Sleep(None));
        assert_eq!(step(0, Some(now + SPIN_BEFORE_NS)), Step::Spin);
        assert_eq!(step(0, Some(now - 5)), Step::Spin, "a timer that is due is for the next turn");
        assert_eq!(step(0, Some(now + MILLISECOND)), Step::Sleep(Some(MILLISECOND - SPIN_BEFORE_NS)));
    }

    #[test]
    fn spin_never_sleeps_and_sleep_never_lingers() {
        assert_eq!(Idle::Spin.step(SECOND, 0, None), Step::Spin);
        assert_eq!(Idle::Sleep.step(SECOND, SECOND, None), Step::Sleep(None));
        assert_eq!(Idle::Sleep.step(SECOND, SECOND, Some(SECOND + MILLISECOND)), Step::Sleep(Some(MILLISECOND)));
    }
}
