//! What is known in advance: values that change at given times, and outages.

use crate::base::Nanos;
use crate::base::time::NEVER;

/// A value that changes at given times. Asked for times that never go back.
#[derive(Clone, Debug)]
pub struct Steps<T> {
    /// From when on which value holds; the first from 0 on, all in order.
    steps: Vec<(Nanos, T)>,
    current: usize,
}

impl<T: Copy> Steps<T> {
    /// `first`, until `changes` (in order of time) say otherwise.
    pub fn new(first: T, changes: Vec<(Nanos, T)>) -> Steps<T> {
        let steps = std::iter::once((0, first)).chain(changes).collect();
        Steps { steps, current: 0 }
    }

    /// The value at `now`.
    pub fn at(&mut self, now: Nanos) -> T {
        while self.steps.get(self.current + 1).is_some_and(|step| step.0 <= now) {
            self.current += 1;
        }
        self.steps[self.current].1
    }

    /// The value at the last time asked for and those after it, each with the time at which it ends; the last never
    /// does.
    pub fn ahead(&self) -> impl Iterator<Item = (T, Nanos)> {
        (self.current..self.steps.len()).map(|index| (self.steps[index].1, self.end_of(index)))
    }

    fn end_of(&self, index: usize) -> Nanos {
        self.steps.get(index + 1).map_or(NEVER, |step| step.0)
    }
}

/// Spans in which the link is down.
#[derive(Clone, Debug)]
pub struct Outages {
    /// From, and up to but without; in order, none overlapping.
    spans: Vec<(Nanos, Nanos)>,
    /// The first that is not over for arriving frames, and for frames on their way onto the wire, which is later.
    arriving: usize,
    leaving: usize,
}

impl Outages {
    pub fn new(spans: Vec<(Nanos, Nanos)>) -> Outages {
        Outages { spans, arriving: 0, leaving: 0 }
    }

    /// Whether the link is down at `now`, which never goes back.
    pub fn is_down(&mut self, now: Nanos) -> bool {
        first_open(&self.spans, &mut self.arriving, now).is_some_and(|span| span.0 <= now)
    }

    /// Whether the link goes or is down while a frame is put on the wire. `start` never goes back.
    pub fn cuts(&mut self, start: Nanos, end: Nanos) -> bool {
        first_open(&self.spans, &mut self.leaving, start).is_some_and(|span| span.0 < end)
    }
}

/// The first span that ends after `now`, from `index` on.
fn first_open(spans: &[(Nanos, Nanos)], index: &mut usize, now: Nanos) -> Option<(Nanos, Nanos)> {
    while spans.get(*index).is_some_and(|span| span.1 <= now) {
        *index += 1;
    }
    spans.get(*index).copied()
}
