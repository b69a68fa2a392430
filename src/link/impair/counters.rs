//! What has become of the frames, counted.

use super::{Cause, Fate};

/// Frames and their bytes (Ethernet header included, FCS not).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Every frame that came is in exactly one of `passed`, `queue`, `loss`, `burst` and `outage`.
#[derive(Clone, Default, Debug)]
pub struct Counters {
    /// What came to the link.
    pub offered: Tally,
    /// What arrives; copies not counted.
    pub passed: Tally,
    /// Dropped because the queue was full.
    pub queue: Tally,
    /// Lost at random.
    pub loss: Tally,
    /// Lost in bursts.
    pub burst: Tally,
    /// Lost in outages.
    pub outage: Tally,
    /// Of those that arrive: overtaken by others on purpose.
    pub late: Tally,
    /// Of those that arrive: with a second copy.
    pub duplicated: Tally,
    /// Of those that arrive: with a flipped bit.
    pub corrupted: Tally,
}

impl Counters {
    pub(super) fn count(&mut self, fate: &Fate, frame_len: usize) {
        self.offered.add(frame_len);
        match fate {
            Fate::Dropped(Cause::Queue) => self.queue.add(frame_len),
            Fate::Dropped(Cause::Loss) => self.loss.add(frame_len),
            Fate::Dropped(Cause::Burst) => self.burst.add(frame_len),
            Fate::Dropped(Cause::Outage) => self.outage.add(frame_len),
            Fate::Passed(delivery) => {
                self.passed.add(frame_len);
                for (happened, tally) in [
                    (delivery.late, &mut self.late),
                    (delivery.copy_at_ns.is_some(), &mut self.duplicated),
                    (delivery.corrupt_bit.is_some(), &mut self.corrupted),
                ] {
                    if happened {
                        tally.add(frame_len);
                    }
                }
            }
        }
    }

    /// All of them with their names, for reports.
    pub fn each(&self) -> [(&'static str, Tally); 9] {
        [
            ("offered", self.offered),
            ("passed", self.passed),
            ("dropped_queue", self.queue),
            ("dropped_loss", self.loss),
            ("dropped_burst", self.burst),
            ("dropped_outage", self.outage),
            ("late", self.late),
            ("duplicated", self.duplicated),
            ("corrupted", self.corrupted),
        ]
    }
}

impl Tally {
    fn add(&mut self, frame_len: usize) {
        self.frames += 1;
        self.bytes += frame_len as u64;
    }
}
