//! A panic in a world is a finding like any other.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

use farwire::sim::{Outcome, Scenario, Trace, run};

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on panics are kept for [`live`] instead of being printed.
pub fn listen() {
    set_hook(Box::new(|panic| SAID.set(format!("panic: {panic}"))));
}

/// Lives through a world. What was wrong, if anything, is in the outcome.
pub fn live(seed: u64, trace: Trace) -> Outcome {
    let live = || run(&Scenario::draw(seed), trace);
    catch_unwind(AssertUnwindSafe(live)).unwrap_or_else(|_| Outcome {
        seed,
        elapsed_ns: 0,
        turns: 0,
        fingerprint: 0,
        events: 0,
        violation: Some(SAID.take()),
    })
}
