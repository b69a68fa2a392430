//! Ctrl-C: tells the peers, lets the commands clean up, and ends the process if they do not. SIGHUP is the same, unless
//! it means something else to a command, or was to be ignored when the program was started, as `nohup` does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::exit;
use crate::api::Connection;
use crate::apps::service::INTERRUPTED;

/// How long a command may take to clean up. Beyond it something hangs: a read from a terminal, a dead disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Signals so close together are one wish: `timeout` sends its own to the program and to the program's group.
const ONE_WISH: Duration = Duration::from_millis(500);

/// Whether the user wants an end, and whom to tell.
#[derive(Clone, Default)]
pub struct Stop {
    inner: Arc<Inner>,
}

/// What SIGHUP means to a command.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Hangup {
    /// The end, as it is for most programs.
    #[default]
    Ends,
    /// That keys are to be read anew. It is counted, and ends the program only if its terminal was closed.
    RenewsKeys,
}

#[derive(Default)]
struct Inner {
    requested: AtomicBool,
    hangup: Hangup,
    /// SIGHUP was ignored when we were started: nobody wants an end by it.
    ignored: bool,
    /// It came.
    hung_up: AtomicBool,
    connections: Mutex<Registry>,
    listener: Mutex<Option<Listener>>,
}

/// The thread that signals are heard by.
struct Listener {
    handle: Handle,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Registry {
    next: u64,
    open: BTreeMap<u64, Connection>,
}

/// A connection that is told when the user stops the program; until this is dropped.
pub struct Told {
    stop: Stop,
    key: u64,
}

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on; for SIGHUP not if it would mean the end and is ignored.
    ///
    /// # Errors
    /// When the system has no place for it.
    pub fn listen(hangup: Hangup) -> std::io::Result<Stop> {
        let inner = Inner { hangup, ignored: is_ignored(SIGHUP), ..Inner::default() };
        let stop = Stop { inner: Arc::new(inner) };
        stop.listen_anew()?;
        Ok(stop)
    }

    /// Listens on a new thread instead of the old one. A thread keeps the capabilities that it was started with, so
    /// whoever has given up some has to do without threads from before.
    ///
    /// # Errors
    /// When the system has no place for it.
    pub fn listen_anew(&self) -> std::io::Result<()> {
        // First the new one, then the end of the old one: no signal falls between them.
        let (hangup, ignored) = (self.inner.hangup, self.inner.ignored);
        let heard = !ignored || hangup == Hangup::RenewsKeys;
        let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(heard.then_some(SIGHUP)))?;
        let mut listener = self.inner.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Listener { handle, thread }) = listener.take() {
            handle.close();
            // It only listens, so there is nothing that it could have to say.
            let _ = thread.join();
        }
        let handle = signals.handle();
        let seen = self.clone();
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let had_terminal = has_terminal();
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                // Whoever closes the terminal wants the end of what runs in it.
                let closed = had_terminal && !ignored && !has_terminal();
                if signal == SIGHUP && !closed && hangup == Hangup::RenewsKeys {
                    seen.inner.hung_up.store(true, Ordering::Release);
                    continue;
                }
                match first {
                    Some(asked) if asked.elapsed() > ONE_WISH => give_up(),
                    Some(_) => continue,
                    None => first = Some(Instant::now()),
                }
                seen.inner.requested.store(true, Ordering::Release);
                seen.tell_everybody();
                thread::spawn(|| {
                    thread::sleep(PATIENCE);
                    give_up();
                });
            }
        })?;
        *listener = Some(Listener { handle, thread });
        Ok(())
    }

    /// Whether the user has asked for an end.
    pub fn requested(&self) -> bool {
        self.inner.requested.load(Ordering::Acquire)
    }

    /// Whether SIGHUP came since this was asked last.
    pub fn was_hung_up(&self) -> bool {
        self.inner.hung_up.swap(false, Ordering::AcqRel)
    }

    /// Closes `connection` when the user asks for an end, with a word to the peer.
    pub fn tell(&self, connection: &Connection) -> Told {
        let mut registry = self.registry();
        registry.next += 1;
        let key = registry.next;
        registry.open.insert(key, connection.clone());
        drop(registry);
        if self.requested() {
            self.tell_everybody();
        }
        Told { stop: self.clone(), key }
    }

    fn tell_everybody(&self) {
        for connection in self.registry().open.values() {
            connection.close(INTERRUPTED, "the user stopped the program");
        }
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.inner.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this process ignores a signal, which it has from who started it. If that can't be told, it does not.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 != 0)
}

/// Whether the process is controlled from a terminal that is still there.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Ends the process without asking anybody.
#[allow(clippy::disallowed_methods, reason = "the user insists, and whatever would unwind hangs")]
fn give_up() -> ! {
    std::process::exit(exit::INTERRUPTED.into())
}

impl Drop for Told {
    fn drop(&mut self) {
        self.stop.registry().open.remove(&self.key);
    }
}
