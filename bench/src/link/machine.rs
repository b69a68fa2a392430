//! Which machine, and which state of the project, a result is from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use nix::sys::utsname::uname;

use super::record::Machine;

/// The project's directory.
pub fn project() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_owned()
}

pub fn facts() -> anyhow::Result<Machine> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Ok(Machine {
        cpu: model.map_or("an unnamed CPU", |(_, model)| model.trim()).to_owned(),
        cores: std::thread::available_parallelism()?.get(),
        kernel: uname()?.release().to_string_lossy().into_owned(),
        commit: commit(),
    })
}

/// The commit that is checked out, with a + where files differ from it.
fn commit() -> String {
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(project()).args(words).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "no commit".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    if changed { format!("{head}+") } else { head }
}

/// How this program was called.
pub fn command() -> String {
    ["bench".to_owned()].into_iter().chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_facts() {
        let facts = super::facts().unwrap();
        assert!(facts.cores > 0 && !facts.cpu.is_empty() && facts.kernel.contains('.'), "{facts:?}");
    }
}
