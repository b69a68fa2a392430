//! What people see: results on standard output, everything else on standard error, progress on a terminal.
//!
//! A closed standard output is no error: whoever closed it wanted no more, and the work goes on.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::api::{Connection, Snapshot};
use crate::apps::transfer::{Name, Tally, Watch};
use crate::base::size;
use crate::obs::export;

/// Failures that are kept for `--json`; all of them are shown and counted.
const KEPT_FAILURES: usize = 1000;

/// A line of result.
pub fn out(line: impl Display) {
    // See above: nobody reads it any more.
    let _ = writeln!(std::io::stdout().lock(), "{}", plain(line));
}

/// A result as JSON: one line.
pub fn json(value: &Value) {
    JSON_SAID.store(true, Ordering::Relaxed);
    out(value);
}

/// Whether a result was said as JSON: then a failure needs no object of its own any more.
pub fn json_said() -> bool {
    JSON_SAID.load(Ordering::Relaxed)
}

static JSON_SAID: AtomicBool = AtomicBool::new(false);

/// A line about how things are.
pub fn status(line: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", plain(line));
}

/// A line about what went wrong, after the program's name.
pub fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "farwire: {}", plain(line));
}

/// What is shown wherever something is in force or was done without keys.
pub const NOT_ENCRYPTED: &str = "NOT ENCRYPTED (--insecure)";

/// What a connection was protected with.
pub fn encryption(connection: &Connection) -> String {
    match (connection.cipher(), connection.key_name()) {
        (Some(cipher), Some(key)) => format!("{} with key {key}", cipher.name()),
        _ => NOT_ENCRYPTED.to_owned(),
    }
}

/// The same for `--json`; null without keys.
pub fn encryption_json(connection: &Connection) -> Value {
    let (cipher, key) = (connection.cipher(), connection.key_name());
    cipher.map_or(Value::Null, |cipher| json!({ "cipher": cipher.name(), "key": key }))
}

/// Who a peer is: the name of its key, if it has proved one, and its address.
pub fn peer(connection: &Connection) -> String {
    let mac = connection.peer();
    connection.key_name().map_or_else(|| mac.to_string(), |key| format!("{key} ({mac})"))
}

/// Counters, histograms and the link's counters, for `--json`.
pub fn engine_json(snapshot: &Snapshot) -> Value {
    let Snapshot { counters, latencies, link, .. } = snapshot;
    export::json(&export::Metrics { counters, latencies, link })
}

/// Text that can't steer the terminal: names and reasons may come from a peer.
fn plain(text: impl Display) -> String {
    text.to_string().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// A path as a shell takes it for one word, and a command for no flag.
pub fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = if path.starts_with('-') { format!("./{path}") } else { path.into_owned() };
    // Only a zero byte can't be quoted, and no path has one.
    shlex::try_quote(&path).map_or_else(|_| path.clone(), |quoted| quoted.into_owned())
}

/// A number and what it is of: `1 file`, `2 directories`.
pub fn count(number: u64, noun: &str) -> String {
    match (number, noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']))) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// How wide the terminal is, or what to assume.
pub fn width() -> usize {
    let terminal = console_width();
    terminal.unwrap_or(80).clamp(40, 120)
}

fn console_width() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Shows a transfer while it runs, and remembers what failed.
pub struct Ui {
    bar: Option<ProgressBar>,
    verbose: bool,
    /// The bar has a length.
    measured: AtomicBool,
    failures: Mutex<Vec<(String, String)>>,
}

impl Ui {
    /// For one transfer. `label` says which.
    pub fn new(label: &str, verbose: bool) -> Ui {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(style("{prefix} {spinner} {decimal_bytes} at {decimal_bytes_per_sec}  {wide_msg}"));
            bar.set_prefix(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Ui { bar, verbose, measured: AtomicBool::new(false), failures: Mutex::new(Vec::new()) }
    }

    /// No progress any more.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// What failed, for `--json`.
    pub fn failures_json(&self) -> Value {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.iter().map(|(name, reason)| json!({ "name": name, "reason": reason })).collect()
    }

    fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| status(line)),
            None => status(line),
        }
    }
}

impl Watch for Ui {
    fn on_entry(&self, name: &Name) {
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_string());
        }
    }

    fn on_bytes(&self, count: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(count);
        }
    }

    fn on_totals(&self, files: u64, bytes: u64) {
        if let Some(bar) = &self.bar
            && !self.measured.swap(true, Ordering::AcqRel)
        {
            tracing::debug!("{files} files, {} in all", size::show(bytes));
            bar.set_length(bytes);
            bar.set_style(style(
                "{prefix} {bar:25} {decimal_bytes}/{decimal_total_bytes} at {decimal_bytes_per_sec}, \
                 {eta} left  {wide_msg}",
            ));
        }
    }

    fn on_file(&self, name: &Name, digest: &[u8; 32]) {
        if self.verbose {
            self.line(&format!("{}  {name}", blake3::Hash::from_bytes(*digest)));
        }
    }

    fn on_failed(&self, name: &str, reason: &str) {
        self.line(&format!("farwire: {name}: {reason}"));
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < KEPT_FAILURES {
            failures.push((name.to_owned(), reason.to_owned()));
        }
    }

    fn on_skipped(&self, name: &str, what: &str) {
        self.line(&format!("farwire: {name}: not sent, it is {what}"));
    }

    fn on_confirmed(&self, tally: &Tally) {
        tracing::debug!("confirmed: {} files, {}", tally.files, size::show(tally.bytes));
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; were one wrong, a plain spinner is no harm.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_does_not_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\nµ"), "a [2Jb \nµ");
    }

    #[test]
    fn numbers_and_nouns_agree() {
        assert_eq!([count(1, "file"), count(0, "file"), count(2, "directory")], ["1 file", "0 files", "2 directories"]);
        assert_eq!(count(2, "key"), "2 keys");
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        for (path, word) in [("/etc/a-b_c.key", "/etc/a-b_c.key"), ("a b", "'a b'"), ("a'b", "\"a'b\""), ("-x", "./-x")]
        {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
