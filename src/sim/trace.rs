//! What has happened, as a fingerprint of all of it, and in words for whoever listens.

use crate::base::Nanos;
use crate::base::time::SECOND;

/// When a world begins: not at 0, which some timers would take for "never yet". What people read counts from here.
pub const BEGIN_NS: Nanos = SECOND;

/// Takes each line of a trace.
pub type Listener = Box<dyn FnMut(&str) + Send>;

/// The trace of one world.
#[derive(Default)]
pub struct Trace {
    fingerprint: u64,
    events: u64,
    listener: Option<Listener>,
}

impl Trace {
    /// A trace that tells `listener` everything in words.
    pub fn told_to(listener: Listener) -> Trace {
        Trace { listener: Some(listener), ..Trace::default() }
    }

    /// Something happened at `now`: the facts go into the fingerprint, the words to the listener.
    pub fn note(&mut self, now: Nanos, facts: &[u64], words: impl FnOnce() -> String) {
        self.events += 1;
        for fact in std::iter::once(&now).chain(facts) {
            // The finaliser of splitmix64: each bit of a fact changes half of the fingerprint's.
            let mut mixed = (self.fingerprint ^ fact).wrapping_add(0x9E37_79B9_7F4A_7C15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            self.fingerprint = mixed ^ (mixed >> 31);
        }
        if let Some(listener) = &mut self.listener {
            listener(&format!("{:>14.9} {}", now.saturating_sub(BEGIN_NS) as f64 / 1e9, words()));
        }
    }

    /// The same for two runs in which the same happened.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// How much has happened.
    pub fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_and_each_fact_count() {
        let of = |facts: &[&[u64]]| {
            let mut trace = Trace::default();
            facts.iter().for_each(|facts| trace.note(1, facts, String::new));
            trace.fingerprint()
        };
        assert_eq!(of(&[&[1, 2], &[3]]), of(&[&[1, 2], &[3]]));
        let others = [of(&[&[3], &[1, 2]]), of(&[&[2, 1], &[3]]), of(&[&[1, 2], &[4]]), of(&[&[1, 2]])];
        assert!(!others.contains(&of(&[&[1, 2], &[3]])));
    }
}
