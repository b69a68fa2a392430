//! The sender: fills reserved frames from the source and commits them; the answers come in on another thread.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::cursor::Cursor;
use super::name::Name;
use super::source::{Fill, Observer, Source};
use super::tree::{Root, Step, Tree};
use super::verdicts::{self, Standing};
use super::{Report, TransferError, Watch};
use crate::api::{Connection, SendStream, StreamError};
use crate::apps::service::Service;

/// Frames asked for at once: one `preadv` fills them. Fewer cost a system call and a doorbell more often; more would
/// keep the engine waiting for the disk with an empty queue.
const RESERVE_FRAMES: usize = 256;
/// How long the connection may take to end once everything is confirmed. Nothing depends on it any more.
const GOODBYE: Duration = Duration::from_secs(1);

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct SendRun {
    /// What the user named.
    pub roots: Vec<Root>,
    /// Count everything beforehand, beside the transfer, so that progress can be told from it.
    pub count: bool,
}

/// Sends everything and waits until the receiver has confirmed it.
///
/// # Errors
/// If the transfer broke off. Entries that failed one by one are in the report instead.
pub fn send(connection: &Connection, run: SendRun, watch: &Arc<dyn Watch>) -> Result<Report, TransferError> {
    let began = Instant::now();
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| local("standard input", &error))?;
    let (mut stream, answers) = connection.open_stream()?;
    let standing = Arc::new(Standing::default());
    let listener = verdicts::listen(answers, standing.clone(), watch.clone())?;
    if run.count {
        count(run.roots.clone(), standing.clone(), watch.clone());
    }
    let mut outgoing = Outgoing { standing, watch, files: 0, skipped: 0, totals_said: false };
    let sent = pump(&mut stream, run.roots, stdin, &mut outgoing);
    if sent.is_err() && connection.closed().is_none() {
        // The listener may be waiting for words that will not come; what it has heard already is worth more.
        std::thread::sleep(Duration::from_millis(50));
    }
    let heard = match &sent {
        Err(StreamError::Closed(_)) | Ok(()) => listener.wait(),
        Err(_) => listener.wait_for(GOODBYE),
    };
    // The receiver's own words explain more than the stream's end.
    let tally = match (heard, sent) {
        (Err(refused @ TransferError::Refused(_)), _) => return Err(refused),
        (_, Err(error)) => return Err(error.into()),
        (heard, Ok(())) => heard?,
    };
    connection.finish();
    // Everything is confirmed; how the goodbye goes does not matter.
    let _ = connection.wait_closed(GOODBYE);
    if tally.failed == 0 && tally.files != outgoing.files {
        return Err(TransferError::Unconfirmed { sent: outgoing.files, confirmed: tally.files });
    }
    Ok(Report { tally, skipped: outgoing.skipped, elapsed: began.elapsed() })
}

fn pump(
    stream: &mut SendStream,
    roots: Vec<Root>,
    stdin: OwnedFd,
    outgoing: &mut Outgoing<'_>,
) -> Result<(), StreamError> {
    let mut source = Source::new(&Service::Transfer.greeting(), Tree::new(roots, true), stdin);
    let most = RESERVE_FRAMES * stream.max_payload();
    loop {
        let mut room = stream.reserve(most)?;
        let mut cursor = Cursor::new(room.slices_mut().collect());
        let fill = source.fill(&mut cursor, outgoing);
        let written = cursor.written();
        drop(cursor);
        match fill {
            Fill::More => room.commit(written),
            Fill::End => {
                room.commit_last(written);
                return Ok(());
            }
        }
    }
}

/// Walks everything once without reading it, for the totals.
fn count(roots: Vec<Root>, standing: Arc<Standing>, watch: Arc<dyn Watch>) {
    let walk = move || {
        let (mut files, mut bytes) = (0, 0);
        for step in Tree::new(roots, false) {
            if let Step::File { size, .. } = step {
                files += 1;
                bytes += size;
            }
        }
        // Without totals there is only no estimate; so the set is all there is to do.
        let _ = standing.totals.set((files, bytes));
        watch.on_totals(files, bytes);
    };
    // Likewise without a thread.
    let _ = std::thread::Builder::new().name("count".to_owned()).spawn(walk);
}

/// Passes on what the source tells, and answers it from what the receiver has said.
struct Outgoing<'a> {
    standing: Arc<Standing>,
    watch: &'a Arc<dyn Watch>,
    files: u64,
    skipped: u64,
    totals_said: bool,
}

impl Observer for Outgoing<'_> {
    fn on_entry(&mut self, name: &Name) {
        self.watch.on_entry(name);
    }

    fn on_bytes(&mut self, count: u64) {
        self.watch.on_bytes(count);
    }

    fn on_file(&mut self, name: &Name, digest: &[u8; 32]) {
        self.files += 1;
        self.watch.on_file(name, digest);
    }

    fn on_unread(&mut self, name: &Name, reason: &str) {
        self.watch.on_failed(&name.to_string(), reason);
    }

    fn on_skipped(&mut self, name: &str, what: &str) {
        self.skipped += 1;
        self.watch.on_skipped(name, what);
    }

    fn given_up(&self, index: u64) -> bool {
        self.standing.given_up.load(Ordering::Acquire) == index + 1
    }

    fn totals(&mut self) -> Option<(u64, u64)> {
        if self.totals_said {
            return None;
        }
        let totals = self.standing.totals.get().copied();
        self.totals_said = totals.is_some();
        totals
    }
}

fn local(what: &str, error: &std::io::Error) -> TransferError {
    TransferError::Local(format!("{what}: {error}"))
}
