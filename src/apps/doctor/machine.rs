//! What does not depend on an interface: kernel, capabilities, memory, cores.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use super::Finding;
use crate::base::{kernel, size};

/// Capabilities that are asked for: bit, name, what for, and which other one stands in for it.
const CAPABILITIES: [(u32, &str, &str, Option<u32>); 4] = [
    (13, "CAP_NET_RAW", "the AF_XDP socket", None),
    (12, "CAP_NET_ADMIN", "attaching the XDP program", None),
    (39, "CAP_BPF", "loading the XDP program", Some(21)),
    (14, "CAP_IPC_LOCK", "pinning the frame pool", None),
];
const CAP_IPC_LOCK: u32 = 14;
/// The command that gives the binary what it needs without root.
const SETCAP: &str = "run as root, or give the binary what it needs: tools/setup --caps";

/// The kernel, and what its version means for AF_XDP.
pub fn kernel() -> Finding {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let Ok(release) = release else {
        return Finding::warn("kernel", "it does not tell its version", "uname -r");
    };
    match kernel::version(&release) {
        Some(version) => judge(&release, version),
        None => Finding::warn("kernel", format!("{release}: no version that can be read"), "uname -r"),
    }
}

fn judge(release: &str, version: (u32, u32)) -> Finding {
    let found = format!("Linux {release}");
    match version {
        (..=4, _) | (5, ..18) => Finding::bad(
            "kernel",
            format!("{found}: no XDP programs that take multi-buffer frames (xdp.frags) before 5.18"),
            "boot a newer kernel (Debian: apt-get install linux-image-amd64), or use --link packet",
        ),
        (6, 16..18) => Finding::warn(
            "kernel",
            format!("{found}: copy-mode transmission of some 6.16 and 6.17 releases panics or mixes up completions"),
            "boot 6.18 or newer, or a 6.12 of the long-term series",
        ),
        (5, _) | (6, ..6) => Finding::warn(
            "kernel",
            format!("{found}: AF_XDP works; no multi-buffer frames (6.6), no larger transmit budget (6.17)"),
            "a kernel from 6.18 on sends with fewer system calls; nothing has to be done",
        ),
        (6, ..16) => Finding::ok("kernel", format!("{found}: AF_XDP with multi-buffer frames")),
        _ => Finding::ok("kernel", format!("{found}: AF_XDP with multi-buffer frames and a large transmit budget")),
    }
}

/// Each of the capabilities.
pub fn capabilities() -> Vec<Finding> {
    let Some(held) = effective() else {
        let what = "/proc/thread-self/status does not tell the capabilities";
        return vec![Finding::warn("capabilities", what, "mount -t proc proc /proc")];
    };
    let judge = |(bit, name, what_for, instead): (u32, &'static str, &str, Option<u32>)| {
        if holds(held, bit) || instead.is_some_and(|other| holds(held, other)) {
            Finding::ok("capabilities", format!("{name} is held: {what_for}"))
        } else if bit == CAP_IPC_LOCK {
            Finding::warn("capabilities", format!("{name} is missing: {what_for} counts against `ulimit -l`"), SETCAP)
        } else {
            Finding::bad("capabilities", format!("{name} is missing: {what_for} needs it"), SETCAP)
        }
    };
    CAPABILITIES.into_iter().map(judge).collect()
}

/// Whether the frame pool may be pinned.
pub fn memlock(umem_bytes: u64) -> Finding {
    let wanted = size::show(umem_bytes);
    if effective().is_some_and(|held| holds(held, CAP_IPC_LOCK)) {
        return Finding::ok("memlock", format!("CAP_IPC_LOCK pins a frame pool of {wanted} whatever `ulimit -l` says"));
    }
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((soft, _)) if soft >= umem_bytes => {
            Finding::ok("memlock", format!("`ulimit -l` allows {}, the frame pool takes {wanted}", size::show(soft)))
        }
        Ok((soft, _)) => Finding::bad(
            "memlock",
            format!("`ulimit -l` allows {}, and the frame pool takes {wanted}", size::show(soft)),
            format!("ulimit -l {}, or grant CAP_IPC_LOCK, or a smaller --umem", umem_bytes / 1024),
        ),
        Err(errno) => Finding::warn("memlock", format!("the limit is not told: {}", errno.desc()), "ulimit -l"),
    }
}

/// Huge pages that are there for whoever asks.
pub fn huge_pages() -> Finding {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let (total, free) = (number("HugePages_Total:").unwrap_or(0), number("HugePages_Free:").unwrap_or(0));
    // The command does not use them, so their absence is nothing to mend.
    Finding::ok("hugepages", format!("{free} of {total} are free; the command's frame pool does not use them"))
}

/// Cores for the worker and for everybody else.
pub fn cores() -> Finding {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => Finding::warn(
            "cores",
            "one core: the worker, the application and the kernel take turns on it",
            "use --idle sleep, and never --idle spin",
        ),
        count => Finding::ok("cores", format!("{count} cores: one can be the worker's own (--cpu N)")),
    }
}

fn effective() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn holds(held: u64, bit: u32) -> bool {
    held & (1 << bit) != 0
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn kernels_are_told_apart() {
        for (release, level) in [
            ("4.19.0-27-amd64", Level::Bad),
            ("5.15.0", Level::Bad),
            ("6.1.0-18-amd64", Level::Warn),
            ("6.12.9", Level::Ok),
            ("6.17.2-arch1-1", Level::Warn),
            ("6.18.44-fc-v657", Level::Ok),
            ("7.2.13", Level::Ok),
        ] {
            assert_eq!(judge(release, kernel::version(release).unwrap()).level, level, "{release}");
        }
    }

    #[test]
    fn whatever_is_not_fine_can_be_mended() {
        for finding in super::super::machine(64 << 20) {
            assert_eq!(finding.level == Level::Ok, finding.mend.is_none(), "{finding:?}");
        }
        assert_eq!(capabilities().len(), CAPABILITIES.len());
    }
}
