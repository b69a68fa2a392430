//! The loop: frames in, frames out, sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use farwire::base::Nanos;
use farwire::base::time::NEVER;
use farwire::xdp::XdpPair;
use farwire::xdp::pair::{SIDES, Side};

use crate::clock::{Clock, Taken, Woken};
use crate::direction::Direction;
use crate::interval::Interval;
use crate::options::Options;

/// The emulator at work.
pub struct Emulator {
    pair: XdpPair,
    directions: [Direction; 2],
    clock: Clock,
    granularity_ns: Nanos,
    spins: bool,
    end_ns: Nanos,
    interval: Option<Interval>,
    /// Whether it was an arrival that ended the last sleep.
    woken: bool,
}

impl Emulator {
    /// Both directions over a pair. Time is 0 now.
    pub fn new(pair: XdpPair, directions: [Direction; 2], options: &Options) -> Emulator {
        Emulator {
            pair,
            directions,
            clock: Clock::start(),
            granularity_ns: options.granularity,
            spins: options.spin,
            end_ns: options.duration.unwrap_or(NEVER),
            interval: options.interval.map(Interval::new),
            woken: false,
        }
    }

    /// Carries frames until `stop` is set or the time is over.
    ///
    /// # Errors
    /// When an interface is gone.
    pub fn run(&mut self, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            if now >= self.end_ns {
                break;
            }
            let arrived = self.turn().context("the link is cut")?;
            if let Some(interval) = &mut self.interval {
                interval.tell(now, &mut self.directions);
            }
            if !self.spins {
                self.sleep(now, arrived);
            }
        }
        Ok(())
    }

    /// Ends the run: gives back what is under way, and says what the run took.
    pub fn finish(mut self) -> (XdpPair, [Direction; 2], [usize; 2], Taken) {
        let taken = self.clock.taken();
        let [right, left] = &mut self.directions;
        let under_way = [right.abandon(&mut self.pair), left.abandon(&mut self.pair)];
        (self.pair, self.directions, under_way, taken)
    }

    /// One turn: arrivals of both sides, then departures of both. Says whether anything arrived.
    fn turn(&mut self) -> anyhow::Result<bool> {
        let mut arrived = 0;
        for direction in &mut self.directions {
            arrived += direction.take_in(&mut self.pair, self.clock.now(), self.woken);
        }
        self.woken = false;
        for direction in &mut self.directions {
            direction.send(&mut self.pair, &self.clock)?;
        }
        Ok(arrived > 0)
    }

    /// While frames come or go, turns are a granularity apart, so that frames are dealt with in batches; otherwise the
    /// next one is at the next arrival or departure.
    fn sleep(&mut self, turn_ns: Nanos, arrived: bool) {
        let next_ns = self.directions.iter().filter_map(Direction::next_ns).min();
        let earliest_ns = turn_ns + self.granularity_ns;
        if arrived || next_ns.is_some_and(|next_ns| next_ns <= earliest_ns) {
            self.clock.nap(earliest_ns);
            return;
        }
        let mut until = next_ns.unwrap_or(NEVER).min(self.end_ns);
        if let Some(interval) = &self.interval {
            until = until.min(interval.next_ns());
        }
        let sockets = SIDES.map(|side: Side| self.pair.poll_fd(side));
        self.woken = self.clock.wait(sockets, until) == Woken::Arrival;
    }
}
