//! A hierarchical timer wheel over small integer keys.
//!
//! Eleven levels of 64 slots cover every `u64` tick, so that no deadline is too far away. A timer's level is the
//! highest group of six bits in which its tick differs from the current one; so whatever stands on a lower level is due
//! before everything on a higher one. Slots are lists threaded through one array by key: setting, moving and cancelling
//! touch two neighbours and allocate nothing once a key has been seen.

use super::time::{NEVER, Nanos};

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Six bits each for the 64 of a tick.
const LEVELS: usize = 64usize.div_ceil(SLOT_BITS as usize);
/// No key: the end of a list.
const NIL: u32 = u32::MAX;
/// No place: the timer is not set.
const UNSET: u16 = u16::MAX;

/// Timers by key, at most one deadline each.
#[derive(Clone, Debug)]
pub struct TimerWheel {
    tick_ns: Nanos,
    /// The tick up to which timers have expired; never falls.
    current: u64,
    /// First key of each slot's list.
    heads: Vec<u32>,
    /// Per level, which slots are not empty.
    occupied: [u64; LEVELS],
    timers: Vec<Timer>,
    armed: usize,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    at: Nanos,
    prev: u32,
    next: u32,
    /// `level * SLOTS + slot`, or `UNSET`.
    place: u16,
}

impl TimerWheel {
    /// An empty wheel. Deadlines are kept exactly; `tick_ns` (at least 1) only says how finely they are sorted.
    pub fn new(tick_ns: Nanos) -> TimerWheel {
        TimerWheel {
            tick_ns: tick_ns.max(1),
            current: 0,
            heads: vec![NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            timers: Vec::new(),
            armed: 0,
        }
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// When `key` is due, if it is set.
    pub fn deadline(&self, key: u32) -> Option<Nanos> {
        self.timers.get(key as usize).filter(|timer| timer.place != UNSET).map(|timer| timer.at)
    }

    /// Sets `key` to `at`, moving it if it is set; [`NEVER`] cancels it. A deadline that has passed expires next time.
    ///
    /// Memory grows with the largest key, so keys are indices into something. `u32::MAX` is not a key.
    pub fn set(&mut self, key: u32, at: Nanos) {
        if at == NEVER {
            return self.cancel(key);
        }
        assert!(key != NIL, "u32::MAX is not a timer key");
        let index = key as usize;
        if index >= self.timers.len() {
            self.timers.resize(index + 1, Timer { at: 0, prev: NIL, next: NIL, place: UNSET });
        }
        let place = self.place_of(at);
        if self.timers[index].place != place {
            self.cancel(key);
            self.link(key, place);
        }
        self.timers[index].at = at;
    }

    /// Unsets `key`.
    pub fn cancel(&mut self, key: u32) {
        let Some(&Timer { prev, next, place, .. }) = self.timers.get(key as usize) else { return };
        if place == UNSET {
            return;
        }
        match self.timers.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => self.set_head(place, next),
        }
        if let Some(behind) = self.timers.get_mut(next as usize) {
            behind.prev = prev;
        }
        self.timers[key as usize].place = UNSET;
        self.armed -= 1;
    }

    /// The earliest deadline. Looks at the timers of one slot only.
    pub fn next(&self) -> Option<Nanos> {
        let (_, place) = self.first_slot()?;
        let (mut key, mut earliest) = (self.heads[usize::from(place)], NEVER);
        while let Some(timer) = self.timers.get(key as usize) {
            earliest = earliest.min(timer.at);
            key = timer.next;
        }
        Some(earliest)
    }

    /// Unsets every timer that is due at `now` and appends its key to `out`, in no particular order.
    pub fn expire(&mut self, now: Nanos, out: &mut Vec<u32>) {
        let now_tick = (now / self.tick_ns).max(self.current);
        while let Some((start, place)) = self.first_slot() {
            if start > now_tick {
                break;
            }
            self.current = self.current.max(start);
            self.open_slot(place, now, out);
            if start == now_tick {
                break; // what is left here is due later within this tick
            }
        }
        self.current = now_tick;
    }

    /// Takes a slot's list apart: what is due goes to `out`, the rest to where it belongs now.
    fn open_slot(&mut self, place: u16, now: Nanos, out: &mut Vec<u32>) {
        let mut key = self.heads[usize::from(place)];
        self.set_head(place, NIL);
        while let Some(&Timer { at, next, .. }) = self.timers.get(key as usize) {
            self.timers[key as usize].place = UNSET;
            self.armed -= 1;
            if at <= now {
                out.push(key);
            } else {
                self.link(key, self.place_of(at));
            }
            key = next;
        }
    }

    /// The first slot that is not empty, and the tick at which it begins.
    fn first_slot(&self) -> Option<(u64, u16)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        let shift = SLOT_BITS * level as u32;
        let above = u64::MAX.checked_shl(shift + SLOT_BITS).unwrap_or(0);
        let start = self.current & above | u64::from(slot) << shift;
        Some((start, (level * SLOTS) as u16 + slot as u16))
    }

    fn place_of(&self, at: Nanos) -> u16 {
        let tick = (at / self.tick_ns).max(self.current);
        let level = (63 - (tick ^ self.current | 1).leading_zeros()) / SLOT_BITS;
        let slot = tick >> (level * SLOT_BITS) & (SLOTS as u64 - 1);
        (level as usize * SLOTS) as u16 + slot as u16
    }

    fn link(&mut self, key: u32, place: u16) {
        let next = self.heads[usize::from(place)];
        if let Some(behind) = self.timers.get_mut(next as usize) {
            behind.prev = key;
        }
        let timer = &mut self.timers[key as usize];
        (timer.prev, timer.next, timer.place) = (NIL, next, place);
        self.set_head(place, key);
        self.armed += 1;
    }

    fn set_head(&mut self, place: u16, key: u32) {
        self.heads[usize::from(place)] = key;
        let (level, slot) = (usize::from(place) / SLOTS, usize::from(place) % SLOTS);
        if key == NIL {
            self.occupied[level] &= !(1 << slot);
        } else {
            self.occupied[level] |= 1 << slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, Nanos),
        Cancel(u32),
        Advance(Nanos),
    }

    /// Spans from nothing to centuries, so that every level is used.
    fn span() -> impl Strategy<Value = Nanos> {
        (0u32..63, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u32..24, span()).prop_map(|(key, after)| Step::Set(key, after)),
            1 => (0u32..24).prop_map(Step::Cancel),
            2 => span().prop_map(|span| Step::Advance(span >> 20)),
            1 => span().prop_map(Step::Advance),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(tick in 1u64..5000, steps in prop::collection::vec(step(), 1..200)) {
            let mut wheel = TimerWheel::new(tick);
            let mut model: BTreeMap<u32, Nanos> = BTreeMap::new();
            let mut now: Nanos = 0;
            for step in steps {
                match step {
                    // now and then a deadline that has passed already
                    Step::Set(key, after) => {
                        let at = if after % 5 == 0 { now.saturating_sub(after) } else { now.saturating_add(after) };
                        wheel.set(key, at);
                        if at == NEVER { model.remove(&key); } else { model.insert(key, at); }
                    }
                    Step::Cancel(key) => { wheel.cancel(key); model.remove(&key); }
                    Step::Advance(span) => {
                        now = now.saturating_add(span);
                        let (mut out, mut due) = (Vec::new(), Vec::new());
                        wheel.expire(now, &mut out);
                        model.retain(|key, at| { if *at <= now { due.push(*key); } *at > now });
                        out.sort_unstable();
                        prop_assert_eq!(out, due);
                    }
                }
                prop_assert_eq!(wheel.next(), model.values().min().copied());
                prop_assert_eq!(wheel.len(), model.len());
                for key in 0..24 {
                    prop_assert_eq!(wheel.deadline(key), model.get(&key).copied());
                }
            }
        }
    }

    #[test]
    fn waking_at_every_deadline_expires_each_timer_exactly_then() {
        let mut wheel = TimerWheel::new(1000);
        let mut expected = Vec::new();
        for key in 0..500u32 {
            let at = u64::from(key).pow(3) * 7919 % 10_000_000_000;
            wheel.set(key, at);
            expected.push((at, key));
        }
        expected.sort_unstable();
        let mut seen = Vec::new();
        while let Some(at) = wheel.next() {
            let mut out = Vec::new();
            wheel.expire(at, &mut out);
            assert!(!out.is_empty(), "woken at {at} for nothing");
            out.sort_unstable();
            seen.extend(out.into_iter().map(|key| (at, key)));
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_clock_that_steps_back_loses_nothing() {
        let mut wheel = TimerWheel::new(1000);
        let mut out = Vec::new();
        wheel.expire(1_000_000, &mut out);
        wheel.set(1, 400_000);
        wheel.set(2, 500_000);
        wheel.expire(450_000, &mut out);
        assert_eq!(out, [1]);
        wheel.expire(500_000, &mut out);
        assert_eq!(out, [1, 2]);
    }

    #[test]
    fn never_cancels() {
        let mut wheel = TimerWheel::new(1);
        wheel.set(3, NEVER - 1);
        assert_eq!(wheel.next(), Some(NEVER - 1));
        wheel.set(3, NEVER);
        assert!(wheel.is_empty() && wheel.next().is_none());
    }
}
