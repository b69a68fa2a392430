//! Trying again what the kernel has not finished tearing down yet.

use std::io;

use nix::poll::{PollTimeout, poll};

/// Time between two tries. Lower: system calls for nothing. Higher: an open takes longer than it must.
const PAUSE_MS: u8 = 20;

/// Calls `attempt` until it succeeds, or fails with something that is not `busy`, or has been tried for
/// `tries` × 20 ms more.
pub(super) fn until_free<T>(
    tries: u32,
    busy: impl Fn(&io::Error) -> bool,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    for _ in 0..tries {
        match attempt() {
            // Polling nothing is sleeping. Opening a queue may sleep; no other call of this room does.
            Err(error) if busy(&error) => drop(poll(&mut [], PollTimeout::from(PAUSE_MS))),
            result => return result,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_what_is_busy_and_for_nothing_else() {
        let fails = |code: i32, succeed_at: u32| {
            let mut calls = 0;
            let busy = |error: &io::Error| error.raw_os_error() == Some(libc::EBUSY);
            let result = until_free(3, busy, || {
                calls += 1;
                if calls == succeed_at { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
            });
            (calls, result.is_ok())
        };
        assert_eq!(fails(libc::EBUSY, 3), (3, true));
        assert_eq!(fails(libc::EBUSY, 9), (4, false));
        assert_eq!(fails(libc::EINVAL, 3), (1, false));
    }
}
