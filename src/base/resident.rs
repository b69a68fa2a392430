//! Memory that stays in memory: what must never be written to a swap device.

use std::mem;

/// Keeps the pages that hold `bytes` out of swap, until the process ends; whether the system allows that (without
/// CAP_IPC_LOCK up to `ulimit -l`).
///
/// They stay locked when the bytes are gone: pages have no count of locks, so unlocking the page of one secret would
/// unlock its neighbours on the same page.
pub fn keep(bytes: &[u8]) -> bool {
    match region::lock(bytes.as_ptr(), bytes.len()) {
        Ok(guard) => {
            // Dropped, it would unlock.
            mem::forget(guard);
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked_kb() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_is_kept_is_locked_and_stays_so() {
        let secret = vec![7; 40 << 10];
        let before = locked_kb();
        assert!(keep(&secret), "`ulimit -l` is below 40 KiB, and CAP_IPC_LOCK is not held");
        assert!(locked_kb() >= before + 40, "{} kB locked, {before} before", locked_kb());
        assert!(!keep(&[]));
    }
}
