//! A panic in a world is a finding like any other.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use farwire::sim::{Outcome, Scenario, Trace, run};

thread_local! {
    /// What the last panic of a world on this thread said; `None` outside worlds.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics of worlds are kept for [`live`] instead of being printed.
pub fn listen() {
    let others = take_hook();
    set_hook(Box::new(move |panic| {
        let mine = SAID.with_borrow_mut(|said| said.as_mut().map(|said| *said = format!("panic: {panic}")).is_some());
        if !mine {
            others(panic);
        }
    }));
}

/// Lives through a world. What was wrong, if anything, is in the outcome.
pub fn live(seed: u64, trace: Trace) -> Outcome {
    let live = || run(&Scenario::draw(seed), trace);
    SAID.set(Some(String::new()));
    let lived = catch_unwind(AssertUnwindSafe(live));
    let said = SAID.take();
    lived.unwrap_or(Outcome {
        seed,
        elapsed_ns: 0,
        turns: 0,
        fingerprint: 0,
        events: 0,
        opened: 0,
        refused: 0,
        bytes: 0,
        violation: said,
    })
}
