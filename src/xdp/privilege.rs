//! Which of the capabilities that AF_XDP asks for the calling thread lacks.

use std::io;

use super::config::XdpConfig;
use super::error::XdpError;

/// Capabilities that no AF_XDP link works without: number, name, and what for.
const NEEDED: [(u32, &str); 3] = [(13, "CAP_NET_RAW"), (12, "CAP_NET_ADMIN"), (39, "CAP_BPF")];
/// Stands in for CAP_BPF.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Names of the capabilities that are needed and not held; empty when all are.
///
/// A full set can still be refused: in a user namespace it counts for nothing outside.
pub fn missing() -> Vec<&'static str> {
    let Some(held) = effective() else { return Vec::new() };
    let holds = |number: u32| held & (1 << number) != 0 || (number == CAP_BPF && held & (1 << CAP_SYS_ADMIN) != 0);
    NEEDED.iter().filter(|(number, _)| !holds(*number)).map(|(_, name)| *name).collect()
}

/// Fails with their names where some are missing.
pub(super) fn check(config: &XdpConfig) -> Result<(), XdpError> {
    if missing().is_empty() { Ok(()) } else { Err(refused(config, "opening an AF_XDP queue")) }
}

/// The error for an `operation` that the kernel refused with EPERM.
pub(super) fn refused(config: &XdpConfig, operation: &'static str) -> XdpError {
    let missing = match missing().join(", ") {
        none if none.is_empty() => "a capability of the initial user namespace is".into(),
        one if !one.contains(',') => format!("{one} is"),
        several => format!("{several} are"),
    };
    XdpError::Privilege { link: config.name(), operation, missing }
}

/// Whether `error` means a lack of privilege.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn effective() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_what_is_missing() {
        let text = refused(&XdpConfig::new("eth1"), "attaching the XDP program").to_string();
        assert!(text.starts_with("eth1 queue 0: attaching the XDP program is not permitted: "), "{text}");
        assert!(text.contains("tools/setup --caps") && text.contains("setcap cap_net_raw"), "{text}");
        for name in missing() {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn the_kernel_tells_what_we_hold() {
        assert!(effective().is_some());
    }
}
