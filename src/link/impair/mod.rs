//! One direction of a link with everything that can go wrong on it: rate, queue, delay, jitter, loss, outages.
//!
//! Decides: what becomes of each frame, and when. Does not: hold frames, look into them, read clocks or sleep.
//! Called by: whoever emulates a link, in real or virtual time. The same profile, seed and frames give the same fates,
//! in every version. Invariant: frames leave in the order in which they came, and with jitter alone they arrive in it.
//!
//! A frame waits in a drop-tail queue, is serialised at the link's rate, and only then meets loss: what is lost has
//! taken its time on the wire. Every byte counts as on Ethernet, with padding, FCS, preamble and gap.

mod bottleneck;
mod chance;
mod counters;
mod profile;
mod schedule;
mod text;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Tally};
pub use profile::{Burst, Change, Profile, ProfileError, Queue, Reorder, What};

use bottleneck::Bottleneck;
use chance::{Bursts, Chance, Dice, Late, Wander};
use schedule::{Outages, Steps};

use crate::base::Nanos;
use crate::base::size::wire_bytes;

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It never arrives.
    Dropped(Cause),
    /// It arrives.
    Passed(Delivery),
}

/// Why a frame does not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The queue was full.
    Queue,
    /// Lost at random.
    Loss,
    /// Lost in a burst.
    Burst,
    /// Came, or was on its way onto the wire, while the link was down.
    Outage,
}

/// When and how a frame arrives. Times are on the clock of `now`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// When its last bit is on the wire.
    pub depart_ns: Nanos,
    /// When it arrives. Frames that arrive at the same time do so in the order in which they came.
    pub at_ns: Nanos,
    /// How long it waits in the queue before its first bit is on the wire.
    pub queued_ns: Nanos,
    /// Whether it was held back so that others overtake it.
    pub late: bool,
    /// The bit to flip, counted from bit 0 of byte 0.
    pub corrupt_bit: Option<u32>,
    /// When a second copy of it arrives, right behind it; the copy is whole even if a bit of the frame is flipped.
    pub copy_at_ns: Option<Nanos>,
}

/// The model of one direction. Give each direction a seed of its own; seeds next to each other have nothing in common.
#[derive(Clone, Debug)]
pub struct Impairment {
    bottleneck: Option<Bottleneck>,
    outages: Outages,
    delay: Steps<Nanos>,
    jitter: Wander,
    loss: Steps<f64>,
    loss_dice: Dice,
    bursts: Option<Bursts>,
    late: Option<Late>,
    duplicate: Chance,
    corrupt: Chance,
    counters: Counters,
}

impl Impairment {
    /// A link that has just come up. The profile's schedule is on the clock of `now` in [`Impairment::on_frame`]: start
    /// that at 0.
    ///
    /// # Errors
    /// Where the profile can't be: see [`Profile::check`].
    pub fn new(profile: &Profile, seed: u64) -> Result<Impairment, ProfileError> {
        profile.check()?;
        // Dice of its own for each kind of trouble: which frames are lost does not depend on what else is asked for.
        let [loss_dice, burst, late, duplicate, corrupt, mut jitter] = Dice::split(seed);
        Ok(Impairment {
            bottleneck: profile
                .rate
                .map(|rate| Bottleneck::new(Steps::new(rate.bps(), profile.rate_changes()), profile.queue_bytes())),
            outages: Outages::new(profile.outages()),
            delay: Steps::new(profile.delay_ns, profile.delay_changes()),
            jitter: Wander::new(profile.jitter_ns, jitter.draw()),
            loss: Steps::new(profile.loss, profile.loss_changes()),
            loss_dice,
            bursts: profile.burst.map(|model| Bursts::new(model, profile.frame_ns(), burst)),
            late: profile.reorder.map(|reorder| Late::new(reorder, late)),
            duplicate: Chance::new(profile.duplicate, duplicate),
            corrupt: Chance::new(profile.corrupt, corrupt),
            counters: Counters::default(),
        })
    }

    /// A frame of `frame_len` bytes (Ethernet header included, FCS not) comes to the link. `now` never goes back.
    pub fn on_frame(&mut self, now: Nanos, frame_len: usize) -> Fate {
        let fate = self.decide(now, frame_len);
        self.counters.count(&fate, frame_len);
        fate
    }

    /// Bytes on the wire that wait at `now`, with what the frame in service has still to go.
    pub fn queue_bytes(&mut self, now: Nanos) -> u64 {
        self.bottleneck.as_mut().map_or(0, |bottleneck| bottleneck.backlog_bytes(now))
    }

    /// What has become of the frames so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn decide(&mut self, now: Nanos, frame_len: usize) -> Fate {
        if self.outages.is_down(now) {
            return Fate::Dropped(Cause::Outage);
        }
        let (start_ns, depart_ns) = match &mut self.bottleneck {
            None => (now, now),
            Some(bottleneck) => match bottleneck.offer(now, wire_bytes(frame_len)) {
                None => return Fate::Dropped(Cause::Queue),
                Some(times) => times,
            },
        };
        if self.outages.cuts(start_ns, depart_ns) {
            return Fate::Dropped(Cause::Outage);
        }
        // Both draw for every frame, so that neither changes whom the other hits.
        let lost = self.loss_dice.hits(self.loss.at(depart_ns));
        if self.bursts.as_mut().is_some_and(|bursts| bursts.is_lost(depart_ns)) {
            return Fate::Dropped(Cause::Burst);
        }
        if lost {
            return Fate::Dropped(Cause::Loss);
        }
        let late_ns = self.late.as_mut().map_or(0, Late::next_ns);
        let on_the_way_ns = self.delay.at(depart_ns) + self.jitter.at(depart_ns) + late_ns;
        let at_ns = depart_ns.saturating_add(on_the_way_ns);
        Fate::Passed(Delivery {
            depart_ns,
            at_ns,
            queued_ns: start_ns - now,
            late: late_ns > 0,
            corrupt_bit: (frame_len > 0 && self.corrupt.hits())
                .then(|| self.corrupt.dice.below(8 * frame_len as u64) as u32),
            copy_at_ns: self.duplicate.hits().then_some(at_ns),
        })
    }
}
