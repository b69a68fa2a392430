//! Rivals whose libraries speak C or C++: small programs in `bench/rivals/`, compiled by g++ when they are asked for.
//! This program then becomes theirs (exec), so that its process, with its CPU time and its signals, is the rival's.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::contract::{Send, Serve, Tuning};

/// Flags that are part of what a rival is.
const FLAGS: &[&str] = &["-std=c++17", "-O2", "-Wall", "-Wextra"];
const COMPILER: &str = "g++";
const SHARED: &str = include_str!("../../rivals/contract.hh");

/// A library and the program that uses it.
#[derive(Debug)]
pub struct Native {
    name: &'static str,
    source: &'static str,
    /// The Debian package that holds the next two.
    package: &'static str,
    header: &'static str,
    link: &'static str,
}

pub const UDT: Native = Native {
    name: "udt",
    source: include_str!("../../rivals/udt.cc"),
    package: "libudt-dev",
    header: "udt/udt.h",
    link: "-ludt",
};

pub const SRT: Native = Native {
    name: "srt",
    source: include_str!("../../rivals/srt.cc"),
    package: "libsrt-openssl-dev",
    header: "srt/srt.h",
    link: "-lsrt",
};

pub const ENET: Native = Native {
    name: "enet",
    source: include_str!("../../rivals/enet.cc"),
    package: "libenet-dev",
    header: "enet/enet.h",
    link: "-lenet",
};

impl Native {
    /// Why it cannot be built here, and what to do.
    pub fn missing(&self) -> Option<String> {
        let probe = format!("#if __has_include(<{}>)\nfound\n#endif\n", self.header);
        let preprocessed = piped(Command::new(COMPILER).args(["-E", "-P", "-x", "c++", "-"]), &probe);
        match preprocessed {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(format!("Debian package {COMPILER} is not installed: tools/setup --bench"))
            }
            Err(error) => Some(format!("{COMPILER}: {error}")),
            Ok(output) if output.stdout.starts_with(b"found") => None,
            Ok(_) => Some(format!("Debian package {} is not installed: tools/setup --bench", self.package)),
        }
    }

    /// Name and version of the library, as Debian has them.
    pub fn library(&self) -> String {
        let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", self.package]).output();
        let version = output.ok().filter(|output| output.status.success());
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        format!("{} {}", self.package, version.as_deref().unwrap_or("of unknown version"))
    }

    /// The program, compiled if that has not been done for this source yet.
    pub fn build(&self) -> anyhow::Result<PathBuf> {
        let directory = std::env::current_exe()?.with_file_name("rivals");
        let mut hasher = DefaultHasher::new();
        (SHARED, self.source, FLAGS, self.library()).hash(&mut hasher);
        let program = directory.join(format!("{}-{:016x}", self.name, hasher.finish()));
        if program.exists() {
            return Ok(program);
        }
        // A directory of its own: both ends may be started at once, and the last rename wins with the same program.
        let scratch = directory.join(format!("{}-{}", self.name, std::process::id()));
        std::fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        let built = self.compile(&scratch);
        if built.is_ok() {
            std::fs::rename(scratch.join(self.name), &program).with_context(|| program.display().to_string())?;
        }
        let _ = std::fs::remove_dir_all(&scratch);
        built.map(|()| program)
    }

    fn compile(&self, scratch: &std::path::Path) -> anyhow::Result<()> {
        let source = scratch.join(format!("{}.cc", self.name));
        std::fs::write(scratch.join("contract.hh"), SHARED)?;
        std::fs::write(&source, self.source)?;
        let mut command = Command::new(COMPILER);
        command.args(FLAGS).arg(&source).arg("-o").arg(scratch.join(self.name)).args([self.link, "-pthread"]);
        let output = command.output().with_context(|| format!("{COMPILER}: run tools/setup --bench"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{COMPILER} cannot build the rival {}: {said}", self.name);
        Ok(())
    }

    /// Becomes the receiving end. Returns only if that fails.
    pub fn serve(&self, rival: &str, options: &Serve) -> anyhow::Result<()> {
        let own = [("--role", "serve".into()), ("--bin-ms", options.bin_ms.to_string())];
        self.become_it(rival, options.bind, options.seconds, &options.tuning, &own)
    }

    /// Becomes the sending end. Returns only if that fails.
    pub fn send(&self, rival: &str, options: &Send) -> anyhow::Result<()> {
        self.become_it(rival, options.to, options.seconds, &options.tuning, &[("--role", "send".into())])
    }

    fn become_it(
        &self,
        rival: &str,
        address: SocketAddr,
        seconds: f64,
        tuning: &Tuning,
        own: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let program = self.build()?;
        let common = [
            ("--rival", rival.to_owned()),
            ("--library", self.library()),
            ("--host", address.ip().to_string()),
            ("--port", address.port().to_string()),
            ("--seconds", seconds.to_string()),
            ("--window-bytes", tuning.window_bytes().to_string()),
            ("--rate-bps", tuning.rate_bps.unwrap_or(0).to_string()),
            ("--rtt-ms", tuning.rtt_ms.unwrap_or(0.0).to_string()),
            ("--mtu", tuning.mtu.to_string()),
            ("--verify", tuning.verify.to_string()),
        ];
        let all = common.iter().chain(own);
        let arguments = all.flat_map(|(name, value)| [OsString::from(name), OsString::from(value)]);
        bail!("{}: {}", program.display(), Command::new(&program).args(arguments).exec())
    }
}

/// Runs a command on some standard input.
fn piped(command: &mut Command, input: &str) -> std::io::Result<std::process::Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named_with_the_next_step() {
        let native = Native { package: "libnone-dev", header: "none/such.h", ..SRT };
        let missing = native.missing().unwrap();
        assert!(missing.starts_with("Debian package ") && missing.ends_with("tools/setup --bench"), "{missing}");
        assert!(native.library().starts_with("libnone-dev of unknown version"));
    }
}
