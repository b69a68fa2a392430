//! How an application thread waits for its worker without being woken per frame: look, say where to wake, look again,
//! park.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use atomic_waker::AtomicWaker;

use crate::base::Nanos;
use crate::worker::clock;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static THIS_THREAD: Waker = Arc::new(Unpark(std::thread::current())).into();
}

/// Blocks until `look` finds something. Whoever makes that come true wakes `waker` afterwards.
pub(super) fn wait<T>(waker: &AtomicWaker, mut look: impl FnMut() -> Option<T>) -> T {
    THIS_THREAD.with(|this| {
        loop {
            if let Some(found) = look() {
                return found;
            }
            waker.register(this);
            if let Some(found) = look() {
                return found;
            }
            // An unpark from somewhere else is one more look.
            std::thread::park();
        }
    })
}

/// The same, for no longer than until `deadline_ns` on the worker's clock, and with a look at least every `slice`.
pub(super) fn wait_until<T>(
    waker: &AtomicWaker,
    deadline_ns: Nanos,
    slice: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    THIS_THREAD.with(|this| {
        loop {
            waker.register(this);
            if let Some(found) = look() {
                return Some(found);
            }
            let left = Duration::from_nanos(deadline_ns.saturating_sub(clock::now()));
            if left.is_zero() {
                return None;
            }
            std::thread::park_timeout(left.min(slice));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_wake_ends_the_wait_and_a_deadline_does() {
        let shared = Arc::new((AtomicWaker::new(), AtomicBool::new(false)));
        let there = shared.clone();
        let waiter = std::thread::spawn(move || wait(&there.0, || there.1.load(Ordering::Acquire).then_some(7)));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiter.is_finished());
        shared.1.store(true, Ordering::Release);
        shared.0.wake();
        assert_eq!(waiter.join().unwrap(), 7);

        let before = clock::now();
        let slice = Duration::from_secs(1);
        assert_eq!(wait_until(&shared.0, before + 5_000_000, slice, || None::<()>), None);
        assert!(clock::now() - before >= 5_000_000);
    }
}
