//! What people are told about a keeper's rate: changes that are worth a word, and why.

use super::super::{Notice, Why};
use crate::base::{Nanos, Rate};

/// Changes smaller than this are not worth a word.
const WORTH_A_WORD: f64 = 0.03;

/// Why a rate fell.
#[derive(Clone, Copy, Default, Debug)]
pub struct Reason {
    /// What arrived, in bits per second.
    pub delivered_bps: f64,
    /// Share lost.
    pub loss: f64,
    /// What the round trip was longer than the shortest one.
    pub beyond_ns: Nanos,
}

/// The last that was said, and what is to be said next.
#[derive(Debug)]
pub struct Words {
    /// The rate that people know of.
    told_bps: f64,
    notice: Option<Notice>,
}

impl Words {
    /// People know of this rate.
    pub fn new(bps: f64) -> Words {
        Words { told_bps: bps, notice: None }
    }

    /// What is to be said, once.
    pub fn poll(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// The rate fell to `bps`; so much of a longer round trip was no queue.
    pub fn on_lower(&mut self, bps: f64, reason: &Reason, slack_ns: Nanos) {
        if bps < self.told_bps * (1.0 - WORTH_A_WORD) {
            let why = Why::NotDelivered {
                delivered: Rate::nearest(reason.delivered_bps),
                lost_percent: (reason.loss * 100.0).round() as u32,
                queue_ns: reason.beyond_ns.saturating_sub(slack_ns),
            };
            self.say(bps, why);
        }
    }

    /// The rate rose to `bps`, of `ceiling_bps` at most.
    pub fn on_higher(&mut self, bps: f64, ceiling_bps: f64) {
        let back = bps >= ceiling_bps && self.told_bps < ceiling_bps;
        if back || bps > self.told_bps * (1.0 + WORTH_A_WORD) {
            self.say(bps, if back { Why::Recovered } else { Why::Wider });
        }
    }

    /// At a lower rate as much was lost: back from `bps` to `from_bps`, which people know of.
    pub fn on_own_loss(&mut self, bps: f64, from_bps: f64, loss: f64) {
        let why = Why::LossIsNotOurs { lost_percent: (loss * 100.0) as u32 };
        self.notice = Some(Notice { from: Rate::nearest(bps), to: Rate::nearest(from_bps), why });
    }

    fn say(&mut self, bps: f64, why: Why) {
        self.notice = Some(Notice { from: Rate::nearest(self.told_bps), to: Rate::nearest(bps), why });
        self.told_bps = bps;
    }
}
