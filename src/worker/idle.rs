//! What a worker does when a turn found nothing to do: the policy and its costs.

use std::fmt;
use std::str::FromStr;

use crate::base::Nanos;
use crate::base::time::{MICROSECOND, MILLISECOND};
use crate::engine::Turn;

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

/// How long `adaptive` rests while frames move at a high rate and it has caught up, on short paths: 30 µs of 10 Gbit/s
/// are 25 frames, so a turn handles a burst instead of a frame, and the core is free for the application in between. It
/// rests on a timer, not on the link, so the sender's core pays no wake-up. Shorter saves little, since ending a rest
/// costs 5 µs and more; longer delays ACKs by more than a cable's round trip. On longer paths it rests for the path's
/// patience.
const REST_NS: Nanos = 30 * MICROSECOND;
/// Frames that may gather while it rests: a quarter of the fill ring. Lower: wake-ups. Higher: a worker that gets its
/// core late finds the ring full.
const REST_FRAMES_MOST: u64 = 512;
/// What counts as a high rate on a short path: so many frames moved …
const FLOW_FRAMES: u64 = 64;
/// … and on a long one, where whoever hears each frame of a slow flow pays a wake-up for each …
const LONG_PATH_FLOW_FRAMES: u64 = 8;
/// … within this. 64 in a millisecond are 0.8 Gbit/s, 8 are 0.1. Lower rates would have rests in which nothing arrives,
/// paid for in latency.
const FLOW_SPAN_NS: Nanos = MILLISECOND;

/// The rate at which frames arrive, as far as the policy cares.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Flow {
    since_ns: Nanos,
    frames: u64,
    /// Frames in [`FLOW_SPAN_NS`].
    pace: u64,
}

impl Flow {
    /// A turn at `now` received or sent `frames`.
    pub(super) fn on_turn(&mut self, now: Nanos, frames: usize) {
        self.frames += frames as u64;
        let span_ns = now.saturating_sub(self.since_ns);
        if span_ns >= FLOW_SPAN_NS {
            self.pace = self.frames * FLOW_SPAN_NS / span_ns;
            self.since_ns = now;
            self.frames = 0;
        }
    }

    /// How long so many frames take.
    fn time_of(&self, frames: u64) -> Nanos {
        frames * FLOW_SPAN_NS / self.pace.max(1)
    }
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Turn again at once.
    Spin,
    /// Sleep, at most for this long; `None`: until something arrives.
    Sleep(Option<Nanos>),
    /// Rest for this long, whatever arrives on the link; the application may wake us.
    Rest(Nanos),
}

impl Idle {
    /// The step at `now`, after a turn that found nothing to do, when the last work was done at `worked_ns`.
    pub(super) fn step(self, now: Nanos, worked_ns: Nanos, turn: &Turn, flow: &Flow) -> Step {
        let ahead = turn.next_ns.map(|at| at.saturating_sub(now));
        let long = turn.patience_ns > REST_NS;
        let (linger, margin) = match self {
            Idle::Spin => return Step::Spin,
            // A long path leaves time to wake up, and its pacer makes good what a late wake-up missed.
            Idle::Adaptive if long => (LINGER_NS.max(2 * turn.patience_ns), 0),
            Idle::Adaptive => (LINGER_NS, SPIN_BEFORE_NS),
            Idle::Sleep => (0, 0),
        };
        if now.saturating_sub(worked_ns) < linger {
            let (most_ns, high) = match long {
                true => (turn.patience_ns.min(flow.time_of(REST_FRAMES_MOST)), LONG_PATH_FLOW_FRAMES),
                false => (REST_NS, FLOW_FRAMES),
            };
            let rest_ns = ahead.map_or(most_ns, |ahead| ahead.min(most_ns));
            match flow.pace >= high {
                true if rest_ns > SHORTEST_SLEEP_NS => return Step::Rest(rest_ns),
                false if long => {}
                _ => return Step::Spin,
            }
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
    use crate::base::time::SECOND;

    fn idle_turn(next_ns: Option<Nanos>, patience_ns: Nanos) -> Turn {
        Turn { worked: false, moved: 0, next_ns, patience_ns, failed: None }
    }

    /// `frames` moved in the millisecond that ends at `now`.
    fn flow_of(frames: u64, now: Nanos) -> Flow {
        let mut flow = Flow::default();
        flow.on_turn(now - FLOW_SPAN_NS, 1);
        flow.on_turn(now, frames as usize);
        flow
    }

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
        let step = |worked, next| Idle::Adaptive.step(now, worked, &idle_turn(next, 0), &Flow::default());
        assert_eq!(step(now - LINGER_NS + 1, None), Step::Spin);
        assert_eq!(step(now - LINGER_NS, None), Step::Sleep(None));
        assert_eq!(step(0, Some(now + SPIN_BEFORE_NS)), Step::Spin);
        assert_eq!(step(0, Some(now - 5)), Step::Spin, "a timer that is due is for the next turn");
        assert_eq!(step(0, Some(now + MILLISECOND)), Step::Sleep(Some(MILLISECOND - SPIN_BEFORE_NS)));
    }

    #[test]
    fn adaptive_rests_within_a_flow_and_never_past_a_timer() {
        let now = SECOND;
        let step = |next, frames| Idle::Adaptive.step(now, now, &idle_turn(next, 0), &flow_of(frames, now));
        assert_eq!(step(None, FLOW_FRAMES), Step::Rest(REST_NS));
        assert_eq!(step(Some(now + REST_NS / 2), FLOW_FRAMES), Step::Rest(REST_NS / 2));
        assert_eq!(step(Some(now + 1), FLOW_FRAMES), Step::Spin);
        assert_eq!(step(None, FLOW_FRAMES - 1), Step::Spin, "a trickle is no flow");
        assert_eq!(Idle::Spin.step(now, now, &idle_turn(None, 0), &flow_of(FLOW_FRAMES, now)), Step::Spin);
    }

    #[test]
    fn on_a_long_path_adaptive_rests_for_its_patience_and_does_not_spin() {
        let (now, patience) = (SECOND, 250 * MICROSECOND);
        let step = |next, frames| Idle::Adaptive.step(now, now, &idle_turn(next, patience), &flow_of(frames, now));
        assert_eq!(step(None, LONG_PATH_FLOW_FRAMES), Step::Rest(patience));
        assert_eq!(step(Some(now + patience / 2), LONG_PATH_FLOW_FRAMES), Step::Rest(patience / 2));
        assert_eq!(step(None, 8 * REST_FRAMES_MOST), Step::Rest(FLOW_SPAN_NS / 8), "before the ring is full");
        assert_eq!(step(Some(now), LONG_PATH_FLOW_FRAMES), Step::Spin, "due already");
        assert_eq!(step(None, LONG_PATH_FLOW_FRAMES - 1), Step::Sleep(None), "hears what arrives");
        assert_eq!(step(Some(now + MILLISECOND), 0), Step::Sleep(Some(MILLISECOND)));
    }

    #[test]
    fn spin_never_sleeps_and_sleep_never_lingers() {
        let flow = Flow::default();
        assert_eq!(Idle::Spin.step(SECOND, 0, &idle_turn(None, 0), &flow), Step::Spin);
        assert_eq!(Idle::Sleep.step(SECOND, SECOND, &idle_turn(None, 0), &flow), Step::Sleep(None));
        let turn = idle_turn(Some(SECOND + MILLISECOND), 0);
        assert_eq!(Idle::Sleep.step(SECOND, SECOND, &turn, &flow), Step::Sleep(Some(MILLISECOND)));
    }
}
