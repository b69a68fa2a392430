//! This program under callgrind.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::de::DeserializeOwned;

use super::callgrind::Profile;

/// What callgrind counts, and from when on. Functions are given as patterns with `*`.
pub struct Run<'a> {
    /// Of the profile's file, unlike that of others at the same time.
    pub name: &'a str,
    /// Counts while one of these runs. They must not call each other: that would end it.
    pub toggles: &'a [&'a str],
    /// When this is entered, all that was counted is forgotten.
    pub zero_before: Option<&'a str>,
    /// Functions are told apart by this many callers.
    pub callers: usize,
}

pub fn find() -> anyhow::Result<()> {
    let found = Command::new("valgrind").arg("--version").output();
    ensure!(found.is_ok_and(|output| output.status.success()), "no valgrind; `apt-get install valgrind`");
    Ok(())
}

impl Run<'_> {
    /// The profile of this program with `args`, and the JSON that it printed.
    pub fn profile<T: DeserializeOwned>(&self, args: &[&str]) -> anyhow::Result<(Profile, T)> {
        let out = std::env::temp_dir().join(format!("farwire-instr-{}-{}", std::process::id(), self.name));
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
            .args(self.toggles.iter().map(|toggle| format!("--toggle-collect={toggle}")))
            .args(self.zero_before.map(|function| format!("--zero-before={function}")))
            .arg(format!("--separate-callers={}", self.callers))
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(std::env::current_exe().context("where is this program?")?)
            .args(args)
            .output()
            .context("valgrind does not start")?;
        let text = std::fs::read_to_string(&out);
        // There is none where valgrind came to no end.
        let _ = std::fs::remove_file(&out);
        if !output.status.success() {
            bail!("the run under valgrind failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = text.with_context(|| format!("{}: no profile", out.display()))?;
        let profile = Profile::parse(&text).with_context(|| format!("{}", out.display()))?;
        ensure!(profile.total() > 0, "callgrind counted nothing for {:?}: was the function inlined?", self.toggles);
        Ok((profile, serde_json::from_slice(&output.stdout)?))
    }
}
