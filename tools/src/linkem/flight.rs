//! Frames on their way, in the order in which they arrive.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use farwire::base::Nanos;
use farwire::link::Frame;

/// What is under way in one direction. Nearly everything arrives in the order in which it came, so that a queue does
/// for it; only what is overtaken, or overtakes, is kept in a heap.
pub struct Flight {
    in_order: VecDeque<Due>,
    others: BinaryHeap<Reverse<Due>>,
    number: u64,
}

/// A frame and when it arrives; frames of the same time arrive in the order in which they came.
struct Due {
    at_ns: Nanos,
    number: u64,
    frame: Frame,
}

impl Flight {
    /// With room for so many frames: to grow later would take time when there is none.
    pub fn with_capacity(frames: usize) -> Flight {
        Flight { in_order: VecDeque::with_capacity(frames), others: BinaryHeap::new(), number: 0 }
    }

    /// A frame that arrives at `at_ns`.
    pub fn push(&mut self, at_ns: Nanos, frame: Frame) {
        let due = Due { at_ns, number: self.number, frame };
        self.number += 1;
        if self.in_order.back().is_none_or(|last| last.at_ns <= at_ns) {
            self.in_order.push_back(due);
        } else {
            self.others.push(Reverse(due));
        }
    }

    /// The next frame that has arrived by `now`, and when it was due.
    pub fn pop_due(&mut self, now: Nanos) -> Option<(Nanos, Frame)> {
        if self.next_ns()? > now {
            return None;
        }
        let other_first = match (self.in_order.front(), self.others.peek()) {
            (Some(next), Some(Reverse(other))) => other.key() < next.key(),
            (next, _) => next.is_none(),
        };
        let due = if other_first { self.others.pop()?.0 } else { self.in_order.pop_front()? };
        Some((due.at_ns, due.frame))
    }

    /// When the next frame arrives.
    pub fn next_ns(&self) -> Option<Nanos> {
        let (next, other) = (self.in_order.front(), self.others.peek());
        next.map(|due| due.at_ns).into_iter().chain(other.map(|due| due.0.at_ns)).min()
    }

    /// Frames under way.
    pub fn len(&self) -> usize {
        self.in_order.len() + self.others.len()
    }

    /// Takes all that is under way out.
    pub fn drain(&mut self) -> impl Iterator<Item = Frame> + '_ {
        self.in_order.drain(..).chain(self.others.drain().map(|due| due.0)).map(|due| due.frame)
    }
}

impl Due {
    fn key(&self) -> (Nanos, u64) {
        (self.at_ns, self.number)
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}

#[cfg(test)]
mod tests {
    use super::*;
    use farwire::base::FrameId;

    #[test]
    fn frames_come_out_by_time_and_then_by_their_order() {
        let mut flight = Flight::with_capacity(4);
        let times = [50, 50, 80, 60, 50, 80, 10, 80, 60];
        for (number, at_ns) in times.into_iter().enumerate() {
            flight.push(at_ns, Frame::owned(FrameId(number as u32), 1));
        }
        assert_eq!((flight.len(), flight.next_ns()), (times.len(), Some(10)));
        assert!(flight.pop_due(9).is_none());
        let mut came = Vec::new();
        while let Some((at_ns, frame)) = flight.pop_due(79) {
            came.push((at_ns, frame.id().0));
        }
        assert_eq!(came, [(10, 6), (50, 0), (50, 1), (50, 4), (60, 3), (60, 8)]);
        assert_eq!(flight.drain().count(), 3);
        assert_eq!((flight.len(), flight.next_ns()), (0, None));
    }
}
