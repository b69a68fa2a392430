//! `farwire recv`: one thread per sender, until stopped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::exit::{self, Failure};
use super::flags;
use super::keys::Protection;
use super::privilege::{Files, Rights};
use super::send::{failed_line, summary};
use super::show::{self, Ui};
use super::stop::Stop;
use crate::api::{AcceptError, CloseReason, Connection, ConnectionError, Endpoint, StreamError};
use crate::apps::service::{self, GAVE_UP, GreetingError, INTERRUPTED, Service};
use crate::apps::transfer::place::Place;
use crate::apps::transfer::{Report, Target, TransferError, Watch, receive};

/// How often the accepting loop looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long transfers that were told to stop are waited for.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(3);

/// Receives until stopped, or once.
pub fn run(flags: &flags::Recv, stop: &Stop) -> Result<(), Failure> {
    let target = target(&flags.dir);
    let files = if target == Target::Stdout { Files::None } else { Files::Written };
    let rights = Rights::new(files, flags.user.as_deref(), stop)?;
    // Where root can write, another user may not, and the other way round: that one tries it below.
    if flags.user.is_none() {
        try_out(&target)?;
    }
    let once = flags.once || target == Target::Stdout;
    raise_descriptor_limit();
    let name = super::own_name(flags.name.as_ref())?;
    let mut protection = Protection::of_server(&flags.common, rights.user())?;
    let endpoint = super::open::server(&flags.common, &protection, rights)?;
    if let Some(user) = &flags.user {
        try_out(&target).map_err(|Failure { message, .. }| {
            Failure::local(format!("--user {user}: {message}; user {user} must be able to reach it and to write there"))
        })?;
        protection.try_again(user);
    }
    endpoint.announce(&name, "recv")?;
    show::status(&format!(
        "receiving into {} as {name} ({}), {}; over there: farwire send {}PATH {name}",
        if target == Target::Stdout { "standard output".to_owned() } else { flags.dir.display().to_string() },
        endpoint.mac(),
        protection.describe(),
        protection.flag(),
    ));
    let server = Arc::new(Server {
        target,
        once,
        taken: AtomicBool::new(false),
        cut: AtomicBool::new(false),
        json: flags.common.json,
        verbose: flags.common.verbose > 0,
        stop: stop.clone(),
    });
    serve(&endpoint, &mut protection, &server)
}

struct Server {
    target: Target,
    once: bool,
    /// With `once`: somebody's transfer has begun.
    taken: AtomicBool,
    /// A transfer was cut short because we are to stop.
    cut: AtomicBool,
    json: bool,
    verbose: bool,
    stop: Stop,
}

fn serve(endpoint: &Endpoint, protection: &mut Protection, server: &Arc<Server>) -> Result<(), Failure> {
    let (ended, outcomes) = bounded::<Result<(), Failure>>(16);
    let mut threads: Vec<thread::JoinHandle<()>> = Vec::new();
    let result = loop {
        if server.stop.requested() {
            break None;
        }
        protection.renew_if_asked(&server.stop, endpoint);
        threads.retain(|thread| !thread.is_finished());
        match outcomes.try_recv() {
            Ok(outcome) if server.once => break Some(outcome),
            _ => {}
        }
        match endpoint.accept_timeout(LOOK_EVERY) {
            Ok(connection) => threads.extend(start(connection, server, &ended)),
            Err(AcceptError::Timeout) => {}
            Err(AcceptError::Stopped(stopped)) => break Some(Err(Failure::local(stopped))),
        }
    };
    // Told to stop, transfers remove what is not whole; that must have happened before the process ends.
    let deadline = std::time::Instant::now() + CLEAN_UP_WITHIN;
    while result.is_none() && threads.iter().any(|thread| !thread.is_finished()) && deadline.elapsed().is_zero() {
        thread::sleep(Duration::from_millis(5));
    }
    match result {
        Some(result) => result,
        None if server.once || server.cut.load(Ordering::Acquire) => Err(Failure::silent(exit::INTERRUPTED)),
        None => Ok(()),
    }
}

fn start(
    connection: Connection,
    server: &Arc<Server>,
    ended: &Sender<Result<(), Failure>>,
) -> Option<thread::JoinHandle<()>> {
    let (server, ended) = (server.clone(), ended.clone());
    let refused = connection.clone();
    let thread = thread::Builder::new().name("transfer".to_owned()).spawn(move || {
        if let Some(outcome) = server.one(&connection) {
            // Nobody waits for outcomes but the accepting loop with `once`.
            let _ = ended.try_send(outcome);
        }
    });
    if thread.is_err() {
        refused.close(GAVE_UP, "no thread left here for another transfer");
    }
    thread.ok()
}

impl Server {
    /// Serves one connection; `None` if it was for nothing that counts.
    fn one(&self, connection: &Connection) -> Option<Result<(), Failure>> {
        let _told = self.stop.tell(connection);
        let peer = show::peer(connection);
        let streams = match service::accept(connection, Service::Transfer) {
            Ok(streams) => streams,
            // Who only pings opens no stream.
            Err(GreetingError::Connection(_)) => return None,
            Err(error) => {
                show::complain(format!("{peer}: {error}"));
                return None;
            }
        };
        if self.once && self.taken.swap(true, Ordering::AcqRel) {
            connection.close(GAVE_UP, "it receives one transfer only, and that is another's");
            return None;
        }
        let ui = Arc::new(Ui::new(&format!("from {peer}"), self.verbose));
        let watch: Arc<dyn Watch> = ui.clone();
        let result = receive(connection, streams, &self.target, &watch);
        ui.clear();
        // An engine that is gone has nothing to tell.
        let engine = connection.snapshot().ok().map(|now| show::engine_json(&now));
        Some(self.tell(connection, &ui, result, engine))
    }

    fn tell(
        &self,
        connection: &Connection,
        ui: &Ui,
        result: Result<Report, TransferError>,
        engine: Option<Value>,
    ) -> Result<(), Failure> {
        let (from, peer) = (show::peer(connection), connection.peer().to_string());
        let encryption = show::encryption_json(connection);
        let report = match result {
            Ok(report) => report,
            Err(error) => {
                self.cut.fetch_or(closed_by_us(&error), Ordering::AcqRel);
                show::complain(format!("transfer from {from}: {error}"));
                if self.json {
                    let error = error.to_string();
                    self.json_line(&json!({ "command": "recv", "peer": peer, "encryption": encryption,
                        "error": error, "engine": engine }));
                }
                return Err(Failure::silent(exit::FAILED));
            }
        };
        if self.json {
            let line = json!({
                "command": "recv",
                "peer": peer,
                "encryption": encryption,
                "files": report.tally.files,
                "directories": report.tally.directories,
                "symlinks": report.tally.symlinks,
                "bytes": report.tally.bytes,
                "data_bytes": report.tally.data_bytes,
                "failed": report.tally.failed,
                "failures": ui.failures_json(),
                "seconds": report.elapsed.as_secs_f64(),
                "goodput_bps": report.goodput_bps(),
                "engine": engine,
            });
            self.json_line(&line);
        } else {
            let summary = summary(&report, &format!("from {from}"));
            self.line(&format!("received {summary}, {}", show::encryption(connection)));
        }
        if report.is_complete() {
            return Ok(());
        }
        show::complain(format!("transfer from {from}: {}", failed_line(&report)));
        Err(Failure::silent(exit::FAILED))
    }

    fn json_line(&self, value: &Value) {
        if self.target == Target::Stdout { show::status(&value.to_string()) } else { show::json(value) }
    }

    /// A line of result; beside the data if standard output is taken.
    fn line(&self, line: &str) {
        if self.target == Target::Stdout { show::status(line) } else { show::out(line) }
    }
}

/// Whether a transfer ended because we closed its connection: the user has stopped us.
fn closed_by_us(error: &TransferError) -> bool {
    matches!(
        error,
        TransferError::Connection(ConnectionError::Closed(CloseReason::Local { code: INTERRUPTED, .. }))
            | TransferError::Stream(StreamError::Closed(CloseReason::Local { code: INTERRUPTED, .. }))
    )
}

/// Where to put things.
fn target(dir: &Path) -> Target {
    if dir == Path::new("-") { Target::Stdout } else { Target::Directory(dir.to_owned()) }
}

/// Tries once whether things can be put there, before anybody is told that we are here.
fn try_out(target: &Target) -> Result<(), Failure> {
    match target {
        Target::Stdout => Ok(()),
        Target::Directory(dir) => Place::open(dir).map(drop).map_err(Failure::local),
    }
}

/// Many transfers at once need more descriptors than the usual 1024.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err()
    {
        tracing::info!("the limit of {soft} open files stays");
    }
}
