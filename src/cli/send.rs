//! `farwire send`.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::exit::{self, Failure};
use super::flags;
use super::keys::Protection;
use super::notices::Notices;
use super::privilege::{Files, Rights};
use super::show::{self, Ui};
use super::stop::Stop;
use crate::apps::transfer::tx::SendRun;
use crate::apps::transfer::{Name, Report, Root, Watch, send};
use crate::base::size;

/// Sends what the user named.
pub fn run(flags: &flags::Send, stop: &Stop) -> Result<(), Failure> {
    let (paths, peer) = paths_and_peer(&flags.paths_and_peer)?;
    let roots = roots(paths, &flags.stdin_name)?;
    let protection = Protection::of_client(&flags.common, peer)?;
    let rights = Rights::new(Files::Read, None, stop)?;
    let endpoint = super::open::endpoint(&flags.common, Some(&protection), rights)?;
    let connection = super::connect(&endpoint, peer)?;
    let _told = stop.tell(&connection);
    let _notices = Notices::of(&connection);
    let ui = Arc::new(Ui::new("sending", flags.common.verbose > 0));
    let watch: Arc<dyn Watch> = ui.clone();
    let result = send(&connection, SendRun { roots, count: true }, &watch);
    ui.clear();
    let counters = endpoint.snapshot().map(|now| now.counters).unwrap_or_default();
    let report = result?;
    let complete = report.is_complete();
    if flags.common.json {
        show::json(&json!({
            "command": "send",
            "peer": connection.peer().to_string(),
            "encryption": show::encryption_json(&connection),
            "files": report.tally.files,
            "directories": report.tally.directories,
            "symlinks": report.tally.symlinks,
            "bytes": report.tally.bytes,
            "data_bytes": report.tally.data_bytes,
            "failed": report.tally.failed,
            "failures": ui.failures_json(),
            "skipped": report.skipped,
            "seconds": report.elapsed.as_secs_f64(),
            "goodput_bps": report.goodput_bps(),
            "retransmitted_packets": counters.retransmitted_packets,
        }));
    } else {
        show::out(format!("sent {}, {}", summary(&report, &format!("to {peer}")), show::encryption(&connection)));
    }
    if complete { Ok(()) } else { Err(Failure::new(exit::FAILED, failed_line(&report))) }
}

/// What a transfer came to, in a line; `way` says to or from whom.
pub fn summary(report: &Report, way: &str) -> String {
    let tally = &report.tally;
    let mut parts = vec![show::count(tally.files, "file")];
    if tally.directories > 0 {
        parts.push(show::count(tally.directories, "directory"));
    }
    if tally.symlinks > 0 {
        parts.push(show::count(tally.symlinks, "link"));
    }
    let rate = crate::base::Rate::from_bps(report.goodput_bps() as u64).map_or("-".to_owned(), |rate| rate.to_string());
    let seconds = report.elapsed.as_secs_f64();
    let what = parts.join(", ");
    let bytes = match tally.bytes - tally.data_bytes.min(tally.bytes) {
        0 => size::show(tally.bytes),
        holes => format!("{} and {} of holes", size::show(tally.data_bytes), size::show(holes)),
    };
    format!("{what} {way}: {bytes} in {seconds:.2} s ({rate}), BLAKE3 verified")
}

/// How much failed, in a line.
pub fn failed_line(report: &Report) -> String {
    let failed = report.tally.failed;
    format!("{failed} of {} entries failed (named above); the others are in place", failed + placed(report))
}

fn placed(report: &Report) -> u64 {
    report.tally.files + report.tally.directories + report.tally.symlinks
}

/// The last argument is the peer. It is taken off here: with an option between paths and peer, clap would not tell.
fn paths_and_peer(arguments: &[PathBuf]) -> Result<(&[PathBuf], &str), Failure> {
    match arguments {
        [paths @ .., peer] if !paths.is_empty() => match peer.to_str() {
            Some(peer) => Ok((paths, peer)),
            None => Err(Failure::usage(format!("{}: a peer's name is UTF-8", peer.display()))),
        },
        _ => {
            let only = arguments.first().map_or(String::new(), |only| only.display().to_string());
            Err(Failure::usage(format!("to whom? the last argument is the peer: farwire send {only} PEER")))
        }
    }
}

/// The paths of the command line, refused if two would arrive under one name.
fn roots(paths: &[PathBuf], stdin_name: &str) -> Result<Vec<Root>, Failure> {
    let stdin = Name::parse(stdin_name.as_bytes()).map_err(|error| Failure::usage(format!("--as: {error}")))?;
    let mut roots: Vec<Root> = Vec::new();
    for path in paths {
        let root = Root::from_argument(path, &stdin).map_err(Failure::usage)?;
        if let Some(other) = roots.iter().find(|other| other.name() == root.name()) {
            let name = other.name();
            return Err(Failure::usage(format!("two of the paths would arrive as {name}; send them one by one")));
        }
        roots.push(root);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_argument_is_the_peer() {
        let split = |arguments: &[&str]| {
            let arguments: Vec<PathBuf> = arguments.iter().map(PathBuf::from).collect();
            paths_and_peer(&arguments)
                .map(|(paths, peer)| (paths.len(), peer.to_owned()))
                .map_err(|error| error.message)
        };
        assert_eq!(split(&["a", "b", "backup"]), Ok((2, "backup".to_owned())));
        assert!(split(&["photos/"]).unwrap_err().contains("farwire send photos/ PEER"));
    }
}
