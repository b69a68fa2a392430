//! An eventfd as a waker: whoever wakes it ends the worker's `poll`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::Wake;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Readable from the first wake until it is cleared.
pub struct EventWaker {
    fd: EventFd,
}

impl EventWaker {
    /// A waker that nobody has woken yet.
    pub fn new() -> io::Result<Arc<EventWaker>> {
        let fd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Arc::new(EventWaker { fd }))
    }

    /// Wakes.
    pub fn write(&self) {
        // It fails only when the count is at its maximum; then the descriptor is readable anyway.
        let _ = self.fd.write(1);
    }

    /// Forgets the wakes so far.
    pub fn clear(&self) {
        // EAGAIN only says that nobody woke us.
        let _ = self.fd.read();
    }

    /// What to poll for readability.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Wake for EventWaker {
    fn wake(self: Arc<Self>) {
        self.write();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.write();
    }
}
