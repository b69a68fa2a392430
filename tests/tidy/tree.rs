//! The files of the project, as git knows them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::scan;

/// A file: its path from the project's root, its text, and its text with everything blanked that is not Rust code.
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code = if path.ends_with(".rs") { scan::code_only(text) } else { text.to_string() };
        Source { path: path.to_string(), text: text.to_string(), code }
    }

    /// A finding at a byte of the text.
    pub fn at(&self, byte: usize, message: impl AsRef<str>) -> String {
        self.line(scan::line_of(&self.text, byte), message)
    }

    pub fn line(&self, line: usize, message: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, message.as_ref())
    }

    /// The room under `src/` that the file belongs to.
    pub fn room(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or("")
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that is tracked, or would be after `git add`. Without git (a crate's tarball) everything but `target`.
pub fn paths() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output();
    let mut found = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_string).collect()
        }
        _ => walk(&root()),
    };
    found.retain(|path| root().join(path).is_file());
    found.sort();
    found.dedup();
    found
}

fn walk(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let skip = path.file_name().is_some_and(|name| name == "target" || name == ".git");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !skip => found.extend(walk(&path)),
            Ok(kind) if kind.is_file() => {
                found.extend(path.strip_prefix(root()).ok().and_then(Path::to_str).map(str::to_string));
            }
            _ => {}
        }
    }
    found
}

/// The text files among them that `wanted` picks.
pub fn tracked(wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let read = |path: &String| Some(Source::new(path, &std::fs::read_to_string(root().join(path)).ok()?));
    paths().iter().filter(|path| wanted(path)).filter_map(read).collect()
}

/// What a person reads and edits as a program: Rust, C, shell.
pub fn is_program(path: &str) -> bool {
    let script = path.starts_with("tools/") && !path.contains('.');
    script || [".rs", ".c", ".h", ".sh"].iter().any(|end| path.ends_with(end))
}

/// Everything but what a tool writes and what lawyers wrote.
pub fn is_text(path: &str) -> bool {
    !path.ends_with(".lock") && !path.starts_with("LICENSE")
}
